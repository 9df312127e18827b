"""The linear autoencoder: Baldi and Hornik 1989, doi:10.1016/0893-6080(89)90014-2."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ae.autoencoder import Autoencoder
from keras_ae.core import arguments, building, inputs, memory
from keras_ae.core.batching import batched
from keras_ae.core.seeds import default_seed
from keras_ae.core.types import Array, ArrayOrTensor, Data, Tensor
from keras_ae.samplers import CodeDensity


class LinearAE(Autoencoder):
    """An autoencoder with one linear layer on either side, which learns PCA.

    The data is flattened, centered at its mean, and divided by one number, the root of the mean
    variance of an element, both of which the first `fit` finds in the data. So the losses have no
    unit, and the principal components are those of the data. The squared error has no minima but
    global ones, in which the decoder spans the first principal components (Baldi and Hornik). Codes
    are their coordinates in some basis of this space.

    At the end of `fit`, the singular vectors of the decoder's weights, an orthonormal basis, are
    turned to the axes of the data's variance in their space: `components` and `explained_variance`
    are those of `sklearn.decomposition.PCA`. With a weight decay, the decoder's left singular
    vectors become these axes by themselves (Kunin et al. 2019, arXiv:1901.08168; Plaut 2018,
    arXiv:1804.10253), but slowly, and component i is reconstructed with the factor
    1 - weight_decay / variance_i. Its variance here is that of the scaled data.

    Args:
        latent_dim: Number of components. Defaults to 16.
        weight_decay: Factor lambda of the sum of both layers' squared kernels, a number of at least
            0. Defaults to 0, which is PCA.
        seed: See `keras_ae.Autoencoder`.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> import keras, numpy as np
    >>> from keras_ae import LinearAE
    >>> x = np.random.default_rng(0).normal(size=(256, 4)) * [9, 3, 0.1, 0.1]
    >>> model = LinearAE(latent_dim=2, seed=0)
    >>> model.compile(keras.optimizers.Adam(0.01))
    >>> history = model.fit(x, epochs=50, verbose=0)
    >>> np.abs(model.components).round().tolist()
    [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]]
    """

    objective = (*Autoencoder.objective, "weight_decay_loss")
    # The model is linear, and scales the data itself.
    _without = ("encoder", "decoder", "network_options", "standardize")
    _needs_data = True
    _scales_data = True

    def __init__(
        self,
        latent_dim: int = 16,
        weight_decay: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(latent_dim, seed=seed, **kwargs)
        self.weight_decay = arguments.number(self, "weight_decay", weight_decay)

    def _build_networks(self, shape, target_shape):
        if shape != target_shape:
            raise ValueError(
                f"LinearAE: targets have shape {target_shape}, but the model reconstructs its "
                f"inputs, of shape {shape}. Call fit(x) without a target."
            )
        width = math.prod(shape)
        memory.refuse_beyond(
            32.0 * self.latent_dim * width,
            f"LinearAE: {self.latent_dim} components of {width} numbers",
            "Take fewer components (latent_dim), or smaller examples.",
        )
        start = keras.initializers.Orthogonal(seed=default_seed())
        self.encoder = keras.layers.Dense(
            self.latent_dim,
            use_bias=False,
            kernel_initializer=start,
            dtype="float32",
            name="encoder",
        )
        self.decoder = keras.layers.Dense(width, dtype="float32", name="decoder")
        self.encoder.build((None, width))
        self.decoder.build((None, self.latent_dim))
        # The model begins as the projection to a random space.
        self.decoder.kernel.assign(ops.transpose(self.encoder.kernel))
        self.sampler = CodeDensity(self.code_shape, name="sampler")
        self._center = self._make_state("center", (width,))
        self._scale = self._make_state("scale", (), "ones")
        number = min(self.latent_dim, width)
        self._components = self._make_state("components", (number, width))
        self._explained_variance = self._make_state("explained_variance", (number,))
        self._step_of_components = building.make_counter(self, "step_of_components")

    def _make_state(self, name, shape, initializer="zeros"):
        return self.add_weight(
            shape=shape,
            initializer=initializer,
            dtype="float32",
            trainable=False,
            autocast=False,
            aggregation="only_first_replica",
            name=name,
        )

    def _batch_numbers(self, batch_size):
        return 2 * batch_size * math.prod(self._data_shape)

    def _step_numbers(self, batch_size):
        return batch_size * (5 * math.prod(self._data_shape) + 3 * self.latent_dim)

    # ------------------------------------------------------------------ what the data tells

    def _adapt(self, passes):
        """Find the mean of the data, and the root of the mean variance of an element."""
        first, count, total, squares = None, 0, 0.0, 0.0
        for x, _ in passes:
            rows = x.reshape(len(x), -1).astype("float64")
            first = rows[0] if first is None else first
            count += len(rows)
            total = total + (rows - first).sum(axis=0)
            squares = squares + np.square(rows - first).sum(axis=0)
        shift = total / count
        center, scale = first + shift, math.sqrt(np.mean(squares / count - shift**2).clip(0.0))
        self._center.assign(center)
        # The deviation of data that does not vary is rounding.
        self._scale.assign(scale if scale > 1e-6 * np.abs(center).max() else 1.0)

    def _finish_training(self, passes):
        """Find the axes of the data's variance in the space that the decoder spans."""
        if not passes.can_repeat():
            return
        kernel, center = (
            ops.convert_to_numpy(ops.convert_to_tensor(v)).astype("float64")
            for v in (self.decoder.kernel, self._center)
        )
        basis = np.linalg.svd(kernel, full_matrices=False)[2]
        count, total, products = 0, 0.0, 0.0
        for x, _ in passes:
            rows = (x.reshape(len(x), -1) - center) @ basis.T
            count, total = count + len(rows), total + rows.sum(axis=0)
            products = products + rows.T @ rows
        scatter = products - np.outer(total, total) / count
        variances, axes = np.linalg.eigh(scatter / max(count - 1, 1))
        components = (axes.T @ basis)[::-1]
        # The largest entry of each component is positive, as in scikit-learn.
        largest = np.abs(components).argmax(axis=1)[:, None]
        components *= np.where(np.take_along_axis(components, largest, axis=1) < 0, -1.0, 1.0)
        self._components.assign(components)
        self._explained_variance.assign(np.maximum(variances[::-1], 0.0))
        self._step_of_components.assign(ops.convert_to_numpy(ops.convert_to_tensor(self._step)))

    def _require_components(self, name):
        inputs.require_built(self, name)
        steps = [int(ops.convert_to_numpy(v.value)) for v in (self._step_of_components, self._step)]
        if steps[0] != steps[1] or not steps[0]:
            raise RuntimeError(
                f"LinearAE.{name}: the principal components are found at the end of fit(x). Call "
                "it with an array, a tf.data.Dataset or a keras.utils.PyDataset, which can be read "
                "again."
            )

    @property
    def components(self) -> np.ndarray:
        """The principal components, orthonormal and in the order of their variance.

        An array of shape (latent_dim, ...), each of the shape of an example. There are at most as
        many as an example has elements. The model must have been trained by `fit`.
        """
        self._require_components("components")
        return ops.convert_to_numpy(self._components.value).reshape(-1, *self._data_shape)

    @property
    def explained_variance(self) -> np.ndarray:
        """The data's variance along each component, an array of shape (latent_dim,).

        The sum of squares is divided by the number of examples minus 1. The model must have been
        trained by `fit`.
        """
        self._require_components("explained_variance")
        return ops.convert_to_numpy(self._explained_variance.value)

    # ------------------------------------------------------------------ the model

    def _scaled(self, x):
        """Flatten, center and scale data of shape (batch, ...)."""
        rows = ops.reshape(ops.cast(x, "float32"), (-1, math.prod(self._data_shape)))
        return (rows - self._center) / self._scale

    @batched("data")
    def encode(self, x: Data, training: bool = False) -> ArrayOrTensor:
        return self.encoder(self._scaled(x))

    @batched("code")
    def decode(self, z: Array | Tensor, training: bool = False) -> ArrayOrTensor:
        output = self.decoder(ops.cast(z, "float32")) * self._scale + self._center
        return ops.reshape(output, (-1, *self._data_shape))

    def loss_weights(self) -> dict[str, Any]:
        return {"weight_decay_loss": self.weight_decay}

    def loss_terms(self, x: Tensor, y: Tensor, training: bool) -> dict[str, Tensor]:
        z = self.encode(x)
        if training:
            self.sampler.update(z)
        kernels = (self.encoder.kernel, self.decoder.kernel)
        return {
            "reconstruction_loss": ops.sum(ops.square(self._scaled(y) - self.decoder(z)), axis=-1),
            "weight_decay_loss": sum(ops.sum(ops.square(kernel)) for kernel in kernels),
        }
