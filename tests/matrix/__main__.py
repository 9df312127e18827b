"""Count the outcomes of the cells: see the docstring of this package."""

import collections
import sys

import keras
import zoo

from matrix import GROUPS, cells_of
from matrix.judge import GOOD, Bench, run
from matrix.other_calls import load_cells


def main(names, groups):
    counts = collections.defaultdict(collections.Counter)
    kinds = set()
    for name in names or zoo.MODELS:
        bench = Bench(name)
        for group in groups or GROUPS:
            for cell in cells_of(bench, group):
                outcome, text = bench.run(cell)
                counts[group][outcome] += 1
                kinds.add((group, cell.kind))
                if outcome not in GOOD:
                    print(f"{outcome} | {name} | {cell.entry} | {cell.kind} | {text[:400]!r}")
                    sys.stdout.flush()
        keras.utils.clear_session()
    for cell in load_cells():
        outcome, text = run(cell)
        counts["load"][outcome] += 1
        kinds.add(("load", cell.kind))
        if outcome not in GOOD:
            print(f"{outcome} | load | {cell.entry} | {cell.kind} | {text[:400]!r}")
    for group, found in counts.items():
        print(f"{group}: {sum(found.values())} cells: {dict(found)}")
    total = sum(counts.values(), collections.Counter())
    print(f"{sum(total.values())} cells, {len(kinds)} kinds: {dict(total)}")


if __name__ == "__main__":
    main([a for a in sys.argv[1:] if a in zoo.MODELS], [a for a in sys.argv[1:] if a in GROUPS])
