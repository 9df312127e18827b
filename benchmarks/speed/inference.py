"""Images per second of everything but training: keras_ae, pythae and the machine's own limit.

    pip install -e . pythae torch "jax[cpu]"
    python -m benchmarks.speed.inference log_likelihood
    python -m benchmarks.speed.inference reconstruct --images 60000

The model is the dense variational autoencoder of `train_step.py`, 784-512-16-512-784. It takes
arrays and returns arrays. For `log_likelihood` the outputs of the decoder are counted, 100 for each
image. Contenders: `keras_ae` (on TensorFlow), `keras_ae_jax`, `pythae` (`get_nll`, the only one of
these tasks that pythae has), and `products` (only the matrix products that the work needs, in
TensorFlow).
"""

import argparse
import statistics
import time

import numpy as np

from benchmarks.speed import race, train_step

IMPORTANCE_SAMPLES = 100
TASKS = ("log_likelihood", "encode", "decode", "reconstruct", "sample")
AT_ONCE = 1024


def count(arguments):
    """Return how many images, or outputs of the decoder, a round computes."""
    samples = IMPORTANCE_SAMPLES if arguments.task == "log_likelihood" else 1
    return samples * arguments.images


def keras_ae(arguments):
    from keras_ae import VAE

    model = VAE(train_step.LATENT, network_options={"units": (512,)})
    x = train_step.images(arguments.images, "dense")
    model.build(x.shape)
    z = np.random.default_rng(0).normal(size=(len(x), train_step.LATENT)).astype("float32")
    work = {
        "log_likelihood": lambda: model.log_likelihood(
            x, num_samples=IMPORTANCE_SAMPLES, verbose=0
        ),
        "encode": lambda: model.encode(x, verbose=0),
        "decode": lambda: model.decode(z, verbose=0),
        "reconstruct": lambda: model.reconstruct(x, verbose=0),
        "sample": lambda: model.sample(len(x), verbose=0),
    }[arguments.task]
    return rate(work, arguments)


def rate(work, arguments):
    """Return a function that gives the median speed of three calls in a row.

    While other contenders have their turn, a virtual machine may give back the memory that a call
    has freed. The next call then takes up to twice as long to write its results.
    """

    def one_call():
        start = time.perf_counter()
        work()
        return count(arguments) / (time.perf_counter() - start)

    return lambda: statistics.median(one_call() for _ in range(3))


def pythae(arguments):
    import torch

    model = train_step.pythae_model("dense", (784,))
    x = torch.from_numpy(train_step.images(arguments.images, "dense"))
    # pythae takes one image at a time, and here all importance samples of an image at once.
    return rate(
        lambda: model.get_nll(x, n_samples=IMPORTANCE_SAMPLES, batch_size=IMPORTANCE_SAMPLES),
        arguments,
    )


def products(arguments):
    import tensorflow as tf

    latent_dim = train_step.LATENT
    shapes = []
    if arguments.task in ("encode", "reconstruct"):
        shapes += [(784, 512), (512, latent_dim)]
    if arguments.task != "encode":
        shapes += [(latent_dim, 512), (512, 784)]
    network = [tf.random.normal(shape) for shape in shapes]
    first = tf.random.normal((AT_ONCE, shapes[0][0]))

    @tf.function
    def batch():
        x = first
        for weights in network:
            x = x @ weights
        return x[0, 0]

    def work():
        for _ in range(-(-count(arguments) // AT_ONCE)):
            batch()

    return rate(work, arguments)


CONTENDERS = {
    "keras_ae": ("keras", keras_ae),
    "keras_ae_jax": ("jax", keras_ae),
    "pythae": ("pythae", pythae),
    "products": ("tensorflow", products),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--images", type=int, default=2_000, help="images in a round")
    race.main(
        parser,
        CONTENDERS,
        lambda given: f"{given.task}, {given.images} images",
        lambda name, given: name != "pythae" or given.task == "log_likelihood",
    )


if __name__ == "__main__":
    main()
