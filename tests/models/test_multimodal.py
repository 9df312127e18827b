"""MultimodalVAE: products of Gaussians, densities, and modalities that are absent."""

import itertools
import json

import keras
import numpy as np
import pytest
import zoo
from keras import ops

import keras_ae
from keras_ae import MultimodalVAE, likelihoods
from keras_ae.core import backend
from keras_ae.core.examples import map_leaves
from keras_ae.core.seeds import RunSeed

pytestmark = pytest.mark.formula

BATCH = {"batch_size": 16, "verbose": 0}
THREE = {"bits": "bernoulli", "numbers": "gaussian", "kind": "categorical"}


def numpy(tensor):
    return np.array(ops.convert_to_numpy(ops.convert_to_tensor(tensor)))


def whole(num_examples=48):
    """Return three modalities of every example, which tell of each other."""
    bits = zoo.data(num_examples)
    kind = np.eye(8, dtype="float32")[(bits[:, ::2] @ [1, 2, 4]).astype(int)]
    return {"bits": bits, "numbers": 2.0 * bits[:, :3] - 1.0, "kind": kind}


def with_holes():
    """Return the same, with rows of NaN: in each example one modality or none is absent."""
    x = map_leaves(np.copy, whole())
    for number, values in enumerate(x.values()):
        values[number::5] = np.nan
    return x


def made(modalities=THREE, **given):
    options = {"network_options": {"units": (16,)}, "seed": 0}
    model = MultimodalVAE(2, modalities, **options | given)
    model.compile(keras.optimizers.Adam(0.02), **zoo.OP_BY_OP)
    return model


def fitted(x=None, epochs=1, **given):
    x = with_holes() if x is None else x
    model = made(**given)
    model.fit(x, epochs=epochs, **BATCH)
    return model


# ------------------------------------------------------------------ the product, the bounds


def experts_of(model, x):
    """Return the mean and the variance of each expert: name -> two arrays.

    The networks compute the mean of the expert's product with the prior.
    """
    found = {name: numpy(model.encoders[name](values)) for name, values in x.items()}
    pairs = {name: (v[:, :2], np.exp(v[:, 2:].astype("float64"))) for name, v in found.items()}
    return {name: (mean * (1.0 + variance), variance) for name, (mean, variance) in pairs.items()}


@pytest.mark.parametrize("names", [["bits"], ["numbers", "kind"], list(THREE)])
def test_the_posterior_is_the_product_of_the_experts_and_the_prior(names):
    model, x = fitted(), {name: whole()[name] for name in names}
    experts = experts_of(model, x).values()
    precision = 1.0 + sum(1.0 / variance for _, variance in experts)
    mean = sum(mean / variance for mean, variance in experts) / precision
    q = model.posterior(map_leaves(ops.convert_to_tensor, x))
    np.testing.assert_allclose(numpy(q.mean), mean, atol=1e-5)
    np.testing.assert_allclose(np.exp(numpy(q.log_variance)), 1.0 / precision, rtol=1e-4)
    np.testing.assert_allclose(model.encode(x), mean, atol=1e-5)


def test_extreme_experts_have_a_product():
    model = made()
    zoo.build(model)
    for log_precision in (-200.0, 200.0):
        mean, precision = ops.ones((1, 2)), ops.full((1, 2), log_precision)
        q = model._multiply({"bits": (mean, precision), "kind": (-mean, precision)})
        assert np.all(np.isfinite(numpy(q.mean))) and np.all(np.isfinite(numpy(q.log_variance)))


