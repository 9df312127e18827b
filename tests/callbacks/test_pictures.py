"""Pictures that are drawn while a model is trained: which, when, where, and what they change."""

import keras
import numpy as np
import pytest
import zoo

import keras_ae
from keras_ae.callbacks import Pictures
from keras_ae.core import examples

PNG = b"\x89PNG\r\n\x1a\n"
KINDS = ("reconstructions", "samples", "traversal")


def fit(name, folder, epochs=1, every=1, **given):
    model, x = zoo.eager(name), zoo.data_for(name, 32)
    pictures = Pictures(x, folder, every=every, **given)
    model.fit(x, epochs=epochs, batch_size=16, callbacks=[pictures], verbose=0)
    return model


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_files_of_every_second_epoch(tmp_path):
    fit("VAE", tmp_path / "new" / "folder", epochs=5, every=2)
    files = [path for path in (tmp_path / "new" / "folder").iterdir()]
    wanted = sorted(f"{kind}_epoch_{epoch:04d}.png" for kind in KINDS for epoch in (2, 4))
    assert sorted(path.name for path in files) == wanted
    assert all(path.read_bytes().startswith(PNG) for path in files)


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("AE", KINDS),
        ("ConditionalVAE", KINDS),
        ("HypersphericalVAE", KINDS),
        ("TopKSAE", KINDS),
        ("VQVAE", KINDS[:1]),  # Its prior is not trained, and its codes are integers.
    ],
)
def test_what_a_model_lacks_is_left_out(name, kinds, tmp_path):
    fit(name, tmp_path)
    assert names(tmp_path) == [f"{kind}_epoch_0001.png" for kind in kinds]


def test_the_training_is_the_same_without_pictures(tmp_path):
    """Several steps run at once where nobody looks at single batches."""
    found = []
    for callbacks in ([], [Pictures(zoo.data(16), tmp_path)]):
        model, x = zoo.compiled("VAE"), zoo.data()
        model.fit(x, epochs=2, batch_size=8, callbacks=callbacks, verbose=0)
        found.append([keras.ops.convert_to_numpy(v) for v in model.trainable_variables])
    for with_pictures, without in zip(*found, strict=True):
        np.testing.assert_array_equal(with_pictures, without)


def test_tensorboard_finds_the_pictures(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    fit("VAE", None, epochs=2, logdir=tmp_path)
    events = EventAccumulator(str(tmp_path / "pictures"))
    events.Reload()
    assert sorted(events.Tags()["images"]) == sorted(KINDS)
    found = events.Images("samples")
    assert [event.step for event in found] == [1, 2]
    image = found[0]
    assert image.encoded_image_string.startswith(PNG) and image.width > 100 < image.height
    assert names(tmp_path) == ["pictures"]


def test_pictures_that_cannot_be_drawn(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="leave no place for pictures. Pass a folder"):
        Pictures(zoo.data())
    with pytest.raises(ValueError, match="every=0 must be a positive integer"):
        Pictures(zoo.data(), tmp_path, every=0)
    with pytest.raises(TypeError, match=r"x=range\(0, 3\) must be an array of some examples"):
        Pictures(range(3), tmp_path)
    with pytest.raises(ValueError, match="Pictures: data of shape.*cannot be drawn"):
        fit("MultimodalVAE", tmp_path)
    x = np.zeros((16, 4, 4, 2), "float32")
    model = keras_ae.AE(2, network_options={"filters": (2,)})
    model.compile("adam")
    with pytest.raises(ValueError, match=r"data of shape \(4, 4, 2\) cannot be drawn"):
        model.fit(x, callbacks=[Pictures(x, tmp_path)], verbose=0)
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install tensorboard"):
        Pictures(zoo.data(), logdir=tmp_path)


def test_examples_with_labels_are_a_dictionary(tmp_path):
    x = zoo.data_for("ConditionalVAE", 8)
    assert set(x) == {"x", "label"} and examples.length(x) == 8
    fit("ConditionalVAE", tmp_path)
    with pytest.raises(TypeError, match="the input 'label' is missing"):
        model, x = zoo.eager("ConditionalVAE"), zoo.data_for("ConditionalVAE", 32)
        model.fit(x, callbacks=[Pictures(x["x"], tmp_path)], verbose=0)
