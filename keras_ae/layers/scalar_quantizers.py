"""Quantizers without a learned codebook: every dimension takes one of a few values."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ae.core import arguments, memory
from keras_ae.core.types import Tensor
from keras_ae.layers.gradient_estimators import straight_through
from keras_ae.layers.vector_quantizer import Quantized, Quantizer, per_example

# Near 1 and -1, tanh has 32 float32 values for each of so many levels. With four times as many
# levels, the rounding errors of some backends leave codes out.
MOST_LEVELS = 2**20
TOO_MANY_LEVELS = (
    f"float32 cannot tell more than {MOST_LEVELS} values of a dimension apart. Take more "
    "dimensions with fewer levels."
)


def digits_of_codes(codes, levels):
    """Split codes into their digits, the lowest digit first.

    Args:
        codes: Int32 tensor of shape (...).
        levels: Tuple of integers: the number of values of each digit.

    Returns:
        Int32 tensor of shape (..., digits).

    Example:
        >>> import numpy as np
        >>> from keras import ops
        >>> ops.convert_to_numpy(digits_of_codes(np.array([13]), (3, 5))).tolist()
        [[1, 4]]
    """
    codes = ops.cast(codes, "int32")[..., None]
    levels_of_digits = ops.convert_to_tensor(np.array(levels, "int32"))
    return ops.mod(ops.floor_divide(codes, _weights_of_digits(levels)), levels_of_digits)


def codes_of_digits(digits, levels):
    """Combine digits (..., digits) into codes, an int32 tensor (...): see `digits_of_codes`."""
    return ops.sum(ops.cast(digits, "int32") * _weights_of_digits(levels), axis=-1)


def _weights_of_digits(levels):
    return ops.convert_to_tensor(np.cumprod([1, *levels[:-1]]).astype("int32"))


def check_num_codes(owner, levels, times=1):
    """Raise an error unless a code with these digits, repeated `times` times, fits into an int32.

    Args:
        owner: The layer or model whose class the error names.
        levels: The number of values of each digit.
        times: How often these digits are repeated. Defaults to 1.

    Raises:
        ValueError: If there are 2 ** 31 codes or more.
    """
    # The check begins with logarithms, because the product over a million digits would be too
    # large to compute or to print.
    exponent = times * sum(map(math.log10, levels))
    if exponent > 10 or math.prod(levels) ** times >= 2**31:
        raise ValueError(
            f"{type(owner).__name__}: {times * len(levels)} numbers of up to {max(levels)} levels "
            f"make about 10^{exponent:.1f} codes, but 32 bits hold at most {2**31 - 1}. Take fewer "
            "dimensions (latent_dim) or fewer levels."
        )


class _ScalarQuantizer(Quantizer):
    """Base class of quantizers whose codes have a digit for each dimension.

    The first dimension is the lowest digit of a code. `levels` holds the number of values of each
    digit.
    """

    def _set_levels(self, levels):
        check_num_codes(self, levels)
        self.levels = levels
        self.num_codes = math.prod(self.levels)

    def build(self, z_shape):
        if z_shape[-1] != len(self.levels):
            raise ValueError(
                f"{type(self).__name__}: the input has shape {tuple(z_shape)}, but the layer "
                f"quantizes vectors of {len(self.levels)} numbers. Make its last axis that long."
            )
        self.built = True

    def _digits_to_codes(self, digits):
        return codes_of_digits(digits, self.levels)

    def _codes_to_digits(self, codes):
        return ops.cast(digits_of_codes(codes, self.levels), "float32")


@keras.saving.register_keras_serializable("keras_ae")
class FiniteScalarQuantizer(_ScalarQuantizer):
    """Bounds every dimension and rounds it to one of a few values, so that the codebook is a grid.

    Dimension i takes levels[i] evenly spaced values. An odd number of them spans -1 to 1. An even
    number starts at -1, too, but has one value more below zero than above. There are no losses.

    Two things differ from the paper, because its formula would leave codes unused or leave the
    range. With two levels, -1 and 0, the sign decides between them; the paper's shift, which maps
    zero to zero, would put zero next to the upper bound. From 1,001 levels on, the bound lies half
    a step beyond the outermost values, instead of a thousandth of the whole range.

    Source: Mentzer et al., Finite Scalar Quantization: VQ-VAE Made Simple, arXiv:2309.15505.

    Args:
        levels: Tuple of integers from 2 to 2 ** 20, one for each dimension, such as (8, 5, 5, 5).
        **kwargs: `name`.

    Raises:
        ValueError: If the levels are not such a tuple.

    Example:
        >>> import numpy as np
        >>> layer = FiniteScalarQuantizer((3, 5))
        >>> found = layer(np.array([[0.0, 9.0]], "float32"))
        >>> np.round(np.array(found.vectors), 3).tolist(), np.array(found.codes).tolist()
        ([[0.0, 1.0]], [13])
        >>> np.array(layer.vectors(found.codes)).tolist()
        [[0.0, 1.0]]
    """

    def __init__(self, levels: Sequence[int], **kwargs: Any):
        super().__init__(**kwargs)
        example = "(8, 5, 5, 5)"
        levels = arguments.sizes(self, "levels", levels, example, least=2)
        if max(levels) > MOST_LEVELS:
            wanted = f"a tuple of integers from 2 to {MOST_LEVELS}"
            raise arguments.refusal(self, "levels", levels, wanted, TOO_MANY_LEVELS)
        self._set_levels(levels)

    def quantized(self, z: Tensor, training: bool) -> Quantized:
        half, highest = self._limits()
        on_grid = self._scale(z)
        # What rounding makes of a number between the outermost value and the bound may lie outside.
        rounded = ops.clip(ops.round(ops.stop_gradient(on_grid)), -half, highest)
        codes = self._digits_to_codes(rounded + half)
        return Quantized(straight_through(on_grid / half, rounded / half), codes, {})

    def bounded(self, z: Tensor) -> Tensor:
        """Bound z, of shape (batch, ..., dim), by the outermost values, before rounding."""
        return self._scale(z) / self._limits()[0]

    def _scale(self, z):
        """Bound z so that rounding gives an integer for each level.

        levels // 2 of these integers are negative.
        """
        levels = np.array(self.levels)
        # The bound lies slightly beyond the outermost values, so that they are reached.
        width = (levels - 1) / 2 + np.minimum((levels - 1) * 5e-4, 0.5)
        offset = np.where(levels % 2 == 0, 0.5, 0.0)
        shift = np.where(levels == 2, 0.0, np.arctanh(offset / width))  # z = 0 stays 0.
        width, offset, shift = (
            ops.convert_to_tensor(v.astype("float32")) for v in (width, offset, shift)
        )
        return ops.tanh(z + shift) * width - offset

    def _limits(self):
        """Return levels // 2, which is minus the lowest integer of `_scale`, and the highest."""
        levels = np.array(self.levels, "float32")
        half = np.floor(levels / 2)
        return ops.convert_to_tensor(half), ops.convert_to_tensor(levels - 1 - half)

    def look_up(self, codes: Tensor) -> Tensor:
        half, _ = self._limits()
        return (self._codes_to_digits(codes) - half) / half

    def get_config(self):
        return {**super().get_config(), "levels": list(self.levels)}