def test_a_row_of_nan_and_a_key_left_out_are_the_same():
    model, x = fitted(), whole()
    nan = {**x, "kind": np.full_like(x["kind"], np.nan)}
    without = {name: x[name] for name in ("bits", "numbers")}
    np.testing.assert_allclose(model.encode(nan), model.encode(without), atol=1e-6)
    found, wanted = (model.log_likelihood(v, num_samples=8, seed=0) for v in (nan, without))
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    found, wanted = (model.evaluate(v, return_dict=True, **BATCH) for v in (nan, without))
    assert found == pytest.approx(wanted, rel=1e-4, abs=1e-6) == wanted
    assert found["reconstruction_loss_kind"] == 0.0 < found["reconstruction_loss_bits"]
    tensors = map_leaves(ops.convert_to_tensor, without)
    np.testing.assert_allclose(numpy(model.encode(tensors)), model.encode(without), atol=1e-6)
    each = model.encode({"bits": x["bits"][:1]})
    nothing = {"bits": np.full((1, 6), np.nan)}
    np.testing.assert_allclose(model.encode(nothing), 0.0, atol=1e-6)
    assert not np.allclose(each, 0.0)
    assert model.log_likelihood(nothing, num_samples=8)[0] == pytest.approx(0.0, abs=1e-5)


def test_the_logs_are_the_terms_of_the_bounds():
    weights = {"kind": 5.0, "numbers": 0.5}
    model = fitted(modality_weights=weights, kl_weight=0.3)
    logs = model.evaluate(with_holes(), return_dict=True, **BATCH)
    parts = {name: logs[f"reconstruction_loss_{name}"] for name in THREE}
    assert logs["reconstruction_loss"] == pytest.approx(sum(parts.values()), rel=1e-5)
    total = parts["bits"] + 5.0 * parts["kind"] + 0.5 * parts["numbers"]
    total += 0.3 * logs["kl_loss"] + logs["subset_loss"]
    assert logs["loss"] == pytest.approx(total, rel=1e-5)
    alone = fitted(num_subsets=None).evaluate(with_holes(), return_dict=True, **BATCH)
    assert "subset_loss" in logs and "subset_loss" not in alone


def test_the_bounds_of_subsets_are_those_of_their_modalities():
    """With two modalities they are two, and are what data without the other one has."""
    two = {"bits": "bernoulli", "kind": "categorical"}
    x = {name: whole()[name] for name in two}
    model = made(two)
    model.fit(x, **BATCH)
    # A constant decoder and a posterior that is the prior leave no noise of the draws.
    for network in model.decoders.values():
        for variable in network.trainable_variables:
            variable.assign(0.0 * variable)
    logs = model.evaluate(x, return_dict=True, **BATCH)
    alone = [model.evaluate({n: v}, return_dict=True, **BATCH) for n, v in x.items()]
    bounds = [one["reconstruction_loss"] + one["kl_loss"] for one in alone]
    assert logs["subset_loss"] == pytest.approx(sum(bounds), rel=1e-5)


def test_random_subsets_are_uniform():
    """Of four modalities there are six pairs and four triples."""
    four = dict.fromkeys("abcd", "gaussian")
    model = made(four)
    experts = {name: (ops.zeros((20_000, 2)), ops.zeros((20_000, 2))) for name in four}
    kept = model._draw_subset(experts, keras.random.SeedGenerator(0))
    rows = np.stack([numpy(log_precision)[:, 0] > -1.0 for _, log_precision in kept.values()])
    patterns, counts = np.unique(rows.T, axis=0, return_counts=True)
    assert len(patterns) == 10 and set(patterns.sum(axis=1)) == {2, 3}
    np.testing.assert_allclose(counts / 20_000, 0.1, atol=0.012)


def test_absent_modalities_leave_their_networks_alone():
    x = whole()
    model = made()
    model.build({name: (None, *v.shape[1:]) for name, v in x.items()})
    networks = [model.encoders["kind"], model.decoders["kind"]]
    before = [w.numpy().copy() for one in networks for w in one.trainable_variables]
    model.fit({"bits": x["bits"], "numbers": x["numbers"]}, **BATCH)
    after = [w.numpy() for one in networks for w in one.trainable_variables]
    assert all(map(np.array_equal, before, after))


