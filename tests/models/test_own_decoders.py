"""A decoder of the user's own must end in numbers that the loss takes."""

import keras
import numpy as np
import pytest
import zoo
from keras import layers, ops

import keras_ae
from keras_ae import likelihoods
from keras_ae.networks import reach


def ending_in(*ends, width=6, hidden="relu", code=2):
    """Return a decoder that ends in these layers, or in a dense layer with this activation."""
    if ends and not isinstance(ends[0], layers.Layer):
        ends = (layers.Dense(width, activation=ends[0]),)
    return keras.Sequential([keras.Input((code,)), layers.Dense(8, activation=hidden), *ends])


class Opaque(keras.Model):
    """A decoder without a graph that could be inspected."""

    def __init__(self, end, **kwargs):
        super().__init__(**kwargs)
        self.hidden, self.last, self.end = layers.Dense(8, "tanh"), layers.Dense(6), end

    def call(self, z, training=False):
        return self.end(self.last(self.hidden(z)))


def functional(end):
    z = keras.Input((2,))
    return keras.Model(z, end(layers.Dense(6)(layers.Dense(8, "relu")(z))))


def nested(decoder):
    return keras.Sequential([keras.Input((2,)), layers.Dense(2), decoder])


def build(model):
    model.build((None, 6))
    return model


def vae(decoder, likelihood="bernoulli"):
    options = {"encoder": "mlp", "network_options": {"units": (4,)}, "seed": 0}
    return build(keras_ae.VAE(2, decoder=decoder, likelihood=likelihood, **options))


def ae(decoder, loss, cls=keras_ae.AE):
    options = {"encoder": "mlp", "network_options": {"units": (4,)}, "seed": 0}
    return build(cls(2, decoder=decoder, reconstruction_loss=loss, **options))


class WithoutTraining(layers.Layer):
    """A decoder that is a plain layer, whose `call` takes no `training`."""

    def __init__(self):
        super().__init__()
        self.last = layers.Dense(6)

    def build(self, shape):
        self.last.build(shape)

    def call(self, z):
        return self.last(z)


def test_a_plain_layer_is_a_decoder():
    for model in (vae(WithoutTraining()), ae(WithoutTraining(), "mean_squared_error")):
        assert model.decode(np.zeros((3, 2), "float32")).shape == (3, 6)


# ------------------------------------------------------------------ logits

ONE_SIDED = [
    *("sigmoid", "hard_sigmoid", "softmax", "tanh", "hard_tanh", "softsign", "relu", "relu6"),
    *("softplus", "exponential", "elu", "selu", "gelu", "silu", "log_sigmoid"),
]


@pytest.mark.parametrize("likelihood", ["bernoulli", "continuous_bernoulli"])
@pytest.mark.parametrize("activation", ONE_SIDED)
def test_one_sided_activations_are_refused_as_logits(activation, likelihood):
    expected = f"likelihood='{likelihood}' takes logits.*activation='{activation}'.*Drop"
    with pytest.raises(ValueError, match=expected):
        vae(ending_in(activation), likelihood)


def ends():
    """Return name -> a decoder that ends in a sigmoid or the like, hidden in some way."""
    dense = layers.Dense
    return {
        "a layer": ending_in(dense(6), layers.Activation("sigmoid")),
        "Softmax": ending_in(dense(6), layers.Softmax()),
        "ReLU": ending_in(dense(6), layers.ReLU()),
        "reshaped": ending_in(dense(6, "sigmoid"), layers.Reshape((2, 3)), layers.Flatten()),
        "dropped out": ending_in(dense(6, "sigmoid"), layers.Dropout(0.5)),
        "normalized": ending_in(dense(6), layers.BatchNormalization(), layers.Activation("relu")),
        "scaled to [-1, 1]": ending_in(dense(6, "sigmoid"), layers.Rescaling(2.0, -1.0)),
        "without a bias": ending_in(dense(6, "sigmoid", use_bias=False), hidden="tanh"),
        "nested": nested(ending_in("sigmoid")),
        "of operations": functional(ops.sigmoid),
        "wrapped": ending_in(
            layers.RepeatVector(3), layers.TimeDistributed(dense(2, "sigmoid")), layers.Flatten()
        ),
        "of a class": Opaque(ops.sigmoid),
        "of a class, one-sided": Opaque(ops.softplus),
    }


