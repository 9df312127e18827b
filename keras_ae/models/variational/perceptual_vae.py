"""Deep Feature Consistent Variational Autoencoder: Hou et al. 2016, arXiv:1610.00291."""

import math
from typing import Any

import keras
from keras import ops

from keras_ae import losses, networks
from keras_ae.core import arguments
from keras_ae.core.types import Loss, Tensor
from keras_ae.distributions import counted, event_sum
from keras_ae.models.variational.vae import VAE


class PerceptualVAE(VAE):
    """A VAE whose reconstructions are compared in the features of a fixed network.

    The model minimizes kl_loss + weight * perceptual_loss, eq. 3 and 4. `perceptual_loss` is half
    the mean squared distance of the features, summed over the layers. `reconstruction_loss`, that
    of the pixels, is not minimized. Together with `kl_loss` it is the bound that `log_likelihood`
    tightens.

    Args:
        latent_dim: Dimensions of the code. Defaults to None, see `keras_ae.Autoencoder`.
        features: Keras model from data to the compared features, such as a classifier's
            activations: a tensor, or a list of tensors, one for each layer. The model is made not
            trainable. Alternatively, a loss that replaces the features: a `keras.losses.Loss`, or
            the name of one, such as "log_cosh" or "ms_ssim" (arXiv:1511.06409). Defaults to None, a
            network like the default encoder, whose random weights stay fixed. For pictures it ends
            in the map of features, because a vector of random features tells too little of them.
        weight: Factor of the perceptual loss, a positive number. Defaults to None, the number of
            values in an example. The mean over features then weighs as much as the sum over pixels
            in a likelihood. For random features, it is 16 times this number, as for a Gaussian
            likelihood with the scale 1/4, because the code would otherwise carry little.
        encoder, decoder, likelihood, kl_weight, free_bits, network_options, seed: See
            `keras_ae.VAE`. The reconstructions are the likelihood's means. The likelihood's scale
            cannot be learned, because no loss would train it.

    Example:

    >>> import keras, numpy as np
    >>> from keras_ae import PerceptualVAE
    >>> features = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, "tanh")])
    >>> model = PerceptualVAE(latent_dim=2, features=features, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).integers(0, 2, (64, 8)).astype("float32")
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> sorted(history.history)
    ['kl_loss', 'loss', 'perceptual_loss', 'reconstruction_loss']
    """

    objective = ("perceptual_loss", "kl_loss")
    diagnostics = ("reconstruction_loss",)
    _trains_likelihood = False
    # In files of before, random features are a vector, and weigh as much as others.
    _kept = {"compares_maps": False}
    _compares_maps = True

    def __init__(
        self,
        latent_dim: int | None = None,
        features: keras.Model | Loss | None = None,
        weight: float | None = None,
        **kwargs: Any,
    ):
        super().__init__(latent_dim, **kwargs)
        self.weight = arguments.number(self, "weight", weight, positive=True, optional=True)
        self._compares_by_loss = isinstance(features, (str, keras.losses.Loss))
        if self._compares_by_loss:
            try:
                self.features = losses.get(features)
            except ValueError as error:
                reason = str(error).replace("reconstruction_loss=", "features=")
                raise ValueError(f"{type(self).__name__}: {reason}") from error
            if losses.compares_examples(self.features):
                raise ValueError(
                    f"{type(self).__name__}: features={features!r} tells an example from the "
                    "others of its batch, and is no distance from its reconstruction. Choose "
                    "another loss, or keras_ae.AE(reconstruction_loss='contrastive')."
                )
        else:
            self.features = networks.given_or_none(self, "features", features)

    def _build_networks(self, shape, target_shape):
        super()._build_networks(shape, target_shape)
        if self._compares_by_loss:
            return
        if self.features is None:
            self.features = networks.encoder(
                target_shape,
                None,
                name="features",
                dtype=self.dtype_policy,
                grid=self._compares_maps and len(target_shape) > 2,
                **{"kernel_initializer": "he_uniform", **self.network_options},
            )
        self.features.trainable = False
        self.features(keras.KerasTensor((None, *target_shape)))

    def _options_in_use(self):
        given = self.arguments["features"] is not None
        return super()._options_in_use() if given else self.network_options.keys()

    def loss_weights(self) -> dict[str, Any]:
        weight = self.weight
        if weight is None:
            is_random = self.arguments["features"] is None and self._compares_maps
            weight = math.prod(self._target_shape) * (16 if is_random else 1)
        return {**super().loss_weights(), "perceptual_loss": weight}

    def _perceptual_loss(self, y, reconstruction):
        """Compute the distance of every example from its reconstruction, shape (batch,)."""
        if self._compares_by_loss:
            total = losses.per_example(self.features, y, reconstruction, self._mask_value)
            one_number = isinstance(self.features, losses.MSSSIM)
            return total if one_number else total / math.prod(y.shape[1:])
        if self._mask_value is not None and len(y.shape) > 2:
            # The reconstruction gets the data's padding, so that padding does not add to the
            # distance.
            given = counted(y, self._mask_value)[..., None]
            reconstruction = ops.where(given, reconstruction, y)
        pairs = zip(
            self._compute_feature_maps(y), self._compute_feature_maps(reconstruction), strict=True
        )
        return sum(
            0.5
            * event_sum(ops.square(ops.cast(a, "float32") - ops.cast(b, "float32")))
            / math.prod(a.shape[1:])
            for a, b in pairs
        )

    def _compute_feature_maps(self, x):
        found = self.features(x, training=False)
        return found if isinstance(found, (list, tuple)) else [found]

    def loss_terms(self, x: Tensor, y: Tensor, training: bool) -> dict[str, Tensor]:
        q = self.posterior(x, training)
        p = self.conditional(q.sample(self.step_seed(training)), training)
        return {
            **self._bound_terms(p.log_prob(y), q.kl_per_dimension()),
            "perceptual_loss": self._perceptual_loss(y, p.mean),
        }