def test_probabilities_of_all_data_sum_to_one():
    modalities = {"bits": "bernoulli", "kind": "categorical"}
    model = made(modalities, encoders={"bits": "mlp"})
    model.build({"bits": (None, 3), "kind": (None, 4)})
    bits = np.array(list(itertools.product([0, 1], repeat=3)), "float32")
    every = {
        "bits": np.repeat(bits, 4, axis=0),
        "kind": np.tile(np.eye(4, dtype="float32"), (8, 1)),
    }
    for x in (every, {"bits": bits}, {"kind": np.eye(4, dtype="float32")}):

        def logarithms(x, pair):
            parts = model._importance_terms(model.posterior(x), x, 1000, RunSeed(pair))
            return parts[0] - parts[1]

        seed = np.array([5, 0]).astype(backend.SEED_DTYPE)
        totals = np.exp(zoo.compute(logarithms, x, seed).astype("float64")).sum(axis=0)
        error = totals.std() / np.sqrt(len(totals))
        assert totals.mean() == pytest.approx(1.0, abs=4 * error + 2e-3)


# ------------------------------------------------------------------ use


@pytest.fixture(scope="module")
def trained():
    model = made(kl_weight=0.1, network_options={"units": (32,)})
    model.compile(keras.optimizers.Adam(0.03))
    model.fit(with_holes(), epochs=300, **BATCH)
    return model


def test_one_modality_tells_the_others(trained):
    x = whole()
    right = np.argmax(x["kind"], axis=1)
    for given in ("bits", "numbers"):
        kind = trained.reconstruct({given: x[given]}, to="kind")
        assert kind.shape == (48, 8)
        # There are eight kinds, so that a guess is right in an eighth of the rows.
        assert np.mean(np.argmax(kind, axis=1) == right) > 0.5
    bits = trained.reconstruct({"kind": x["kind"]}, to="bits")
    assert np.mean((bits > 0.5) == x["bits"]) > 0.85
    found = trained.reconstruct({"kind": x["kind"]})
    assert list(found) == list(THREE) and np.allclose(found["bits"], bits, atol=1e-6)


def test_codes_and_samples_are_dictionaries_of_data(trained):
    z = trained.encode(whole())
    shapes = {"bits": (6,), "numbers": (3,), "kind": (8,)}
    for found in (trained.decode(z), trained.decode(z, sample=True, seed=0)):
        assert map_leaves(np.shape, found) == {name: (48, *s) for name, s in shapes.items()}
    found = trained.sample(5, seed=0)
    assert map_leaves(np.shape, found) == {name: (5, *s) for name, s in shapes.items()}
    given = trained.predict(whole(), verbose=0)
    np.testing.assert_allclose(given["kind"], trained.reconstruct(whole(), to="kind"), atol=1e-5)


def test_every_form_of_data_may_lack_modalities(trained):
    import tensorflow as tf

    x = with_holes()
    wanted = trained.evaluate(x, **BATCH)
    dataset = tf.data.Dataset.from_tensor_slices(x).batch(16)
    parts = [{name: v[i : i + 16] for name, v in x.items()} for i in (0, 16, 32)]

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            return (parts[index],)

    for form in (dataset, Batches(), iter_of(parts)):
        assert trained.evaluate(form, steps=3, verbose=0) == pytest.approx(wanted, rel=1e-4)
    np.testing.assert_allclose(trained.encode(dataset), trained.encode(x), atol=1e-5)
    model = made()
    model.fit(dataset, validation_data=dataset, verbose=0)
    model.fit(Batches(), verbose=0), model.fit(iter_of(parts), steps_per_epoch=3, verbose=0)
    model.fit({"bits": x["bits"]}, validation_data={"kind": x["kind"]}, **BATCH)
    model.train_on_batch({"bits": x["bits"][:16]}), model.test_on_batch(parts[0])
    only = tf.data.Dataset.from_tensor_slices({"kind": x["kind"]}).batch(16)
    model.fit(only, verbose=0)
    assert all(np.all(np.isfinite(w)) for w in zoo.weights(model))


def iter_of(parts):
    yield from parts


