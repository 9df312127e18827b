"""Compare the speed of two versions of keras_ae, on the backend that KERAS_BACKEND names.

    python -m benchmarks.speed.compare_versions HEAD~20
    KERAS_BACKEND=jax python -m benchmarks.speed.compare_versions ../old . --rounds 20

A version is a folder that holds `keras_ae`, or a revision of this repository. In every round each
version gets a fresh process, and the two take turns at one task after another, so that a machine
whose speed drifts treats both alike. The time of a round is the median of its turns. The table has
the medians of all rounds, and the median of the rounds' ratios, old / new: above 1, the new version
is faster. The interval comes from a bootstrap over the rounds.
"""

import argparse
import contextlib
import multiprocessing
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
TURNS = 4


def find_version(version, stack):
    """Return the folder that holds this version; that of a revision lasts as long as the stack."""
    if (pathlib.Path(version) / "keras_ae" / "__init__.py").exists():
        return str(pathlib.Path(version).resolve())
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    archive = f"{folder}/package.zip"
    command = ["git", "archive", "--output", archive, version, "keras_ae"]
    if subprocess.run(command, cwd=CHECKOUT).returncode:
        raise SystemExit(
            f"{version!r} is neither a folder that holds keras_ae nor a revision of {CHECKOUT}"
        )
    shutil.unpack_archive(archive, folder)
    return folder


def time_steps(model, x, batch_size):
    """Return a function that fits for one epoch and returns the seconds of a step."""
    import keras

    class Clock(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.start = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            self.seconds = time.perf_counter() - self.start

    def seconds():
        clock = Clock()
        model.fit(x, batch_size=batch_size, verbose=0, callbacks=[clock])
        return clock.seconds * batch_size / len(x)

    model.compile("adam")
    return seconds


def time_calls(function, calls):
    """Return a function that makes these calls and returns the median of their seconds."""

    def one_call():
        start = time.perf_counter()
        function()
        return time.perf_counter() - start

    return lambda: statistics.median(one_call() for _ in range(calls))


def make_tasks():
    """Return name -> a function that does the task and returns the seconds of one step or call."""
    import keras_ae

    images = np.random.default_rng(0).random((10_000, 28, 28, 1), "float32")
    x = images.reshape(-1, 784)
    vae = keras_ae.VAE(16, network_options={"units": (512,)}, seed=0)
    quiet = {"seed": 0, "verbose": 0}
    return {
        "a step of a dense VAE, batch 100": time_steps(vae, x, 100),
        "a step of a convolutional AE, batch 128": time_steps(
            keras_ae.AE(16, seed=0), images[:2560], 128
        ),
        "a step of a VQVAE, batch 128": time_steps(keras_ae.VQVAE(16, seed=0), images[:2560], 128),
        "encode 1 example": time_calls(lambda: vae.encode(x[:1], verbose=0), 200),
        "encode 1,000 examples": time_calls(lambda: vae.encode(x[:1000], verbose=0), 50),
        "sample 100 examples": time_calls(lambda: vae.sample(100, **quiet), 100),
        "log_likelihood of 100 examples, 10 draws each": time_calls(
            lambda: vae.log_likelihood(x[:100], num_samples=10, **quiet), 50
        ),
    }


def answer(folder, pipe):
    """Do each task once with the version in this folder, then whatever tasks the pipe names."""
    sys.path.insert(0, folder)
    tasks = make_tasks()
    for task in tasks.values():
        task()
    pipe.send(list(tasks))
    for name in iter(pipe.recv, None):
        pipe.send(tasks[name]())


def run_round(folders):
    """Return task -> the seconds of each version, from a fresh process for each."""
    spawn = multiprocessing.get_context("spawn")
    pipes, processes = [], []
    for folder in folders:
        ours, theirs = spawn.Pipe()
        processes.append(spawn.Process(target=answer, args=(folder, theirs), daemon=True))
        processes[-1].start()
        theirs.close()  # Otherwise a process that fails would be waited for.
        pipes.append(ours)
    names = [pipe.recv() for pipe in pipes][0]
    taken = {name: [] for name in names}
    for name in names:
        turns = [[], []]
        for turn in range(TURNS):
            # The version that begins changes with the turn.
            for version in (0, 1) if turn % 2 == 0 else (1, 0):
                pipes[version].send(name)
                turns[version].append(pipes[version].recv())
        taken[name] = [statistics.median(seconds) for seconds in turns]
    for pipe, process in zip(pipes, processes, strict=True):
        pipe.send(None)
        process.join()
    return taken


def find_interval(ratios):
    """Return the 95 % interval of the median, from rounds that are drawn with replacement."""
    draws = np.random.default_rng(0).choice(ratios, (10_000, len(ratios)))
    return np.quantile(np.median(draws, axis=1), (0.025, 0.975))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", help="a folder that holds keras_ae, or a revision")
    parser.add_argument("new", nargs="?", default=CHECKOUT, help="the same [default: this folder]")
    parser.add_argument("--rounds", type=int, default=10)
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folders = [find_version(version, stack) for version in (arguments.old, arguments.new)]
        rounds = [run_round(folders) for _ in range(arguments.rounds)]
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    print(f"{backend}, {arguments.rounds} rounds of {TURNS} turns, {os.cpu_count()} cores")
    print("| task | old, ms | new, ms | old / new | 95 % interval |")
    print("|---|---|---|---|---|")
    for name in rounds[0]:
        seconds = np.array([taken[name] for taken in rounds])
        ratios = seconds[:, 0] / seconds[:, 1]
        old, new = 1e3 * np.median(seconds, axis=0)
        low, high = find_interval(ratios)
        ratio = f"{np.median(ratios):.3f} | {low:.3f} to {high:.3f}"
        print(f"| {name} | {old:.3f} | {new:.3f} | {ratio} |")


if __name__ == "__main__":
    main()
