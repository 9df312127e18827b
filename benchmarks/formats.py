"""Fill the columns of one backend in the table of docs/formats.md.

    KERAS_BACKEND=tensorflow python -m benchmarks.formats docs/formats.md
    KERAS_BACKEND=jax python -m benchmarks.formats docs/formats.md
    KERAS_BACKEND=torch python -m benchmarks.formats docs/formats.md

The models are the tiny ones of tests/zoo.py, trained for one epoch. Each is written in every format
of the backend, once for each endpoint. For every refusal, the script prints the reason.
"""

import argparse
import os
import pathlib
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "tests"))

import keras
import zoo

from keras_ae.saving import export, formats

BACKEND = keras.config.backend()
BACKEND_NAMES = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "torch"}
FORMAT_NAMES = {"onnx": "ONNX", "litert": "LiteRT", "openvino": "OpenVINO"}


def name_column(format):
    """Return the head of the column of a format, in which the format of torch has no backend."""
    return f"{FORMAT_NAMES[format]}, {BACKEND_NAMES[BACKEND]}" if format != "torch" else "torch"


def try_format(model, format):
    """Return the cell of a model and a format: the endpoints that could be written."""
    written = []
    for endpoint in export.ENDPOINTS:
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / f"model{formats.SUFFIXES.get(format, '.onnx')}"
            try:
                model.export(path, format=format, endpoint=endpoint)
            except NotImplementedError as error:
                print(f"{type(model).__name__} {format} {endpoint}: {error}", flush=True)
            else:
                written.append(endpoint)
    if len(written) == len(export.ENDPOINTS):
        return "all"
    return " ".join(written) or "none"


def fill_columns(text, cells):
    """Return the text of a page, in whose table the cells are replaced.

    Args:
        text: The page.
        cells: Dictionary of model name -> dictionary of column -> cell.
    """
    lines, columns = [], []
    for line in text.splitlines():
        parts = [part.strip() for part in line.strip("|").split("|")]
        if parts[0] == "model":
            columns = parts
        name = parts[0].strip("`")
        if columns and name in cells:
            row = dict(zip(columns, parts, strict=True)) | cells[name]
            line = f"| {' | '.join(row.values())} |"
        lines.append(line)
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", type=pathlib.Path, help="path of docs/formats.md")
    parser.add_argument("models", nargs="*", help="names of models [default: all]")
    options = parser.parse_args()
    known = [format for format, backends in formats.FORMATS.items() if BACKEND in backends]
    for name in options.models or zoo.MODELS:
        model = zoo.fitted(name)
        if hasattr(model, "fit_prior"):
            model.fit_prior(zoo.data_for(name), epochs=1, verbose=0)
        cells = {name_column(format): try_format(model, format) for format in known}
        print(name, cells, flush=True)
        # The page is written after each model, so that nothing is lost if the run ends early.
        options.page.write_text(fill_columns(options.page.read_text(), {name: cells}))


if __name__ == "__main__":
    main()
