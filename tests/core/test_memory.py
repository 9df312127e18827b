"""A call that cannot fit into memory is refused before it starts, with its size and a remedy."""

import inspect
import pathlib
import re
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import zoo

import keras_ae
from keras_ae import (
    corruptions,
    datasets,
    distributions,
    divergences,
    flows,
    hamiltonian,
    layers,
    likelihoods,
    losses,
    networks,
    plots,
    samplers,
    sparsity,
)
from keras_ae.core import examples, memory
from keras_ae.core.seeds import RunSeed

X = np.zeros((64, 6), "float32")


def small(**options):
    return {"network_options": {"units": (8,)}, **options}


def many(*shape):
    """An array that takes the memory of a single number."""
    return np.broadcast_to(np.float32(0.5), shape)


def fitted(kind, x=X, latent_dim=2, **options):
    model = getattr(keras_ae, kind)(latent_dim, **small(**options))
    model.compile("adam")
    model.build((None, *x.shape[1:]))
    return model


# What a call makes too large -> the call, which would crash the process.
CALLS = {
    "latent_dim": lambda: keras_ae.AE(10**9).build((None, 6)),
    "latent_dim of a VAE": lambda: keras_ae.VAE(10**9).build((None, 6)),
    "latent_dim of pictures": lambda: keras_ae.VAE(10**8).build((None, 28, 28, 1)),
    "units": lambda: keras_ae.VAE(2, network_options={"units": (10**7, 10**7)}).build((None, 6)),
    "filters": lambda: keras_ae.AE(2, network_options={"filters": (10**6, 10**6)}).build(
        (None, 8, 8, 1)
    ),
    "examples": lambda: keras_ae.AE(64).build((None, 10**10)),
    "columns": lambda: keras_ae.TabularVAE(2).build((None, 10**12)),
    "columns of HIVAE": lambda: keras_ae.HIVAE(2).build((None, 10**12)),
    "num_codes": lambda: keras_ae.VQVAE(num_codes=10**9).build((None, 6)),
    "num_codes of residuals": lambda: keras_ae.ResidualVQVAE(num_codes=10**9).build((None, 6)),
    "code_length": lambda: keras_ae.VQVAE(code_length=10**9).build((None, 6)),
    "a dictionary": lambda: keras_ae.TopKSAE(10**10).build((None, 6)),
    "num_components": lambda: keras_ae.VampVAE(2, num_components=10**10).build((None, 6)),
    "num_anchors": lambda: keras_ae.RiemannianHamiltonianVAE(2, num_anchors=10**10).build(
        (None, 6)
    ),
    "units of a prior": lambda: keras_ae.VQVAE(prior_options={"units": 10**6}).build((None, 6)),
    "a quantizer": lambda: layers.VectorQuantizer(10**10)(X),
    "a prior": lambda: layers.SequencePrior(2**31 - 1, (5,), units=64).build(),
    "samples of a layer": lambda: layers.SequencePrior(4, (3,), units=8).sample(10**9, seed=0),
    "a group": lambda: layers.LookupFreeQuantizer(30, group=30)(np.zeros((2, 30), "float32")),
    "samples": lambda: fitted("VAE").sample(10**11),
    "samples of codes": lambda: zoo.trained("AE").sample(10**11),
    "samples of a prior": lambda: zoo.trained("FSQVAE").sample(10**11),
    "results": lambda: memory.refuse_results(fitted("VAE"), 10**11, X),
    "a batch": lambda: memory.refuse_batch(fitted("VAE"), 10**10, [X]),
    "a step": lambda: memory.refuse_step(fitted("VAE"), 10**10),
    "pairs with codes": lambda: memory.refuse_step(fitted("VQVAE", num_codes=10**5), 10**6),
    "pairs with components": lambda: memory.refuse_step(
        fitted("VampVAE", num_components=10**5), 10**6
    ),
    "codes to compare with": lambda: fitted("VQVAE", num_codes=10**5).encode(
        np.zeros((1024, 6), "float32"), batch_size=1024
    ),
    "logits of a prior": lambda: fitted("VQVAE", num_codes=10**5, code_length=100).fit_prior(
        X, verbose=0
    ),
    "pairs of positions": lambda: fitted(
        "AE", np.zeros((1, 20000, 4), "float32"), encoder="transformer", network_options={}
    ).fit(np.zeros((8, 20000, 4), "float32"), verbose=0),
    "importance samples": lambda: fitted("IWAE", num_samples=10**8).fit(X, verbose=0),
    "importance samples of bounds": lambda: fitted("MIWAE", num_bounds=10**8).fit(X, verbose=0),
    "projections": lambda: fitted("SlicedWAE", num_projections=10**9).fit(X, verbose=0),
    "a covariance": lambda: fitted("DIPVAE", latent_dim=30000).fit(X, verbose=0),
    "gradients of probes": lambda: fitted("ContractiveAE", num_probes=1000).fit(
        many(10**5, 6), batch_size=10**5, verbose=0
    ),
    "matrices of anchors": lambda: fitted("RiemannianHamiltonianVAE", num_anchors=10**8).fit(
        X, verbose=0
    ),
    "a step on one batch": lambda: fitted("VAE").train_on_batch(many(10**8, 6)),
    "an evaluation of one batch": lambda: fitted("VAE").test_on_batch(many(10**8, 6)),
    "a prediction of one batch": lambda: fitted("VAE").predict_on_batch(many(10**8, 6)),
    "a batch of a call": lambda: fitted("VAE").encode(many(10**8, 6), batch_size=10**8),
    "a batch of fit": lambda: fitted("VAE").fit(many(10**8, 6), batch_size=10**8, verbose=0),
    "latent_dim of a stream": lambda: keras_ae.TopDownVAE(10**10).build((None, 6)),
    "latent_dim of a path": lambda: keras_ae.HamiltonianVAE(10**10),
    "latent_dim of a walk": lambda: keras_ae.AdversarialAE(10**10),
    "width of a network": lambda: networks.encoder((6,), units=(10**6, 10**6)),
    "picture of a network": lambda: networks.decoder(2, (10**5, 10**5, 1), filters=(32, 64)),
    "a recurrent network": lambda: networks.feedback_decoder(2, (8, 4), units=(10**6,)),
    "a discriminator": lambda: networks.discriminator(10**6, 10**6),
    "tokens of a network": lambda: networks.transformer_blocks(width=10**6),
    "a U-Net": lambda: networks.unet((8, 8, 1), filters=(10**6,)),
    "units of a flow": lambda: layers.InverseAutoregressiveFlow(10**9)(X, X),
    "dimensions of a flow": lambda: keras_ae.IAFVAE(10**5, **small()).build((None, 6)),
    "a layer of a ladder": lambda: layers.LadderLayer(10**9)(X),
    "a transposed convolution": lambda: layers.Conv2DTranspose(10**6, 3)(np.zeros((1, 2, 2, 999))),
    "a bounded layer": lambda: layers.SpectralNormalization(keras.layers.Dense(10**9))(X),
    "a long sequence": lambda: layers.SequencePrior(4, (10**5,), units=8)(np.zeros((1, 10**5))),
    "pictures to compare": lambda: losses.MSSSIM().call(*[many(1, 10**5, 10**5, 1)] * 2),
    "sliced_wasserstein": lambda: divergences.sliced_wasserstein(X, X, 10**9, seed=0),
    "covariance": lambda: divergences.covariance(many(2, 10**6)),
    "pairwise_log_prob": lambda: distributions.pairwise_log_prob(*[many(10**5, 2)] * 3),
    "blocks": lambda: corruptions.Blocks(3, num_blocks=10**9)(many(8, 8, 8, 1), seed=0),
    "places of patches": lambda: layers.patch_places((10**6, 10**6, 1), 2),
    "draws": lambda: samplers.gaussian(10**9, 2, seed=0),
    "draws of a mixture": lambda: samplers.gaussian_mixture(10**9, 2, seed=0),
    "draws of a roll": lambda: samplers.swiss_roll(10**9, 2, seed=0),
    "sprites": lambda: datasets.as_array("sprites"),
    "pictures of sprites": lambda: datasets.sprites_images(np.broadcast_to(0, 10**7)),
    "factors of sprites": lambda: datasets.sprites_factors(np.broadcast_to(0, 10**9)),
    "an index of sprites": lambda: datasets.sprites_index(np.broadcast_to(0, (10**9, 5))),
    "videos": lambda: datasets.moving_digits(10**6),
    "points": lambda: plots.latent_plane(many(10**8, 2)),
    "curves": lambda: plots.image_grid(many(100, 10**6)),
    "epochs": lambda: plots.loss_curves({"loss": many(10**8), "val_loss": many(10**8)}),
}