@pytest.mark.costly
@pytest.mark.parametrize("end", ends())
def test_every_hidden_sigmoid_is_found(end):
    with pytest.raises(ValueError, match="takes logits, any real numbers, and the decoder '"):
        vae(ends()[end])


def right_ends():
    """Return name -> a decoder of logits; some of them look as if they were not."""
    dense = layers.Dense
    constant, small = keras.initializers.Constant(5.0), keras.initializers.RandomNormal(0, 0.01)
    tiny = keras.initializers.RandomNormal(0, 1e-6)
    frozen = ending_in("linear")
    frozen.trainable = False
    return {
        "linear": ending_in("linear"),
        "leaky": ending_in("leaky_relu"),
        "a leaky layer": ending_in(dense(6), layers.LeakyReLU()),
        "a sigmoid scaled to logits": ending_in(dense(6, "sigmoid"), layers.Rescaling(20.0, -10.0)),
        "clipped": functional(lambda x: ops.clip(x, -8.0, 8.0)),
        "the log odds of a sigmoid": functional(
            lambda x: ops.log(ops.sigmoid(x) + 1e-6) - ops.log(1.0 + 1e-6 - ops.sigmoid(x))
        ),
        "zeros": ending_in(dense(6, kernel_initializer="zeros")),
        "zeros without a bias": ending_in(
            dense(6, kernel_initializer="zeros", use_bias=False), hidden="tanh"
        ),
        "small": ending_in(dense(6, kernel_initializer=small, use_bias=False), hidden="tanh"),
        "tiny": ending_in(dense(6, kernel_initializer=tiny, use_bias=False), hidden="tanh"),
        "a bias that is positive": ending_in(dense(6, bias_initializer=constant)),
        "of a class": Opaque(lambda x: x),
        "frozen": frozen,
        "divided by norms": ending_in(keras_ae.layers.SpectralNormalization(dense(6))),
        "normalized": ending_in(dense(6), layers.LayerNormalization()),
        "deep": ending_in(*[dense(8, "relu") for _ in range(8)], dense(6)),
    }


@pytest.mark.parametrize("end", right_ends())
def test_decoders_of_logits_are_accepted(end):
    decoder = right_ends()[end]
    before = [w.copy() for w in decoder.get_weights()] if decoder.built else None
    model = vae(decoder)
    if before:
        assert all(map(np.array_equal, before, decoder.get_weights()))
    assert model.reconstruct(zoo.data(4)).shape == (4, 6)


@pytest.mark.parametrize("name", [n for n in zoo.WITH_LIKELIHOOD if n in zoo.WITH_NETWORKS])
def test_every_variational_model_checks_its_decoder(name):
    networks, (code,) = zoo.own_networks(name), zoo.shapes(name)[1]
    with pytest.raises(ValueError, match=f"{name}: likelihood='bernoulli' takes logits"):
        build(zoo.make(name, **networks | {"decoder": ending_in("sigmoid", code=code)}))
    build(zoo.make(name, **zoo.own_networks(name)))


def test_logits_of_classes_may_have_any_common_offset():
    for activation in ("sigmoid", "softmax", "tanh"):
        with pytest.raises(ValueError, match="'categorical' takes logits.*along the last axis"):
            vae(ending_in(activation), "categorical")
    for activation in ("linear", "log_softmax", "softplus"):
        vae(ending_in(activation), "categorical")


def test_means_may_be_of_any_range():
    for likelihood in ("gaussian", "gaussian_learned_scale", likelihoods.Laplace(0.1)):
        vae(ending_in("sigmoid"), likelihood)


def test_a_likelihood_of_the_user_s_own_is_not_checked():
    class Own(likelihoods.Likelihood):
        def distribution(self, parameters):
            return keras_ae.distributions.Normal(parameters, 1.0)

    vae(ending_in("sigmoid"), Own())


# ------------------------------------------------------------------ losses of plain models


