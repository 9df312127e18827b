"""Padded sequences: a model computes with them as with the same sequences cut to length.

The check `padding` of the contract tries on every model that the value of the padding is ignored.
"""

import keras
import numpy as np
import pytest
import zoo
from keras import layers, ops

import keras_ae
from keras_ae.distributions import WithoutPadding

STEPS, FEATURES, PADDING = 5, 3, -1.0
LENGTHS = np.array([1, 2, 4, 5, 3, 5])
OPTIONS = {"encoder": "recurrent", "decoder": "recurrent", "seed": 0}
LIKELIHOODS = {
    "bernoulli": None,
    "continuous_bernoulli": None,
    "gaussian_learned_scale": None,
    "laplace": None,
    "categorical": None,
}


def sequences(value=PADDING, seed=0):
    """Sequences of one-hot steps, which every likelihood takes, padded with a number at the end."""
    rng = np.random.default_rng(seed)
    x = np.eye(FEATURES, dtype="float32")[rng.integers(0, FEATURES, (len(LENGTHS), STEPS))]
    for row, length in enumerate(LENGTHS):
        x[row, length:] = value
    return x


def made(name="VAE", mask_value=PADDING, **given):
    options = {"network_options": {"units": (4,), "mask_value": mask_value}, **OPTIONS}
    model = getattr(keras_ae, name)(2, **options | zoo.small(name) | given)
    model.compile(keras.optimizers.SGD(0.1), **zoo.OP_BY_OP)
    model.build((None, STEPS, FEATURES))
    for number, weight in enumerate(model.decoder.trainable_weights):
        weight.assign(np.random.default_rng(number).normal(scale=0.7, size=weight.shape))
    return model


def densities(model, x, z):
    """Return log p(step | code) of shape (batch, steps), computed one step at a time."""
    parameters = ops.convert_to_numpy(model.decoder(ops.convert_to_tensor(z)))
    return np.stack(
        [
            ops.convert_to_numpy(model.likelihood.distribution(parameters[:, t]).log_prob(x[:, t]))
            for t in range(STEPS)
        ],
        axis=1,
    )


@pytest.mark.parametrize("value", [PADDING, 0.0, 7.0])
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_the_density_of_padded_sequences_is_that_of_their_own_steps(likelihood, value):
    if likelihood == "categorical" and value == 0:
        pytest.skip("zeros are no class, and count as nothing anyway")
    model, x = made(likelihood=likelihood, mask_value=value), sequences(value)
    z = np.random.default_rng(1).normal(size=(len(x), 2)).astype("float32")
    steps = densities(model, np.where(x == value, 0.0, x).astype("float32"), z)
    expected = [steps[row, :length].sum() for row, length in enumerate(LENGTHS)]
    p = model.conditional(ops.convert_to_tensor(z))
    found = ops.convert_to_numpy(p.log_prob(ops.convert_to_tensor(x)))
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert model.decode(z).shape == model.decode(z, sample=True).shape == x.shape


def test_the_bound_and_the_likelihood_are_those_of_sequences_cut_to_length():
    """Shapes of weights do not depend on the number of steps, so models can share the weights."""
    model, x = made(), sequences()
    model.features_to_code.layers[-1].kernel.assign(
        0.3 * np.random.default_rng(0).normal(size=(4, 4))
    )
    found = model.log_likelihood(x, num_samples=20, seed=3)
    for row, length in enumerate(LENGTHS[:3]):
        cut = keras_ae.VAE(2, network_options={"units": (4,)}, **OPTIONS)
        cut.compile("sgd", **zoo.OP_BY_OP)
        cut.build((None, int(length), FEATURES))
        for part in ("encoder", "features_to_code", "decoder"):
            getattr(cut, part).set_weights(getattr(model, part).get_weights())
        alone = x[row : row + 1]
        both = [
            each.test_on_batch(data, return_dict=True)
            for each, data in ((model, alone), (cut, alone[:, :length]))
        ]
        for name, value in both[0].items():
            assert value == pytest.approx(both[1][name], rel=1e-4), name
        # The draws of an example depend on its position in the batch.
        repeated = np.repeat(alone[:, :length], len(x), axis=0)
        estimate = cut.log_likelihood(repeated, num_samples=20, seed=3)[row]
        assert found[row] == pytest.approx(estimate, rel=1e-4)


