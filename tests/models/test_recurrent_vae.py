"""The recurrent VAE: padding, probabilities that read the data, and what reconstructions read."""

import itertools

import keras
import numpy as np
import pytest
import zoo
from keras import ops

import keras_ae

SHAPE = (5, 2)
PADDING = -1.0


def build(shape=SHAPE, **options):
    given = {"network_options": {"units": (4,)}, "likelihood": "bernoulli", "seed": 0}
    model = keras_ae.RecurrentVAE(3, **given | options)
    model.compile(keras.optimizers.Adam(0.01), **zoo.OP_BY_OP)
    model.build((None, *shape))
    for number, weight in enumerate(model.trainable_weights):
        weight.assign(np.random.default_rng(number).normal(scale=0.7, size=weight.shape))
    return model


def bits(examples=12, shape=SHAPE, seed=0):
    return np.random.default_rng(seed).integers(0, 2, (examples, *shape)).astype("float32")


def copy_weights(source, target):
    for ours, theirs in zip(target.variables, source.variables, strict=True):
        if "seed" not in ours.path:
            ours.assign(array(theirs))  # A loop on JAX uses up arrays that are shared.


def array(tensor):
    return ops.convert_to_numpy(tensor)


@pytest.mark.parametrize("taught", [False, True])
def test_padding_changes_nothing(taught):
    """A sequence of three steps is scored alike by models of three and of five steps."""
    options = {"teacher_forcing": taught, "mask_value": PADDING}
    model, same = build(**options), build((3, 2), **options)
    copy_weights(model, same)
    x = bits()
    x[:, 3:] = PADDING
    np.testing.assert_allclose(model.encode(x), same.encode(x[:, :3]), rtol=1e-5, atol=1e-6)
    found, wanted = (
        m.evaluate(v, verbose=0, return_dict=True) for m, v in ((model, x), (same, x[:, :3]))
    )
    assert found == pytest.approx(wanted, rel=1e-4)
    assert found["num_steps"] == 3.0
    bound = found["reconstruction_loss"] + found["kl_loss"]
    assert found["nats_per_step"] == pytest.approx(bound / 3.0, rel=1e-5)
    densities = [m.log_likelihood(v, seed=0) for m, v in ((model, x), (same, x[:, :3]))]
    np.testing.assert_allclose(*densities, rtol=1e-4)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("taught", [False, True])
def test_the_probabilities_of_all_sequences_given_a_code_sum_to_one(taught, reverse):
    model = build((4,), teacher_forcing=taught, reverse=reverse)
    x = np.array(list(itertools.product([0, 1], repeat=4)), "float32")
    z = np.random.default_rng(0).normal(size=(1, 3)).repeat(16, axis=0).astype("float32")
    densities = array(model.conditional(ops.convert_to_tensor(z)).log_prob(x))
    assert np.exp(densities).sum() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("reverse", [False, True])
def test_draws_have_the_probabilities_of_their_steps(reverse):
    """The frequency of each of eight sequences is its probability."""
    model = build((3,), teacher_forcing=True, reverse=reverse)
    x = np.array(list(itertools.product([0, 1], repeat=3)), "float32")
    z = np.random.default_rng(1).normal(size=(1, 3)).astype("float32")
    p = model.conditional(ops.convert_to_tensor(z.repeat(8, axis=0)))
    probabilities = np.exp(array(p.log_prob(x)))
    drawn = model.decode(z.repeat(4000, axis=0), sample=True, seed=0)
    found = np.bincount((drawn @ [4, 2, 1]).astype(int), minlength=8) / 4000
    np.testing.assert_allclose(found, probabilities, atol=0.03)
    assert np.ptp(probabilities) > 0.1


@pytest.mark.parametrize("reverse", [False, True])
def test_steps_are_predicted_from_those_before_them(reverse):
    """A change of a step changes what follows in the decoder's order, and nothing before."""
    model, x = build(teacher_forcing=True, reverse=reverse), bits()
    other = x.copy()
    other[:, 2] = 1.0 - other[:, 2]
    z = ops.convert_to_tensor(model.encode(x))
    found = [
        array(model._condition_taught(z, ops.convert_to_tensor(v), False).mean) for v in (x, other)
    ]
    changed = np.abs(found[0] - found[1]).max(axis=(0, 2)) > 1e-6
    np.testing.assert_array_equal(changed, [1, 1, 0, 0, 0] if reverse else [0, 0, 0, 1, 1])
    np.testing.assert_allclose(model.reconstruct(x), found[0], rtol=1e-5)


def test_a_free_decoder_reads_its_most_probable_steps():
    model = build(teacher_forcing=True)
    z = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")
    free = model.decode(z)
    codes = ops.convert_to_tensor(z)
    taught = model._condition_taught(codes, ops.convert_to_tensor((free > 0.5) * 1.0), False)
    np.testing.assert_allclose(array(taught.mean), free, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("likelihood", ["gaussian_heteroscedastic", "gaussian_feature_scale"])
@pytest.mark.parametrize("shape", [SHAPE, (5,)])
def test_likelihoods_with_more_parameters_than_features(likelihood, shape):
    x = np.random.default_rng(0).normal(size=(32, *shape)).astype("float32")
    for taught in (False, True):
        model = build(shape, likelihood=likelihood, teacher_forcing=taught)
        model.fit(x, epochs=1, verbose=0)
        assert model.reconstruct(x).shape == model.decode(model.encode(x)).shape == x.shape
        assert model.decode(model.encode(x), sample=True, seed=0).shape == x.shape


def test_series_count_as_steps_with_one_feature():
    x = bits(shape=(5, 1))
    model, flat = (build(shape, teacher_forcing=True) for shape in ((5, 1), (5,)))
    copy_weights(model, flat)
    found = flat.evaluate(x[..., 0], verbose=0, return_dict=True)
    assert found == pytest.approx(model.evaluate(x, verbose=0, return_dict=True), rel=1e-5)
    np.testing.assert_allclose(flat.reconstruct(x[..., 0]), model.reconstruct(x)[..., 0], rtol=1e-5)


def test_the_bound_is_below_the_likelihood():
    model, x = build(teacher_forcing=True), bits()
    model.fit(x, epochs=2, verbose=0)
    losses = model.evaluate(np.tile(x, (50, 1, 1)), verbose=0, return_dict=True)
    bound = -losses["reconstruction_loss"] - losses["kl_loss"]
    assert bound < model.log_likelihood(x, num_samples=2000, seed=0).mean() + 0.02


def test_wrong_arguments_are_explained():
    with pytest.raises(ValueError, match="RecurrentVAE: teacher_forcing=True needs the default"):
        build(teacher_forcing=True, decoder=keras.Sequential([keras.layers.Dense(10)]))
    with pytest.raises(ValueError, match="RecurrentVAE: encoder='mlp' is not recurrent"):
        build(encoder="mlp")
    with pytest.raises(ValueError, match="Multinomial"):
        build(likelihood="multinomial")
    with pytest.raises(ValueError, match="RecurrentVAE: x has examples of shape"):
        build((4, 4, 1))
