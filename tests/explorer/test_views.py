"""What the page of each kind of model offers, without HTTP."""

import base64
import json

import numpy as np
import pandas as pd
import pytest
import zoo

import keras_ae
from keras_ae import datasets
from keras_ae.estimators import AnomalyDetector
from keras_ae.explorer import forms, sources
from keras_ae.explorer.views import MOST_ROWS, NUM_SHOWN, Views


def unpack(packed):
    """Return the array that the page gets."""
    raw = base64.b64decode(packed["data"])
    return np.frombuffer(raw, packed["dtype"]).reshape(packed["shape"])


def unpack_items(found):
    return {name: unpack(packed) for name, packed in found["items"].items()}


def picture_model(**options):
    options = {"latent_dim": 3, "network_options": {"filters": (4,)}, "seed": 0, **options}
    model = keras_ae.VAE(**options)
    model.build((None, 8, 8, 1))
    return model


def pictures(count=12):
    return np.random.default_rng(0).integers(0, 2, (count, 8, 8, 1)).astype("float32")


@pytest.fixture(scope="module")
def views():
    return Views(picture_model(), pictures(), labels=np.arange(12) % 3)


# ---------------------------------------------------------------------- every model


@pytest.mark.parametrize("name", zoo.MODELS)
def test_every_action_of_every_model(name):
    model = zoo.trained(name)
    views = Views(model, zoo.data_for(name, 16))
    state = views.state()
    json.dumps(state)
    inputs = {each["name"]: each["start"] for each in state["inputs"]}
    codes = [views.start, views.start]
    found = unpack_items(views.decode({"codes": codes, "inputs": inputs}))
    assert set(found) == set(model._modalities or [""])
    assert all(len(values) == 2 for values in found.values())
    looked = views.look({"example": 1})
    assert len(looked["code"]) == np.prod(views.code_shape)
    assert (looked["score"] is not None) == hasattr(model, "anomaly_score")
    assert state["code"]["kind"] == ("integers" if name in zoo.DISCRETE else "vector")
    if state["code"]["kind"] == "vector":
        assert len(state["code"]["dimensions"]) == np.prod(views.code_shape)
        given = {"a": codes[0], "b": looked["code"], "steps": 3, "inputs": inputs}
        assert len(views.interpolate(given)["codes"]) == 3
    if state["sample"]["refusal"] is None:
        given = {"count": 3, "seed": 5, "inputs": inputs}
        first, second = (unpack_items(views.sample(given)) for _ in range(2))
        for key, values in first.items():
            assert len(values) == 3
            np.testing.assert_array_equal(values, second[key])
        if state["sample"]["temperature"]:
            assert views.sample({**given, "temperature": 0.5})["items"]
    for view in state["views"]:
        given = {"title": view["title"], "example": 0, "code": codes[0]}
        figures = views.view(given)["figures"]
        assert figures and json.dumps(figures)


def test_models_without_data_show_draws():
    model = zoo.trained("ConditionalVAE")
    state = Views(model).state()
    assert state["examples"]["source"] == "draws"
    assert state["examples"]["count"] == NUM_SHOWN
    assert set(state["examples"]["inputs"]) == set(model.extra_inputs)


def test_models_that_cannot_draw_say_what_to_call():
    model = zoo.make("VQVAE")
    zoo.build(model)
    views = Views(model)
    state = views.state()
    assert state["examples"] == {"source": "none", "count": 0}
    assert "fit_prior" in state["sample"]["refusal"]
    with pytest.raises(RuntimeError, match="fit_prior"):
        views.sample({"count": 1})
    assert views.decode({"codes": [views.start]})["items"]


# ---------------------------------------------------------------------- numbers


def test_decode_is_that_of_the_model(views):
    z = np.random.default_rng(1).normal(size=(4, 3)).astype("float32")
    found = unpack_items(views.decode({"codes": z.tolist()}))[""]
    expected = np.round(255.0 * views.model.decode(z))
    assert found.dtype == np.uint8
    np.testing.assert_allclose(found, expected, atol=1)


