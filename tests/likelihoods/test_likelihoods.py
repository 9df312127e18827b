"""Likelihoods and losses that can learn nothing are refused, and every weight is trained."""

import functools
import random

import keras
import numpy as np
import pytest
import zoo
from keras import ops

import keras_ae
from keras_ae import likelihoods

CLASSES = ["categorical_crossentropy", "categorical_focal_crossentropy"]


def vae(likelihood="categorical", cls=keras_ae.VAE):
    model = cls(
        2, likelihood=likelihood, encoder="mlp", decoder="mlp", network_options={"units": ()}
    )
    model.compile("adam", **zoo.OP_BY_OP)
    return model


def ae(loss, cls=keras_ae.AE, **given):
    given = {"encoder": "mlp", "decoder": "mlp", "network_options": {"units": ()}} | given
    model = cls(2, reconstruction_loss=loss, **given)
    model.compile("adam", **zoo.OP_BY_OP)
    return model


def one_hot(*shape, classes=3):
    return np.eye(classes, dtype="float32")[np.random.default_rng(0).integers(0, classes, shape)]


# ------------------------------------------------------------------ classes


@pytest.mark.parametrize("shape", [(8, 1), (8, 4, 1), (8, 4, 4, 1)])
def test_a_single_class_is_refused(shape):
    x = np.random.default_rng(0).integers(0, 2, shape).astype("float32")
    for given in ("categorical", likelihoods.Categorical()):
        with pytest.raises(ValueError, match="one class.*keras.utils.to_categorical.*bernoulli"):
            vae(given).fit(x, verbose=0)
    with pytest.raises(ValueError, match="one class"):
        vae(cls=functools.partial(keras_ae.PerceptualVAE, features="mse")).fit(x, verbose=0)
    vae("bernoulli").fit(x, verbose=0)


@pytest.mark.parametrize("loss", [*CLASSES, "cosine_similarity"])
def test_losses_of_vectors_refuse_vectors_of_one_number(loss):
    x = np.ones((8, 4, 1), "float32")
    for model in (ae(loss), ae(loss, keras_ae.DenoisingAE), ae(loss, keras_ae.VQVAE)):
        with pytest.raises(ValueError, match=f"{loss}' reads the last axis.*learns nothing"):
            model.fit(x, verbose=0)
    series = {"encoder": None, "decoder": None, "network_options": {"units": (4,)}}
    with pytest.raises(ValueError, match="learns nothing"):
        ae(loss, keras_ae.RecurrentAE, **series).fit(x[:, :, 0], verbose=0)


def not_classes():
    """Return name -> data whose last axis is no distribution over classes."""
    rng = np.random.default_rng(0)
    late = one_hot(5000, 4)
    late[-1, -1] = 1.0
    return {
        "pictures": rng.random((8, 4, 4, 3), "float32"),
        "vectors": rng.integers(0, 2, (8, 6)).astype("float32"),
        "bytes": np.ones((8, 6), "uint8"),
        "the last one": late,
        "two classes at once": np.ones((4, 3), "float32"),
        "halves": np.full((4, 3), 0.5, "float32"),
    }


@pytest.mark.parametrize("data", not_classes())
def test_classes_that_do_not_sum_to_one_are_refused(data):
    x = not_classes()[data]
    for model in (vae(), ae("categorical_crossentropy")):
        with pytest.raises(ValueError, match="add up to 1. Make labels one-hot"):
            model.fit(x, verbose=0)


def test_classes_may_be_soft_or_absent():
    soft = np.random.default_rng(0).dirichlet(np.ones(3), (8, 4))
    padded = one_hot(8, 4)
    padded[:, 2:] = 0.0
    for x in (soft, soft.astype("float16"), padded, one_hot(8, 4).astype("uint8")):
        for model in (vae(), ae("categorical_crossentropy")):
            model.fit(x, verbose=0)
    logits = ops.zeros((8, 4, 3))
    p = likelihoods.Categorical().distribution(logits)
    found = ops.convert_to_numpy(p.log_prob(padded))
    # Only two of the steps are not padding.
    np.testing.assert_allclose(found, -2 * np.log(3.0), rtol=1e-5)


def test_masked_patches_are_not_checked_as_classes():
    given = {"encoder": None, "decoder": None, "network_options": {"width": 8, "blocks": 1}}
    x = one_hot(4, 4, 4)
    with pytest.raises(
        ValueError, match="a patch of data of shape .* has 12 numbers. Set patch_size=1"
    ):
        ae("categorical_crossentropy", keras_ae.MaskedAE, patch_size=2, **given).fit(x, verbose=0)
    ae("categorical_crossentropy", keras_ae.MaskedAE, patch_size=1, **given).fit(x, verbose=0)


def test_a_cross_entropy_s_data_lies_between_0_and_1_whatever_the_decoder():
    decoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(6, "sigmoid")])
    for model in (
        ae("binary_crossentropy", decoder=decoder),
        ae(keras.losses.BinaryCrossentropy(from_logits=True)),
    ):
        with pytest.raises(ValueError, match="models values between 0 and 1"):
            model.fit(200.0 * zoo.data(), verbose=0)


# ------------------------------------------------------------------ what nothing trains


