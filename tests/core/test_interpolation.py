"""Ways from code to code: their ends, their lengths, the spaces in which they stay."""

import keras
import numpy as np
import pytest
import zoo
from keras import ops

import keras_ae
from keras_ae.core import examples, interpolation
from keras_ae.distributions import hyperbolic

INTERPOLATING = [name for name in zoo.MODELS if name not in zoo.DISCRETE]
SHARES = np.linspace(0.0, 1.0, 5, dtype="float32")


def rows(x, which):
    return examples.map_leaves(lambda v: v[which], x)


def assert_close(found, wanted):
    for got, right in zip(examples.leaves(found), examples.leaves(wanted), strict=True):
        np.testing.assert_allclose(got, right, rtol=1e-4, atol=1e-5)


def built(name, **given):
    model = zoo.MODELS[name](**given)
    zoo.build(model)
    return model


@pytest.mark.parametrize("name", INTERPOLATING)
def test_ways_begin_and_end_at_the_decoded_codes(name):
    model, x = built(name), zoo.data_for(name, 4)
    label = {key: 1 for key in zoo.inputs(model, "decode", 1)}
    ways = model.interpolate(rows(x, slice(0, 2)), rows(x, slice(2, 4)), steps=3, **label)
    given = {key: np.repeat(value, 4) for key, value in label.items()}
    wanted = model.decode(model.encode(x), **given)
    assert_close(rows(ways, (slice(None), 0)), rows(wanted, slice(0, 2)))
    assert_close(rows(ways, (slice(None), 2)), rows(wanted, slice(2, 4)))
    assert {v.shape[:2] for v in examples.leaves(ways)} == {(2, 3)}
    one = model.interpolate(rows(x, 1), rows(x, 3), steps=3, **label)
    assert_close(one, rows(ways, 1))
    fan = model.interpolate(rows(x, 1), rows(x, slice(2, 4)), steps=3, **label)
    assert_close(rows(fan, 1), rows(ways, 1))


def test_straight_ways_pass_the_mean_of_two_codes():
    model, x = built("VAE"), zoo.data(2)
    z = model.encode(x)
    wanted = model.decode(z.mean(axis=0, keepdims=True))
    assert_close(model.interpolate(x[0], x[1], steps=3)[1], wanted[0])


def test_two_steps_are_the_ends():
    model, x = built("PoincareVAE"), zoo.data(2)
    assert_close(model.interpolate(*x, steps=2), model.decode(model.encode(x)))


def go_around(a, b):
    given = [np.array([a], "float32"), np.array([b], "float32"), SHARES]
    return zoo.compute(interpolation.go_around, *given)[0]


def test_great_circles_are_those_of_the_formula():
    """The formula of White, arXiv:1609.04468, holds for vectors of one length."""
    a, b = np.array([3.0, 0.0, 4.0]), np.array([0.0, -5.0, 0.0])
    angle = np.arccos(a @ b / 25.0)
    wanted = [(np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / np.sin(angle) for t in SHARES]
    np.testing.assert_allclose(go_around(a, b), wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((1.0, 0.0), (-1.0, 0.0)),  # opposite
        ((1.0, 0.0, 0.0), (-1.0, 1e-6, 0.0)),  # nearly so
        ((2.0, 1.0), (2.0, 1.0)),  # equal
        ((1.0, 0.0), (3.0, 0.0)),  # of one direction
        ((0.0, 0.0), (3.0, 4.0)),  # from the origin
        ((3.0, 4.0), (0.0, 0.0)),  # to the origin
        ((0.0, 0.0), (0.0, 0.0)),
        ((1.0, 0.0), (-0.5, 0.1)),  # of different lengths, at an obtuse angle
    ],
)
def test_lengths_change_evenly_on_great_circles(a, b):
    found = go_around(a, b)
    ends = np.linalg.norm(a), np.linalg.norm(b)
    lengths = np.linalg.norm(found, axis=1)
    np.testing.assert_allclose(lengths, ends[0] + SHARES * (ends[1] - ends[0]), atol=1e-5)
    np.testing.assert_allclose(found[[0, -1]], [a, b], atol=1e-5)
    if min(ends) > 0:
        gaps = np.linalg.norm(np.diff(found / lengths[:, None], axis=0), axis=1)
        np.testing.assert_allclose(gaps, gaps.mean(), atol=1e-3)


