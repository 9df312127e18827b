"""Time of one served call: an exported model's `encode` compared with a bare TensorFlow function.

    python -m benchmarks.speed.served

The model is the dense variational autoencoder of `train_step.py`. The bare function does the same
arithmetic, two matrix products and an activation, on variables of its own, and is also saved and
loaded. The two are called in turn, with one image and with 256.
"""

import argparse
import os
import statistics
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf

from benchmarks.speed import train_step
from keras_ae import VAE


class Bare(tf.Module):
    def __init__(self, model):
        super().__init__()
        weights = model.encoder.trainable_variables
        heads = model.features_to_code.trainable_variables
        self.first, self.bias, self.second, self.offset = (
            tf.Variable(v.value) for v in (*weights, *heads)
        )

    @tf.function(input_signature=[tf.TensorSpec((None, 784))])
    def encode(self, x):
        hidden = tf.nn.relu(x @ self.first + self.bias)
        return (hidden @ self.second + self.offset)[:, : train_step.LATENT]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    model = VAE(train_step.LATENT, network_options={"units": (512,)})
    x = train_step.images(256, "dense")
    model.build(x.shape)
    with tempfile.TemporaryDirectory() as folder:
        model.export(f"{folder}/model")
        tf.saved_model.save(Bare(model), f"{folder}/bare")
        loaded = {name: tf.saved_model.load(f"{folder}/{name}") for name in ("model", "bare")}
        print(f"{arguments.rounds} rounds of {arguments.calls} calls, {os.cpu_count()} cores")
        for images in (1, 256):
            batch = tf.constant(x[:images])
            microseconds = {name: [] for name in loaded}
            for _ in range(arguments.rounds):
                for name, served in loaded.items():
                    start = time.perf_counter()
                    for _ in range(arguments.calls):
                        served.encode(batch)
                    seconds = (time.perf_counter() - start) / arguments.calls
                    microseconds[name].append(1e6 * seconds)
            medians = {name: statistics.median(values) for name, values in microseconds.items()}
            pairs = zip(microseconds["model"], microseconds["bare"], strict=True)
            ratio = statistics.median(a / b for a, b in pairs)
            print(
                f"{images:4} images: model {medians['model']:6.0f}, bare {medians['bare']:6.0f} "
                f"microseconds, ratio {ratio:.2f}"
            )


if __name__ == "__main__":
    main()
