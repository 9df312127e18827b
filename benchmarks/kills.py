"""Whatever moment a process is killed at, what it replaces is whole: counted.

    python benchmarks/kills.py export
    python benchmarks/kills.py run

For each kill a process is started. It writes once undisturbed, which cleans up after the one
before; then it writes again, and is killed (SIGKILL) at a moment drawn uniformly from the time
that this takes. What is left is read by a process of its own. The table says how often that was
the old or the new, whole; and how many hidden names stood beside it after a kill, and after the
next process had written.

A run, as of `keras-ae train`, is killed at a moment of its training or of the writing behind it,
and gone on with as `--resume` does. The table says how often that ended in the same bits as a run
that nobody killed (weights, state of the optimizer, history and figures).
"""

import argparse
import collections
import hashlib
import multiprocessing
import os
import pathlib
import random
import shutil
import statistics
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


class Export:
    """Overwriting exports of a small VAE, told apart by their cards."""

    def __init__(self):
        import keras_ae

        self.model = keras_ae.VAE(2, network_options={"units": (4,)}, seed=0)
        self.model.build((None, 6))

    def write(self, place, number):
        self.model.export(place / "target", card={"data": number}, overwrite=True)

    @staticmethod
    def read(place):
        """The number of what is at the target, read as its users do."""
        import tensorflow as tf

        import keras_ae
        from keras_ae import saving

        served = tf.saved_model.load(str(place / "target"))
        served.encode(tf.zeros((1, 6)))
        keras_ae.load(place / "target").encode(tf.zeros((1, 6)))
        return saving.read_card(place / "target")["data"]


# Name -> class; its objects are made in the process that is killed. `write` writes one number,
# and `read` returns the number that is there, or raises.
SCENARIOS = {"export": Export}
NAMES = [*SCENARIOS, "run"]


def hidden(place):
    return len([name for name in os.listdir(place) if name.startswith(".")])


def victim(scenario, place, number, told):
    """Write undisturbed, then again; say when."""
    writer = SCENARIOS[scenario]()
    writer.write(place, 2 * number)
    told.send(hidden(place))
    start = time.perf_counter()
    writer.write(place, 2 * number + 1)
    told.send(time.perf_counter() - start)


def left(scenario, place, number):
    """What is at the target after the number's second writing."""
    import tensorflow as tf

    if not (place / "target").exists():
        return "nothing"
    try:
        found = SCENARIOS[scenario].read(place)
    except (OSError, ValueError, KeyError, tf.errors.OpError) as error:
        return f"broken ({type(error).__name__})"
    return {2 * number: "old, whole", 2 * number + 1: "new, whole"}.get(found, f"number {found}")


def count(scenario, kills, seed, place):
    """Counters of what was left, and of hidden names after a kill and after the next writing."""
    # Each process is forked from one that has imported everything and computed nothing.
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(["tensorflow", "keras_ae", "keras_ae.saving.export"])
    draw, moments = random.Random(seed), []
    found, after_kill, after_next = (collections.Counter() for _ in range(3))
    with multiprocessing.get_context("spawn").Pool(1) as reader:
        # The first three are timed; the last one cleans up.
        for number in range(-3, kills + 1):
            hear, told = forks.Pipe(duplex=False)
            process = forks.Process(target=victim, args=(scenario, place, number, told))
            process.start()
            told.close()
            names = hear.recv()
            if number > 0:
                after_next[names] += 1
            if not 0 <= number < kills:
                moments.append(hear.recv())
                process.join()
                continue
            time.sleep(draw.uniform(0, statistics.median(moments)))
            process.kill()
            process.join()
            found[reader.apply(left, (scenario, place, number))] += 1
            after_kill[hidden(place)] += 1
    print(f"{scenario}: {kills} kills within {statistics.median(moments[:3]):.2f} s")
    for name, counter in {
        "left at the path": found,
        "hidden names after a kill": after_kill,
        "hidden names after the next writing": after_next,
    }.items():
        print(f"  {name}: " + ", ".join(f"{n} times {what}" for what, n in sorted(counter.items())))


def train(place, told):
    """Train a small run, or go on with it; say how long it took, and what it ended with."""
    import keras

    import keras_ae
    from keras_ae.cli import runs

    arguments = {"latent_dim": 2, "network_options": {"units": [4], "dropout": 0.1}}
    settings = runs.Settings("VAE", str(place / "x.npy"), 4, 16, arguments=arguments)
    folder, start = place / "run", time.perf_counter()
    runs.train(settings, folder, resume=(folder / "run.json").exists(), verbose=0)
    seconds = time.perf_counter() - start
    model = next(folder / name for name in ("model", "model.keras") if (folder / name).exists())
    model = keras_ae.load(model)
    digest = hashlib.sha256()
    for variable in [*model.variables, *model.optimizer.variables]:
        digest.update(keras.ops.convert_to_numpy(variable).tobytes())
    for name in ("history.csv", "metrics.json"):
        digest.update((folder / name).read_bytes())
    told.send((seconds, digest.hexdigest()))


def count_runs(kills, seed, place):
    """Counters of what runs ended with that were killed and gone on with, and left behind."""
    import numpy as np

    np.save(place / "x.npy", (np.random.default_rng(0).random((64, 6)) > 0.5).astype("float32"))
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(["tensorflow", "keras_ae", "keras_ae.cli.runs"])
    draw, ends = random.Random(seed), []
    found, stage, after_kill, after_next = (collections.Counter() for _ in range(4))

    def start():
        hear, told = forks.Pipe(duplex=False)
        process = forks.Process(target=train, args=(place, told))
        process.start()
        told.close()
        return process, hear

    def end(process, hear):
        try:
            return hear.recv()
        except EOFError:
            return None, "no end"
        finally:
            process.join()

    def names():
        return len([path for path in place.rglob(".*")])

    for _ in range(3):
        ends.append(end(*start()))
        shutil.rmtree(place / "run")
    (whole,) = {digest for _, digest in ends}
    seconds = statistics.median(seconds for seconds, _ in ends)
    for _ in range(kills):
        process, _ = start()
        time.sleep(draw.uniform(0, seconds))
        process.kill()
        process.join()
        after_kill[names()] += 1
        history = place / "run" / "history.csv"
        stage[len(history.read_text().splitlines()) - 1 if history.exists() else 0] += 1
        found["same bits" if end(*start())[1] == whole else "something else"] += 1
        after_next[names()] += 1
        shutil.rmtree(place / "run", ignore_errors=True)
    print(f"run: {kills} kills within {seconds:.2f} s")
    for name, counter in {
        "whole epochs when killed": stage,
        "ended with": found,
        "hidden names after a kill": after_kill,
        "hidden names after the next run": after_next,
    }.items():
        print(f"  {name}: " + ", ".join(f"{n} times {what}" for what, n in sorted(counter.items())))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenarios", nargs="*", default=NAMES, help=", ".join(NAMES))
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for scenario in arguments.scenarios:
        with tempfile.TemporaryDirectory() as place:
            if scenario == "run":
                count_runs(arguments.kills, arguments.seed, pathlib.Path(place))
            else:
                count(scenario, arguments.kills, arguments.seed, pathlib.Path(place))


if __name__ == "__main__":
    main()
