"""An example is x and named inputs: every call takes them by name, and refuses what it must."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_ae
from keras_ae.core import examples

COUNT, WIDTH, CLASSES = 48, 6, 3


@keras.saving.register_keras_serializable("test_examples")
class LabeledVAE(keras_ae.VAE):
    """A VAE that is given a label, and a vector where the caller has one."""

    extra_inputs = ("label", "hint")
    _input_dtypes = {"label": "int32"}

    def _encoder_input_shape(self, shape):
        return (shape[0] + CLASSES,)

    def _decoder_input_shape(self):
        return (self.latent_dim + CLASSES,)

    def posterior(self, x, training=False, *, label, hint=None):
        x = x if hint is None else x + 0.0 * ops.sum(hint, axis=-1, keepdims=True)
        return super().posterior(join(x, label), training)

    def conditional(self, z, training=False, *, label):
        return super().conditional(join(z, label), training)


def join(values, label):
    return ops.concatenate([values, ops.one_hot(label, CLASSES, dtype="float32")], axis=-1)


def data(seed=0):
    rng = np.random.default_rng(seed)
    label = np.arange(COUNT) % CLASSES
    x = (rng.random((COUNT, WIDTH)) < (0.2 + 0.3 * label[:, None])).astype("float32")
    return x, label, rng.random((COUNT, 2)).astype("float32")


def make(**given):
    model = LabeledVAE(2, network_options={"units": (8,)}, seed=0, **given)
    model.compile(keras.optimizers.Adam(0.01), run_eagerly=keras.config.backend() != "jax")
    return model


@pytest.fixture(scope="module")
def trained():
    x, label, _ = data()
    model = make()
    model.fit(x, label=label, batch_size=16, verbose=0)
    return model


# ------------------------------------------------------------------ what is taken


def test_an_input_with_a_default_may_be_left_out(trained):
    x, label, hint = data()
    without = trained.evaluate(x, label=label, verbose=0)
    np.testing.assert_allclose(
        trained.evaluate(x, label=label, hint=hint, verbose=0), without, rtol=1e-5
    )
    np.testing.assert_allclose(
        trained.encode(x, label=label, hint=hint), trained.encode(x, label=label), atol=1e-6
    )


def test_one_value_stands_for_all_samples(trained):
    same = trained.sample(5, seed=0, label=2)
    np.testing.assert_array_equal(trained.sample(5, seed=0, label=[2] * 5), same)
    assert trained.sample(3, label=[0, 1, 2]).shape == (3, WIDTH)


def test_keyword_dictionary_and_dataset_are_the_same(trained):
    import tensorflow as tf

    x, label, hint = data()
    wanted = trained.encode(x, label=label)
    both = {"x": x, "label": label}
    np.testing.assert_array_equal(trained.encode(both), wanted)
    tensors = {"x": ops.convert_to_tensor(x), "label": ops.convert_to_tensor(label)}
    np.testing.assert_allclose(ops.convert_to_numpy(trained.encode(tensors)), wanted, atol=1e-6)
    for key in ("x", "image"):
        dataset = tf.data.Dataset.from_tensor_slices({key: x, "label": label}).batch(16)
        np.testing.assert_allclose(trained.encode(dataset), wanted, atol=1e-6)
        found = trained.evaluate(dataset, verbose=0)
        np.testing.assert_allclose(found, trained.evaluate(both, batch_size=16, verbose=0), 1e-5)
    features = {"image": x, "label": label, "id": label}  # A data set of TFDS has more.
    dataset = tf.data.Dataset.from_tensor_slices(features).batch(16)
    np.testing.assert_allclose(trained.encode(dataset), wanted, atol=1e-6)


def test_fit_takes_them_in_every_form():
    x, label, _ = data()
    both = {"x": x, "label": label}

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return COUNT // 16

        def __getitem__(self, index):
            rows = slice(index * 16, (index + 1) * 16)
            return {"x": x[rows], "label": label[rows]}

    def generate():
        for index in range(len(Batches())):
            yield Batches()[index]

    found = []
    for given in (
        {"x": both, "batch_size": 16},
        {"x": x, "label": label, "batch_size": 16},
        {"x": Batches()},
        {"x": generate(), "steps_per_epoch": len(Batches())},
    ):
        model = make()
        model.fit(**given, shuffle=False, verbose=0)
        found.append([ops.convert_to_numpy(v) for v in model.trainable_variables])
    for weights in found[1:]:
        for first, other in zip(found[0], weights, strict=True):
            np.testing.assert_allclose(other, first, atol=1e-6)


def test_a_data_loader_yields_them():
    torch = pytest.importorskip("torch")
    if keras.config.backend() != "torch":
        pytest.skip("Keras reads a DataLoader of dictionaries alike; one backend suffices")
    x, label, _ = data()
    rows = [{"x": x[i], "label": label[i]} for i in range(COUNT)]
    model = make()
    history = model.fit(torch.utils.data.DataLoader(rows, batch_size=16), verbose=0).history
    assert np.isfinite(history["loss"][0])


def test_validation_weights_metrics_and_single_batches():
    x, label, hint = data()
    model = make()
    model.compile("adam", metrics=["mae"])
    history = model.fit(
        x,
        label=label,
        hint=hint,
        sample_weight=np.ones(COUNT),
        validation_split=0.25,
        batch_size=12,
        verbose=0,
    ).history
    assert {"val_loss", "mae", "val_mae"} <= set(history)
    valid = ({"x": x, "label": label}, x, np.ones(COUNT))
    model.fit(x, label=label, validation_data=valid, verbose=0)
    weights = model.get_weights()
    first = model.test_on_batch(x, label=label, return_dict=True)
    model.train_on_batch(x, label=label)
    assert not all(map(np.array_equal, weights, model.get_weights()))
    assert set(first) >= {"loss", "kl_loss", "reconstruction_loss"}
    np.testing.assert_allclose(
        model.predict(x, label=label, verbose=0), model.reconstruct(x, label=label), atol=1e-6
    )
    assert model.predict_on_batch(x, label=label).shape == x.shape


def test_symbolic_inputs_make_a_keras_model(trained):
    x, label, _ = data()
    inputs = [keras.Input((WIDTH,)), keras.Input((), dtype="int32")]
    features = keras.Model(inputs, trained.encode(inputs[0], label=inputs[1]))
    found = features.predict([x, label], verbose=0)
    np.testing.assert_allclose(found, trained.encode(x, label=label), atol=1e-6)


def test_saved_and_exported(trained, tmp_path, exports):
    import tensorflow as tf

    x, label, _ = data()
    trained.save(tmp_path / "model.keras")
    loaded = keras_ae.load(tmp_path / "model.keras")
    wanted = trained.encode(x, label=label)
    np.testing.assert_array_equal(loaded.encode(x, label=label), wanted)
    loaded.fit(x, label=label, verbose=0)
    trained.export(tmp_path / "model")
    served = tf.saved_model.load(str(tmp_path / "model"))
    label = label.astype("int32")
    np.testing.assert_allclose(served.encode(x=x, label=label), wanted, atol=1e-6)
    names = served.signatures["decode"].structured_input_signature[1]
    assert set(names) == {"z", "label"}
    found = served.sample(seed=3, label=label[:4])
    np.testing.assert_allclose(found, trained.sample(4, seed=3, label=label[:4]), atol=1e-6)
    assert keras_ae.saving.read_card(tmp_path / "model")["inputs"]["label"] == []


# ------------------------------------------------------------------ what is refused


def bad_calls():
    x, label, hint = data()
    return {
        "missing in fit": (lambda m: m.fit(x), TypeError, "LabeledVAE.fit: the input 'label'"),
        "missing in encode": (lambda m: m.encode(x), TypeError, "LabeledVAE.encode: the input"),
        "missing in sample": (lambda m: m.sample(3), TypeError, "LabeledVAE.sample: the input"),
        "missing in log_likelihood": (lambda m: m.log_likelihood(x), TypeError, "label"),
        "misspelt": (lambda m: m.encode(x, lable=label), TypeError, "Did you mean 'label'"),
        "misspelt in fit": (lambda m: m.fit(x, lable=label), TypeError, "Did you mean 'label'"),
        "superfluous": (lambda m: m.decode(np.zeros((COUNT, 2)), label=label, hint=hint),
                        TypeError, "unknown input 'hint'"),
        "misspelt key": (lambda m: m.fit({"x": x, "lable": label}), TypeError, "Did you mean"),
        "no data": (lambda m: m.fit({"label": label}), TypeError, '"x" or "image"'),
        "too few": (lambda m: m.encode(x, label=label[:3]), ValueError, "there are 48 examples"),
        "another width": (lambda m: m.encode(x, label=label, hint=hint[:, :1]), ValueError,
                          "built for"),
        "text": (lambda m: m.encode(x, label=label.astype(str)), TypeError, "np.unique"),
        "fractions": (lambda m: m.encode(x, label=label + 0.5), ValueError, "integer labels"),
        "one-hot": (lambda m: m.encode(x, label=np.eye(3)[label]), ValueError, "argmax"),
        "NaN": (lambda m: m.encode(x, label=label, hint=hint * np.nan), ValueError, "NaN"),
        "scalar": (lambda m: m.encode(x, label=1), ValueError, "one row for each example"),
        "beside a dataset": (lambda m: m.fit((v for v in [x]), label=label), TypeError,
                             "must yield its own inputs"),
    }  # fmt: skip


@pytest.mark.parametrize("case", bad_calls())
def test_one_clear_error(trained, case):
    call, error, words = bad_calls()[case]
    trained.encode(data()[0], label=data()[1], hint=data()[2])  # The width of the hint is known.
    before = trained.get_weights()
    with pytest.raises(error) as caught:
        call(trained)
    assert words in str(caught.value)
    assert all(map(np.array_equal, before, trained.get_weights()))


def test_models_without_inputs_refuse_every_name():
    model = keras_ae.AE(2)
    with pytest.raises(TypeError, match="AE.encode: unknown input 'label'. It takes no named"):
        model.encode(np.zeros((3, 4)), label=np.zeros(3))
    with pytest.raises(TypeError, match="Did you mean 'training'"):
        model.encode(np.zeros((3, 4)), trainin=True)


def test_names_of_arguments_are_reserved():
    for name in ("seed", "training", "not a name"):
        with pytest.raises(TypeError, match="Choose another name"):
            type("Wrong", (keras_ae.AE,), {"extra_inputs": (name,)})


def test_who_takes_what(trained):
    assert examples.taken_by(trained, trained.encode) == {"label": True, "hint": False}
    assert examples.taken_by(trained, trained.decode) == {"label": True}
    assert examples.taken_by(trained, trained.reconstruct) == {"label": True, "hint": False}
    assert examples.taken_by(keras_ae.AE(2), keras_ae.AE.encode) == {}
