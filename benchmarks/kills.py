"""Count how often a kill leaves a whole file or folder at the path that is being replaced.

    python -m benchmarks.kills export
    python -m benchmarks.kills run

`export` starts a process for each kill. The process writes once undisturbed, which cleans up after
the process before it. Then it writes again, and is killed (SIGKILL) at a moment drawn uniformly
from the time that a write takes. Another process reads what is left. The table says how often that
was the old artifact or the new one, complete. It also says how many hidden names were next to it
after a kill, and after the next process had written.

`run` kills a run of `keras-ae train` while it trains or writes, and continues it as `--resume`
does. The table says how often it ended with the same bits as a run that was not killed (weights,
state of the optimizer, history and figures).
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
    """Exports of a small VAE that overwrite each other; a number in the card tells them apart."""

    def __init__(self):
        import keras_ae

        self.model = keras_ae.VAE(2, network_options={"units": (4,)}, seed=0)
        self.model.build((None, 6))

    def write(self, place, number):
        self.model.export(place / "target", card={"data": number}, overwrite=True)

    @staticmethod
    def read(place):
        """Return the number of the artifact at the target, after loading it as users do."""
        import tensorflow as tf

        import keras_ae
        from keras_ae import saving

        served = tf.saved_model.load(str(place / "target"))
        served.encode(tf.zeros((1, 6)))
        keras_ae.load(place / "target").encode(tf.zeros((1, 6)))
        return saving.read_card(place / "target")["data"]


# Name -> class. The process that is killed makes an object of it. `write` writes an artifact with a
# number, and `read` returns the number of the artifact that is there, or raises.
SCENARIOS = {"export": Export}
NAMES = [*SCENARIOS, "run"]


def count_hidden(place):
    return len([name for name in os.listdir(place) if name.startswith(".")])


def write_twice(scenario, place, number, told):
    """Write undisturbed, then again; send the hidden names between, and the seconds at the end."""
    writer = SCENARIOS[scenario]()
    writer.write(place, 2 * number)
    told.send(count_hidden(place))
    start = time.perf_counter()
    writer.write(place, 2 * number + 1)
    told.send(time.perf_counter() - start)


def describe_target(scenario, place, number):
    """Return what is at the target after the process with this number wrote a second time."""
    import tensorflow as tf

    if not (place / "target").exists():
        return "nothing"
    try:
        found = SCENARIOS[scenario].read(place)
    except (OSError, ValueError, KeyError, tf.errors.OpError) as error:
        return f"broken ({type(error).__name__})"
    return {2 * number: "old, whole", 2 * number + 1: "new, whole"}.get(found, f"number {found}")


def count(scenario, kills, seed, place):
    """Print what kills left at the path, and how many hidden names there were."""
    # Each process is forked from a server that has imported everything and computed nothing.
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(["tensorflow", "keras_ae", "keras_ae.saving.export"])
    draw, moments = random.Random(seed), []
    found, after_kill, after_next = (collections.Counter() for _ in range(3))
    with multiprocessing.get_context("spawn").Pool(1) as reader:
        # The first three processes are timed and not killed; the last one only cleans up.
        for number in range(-3, kills + 1):
            hear, told = forks.Pipe(duplex=False)
            process = forks.Process(target=write_twice, args=(scenario, place, number, told))
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
            found[reader.apply(describe_target, (scenario, place, number))] += 1
            after_kill[count_hidden(place)] += 1
    print(f"{scenario}: {kills} kills within {statistics.median(moments[:3]):.2f} s")
    for name, counter in {
        "left at the path": found,
        "hidden names after a kill": after_kill,
        "hidden names after the next write": after_next,
    }.items():
        print(f"  {name}: " + ", ".join(f"{n} times {what}" for what, n in sorted(counter.items())))


def train(place, told):
    """Train a small run, or continue it; send the seconds it took and a digest of its results."""
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
    """Print what runs ended with that were killed and continued, and which names were left."""
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
