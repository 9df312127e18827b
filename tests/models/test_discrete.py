"""Models of integer codes beyond the contract: positions of codes, priors and stale priors."""

import json
import math
import zipfile

import keras
import numpy as np
import pytest
import zoo
from keras import ops

import keras_ae
from keras_ae.core import batching as calls
from keras_ae.core import inputs

pytestmark = [pytest.mark.formula, pytest.mark.xdist_group("discrete")]
every_discrete = pytest.mark.parametrize("kind", zoo.DISCRETE)
PICTURES = np.random.default_rng(0).integers(0, 2, (12, 10, 10, 1)).astype("float32")
SMALL_CONV = {"network_options": {"filters": (4,)}, "seed": 1}


def of_pictures(kind, **given):
    """Return a model of 10 x 10 pictures. Codes have 5 x 5 positions, in VQVAE2 also 3 x 3."""
    small_prior = {"prior_options": {"units": 4, "num_layers": 1}}
    model = getattr(keras_ae, kind)(2, **zoo.small(kind) | SMALL_CONV | small_prior | given)
    model.compile("adam", **zoo.OP_BY_OP)
    return model


# ------------------------------------------------------------------ positions of the codes

SHAPES = {"ResidualVQVAE": ((50,), (5, 5, 2)), "VQVAE2": ((34,), (34, 2))}


@every_discrete
def test_codes_of_pictures_have_rows_and_columns(kind):
    model = of_pictures(kind)
    codes = model.encode(PICTURES)
    code_shape, vector_shape = SHAPES.get(kind, ((5, 5), (5, 5, 2)))
    assert codes.shape == (12, *code_shape) and model.code_shape == code_shape
    vectors = ops.convert_to_numpy(model.quantized(ops.convert_to_tensor(PICTURES)).vectors)
    assert vectors.shape == (12, *vector_shape) and model._vector_shape == vector_shape
    found = zoo.compute(model._vectors, codes)
    np.testing.assert_allclose(found, vectors, atol=1e-6)
    # `decode` tells codes from vectors by their shape.
    expected = model.reconstruct(PICTURES)
    assert expected.shape == PICTURES.shape
    for code in (codes, codes.astype("float64"), vectors):
        np.testing.assert_allclose(model.decode(code), expected, atol=1e-5)
    statistics = model.codebook_statistics(PICTURES)
    assert 0 < statistics["usage"] <= 1 <= statistics["perplexity"] <= model.num_codes


