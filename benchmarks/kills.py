"""Whatever moment a process is killed at, what it replaces is whole: counted.

    python benchmarks/kills.py export

For each kill a process is started. It writes once undisturbed, which cleans up after the one
before; then it writes again, and is killed (SIGKILL) at a moment drawn uniformly from the time
that this takes. What is left is read by a process of its own. The table says how often that was
the old or the new, whole; and how many hidden names stood beside it after a kill, and after the
next process had written.
"""

import argparse
import collections
import multiprocessing
import os
import pathlib
import random
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
        from keras_ae import artefact

        served = tf.saved_model.load(str(place / "target"))
        served.encode(tf.zeros((1, 6)))
        keras_ae.load(place / "target").encode(tf.zeros((1, 6)))
        return artefact.read_card(place / "target")["data"]


# Name -> class; its objects are made in the process that is killed. `write` writes one number,
# and `read` returns the number that is there, or raises.
SCENARIOS = {"export": Export}


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
    forks.set_forkserver_preload(["tensorflow", "keras_ae", "keras_ae.artefact"])
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


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenarios", nargs="*", default=[*SCENARIOS], help=", ".join(SCENARIOS))
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for scenario in arguments.scenarios:
        with tempfile.TemporaryDirectory() as place:
            count(scenario, arguments.kills, arguments.seed, pathlib.Path(place))


if __name__ == "__main__":
    main()
