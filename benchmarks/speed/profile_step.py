"""Where the time of a dense training step goes, on TensorFlow.

Each part is a `tf.function` of one batch: the five large matrix products, the forward pass with the
losses and their running means, the same with gradients, and the whole step. The parts are called in
turn, round after round. `fit` is one epoch of as many steps from a NumPy array.

    python -m benchmarks.speed.profile_step --batch-size 100
"""

import argparse
import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf

from benchmarks.speed.train_step import LATENT, images, products, time_of_last_epoch
from keras_ae import VAE


def parts(batch_size, calls):
    """Return name -> a function that makes `calls` calls and returns the seconds that they took."""
    model = VAE(LATENT, network_options={"units": (512,)})
    model.compile("adam")
    x = images(batch_size * calls, "dense")
    model.fit(x[:batch_size], batch_size=batch_size, verbose=0)
    batch = tf.constant(x[:batch_size])

    @tf.function
    def forward():
        return model._losses_and_logs((batch,), training=True)

    @tf.function
    def gradients():
        with tf.GradientTape() as tape:
            (loss,), logs = model._losses_and_logs((batch,), training=True)
        # TensorFlow leaves out what nothing uses, so one number of each gradient is returned.
        return [tf.reduce_sum(g) for g in tape.gradient(loss, model.trainable_variables)], logs

    @tf.function
    def step():
        return model.train_step((batch,))

    def repeat(function):
        def seconds():
            start = time.perf_counter()
            for _ in range(calls):
                function()
            return time.perf_counter() - start

        return seconds

    return {
        "products": products(argparse.Namespace(batch_size=batch_size, images=batch_size * calls)),
        "forward": repeat(forward),
        "gradients": repeat(gradients),
        "step": repeat(step),
        "fit": lambda: time_of_last_epoch(model, x, batch_size),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--calls", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    functions = parts(arguments.batch_size, arguments.calls)
    for function in functions.values():
        function()
    milliseconds = {name: [] for name in functions}
    for _ in range(arguments.rounds):
        for name, function in functions.items():
            milliseconds[name].append(1e3 * function() / arguments.calls)
    print(f"batch {arguments.batch_size}, {arguments.rounds} rounds of {arguments.calls} calls")
    for name, values in milliseconds.items():
        print(f"{name:10}{statistics.median(values):6.2f} ms ({min(values):.2f}-{max(values):.2f})")


if __name__ == "__main__":
    main()