def test_look_is_that_of_the_model(views):
    x = pictures(1)
    found = views.look({"values": x.ravel().tolist(), "likelihood": True})
    np.testing.assert_allclose(found["code"], views.model.encode(x)[0], rtol=1e-5, atol=1e-6)
    assert found["log_likelihood"] == pytest.approx(
        float(views.model.log_likelihood(x, num_samples=100, seed=0)[0]), rel=1e-5
    )
    copies = unpack(found["copies"][""])
    np.testing.assert_allclose(copies, np.round(255.0 * views.model.reconstruct(x)), atol=1)


def test_dimensions_are_ordered_by_divergence(views):
    dimensions = views.state()["code"]["dimensions"]
    divergences = [each["divergence"] for each in dimensions]
    assert divergences == sorted(divergences, reverse=True)
    assert sorted(each["index"] for each in dimensions) == [0, 1, 2]
    for each in dimensions:
        assert each["low"] < each["mean"] < each["high"]


def test_an_idle_dimension_is_not_active():
    model = picture_model(latent_dim=2)
    views = Views(model, np.repeat(pictures(1), 5, axis=0))  # Equal data have equal codes.
    assert not any(each["active"] for each in views.state()["code"]["dimensions"])


def test_the_plane_of_codes_is_that_of_pca(views):
    plane = views.state()["code"]["plane"]
    axes = np.array(plane["axes"])
    np.testing.assert_allclose(axes @ axes.T, np.eye(2), atol=1e-6)
    centered = views.found.means - plane["center"]
    variances = np.var(centered @ axes.T, axis=0)
    largest = np.linalg.eigvalsh(np.cov(centered.T, bias=True))[::-1][:2]
    np.testing.assert_allclose(variances, largest, rtol=1e-6)


def test_interpolation_ends_at_the_codes(views):
    a, b = [0.0, 1.0, 2.0], [2.0, 0.0, -1.0]
    found = views.interpolate({"a": a, "b": b, "steps": 5})
    np.testing.assert_allclose(np.array(found["codes"])[[0, 2, 4]], [a, [1.0, 0.5, 0.5], b])
    decoded = unpack_items(views.decode({"codes": [a, b]}))[""]
    np.testing.assert_array_equal(unpack_items(found)[""][[0, -1]], decoded)
    around = views.interpolate({"a": a, "b": b, "steps": 5, "spherical": True})
    assert np.linalg.norm(around["codes"][2]) > np.linalg.norm(found["codes"][2])


def test_samples_are_those_of_the_model(views):
    found = unpack_items(views.sample({"count": 5, "seed": 3}))[""]
    expected = np.round(255.0 * views.model.sample(5, seed=3))
    np.testing.assert_allclose(found, expected, atol=1)


def test_samples_at_temperature_zero_are_the_mean_of_the_prior(views):
    found = unpack_items(views.sample({"count": 3, "seed": 3, "temperature": 0}))[""]
    mean = unpack_items(views.decode({"codes": [[0.0] * 3]}))[""]
    np.testing.assert_array_equal(found, np.repeat(mean, 3, axis=0))


def test_draws_of_a_fitted_sampler_have_a_temperature_and_labels():
    model = picture_model()
    x, label = pictures(40), np.arange(40) % 2
    model.fit_sampler(x, "gaussian_mixture", label=label, verbose=0)
    views = Views(model, x)
    state = views.state()
    assert [each["name"] for each in state["inputs"]] == ["label"]
    assert state["inputs"][0]["limits"] == [0, 1]
    given = {"count": 2, "seed": 0, "inputs": {"label": [1]}, "temperature": 0.3}
    assert len(unpack_items(views.sample(given))[""]) == 2
    with pytest.raises(ValueError, match="label"):
        views.sample({"count": 2, "inputs": {"label": [2]}})


# ---------------------------------------------------------------------- named inputs, modalities


