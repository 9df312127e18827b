"""Structured output by deep conditional generative models: Sohn, Lee and Yan 2015, NIPS 5775.

https://papers.nips.cc/paper/5775
"""

import math
from typing import Any

import keras
from keras import ops

from keras_ae import distributions, networks
from keras_ae.core import arguments
from keras_ae.core.types import Network, Tensor
from keras_ae.distributions import counted
from keras_ae.layers import gaussian, gaussian_kl
from keras_ae.models.variational.vae import VAE
from keras_ae.networks.fitting import refuse_misread_pictures, symbolic_call


class ConditionalVAE(VAE):
    """Minimizes the negative bound of log p(x | c) for a condition c, eq. 4, by one sample.

    The condition is a label, the input `label`, or with num_classes=None a vector or a picture, the
    input `condition`: `fit(x, label=y)`, `encode(x, label=y)`, `decode(z, label=y)`,
    `log_likelihood(x, label=y)`, `sample(16, label=3)`. The paper calls the condition x and the
    data y.

    The networks see the condition's features: a label as one-hot, a vector as it is, a picture
    through `condition_encoder`. They are joined to the code, and to every place of x. A condition
    with the axes of x, up to the channels, is instead joined to x as more channels.

    In training, the decoder reads codes of the posterior q(z | x, c), which knows x. `sample` draws
    codes from the prior p(z | c), which does not. `kl_loss` is the gap between the two in nats:
    where it is large, reconstructions say little about the quality of samples, and
    `log_likelihood` says more.

    Args:
        latent_dim: Dimensions of the code. Defaults to None, see `keras_ae.Autoencoder`.
        num_classes: Number of classes, of which labels are the integers from 0. None is for
            conditions that are no labels. Defaults to 10.
        prior: "learned" for a Gaussian p(z | c), whose mean and deviation a network computes from
            the condition's features, or "standard" for the standard normal. Defaults to "learned".
        condition_encoder: None, the name of a kind of network, or any Keras model from a condition
            (a label is one-hot) to features: see `keras_ae.Autoencoder`. Defaults to None, no
            network for labels and vectors, and a network that fits its shape for anything else.
        encoder, decoder, likelihood, kl_weight, free_bits, network_options, seed, standardize: See
            `keras_ae.VAE`. An encoder of your own reads x with the channels joined to it, a decoder
            the code followed by the features.

    Example:

    >>> import numpy as np
    >>> from keras_ae import ConditionalVAE
    >>> model = ConditionalVAE(latent_dim=2, num_classes=3, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).integers(0, 2, (64, 8)).astype("float32")
    >>> label = x[:, :2].sum(axis=1)
    >>> history = model.fit(x, label=label, epochs=1, verbose=0)
    >>> model.encode(x, label=label).shape, model.sample(3, seed=0, label=[0, 1, 2]).shape
    ((64, 2), (3, 8))
    """

    extra_inputs = ("label",)
    _input_dtypes = {"label": "int32"}

    def __init__(
        self,
        latent_dim: int | None = None,
        num_classes: int | None = 10,
        prior: str = "learned",
        condition_encoder: Network | None = None,
        **kwargs: Any,
    ):
        super().__init__(latent_dim, **kwargs)
        if num_classes is None:
            self.num_classes, self.extra_inputs = None, ("condition",)
        else:
            self.num_classes = arguments.integer(self, "num_classes", num_classes)
        arguments.choice(self, "prior", prior, ("learned", "standard"))
        self._has_learned_prior = prior == "learned"
        self.condition_encoder = networks.given_or_none(
            self, "condition_encoder", condition_encoder
        )
        self.prior_network = None

    def _check_values(self, name, values, call):
        if name != "label":
            return values
        least, most = self._label_range(call)
        low, high = values.min(), values.max()
        if low < least or high > most:
            raise ValueError(
                f"{type(self).__name__}: label holds values from {low:g} to {high:g}, and {call} "
                f"takes integers from {least} to {most}, because num_classes="
                f"{self.num_classes}. np.unique(label, return_inverse=True)[1] numbers known "
                "classes from 0."
            )
        return values

    def _label_range(self, call):
        return 0, self.num_classes - 1

    def _build_networks(self, shape, target_shape):
        given = self._condition_shape = self._find_condition_shape()
        kind = self.condition_encoder
        if kind is None:
            names = {"name": "condition", "argument": "condition_encoder", "are_classes": False}
            refuse_misread_pictures(self, given, **names)
        if isinstance(kind, str) or (kind is None and len(given) > 1):
            self.condition_encoder = self._make_network("condition_encoder", given, kind)
        if self.condition_encoder is not None:
            network = self.condition_encoder
            given = symbolic_call(self, "condition_encoder", network, (None, *given)).shape[1:]
        self._num_features = math.prod(given)
        if self._has_learned_prior:
            hidden = self._make_network("prior", (self._num_features,), "mlp")
            last = keras.layers.Dense(
                2 * self.latent_dim, dtype=self.dtype_policy, name="prior_parameters"
            )
            self.prior_network = keras.Sequential([hidden, last], name="prior_network")
            self.prior_network.build((None, self._num_features))
        super()._build_networks(shape, target_shape)

    def _find_condition_shape(self):
        if self.num_classes is not None:
            return (self.num_classes,)
        shape = self._extra_shapes.get("condition")
        if not shape:
            raise ValueError(
                f"{type(self).__name__}: the condition has rows of shape {shape}, and a vector or "
                "a picture is needed. Pass condition=c[:, None] for one number, and to build a "
                'dictionary of shapes with the keys "x" and "condition".'
            )
        return shape

    def _make_network(self, name, shape, kind):
        """Make a network from an array of this shape to features, with the model's options."""
        # The encoder's mask value may also be that of a Masking layer in a network of the user's.
        given = {**self.network_options, "mask_value": self._mask_value}
        options = networks.options_for(kind, shape, given)
        return networks.encoder(shape, kind, name, self.dtype_policy, **options)

    def _options_in_use(self):
        used = networks.options_for("mlp", (1,), self.network_options)
        return super()._options_in_use() | set(used if self._has_learned_prior else ())

    def _joins_channels(self, shape):
        """Whether the condition of data of this shape is joined to it as it is."""
        return self.num_classes is None and shape[:-1] == self._condition_shape[:-1]

    def _encoder_input_shape(self, shape):
        joined = self._joins_channels(shape)
        return (
            *shape[:-1],
            shape[-1] + (self._condition_shape[-1] if joined else self._num_features),
        )

    def _decoder_input_shape(self):
        return (self.latent_dim + self._num_features,)

    # ------------------------------------------------------------------ distributions

    def _features(self, inputs, training):
        """Compute the features of the condition, shape (batch, features)."""
        (condition,) = inputs.values()
        if self.num_classes is not None:
            condition = ops.one_hot(condition, self.num_classes, dtype="float32")
        if self.condition_encoder is not None:
            condition = self.condition_encoder(condition, training=training)
        return ops.reshape(ops.cast(condition, "float32"), (-1, self._num_features))

    def posterior(
        self, x: Tensor, training: bool = False, **inputs: Any
    ) -> distributions.DiagonalGaussian:
        """Make q(z | x, c): a `keras_ae.distributions.DiagonalGaussian` over (batch, latent_dim).

        Args:
            x: Tensor of shape (batch, ...).
            training: Whether layers such as dropout are active. Defaults to False.
            **inputs: The condition, a tensor.
        """
        if self._joins_channels(self._data_shape):
            channels = inputs["condition"]
        else:
            channels = self._features(inputs, training)
            axes = [1] * (len(self._data_shape) - 1)
            channels = ops.reshape(channels, (-1, *axes, self._num_features))
            channels = channels + ops.zeros_like(x[..., :1])  # The same at every place.
        if self._mask_value is not None and len(self._data_shape) > 1:
            # Padded steps stay padding.
            given = counted(x, self._mask_value)[..., None]
            channels = ops.where(given, channels, self._mask_value)
        return super().posterior(ops.concatenate([x, channels], axis=-1), training)

    def prior(
        self, like: Tensor, training: bool = False, **inputs: Any
    ) -> distributions.DiagonalGaussian:
        """Make p(z | c), or p(z) with prior="standard", for codes of a given tensor's shape.

        Args:
            like: Tensor of codes.
            training: Whether layers such as dropout are active. Defaults to False.
            **inputs: The condition, a tensor with one row for each code.
        """
        if not self._has_learned_prior:
            return super().prior(like)
        parameters = self.prior_network(self._features(inputs, training), training=training)
        return gaussian(parameters)

    def conditional(self, z: Tensor, training: bool = False, **inputs: Any) -> Any:
        """Make p(x | z, c), the likelihood's distribution over (batch, ...).

        Args:
            z: Tensor of shape (batch, latent_dim).
            training: Whether layers such as dropout are active. Defaults to False.
            **inputs: The condition, a tensor.
        """
        z = ops.concatenate([z, self._features(inputs, training)], axis=-1)
        return super().conditional(z, training)

    def loss_terms(self, x: Tensor, y: Tensor, training: bool, **inputs: Any) -> dict[str, Tensor]:
        q = self.posterior(x, training, **inputs)
        divergence = gaussian_kl(q, self.prior(q.mean, training, **inputs))
        z = q.sample(self.step_seed(training))
        return self.elbo_terms(y, z, divergence, training, **inputs)