def test_networks_of_the_user_s_own():
    x = whole()
    encoder = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4, "relu")])
    decoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(6)])
    model = fitted(x, encoders={"bits": encoder}, decoders={"bits": decoder, "kind": "mlp"})
    assert model.decoders["bits"] is decoder
    again = type(model).from_config(model.get_config())
    again.build({name: (None, *v.shape[1:]) for name, v in x.items()})
    again.set_weights(model.get_weights())
    np.testing.assert_allclose(again.encode(x), model.encode(x), atol=1e-6)
    squashed = keras.Sequential([keras.Input((2,)), keras.layers.Dense(6, "sigmoid")])
    with pytest.raises(ValueError, match="likelihood of 'bits' takes logits"):
        fitted(x, decoders={"bits": squashed})
    with pytest.raises(ValueError, match="encoder of 'kind' takes inputs of shape"):
        fitted(x, encoders={"kind": encoder})
    with pytest.raises(ValueError, match="decoder of 'kind' returns"):
        fitted(x, decoders={"kind": decoder})


def test_sequences_have_recurrent_networks_but_no_padding():
    x = {"series": np.ones((16, 4, 2), "float32"), "kind": whole(16)["kind"]}
    modalities = {"series": "gaussian", "kind": "categorical"}
    layers = [keras.Input((4, 2)), keras.layers.Masking(), keras.layers.LSTM(3)]
    own = keras.Sequential([layers[0], layers[2]])
    model = made(modalities, encoders={"series": own})
    model.fit(x, **BATCH)
    assert model.encode({"series": x["series"]}).shape == (16, 2)
    masked = made(modalities, encoders={"series": keras.Sequential(layers)})
    kind = {name: {"series": "recurrent"} for name in ("encoders", "decoders")}
    other = made({"series": "gaussian"}, network_options={"mask_value": -1.0}, **kind)
    for each, shapes in ((masked, x), (other, {"series": x["series"]})):
        with pytest.raises(ValueError, match=r"mask_value=.*padding of 'series' would count"):
            each.build({name: (None, *v.shape[1:]) for name, v in shapes.items()})


def test_modalities_share_no_weights_of_a_likelihood():
    model = made(dict.fromkeys("ab", likelihoods.Gaussian("learned")))
    with pytest.raises(ValueError, match="one object for each"):
        model.build({"a": (None, 3), "b": (None, 3)})
    made(dict.fromkeys("ab", likelihoods.Gaussian(0.5))).build({"a": (None, 3), "b": (None, 3)})


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"modalities": {"x": "bernoulli"}}, TypeError, "contains 'x'"),
        ({"modalities": {"a b": "bernoulli"}}, TypeError, "contains 'a b'"),
        ({"modalities": ["bits"]}, TypeError, "modalities=.*must be a dictionary"),
        ({"modalities": {"bits": "bernouli"}}, ValueError, "'bernouli' is unknown"),
        ({"modalities": {"a": "gaussian_optimal_scale"}}, ValueError, "learned_scale"),
        ({"modality_weights": {"bit": 1.0}}, ValueError, "'bit'.*Did you mean 'bits'"),
        ({"modality_weights": {"bits": -1.0}}, ValueError, "at least 0"),
        ({"encoders": {"bits": "convv"}}, ValueError, "'convv'"),
        ({"num_subsets": -1}, ValueError, "num_subsets=-1"),
        ({"standardize": True}, TypeError, "unknown argument 'standardize'"),
    ],
)
def test_wrong_arguments_are_refused(given, error, words):
    with pytest.raises(error, match=words):
        made(**given)