@pytest.mark.parametrize("call", CALLS)
def test_calls_that_would_crash_the_process_are_refused(call, monkeypatch):
    """The test pretends that 2 GB are left, so that a failure ends only the test."""
    monkeypatch.setattr(memory, "available", lambda: 2 * 10**9)
    started = time.process_time()
    with pytest.raises(ValueError, match=r"would take [\d,.]+ GB of memory, and 2.0 GB are left"):
        CALLS[call]()
    assert time.process_time() - started < 60.0


def test_a_file_beyond_the_address_space_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "address_space", lambda: 10**8)
    np.save(tmp_path / "rows.npy", np.zeros((150, 10**6), "uint8"))
    for read in (datasets.load, datasets.as_array):
        with pytest.raises(ValueError, match=r"rows.npy' cannot .* 0.2 GB .* 0.1 GB.*ulimit -v"):
            read(tmp_path / "rows.npy")


@pytest.mark.parametrize("way", ["its own", "ours", "endless", "mapped"])
def test_a_batch_of_a_dataset_is_refused_before_it_is_gathered(way, monkeypatch):
    import tensorflow as tf

    monkeypatch.setattr(memory, "available", lambda: 2 * 10**9)
    rows = tf.data.Dataset.from_tensor_slices(X)
    data = {
        "its own": rows.repeat(10**9).batch(10**9),
        "ours": rows.repeat(10**9),
        "endless": rows.repeat().batch(10**9),
        "mapped": rows.repeat().map(lambda x: (x, x)).batch(10**9).map(lambda *xy: xy).prefetch(2),
    }[way]
    model = fitted("AE")
    for method in ("fit", "evaluate"):
        with pytest.raises(ValueError, match="batch_size=1000000000, .* would take .*GB"):
            size = 10**9 if way == "ours" else None
            steps = {"fit": "steps_per_epoch", "evaluate": "steps"}[method]
            getattr(model, method)(data, batch_size=size, verbose=0, **{steps: 1})
    # A batch size beyond the number of examples takes only what the examples take.
    model.fit(rows.batch(10**9), verbose=0)