def codes_on_the_way(model, monkeypatch, **options):
    """Return the codes that `interpolate` decodes."""
    seen = []
    decode = type(model).decode

    def look(self, z, **given):
        seen.append(np.asarray(z))
        return decode(self, z, **given)

    monkeypatch.setattr(type(model), "decode", look)
    x = zoo.data(24)
    model.interpolate(x[:12], x[12:], steps=5, **options)
    return seen[0].reshape(12, 5, -1)


@pytest.mark.parametrize("spherical", [False, True])
def test_ways_of_unit_vectors_stay_on_the_sphere(spherical, monkeypatch):
    model = built("HypersphericalVAE", latent_dim=3)
    z = codes_on_the_way(model, monkeypatch, spherical=spherical)
    np.testing.assert_allclose(np.linalg.norm(z, axis=-1), 1.0, atol=1e-5)


@pytest.mark.parametrize("curvature", [0.0, 0.7])
def test_ways_in_the_ball_are_geodesics(curvature, monkeypatch):
    model = built("PoincareVAE", curvature=curvature)
    z = codes_on_the_way(model, monkeypatch)
    start, end = (np.repeat(z[:, [place]], 5, axis=1).reshape(-1, 2) for place in (0, 4))
    distance = [
        ops.convert_to_numpy(hyperbolic.distance(*pair, curvature)).reshape(12, 5)
        for pair in ((start, z.reshape(-1, 2)), (start, end))
    ]
    np.testing.assert_allclose(distance[0], SHARES * distance[1], atol=1e-4)
    with pytest.raises(ValueError, match="geodesics"):
        model.interpolate(*zoo.data(2), spherical=True)


def test_each_end_may_have_an_input_of_its_own():
    model, x = built("ConditionalVAE"), zoo.data(2)
    a, b = ({"x": v, "label": label} for v, label in zip(x, (1, 2), strict=True))
    found = model.interpolate(a, b, steps=2, label=2)
    z = model.encode(x, label=[1, 2])
    assert_close(found, model.decode(z, label=[2, 2]))
    b["label"] = 1
    assert_close(model.interpolate(a, b, steps=2), model.interpolate(*x, steps=2, label=1))
    b["label"] = 2
    with pytest.raises(ValueError, match="different values of 'label'. Pass label="):
        model.interpolate(a, b)
    with pytest.raises(TypeError, match="the input 'label' is missing"):
        model.interpolate(*x)
    with pytest.raises(TypeError, match="unknown input 'lable'.*Did you mean 'label'"):
        model.interpolate(*x, lable=1)


def test_tensors_lead_to_tensors_with_gradients():
    model, x = built("AE"), zoo.data(2)
    assert ops.is_tensor(model.interpolate(ops.convert_to_tensor(x[0]), x[1]))
    slope = zoo.gradient(lambda a: model.interpolate(a, x[1], steps=3), x[0])
    assert np.any(slope != 0)


@pytest.mark.parametrize("name", zoo.DISCRETE)
def test_codes_that_are_integers_are_refused(name):
    with pytest.raises(TypeError, match=f"{name}.interpolate: the codes of this model are int"):
        built(name).interpolate(*zoo.data(2))


@pytest.mark.parametrize(
    ("a", "b", "options", "message"),
    [
        (np.zeros(6), np.zeros(6), {"steps": 1}, "steps=1 must be an integer of at least 2"),
        (np.zeros(6), np.zeros(6), {"spherical": "yes"}, "spherical='yes' must be True or False"),
        (np.zeros((2, 6)), np.zeros((3, 6)), {}, "a has 2 examples, and b has 3"),
        (np.zeros(6), np.array(1.0), {}, r"b has the shape \(\). Pass one example, of shape \(6,"),
        (np.zeros((1, 2, 6)), np.zeros(6), {}, r"a has the shape \(1, 2, 6\)"),
        (np.full(6, np.nan), np.zeros(6), {}, "contains NaN"),
    ],
)
def test_ends_that_do_not_fit(a, b, options, message):
    with pytest.raises(ValueError, match=message):
        built("VAE").interpolate(a, b, **options)


def test_a_model_without_data_says_so():
    with pytest.raises(ValueError, match="VAE.interpolate needs the data's shape"):
        keras_ae.VAE(2).interpolate(np.zeros(6), np.zeros(6))


def test_units_are_those_of_the_data():
    model = zoo.eager("AE", standardize=True, reconstruction_loss="mean_squared_error")
    x = (1000.0 + 50.0 * zoo.data(32)).astype("float32")
    model.fit(x, epochs=1, verbose=0)
    ways = model.interpolate(x[0], x[1], steps=2)
    assert_close(ways, model.reconstruct(x[:2]))
    assert keras.config.backend() and ways.min() > 500
