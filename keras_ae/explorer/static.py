"""Write the page as a folder that needs no server: the browser runs the decoder."""

import json
import os
import pathlib
import tarfile
import urllib.request

import keras
import numpy as np

from keras_ae import samplers
from keras_ae.core import examples, seeds, storage
from keras_ae.core.interpolation import Vectors
from keras_ae.explorer import forms
from keras_ae.explorer.page_files import FILES, read_page

# onnxruntime-web runs the decoder. Its license is MIT.
RUNTIME = "1.30.0"
_ARCHIVE = f"onnxruntime-web-{RUNTIME}.tgz"
_HASH = "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71"
_NEEDED = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
_CACHE, _CONNECT_SECONDS = "keras_ae", 20.0
_SEEDS, _DRAWS = 20, 24
_NOTE = (
    "The runtime in this folder is onnxruntime-web {}, https://onnxruntime.ai, copyright Microsoft "
    "Corporation, under the license of MIT.\n"
)


def write(views, folder, runtime=None):
    """Write a folder with the page, the decoder as ONNX, and all that the page needs.

    If the encoder can be written as ONNX, too, the page also encodes pictures that are drawn or
    uploaded. The model's own views and scores are left out, because they run in Python.

    Args:
        views: `keras_ae.explorer.views.Views`.
        folder: New folder.
        runtime: Function that returns a dictionary of file name -> bytes of onnxruntime-web.
            Defaults to None: it is downloaded once from the registry of npm.

    Raises:
        OSError: If the folder exists or cannot be written, or the runtime cannot be downloaded.
        ImportError: If what writes ONNX is not installed.
        NotImplementedError: If ONNX or the page cannot express what the model decodes.
    """
    model = views.model
    name = type(model).__name__
    if type(model._space) is not Vectors:
        raise NotImplementedError(
            f"static: the codes of {name} lie in a curved space, which the page cannot compute "
            "without a server. Serve the page instead."
        )
    if any(form.kind == "table" for form in views.forms.values()):
        raise NotImplementedError(
            f"static: {name} returns tables of several types, which the page cannot decode without "
            "a server. Serve the page instead."
        )
    folder = pathlib.Path(folder)
    with storage.whole_folder(folder) as partial:
        model.export(str(partial / "decode.onnx"), format="onnx", endpoint="decode")
        encodes = not model._modalities
        try:
            if encodes:
                model.export(str(partial / "encode.onnx"), format="onnx", endpoint="encode")
        except NotImplementedError:  # The page then does without data of the user.
            encodes = False
        for file, content in (runtime or download_runtime)().items():
            (partial / file).write_bytes(content)
        for file in FILES:
            source = "static.js" if file == "backend.js" else file
            (partial / file).write_bytes(read_page(source))
        (partial / "LICENSES.txt").write_text(_NOTE.format(RUNTIME))
        (partial / "state.json").write_text(json.dumps(make_state(views, encodes)))


def make_state(views, encodes):
    """Return the state of the page without what needs Python, and with draws of the sampler."""
    model, state = views.model, views.state()
    state |= {"views": [], "score": None, "likelihood": False, "encodes": encodes}
    state |= {"modalities": list(model._modalities) or [""], "draws": []}
    if views.refusal:
        return state
    first = {each["name"]: each["start"] for each in state["inputs"]}
    inputs = views.read_inputs({"inputs": first}, None, _DRAWS, examples.taken_by_sample(model))
    drawn = [
        samplers.draw(model, _DRAWS, seeds.draw(model, n), 0, inputs)[0] for n in range(_SEEDS)
    ]
    if drawn[0].shape[1:] != tuple(views.code_shape):
        state["sample"]["refusal"] = (
            "This page decodes codes, and draws of this model are more than codes. Use Python."
        )
        return state
    flat = np.stack(drawn).reshape(_SEEDS, _DRAWS, -1)
    # Without a temperature of the model's own, codes are scaled around the mean of all draws.
    state["sample"]["temperature"] = views.code_kind == "vector"
    return state | {
        "draws": [forms.pack(codes) for codes in flat],
        "drawsMean": flat.mean(axis=(0, 1)).tolist(),
    }


def download_runtime():
    """Download onnxruntime-web from the registry of npm, or take it from Keras' cache.

    Returns:
        Dictionary of file name -> bytes.

    Raises:
        OSError: If it cannot be downloaded.
    """
    registry = os.environ.get("npm_config_registry", "https://registry.npmjs.org").rstrip("/")
    address = f"{registry}/onnxruntime-web/-/{_ARCHIVE}"
    home = pathlib.Path(os.environ.get("KERAS_HOME") or pathlib.Path.home() / ".keras")
    if not (home / _CACHE / _ARCHIVE).exists():  # Keras raises a bare `Exception` if this fails.
        try:
            urllib.request.urlopen(address, timeout=_CONNECT_SECONDS).close()
        except OSError as error:
            raise FileNotFoundError(
                f"static: the page needs {address}, which cannot be downloaded: {error}. Copy the "
                f"file to {home / _CACHE}, or name a mirror in npm_config_registry."
            ) from error
    file = keras.utils.get_file(_ARCHIVE, address, file_hash=_HASH, cache_subdir=_CACHE)
    with tarfile.open(file) as archive:
        return {name: archive.extractfile(f"package/dist/{name}").read() for name in _NEEDED}
