"""Autoencoding beyond pixels: Larsen et al. 2015, arXiv:1512.09300."""

from typing import Any

import keras
from keras import ops

from keras_ae import networks
from keras_ae.core import arguments
from keras_ae.core.types import Network, Tensor
from keras_ae.distributions import Normal
from keras_ae.models.variational.vae import VAE
from keras_ae.networks.fitting import symbolic_call


class VAEGAN(VAE):
    """A VAE whose reconstructions are compared in the features of a discriminator.

    There are three players, as in algorithm 1. The encoder minimizes `kl_loss` + `similarity_loss`.
    The latter is the negative log-likelihood of the data's features. The discriminator minimizes
    `discriminator_loss`, the cross-entropy of telling data from reconstructions and samples. The
    decoder minimizes `decoder_loss`, which is gamma times `similarity_loss` minus the
    discriminator's loss on reconstructions and samples. No player minimizes
    `reconstruction_loss`, that of the pixels. Together with `kl_loss` it is the bound that
    `log_likelihood` tightens.

    Args:
        latent_dim: Dimensions of the code. Defaults to None, see `keras_ae.Autoencoder`.
        gamma: Factor of the similarity in the decoder's loss, a number of at least 0. Defaults to
            1. With less, such as 0.01, the decoder follows the discriminator more than the data, so
            that the code carries less information.
        discriminator: Keras model from data to the features that are compared, or the name of a
            kind of network as for `encoder`. The model adds the layer from features to a logit.
            Defaults to None, a network like the default encoder. For pictures and sequences it ends
            in the map of features, because later layers describe little more than whether data is
            real. Its weights begin with `"he_uniform"`, which preserves the magnitude of the data,
            because the code would otherwise carry nothing until the features have grown.
        encoder, decoder, likelihood, kl_weight, free_bits, network_options, seed: See
            `keras_ae.VAE`. The reconstructions are the likelihood's means. The likelihood's scale
            cannot be learned, because no loss would train it. A `mask_value` is not possible,
            because the discriminator would recognize data by its padding.

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

    def __init__(
        self,
        latent_dim: int | None = None,
        gamma: float = 1.0,
        discriminator: Network | None = None,
        **kwargs: Any,
    ):
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
                f"VAEGAN: mask_value={self._mask_value!r} is not possible, because the "
                "discriminator would recognize data by its padding. Train on sequences of one "
                "length without mask_value, or use keras_ae.VAE."
            )

    def _build_networks(self, shape, target_shape):
        super()._build_networks(shape, target_shape)
        if self.discriminator is None or isinstance(self.discriminator, str):
            self.discriminator = networks.encoder(
                target_shape,
                self.discriminator,
                name="discriminator",
                dtype=self.dtype_policy,
                grid=networks.has_places(target_shape, self.discriminator),
                **{"kernel_initializer": "he_uniform", **self.network_options},
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

    def loss_terms(self, x: Tensor, y: Tensor, training: bool) -> dict[str, Tensor]:
        seed = self.step_seed(training)
        q = self.posterior(x, training)
        z = q.sample(seed)
        p = self.conditional(z, training)
        codes = keras.random.normal(ops.shape(z), dtype="float32", seed=seed)
        samples = self.conditional(codes, training).mean
        features, real = self._discriminate(y, training)
        features_again, again = self._discriminate(p.mean, training)
        _, sampled = self._discriminate(samples, training)
        similarity = -Normal(features_again, 1.0).log_prob(features)
        # The cross-entropy is softplus(-logit) for data, and softplus(logit) for reconstructions
        # and samples.
        made = ops.softplus(again) + ops.softplus(sampled)
        return {
            **self._bound_terms(p.log_prob(y), q.kl_per_dimension()),
            "similarity_loss": similarity,
            "decoder_loss": self.gamma * similarity - made,
            "discriminator_loss": ops.softplus(-real) + made,
        }

    def _discriminate(self, x, training):
        """Compute the features of data, and the logit of being real, shape (batch,)."""
        features = self.discriminator(x, training=training)
        logit = self.features_to_logit(features, training=training)
        return ops.cast(features, "float32"), ops.cast(logit[:, 0], "float32")