@pytest.mark.parametrize("loss", ["binary_crossentropy", "binary_focal_crossentropy", "bce"])
def test_a_cross_entropy_needs_probabilities(loss):
    for activation in ("linear", "tanh", "relu", "softplus"):
        with pytest.raises(ValueError, match=f"{loss}' takes probabilities between 0 and 1"):
            ae(ending_in(activation), loss)
    for decoder in (ending_in("sigmoid"), ending_in("softmax"), Opaque(ops.sigmoid)):
        ae(decoder, loss)


def test_a_cross_entropy_of_logits_needs_logits():
    binary = keras.losses.BinaryCrossentropy(from_logits=True)
    with pytest.raises(ValueError, match="takes logits, any real numbers, and the decoder"):
        ae(ending_in("sigmoid"), binary)
    ae(ending_in("linear"), binary)
    classes = keras.losses.CategoricalCrossentropy(from_logits=True)
    with pytest.raises(ValueError, match="takes logits"):
        ae(ending_in("softmax"), classes)
    ae(ending_in("linear"), classes)
    ae(None, binary)  # With this loss, the default decoder ends in a linear layer.


def test_a_cross_entropy_of_classes_needs_probabilities():
    for loss in ("categorical_crossentropy", "categorical_focal_crossentropy", "kl_divergence"):
        with pytest.raises(ValueError, match="takes probabilities that add up to 1"):
            ae(ending_in("linear"), loss)
        ae(ending_in("softmax"), loss)
    ae(ending_in("sigmoid"), "categorical_crossentropy")  # Keras divides by their sum.
    with pytest.raises(ValueError, match="own decoder returns any real numbers. Pass a decoder"):
        ae(None, "kl_divergence")


def test_rates_are_not_negative():
    for decoder in (ending_in("linear"), None):
        with pytest.raises(ValueError, match="'poisson' takes numbers of at least 0.*softplus"):
            ae(decoder, "poisson")
    ae(ending_in("softplus"), "poisson")


COMPARING = [n for n in zoo.WITH_NETWORKS if "reconstruction_loss" in zoo.parameters_of(n)]


@pytest.mark.parametrize("name", COMPARING)
def test_every_model_without_a_posterior_checks_its_decoder(name):
    networks, loss = zoo.own_networks(name), {"reconstruction_loss": "binary_crossentropy"}
    with pytest.raises(ValueError, match=f"{name}: reconstruction_loss='binary_crossentropy'"):
        build(zoo.make(name, **networks, **loss))


def test_a_unet_s_own_end_must_fit_as_well():
    with pytest.raises(ValueError, match="UNetAE: .*takes probabilities.*any real numbers"):
        ae(ending_in("sigmoid"), "binary_crossentropy", keras_ae.UNetAE)
    ae(ending_in("linear"), keras.losses.BinaryCrossentropy(from_logits=True), keras_ae.UNetAE)


# ------------------------------------------------------------------ files, and calls


def test_a_file_of_before_loads_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(keras_ae.VAE, "_check_given", lambda self: None)
    model = vae(ending_in("sigmoid"))
    model.compile("adam", **zoo.OP_BY_OP)
    model.fit(zoo.data(), batch_size=24, verbose=0)
    model.save(tmp_path / "model.keras")
    monkeypatch.undo()
    loaded = keras_ae.load(tmp_path / "model.keras")
    np.testing.assert_allclose(
        loaded.reconstruct(zoo.data()), model.reconstruct(zoo.data()), atol=1e-6
    )
    loaded.fit(zoo.data(), batch_size=24, verbose=0)
    with pytest.raises(ValueError, match="takes logits"):
        build(type(loaded).from_config(loaded.get_config()))


def test_fit_refuses_a_wrong_decoder_before_it_trains():
    model = keras_ae.VAE(2, decoder=ending_in("sigmoid"), network_options={"units": (4,)})
    model.compile("adam")
    for _ in range(2):
        with pytest.raises(ValueError, match="Drop the activation at its end"):
            model.fit(zoo.data(), verbose=0)


def test_what_a_network_reaches_goes_far_to_both_sides():
    found = np.array(list(reach.sample_outputs(ending_in("linear"), (2,))))
    assert found.min() < -10 and found.max() > 10