@keras.saving.register_keras_serializable("keras_ae")
class LookupFreeQuantizer(_ScalarQuantizer):
    """Replaces every dimension by its sign, so that the 2 ** dim codes are the corners of a cube.

    `"entropy_loss"` is E[H(q(c | z))] - H(E[q(c | z)]). It is low if the code of every vector is
    certain and all codes are used equally often. q is the softmax over the corners c of
    -||z - c||^2 / temperature, under which the signs are independent. `"commitment_loss"` is
    ||z - sg(sign(z))||^2.

    Source: Yu et al., Language Model Beats Diffusion: Tokenizer is Key to Visual Generation,
    section 3.1, arXiv:2310.05737.

    Args:
        num_bits: Dimensions of the vectors, an integer between 1 and 30.
        temperature: Temperature of q, a positive number. Defaults to 1.
        group: The entropy of the average, H(E[q]), is computed for groups of this many signs,
            because it sums over all codes of a group, 2 ** group in number. It is exact within a
            group and treats groups as independent. Defaults to 8.
        **kwargs: `name`.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> import numpy as np
        >>> layer = LookupFreeQuantizer(3)
        >>> found = layer(np.array([[0.3, -2.0, 1.5]], "float32"))
        >>> np.array(found.vectors).tolist(), np.array(found.codes).tolist()
        ([[1.0, -1.0, 1.0]], [5])
        >>> sorted(found.losses)
        ['commitment_loss', 'entropy_loss']
    """

    def __init__(self, num_bits: int, temperature: float = 1.0, group: int = 8, **kwargs: Any):
        super().__init__(**kwargs)
        self.num_bits = arguments.integer(self, "num_bits", num_bits)
        check_num_codes(self, (2,), self.num_bits)
        self.temperature = arguments.number(self, "temperature", temperature, positive=True)
        self.group = arguments.integer(self, "group", group)
        codes = 2 ** min(self.group, self.num_bits)
        memory.refuse_beyond(
            4.0 * codes * (self.num_bits + 2),
            f"LookupFreeQuantizer: the entropy over group={group} signs at a time, {codes} codes,",
            "Take a smaller group, such as 8.",
        )
        self._set_levels([2] * self.num_bits)

    def quantized(self, z: Tensor, training: bool) -> Quantized:
        positive = ops.stop_gradient(z) > 0
        signs = ops.where(positive, 1.0, -1.0)
        losses = {
            "commitment_loss": per_example(ops.square(z - signs)),
            "entropy_loss": self.entropy_loss(z),
        }
        return Quantized(straight_through(z, signs), self._digits_to_codes(positive), losses)

    def entropy_loss(self, z: Tensor) -> Tensor:
        """Compute the entropy loss of every example, (batch,), for z (batch, ..., num_bits)."""
        # These are the logits of a positive sign: (z + 1)^2 - (z - 1)^2 = 4 z.
        logits = 4.0 * z / self.temperature
        each = ops.softplus(logits) - logits * ops.sigmoid(logits)  # The entropy of every sign.
        logits = ops.reshape(logits, (-1, self.num_bits))
        average = 0.0
        for start in range(0, self.num_bits, self.group):
            average = average + _entropy_of_average(logits[:, start : start + self.group])
        return per_example(each) - average

    def look_up(self, codes: Tensor) -> Tensor:
        return 2.0 * self._codes_to_digits(codes) - 1.0

    def get_config(self):
        own = {"num_bits": self.num_bits, "temperature": self.temperature, "group": self.group}
        return {**super().get_config(), **own}


def _entropy_of_average(logits):
    """Compute the entropy of the average, over the rows, of the joint distribution of the signs.

    The signs of a row are independent.
    """
    num_bits = logits.shape[-1]
    bits = np.arange(2**num_bits)[None] >> np.arange(num_bits)[:, None] & 1
    corners = ops.convert_to_tensor(bits.astype("float32"))
    log_joint = ops.matmul(ops.log_sigmoid(logits), corners)
    log_joint = log_joint + ops.matmul(ops.log_sigmoid(-logits), 1.0 - corners)
    # The rows are counted by a sum, because `torch.export` would fix the number that a shape has.
    size = ops.maximum(ops.sum(ops.ones_like(logits[:, 0])), 1.0)
    average = ops.sum(ops.exp(log_joint), axis=0) / size
    return -ops.sum(average * ops.log(ops.maximum(average, 1e-30)))
