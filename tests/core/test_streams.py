"""Every batch of a stream is checked when a loop reads it, whatever kind of stream it is."""

import keras
import numpy as np
import pytest

import keras_ae

WIDTH, SIZE, NUMBER, WRONG = 6, 8, 6, 3


def make(cls=keras_ae.VAE, **given):
    model = cls(2, network_options={"units": (4,)}, seed=0, **given)
    model.compile(keras.optimizers.Adam(0.01), run_eagerly=keras.config.backend() != "jax")
    return model


def batches(**faults):
    """Return batches of x and labels, one of which has the faults: key -> wrong value."""
    rng = np.random.default_rng(0)
    found = [
        {
            "x": rng.integers(0, 2, (SIZE, WIDTH)).astype("float32"),
            "label": rng.integers(0, 3, SIZE).astype("int32"),
        }
        for _ in range(NUMBER)
    ]
    for key, value in faults.items():
        found[WRONG][key][2] = value
    return found


class Stored(keras.utils.PyDataset):
    def __init__(self, parts, **options):
        super().__init__(**options)
        self.parts = parts

    @property
    def num_batches(self):
        return len(self.parts)

    def __getitem__(self, number):
        return self.parts[number]


def as_tf_dataset(parts):
    tf = pytest.importorskip("tensorflow")
    whole = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    return tf.data.Dataset.from_tensor_slices(whole).batch(SIZE)


def as_loader(parts):
    torch = pytest.importorskip("torch")
    if keras.config.backend() != "torch":
        pytest.skip("Keras reads a DataLoader of dictionaries on torch alone")
    rows = [{key: part[key][row] for key in part} for part in parts for row in range(SIZE)]
    return torch.utils.data.DataLoader(rows, batch_size=SIZE)


STREAMS = {
    "tf.data": as_tf_dataset,
    "PyDataset": Stored,
    "PyDataset with workers": lambda parts: Stored(parts, workers=2),
    "generator": lambda parts: (part for part in parts),
    "DataLoader": as_loader,
}
FAULTS = {
    "NaN": ({"x": np.nan}, "NaN or infinite"),
    "bytes": ({"x": 255.0}, "between 0 and 255"),
    "label": ({"label": 7}, "label holds values from 0 to 7"),
}


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_later_batch_that_is_wrong_raises_its_own_error(stream, fault):
    value, message = FAULTS[fault]
    model = make(keras_ae.ConditionalVAE, num_classes=3)
    for method in (model.fit, model.evaluate):
        with pytest.raises(ValueError, match=message):
            method(STREAMS[stream](batches(**value)), verbose=0)
    assert all(np.all(np.isfinite(w)) for w in map(keras.ops.convert_to_numpy, model.weights))
    # What was wrong before does not hide an error of another kind.
    with pytest.raises(TypeError, match="lable"):
        model.fit({"x": batches()[0]["x"], "lable": batches()[0]["label"]}, verbose=0)


@pytest.mark.parametrize("stream", STREAMS)
def test_batches_before_the_wrong_one_are_trained_on(stream):
    model, steps = make(keras_ae.ConditionalVAE, num_classes=3), []
    note = keras.callbacks.LambdaCallback(on_train_batch_end=lambda step, logs: steps.append(step))
    with pytest.raises(ValueError, match="between 0 and 255"):
        model.fit(STREAMS[stream](batches(x=255.0)), callbacks=[note], verbose=0)
    assert steps == list(range(WRONG))


@pytest.mark.parametrize("stream", STREAMS)
def test_right_batches_train_as_before(stream):
    one, other = (make(keras_ae.ConditionalVAE, num_classes=3) for _ in range(2))
    parts = batches()
    one.fit(STREAMS[stream](parts), steps_per_epoch=NUMBER, verbose=0)
    for part in parts:
        other.train_on_batch(part)
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_predict_checks_later_batches():
    parts = [part["x"] for part in batches(x=np.nan)]
    model = make()
    model.fit(np.concatenate([part["x"] for part in batches()]), verbose=0)
    with pytest.raises(ValueError, match="NaN or infinite"):
        model.predict(Stored(parts), verbose=0)


def test_an_error_of_the_stream_itself_comes_through():
    def fails():
        yield batches()[0]["x"]
        raise OSError("the disk is gone")

    with pytest.raises(Exception, match="the disk is gone"):
        make().fit(fails(), verbose=0)
