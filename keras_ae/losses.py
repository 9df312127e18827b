"""Reconstruction losses of plain autoencoders: any Keras loss, summed over each example."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ae.core import arguments, memory
from keras_ae.core.arguments import did_you_mean
from keras_ae.core.types import Loss, Tensor
from keras_ae.distributions import counted, event_sum, without_padding

# Keras averages these losses over the last axis, whose entries are independent. Other losses read
# the last axis as one vector, such as the probabilities of classes.
_ELEMENTWISE = {
    keras.losses.MeanSquaredError: keras.losses.mean_squared_error,
    keras.losses.MeanAbsoluteError: keras.losses.mean_absolute_error,
    keras.losses.MeanAbsolutePercentageError: keras.losses.mean_absolute_percentage_error,
    keras.losses.MeanSquaredLogarithmicError: keras.losses.mean_squared_logarithmic_error,
    keras.losses.BinaryCrossentropy: keras.losses.binary_crossentropy,
    keras.losses.BinaryFocalCrossentropy: keras.losses.binary_focal_crossentropy,
    keras.losses.Huber: keras.losses.huber,
    keras.losses.LogCosh: keras.losses.log_cosh,
    keras.losses.Poisson: keras.losses.poisson,
    keras.losses.Hinge: keras.losses.hinge,
    keras.losses.SquaredHinge: keras.losses.squared_hinge,
}
_FUNCTIONS = _ELEMENTWISE | {
    keras.losses.CategoricalCrossentropy: keras.losses.categorical_crossentropy,
    keras.losses.CategoricalFocalCrossentropy: keras.losses.categorical_focal_crossentropy,
    keras.losses.KLDivergence: keras.losses.kl_divergence,
    keras.losses.CosineSimilarity: keras.losses.cosine_similarity,
}
_BINARY = (keras.losses.BinaryCrossentropy, keras.losses.BinaryFocalCrossentropy)
_CATEGORICAL = (keras.losses.CategoricalCrossentropy, keras.losses.CategoricalFocalCrossentropy)
_CLASSWISE = (*_CATEGORICAL, keras.losses.KLDivergence)


@keras.saving.register_keras_serializable("keras_ae")
class MSSSIM(keras.losses.Loss):
    """1 - the multi-scale structural similarity of two pictures, one number for each example.

    Source: Wang, Simoncelli and Bovik 2003, doi:10.1109/ACSSC.2003.1292216, eq. 7; as a loss of
    autoencoders, arXiv:1511.06409. Height and width are halved four times. A picture that is too
    small is halved fewer times, and the weights of its scales are divided by their sum.

    Args:
        max_value: Largest value that a pixel may take; the smallest is 0. Defaults to 1.
        window: Side of the Gaussian window, an odd integer. Defaults to 11, with a standard
            deviation of 1.5 pixels. A smaller picture has a smaller window.
        name, reduction, dtype: See `keras.losses.Loss`.

    Example:

    >>> import numpy as np
    >>> from keras_ae import losses
    >>> x = np.random.default_rng(0).random((4, 28, 28, 1)).astype("float32")
    >>> [abs(float(v)) < 1e-5 for v in losses.MSSSIM().call(x, x)]
    [True, True, True, True]
    """

    WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)

    def __init__(
        self, max_value: float = 1.0, window: int = 11, name: str = "ms_ssim", **kwargs: Any
    ):
        super().__init__(name=name, **kwargs)
        self.max_value, self.window = max_value, window

    @memory.explains("Pass fewer or smaller pictures.")
    def __call__(self, y_true, y_pred, sample_weight=None):
        return super().__call__(y_true, y_pred, sample_weight)

    @memory.explains("Pass fewer or smaller pictures.")
    def call(self, y_true, y_pred):
        """Compute the loss of every example, (batch,), from (batch, height, width, channels)."""
        if len(y_true.shape) != 4:
            raise ValueError(
                f"ms_ssim compares pictures (batch, height, width, channels), but the data has "
                f"shape {tuple(y_true.shape)}. Reshape it, or choose another loss."
            )
        memory.refuse_beyond(
            # Means, variances and products take ten float32 numbers for each pixel.
            40.0 * math.prod(n or 1 for n in y_true.shape),
            f"ms_ssim: comparing pictures of shape {tuple(y_true.shape)}",
            "Pass fewer or smaller pictures.",
        )
        # Every channel is compared as a picture of its own.
        _, height, width, channels = y_true.shape
        pictures = [
            ops.reshape(ops.transpose(v, (0, 3, 1, 2)), (-1, height, width, 1))
            for v in (y_true, y_pred)
        ]
        side, count = min(height, width), 1
        while count < len(self.WEIGHTS) and side // 2 >= min(self.window, 7):
            side, count = side // 2, count + 1
        weights = [weight / sum(self.WEIGHTS[:count]) for weight in self.WEIGHTS[:count]]
        similarity = 1.0
        for scale, weight in enumerate(weights):
            luminance, structure = self._compare(*pictures)
            factor = structure if scale + 1 < count else luminance * structure
            factor = ops.reshape(ops.mean(factor, axis=(1, 2, 3)), (-1, channels))
            # A fractional power has no real value below 0, and no finite slope at 0.
            similarity = similarity * ops.power(ops.maximum(factor, 1e-6), weight)
            pictures = [ops.average_pool(v, (2, 2), (2, 2), padding="valid") for v in pictures]
        return 1.0 - ops.mean(similarity, axis=1)

    def _compare(self, a, b):
        """Compute luminance and contrast-structure at every position."""
        side = min(self.window, *((n - 1) // 2 * 2 + 1 for n in a.shape[1:3]))
        line = np.exp(-0.5 * ((np.arange(side) - side // 2) / 1.5) ** 2)
        line = (line / line.sum()).astype("float32")

        def blur(v):
            v = ops.conv(v, line.reshape(side, 1, 1, 1), padding="valid")
            return ops.conv(v, line.reshape(1, side, 1, 1), padding="valid")

        small, smaller = (0.01 * self.max_value) ** 2, (0.03 * self.max_value) ** 2
        mean_a, mean_b = blur(a), blur(b)
        product, squares = mean_a * mean_b, ops.square(mean_a) + ops.square(mean_b)
        luminance = (2.0 * product + small) / (squares + small)
        spread = blur(ops.square(a) + ops.square(b)) - squares
        structure = (2.0 * (blur(a * b) - product) + smaller) / (spread + smaller)
        return luminance, structure

    def get_config(self):
        config = super().get_config()
        return {**config, "max_value": self.max_value, "window": self.window}


@keras.saving.register_keras_serializable("keras_ae")
class Contrastive(keras.losses.Loss):
    """The cross-entropy, in nats, of telling which example of its batch a reconstruction is of.

    The logit of example j for the reconstruction of example i is -|output_i - target_j|^2 / (t D),
    where D is the mean of the squared distances between the targets of the batch, and t the
    temperature. So neither the unit of the data nor a constant added to it matters. Chance has the
    loss log(batch), which grows with the batch: compare losses of batches of one size only. An
    example of sample weight 0 is still one of those to choose from.

    Reconstructions need not equal the data: what all examples have in common is not learned.

    Source: InfoNCE, arXiv:1807.03748, eq. 4, where log(batch) minus the loss is a lower bound of
    the information, in nats, that a reconstruction holds about its example.

    Args:
        temperature: A number above 0. The smaller it is, the more the nearest wrong examples
            matter. Defaults to 0.1.
        name, reduction, dtype: See `keras.losses.Loss`.

    Raises:
        ValueError: If temperature is out of range.

    Example:

    >>> import numpy as np
    >>> from keras_ae import losses
    >>> x = np.eye(4, dtype="float32")
    >>> [round(float(v), 4) for v in losses.Contrastive(temperature=1.0).call(x, 0.0 * x)]
    [1.3863, 1.3863, 1.3863, 1.3863]
    >>> [round(float(v), 4) for v in losses.Contrastive(temperature=1.0).call(x, x)]
    [0.7437, 0.7437, 0.7437, 0.7437]
    """

    def __init__(self, temperature: float = 0.1, name: str = "contrastive", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self.temperature = arguments.number(
            "Contrastive", "temperature", temperature, positive=True
        )

    @memory.explains("Pass fewer examples.")
    def __call__(self, y_true, y_pred, sample_weight=None):
        return super().__call__(y_true, y_pred, sample_weight)

    @memory.explains("Pass fewer examples.")
    def call(self, y_true, y_pred):
        """Compute the loss of every example, (batch,), from tensors (batch, ...)."""
        width = math.prod(y_true.shape[1:])
        target, output = (
            ops.reshape(ops.cast(v, "float32"), (-1, width)) for v in (y_true, y_pred)
        )
        count = ops.cast(ops.shape(target)[0], "float32")
        # Around the mean, less of the numbers is lost to rounding.
        mean = ops.sum(target, axis=0) / ops.maximum(count, 1.0)
        target, output = target - mean, output - mean
        squares = ops.sum(ops.square(target), axis=-1)
        # The sum of the squared distances over all pairs is twice the count times this sum.
        spread = 2.0 * ops.sum(squares) / ops.maximum(count - 1.0, 1.0)
        # The square of the output would be the same in all logits of a row.
        logits = 2.0 * ops.matmul(output, ops.transpose(target)) - squares
        logits = logits / (self.temperature * ops.where(spread > 0.0, spread, 1.0))
        return ops.logsumexp(logits, axis=-1) - ops.diagonal(logits)

    def get_config(self):
        return {**super().get_config(), "temperature": self.temperature}


def get(identifier: Loss) -> Loss:
    """Find a Keras loss by its name. A loss is returned as it is.

    Args:
        identifier: A name as in `compile`, such as `"mean_squared_error"` or `"mse"`; `"ms_ssim"`
            or `"contrastive"`; a `keras.losses.Loss`; or a function of (y_true, y_pred) that Keras
            can save.

    Raises:
        ValueError: If the name is unknown, or the identifier is neither a name nor callable.

    Example:

    >>> from keras_ae import losses
    >>> losses.get("mse").__name__
    'mean_squared_error'
    """
    if isinstance(identifier, str):
        return _find_by_name(identifier)
    # Classes, layers and models can be called, too, but not with (y_true, y_pred).
    if not callable(identifier) or isinstance(identifier, (type, keras.Operation)):
        raise ValueError(
            f"reconstruction_loss={arguments.show(identifier)} is not a loss. Pass the name of a "
            "Keras loss, a keras.losses.Loss, or a function of (y_true, y_pred)."
        )
    return identifier


_OWN = {"ms_ssim": MSSSIM, "contrastive": Contrastive}


def _find_by_name(name):
    if name in _OWN:
        return _OWN[name]()
    try:
        found = keras.losses.get(name)
    except ValueError:
        found = None
    if found is None:
        names = [n for n, v in vars(keras.losses).items() if callable(v)] + [
            "mse",
            "mae",
            "bce",
            *_OWN,
        ]
        hint = did_you_mean(name, names)
        raise ValueError(
            f"reconstruction_loss={name!r} is not a Keras loss.{hint} See keras.losses for all."
        )
    return found() if isinstance(found, type) else found


@memory.explains("Pass fewer examples.")
def per_example(
    loss: Loss, target: Tensor, output: Tensor, mask_value: float | None = None
) -> Tensor:
    """Compute the loss of every example: the sum over all axes but the first.

    Keras averages "mean" losses over the last axis, so that twice as many elements would weigh the
    same. Here every element counts once, as in a log-likelihood.

    Args:
        loss: A Keras loss, or a function of (y_true, y_pred).
        target: Tensor of shape (batch, ...).
        output: Tensor of the same shape.
        mask_value: Number that all features of a padded step of the target equal. Such steps have
            no loss. It applies to targets of shape (batch, ..., features) with at least three
            axes. `Contrastive` compares sequences as if padded steps were zeros, of the
            reconstruction, too. Defaults to None, no padding.

    Returns:
        Tensor of shape (batch,), float32.

    Example:

    >>> import keras, numpy as np
    >>> from keras_ae import losses
    >>> ones, zeros = np.ones((2, 3)), np.zeros((2, 3))
    >>> values = losses.per_example(keras.losses.MeanSquaredError(), ones, zeros)
    >>> [float(v) for v in values]
    [3.0, 3.0]
    """
    target, output = ops.cast(target, "float32"), ops.cast(output, "float32")
    if compares_examples(loss):
        if mask_value is not None and len(target.shape) > 2:
            given = counted(target, mask_value)[..., None]
            target, output = (ops.where(given, v, 0.0) for v in (target, output))
        return loss.call(target, output)
    if mask_value is not None and len(target.shape) > 2:
        return without_padding(
            lambda steps, output: per_example(loss, steps, output), target, output, mask_value
        )
    function = loss.call if isinstance(loss, keras.losses.Loss) else loss
    if _is_one_of(loss, _ELEMENTWISE):
        # With a last axis of one element, Keras' mean over it is the element itself.
        return event_sum(function(target[..., None], output[..., None]))
    return event_sum(function(target, output))


def compares_examples(loss: Loss) -> bool:
    """Tell whether the loss of an example depends on the other examples of its batch."""
    return isinstance(loss, Contrastive)


def _is_one_of(loss, classes):
    """Tell whether a loss is an instance of one of the classes, or the function of one."""
    functions = [_FUNCTIONS[cls] for cls in classes]
    return isinstance(loss, tuple(classes)) or any(loss is function for function in functions)


def output_activation(loss: Loss) -> str:
    """Return the activation with which a decoder's output is what the loss expects."""
    if getattr(loss, "_fn_kwargs", {}).get("from_logits"):
        return "linear"
    if _is_one_of(loss, _BINARY):
        return "sigmoid"
    if _is_one_of(loss, _CATEGORICAL):
        return "softmax"
    return "linear"


def wanted_output(loss: Loss) -> str | None:
    """Return what a loss takes from the decoder, as in `keras_ae.networks.check_output`.

    None stands for any numbers.
    """
    from_logits = getattr(loss, "_fn_kwargs", {}).get("from_logits")
    if _is_one_of(loss, _BINARY):
        return "logits" if from_logits else "probabilities"
    if _is_one_of(loss, _CLASSWISE):
        return "class logits" if from_logits else "class probabilities"
    return "rates" if _is_one_of(loss, (keras.losses.Poisson,)) else None


def takes_classes(loss: Loss) -> bool:
    """Tell whether the last axis of the targets must hold the probabilities of classes."""
    return _is_one_of(loss, _CLASSWISE)


def takes_shares(loss: Loss) -> bool:
    """Tell whether all targets must lie between 0 and 1."""
    return _is_one_of(loss, (*_BINARY, *_CLASSWISE))


def is_constant_for_one(loss: Loss) -> bool:
    """Tell whether the loss leaves nothing to learn if the last axis has a single number.

    A softmax over one number is always 1, and the cosine of two such vectors is 1 or -1.
    """
    return _is_one_of(loss, (*_CATEGORICAL, keras.losses.CosineSimilarity))
