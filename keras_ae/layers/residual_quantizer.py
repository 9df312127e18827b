"""A quantizer with several codebooks, each of which quantizes the residual of the previous one."""

from typing import Any

import keras
from keras import ops

from keras_ae.core import arguments
from keras_ae.core.types import Tensor
from keras_ae.layers.gradient_estimators import ESTIMATORS
from keras_ae.layers.vector_quantizer import (
    Quantized,
    Quantizer,
    VectorQuantizer,
    code_statistics,
)


@keras.saving.register_keras_serializable("keras_ae")
class ResidualQuantizer(Quantizer):
    """Replaces every vector with a sum of embeddings, one from each of several codebooks.

    The first codebook quantizes the vector, and each further codebook quantizes the residual that
    the previous ones leave. The losses are summed over the codebooks.

    Source: Zeghidour et al., SoundStream: An End-to-End Neural Audio Codec, section on the
    residual vector quantizer, arXiv:2107.03312.

    Args:
        num_codes: Number of embeddings in each codebook. Defaults to 256.
        depth: Number of codebooks, a positive integer. Defaults to 4.
        estimator: Estimator of the gradient through the quantizer, "straight_through" or
            "rotation". Defaults to "straight_through".
        seed: See `VectorQuantizer`. Defaults to None.
        **kwargs: `name`, and the arguments `learning`, `decay`, `k_means_start` and `restart_below`
            of `VectorQuantizer`.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> import numpy as np
        >>> layer = ResidualQuantizer(4, depth=3, seed=0)
        >>> z = np.random.default_rng(0).normal(size=(8, 5, 2)).astype("float32")
        >>> found = layer(z, training=True)
        >>> found.vectors.shape == (8, 5, 2), found.codes.shape == (8, 5, 3)
        (True, True)
    """

    def __init__(
        self,
        num_codes: int = 256,
        depth: int = 4,
        estimator: str = "straight_through",
        seed: int | None = None,
        **kwargs: Any,
    ):
        options = {name: kwargs.pop(name) for name in VectorQuantizer.OPTIONS if name in kwargs}
        super().__init__(**kwargs)
        self.depth = arguments.layers(self, "depth", depth)
        self.estimator = arguments.choice(self, "estimator", estimator, ESTIMATORS)
        self.seed = seed
        self.quantizers = [
            VectorQuantizer(
                num_codes,
                **options,
                seed=None if seed is None else seed + i,
                name=f"quantizer_{i + 1}",
            )
            for i in range(self.depth)
        ]
        self.num_codes, self.codebooks = num_codes, self.depth

    def build(self, z_shape):
        for quantizer in self.quantizers:
            quantizer.build(z_shape)
        self.built = True

    def look_up(self, codes: Tensor) -> Tensor:
        return sum(q.look_up(codes[..., i]) for i, q in enumerate(self.quantizers))

    def quantized(self, z: Tensor, training: bool) -> Quantized:
        residual, total, codes, losses = z, ops.zeros_like(z), [], {}
        for quantizer in self.quantizers:
            found = quantizer.quantized(residual, training)
            vectors = ops.stop_gradient(found.vectors)
            residual, total = residual - vectors, total + vectors
            codes.append(found.codes)
            losses = {name: losses.get(name, 0.0) + loss for name, loss in found.losses.items()}
        return Quantized(ESTIMATORS[self.estimator](z, total), ops.stack(codes, axis=-1), losses)

    def statistics(self, codes: Tensor) -> dict[str, Tensor]:
        found = [code_statistics(codes[..., i], self.num_codes) for i in range(self.depth)]
        return {name: sum(f[name] for f in found) / self.depth for name in found[0]}

    def get_config(self):
        names = ("num_codes", "depth", "estimator", "seed")
        own = {name: getattr(self, name) for name in names}
        options = {name: getattr(self.quantizers[0], name) for name in VectorQuantizer.OPTIONS}
        return {**super().get_config(), **own, **options}
