"""Peak memory and time for each example, from ten thousand examples to a million.

    python -m benchmarks.speed.memory
    TFDS_DATA_DIR=... python -m benchmarks.speed.memory --tasks tfds likelihood

Each printed line comes from a process of its own. The tasks are:

- `npy`: an epoch of `fit` from a memory-mapped file of float32 vectors of 784 numbers;
- `tfds`: the same from MNIST of TensorFlow Datasets, repeated;
- `codes`: `keras-ae encode` from such a file into another;
- `likelihood`: `log_likelihood` of an IWAE for 10,000 images, with 5,000 importance samples each.

Only the memory that belongs to the process alone is counted, because the system can drop the pages
of a mapped file at any time. It is sampled every 5 milliseconds.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np

ROWS = (10_000, 100_000, 1_000_000)
WIDTH = 784
BATCH_SIZE = 500
NETWORK = {"units": (128,)}
LIKELIHOOD = {"images": 10_000, "samples": 5_000}


def resident():
    """Return the MiB of memory that belong to this process alone."""
    with open("/proc/self/status") as file:
        kibibytes = next(line.split()[1] for line in file if line.startswith("RssAnon"))
    return int(kibibytes) / 1024


class Peak:
    """The largest value of `resident` while the block ran, and the seconds that the block took."""

    def __enter__(self):
        self.highest, self.running = resident(), True
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        self.start = time.perf_counter()
        return self

    def watch(self):
        while self.running:
            self.highest = max(self.highest, resident())
            time.sleep(0.005)

    def __exit__(self, *_):
        self.seconds = time.perf_counter() - self.start
        self.running = False
        self.thread.join()


def write_vectors(rows, folder):
    """Write a file of random vectors, unless it exists, and return its path."""
    path = pathlib.Path(folder) / f"{rows}.npy"
    if not path.exists():
        file = np.lib.format.open_memmap(path, "w+", "float32", (rows, WIDTH))
        rng = np.random.default_rng(0)
        for start in range(0, rows, 10_000):
            file[start : start + 10_000] = rng.random((10_000, WIDTH), "float32")
    return path


def vae():
    from keras_ae import VAE

    model = VAE(16, "mlp", "mlp", network_options=NETWORK, seed=0)
    model.compile("adam")
    return model


def npy(rows, folder):
    model, x = vae(), np.load(write_vectors(rows, folder), mmap_mode="r")
    # The process reaches the size at which it stays after some hundred steps.
    model.fit(x[: ROWS[0]], batch_size=BATCH_SIZE, epochs=20, verbose=0)
    return lambda: model.fit(x, batch_size=BATCH_SIZE, verbose=0)


def tfds(rows, folder):
    from keras_ae import datasets

    model = vae()
    stream = datasets.load("mnist").repeat().take(rows)
    model.fit(stream.take(BATCH_SIZE), batch_size=BATCH_SIZE, verbose=0)
    return lambda: model.fit(stream, batch_size=BATCH_SIZE, verbose=0)


def codes(rows, folder):
    from keras_ae.cli import runs

    model, target = vae(), pathlib.Path(folder) / "codes.npy"

    def encode(path):
        runs.write_over_all(lambda x: model.encode(x, verbose=0), path, target)

    encode(write_vectors(ROWS[0], folder))
    return lambda: encode(write_vectors(rows, folder))


def likelihood(rows, folder):
    from keras_ae import IWAE

    model = IWAE(16, network_options=NETWORK, seed=0)
    x = np.random.default_rng(0).random((rows, WIDTH), "float32")
    model.build(x.shape)
    return lambda: model.log_likelihood(x, num_samples=LIKELIHOOD["samples"], verbose=0)


TASKS = {"npy": npy, "tfds": tfds, "codes": codes, "likelihood": likelihood}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--rows", nargs="+", type=int, default=ROWS)
    parser.add_argument("--folder", help="where files are written [default: a temporary one]")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        try:
            work = TASKS[arguments.tasks[0]](arguments.rows[0], arguments.folder)
        except FileNotFoundError as error:
            print(f"skipped: {error}")
            return
        with Peak() as peak:
            work()
        microseconds = 1e6 * peak.seconds / arguments.rows[0]
        print(f"{peak.highest:6.0f} MiB, {microseconds:9.1f} microseconds per example", flush=True)
        return
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    with tempfile.TemporaryDirectory() as folder:
        for task in arguments.tasks:
            for rows in [LIKELIHOOD["images"]] if task == "likelihood" else arguments.rows:
                command = [sys.executable, "-m", "benchmarks.speed.memory", "--worker"]
                command += ["--tasks", task, "--rows", str(rows)]
                command += ["--folder", arguments.folder or folder]
                found = subprocess.run(
                    command, stdout=subprocess.PIPE, text=True, env=environment, check=True
                )
                print(f"{task:10} {rows:9,} {found.stdout.strip()}", flush=True)


if __name__ == "__main__":
    main()
