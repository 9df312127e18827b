"""ConcreteAE: temperatures and draws in closed form, and features that explain all others."""

import itertools

import keras
import numpy as np
import pytest
import zoo
from keras import ops
from scipy import special

from keras_ae import ConcreteAE

pytestmark = pytest.mark.formula


def numpy(tensor):
    return ops.convert_to_numpy(tensor)


def made(**given):
    small = {"latent_dim": 2, "network_options": {"units": (8,)}, "seed": 0}
    model = ConcreteAE(**small | given)
    model.compile(keras.optimizers.Adam(0.01), **zoo.OP_BY_OP)
    return model


def set_logits(model, logits):
    """Assign logits of which `_logits` knows how they are stored."""
    model._scaled_logits.assign(np.ones(model._scaled_logits.shape))
    scale = numpy(model._logits())
    model._scaled_logits.assign(np.asarray(logits, "float32") / scale)


# ---------------------------------------------------------------------- the schedule


def temperatures(model, steps):
    found = []
    for step in steps:
        model._step.assign(step)
        found.append(float(numpy(model._find_temperature())))
    return found


def test_the_temperature_falls_as_in_section_3_2():
    model, steps = made(annealing_steps=200), np.array([0, 1, 50, 100, 199, 200])
    model.build((None, 6))
    wanted = 10.0 * (0.01 / 10.0) ** (steps / 200)
    np.testing.assert_allclose(temperatures(model, steps), wanted, rtol=1e-4)
    np.testing.assert_allclose(temperatures(model, [201, 10_000]), 0.01, rtol=1e-4)
    model = made(annealing_steps=10, start_temperature=4.0, end_temperature=0.25)
    np.testing.assert_allclose(temperatures(model, [0, 5, 10]), [4.0, 1.0, 0.25], rtol=1e-4)


@pytest.mark.every_backend
def test_the_annealing_takes_the_steps_of_the_first_fit(tmp_path):
    model, x = made(), zoo.data()
    model.build(x.shape)
    np.testing.assert_allclose(temperatures(model, [0, 500, 1000]), [10.0, 0.1**0.5, 0.01], 1e-4)
    model._step.assign(0)
    model.fit(x, epochs=4, batch_size=16, verbose=0)  # Twelve steps.
    np.testing.assert_allclose(temperatures(model, [0, 6, 12]), [10.0, 0.1**0.5, 0.01], 1e-4)
    model.fit(x, epochs=1, batch_size=16, verbose=0)
    np.testing.assert_allclose(temperatures(model, [6]), 0.1**0.5, 1e-4)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(temperatures(loaded, [6]), 0.1**0.5, 1e-4)
    given = made(annealing_steps=24)
    given.fit(x, epochs=4, batch_size=16, verbose=0)
    np.testing.assert_allclose(temperatures(given, [12]), 0.1**0.5, 1e-4)


@pytest.mark.filterwarnings("ignore:Your input ran out of data")  # Keras counts it in this way.
def test_a_stream_whose_length_is_unknown_has_a_schedule_too():
    import tensorflow as tf

    model, x = made(), zoo.data()
    batches = tf.data.Dataset.from_tensor_slices(x).batch(16)
    model.fit(batches.filter(lambda batch: True), verbose=0)
    np.testing.assert_allclose(temperatures(model, [500]), 0.1**0.5, 1e-4)
    model = made()
    model.fit((x[:16] for _ in range(4)), steps_per_epoch=4, verbose=0)
    np.testing.assert_allclose(temperatures(model, [2]), 0.1**0.5, 1e-4)


# ---------------------------------------------------------------------- the selection


@pytest.mark.every_backend
def test_a_step_reads_one_mean_of_the_features_whose_weights_are_a_draw():
    logits = np.log([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])
    # The codes of the three units vectors are the weights themselves.
    for temperature, is_sure in ((2.0, False), (0.01, True)):
        model = made(start_temperature=temperature, end_temperature=temperature)
        model.build((None, 3))
        set_logits(model, logits)
        draw = lambda: numpy(model._mix(ops.eye(3)))  # noqa: B023, E731
        draws = np.stack([draw() for _ in range(400)])  # (draws, features, units)
        np.testing.assert_allclose(draws.sum(axis=1), 1.0, rtol=1e-5)
        assert (draws.max(axis=1) > 0.999).mean() > 0.9 if is_sure else draws.max() < 0.999
        chosen = draws.argmax(axis=1)
        frequencies = [(chosen == i).mean(axis=0) for i in range(3)]
        np.testing.assert_allclose(frequencies, special.softmax(logits, axis=1).T, atol=0.08)