def test_labels_change_what_a_conditional_model_decodes():
    model = zoo.trained("ConditionalVAE")
    views = Views(model, zoo.data_for("ConditionalVAE", 16))
    (label,) = views.state()["inputs"]
    assert label["limits"] == [0, 2] and "decode" in label["required"]
    first, second = (
        unpack_items(views.decode({"codes": [views.start], "inputs": {"label": [n]}}))[""]
        for n in (0, 2)
    )
    assert np.abs(first - second).max() > 1e-4
    with pytest.raises(TypeError, match="label"):
        views.decode({"codes": [views.start]})
    with pytest.raises(ValueError, match="integer"):
        views.decode({"codes": [views.start], "inputs": {"label": [0.5]}})


def test_modalities_are_reconstructed_from_some_of_them():
    x = zoo.data_for("MultimodalVAE", 16)
    x = {name: np.nan_to_num(values, nan=0.0) for name, values in x.items()}
    model = zoo.trained("MultimodalVAE")
    views = Views(model, x)
    found = views.look({"example": 2, "only": ["bits"]})
    assert set(found["items"]) == {"bits"} and set(found["copies"]) == set(model._modalities)
    alone = model.reconstruct({"bits": x["bits"][2:3]})
    np.testing.assert_allclose(unpack(found["copies"]["numbers"]), alone["numbers"], rtol=1e-5)
    drawn = views.look({"parts": {"bits": x["bits"][2].tolist()}})
    np.testing.assert_allclose(drawn["code"], found["code"], rtol=1e-5)
    with pytest.raises(ValueError, match="parts must have"):
        views.look({"parts": {"sound": [0.0]}})


# ---------------------------------------------------------------------- kinds of models


def test_integer_codes():
    model = zoo.trained("VQVAE")
    x = zoo.data_for("VQVAE", 16)
    views = Views(model, x)
    state = views.state()
    assert state["code"]["count"] == model.num_codes and state["code"]["dimensions"] == []
    assert views.look({"example": 3})["code"] == model.encode(x[3:4])[0].tolist()
    given = [[0] * len(views.start), [1] * len(views.start)]
    expected = model.decode(np.array(given).reshape(2, *model.code_shape))
    found = unpack_items(views.decode({"codes": given}))[""]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    with pytest.raises(ValueError, match="integers from 0"):
        views.decode({"codes": [[model.num_codes] * len(views.start)]})
    with pytest.raises(TypeError, match="no way"):
        views.interpolate({"a": given[0], "b": given[1]})


def test_topics_have_the_words_of_the_vocabulary():
    words = ["tea", "cup", "sea", "ship", "sun", "sand"]
    model = zoo.trained("ProdLDA")
    views = Views(model, zoo.data_for("ProdLDA", 16), names=words)
    assert views.forms[""].kind == "counts"
    (table,) = views.view({"title": "Topics"})["figures"]
    assert table["rows"] == model.topics(words, k=6)
    with pytest.raises(ValueError, match="no view"):
        views.view({"title": "Rubrics"})
    (bars,) = views.view({"title": "Topics of an example", "example": 1})["figures"]
    shares = model.doc_topics(zoo.data_for("ProdLDA", 16)[1:2])[0]
    np.testing.assert_allclose(bars["values"], shares, rtol=1e-4)


def test_series_have_components():
    model = zoo.trained("TimeVAE")
    x = zoo.data_for("TimeVAE", 16)
    views = Views(model, x)
    figures = views.view({"title": "Components", "example": 0})["figures"]
    assert [each["name"] for each in figures] == list(model.components(x[:1]))


