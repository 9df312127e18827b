"""Ladder Variational Autoencoders: Sønderby et al. 2016, arXiv:1602.02282."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_ae import schedules
from keras_ae.core import arguments
from keras_ae.core.batching import batched
from keras_ae.core.draws import draw_normal
from keras_ae.core.types import ArrayOrTensor, Data, Weight
from keras_ae.distributions import DiagonalGaussian
from keras_ae.layers import LadderLayer, draw_with_divergence, gaussian
from keras_ae.models.hierarchical.base import HierarchicalVAE


class LadderVAE(HierarchicalVAE):
    """A VAE with layers of latent variables, each inferred from the data and the layer above it.

    The prior leads downwards: z_L is a standard normal, and z_i is a Gaussian given z_(i+1).
    Networks that lead upwards compute statistics of every z_i. The posterior of z_L is their
    Gaussian, and below it the posterior of z_i is the product of their Gaussian and the prior. The
    data depends only on z_1, which is therefore the code. `encode` infers it through all layers,
    and `sample` draws it through all priors. `encode_layers` returns the codes of all layers.

    Args:
        latent_dim: Dimensions of the code z_1, the lowest layer. Defaults to 16.
        upper_dims: Dimensions of the layers above it, lowest first, such as `(8, 4)`. `()` makes a
            plain VAE. Defaults to None, two layers with a half and a quarter of latent_dim.
        units: Sizes of the dense layers of each network between two layers, upwards and downwards.
            Defaults to (128,).
        layer_weights: List of factors of the layers' divergences in training, z_1's first. They are
            numbers or schedules of the step, for a warm-up layer by layer. They multiply
            `kl_weight`. `weighted_kl_loss` is then minimized, and the bound stays in the logs.
            Defaults to None, all 1.
        kl_weight: See `keras_ae.VAE`. Defaults to None, a warm-up from 0 to 1 in 1,000 steps, as in
            arXiv:1602.02282, where it takes 200 epochs. The code would otherwise learn late.
        encoder, decoder, likelihood, network_options, seed: See `keras_ae.VAE`.
        free_bits: Nats of each layer that are exempt from the penalty. Defaults to 0.

    Example:

    >>> import numpy as np
    >>> from keras_ae import LadderVAE
    >>> model = LadderVAE(latent_dim=4, upper_dims=(2,), units=(8,), seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).integers(0, 2, (64, 8)).astype("float32")
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> sorted(history.history)
    ['kl_loss', 'kl_loss_1', 'kl_loss_2', 'loss', 'reconstruction_loss']
    >>> model.encode(x).shape, model.sample(3, seed=0, temperature=0.7).shape
    ((64, 4), (3, 8))
    """

    def __init__(
        self,
        latent_dim: int = 16,
        upper_dims: Sequence[int] | None = None,
        units: Sequence[int] = (128,),
        layer_weights: Sequence[Weight] | None = None,
        kl_weight: Weight | None = None,
        **kwargs: Any,
    ):
        kl_weight = schedules.LinearWarmUp(1000) if kl_weight is None else kl_weight
        super().__init__(latent_dim, kl_weight=kl_weight, **kwargs)
        if upper_dims is None:
            upper_dims = (max(1, self.latent_dim // 2), max(1, self.latent_dim // 4))
        example = "(8, 4), or () for one layer"
        upper_dims = arguments.sizes(self, "upper_dims", upper_dims, example, may_be_empty=True)
        self._make_layers((self.latent_dim, *upper_dims), layer_weights)
        self.units = units
        self.upward, self.upper_statistics, self.downward, self.lower_layers = [], [], [], []

    def _build_networks(self, shape, target_shape):
        super()._build_networks(shape, target_shape)
        features = self.encoder(keras.KerasTensor((None, *shape)))
        dtype = self.dtype_policy
        self._flatten = keras.layers.Flatten(dtype=dtype, name="flatten_features")
        features = self._flatten(features)
        for number, size in enumerate(self._layer_dims[1:], start=2):
            self.upward.append(self._make_mlp(f"up_{number}", features.shape[-1], self.units))
            features = self.upward[-1](features)
            head = keras.layers.Dense(2 * size, dtype=dtype, name=f"statistics_{number}")
            head(features)
            self.upper_statistics.append(head)
            self.downward.append(self._make_mlp(f"down_{number}", size, self.units))
            below = LadderLayer(self._layer_dims[number - 2], name=f"layer_{number - 1}")
            below(self.downward[-1](keras.KerasTensor((None, size))))
            self.lower_layers.append(below)

    def _evidence(self, x, training):
        features = self.encoder(x, training=training)
        evidence = [self.features_to_code(features, training=training)]
        features = self._flatten(features)
        for network, head in zip(self.upward, self.upper_statistics, strict=True):
            features = network(features, training=training)
            evidence.append(head(features))
        return evidence

    def _infer(self, evidence, seed, training, estimate=False):
        top = gaussian(evidence[-1])
        standard = DiagonalGaussian.standard(top.mean)
        z, divergence = draw_with_divergence(top, standard, seed, estimate)
        draws, parts = [z], [ops.sum(divergence, axis=-1)]
        for number in range(self._num_layers - 2, -1, -1):
            z, divergence = self.lower_layers[number](
                self.downward[number](z, training=training),
                evidence[number],
                seed=seed,
                estimate=estimate,
            )
            draws.insert(0, z)
            parts.insert(0, ops.sum(divergence, axis=-1))
        return draws, z, ops.stack(parts, axis=1)

    def _code(self, draws):
        return draws[0]

    @batched("data")
    def encode_layers(
        self, x: Data, training: bool = False, sample: bool = False, seed: int | None = None
    ) -> ArrayOrTensor:
        """Encode data as the codes of all layers: (batch, sum of their dimensions), z_1 first."""
        evidence = self._evidence(x, training)
        draws, _, _ = self._infer(evidence, seed if sample else None, training)
        return ops.concatenate(draws, axis=-1)

    def _draw_prior(self, num_samples, seed, temperature=1.0):
        shape = (num_samples, self._layer_dims[-1])
        z = temperature * draw_normal(shape, seed)
        for number in range(self._num_layers - 2, -1, -1):
            above = self.downward[number](z, training=False)
            z, _ = self.lower_layers[number](above, seed=seed, temperature=temperature)
        return z