def test_a_batch_of_a_stream_counts_its_step(monkeypatch):
    monkeypatch.setattr(memory, "_SMALL", 1000)
    monkeypatch.setattr(memory, "available", lambda: 5000)
    with pytest.raises(ValueError, match="AE: a batch of 64 examples.*smaller batch_size"):
        fitted("AE").fit((X for _ in range(3)), verbose=0)


@pytest.mark.parametrize("split", ["train", "test", "all"])
@pytest.mark.parametrize("name", ["rows.npy", "rows.npz"])
def test_a_file_beyond_memory_is_refused_before_it_is_read(name, split, monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "available", lambda: 10**8)
    path = tmp_path / name
    if path.suffix == ".npz":
        np.savez_compressed(path, x=np.zeros((10**6, 200), "uint8"))
    else:
        with open(path, "wb") as file:  # The file is sparse, and takes no room on the disk.
            header = {"descr": "|u1", "fortran_order": False, "shape": (10**6, 784)}
            np.lib.format.write_array_header_1_0(file, header)
            file.truncate(file.tell() + 784 * 10**6)
    with pytest.raises(ValueError, match=r"would take [\d,.]+ GB of memory, and 0.1 GB are left"):
        datasets.as_array(path, split)


# Argument -> function of a number that makes a model with so many layers.
LAYERS = {
    "blocks": lambda n: keras_ae.AE(
        encoder="resnet", network_options={"filters": (2,), "blocks": n}
    ).build((None, 8, 8, 1)),
    "units": lambda n: keras_ae.AE(network_options={"units": (2,) * n}).build((None, 6)),
    "filters": lambda n: keras_ae.AE(network_options={"filters": (2,) * n}).build((None, 8, 8, 1)),
    "decoder_blocks": lambda n: keras_ae.MaskedAE(decoder_blocks=n),
    "num_probes": lambda n: keras_ae.ContractiveAE(num_probes=n),
    "latent_dim": lambda n: keras_ae.ContractiveAE(n, **small()).build((None, 6)),
    "num_blocks": lambda n: keras_ae.TopDownVAE(n, num_blocks=n),
    "upper_dims": lambda n: keras_ae.LadderVAE(upper_dims=(1,) * n),
    "num_flows": lambda n: keras_ae.FlowVAE(num_flows=n),
    "num_reflections": lambda n: keras_ae.FlowVAE(flow="sylvester", num_reflections=n),
    "num_flows of IAFVAE": lambda n: keras_ae.IAFVAE(num_flows=n),
    "num_steps": lambda n: keras_ae.HamiltonianVAE(num_steps=n),
    "depth": lambda n: keras_ae.ResidualVQVAE(depth=n),
    "depth of a layer": lambda n: layers.ResidualQuantizer(4, depth=n),
    "num_layers": lambda n: layers.SequencePrior(4, (3,), num_layers=n),
    "num_layers of a grid": lambda n: layers.GridPrior(4, (3, 3), num_layers=n),
    "prefixes": lambda n: keras_ae.MatryoshkaSAE(n, prefixes=tuple(range(1, n + 1))),
}