def test_outside_of_training_a_code_is_the_features_with_the_largest_logits():
    model, x = made(latent_dim=3), zoo.data(20)
    model.build(x.shape)
    logits = np.random.default_rng(0).normal(size=(3, 6))
    logits[:, 4] += [5.0, 0.0, 5.0]
    set_logits(model, logits)
    assert model.selected.dtype == "int32"
    np.testing.assert_array_equal(model.selected, logits.argmax(axis=1))
    np.testing.assert_array_equal(model.encode(x), x[:, model.selected])
    np.testing.assert_array_equal(model.encode(x, training=True), x[:, model.selected])
    logs = model.evaluate(x, verbose=0, return_dict=True)
    assert logs["num_selected"] == 2.0  # Two of the units have selected the same feature.
    wanted = special.softmax(logits, axis=1).max(axis=1).mean()
    assert logs["selection_probability"] == pytest.approx(wanted, rel=1e-4)


def test_the_features_of_pictures_are_those_of_the_flattened_picture():
    model, x = made(), np.random.default_rng(0).random((20, 8, 9, 2), "float32")
    model.build(x.shape)
    places = np.unravel_index(model.selected, x.shape[1:])
    np.testing.assert_array_equal(model.encode(x), x[:, *places])


def test_features_are_found_that_explain_as_much_as_the_best_ones():
    """Three features are independent. Others are sums of two of them, and two are noise."""
    rng = np.random.default_rng(0)
    causes = rng.normal(size=(512, 3))
    sums = causes @ rng.normal(size=(3, 5))
    x = np.concatenate([sums, causes, 0.3 * rng.normal(size=(512, 2))], axis=1)
    x = x[:, rng.permutation(10)].astype("float32")

    def unexplained(features):
        chosen = np.column_stack([x[:, features], np.ones(len(x))])
        return np.linalg.lstsq(chosen, x, rcond=None)[0], chosen

    def error(features):
        weights, chosen = unexplained(list(features))
        return np.mean((chosen @ weights - x) ** 2)

    errors = sorted(map(error, itertools.combinations(range(10), 3)))
    model = ConcreteAE(3, network_options={"units": ()}, seed=0)
    model.compile(keras.optimizers.Adam(0.01))
    history = model.fit(x, epochs=60, batch_size=64, verbose=0).history
    assert history["selection_probability"][-1] > 0.95
    assert error(model.selected) < 1.1 * errors[0] < 0.1 * np.median(errors)
    assert np.mean((model.reconstruct(x) - x) ** 2) < 1.5 * errors[0]


# ---------------------------------------------------------------------- networks and refusals


@pytest.mark.every_backend
def test_a_decoder_of_the_users_own_is_used():
    decoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(6)])
    model, x = made(decoder=decoder, network_options=None), zoo.data()
    model.fit(x, batch_size=16, verbose=0)
    assert model.decoder is decoder
    np.testing.assert_allclose(model.reconstruct(x), numpy(decoder(model.encode(x))), rtol=1e-5)


def test_what_cannot_work_is_refused():
    for name in ("start_temperature", "end_temperature", "annealing_steps"):
        with pytest.raises(ValueError, match=f"ConcreteAE: {name}=0 must be a positive"):
            ConcreteAE(**{name: 0})
    with pytest.raises(TypeError, match="unknown argument 'encoder'"):
        ConcreteAE(encoder="mlp")
    with pytest.raises(ValueError, match="ConcreteAE.selected needs the data's shape.*Call fit"):
        ConcreteAE().selected  # noqa: B018
    with pytest.raises(ValueError, match="has mask_value=-1.0.*may be padding"):
        made(network_options={"mask_value": -1.0}).build((None, 4, 2))
    decoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(6)])
    with pytest.raises(ValueError, match="network_options=.* has no effect"):
        made(decoder=decoder).build((None, 6))


def test_the_schedule_is_that_of_the_first_fit_also_after_adapt():
    x = np.random.default_rng(0).random((32, 6), "float32")
    model = ConcreteAE(2, network_options={"units": (4,)}, seed=0)
    model.compile("adam")
    model.adapt(x)
    model.fit(x, batch_size=16, epochs=3, verbose=0)
    assert int(numpy(model._planned_steps)) == 6
    model.fit(x, batch_size=16, epochs=5, verbose=0)
    assert int(numpy(model._planned_steps)) == 6
