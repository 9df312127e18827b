"""Run every notebook from top to bottom, with few epochs unless told otherwise.

python notebooks/execute.py              # checks that they run, and writes nothing
python notebooks/execute.py --turn 332   # checks a quarter of them, as `pytest --turn` does
python notebooks/execute.py --write      # runs all epochs, and saves the outputs in the files
"""

import argparse
import os
import pathlib

import nbformat
from nbclient import NotebookClient

HERE = pathlib.Path(__file__).parent
PARTS = 4  # So many turns run all notebooks.


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="save the outputs in the files")
    parser.add_argument("--turn", type=int, help="run a quarter of them, whose turn this is")
    parser.add_argument("notebooks", nargs="*", type=pathlib.Path, help="default: all of them")
    arguments = parser.parse_args()
    if not arguments.write:
        os.environ["KERAS_AE_NOTEBOOK_EPOCHS"] = "1"
    paths = arguments.notebooks or sorted(HERE.glob("*.ipynb"))
    if arguments.turn is not None:
        paths = paths[arguments.turn % PARTS :: PARTS]
    for path in paths:
        notebook = nbformat.read(path, as_version=4)
        NotebookClient(notebook, timeout=1200, kernel_name="python3").execute(cwd=str(HERE))
        if arguments.write:
            for cell in notebook.cells:
                # Times of day and the logs of TensorFlow's start differ between any two runs.
                cell.metadata.pop("execution", None)
                if cell.cell_type == "code":
                    cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
            nbformat.write(notebook, path)
        print(f"{path.name}: {sum(c.cell_type == 'code' for c in notebook.cells)} cells ran")


if __name__ == "__main__":
    main()
