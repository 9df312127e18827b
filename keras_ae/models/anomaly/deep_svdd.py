"""Deep one-class classification: Ruff et al. 2018, https://proceedings.mlr.press/v80/ruff18a.html."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ae import networks
from keras_ae.core import arguments, memory
from keras_ae.core.batching import batched
from keras_ae.core.examples import call, takes_inputs_of
from keras_ae.core.running_means import batch_mean, fading_rate, mix_variances, move, num_examples
from keras_ae.core.types import Array, ArrayOrTensor, Data, Tensor
from keras_ae.models.anomaly.base import make_statistic
from keras_ae.models.deterministic.ae import AE
from keras_ae.networks.fitting import refuse_misread_pictures

# A coordinate of the center that is nearer to zero is moved away to this, as in the authors' code.
_LEAST_COORDINATE = 0.1
# The radius, and the moments of the codes, are running means. A batch has this share in them.
_SHARE = 0.1
# Codes whose spread is a smaller share of that of untrained codes have collapsed.
_COLLAPSED = 1e-4
# Weights of these names are added to what a layer computes, whatever the data is.
_CONSTANTS = {"bias", "beta", "positions"}

# These layers are activations themselves.
_ACTIVATIONS = (keras.layers.ReLU, keras.layers.ELU, keras.layers.Softmax)


class DeepSVDD(AE):
    """Deep support vector data description: normal data has codes close to a fixed center.

    The encoder minimizes the squared distance of the codes from the center, eq. 4. With `nu` it
    minimizes the soft-boundary objective, eq. 3, instead: a sphere around the center, which a
    fraction nu of the examples may leave. The first `fit` computes the center, the mean of the
    codes of the untrained encoder over all data. It then stays fixed. `anomaly_score` of an example
    is the squared distance of its code, minus the squared radius if there is one.

    An encoder with biases or bounded activations could map all data to the center (propositions 2
    and 3). The model makes networks without biases, with leaky ReLUs, and refuses others. `fit`
    raises an error if the codes of all examples become equal in spite of this, as they may if a
    feature is constant. The log `relative_spread` is the spread of a batch's codes, the root of
    their total variance, divided by that of the untrained encoder over all data.

    The decoder is a player of its own: it learns to reconstruct the data from the codes, but has no
    influence on the encoder. The paper pretrains the encoder as an autoencoder. To do so, train
    `keras_ae.AE(encoder=network)` first, and pass this network.

    Args:
        latent_dim: Dimensions of the code. Defaults to 32.
        nu: Fraction of the examples that may lie outside of the sphere, a number above 0 and at
            most 1. Defaults to None, the objective without a radius, eq. 4.
        weight_decay: Factor lambda of half the sum of the encoder's squared kernels, a number of at
            least 0. Defaults to 1e-6.
        encoder, decoder, reconstruction_loss, network_options, seed, standardize: See
            `keras_ae.AE`. Layers of an encoder of your own have `use_bias=False`, and
            normalizations have `center=False`. Other activations than ReLU, leaky ReLU, SiLU and
            their like are refused.

    Raises:
        ValueError: If an argument is out of range, or if the encoder has biases or bounded
            activations.

    Example:

    >>> import numpy as np
    >>> from keras_ae import DeepSVDD
    >>> model = DeepSVDD(latent_dim=4, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
    >>> history = model.fit(x, epochs=5, verbose=0)
    >>> bool(model.anomaly_score(10 * x).mean() > model.anomaly_score(x).mean())
    True
    """

    objective = ("one_class_loss", "weight_decay_loss")
    players = {"decoder": ("reconstruction_loss",)}
    diagnostics = ("relative_spread",)
    _needs_data = True

    def __init__(
        self,
        latent_dim: int = 32,
        nu: float | None = None,
        weight_decay: float = 1e-6,
        **kwargs: Any,
    ):
        super().__init__(latent_dim, **kwargs)
        options = {"positive": True, "most": 1.0, "optional": True, "fixed": True}
        self.nu = arguments.number(self, "nu", nu, **options)
        self.weight_decay = arguments.number(self, "weight_decay", weight_decay)

    def _build_networks(self, shape, target_shape):
        if self.encoder == "transformer":
            raise ValueError(
                "DeepSVDD: encoder='transformer' adds a learned vector for each position, with "
                'which all codes could become equal. Choose "mlp", "conv" or "resnet".'
            )
        if not isinstance(self.encoder, keras.layers.Layer):
            refuse_misread_pictures(self, shape)
            options = {"activation": "leaky_relu", **self.network_options}
            made = networks.encoder(shape, self.encoder, dtype=self.dtype_policy, **options)
            config = _remove_biases(made.get_config())
            self.encoder = memory.guard_network(type(made).from_config(config))
        super()._build_networks(shape, target_shape)
        # Before `adapt`, no coordinate of the center is near zero, either.
        self._center = make_statistic(self, "center", np.full(self.latent_dim, _LEAST_COORDINATE))
        self._squared_radius = make_statistic(self, "squared_radius", 0.0)
        self._untrained_spread = make_statistic(self, "untrained_spread", 0.0)
        self._code_mean = make_statistic(self, "code_mean", np.zeros(self.latent_dim))
        self._code_variance = make_statistic(self, "code_variance", np.ones(self.latent_dim))

    def _fit_networks(self, shape, target_shape):
        self.features_to_code.layers[-1].use_bias = False
        super()._fit_networks(shape, target_shape)

    def _check_given(self):
        super()._check_given()
        constants = [v.path for v in self.encoder.weights if v.name in _CONSTANTS]
        if constants:
            raise ValueError(
                f"DeepSVDD: the encoder adds constants to its features ({', '.join(constants)}), "
                "with which all codes could become equal. Make its layers with use_bias=False and "
                "its normalizations with center=False, or leave encoder out."
            )
        for layer in self.encoder._flatten_layers():
            is_activation = isinstance(layer, _ACTIVATIONS)
            function = layer if is_activation else getattr(layer, "activation", None)
            if function is not None and not _is_unbounded(function):
                raise ValueError(
                    f"DeepSVDD: the activation of the encoder's layer {layer.name!r} is bounded by "
                    "a number other than 0, or is not 0 at 0, so that all codes could become "
                    'equal. Choose "relu", "leaky_relu" or "silu".'
                )

    def _adapt(self, passes):
        count, mean, squares = 0, 0.0, 0.0
        for x, inputs in passes:
            z = np.asarray(self.encode(x, verbose=0, **inputs), "float64")
            count += len(z)
            shift = z.mean(axis=0) - mean
            mean = mean + shift * len(z) / count
            squares += np.sum(np.square(z - z.mean(axis=0)))
            squares += np.sum(np.square(shift)) * len(z) * (count - len(z)) / count
        away = np.where(mean < 0, -_LEAST_COORDINATE, _LEAST_COORDINATE)
        self._center.assign(np.where(np.abs(mean) < _LEAST_COORDINATE, away, mean))
        spread = np.sqrt(squares / count)
        # If all examples are equal, what their codes differ by is rounding.
        is_noise = spread < 1e-5 * np.sqrt(np.sum(np.square(mean)))
        self._untrained_spread.assign(0.0 if is_noise else spread)

    @property
    def center(self) -> np.ndarray:
        """The center c, an array of shape (latent_dim,). The model must be built."""
        return ops.convert_to_numpy(self._center.value)

    @property
    def radius(self) -> float:
        """The radius R of the sphere, a float. It is 0 without `nu`. The model must be built."""
        return float(np.sqrt(ops.convert_to_numpy(self._squared_radius.value)))

    def _squared_distance(self, z):
        return ops.sum(ops.square(z - ops.convert_to_tensor(self._center)), axis=-1)

    @batched("code")
    def decode(self, z: Array | Tensor, training: bool = False) -> ArrayOrTensor:
        # Codes come ever closer to the center. The decoder reads them in units of their spread.
        z = ops.cast(z, "float32") - ops.convert_to_tensor(self._code_mean)
        variance = ops.convert_to_tensor(self._code_variance)
        return super().decode(z * ops.rsqrt(ops.maximum(variance, 1e-20)), training)

    def loss_weights(self) -> dict[str, Any]:
        return {"weight_decay_loss": self.weight_decay}

    @takes_inputs_of("_code", "decode")
    def loss_terms(self, x: Tensor, y: Tensor, training: bool, **inputs: Any) -> dict[str, Tensor]:
        z = call(self, self._code, x, training, inputs=inputs)
        if training:
            self._update_scale(ops.stop_gradient(z))
        parts = (self.encoder, self.features_to_code)
        kernels = [v for p in parts for v in p.trainable_variables if len(v.shape) > 1]
        return {
            "one_class_loss": self._one_class_loss(self._squared_distance(z), training),
            "weight_decay_loss": 0.5 * sum(ops.sum(ops.square(kernel)) for kernel in kernels),
            "relative_spread": self._relative_spread(z),
            **self._reconstruction_terms(y, z, training, x, **inputs),
        }

    def _update_scale(self, z):
        """Update the means and variances of the codes, in whose units the decoder reads them."""
        rate = fading_rate(ops.cast(self._step, "float32"), z, _SHARE)
        mean = batch_mean(z)
        now, shift = batch_mean(ops.square(z - mean)), mean - self._code_mean
        variance = mix_variances(self._code_variance, now, ops.square(shift), rate)
        self._code_variance.assign(variance)
        self._code_mean.assign(move(self._code_mean, mean, rate))

    def _one_class_loss(self, distance, training):
        """Compute eq. 4, or eq. 3 with `nu`, per example, from squared distances (batch,)."""
        if self.nu is None:
            return distance
        if training:
            rate = fading_rate(ops.cast(self._step, "float32"), distance, _SHARE)
            found = _find_quantile(ops.stop_gradient(distance), 1.0 - self.nu)
            self._squared_radius.assign(move(self._squared_radius, found, rate))
        squared_radius = ops.convert_to_tensor(self._squared_radius)
        return squared_radius + ops.relu(distance - squared_radius) / self.nu

    def _relative_spread(self, z):
        variance = ops.sum(batch_mean(ops.square(z - batch_mean(z))))
        untrained = ops.convert_to_tensor(self._untrained_spread)
        # One example has no spread, and equal examples never had any.
        is_known = ops.logical_and(num_examples(z) > 1, untrained > 0)
        return ops.where(is_known, ops.sqrt(variance) / ops.maximum(untrained, 1e-30), 1.0)

    def _check_epoch(self, logs):
        spread = logs["relative_spread"]
        if spread < _COLLAPSED:
            raise RuntimeError(
                "DeepSVDD: the codes of all examples have become equal: their spread is "
                f"{spread:.2g} of that of the untrained encoder, so that no score tells examples "
                "apart. Look for examples in x that are all equal, and for a sample_weight that is "
                "0 everywhere. Otherwise make a new model, with a smaller learning rate or fewer "
                "epochs."
            )

    @batched("data")
    @takes_inputs_of("_code")
    def anomaly_score(self, x: Data, **inputs: Any) -> ArrayOrTensor:
        """Compute the squared distance of every example's code from the center; high is anomalous.

        With `nu` the squared radius is subtracted: the score is then above 0 outside of the sphere.

        Args:
            x: Array or tensor of shape (batch, ...), or a stream of them as in `fit`.
            **inputs: The model's named inputs, one row for each example.

        Returns:
            Array or tensor of shape (batch,), float32.
        """
        distance = self._squared_distance(call(self, self._code, x, inputs=inputs))
        return distance if self.nu is None else distance - self._squared_radius


def _remove_biases(config):
    """Return the configuration of a network with the difference that no layer has a bias."""
    if isinstance(config, dict):
        names = ("use_bias", "center")
        return {k: False if k in names else _remove_biases(v) for k, v in config.items()}
    if isinstance(config, (list, tuple)):
        return type(config)(map(_remove_biases, config))
    return config


def _is_unbounded(activation):
    """Tell whether an activation is 0 at 0, and at the ends of the line either 0 or unbounded."""

    def value(number):  # A softmax needs several numbers.
        return float(ops.convert_to_numpy(activation(ops.full((1, 2), number)))[0, 0])

    ends = [(value(sign * 1e3), value(sign * 1e4)) for sign in (1.0, -1.0)]
    return abs(value(0.0)) < 1e-6 and all(abs(far) < 1e-6 or far != near for near, far in ends)


def _find_quantile(values, share):
    """Find the least of some values, (batch,), that at least this share of them does not exceed."""
    # A replica may get no examples. The number at the end then stands for a quantile.
    ordered = ops.concatenate([ops.sort(values), ops.zeros((1,))])
    count = num_examples(values)
    index = ops.clip(ops.ceil(share * count) - 1.0, 0.0, ops.maximum(count - 1.0, 0.0))
    return ops.take(ordered, ops.cast(index, "int32"))