def test_wrong_data_is_refused(trained):
    x = whole()
    partly = {**x, "bits": np.where(np.arange(6) > 3, np.nan, x["bits"])}
    cases = [
        (lambda: trained.fit(x["bits"]), TypeError, "takes a dictionary of its modalities: bits"),
        (lambda: trained.fit({"bit": x["bits"]}), TypeError, "Did you mean 'bits'"),
        (lambda: trained.fit(partly), ValueError, r"x\['bits'\] has NaN in a part of row 0"),
        (lambda: trained.fit({**x, "bits": x["bits"][:9]}), ValueError, "different lengths"),
        (lambda: trained.fit({**x, "bits": 2 * x["bits"]}), ValueError, "between 0 and 1"),
        (lambda: trained.fit({**x, "kind": x["bits"]}), ValueError, "add up to|built for"),
        (lambda: trained.encode({"kind": x["kind"][:, :5]}), ValueError, r"\(5,\).*\(8,\)"),
        (lambda: trained.fit(x, x["bits"]), ValueError, "takes no targets"),
        (lambda: trained.reconstruct(x, to="bit"), ValueError, "to='bit'.*'bits'"),
        (lambda: made().fit({"bits": x["bits"]}), ValueError, "has no 'numbers'"),
        (lambda: made().build((None, 6)), ValueError, "no shape of bits, numbers, kind"),
        (lambda: made().build({"bits": (None, 6)}), ValueError, "no shape of numbers, kind"),
    ]
    for action, error, words in cases:
        with pytest.raises(error, match=words):
            action()
    one = made({"bits": "categorical"})
    with pytest.raises(ValueError, match="one class"):
        one.fit({"bits": x["bits"][:, :1]}, verbose=0)


# ------------------------------------------------------------------ files


def test_a_loaded_model_goes_on(tmp_path):
    x = with_holes()
    given = {"bits": "bernoulli", "numbers": likelihoods.Gaussian("learned"), "kind": "categorical"}
    model = fitted(x, modalities=given, modality_weights={"kind": 3.0})
    model.save(tmp_path / "model.keras")
    loaded = keras_ae.load(tmp_path / "model.keras")
    assert loaded.modality_weights == model.modality_weights
    for each in (model, loaded):
        each.fit(x, **BATCH)
    for one, other in zip(zoo.weights(model), zoo.weights(loaded), strict=True):
        assert np.array_equal(one, other)
    named = {variable.name for variable in model.likelihood.trainable_variables}
    assert named == {"log_scale"}


@pytest.mark.skipif(keras.config.backend() == "torch", reason="torch exports no SavedModel")
def test_each_modality_is_an_argument_of_a_served_function(trained, tmp_path):
    import tensorflow as tf

    x = with_holes()
    trained.export(tmp_path / "model")
    served = tf.saved_model.load(str(tmp_path / "model"))
    signature = served.signatures["encode"].structured_input_signature[1]
    assert set(signature) == set(THREE)
    np.testing.assert_allclose(served.encode(**x).numpy(), trained.encode(x), atol=1e-5)
    found, wanted = served.serve(**x), trained.reconstruct(x)
    for name in THREE:
        np.testing.assert_allclose(found[name].numpy(), wanted[name], atol=1e-5)
    found = served.sample(7, 0)
    np.testing.assert_allclose(found["bits"].numpy(), trained.sample(7, seed=0)["bits"], atol=1e-5)
    card = json.loads((tmp_path / "model" / "card.json").read_text())
    assert card["data_shape"] == {"bits": [6], "numbers": [3], "kind": [8]}
    loaded = keras_ae.load(tmp_path / "model")
    np.testing.assert_allclose(loaded.encode(x), trained.encode(x), atol=1e-6)


@pytest.mark.skipif(keras.config.backend() == "torch", reason="torch exports no SavedModel")
def test_a_modality_may_be_called_label(tmp_path):
    import tensorflow as tf

    x = {"bits": whole()["bits"], "label": whole()["kind"]}
    model = MultimodalVAE(2, {"bits": "bernoulli", "label": "categorical"}, seed=0)
    model.build(map_leaves(lambda values: (None, *values.shape[1:]), x))
    model.export(tmp_path / "model")
    served = tf.saved_model.load(str(tmp_path / "model"))
    np.testing.assert_allclose(served.encode(**x).numpy(), model.encode(x), atol=1e-5)


def test_symbolic_tensors_are_not_mixed_with_others():
    x = zoo.data_for("MultimodalVAE")
    mixed = {**x, "bits": keras.KerasTensor((None, 6))}
    with pytest.raises(TypeError, match="x has symbolic tensors of Keras, and others"):
        zoo.trained("MultimodalVAE").reconstruct(mixed)
