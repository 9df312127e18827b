"""Images per second of training: keras_ae beside its peers and the machine's own limit.

    pip install -e . pythae torch "jax[cpu]"
    python benchmarks/train_step.py --network dense --batch-size 100

Contenders: `keras_ae` (TensorFlow, default settings, NumPy array in), `keras_ae_jax`,
`keras_ae_torch`, `naive_keras` (the subclass that a tutorial writes, NumPy array in), `torch_loop`
(hand-written), `pythae` (its TrainingPipeline) and `products` (the matrix products of the dense
network alone, in TensorFlow: what no training step can beat).
"""

import argparse
import tempfile
import time

import numpy as np
import race

LATENT = 16
LEARNING_RATE = 1e-3


def images(count, network, channels_first=False):
    x = np.random.default_rng(0).random((count, 28, 28, 1), "float32")
    if network == "dense":
        return x.reshape(count, 784)
    return x.transpose(0, 3, 1, 2).copy() if channels_first else x


# ---------------------------------------------------------------------- Keras


def time_of_last_epoch(model, x, batch_size):
    """Seconds of one epoch of `fit`, from its first step to its last."""
    import keras

    class Clock(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.start = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            self.seconds = time.perf_counter() - self.start

    clock = Clock()
    model.fit(x, batch_size=batch_size, epochs=1, callbacks=[clock])
    return clock.seconds


def keras_ae(network, batch_size, count):
    from keras_ae import VAE

    options = {"units": (512,)} if network == "dense" else {"filters": (32, 64), "units": (256,)}
    model = VAE(LATENT, network_options=options)
    model.compile("adam")
    x = images(count, network)
    return lambda: time_of_last_epoch(model, x, batch_size)


def naive_keras(network, batch_size, count):
    """The variational autoencoder of the Keras tutorials, for these networks."""
    import keras
    import tensorflow as tf
    from keras import layers, ops

    class NaiveVAE(keras.Model):
        def __init__(self):
            super().__init__()
            if network == "dense":
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
            self.seed_generator = keras.random.SeedGenerator(0)
            names = ("loss", "reconstruction_loss", "kl_loss")
            self.trackers = [keras.metrics.Mean(name=name) for name in names]

        @property
        def metrics(self):
            return self.trackers

        def train_step(self, x):
            with tf.GradientTape() as tape:
                h = self.trunk(x)
                mean, log_variance = self.mean(h), self.log_variance(h)
                noise = keras.random.normal(ops.shape(mean), seed=self.seed_generator)
                logits = self.decoder(mean + ops.exp(0.5 * log_variance) * noise)
                cross_entropy = ops.softplus(logits) - x * logits
                reconstruction = ops.mean(ops.sum(ops.reshape(cross_entropy, (-1, 784)), axis=1))
                kl = -0.5 * (1 + log_variance - ops.square(mean) - ops.exp(log_variance))
                kl = ops.mean(ops.sum(kl, axis=1))
                loss = reconstruction + kl
            gradients = tape.gradient(loss, self.trainable_weights)
            self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
            for tracker, value in zip(self.trackers, (loss, reconstruction, kl), strict=True):
                tracker.update_state(value)
            return {tracker.name: tracker.result() for tracker in self.trackers}

    model = NaiveVAE()
    model.compile(keras.optimizers.Adam(LEARNING_RATE))
    x = images(count, network)
    return lambda: time_of_last_epoch(model, x, batch_size)


# ---------------------------------------------------------------------- torch


def torch_networks(network):
    from torch import nn

    if network == "dense":
        trunk = nn.Sequential(nn.Linear(784, 512), nn.ReLU())
        decoder = nn.Sequential(nn.Linear(LATENT, 512), nn.ReLU(), nn.Linear(512, 784))
        return trunk, 512, decoder
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


def torch_loop(network, batch_size, count):
    import torch
    from torch import nn
    from torch.nn import functional

    trunk, width, decoder = torch_networks(network)
    mean_layer, log_variance_layer = nn.Linear(width, LATENT), nn.Linear(width, LATENT)
    everything = nn.ModuleList([trunk, mean_layer, log_variance_layer, decoder])
    optimizer = torch.optim.Adam(everything.parameters(), LEARNING_RATE)
    x = torch.from_numpy(images(count, network, channels_first=True))

    def epoch():
        start = time.perf_counter()
        order, total = torch.randperm(count), 0.0
        for first in range(0, count, batch_size):
            batch = x[order[first : first + batch_size]]
            h = trunk(batch)
            mean, log_variance = mean_layer(h), log_variance_layer(h)
            z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
            reconstruction = functional.binary_cross_entropy_with_logits(
                decoder(z), batch, reduction="sum"
            )
            kl = -0.5 * torch.sum(1 + log_variance - mean.square() - log_variance.exp())
            loss = (reconstruction + kl) / len(batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        return time.perf_counter() - start

    return epoch


def pythae_model(network, shape):
    """Its variational autoencoder of examples of this shape."""
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


def pythae(network, batch_size, count):
    from pythae.pipelines import TrainingPipeline
    from pythae.trainers import BaseTrainerConfig
    from pythae.trainers.training_callbacks import TrainingCallback

    class Clock(TrainingCallback):
        def on_epoch_begin(self, *_, **__):
            self.start = time.perf_counter()

        def on_epoch_end(self, *_, **__):
            self.seconds = time.perf_counter() - self.start

    x = images(count, network, channels_first=True)
    model = pythae_model(network, x.shape[1:])
    folder = tempfile.mkdtemp()

    def epoch():
        clock = Clock()
        training = BaseTrainerConfig(
            output_dir=folder,
            per_device_train_batch_size=batch_size,
            num_epochs=1,
            learning_rate=LEARNING_RATE,
        )
        TrainingPipeline(model=model, training_config=training)(train_data=x, callbacks=[clock])
        return clock.seconds

    return epoch


# ---------------------------------------------------------------------- the limit


def products(network, batch_size, count):
    """The five large products of a dense step: two forward, three backward."""
    import tensorflow as tf

    x = tf.random.normal((batch_size, 784))
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
        for _ in range(-(-count // batch_size)):
            step()
        return time.perf_counter() - start

    return epoch


# ---------------------------------------------------------------------- the race


CONTENDERS = {
    "keras_ae": ("keras", keras_ae),
    "keras_ae_jax": ("jax", keras_ae),
    "keras_ae_torch": ("torch", keras_ae),
    "naive_keras": ("keras", naive_keras),
    "torch_loop": ("torch", torch_loop),
    "pythae": ("pythae", pythae),
    "products": ("tensorflow", products),
}


def contender(function):
    """The same as images a second."""

    def prepared(arguments):
        epoch = function(arguments.network, arguments.batch_size, arguments.images)
        return lambda: arguments.images / epoch()

    return prepared


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", choices=("dense", "conv"), default="dense")
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--images", type=int, default=15_000, help="images of an epoch")
    race.main(
        parser,
        {name: (needs, contender(function)) for name, (needs, function) in CONTENDERS.items()},
        lambda given: f"{given.network}, batch {given.batch_size}, {given.images} images an epoch",
        lambda name, given: name != "products" or given.network == "dense",
    )


if __name__ == "__main__":
    main()
