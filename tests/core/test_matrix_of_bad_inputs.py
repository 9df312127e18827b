"""Every kind of bad input on every entry point of every model: see `tests/matrix`.

A run tries a share of the cells that depends on the day. WHOLE_ZOO=1 in the environment tries all.
"""

import datetime

import matrix
import numpy as np
import pytest
import zoo
from matrix import judge, kinds, other_calls
from matrix.judge import Cell
from matrix.kinds import EITHER, OWN, SAME

from keras_ae.core import arguments


def failures_of(cells, run, name):
    """Return a line for each cell that does not turn out right."""
    found = []
    for cell in cells:
        outcome, text = run(cell)
        if outcome not in judge.GOOD:
            found.append(f"{outcome}: {name}.{cell.entry}, {cell.kind}: {text[:600]}")
    return found


@pytest.mark.costly
@pytest.mark.parametrize("name", zoo.MODELS)
def test_every_cell_of_a_model(name):
    bench, failures = judge.Bench(name), []
    for group in matrix.GROUPS:
        failures += failures_of(matrix.cells_of(bench, group), bench.run, name)
    assert not failures, "\n".join(failures)


def test_every_cell_of_load():
    failures = failures_of(other_calls.load_cells(), judge.run, "keras_ae")
    assert not failures, "\n".join(failures)


# ------------------------------------------------------------------ the matrix itself


def refuse(name, value=3):
    """Raise an error in a file of the package, "x=3 must be an integer of at least 4"."""
    arguments.integer(None, name, value, least=value + 1)


OUTCOMES = {
    "refused": (lambda: refuse("x"), ["3"]),
    "accepted": (lambda: np.ones(3), SAME),
    "the user's own error": (lambda: next(kinds.generate([kinds.gone()])), OWN),
    "raw error": (lambda: np.zeros(3).reshape(2, 2), ["x"]),
    "wrong words": (lambda: refuse("y"), ["3"]),
    "silent": (lambda: np.ones(3), ["3"]),
    "not finite": (lambda: np.array([1.0, np.nan]), EITHER),
    "differs": (lambda: np.zeros(3), SAME),
    "refuses what is right": (lambda: refuse("x"), SAME),
    "wrong error": (lambda: refuse("x"), OWN),
    "not made": (lambda: judge.prepare(lambda: 1 / 0), EITHER),
}


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_the_judge_tells_outcomes_apart(outcome):
    call, expected = OUTCOMES[outcome]
    cell = Cell("fit", "a kind", call, expected, "x", clean=lambda: np.ones(3))
    assert judge.run(cell)[0] == outcome
    assert (outcome in judge.GOOD) == (list(OUTCOMES).index(outcome) < 3)


@pytest.mark.parametrize(
    "text",
    [
        "x is wrong: array([0., 1.])",
        "x is wrong:\n\n\nsee below",
        "x is " + 70 * "very, very " + "wrong",
        "x is [0. 1. 2. 3. 4. 5. 6. 7. 8. 9. 10.]",
        "it is wrong",
        "x is 4",
    ],
)
def test_the_judge_reads_messages(text):
    assert judge.judge_message(ValueError(text), ["wrong|bad"], "x")
    assert not judge.judge_message(ValueError("x is bad: x.toarray()"), ["wrong|bad"], "x|y")


def test_a_changed_weight_is_a_fault():
    bench = judge.Bench("AE")

    def change():
        bench.variables[0].assign(bench.values[0] + 1)
        refuse("x")

    for late, outcome in ((False, "changed weights"), (True, "refused")):
        cell = Cell("fit", "a kind", change, ["3"], "x", may_change=late, model=bench.model)
        assert bench.run(cell)[0] == outcome
        assert np.array_equal(bench.variables[0].numpy(), bench.values[0])


def test_all_shares_together_are_the_matrix(monkeypatch):
    monkeypatch.setenv("WHOLE_ZOO", "0")
    bench = judge.Bench("AE")
    cells = list(matrix.GROUPS["codes"](bench))
    tried = []
    for share in range(matrix.SHARES):
        day = datetime.date.fromordinal(matrix.DAYS * share + 3)
        monkeypatch.setattr(matrix, "today", lambda day=day: day)
        tried += [cell.kind for cell in matrix.cells_of(bench, "codes")]
    assert sorted(tried) == sorted(cell.kind for cell in cells)