def test_tables_have_cells_of_their_types():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"age": rng.normal(40.0, 9.0, 64), "city": rng.choice(["Rome", "Oslo"], 64)}
    )
    frame.loc[3, "age"] = np.nan
    model = keras_ae.TabularVAE(2, network_options={"units": (8,)}, seed=0)
    model.compile("adam")
    model.fit(frame, epochs=1, verbose=0)
    views = Views(model, frame)
    state = views.state()
    assert state["forms"][""]["kind"] == "table" and state["forms"][""]["names"] == ["age", "city"]
    cells = state["examples"]["items"][""]["cells"]
    assert cells[3][0] is None and cells[3][1] in ("Rome", "Oslo")
    assert views.decode({"codes": [[0.0, 0.0]]})["items"][""]["cells"][0][1] in ("Rome", "Oslo")
    assert views.sample({"count": 2})["items"][""]["cells"]


def test_detectors_have_scores_and_heat_maps():
    x = np.random.default_rng(0).normal(size=(80, 5)).astype("float32")
    x[:4, 2] += 15.0
    table = pd.DataFrame(x, columns=list("abcde"))
    detector = AnomalyDetector("VAE", contamination=0.05, epochs=5, random_state=0).fit(table)
    views = Views(detector.model_, x, detector=detector, names=list("abcde"))
    state = views.state()
    expected = -detector.score_samples(table)
    np.testing.assert_allclose(state["score"]["of_examples"], expected, rtol=1e-5)
    found = views.look({"example": 0})["score"]
    assert found["is_anomaly"] and found["value"] > found["threshold"] == detector.threshold_
    (shares,) = found["shares"]
    assert shares["names"][int(np.argmax(shares["values"]))] == "c"
    np.testing.assert_allclose(shares["values"], detector.explain(table[:1])[0], rtol=1e-4)


def test_an_exported_detector_is_explored_by_name():
    views = sources.make_views("detector_thyroid")
    detector = AnomalyDetector.load("detector_thyroid")
    state = views.state()
    x = views.x[:3]
    expected = -detector.score_samples(x)
    np.testing.assert_allclose(state["score"]["of_examples"][:3], expected, rtol=1e-4)
    found = views.look({"example": 0})["score"]
    assert found["threshold"] == pytest.approx(detector.threshold_)
    assert found["is_anomaly"] == bool(detector.predict(x)[0] == -1)


def test_a_model_brings_its_own_views():
    class Mine(keras_ae.VAE):
        explorer_views = {"Length": "length", "Twice": "twice", "About": "about"}

        def length(self, z):
            return {"of the code": np.linalg.norm(z, axis=1, keepdims=True)}

        def twice(self, x):
            return 2.0 * x

        def about(self):
            return "Mine."

    model = Mine(2, network_options={"filters": (4,)}, seed=0)
    model.build((None, 8, 8, 1))
    x = pictures(3)
    views = Views(model, x)
    assert [each["takes"] for each in views.state()["views"]] == ["z", "x", None]
    (bars,) = views.view({"title": "Length", "code": [3.0, 4.0]})["figures"]
    assert bars["name"] == "of the code" and bars["values"] == [5.0]
    (data,) = views.view({"title": "Twice", "example": 1})["figures"]
    assert data["kind"] == "data" and unpack(data["values"]).shape == (1, 8, 8, 1)
    assert views.view({"title": "About"})["figures"][0]["text"] == "Mine."


# ---------------------------------------------------------------------- forms


@pytest.mark.parametrize(
    ("shape", "options", "kind"),
    [
        ((28, 28, 1), {}, "picture"),
        ((28, 28, 3), {}, "picture"),
        ((5, 16, 16, 1), {}, "frames"),
        ((50, 2), {}, "series"),
        ((28, 28), {}, "picture"),
        ((100,), {}, "vector"),
        ((8000,), {"rate": 8000}, "wave"),
        ((8000, 1), {"rate": 8000}, "wave"),
        ((100,), {"has_counts": True}, "counts"),
        ((12,), {"has_tokens": True}, "tokens"),
        ((6, 6, 2), {}, "vector"),
    ],
)
def test_forms_of_shapes(shape, options, kind):
    assert forms.Form(shape, **options).kind == kind


