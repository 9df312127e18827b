"""Pretrained models are listed, found by name and version, and downloaded if they are elsewhere."""

import importlib.util
import json
import pathlib
import shutil

import numpy as np
import pytest

import keras_ae
from keras_ae.saving import collection

MODELS = pathlib.Path(__file__).parents[2] / "saved_models"


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A machine without pretrained models, whose cache is empty."""
    monkeypatch.setattr(collection, "directories", lambda: [tmp_path / "none"])
    home = "keras.src.utils.file_utils.config.keras_home"
    (tmp_path / "home").mkdir()
    monkeypatch.setattr(home, lambda: str(tmp_path / "home"))
    monkeypatch.delenv(collection.ADDRESS_VARIABLE, raising=False)
    return tmp_path


@pytest.fixture
def mirror(elsewhere, monkeypatch):
    """A folder with the archive of one model, which `KERAS_AE_COLLECTION` names."""
    folder = elsewhere / "mirror"
    folder.mkdir()
    entry = load_packer().pack(MODELS / "vae_digits", folder)
    monkeypatch.setattr(collection, "read_index", lambda: {"vae_digits": entry})
    monkeypatch.setenv(collection.ADDRESS_VARIABLE, folder.as_uri() + "/")
    return folder


def load_packer():
    spec = importlib.util.spec_from_file_location("pack", MODELS / "pack.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_names_are_listed_by_pattern_and_model():
    assert "vae_mnist" in keras_ae.list_pretrained()
    assert keras_ae.list_pretrained("*_mnist", model="VAE") == ["vae_mnist"]
    assert "ae_mnist" in keras_ae.list_pretrained(model=keras_ae.AE)
    assert keras_ae.list_pretrained("nothing*") == []
    with pytest.raises(TypeError, match="pattern=3 must be a text"):
        keras_ae.list_pretrained(3)
    with pytest.raises(TypeError, match="model=3 must be a class or its name"):
        keras_ae.list_pretrained(model=3)


def test_a_class_knows_its_pretrained_models():
    assert keras_ae.VAE.presets["vae_mnist"]["data"] == "mnist"
    assert keras_ae.FactorVAE.presets.keys() <= {"factor_vae_sprites"}
    assert keras_ae.BetaVAE.presets == {}


def test_from_preset_returns_a_model_of_the_class():
    model = keras_ae.VAE.from_preset("vae_digits")
    assert type(model) is keras_ae.VAE
    with pytest.raises(ValueError, match=r"'vae_digits' is a VAE.*AE.presets has ae_mnist"):
        keras_ae.AE.from_preset("vae_digits")
    with pytest.raises(FileNotFoundError, match="Did you mean 'vae_digits'"):
        keras_ae.VAE.from_preset("vae_digit")


def test_a_version_is_found_if_it_is_there(tmp_path, monkeypatch):
    for name, card in {"old": {"model": "VAE"}, "new": {"model": "VAE", "version": 3}}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "card.json").write_text(json.dumps(card))
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "card.json").write_text("{")
    monkeypatch.setattr(collection, "directories", lambda: [tmp_path])
    assert collection.find("odd") == tmp_path / "odd"
    assert collection.find("old/1") == collection.find("old") == tmp_path / "old"
    assert collection.find("new/3") == tmp_path / "new"
    for name, known in {"old/2": 1, "new/1": 3}.items():
        with pytest.raises(FileNotFoundError, match=f"no version .*, but version {known}"):
            collection.find(name)
    for name in ("other/x", "other/2", "other"):
        with pytest.raises(FileNotFoundError, match=f"no file or folder '{name}'"):
            collection.find(name)


def test_an_archive_is_downloaded_once(mirror):
    model = keras_ae.load("vae_digits/1")
    x = np.zeros((2, 8, 8, 1), "float32")
    expected = keras_ae.load(MODELS / "vae_digits").encode(x)
    np.testing.assert_array_equal(model.encode(x), expected)
    shutil.rmtree(mirror)
    np.testing.assert_array_equal(keras_ae.VAE.from_preset("vae_digits").encode(x), expected)


def test_a_damaged_archive_is_refused(mirror):
    file = next(mirror.glob("*.zip"))
    data = bytearray(file.read_bytes())
    data[1000] ^= 1
    file.write_bytes(data)
    with pytest.raises(ValueError, match="file hash does not match"):
        keras_ae.load("vae_digits")


def test_without_an_address_the_error_says_what_to_set(elsewhere):
    assert "vae_mnist" in keras_ae.list_pretrained()  # The index has it.
    with pytest.raises(FileNotFoundError, match=r"KERAS_AE_COLLECTION to the .* vae_mnist_1\.zip"):
        keras_ae.load("vae_mnist")


def test_the_index_is_that_of_the_folder(tmp_path):
    """If this fails, run `python saved_models/pack.py`."""
    pack = load_packer().pack
    found = {card.parent.name: pack(card.parent, tmp_path) for card in MODELS.glob("*/card.json")}
    assert found == collection.read_index()
