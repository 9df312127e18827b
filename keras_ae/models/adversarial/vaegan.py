"""Autoencoding beyond pixels: Larsen et al. 2015, arXiv:1512.09300."""

import keras
from keras import ops

from keras_ae import networks
from keras_ae.core import arguments
from keras_ae.distributions import Normal
from keras_ae.models.variational.vae import VAE
from keras_ae.networks.fitting import symbolic_call


class VAEGAN(VAE):
    """A VAE whose reconstructions are compared in the features of a discriminator.

    Three players, algorithm 1: the encoder minimises `kl_loss` + `similarity_loss`, the negative
    log-likelihood of the data's features; the decoder `decoder_loss`, gamma times the latter less
    `discriminator_loss`, the cross-entropy of data, reconstructions and samples, which the
    discriminator minimises. `reconstruction_loss`, of the pixels, is minimised by nobody; with
    `kl_loss` it makes the bound that `log_likelihood` tightens.

    Args:
        latent_dim: Dimensions of the code. Defaults to 16.
        gamma: Factor of the similarity in the decoder's loss, a number of at least 0. Defaults to
            0.01.
        discriminator: Keras model from data to the features that are compared, or the name of a
            kind of network as for `encoder`; the model adds the layer from features to a logit.
            Defaults to None, a network like the default encoder, for pictures and sequences up to
            its map of features: what lies behind tells real from made, and little else.
        encoder, decoder, likelihood, kl_weight, free_bits, network_options, seed: See
            `keras_ae.VAE`. The reconstructions are the likelihood's means. There is no learned
            scale: nothing that is minimized would train it. Nor is there a `mask_value`: the
            discriminator would tell data by its padding.

    Example:

    >>> import numpy as np
    >>> from keras_ae import VAEGAN
    >>> model = VAEGAN(latent_dim=2, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).integers(0, 2, (64, 8)).astype("float32")
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> sorted(set(history.history) - {"loss", "kl_loss", "reconstruction_loss"})
    ['decoder_loss', 'discriminator_loss', 'similarity_loss']
    """

    objective = ("decoder_loss",)
    players = {
        ("encoder", "features_to_code"): ("similarity_loss", "kl_loss"),
        ("discriminator", "features_to_logit"): ("discriminator_loss",),
    }
    diagnostics = ("reconstruction_loss",)
    _trains_likelihood = False

    def __init__(self, latent_dim=16, gamma=0.01, discriminator=None, **kwargs):
        super().__init__(latent_dim, **kwargs)
        self.gamma = arguments.number(self, "gamma", gamma)
        self.discriminator = networks.given_or_none(self, "discriminator", discriminator)
        self.features_to_logit = None

    def _options_in_use(self):
        given = isinstance(self.arguments["discriminator"], keras.layers.Layer)
        return super()._options_in_use() if given else self.network_options.keys()

    def _check_given(self):
        super()._check_given()
        if self._mask_value is not None:
            raise ValueError(
                f"VAEGAN: mask_value={self._mask_value!r} would let the discriminator tell data "
                "from what was made by its padding. Train on sequences of one length without it, "
                "or use keras_ae.VAE."
            )

    def build_networks(self, shape, target_shape):
        super().build_networks(shape, target_shape)
        if self.discriminator is None or isinstance(self.discriminator, str):
            self.discriminator = networks.encoder(
                target_shape,
                self.discriminator,
                name="discriminator",
                dtype=self.dtype_policy,
                grid=networks.has_places(target_shape, self.discriminator),
                **self.network_options,
            )
        self.features_to_logit = keras.Sequential(
            [
                keras.layers.Flatten(dtype=self.dtype_policy, name="discriminator_flatten"),
                keras.layers.Dense(1, dtype=self.dtype_policy, name="discriminator_logit"),
            ],
            name="features_to_logit",
        )
        shape = (None, *target_shape)
        features = symbolic_call(self, "discriminator", self.discriminator, shape)
        self.features_to_logit(features)

    def loss_terms(self, x, y, training):
        seed = self.step_seed(training)
        q = self.posterior(x, training)
        z = q.sample(seed)
        p = self.conditional(z, training)
        codes = keras.random.normal(ops.shape(z), dtype="float32", seed=seed)
        samples = self.conditional(codes, training).mean
        features, real = self._judged(y, training)
        features_again, again = self._judged(p.mean, training)
        _, sampled = self._judged(samples, training)
        similarity = -Normal(features_again, 1.0).log_prob(features)
        # Cross-entropy: softplus(-logit) for the data, softplus(logit) for what was made.
        made = ops.softplus(again) + ops.softplus(sampled)
        return {
            **self._terms_of(p.log_prob(y), q.kl_per_dimension()),
            "similarity_loss": similarity,
            "decoder_loss": self.gamma * similarity - made,
            "discriminator_loss": ops.softplus(-real) + made,
        }

    def _judged(self, x, training):
        """The features of data, and the logit of its being real, shape (batch,)."""
        features = self.discriminator(x, training=training)
        logit = self.features_to_logit(features, training=training)
        return ops.cast(features, "float32"), ops.cast(logit[:, 0], "float32")