@pytest.mark.parametrize("loss", ["mean_squared_error", "binary_crossentropy", "poisson", "hinge"])
def test_a_plain_model_s_loss_is_that_of_its_own_steps(loss):
    decoder = keras.Sequential(
        [
            keras.Input((2,)),
            layers.RepeatVector(STEPS),
            layers.Dense(FEATURES, {"poisson": "softplus"}.get(loss, "sigmoid")),
        ]
    )
    options = {"network_options": {"units": (4,), "mask_value": PADDING}}
    model = keras_ae.AE(2, decoder=decoder, reconstruction_loss=loss, **options)
    model.compile("sgd", **zoo.OP_BY_OP)
    x = sequences()
    logs = model.test_on_batch(x, return_dict=True)
    y, function = model.reconstruct(x), keras.losses.get(loss)
    total = 0.0
    for row, length in enumerate(LENGTHS):
        pair = (v[row, :length, :, None] for v in (x, y))
        total += np.sum(ops.convert_to_numpy(function(*map(ops.convert_to_tensor, pair))))
    assert logs["loss"] == pytest.approx(total / len(x), rel=1e-4)


def test_a_masking_layer_of_the_user_s_own_says_what_is_padding():
    for first in ([keras.Input((STEPS, FEATURES))], []):
        encoder = keras.Sequential(
            [*first, layers.Masking(PADDING), layers.GRU(4, use_cudnn=False)]
        )
        model = keras_ae.VAE(2, encoder, network_options={"units": (4,)}, seed=0)
        model.compile("adam", **zoo.OP_BY_OP)
        x = sequences()
        model.fit(x, verbose=0)
        assert model._mask_value == PADDING
        p = model.conditional(model.encode(ops.convert_to_tensor(x)))
        assert isinstance(p, WithoutPadding)


def test_mask_value_works_with_networks_of_the_users_own():
    networks = {
        "encoder": keras.Sequential([keras.Input((STEPS, FEATURES)), layers.Flatten()]),
        "decoder": keras.Sequential(
            [keras.Input((2,)), layers.Dense(15), layers.Reshape((STEPS, FEATURES))]
        ),
    }
    model = keras_ae.VAE(2, **networks, network_options={"mask_value": PADDING}, seed=0)
    model.compile("adam")
    model.build((None, STEPS, FEATURES))
    x = np.full((2, STEPS, FEATURES), PADDING, "float32")
    assert model.test_on_batch(x, return_dict=True)["reconstruction_loss"] == 0.0
    with pytest.raises(ValueError, match="mask_value='0' must be a finite number"):
        keras_ae.VAE(2, network_options={"mask_value": "0"})


def test_values_are_checked_where_there_is_no_padding():
    model, x = made(), sequences()
    x[0, 0, 0] = 2.0
    with pytest.raises(ValueError, match="models values between 0 and 1"):
        model.fit(x, verbose=0)
    plain = keras_ae.VAE(2, network_options={"units": (4,)})
    plain.compile("adam")
    with pytest.raises(ValueError, match="models values between 0 and 1"):
        plain.train_on_batch(sequences())


@pytest.mark.parametrize("value", [PADDING, 9.0])
def test_pseudo_inputs_may_be_padded(value):
    """Padding in pseudo-inputs is ignored as in data, and stays padding while they are trained."""
    x = sequences(value)
    model = made("VampVAE", value, num_components=len(x))
    model.set_pseudo_inputs(x)
    for _ in range(2):
        points = ops.convert_to_numpy(ops.convert_to_tensor(model.pseudo_inputs))
        assert np.array_equal(np.all(points == value, axis=-1), np.all(x == value, axis=-1))
        inside = np.where(x == value, x, np.clip(points, 0.0, 1.0)).astype("float32")
        expected = ops.convert_to_numpy(model.posterior(ops.convert_to_tensor(inside)).mean)
        found = ops.convert_to_numpy(model.prior(None).mean)
        np.testing.assert_allclose(found, expected, atol=1e-6)
        model.fit(x, epochs=2, verbose=0)
    assert not np.array_equal(points, x)


def test_the_served_likelihood_leaves_padding_out(tmp_path, exports):
    import tensorflow as tf

    model, x = made(), sequences()
    model.export(tmp_path / "served")
    served = tf.saved_model.load(str(tmp_path / "served"))
    found = served.log_likelihood(x, np.int32(0)).numpy()
    expected = model.log_likelihood(x, num_samples=100, seed=0)
    np.testing.assert_allclose(found, expected, rtol=0.05)
    assert np.all(np.abs(found) < 1.5 * LENGTHS * FEATURES)
