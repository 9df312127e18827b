"""What a user waits for: the import, --help, and the first step of `fit`.

    python -m benchmarks.speed.start

Each of these is measured in processes of its own, in turn:

- the time and the memory that `import keras_ae` adds to `import keras`, alone and with the first
  use of a model, which loads its file;
- the time of `keras-ae --help`;
- the time to make a model and fit it for one step, compared with a plain Keras model that has the
  same network and a loss of Keras.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time

IMPORT = """
import time
import keras
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20
before, start = resident(), time.perf_counter()
{statement}
print(time.perf_counter() - start, resident() - before)
"""
FIRST_STEP = """
import time
import keras
import numpy as np
from keras import layers
import keras_ae
x = np.random.default_rng(0).random((128, 784), "float32")
start = time.perf_counter()
if {plain}:
    sizes, hidden = (512, 32, 512), "relu"
    stack = [layers.Dense(size, hidden) for size in sizes]
    model = keras.Sequential([keras.Input((784,)), *stack, layers.Dense(784)])
    model.compile("adam", keras.losses.BinaryCrossentropy(from_logits=True))
    arguments = (x, x)
else:
    model = keras_ae.VAE(16, network_options={{"units": (512,)}})
    model.compile("adam")
    arguments = (x,)
model.fit(*arguments, batch_size=128, verbose=0)
print(time.perf_counter() - start)
"""


def run_code(code):
    """Run this code in a process of its own, and return the numbers that it prints."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    return [float(word) for word in done.stdout.split()]


def help_seconds():
    start = time.perf_counter()
    subprocess.run(["keras-ae", "--help"], capture_output=True, check=True)
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    imports = {"import keras_ae": [], "from keras_ae import VAE": []}
    helps, ours, plain = [], [], []
    for _ in range(rounds):
        for statement, found in imports.items():
            found.append(run_code(IMPORT.format(statement=statement)))
        helps.append(help_seconds())
        plain.append(run_code(FIRST_STEP.format(plain=True))[0])
        ours.append(run_code(FIRST_STEP.format(plain=False))[0])
    ratio = statistics.median(a / b for a, b in zip(ours, plain, strict=True))
    print(f"{os.environ.get('KERAS_BACKEND', 'tensorflow')}, medians of {rounds} rounds")
    for statement, found in imports.items():
        seconds, mebibytes = (statistics.median(values) for values in zip(*found, strict=True))
        print(f"{statement}, beyond import keras: {seconds:.3f} s, {mebibytes:.1f} MiB")
    print(f"keras-ae --help: {statistics.median(helps):.3f} s")
    print(
        f"a model and its first step: {statistics.median(ours):.2f} s, "
        f"{ratio:.2f} times that of plain Keras"
    )


if __name__ == "__main__":
    main()