def test_numbers_outside_the_limits_are_clipped():
    form = forms.Form((1, 2, 1), support=(-1.0, 1.0))
    x = np.array([-2.0, 0.0]).reshape(1, 1, 2, 1)
    assert unpack(form.pack(x)).ravel().tolist() == [0, 128]
    with pytest.raises(ValueError, match="has 3 numbers, and an example has 2"):
        form.unpack([1.0, 2.0, 3.0])


# ---------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("action", "given", "message"),
    [
        ("decode", {}, "codes must be a list"),
        ("decode", {"codes": []}, "codes must be a list"),
        ("decode", {"codes": [1.0, 2.0, 3.0]}, "codes has the shape"),
        ("decode", {"codes": [[1.0, 2.0]]}, "codes has the shape"),
        ("decode", {"codes": [[1.0, 2.0], [1.0]]}, "different lengths"),
        ("decode", {"codes": [["a", "b", "c"]]}, "numbers only"),
        ("decode", {"codes": [[None, 1.0, 2.0]]}, "numbers only"),
        ("decode", {"codes": [[1e300, 1.0, 2.0]]}, "float32"),
        ("decode", {"codes": [[0.0] * 3] * (MOST_ROWS + 1)}, "at most"),
        ("decode", {"codes": [[0.0] * 3], "inputs": [1]}, "inputs must be"),
        ("look", {"example": -1}, "example"),
        ("look", {"example": 99}, "example"),
        ("look", {"example": "1"}, "example"),
        ("look", {}, "example"),
        ("look", {"values": [0.0] * 63}, "has 63 numbers"),
        ("look", {"values": "picture"}, "list of numbers"),
        ("interpolate", {"a": [0.0] * 3}, "b must be"),
        ("interpolate", {"a": [0.0] * 3, "b": [0.0] * 2}, "codes of 3 numbers"),
        ("interpolate", {"a": [0.0] * 3, "b": [0.0] * 3, "steps": 1}, "steps"),
        ("interpolate", {"a": [0.0] * 3, "b": [0.0] * 3, "steps": 10**9}, "steps"),
        ("interpolate", {"a": [0.0] * 3, "b": [0.0] * 3, "spherical": 3}, "spherical"),
        ("sample", {"count": 0}, "count"),
        ("sample", {"count": 10**9}, "count"),
        ("sample", {"count": 1, "seed": -1}, "seed"),
        ("sample", {"count": 1, "temperature": -1}, "temperature"),
        ("view", {}, "no view"),
        ("view", {"title": ["x"]}, "no view"),
    ],
)
def test_bad_requests(views, action, given, message):
    with pytest.raises((TypeError, ValueError), match=message):
        getattr(views, action)(given)


def test_bad_arguments():
    with pytest.raises(ValueError, match="has seen no data"):
        Views(keras_ae.VAE(2))
    with pytest.raises(ValueError, match="labels"):
        Views(picture_model(), pictures(), labels=[1, 2])
    with pytest.raises(TypeError, match="explore: model"):
        keras_ae.explore(7)
    with pytest.raises(TypeError, match="has no input 'label'"):
        keras_ae.explore(picture_model(), label=[1])


def test_named_data_is_read_with_its_labels():
    from keras_ae.explorer import sources

    x, labels = sources.read_examples("digits")
    assert len(x) == len(labels) and x.shape[1:] == datasets.as_array("digits", "test").shape[1:]
    views = sources.make_views(picture_model(), data="digits")
    assert views.state()["examples"]["labels"] == [str(n) for n in labels]


def test_unreadable_data_of_a_card_gives_draws_and_a_line():
    from keras_ae.explorer import sources

    lines = []
    views = sources.make_views(picture_model(), data="sprites", warn=lines.append)
    assert views.source == "draws" and "sprites" in lines[0]
    with pytest.raises(ValueError, match="examples have the shape"):
        sources.make_views(picture_model(), data="sprites", needs_data=True)


def test_every_class_names_methods_that_it_has():
    for name in zoo.MODELS:
        cls = getattr(keras_ae, name)
        for method in cls.explorer_views.values():
            assert callable(getattr(cls, method))