@pytest.mark.parametrize("call", LAYERS)
def test_more_layers_than_can_be_made_are_refused(call):
    name = call.split()[0]
    with pytest.raises(ValueError, match=rf"{name}=1500000 .* 1,500,000 layers.* 1,000 .*Take"):
        LAYERS[call](1_500_000)


def test_draws_of_a_likelihood_that_would_take_hours_are_refused():
    with pytest.raises(ValueError, match="num_samples=1000000000 would repeat noise.*524288"):
        zoo.trained("VAE").log_likelihood(zoo.data(), num_samples=10**9)


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("shape", [(8, 8, 1), (8, 8), (8,)], ids=str)
def test_pictures_that_cannot_be_drawn_are_refused(shape, dtype):
    """The error comes at once, before any of the pictures is looked at or copied."""
    examples = np.broadcast_to(np.ones((), dtype), (10**9, *shape))
    started = time.process_time()
    for draw in (
        lambda: plots.image_grid(examples),
        lambda: plots.reconstructions(examples, examples),
        lambda: plots.reconstructions(examples, examples, columns=10**9),
    ):
        too_large = r"(would have [\d,]+ x [\d,]+ pixels|Drawing [\d,]+ points).*Pass fewer"
        with pytest.raises(ValueError, match=too_large):
            draw()
    assert time.process_time() - started < 1.0


def too_much(x):
    """Return x plus a number that takes 70 TB to compute, and that no compiler simplifies."""
    line = keras.ops.arange(2**22, dtype="float32") * keras.ops.reshape(x, (-1,))[:1]
    return x + keras.ops.sum(keras.ops.sort(keras.ops.cos(line[:, None] + line[None]), axis=-1))


class Greedy(keras.layers.Layer):
    """A layer that asks for more memory than any machine has, after it is switched on."""

    on = False

    def call(self, x):
        return too_much(x) if self.on else x


def greedy():
    layer = Greedy()
    encoder = keras.Sequential([keras.Input((6,)), layer, keras.layers.Dense(4)])
    model = keras_ae.DenoisingAE(2, encoder=encoder, seed=0, network_options={"units": (4,)})
    model.compile("adam")
    model.fit(X, verbose=0)
    return model, layer


