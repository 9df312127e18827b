"""The recurrent autoencoder: padding, the order of the output, and what each step reads."""

import keras
import numpy as np
import pytest
import zoo
from keras import ops
from scipy.special import expit

import keras_ae
from keras_ae import networks

pytestmark = pytest.mark.formula

SHAPE = (5, 2)
PADDING = -1.0


def made(shape=SHAPE, units=(4, 3), **given):
    given = {"network_options": {"units": units}, "seed": 0, **given}
    model = keras_ae.RecurrentAE(3, **given)
    model.compile(keras.optimizers.Adam(0.01), **zoo.OP_BY_OP)
    model.build((None, *shape))
    for number, weight in enumerate(model.trainable_weights):
        weight.assign(np.random.default_rng(number).normal(scale=0.7, size=weight.shape))
    return model


def sequences(number=6, shape=SHAPE, padded=True, seed=0):
    """Return sequences of lengths 1 to 5 and 5 again, padded at the end."""
    x = np.random.default_rng(seed).random((number, *shape), "float32")
    if padded:
        for row in range(number):
            x[row, row + 1 :] = PADDING
    return x


def array(tensor):
    return ops.convert_to_numpy(tensor)


def losses(model, x, training=False, y=None):
    def of(x, y):
        return model.loss_terms(x, y, training)["reconstruction_loss"]

    if training:  # Training updates the density of the codes, so this runs eagerly.
        return array(of(ops.convert_to_tensor(x), ops.convert_to_tensor(x if y is None else y)))
    return zoo.compute(of, x, x if y is None else y)


# ------------------------------------------------------------------ padding


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("reverse", [False, True])
def test_padding_counts_neither_in_the_loss_nor_in_the_code(cell, reverse):
    model, x = made(cell=cell, reverse=reverse, mask_value=PADDING), sequences()
    errors = ((model.reconstruct(x) - x) ** 2).sum(axis=-1)
    expected = [errors[row, : row + 1].sum() for row in range(len(x))]
    np.testing.assert_allclose(losses(model, x), expected, rtol=1e-4)
    # The same steps have the same code if the padding comes before them.
    shifted = np.full_like(x, PADDING)
    for row in range(5):
        shifted[row, 4 - row :] = x[row, : row + 1]
    np.testing.assert_allclose(model.encode(shifted)[:5], model.encode(x)[:5], atol=1e-5)
    blind = made(cell=cell)
    assert np.abs(blind.encode(shifted)[:4] - blind.encode(x)[:4]).max(axis=1).min() > 1e-3


def test_a_step_with_one_padded_feature_counts():
    model, x = made(mask_value=PADDING), sequences(padded=False)
    x[:, 2, 0] = PADDING
    expected = ((model.reconstruct(x) - x) ** 2).sum(axis=(1, 2))
    np.testing.assert_allclose(losses(model, x), expected, rtol=1e-4)


def test_padding_may_lie_outside_of_what_the_loss_allows():
    model = made(mask_value=PADDING, reconstruction_loss="binary_crossentropy")
    x = sequences()
    y = model.reconstruct(x)
    assert y.min() >= 0 and y.max() <= 1
    errors = -(x * np.log(y) + (1 - x) * np.log(1 - y)).sum(axis=-1)
    expected = [errors[row, : row + 1].sum() for row in range(len(x))]
    np.testing.assert_allclose(losses(model, x), expected, rtol=1e-3)
    model.fit(x, verbose=0)
    x[0, 0, 0] = 2
    with pytest.raises(ValueError, match="models values between 0 and 1"):
        model.fit(x, verbose=0)
    # Padding alone is no error, though nothing is learned.
    model.fit(np.full((4, 5, 2), PADDING, "float32"), verbose=0)


# ------------------------------------------------------------------ what the decoder reads


def by_hand(model, z, given=None, activation=lambda a: a):
    """Compute the decoder's output in its order: GRU cells that read the code and a step."""
    start, *cells, last = [
        [array(w) for w in layer.weights]
        for layer in (
            model.decoder.start,
            *model.decoder.rnn.cell.cells,
            model.decoder.rnn.cell.last,
        )
    ]
    context = np.tanh(z @ start[0] + start[1])
    states = [np.zeros((len(z), cell[1].shape[0])) for cell in cells]
    own, written = np.zeros((len(z), last[1].shape[0])), []
    for step in range(SHAPE[0]):
        before = own
        if given is not None and step:
            known = np.any(given[:, step - 1] != PADDING, axis=-1)[:, None]
            before = np.where(known, given[:, step - 1], own)
        h = np.concatenate([context, before], axis=1)
        for number, (kernel, recurrent, bias) in enumerate(cells):
            state = states[number]
            (uz, ur, uh), (vz, vr, vh) = (
                np.split(a, 3, axis=1) for a in (h @ kernel + bias[0], state @ recurrent + bias[1])
            )
            update, reset = expit(uz + vz), expit(ur + vr)
            h = states[number] = update * state + (1 - update) * np.tanh(uh + reset * vh)
        written.append(h @ last[0] + last[1])
        own = activation(written[-1])
    return np.stack(written, axis=1)