def left_alone(model):
    """Return the paths of trainable weights that training changes by no more than rounding."""
    model.compile(keras.optimizers.SGD(0.05), **zoo.OP_BY_OP)
    zoo.build(model)
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:  # A layer that reads zeros would hardly learn.
        variable.assign(variable.numpy() + rng.normal(scale=0.1, size=variable.shape))
    before = [v.numpy().copy() for v in model.trainable_variables]
    # The data is noise in [0, 1], so that no two columns are alike.
    name = type(model).__name__
    if model._modalities:
        x = zoo.data_for(name)
    else:
        x = zoo.joined(name, zoo.nearest(model, rng.random((48, 6), "float32")))
    model.fit(x, batch_size=16, verbose=0)
    pairs = zip(model.trainable_variables, before, strict=True)
    # The bias of an attention's keys adds the same to all logits, so it has no gradient.
    return [
        v.path
        for v, old in pairs
        if np.abs(v.numpy() - old).max() <= 1e-7 and not v.path.endswith("/key/bias")
    ]


@pytest.mark.parametrize("name", zoo.MODELS)
def test_every_trainable_weight_is_trained(name):
    random.seed(0)
    assert left_alone(zoo.make(name, **at_once(name))) == []


def at_once(name):
    """Return the arguments of a model that trains all its weights from the first step on."""
    return {"pretraining_steps": 0} if "pretraining_steps" in zoo.parameters_of(name) else {}


@pytest.mark.parametrize("name", zoo.WITH_LIKELIHOOD)
def test_a_learned_scale_is_trained_or_refused(name):
    random.seed(0)
    for likelihood in ("gaussian_learned_scale", likelihoods.Laplace("learned")):
        model = zoo.make(name, likelihood=likelihood, **at_once(name))
        if model._trains_likelihood:
            assert left_alone(model) == []
            continue
        with pytest.raises(ValueError, match=r"weights \(log_scale\) that nothing trains.*0.1"):
            model.build((None, 6))
    zoo.make(name, likelihood=likelihoods.Gaussian(0.1)).build((None, 6))


def test_three_players_take_free_bits():
    model = zoo.make("VAEGAN", free_bits=0.5)
    model.compile("adam", **zoo.OP_BY_OP)
    logs = model.fit(zoo.data(), verbose=0).history
    assert logs["free_bits_loss"][0] >= 1.0 and "kl_loss" in logs


# ------------------------------------------------------------------ arguments without effect

UNUSED = {
    "SparseAE": {"penalty": "l1", "target": 0.3},
    "RegularizedAE": {"regularization": "spectral_normalization", "weight": 0.5},
    "FlowVAE": {"flow": "radial", "num_reflections": 2},
    "HamiltonianVAE": {"num_steps": 0, "step_size": 0.1},
    "RiemannianHamiltonianVAE": {"num_steps": 0, "tempering": 0.5},
}
UNUSED_BY_NETWORKS_THAT_ARE_GIVEN = {
    "MaskedAE": {"decoder_blocks": 2},
    "RecurrentAE": {"cell": "lstm"},
}


@pytest.mark.parametrize("name", UNUSED | UNUSED_BY_NETWORKS_THAT_ARE_GIVEN)
def test_an_argument_without_effect_is_refused(name):
    given = UNUSED.get(name) or UNUSED_BY_NETWORKS_THAT_ARE_GIVEN[name]
    argument = list(given)[-1]
    if name in UNUSED_BY_NETWORKS_THAT_ARE_GIVEN:
        given = given | zoo.own_networks(name)
    model = zoo.make(name, **given)
    with pytest.raises(ValueError, match=f"{name}: {argument}=.* has no effect, because"):
        model.build((None, 6))
    default = keras_ae.core.configuration.constructor_parameters(type(model))[argument]
    zoo.make(name, **given | {argument: default}).build((None, 6))


@pytest.mark.parametrize("name", zoo.WITH_NETWORKS)
def test_options_of_networks_that_were_given_are_refused(name):
    options = {"units": (3,)}
    if "mask_value" not in zoo.parameters_of(name):
        options["mask_value"] = -1.0
    if getattr(keras_ae, name)._allow_nan:  # What is missing is NaN, and no number.
        options.pop("mask_value", None)
    model = zoo.make(name, **zoo.own_networks(name), network_options=options)
    if options.keys() <= model._options_in_use():  # The model makes a third network.
        model = zoo.make(name, **zoo.own_networks(name), network_options={"units": (3,)})
        model.build((None, 6))
        assert any(3 in variable.shape for variable in model.variables)
        return
    match = f"{name}: network_options={{.*no effect in 'units'"
    with pytest.raises(ValueError, match=match):
        model.build((None, 6))


@pytest.mark.parametrize(
    "likelihood", [likelihoods.Gaussian("learned"), likelihoods.OptimalGaussian()]
)
def test_models_share_no_weights_of_a_likelihood(likelihood):
    vae(likelihood).build((None, 6))
    with pytest.raises(ValueError, match="already the likelihood of a model.*one object for each"):
        vae(likelihood).build((None, 6))


def test_a_model_with_a_likelihood_object_loads(tmp_path):
    """The object in its configuration was built, and the model builds it again."""
    model = vae(likelihoods.Gaussian("learned"))
    model.fit(zoo.data(), verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras_ae.load(tmp_path / "model.keras")
    found, wanted = (float(m.likelihood.log_scale.numpy()) for m in (loaded, model))
    assert found == wanted != 0.0