@pytest.mark.every_backend
@pytest.mark.parametrize("name", ["fit", "evaluate", "predict", "encode", "train_on_batch"])
def test_an_allocation_that_fails_is_explained(name):
    model, layer = greedy()
    before = [v.numpy() for v in model.trainable_variables]
    layer.on = True
    model.compile("adam", run_eagerly=False)
    options = {} if name == "train_on_batch" else {"batch_size": 32, "verbose": 0}
    with pytest.raises(MemoryError, match=rf"^DenoisingAE.{name}, x of shape \(64, 6\).*Pass a sm"):
        getattr(model, name)(X, **options)
    layer.on = False
    for variable, start in zip(model.trainable_variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), start)
    model.compile("adam")
    model.fit(X, verbose=0)


# These rows take 400 TB, which no address space holds, even if the system promises more memory
# than it has.
ROWS = many(10**9, 10**5)
GRID = many(10**9, 300, 300, 1)
CODES = many(10**14, 4)
METRIC = hamiltonian.LearnedMetric(many(2, 4), many(2, 4, 4), 1.0, 0.1)
PUBLIC = {
    "permute_dims": lambda: divergences.permute_dims(ROWS, 0),
    "softmax_loss": lambda: divergences.softmax_loss(ROWS, 0),
    "bernoulli_kl": lambda: divergences.bernoulli_kl(ROWS, ROWS),
    "mmd": lambda: divergences.mmd(ROWS, ROWS),
    "covariance": lambda: divergences.covariance(ROWS),
    "sliced_wasserstein": lambda: divergences.sliced_wasserstein(ROWS, ROWS, seed=0),
    "planar": lambda: flows.planar(ROWS, ROWS, ROWS, ROWS[:, :1]),
    "radial": lambda: flows.radial(ROWS, ROWS, ROWS[:, :1], ROWS[:, :1]),
    "sylvester": lambda: flows.sylvester(ROWS, ROWS[:, None], ROWS[None], ROWS[None], ROWS),
    "Normal": lambda: likelihoods.get("gaussian").distribution(ROWS),
    "Bernoulli": lambda: likelihoods.get("bernoulli").distribution(ROWS),
    "ContinuousBernoulli": lambda: likelihoods.get("continuous_bernoulli").distribution(ROWS),
    "Categorical": lambda: likelihoods.get("categorical").distribution(ROWS),
    "Laplace": lambda: likelihoods.get("laplace").distribution(ROWS),
    "DiagonalGaussian.repeat": lambda: distributions.DiagonalGaussian(X, X).repeat(10**12),
    "DiagonalGaussian.log_prob": lambda: distributions.DiagonalGaussian(X, X).log_prob(ROWS),
    "GaussianMixture": lambda: distributions.GaussianMixture(ROWS, ROWS),
    "WrappedNormal": lambda: distributions.WrappedNormal(ROWS, ROWS),
    "RiemannianNormal": lambda: distributions.RiemannianNormal(ROWS, ROWS[:, :1]),
    "UniformSphere": lambda: distributions.UniformSphere(ROWS),
    "VonMisesFisher": lambda: distributions.VonMisesFisher(ROWS, ROWS[:, :1]),
    "event_sum": lambda: distributions.event_sum(ROWS),
    "MSSSIM": lambda: losses.MSSSIM()(GRID, GRID),
    "per_example": lambda: losses.per_example(losses.get("mse"), ROWS, ROWS),
    "LearnedMetric": lambda: hamiltonian.LearnedMetric(ROWS, ROWS[:, None], 1.0, 0.1),
    "LearnedMetric.inverse": lambda: METRIC.inverse(CODES),
    "LearnedMetric.slope": lambda: METRIC.slope(CODES, CODES, CODES),
    "LearnedMetric.momentum": lambda: METRIC.momentum(CODES, CODES),
    "LearnedMetric.momentum_log_prob": lambda: METRIC.momentum_log_prob(CODES, CODES),
    "LearnedMetric.surroundings": lambda: METRIC.surroundings(CODES, too_much),
    "LearnedMetric.leapfrog": lambda: METRIC.leapfrog(CODES, CODES, CODES, too_much, 0.1),
    "LearnedMetric.log_volume_and_slope": lambda: METRIC.log_volume_and_slope(CODES),
    "LearnedMetric.walk": lambda: METRIC.walk(CODES, 3, RunSeed([0, 0])),
    "inverse_root": lambda: hamiltonian.inverse_root(many(10**9, 300, 300)),
    "top_k": lambda: sparsity.top_k(ROWS, 3),
    "batch_top_k": lambda: sparsity.batch_top_k(ROWS, 3),
    "heaviside": lambda: sparsity.heaviside(ROWS, ROWS[0], 0.1),
    "jump_relu": lambda: sparsity.jump_relu(ROWS, ROWS[0], 0.1),
    "InverseAutoregressiveFlow": lambda: layers.InverseAutoregressiveFlow(8)(ROWS, ROWS),
    "GridPrior": lambda: layers.GridPrior(4, (4, 4), units=8)(many(10**13, 4, 4)),
    "GridPrior.log_prob": lambda: layers.GridPrior(4, (4, 4), units=8).log_prob(many(10**13, 4, 4)),
    "SequencePrior": lambda: layers.SequencePrior(4, (4,), units=8)(many(10**14, 4)),
    "encoder": lambda: networks.encoder((10**5,), units=(4,))(ROWS),
    "recurrent encoder": lambda: networks.encoder((5, 3), "recurrent", units=(4,))(
        many(10**14, 5, 3)
    ),
    "decoder": lambda: networks.decoder(10**5, (6,), units=(4,))(ROWS),
    "feedback_decoder": lambda: networks.feedback_decoder(4, (5, 3), units=(4,))(CODES),
    "discriminator": lambda: networks.discriminator(4, units=(4,))(CODES),
    "unet": lambda: networks.unet((300, 300, 1), filters=(4,))(GRID),
    "transformer_blocks": lambda: networks.transformer_blocks(width=4, heads=1)(many(10**13, 5, 4)),
    "to_patches": lambda: layers.to_patches(GRID, 2),
    "from_patches": lambda: layers.from_patches(many(10**9, 22500, 4), (300, 300, 1), 2),
    "sine_cosine_positions": lambda: layers.sine_cosine_positions(many(10**9, 2), 10**5),
    "VectorQuantizer": lambda: layers.VectorQuantizer(8)(many(10**14, 4)),
    "ResidualQuantizer": lambda: layers.ResidualQuantizer(8)(many(10**14, 4)),
    "FiniteScalarQuantizer": lambda: layers.FiniteScalarQuantizer((5, 5))(many(10**14, 2)),
    "LookupFreeQuantizer": lambda: layers.LookupFreeQuantizer(4)(many(10**14, 4)),
    "k_means": lambda: layers.k_means(ROWS, ROWS[:10]),
    "rotated": lambda: layers.rotated(ROWS, ROWS),
    "straight_through": lambda: layers.straight_through(ROWS, ROWS),
    "StochasticLayer": lambda: layers.StochasticLayer(4)(many(10**14, 4)),
    "LadderLayer": lambda: layers.LadderLayer(4)(many(10**14, 4)),
    "Conv2DTranspose": lambda: layers.Conv2DTranspose(4, 3)(GRID),
    "AdditiveGaussian": lambda: corruptions.AdditiveGaussian()(GRID, seed=0),
}