@pytest.mark.parametrize("reverse", [False, True])
def test_the_decoder_reads_its_own_output_unless_it_is_taught(reverse):
    model = made(teacher_forcing=True, reverse=reverse, mask_value=PADDING)
    x = sequences()
    turned = slice(None, None, -1) if reverse else slice(None)
    z = model.encode(x)
    free = by_hand(model, z)[:, turned]
    np.testing.assert_allclose(model.decode(z), free, rtol=1e-3, atol=1e-4)
    taught = by_hand(model, z, x[:, turned])[:, turned]
    counted = np.any(x != PADDING, axis=-1)
    for output, training in ((free, False), (taught, True)):
        expected = (((output - x) ** 2).sum(axis=-1) * counted).sum(axis=1)
        np.testing.assert_allclose(losses(model, x, training), expected, rtol=1e-3)
    assert np.abs(free - taught).max() > 1e-2


def test_a_step_that_is_read_has_the_output_s_activation():
    model = made(teacher_forcing=True, reconstruction_loss="binary_crossentropy")
    z = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    expected = expit(by_hand(model, z, activation=expit))
    np.testing.assert_allclose(model.decode(z), expected, rtol=1e-3, atol=1e-4)


def test_a_reversed_decoder_writes_the_last_step_first():
    plain, reverse = made(), made(reverse=True)
    z = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    np.testing.assert_allclose(reverse.decode(z), plain.decode(z)[:, ::-1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_teacher_forcing_with_the_own_output_gives_the_same_output(cell):
    options = {"units": (4, 3), "cell": cell, "output_activation": "tanh"}
    decoder = networks.feedback_decoder(2, SHAPE, **options)
    assert all(w.path.startswith("decoder") for w in decoder.weights)
    z = np.random.default_rng(0).normal(size=(4, 2)).astype("float32")
    own = zoo.compute(lambda z: decoder(z), z)
    known = np.ones((4, 5, 1), "float32")
    read = zoo.compute(lambda z, y: decoder(z, y, known), z, np.tanh(own))
    np.testing.assert_allclose(read, own, rtol=1e-4, atol=1e-5)
    other = zoo.compute(lambda z, y: decoder(z, y, known), z, np.tanh(own) + 1)
    assert np.all(other[:, 0] == own[:, 0]) and np.all(np.abs(other - own)[:, 1:].max(axis=-1) > 0)
    without = zoo.compute(lambda z, y: decoder(z, y), z, np.tanh(own) + 1)
    np.testing.assert_array_equal(without, other)


def test_outputs_that_are_no_steps_need_a_function():
    with pytest.raises(ValueError, match=r"output_activation='linear' .* output_width=6 numbers"):
        networks.feedback_decoder(2, SHAPE, output_width=6)
    options = {"output_width": 6, "output_activation": lambda output: output[:, : SHAPE[1]]}
    decoder = networks.feedback_decoder(2, SHAPE, units=(4,), **options)
    assert decoder(np.zeros((2, 2), "float32")).shape == (2, SHAPE[0], 6)


# ------------------------------------------------------------------ whole models


def test_a_series_is_a_sequence_of_one_feature():
    x = sequences(shape=(5, 1), padded=False)
    model, flat = made((5, 1), teacher_forcing=True), made((5,), teacher_forcing=True)
    np.testing.assert_allclose(flat.encode(x[..., 0]), model.encode(x), rtol=1e-5)
    z = model.encode(x)
    np.testing.assert_allclose(flat.decode(z), model.decode(z)[..., 0], rtol=1e-5)
    for training in (False, True):
        expected = losses(model, x, training)
        np.testing.assert_allclose(losses(flat, x[..., 0], training), expected, rtol=1e-4)


@pytest.mark.every_backend
def test_an_lstm_is_taught_saved_and_sampled_from(tmp_path):
    """The contract tests only the GRU."""
    x = sequences(32)
    model = made(cell="lstm", teacher_forcing=True, mask_value=PADDING, units=(3,))
    history = model.fit(x, epochs=3, batch_size=32, verbose=0).history["loss"]
    assert history[-1] < history[0]
    model.save(tmp_path / "model.keras")
    loaded = keras_ae.load(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.reconstruct(x), model.reconstruct(x), atol=1e-6)
    assert loaded.teacher_forcing and loaded.sample(3, seed=0).shape == (3, *SHAPE)


@pytest.mark.parametrize(
    "given, message",
    [
        ({"cell": "rnn"}, 'cell=\'rnn\' must be "gru" or "lstm"'),
        ({"encoder": "transformer"}, "encoder='transformer' is not recurrent. Pass 'recurrent'"),
        (
            {"network_options": {"cell": "lstm"}},
            "network_options={'cell': 'lstm'} is not possible.* Pass cell",
        ),
        ({"mask_value": "0"}, "mask_value='0' must be a finite number"),
        ({"shape": (4, 4, 1)}, r"x has examples of shape \(4, 4, 1\), which are no seq"),
        (
            {"teacher_forcing": True, "decoder": keras.Sequential([keras.layers.Dense(10)])},
            "teacher_forcing=True needs the default decoder.* Leave one of the two out",
        ),
    ],
)
def test_errors_name_the_argument_the_value_and_the_remedy(given, message):
    with pytest.raises(ValueError, match=message):
        made(**given)
