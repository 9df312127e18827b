"""Images per second of training: keras_ae, its peers and the machine's own limit.

    pip install -e . pythae torch "jax[cpu]"
    python -m benchmarks.speed.train_step --network dense --batch-size 100
    python -m benchmarks.speed.train_step --network resnet --precision mixed_bfloat16 \
        --batch-size 256 --contenders keras_ae_jax torch_loop torch_compiled pythae \
        matrix_rate  # on a GPU

Networks:

- `dense`: 784-512-16-512-784;
- `conv`: 32 and 64 filters of 4x4 with stride 2;
- `resnet`: two residual blocks at each of three sizes, for pictures of 64x64x3.

Contenders:

- `keras_ae` (on TensorFlow), `keras_ae_jax` and `keras_ae_torch`, with default settings and a NumPy
  array as input;
- `naive_keras`: the subclass of `keras.Model` that a tutorial writes, with a NumPy array as input;
- `torch_loop`: a hand-written loop, and `torch_compiled`: the same with its step under
  torch.compile;
- `pythae`: its TrainingPipeline;
- `products`: only the matrix products of the dense network, in TensorFlow, which no training step
  can beat;
- `matrix_rate`: the network's multiplications, as torch counts them, at the speed of one large
  product.

Torch and JAX use a GPU where there is one.
"""

import argparse
import contextlib
import math
import tempfile
import time

import numpy as np

from benchmarks.speed import race

LATENT = 16
LEARNING_RATE = 1e-3
OPTIONS = {
    "dense": {"units": (512,)},
    "conv": {"filters": (32, 64), "units": (256,)},
    "resnet": {"filters": (32, 64, 128), "units": (256,)},
}


def images(count, network, channels_first=False):
    shape = (64, 64, 3) if network == "resnet" else (28, 28, 1)
    x = np.random.default_rng(0).random((count, *shape), "float32")
    if network == "dense":
        return x.reshape(count, 784)
    return x.transpose(0, 3, 1, 2).copy() if channels_first else x


# ---------------------------------------------------------------------- Keras