@pytest.mark.every_backend
@pytest.mark.parametrize("name", PUBLIC)
def test_layers_and_functions_called_alone_name_their_sizes(name):
    with pytest.raises((MemoryError, ValueError), match=r"\(\d{7,}|=\d{7,}| \d{5,}") as raised:
        PUBLIC[name]()
    assert re.search(r"there was not enough memory; |would take [\d,.]+ GB", str(raised.value))
    assert re.search("Pass|Draw|Take", str(raised.value))


DRAWING = [
    (name, argument)
    for name in zoo.MODELS
    for argument in ("num_samples", "num_bounds")
    if argument in inspect.signature(getattr(keras_ae, name)).parameters
]


@pytest.mark.parametrize("name, argument", DRAWING)
def test_a_step_counts_all_draws_of_an_example(name, argument, monkeypatch):
    sizes = []
    monkeypatch.setattr(memory, "refuse_beyond", lambda size, *rest: sizes.append(size))
    for number in (10**3, 10**4):
        memory.refuse_step(fitted(name, **{argument: number}), 32)
    few, many_draws = sizes
    assert 9.0 < many_draws / few <= 10.0
    # Each draw goes through a decoder with 8 and 6 numbers, and is compared with a target of 6.
    assert few > 4.0 * 32 * 10**3 * (8 + 6 + 6)


