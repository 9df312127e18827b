"""The matrix of bad inputs: every model × entry point × kind of input.

A cell of the matrix is a call. What it does is right, or an error that explains itself, or a fault.
This counts the outcomes, and prints all faults:

    WHOLE_ZOO=1 PYTHONPATH=tests python -m matrix [MODEL ...]
"""

import datetime
import os
import zlib

from matrix import data_calls, other_calls

GROUPS = {
    "data": data_calls.data_cells,
    "not built": data_calls.unbuilt_cells,
    "targets": data_calls.target_cells,
    "weights": data_calls.weight_cells,
    "inputs": data_calls.input_cells,
    "codes": data_calls.code_cells,
    "numbers": other_calls.number_cells,
    "constructor": other_calls.constructor_cells,
    "networks": other_calls.network_cells,
    "early": other_calls.early_cells,
    "paths": other_calls.path_cells,
}
SHARES = 32
DAYS = 10  # A run of so many days meets every model, on JAX and torch.
today = datetime.date.today


def in_share(*parts):
    """Return whether this day's run tries a cell.

    A run tries a fifth of the models, on JAX and torch a tenth, which is another one every day:
    see `zoo.in_turn`. The share changes after `DAYS`, so that each share meets each model.
    """
    if os.environ.get("WHOLE_ZOO") == "1":
        return True
    share = today().toordinal() // DAYS % SHARES
    return zlib.crc32("/".join(parts).encode()) % SHARES == share


def cells_of(bench, group):
    """Yield the cells of a group that this day's run tries."""
    for cell in GROUPS[group](bench):
        if in_share(bench.name, cell.entry, cell.kind):
            yield cell