def time_of_last_epoch(model, x, batch_size, epochs=1):
    """Fit, and return the seconds of the last epoch."""
    import keras

    class Clock(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.start = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            self.seconds = time.perf_counter() - self.start

    clock = Clock()
    model.fit(x, batch_size=batch_size, epochs=epochs, callbacks=[clock])
    return clock.seconds


def keras_ae(given):
    import keras

    from keras_ae import VAE

    keras.config.set_dtype_policy(given.precision)
    kind = {"dense": "mlp"}.get(given.network, given.network)
    model = VAE(LATENT, encoder=kind, decoder=kind, network_options=OPTIONS[given.network])
    model.compile("adam")
    x = images(given.images, given.network)
    return lambda: time_of_last_epoch(model, x, given.batch_size, given.epoch)


def naive_keras(given):
    """Train the variational autoencoder that Keras tutorials write, with these networks."""
    import keras
    import tensorflow as tf
    from keras import layers, ops

    class NaiveVAE(keras.Model):
        def __init__(self):
            super().__init__()
            if given.network == "dense":
                self.trunk = keras.Sequential([layers.Dense(512, "relu")])
                self.decoder = keras.Sequential([layers.Dense(512, "relu"), layers.Dense(784)])
            else:
                strided = {"strides": 2, "padding": "same", "activation": "relu"}
                self.trunk = keras.Sequential(
                    [
                        layers.Conv2D(32, 4, **strided),
                        layers.Conv2D(64, 4, **strided),
                        layers.Flatten(),
                        layers.Dense(256, "relu"),
                    ]
                )
                self.decoder = keras.Sequential(
                    [
                        layers.Dense(256, "relu"),
                        layers.Dense(7 * 7 * 64, "relu"),
                        layers.Reshape((7, 7, 64)),
                        layers.Conv2DTranspose(32, 4, **strided),
                        layers.Conv2DTranspose(1, 4, strides=2, padding="same"),
                    ]
                )
            self.mean, self.log_variance = layers.Dense(LATENT), layers.Dense(LATENT)
            self._seed_generator = keras.random.SeedGenerator(0)
            names = ("loss", "reconstruction_loss", "kl_loss")
            self._trackers = [keras.metrics.Mean(name=name) for name in names]

        @property
        def metrics(self):
            return self._trackers

        def train_step(self, x):
            with tf.GradientTape() as tape:
                h = self.trunk(x)
                mean, log_variance = self.mean(h), self.log_variance(h)
                noise = keras.random.normal(ops.shape(mean), seed=self._seed_generator)
                logits = self.decoder(mean + ops.exp(0.5 * log_variance) * noise)
                cross_entropy = ops.softplus(logits) - x * logits
                reconstruction = ops.mean(ops.sum(ops.reshape(cross_entropy, (-1, 784)), axis=1))
                kl = -0.5 * (1 + log_variance - ops.square(mean) - ops.exp(log_variance))
                kl = ops.mean(ops.sum(kl, axis=1))
                loss = reconstruction + kl
            gradients = tape.gradient(loss, self.trainable_weights)
            self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
            for tracker, value in zip(self._trackers, (loss, reconstruction, kl), strict=True):
                tracker.update_state(value)
            return {tracker.name: tracker.result() for tracker in self._trackers}

    model = NaiveVAE()
    model.compile(keras.optimizers.Adam(LEARNING_RATE))
    x = images(given.images, given.network)
    return lambda: time_of_last_epoch(model, x, given.batch_size, given.epoch)


# ---------------------------------------------------------------------- torch


def torch_networks(network):
    from torch import nn

    if network == "dense":
        trunk = nn.Sequential(nn.Linear(784, 512), nn.ReLU())
        decoder = nn.Sequential(nn.Linear(LATENT, 512), nn.ReLU(), nn.Linear(512, 784))
        return trunk, 512, decoder
    if network == "resnet":
        return torch_resnet()
    trunk = nn.Sequential(
        nn.Conv2d(1, 32, 4, 2, 1),
        nn.ReLU(),
        nn.Conv2d(32, 64, 4, 2, 1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(7 * 7 * 64, 256),
        nn.ReLU(),
    )
    decoder = nn.Sequential(
        nn.Linear(LATENT, 256),
        nn.ReLU(),
        nn.Linear(256, 7 * 7 * 64),
        nn.ReLU(),
        nn.Unflatten(1, (64, 7, 7)),
        nn.ConvTranspose2d(64, 32, 4, 2, 1),
        nn.ReLU(),
        nn.ConvTranspose2d(32, 1, 4, 2, 1),
    )
    return trunk, 256, decoder


def torch_resnet():
    """Return the networks that keras_ae names `"resnet"`, with the same layers in torch."""
    import torch
    from torch import nn

    def activated(channels):
        groups = math.gcd(channels, max(1, channels // 8))
        return [nn.GroupNorm(groups, channels), nn.ReLU()]

    class Residual(nn.Module):
        def __init__(self, before, after, stride=1, larger=False):
            super().__init__()
            resized = [nn.Upsample(scale_factor=2)] if larger else []
            first = nn.Conv2d(before, after, 3, stride, 1)
            second = nn.Conv2d(after, after, 3, 1, 1)
            self.inner = nn.Sequential(
                *activated(before), *resized, first, *activated(after), second
            )
            changes = stride > 1 or before != after
            shortcut = [nn.Conv2d(before, after, 1, stride)] if changes else []
            self.shortcut = nn.Sequential(*resized, *shortcut)

        def forward(self, x):
            return self.shortcut(x) + self.inner(x)

    filters, units = OPTIONS["resnet"]["filters"], OPTIONS["resnet"]["units"][0]
    down, up, channels = [nn.Conv2d(3, filters[0], 3, 1, 1)], [], filters[0]
    for size in filters:
        down += [Residual(channels, size, stride=2), Residual(size, size)]
        channels = size
    for size in (*filters[-2::-1], filters[0]):
        up += [Residual(channels, channels), Residual(channels, size, larger=True)]
        channels = size
    side = 64 // 2 ** len(filters)
    flat = filters[-1] * side**2
    trunk = nn.Sequential(
        *down, *activated(filters[-1]), nn.Flatten(), nn.Linear(flat, units), nn.ReLU()
    )
    decoder = nn.Sequential(
        nn.Linear(LATENT, units),
        nn.ReLU(),
        nn.Linear(units, flat),
        nn.Unflatten(1, (filters[-1], side, side)),
        *up,
        *activated(channels),
        nn.Conv2d(channels, 3, 3, 1, 1),
    )
    torch.set_float32_matmul_precision("high")  # JAX uses this precision on a GPU.
    return trunk, units, decoder


def torch_step(given):
    """Return a hand-written training step, which returns a batch's loss, and its device."""
    import torch
    from torch import nn
    from torch.nn import functional

    device = "cuda" if torch.cuda.is_available() else "cpu"
    trunk, width, decoder = torch_networks(given.network)
    mean_layer, log_variance_layer = nn.Linear(width, LATENT), nn.Linear(width, LATENT)
    everything = nn.ModuleList([trunk, mean_layer, log_variance_layer, decoder]).to(device)
    optimizer = torch.optim.Adam(everything.parameters(), LEARNING_RATE)
    # In float32 there is no autocast, because even one that does nothing slows a small step.
    mixed = contextlib.nullcontext()
    if given.precision == "mixed_bfloat16":
        mixed = torch.autocast(device, torch.bfloat16)

    def step(batch):
        with mixed:
            h = trunk(batch)
            mean, log_variance = mean_layer(h).float(), log_variance_layer(h).float()
            z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
            logits = decoder(z).float()
        reconstruction = functional.binary_cross_entropy_with_logits(logits, batch, reduction="sum")
        kl = -0.5 * torch.sum(1 + log_variance - mean.square() - log_variance.exp())
        loss = (reconstruction + kl) / len(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step, device


def torch_loop(given, compiled=False):
    import torch

    step, device = torch_step(given)
    step = torch.compile(step) if compiled else step
    x = torch.from_numpy(images(given.images, given.network, channels_first=True)).to(device)

    def epoch():
        start = time.perf_counter()
        order, total = torch.randperm(given.images), 0.0
        for first in range(0, given.images, given.batch_size):
            total += step(x[order[first : first + given.batch_size]]).item()
        return time.perf_counter() - start

    return epoch


def torch_compiled(given):
    return torch_loop(given, compiled=True)


def pythae_model(network, shape):
    """Return pythae's variational autoencoder for examples of this shape."""
    from pythae.models import VAE as PythaeVAE
    from pythae.models import VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from torch import nn

    trunk, width, decoder = torch_networks(network)

    class Encoder(BaseEncoder):
        def __init__(self):
            super().__init__()
            self.trunk = trunk
            self.mean, self.log_variance = nn.Linear(width, LATENT), nn.Linear(width, LATENT)

        def forward(self, x):
            h = self.trunk(x)
            return ModelOutput(embedding=self.mean(h), log_covariance=self.log_variance(h))

    class Decoder(BaseDecoder):
        def __init__(self):
            super().__init__()
            self.layers = decoder

        def forward(self, z):
            return ModelOutput(reconstruction=self.layers(z).sigmoid())

    config = VAEConfig(input_dim=shape, latent_dim=LATENT, reconstruction_loss="bce")
    return PythaeVAE(config, encoder=Encoder(), decoder=Decoder())


def pythae(given):
    from pythae.pipelines import TrainingPipeline
    from pythae.trainers import BaseTrainerConfig
    from pythae.trainers.training_callbacks import TrainingCallback

    class Clock(TrainingCallback):
        def on_epoch_begin(self, *_, **__):
            self.start = time.perf_counter()

        def on_epoch_end(self, *_, **__):
            self.seconds = time.perf_counter() - self.start

    x = images(given.images, given.network, channels_first=True)
    model = pythae_model(given.network, x.shape[1:])
    folder = tempfile.mkdtemp()

    def epoch():
        clock = Clock()
        training = BaseTrainerConfig(
            output_dir=folder,
            per_device_train_batch_size=given.batch_size,
            num_epochs=given.epoch,
            learning_rate=LEARNING_RATE,
            amp=given.precision != "float32",
        )
        TrainingPipeline(model=model, training_config=training)(train_data=x, callbacks=[clock])
        return clock.seconds

    return epoch


# ---------------------------------------------------------------------- the limit


def products(given):
    """Time the five large matrix products of a dense step: two forward, three backward."""
    import tensorflow as tf

    x = tf.random.normal((given.batch_size, 784))
    first, last = tf.random.normal((784, 512)), tf.random.normal((512, 784))

    @tf.function
    def step():
        hidden = tf.matmul(x, first)
        output = tf.matmul(hidden, last)
        back = tf.matmul(output, last, transpose_b=True)
        gradients = (
            tf.matmul(hidden, output, transpose_a=True),
            tf.matmul(x, back, transpose_a=True),
        )
        return [g[0, 0] for g in gradients]

    def epoch():
        start = time.perf_counter()
        for _ in range(-(-given.images // given.batch_size)):
            step()
        return time.perf_counter() - start

    return epoch


def matrix_rate(given):
    """Time as many multiplications as an epoch has, in products of square matrices of 4,096."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    step, device = torch_step(given)
    batch = images(given.batch_size, given.network, channels_first=True)
    with FlopCounterMode(display=False) as counter:
        step(torch.from_numpy(batch).to(device))
    operations = counter.get_total_flops() * given.images / given.batch_size
    dtype = torch.float32 if given.precision == "float32" else torch.bfloat16
    square = torch.randn((4096, 4096), dtype=dtype, device=device)
    times = max(1, round(operations / (2 * 4096**3)))

    def epoch():
        start = time.perf_counter()
        for _ in range(times):
            product = square @ square
        product[0, 0].item()
        return (time.perf_counter() - start) * operations / (times * 2 * 4096**3)

    return epoch


# ---------------------------------------------------------------------- the race


CONTENDERS = {
    "keras_ae": ("keras", keras_ae),
    "keras_ae_jax": ("jax", keras_ae),
    "keras_ae_torch": ("torch", keras_ae),
    "naive_keras": ("keras", naive_keras),
    "torch_loop": ("torch", torch_loop),
    "torch_compiled": ("torch", torch_compiled),
    "pythae": ("pythae", pythae),
    "products": ("tensorflow", products),
    "matrix_rate": ("torch", matrix_rate),
}
# These contenders exist only for some networks.
ONLY = {"products": ("dense",), "naive_keras": ("dense", "conv")}
USUAL = [name for name in CONTENDERS if name not in ("torch_compiled", "matrix_rate")]


def count_per_second(function):
    """Return a contender that gives images per second, where the function gives seconds."""

    def prepare(arguments):
        epoch = function(arguments)
        return lambda: arguments.images / epoch()

    return prepare


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", choices=list(OPTIONS), default="dense")
    precisions = ("float32", "mixed_bfloat16")
    parser.add_argument("--precision", choices=precisions, default="float32")
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--images", type=int, default=15_000, help="images in an epoch")
    parser.add_argument("--epoch", type=int, default=1, help="which epoch of a fit is timed")
    race.main(
        parser,
        {name: (needs, count_per_second(fun)) for name, (needs, fun) in CONTENDERS.items()},
        lambda given: (
            f"{given.network}, {given.precision}, batch {given.batch_size}, "
            f"{given.images} images per epoch"
        ),
        lambda name, given: given.network in ONLY.get(name, OPTIONS),
        USUAL,
    )


if __name__ == "__main__":
    main()