def test_a_likelihood_counts_the_draws_that_it_decodes_together(monkeypatch):
    looked = []
    monkeypatch.setattr(memory, "refuse_batch", lambda *given: looked.append(given[-1]))
    model = fitted("VAE")
    model.log_likelihood(X, num_samples=16, batch_size=64)
    model.log_likelihood(X, num_samples=3, batch_size=64)
    model.encode(X)
    assert looked == [8, 3, 1]


def test_errors_of_another_kind_go_through():
    with pytest.raises(RuntimeError, match="^other$"):
        with memory.explained("A.b", dict, "C."):
            raise RuntimeError("other")
    with pytest.raises(MemoryError, match="^A.b, n=3: .* C. What failed: no"):
        with memory.explained("D.e", dict, "F."):
            with memory.explained("A.b", lambda: {"n": 3, "name": "x"}, "C."):
                raise MemoryError("no")

    @memory.explains("Take fewer.")
    def function(x, n):
        raise MemoryError

    with pytest.raises(MemoryError, match=r"function, x of shape \(64, 6\), n=3: .* Take fewer."):
        function(X, n=3)


def test_weights_are_added_up(monkeypatch):
    """0.3 GB are left; each weight takes 50 MB, which alone would not be compared."""
    monkeypatch.setattr(memory, "available", lambda: 3 * 10**8)
    options = {"units": (3500,) * 8, "kernel_initializer": "zeros"}
    with pytest.raises(ValueError, match="AE: making the weight .* GB of others.* 0.3 GB are left"):
        keras_ae.AE(2, network_options=options).build((None, 6))


def test_an_optimizers_state_is_counted_before_it_is_made(monkeypatch):
    """0.5 GB are left; weights and gradients take 0.2 GB each, and Adam's state 0.4."""
    model = keras_ae.AE(2, network_options={"units": (5000,) * 2})
    model.build((None, 6))
    model.compile("adam")
    monkeypatch.setattr(memory, "available", lambda: 5 * 10**8)
    with pytest.raises(ValueError, match="AE: making the weight .*GB of others.*SGD"):
        model.fit(X, verbose=0)
    assert len(model.optimizer.variables) < 40


@pytest.mark.parametrize("name", zoo.MODELS)
def test_small_models_do_not_ask_how_much_memory_is_left(name, monkeypatch):
    """Small sizes are not compared, because it takes time to ask the system."""
    monkeypatch.setattr(memory, "available", lambda: pytest.fail("was asked"))
    model = zoo.compiled(name)
    zoo.build(model)
    memory.refuse_step(model, 32)
    memory.refuse_batch(model, 32, examples.leaves(zoo.data_for(name)))
    memory.refuse_samples(model, 32)


@pytest.mark.every_backend
def test_a_batch_size_beyond_the_data_takes_what_the_data_takes():
    """Indices of a batch of that size would take 4 TB in TensorFlow."""
    model = fitted("AE")
    model.fit(X, batch_size=10**12, verbose=0)
    whole = model.evaluate(X, batch_size=10**12, verbose=0)
    assert whole == pytest.approx(model.evaluate(X, batch_size=64, verbose=0), rel=1e-5)
    assert model.predict(X, batch_size=10**12, verbose=0).shape == X.shape
    assert model.encode(X, batch_size=10**12).shape == (64, 2)