@pytest.mark.costly
@pytest.mark.every_backend
@every_discrete
@pytest.mark.parametrize("shape", [(9, 3), (5, 6, 7, 1)], ids=["series", "volumes"])
def test_codes_of_series_and_volumes_have_a_place_in_each_axis(kind, shape):
    """The upper level of VQVAE2 has half the sides of the lower one, rounded up."""
    x = np.random.default_rng(0).random((12, *shape)).astype("float32")
    model = of_pictures(kind, encoder="conv", decoder="conv")
    places = tuple(-(-side // 2) for side in shape[:-1])
    number = math.prod(places)
    upper = math.prod(-(-side // 2) for side in places)
    model.fit(x, epochs=1, verbose=0)
    expected = {"ResidualVQVAE": (2 * number,), "VQVAE2": (number + upper,)}.get(kind, places)
    codes = model.encode(x)
    assert model.code_shape == expected and codes.shape == (12, *expected)
    np.testing.assert_allclose(model.decode(codes), model.reconstruct(x), atol=1e-5)
    model.fit_prior(x, epochs=1, verbose=0)
    assert model.sample(3, seed=0).shape == (3, *shape)
    assert model.prior_log_likelihood(x).shape == (12,)


@every_discrete
def test_only_codes_and_vectors_are_decoded(kind):
    model = of_pictures(kind)
    model.build((None, 10, 10, 1))
    codes = np.zeros((2, *model.code_shape), "int32")
    for wrong in (codes - 1, codes + model.num_codes, codes + 0.5):
        with pytest.raises(ValueError, match=f"integers from 0 to {model.num_codes - 1}"):
            model.decode(wrong)
    with pytest.raises(ValueError, match="codes of this .* have shape .*their vectors"):
        model.decode(np.zeros((2, 3, 7)))


def test_codes_split_into_two_levels_and_the_upper_one_informs_the_lower():
    model = of_pictures("VQVAE2")
    codes = model.encode(PICTURES)
    upper, lower = model._split_codes(codes)
    assert upper.shape == (12, 3, 3) and lower.shape == (12, 5, 5)
    joined = np.concatenate([upper.reshape(12, -1), lower.reshape(12, -1)], axis=1)
    np.testing.assert_array_equal(joined, codes)
    kernel = model.features_to_code.layers[-1].kernel
    assert kernel.shape == (4 + 2, 2)  # 4 features, and 2 numbers from the upper level.
    kernel.assign(np.concatenate([np.zeros((4, 2)), np.eye(2)]) * 50.0)
    again = model._split_codes(model.encode(PICTURES))
    np.testing.assert_array_equal(again[0], upper)
    # With this kernel the lower level depends only on the upper one.
    below = zoo.compute(lambda u: 50.0 * model.downward(model.upper_quantizer.vectors(u)), upper)
    np.testing.assert_array_equal(again[1], zoo.compute(lambda z: model.quantizer(z).codes, below))


def test_a_sequence_has_a_code_at_every_step():
    """The user's own networks give maps with one axis, with four, or of unknown size."""

    def network(*layers_of_it, shape):
        return keras.Sequential([keras.Input(shape), *layers_of_it])

    x = np.random.default_rng(0).random((8, 7, 3), "float32")
    layers = keras.layers
    for kind, width, code_shape in (("VQVAE", 2, (7,)), ("VQVAE2", 4, (4 + 7,))):
        encoder = network(layers.Conv1D(4, 3, padding="same"), shape=(7, 3))
        decoder = network(layers.Conv1D(3, 3, padding="same"), shape=(7, width))
        given = zoo.small(kind) | {"encoder": encoder, "decoder": decoder}
        model = getattr(keras_ae, kind)(2, seed=0, **given)
        model.compile("adam", **zoo.OP_BY_OP)
        model.fit(x, verbose=0)
        assert model.encode(x).shape == (8, *code_shape)
        assert model.reconstruct(x).shape == x.shape
    with pytest.raises(ValueError, match="number of codes must be known"):
        keras_ae.VQVAE(2, encoder=network(_Ragged(), shape=(7, 3))).build((None, 7, 3))
    cubes = network(layers.Reshape((7, 1, 1, 1, 3)), shape=(7, 3))
    with pytest.raises(ValueError, match="of a series, a picture or a volume"):
        keras_ae.VQVAE2(2, encoder=cubes).build((None, 7, 3))


class _Ragged(keras.layers.Layer):
    """Features at positions whose number is unknown before there is data."""

    def call(self, x):
        return x

    def compute_output_spec(self, x):
        return keras.KerasTensor((None, None, 3))


def test_one_residual_codebook_is_a_vqvae():
    """With the same weights they agree before and after a step; codes have one more axis."""
    models = [
        of_pictures("VQVAE", num_codes=8),
        of_pictures("ResidualVQVAE", num_codes=8, depth=1),
    ]
    for model in models:
        model.compile(keras.optimizers.SGD(0.1), **zoo.OP_BY_OP)
        model.build((None, 10, 10, 1))
    count = len(models[0].trainable_variables)
    assert len(models[1].trainable_variables) == count
    for ours, theirs in zip(*(m.trainable_variables for m in models), strict=True):
        theirs.assign(ours.numpy())  # JAX gives a step's arrays away.
    placed = models[0].quantizer.placed_embeddings.numpy()
    models[1].quantizer.quantizers[0].placed_embeddings.assign(placed)
    seed = models[0].quantizer.seed_generator.state.numpy()
    models[1].quantizer.quantizers[0].seed_generator.state.assign(seed)
    for step in range(2):
        codes = [m.encode(PICTURES) for m in models]
        np.testing.assert_array_equal(codes[0].reshape(12, 25), codes[1], err_msg=str(step))
        losses = [m.train_on_batch(PICTURES, return_dict=True) for m in models]
        assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize("kind", ["VQVAE", "ResidualVQVAE"])
def test_a_codebook_learns_by_its_gradient(kind):
    model = zoo.eager(kind, learning="gradient", k_means_start=False)
    assert model.objective == ("reconstruction_loss", "commitment_loss", "codebook_loss")
    history = model.fit(zoo.data(), batch_size=16, verbose=0).history
    assert history["codebook_loss"][0] == pytest.approx(history["commitment_loss"][0], rel=1e-5)
    offsets = [v for v in model.trainable_variables if v.name == "embedding_offsets"]
    assert len(offsets) == (2 if kind == "ResidualVQVAE" else 1)
    assert all(np.abs(v.numpy()).max() > 0 for v in offsets)
    plain = zoo.eager(kind)
    plain.build((None, 6))
    assert not [v for v in plain.trainable_variables if v.name == "embedding_offsets"]


@pytest.mark.parametrize("kind", ["VQVAE", "ResidualVQVAE", "VQVAE2"])
def test_a_good_part_of_each_codebook_is_in_use_from_the_first_epoch(kind):
    """Most of each picture is background, and the untrained encoder's vectors are almost equal."""
    rng = np.random.default_rng(0)
    x = np.zeros((256, 12, 12, 1), "float32")
    for picture in x:
        row, column = rng.integers(0, 8, 2)
        picture[row : row + 4, column : column + 4, 0] = rng.random((4, 4)) > 0.3
    model = of_pictures(kind, num_codes=32)
    model.fit(x, batch_size=16, epochs=1, verbose=0)
    assert model.codebook_statistics(x)["usage"] > 0.5


def test_one_level_for_each_dimension():
    model = keras_ae.FSQVAE(3, levels=(4, 3, 2), code_length=2)
    assert model.encode(zoo.data()).shape == (48, 2) and model.num_codes == 24
    for levels, words in (
        ((4, 3), "one integer for each"),
        (1, "from 2 to 1048576"),
        ("5", "levels='5'"),
        (2**20 + 1, "levels=1048577 must .* float32 cannot tell more than 1048576 values"),
        ((2, 2**21, 2), "levels=.* must .* float32 cannot tell more than 1048576 values"),
    ):
        with pytest.raises(ValueError, match=words):
            keras_ae.FSQVAE(3, levels=levels)


@pytest.mark.costly
@pytest.mark.every_backend
@pytest.mark.parametrize("levels", [2, (2, 3), 4096])
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_untrained_finite_scalars_have_many_codes(levels, dtype):
    x = np.random.default_rng(0).random((64, 6), "float32")
    length = 2 if isinstance(levels, tuple) else 1
    model = keras_ae.FSQVAE(length, levels=levels, code_length=20, seed=0, dtype=dtype)
    codes = model.encode(x)
    assert codes.min() >= 0 and codes.max() < model.num_codes
    assert len(np.unique(codes)) >= min(20, model.num_codes)
    np.testing.assert_allclose(model.decode(codes), model.reconstruct(x), atol=1e-5)


def test_finite_scalars_of_small_features_learn():
    """If all were rounded to 0, no gradient would pass the ReLUs, and no weight would change."""
    model = of_pictures("FSQVAE")
    model.build((None, 10, 10, 1))
    before = [v.numpy() for v in model.trainable_variables]
    model.fit(PICTURES * 1e-3, PICTURES, verbose=0)
    moved = [
        not np.array_equal(v.numpy(), b)
        for v, b in zip(model.trainable_variables, before, strict=True)
    ]
    assert all(moved)


# ------------------------------------------------------------------ the prior


@pytest.mark.every_backend
def test_fit_does_not_change_the_prior():
    model = zoo.eager("VQVAE")
    model.build((None, 6))
    ids = {id(v) for v in model.code_prior.variables}
    assert ids and not ids & {id(v) for v in model.trainable_variables}
    before = [v.numpy() for v in model.code_prior.variables]
    model.fit(zoo.data(), batch_size=16, verbose=0)
    assert all(
        np.array_equal(v.numpy(), b)
        for v, b in zip(model.code_prior.variables, before, strict=True)
    )
    # Adam's variables are the rate, the step, and two moments of every weight.
    assert len(model.optimizer.variables) == 2 + 2 * len(model.trainable_variables)


def codes_alone(model):
    return [v.numpy() for v in model.variables if "code_prior" not in v.path]


@pytest.mark.every_backend
def test_fit_prior_trains_only_the_prior():
    """Its loss reaches the entropy of the codes, which is that of the patterns in the data."""
    x = np.repeat(zoo.data(64), 8, axis=0)[:256]
    distinct, counts = np.unique(x, axis=0, return_counts=True)
    entropy = -np.sum(counts / 256 * np.log(counts / 256))
    model = zoo.compiled("VQVAE", num_codes=16)
    model.fit(np.tile(x, (8, 1)), batch_size=32, verbose=0)
    assert len(np.unique(model.encode(distinct), axis=0)) == len(distinct)
    before = codes_alone(model)
    with pytest.raises(RuntimeError, match="Call fit_prior"):
        model.prior_log_likelihood(x)
    optimizer = keras.optimizers.Adam(0.05)
    history = model.fit_prior(
        x, epochs=20, batch_size=64, optimizer=optimizer, validation_data=x, verbose=0
    ).history
    after = codes_alone(model)
    changed = [not np.array_equal(a, b) for a, b in zip(after, before, strict=True)]
    assert sum(changed) == 1  # Only the flag that says that it is fitted.
    assert history["loss"][0] > 2 * entropy
    nats = -model.prior_log_likelihood(x)
    assert nats.shape == (256,)
    assert entropy - 1e-3 <= nats.mean() < entropy + 0.1
    assert history["val_loss"][-1] == pytest.approx(nats.mean(), rel=1e-4)
    tensors = ops.convert_to_numpy(model.prior_log_likelihood(ops.convert_to_tensor(x[:5])))
    np.testing.assert_allclose(tensors, -nats[:5], atol=1e-4)
    expected = zoo.compute(model.code_prior.log_prob, model.encode(x[:5]))
    np.testing.assert_allclose(tensors, expected, atol=1e-4)
    # Draws are codes that occur in the data, as often as there.
    codes = ops.convert_to_numpy(model.sampler.sample(1000, keras.random.SeedGenerator(0)))
    known = (codes[:, None] == model.encode(distinct)).all(axis=-1)
    assert known.any(axis=1).mean() > 0.9
    assert np.abs(known.mean(axis=0) - counts / 256).max() < 0.1


def test_the_seed_decides_the_prior():
    priors = []
    for _ in range(2):
        model = zoo.eager("FSQVAE")
        model.build((None, 6))
        model.fit_prior(zoo.data(), epochs=2, batch_size=16, verbose=0)
        priors.append([v.numpy() for v in model.code_prior.variables])
    assert all(np.array_equal(a, b) for a, b in zip(*priors, strict=True))


@pytest.mark.every_backend
def test_sample_says_what_to_call():
    model = zoo.eager("VQVAE")
    for first in ("fit", "fit_prior"):
        with pytest.raises(RuntimeError, match=rf"sample needs .* Call {first}\(x\) first"):
            model.sample(3)
        model.build((None, 6))
    model.fit_prior(zoo.data(), epochs=1, batch_size=16, verbose=0)
    assert model.sample(3, seed=0).shape == (3, 6)
    model.fit(zoo.data(), batch_size=16, verbose=0)  # This changes the codes.
    with pytest.raises(RuntimeError, match="fitted to what `fit` left"):
        model.sample(3)


def test_prior_options_are_passed_to_the_prior():
    model = keras_ae.VQVAE(2, prior_options={"units": 12, "num_heads": 3}, num_codes=4)
    model.build((None, 6))
    assert model.code_prior.units == 12 and model.code_prior.num_heads == 3
    assert isinstance(model.code_prior, keras_ae.layers.SequencePrior)
    with pytest.raises(TypeError, match="prior_options=3 must be a dictionary"):
        keras_ae.VQVAE(2, prior_options=3)


@pytest.mark.costly
@pytest.mark.every_backend
@pytest.mark.parametrize("pictures", [True, False])
def test_a_prior_of_a_product_codebook_predicts_digits(pictures):
    """Logits of whole codes (5 ** 8) would take 5 GB for a step of these 64 examples."""
    x = PICTURES if pictures else zoo.data()
    given = SMALL_CONV if pictures else {**zoo.OPTIONS, "prior_options": zoo.TINY["prior_options"]}
    model = keras_ae.FSQVAE(8, **given)
    model.compile("adam", **zoo.OP_BY_OP)
    model.fit(x, verbose=0)
    history = model.fit_prior(x, epochs=2, batch_size=4, verbose=0, validation_data=x).history
    assert model.code_prior.levels == (5,) * 8 and model.code_prior.count_params() < 10**6
    nats = -model.prior_log_likelihood(x)
    assert history["val_loss"][-1] == pytest.approx(nats.mean(), rel=1e-4)
    assert model.sample(3, seed=0).shape == (3, *x.shape[1:])
    codes = ops.convert_to_numpy(model.sampler.sample(50, keras.random.SeedGenerator(0)))
    assert codes.min() >= 0 and codes.max() < model.num_codes
    assert codes.max() > 2**16 and np.array_equal(
        inputs.check_codes(model, codes.astype("float64")), codes
    )


def test_codes_beyond_an_int32_are_refused_at_construction():
    for make in (
        lambda: keras_ae.FSQVAE(16),
        lambda: keras_ae.FSQVAE(10**9),
        lambda: keras_ae.FSQVAE(3, levels=(2000, 2000, 2000)),
        lambda: keras_ae.LFQVAE(31),
        lambda: keras_ae.LFQVAE(10**9),
    ):
        with pytest.raises(ValueError, match="make about .* codes, but 32 bits hold at most"):
            make()


# ------------------------------------------------------------------ files


@pytest.mark.costly
@pytest.mark.every_backend
@pytest.mark.parametrize("fitted", [True, False])
def test_a_file_whose_prior_predicts_whole_codes_computes_as_it_did(tmp_path, fitted):
    """Only files of priors over digits say so; older files say nothing and have whole codes."""
    model = zoo.eager("FSQVAE")
    model._whole_codes = True
    model.fit(zoo.data(), batch_size=16, verbose=0)
    assert model.code_prior.levels == (25,)
    model._prior_fitted.assign(float(fitted))
    model.save(tmp_path / "new.keras")
    with (
        zipfile.ZipFile(tmp_path / "new.keras") as new,
        zipfile.ZipFile(tmp_path / "old.keras", "w") as old,
    ):
        for name in new.namelist():
            text = new.read(name)
            if name == "config.json":
                config = json.loads(text)
                assert config["build_config"].pop("prior_of_whole_codes")
                text = json.dumps(config).encode()
            old.writestr(name, text)
    for name in ("new.keras", "old.keras"):
        loaded = keras_ae.load(tmp_path / name)
        np.testing.assert_array_equal(loaded.encode(zoo.data()), model.encode(zoo.data()))
        if fitted:
            expected = model.prior_log_likelihood(zoo.data())
            np.testing.assert_array_equal(loaded.prior_log_likelihood(zoo.data()), expected)
            np.testing.assert_array_equal(loaded.sample(9, seed=0), model.sample(9, seed=0))
        loaded.fit_prior(zoo.data(), epochs=1, verbose=0)
        # A prior that was never fitted is made again, over digits.
        assert loaded.code_prior.levels == ((25,) if fitted else (5, 5))
        loaded.save(tmp_path / "again.keras")
        again = keras_ae.load(tmp_path / "again.keras")
        expected = loaded.prior_log_likelihood(zoo.data())
        np.testing.assert_array_equal(again.prior_log_likelihood(zoo.data()), expected)


@pytest.mark.costly
@pytest.mark.every_backend
def test_a_prior_of_pictures_is_saved_and_served(tmp_path):
    """This prior is a masked convolution; the contract tests transformers."""
    model = of_pictures("VQVAE")
    model.fit(PICTURES, verbose=0)
    model.fit_prior(PICTURES, epochs=1, batch_size=12, verbose=0)
    drawn = model.sample(5, seed=3)
    model.save(tmp_path / "model.keras")
    loaded = keras_ae.load(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.sample(5, seed=3), drawn, atol=1e-6)
    if keras.config.backend() == "torch":
        return
    import tensorflow as tf

    model.export(tmp_path / "model")
    served = tf.saved_model.load(str(tmp_path / "model"))
    found = served.signatures["sample"](num_samples=tf.constant(5), seed=tf.constant(3))
    np.testing.assert_allclose(*found.values(), drawn, atol=1e-5)
    codes = served.encode(PICTURES)
    assert codes.dtype == tf.int32
    np.testing.assert_array_equal(codes, model.encode(PICTURES))
    np.testing.assert_allclose(served.decode(codes), model.reconstruct(PICTURES), atol=1e-5)


def test_an_export_without_a_prior_serves_no_sample(tmp_path, exports):
    model = of_pictures("FSQVAE")
    model.build((None, 10, 10, 1))
    model.export(tmp_path / "model")
    card = json.loads((tmp_path / "model/card.json").read_text())
    assert card["endpoints"] == ["serve", "encode", "decode"]


def test_sample_obeys_verbose(capsys, monkeypatch):
    # With this, verbose="auto" shows every bar.
    monkeypatch.setattr(calls._Progress, "PATIENCE", -1.0)
    model = zoo.trained("VQVAE")
    capsys.readouterr()
    quiet = model.sample(1036, seed=0, verbose=0)
    assert capsys.readouterr().out == ""
    np.testing.assert_array_equal(model.sample(1036, seed=0), quiet)
    # One bar to draw codes, and one to decode them.
    assert capsys.readouterr().out.count("2/2") == 2


@every_discrete
def test_gradients_pass_straight_through_the_steps(kind):
    """They are the slope of z + (q - z), where the latter stands still."""
    model = zoo.trained(kind)
    x = zoo.data(5) * 0.5 + 0.25
    step = np.zeros_like(x)
    step[1, 2] = 1e-3
    found = zoo.gradient(lambda v: ops.sum(ops.square(model.reconstruct(v))), x)[1, 2]
    smooth = zoo.straightened(model, x)
    above, below = ((smooth(x + sign * step) ** 2).sum() for sign in (1, -1))
    assert found == pytest.approx((above - below) / 2e-3, rel=0.05, abs=5e-3)


@pytest.mark.parametrize("name", ["VQVAE", "VQVAE2", "FSQVAE"])
def test_symbols_and_encoders_without_features_are_refused(name):
    symbol = keras.KerasTensor((None, 6))
    model = zoo.trained(name)
    for call in (model.fit_prior, model.fit_sampler, model.codebook_statistics):
        with pytest.raises(TypeError, match="x is a KerasTensor. It is symbolic"):
            call(symbol)
    flat = keras.Sequential([keras.layers.Dense(1), keras.layers.Reshape(())])
    with pytest.raises(ValueError, match="the encoder returns one number for each example"):
        zoo.make(name, encoder=flat).build((None, 6))