def test_a_weight_is_checked_before_it_is_made(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 10**9)
    made = []

    def initializer(shape, dtype):
        made.append(shape)
        return keras.ops.zeros(shape, dtype)

    layer = keras.layers.Dense(10**5, kernel_initializer=initializer)
    with pytest.raises(ValueError, match=r"kernel.* of shape \(10000, 100000\).*8.0 GB.*Take less"):
        with memory.checked_weights("Dense", "Take less."):
            layer.build((None, 10**4))
    assert not made
    # Weights of layers outside of a model of this package are not checked.
    small_layer = keras.layers.Dense(3, kernel_initializer=initializer)
    small_layer.build((None, 2))
    assert made == [(2, 3)]


LIMITED = """
import resource
import keras_ae
from keras_ae.core import memory
from keras_ae.core.seeds import RunSeed
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 10**9, size + 10**9))
assert memory.available() <= 10**9
try:
    keras_ae.AE(10**8).build((None, 64))
except ValueError as error:
    print(error)
"""


@pytest.mark.skipif(
    not pathlib.Path("/proc/self/statm").exists(), reason="only Linux has this file"
)
def test_a_limit_of_address_space_counts():
    done = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True)
    assert done.returncode == 0 and "GB are left to this process" in done.stdout, done


FILLING = """
import resource
import numpy as np
import keras_ae
from keras_ae import divergences
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 2 * 10**9, size + 2 * 10**9))
found = []
for number in range(40000, 640000, 40000):
    rows = np.broadcast_to(np.float32(0.5), (number, 512))
    try:
        divergences.bernoulli_kl(rows, rows)
    except (MemoryError, ValueError) as error:
        found.append(error)
assert found and all("bernoulli_kl" in str(error) for error in found), found
"""


@pytest.mark.every_backend
@pytest.mark.skipif(
    not pathlib.Path("/proc/self/statm").exists(), reason="only Linux has this file"
)
def test_arrays_that_just_do_not_fit_end_no_process():
    done = subprocess.run([sys.executable, "-c", FILLING], capture_output=True, text=True)
    assert done.returncode == 0, done


@pytest.mark.parametrize("version", [1, 2])
def test_limits_of_control_groups_count(version, monkeypatch, tmp_path):
    groups, proc = tmp_path / "groups", tmp_path / "proc"
    names = {
        1: ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        2: ("", "memory.max", "memory.current", "inactive_file"),
    }
    controllers, limit, used, cache = names[version]
    outer, inner = groups / controllers / "outer", groups / controllers / "outer" / "inner"
    inner.mkdir(parents=True)
    (proc / "self").mkdir(parents=True)
    (proc / "self" / "cgroup").write_text(f"0:{controllers}:/outer/inner\n1:cpu:/other\n")
    (proc / "meminfo").write_text("MemTotal: 99 kB\nMemAvailable: 8000000 kB\n")
    monkeypatch.setattr(memory, "_PROC", proc)
    monkeypatch.setattr(memory, "_CGROUP", groups)
    assert memory.available() == 8000000 * 1024
    (outer / limit).write_text("3000000000\n")
    (outer / used).write_text("2500000000\n")
    (outer / "memory.stat").write_text(f"anon 1\n{cache} 700000000\n")
    (inner / limit).write_text("max\n")
    assert memory.available() == 1_200_000_000
    with pytest.raises(ValueError, match=r"A would take 1.3 GB of memory, and 1.2 GB are left"):
        memory.refuse_beyond(1.3e9, "A", "B.")


@pytest.mark.parametrize("name", ["WAE", "InfoVAE", "BetaTCVAE"])
def test_a_step_counts_the_pairs_of_a_batch(name, monkeypatch):
    sizes = []
    monkeypatch.setattr(memory, "refuse_beyond", lambda size, *rest: sizes.append(size))
    for number in (10**4, 10**5):
        memory.refuse_step(fitted(name), number)
    few, many_pairs = sizes
    if keras.config.backend() == "tensorflow":  # Its programs do not know how long a batch is.
        assert 99.0 < many_pairs / few <= 100.0
    else:
        assert many_pairs / few <= 10.0
