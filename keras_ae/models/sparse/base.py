"""The base class of sparse autoencoders, with the dictionary and the scale of the data."""

import math
from typing import Any

import numpy as np
from keras import ops

from keras_ae import sparsity
from keras_ae.autoencoder import Autoencoder
from keras_ae.core import arguments, inputs, seeds
from keras_ae.core.batching import batched, default_batch_size
from keras_ae.core.types import Array, ArrayOrTensor, Data, Tensor
from keras_ae.layers.dictionary import DataScale, Dictionary
from keras_ae.samplers import FeatureDensity


class DictionaryAE(Autoencoder):
    """Base class of sparse autoencoders, whose codes say which features an example consists of.

    The data is flattened, centered at its median and scaled by its spread. Both are estimated from
    the first 100 batches of training (see `keras_ae.layers.dictionary.DataScale`). `encode` takes
    unscaled data, and `decode` returns unscaled data. Each active feature adds its direction, of
    length 1, times its number in the code. `reconstruction_loss` is the squared error of the scaled
    data, whose mean squared norm is the number of its dimensions.

    The logs have `l0`, the number of active features of an example; `unexplained_variance`, the
    squared error as a fraction of the variance; and `dead_fraction`, the fraction of the features
    that were not active in the last `dead_after` steps.

    Args:
        latent_dim: Number of features. Defaults to 512.
        dead_after: Number of training steps without activity after which a feature counts as dead,
            a positive integer. Defaults to 200.
        seed: See `keras_ae.Autoencoder`.
    """

    # The dictionary centers and scales the data itself.
    _without = ("encoder", "decoder", "network_options", "standardize")
    diagnostics = ("l0", "unexplained_variance", "dead_fraction")

    def __init__(
        self, latent_dim: int = 512, dead_after: int = 200, seed: int | None = None, **kwargs: Any
    ):
        super().__init__(latent_dim, seed=seed, **kwargs)
        self.dead_after = arguments.integer(self, "dead_after", dead_after)
        self.data_scale = self.dictionary = self.sampler = None

    def _build_networks(self, shape, target_shape):
        if shape != target_shape:
            raise ValueError(
                f"{type(self).__name__}: targets have shape {target_shape}, but the model "
                f"reconstructs its inputs, of shape {shape}. Call fit(x) without a target."
            )
        width = math.prod(shape)
        self.data_scale = DataScale(width, name="data_scale")
        self.dictionary = Dictionary(width, self.latent_dim, name="dictionary")
        self.sampler = FeatureDensity(self.latent_dim, name="sampler")

    # ------------------------------------------------------------------ what a paper writes

    def _select(self, a, training):
        """Select which features are active, and how strongly: turn pre-activations into codes.

        Args:
            a: Pre-activations, a tensor of shape (batch, latent_dim).
            training: Whether weights are being updated.

        Returns:
            Tensor of a's shape.
        """
        raise NotImplementedError

    def _sparsity_terms(self, y, a, z, output, training):
        """Compute the losses besides the reconstruction loss.

        Args:
            y: Scaled targets, shape (batch, width).
            a: Pre-activations, shape (batch, latent_dim).
            z: Codes, of a's shape.
            output: Scaled reconstructions, of y's shape.
            training: Whether weights are being updated.

        Returns:
            Dictionary of name -> tensor.
        """
        return {}

    # ------------------------------------------------------------------ what all of them do

    def _batch_numbers(self, batch_size):
        return batch_size * (math.prod(self._data_shape) + 2 * self.latent_dim)

    def _step_numbers(self, batch_size):
        # These are scaled data and its distances, features before and after selection, and
        # gradients.
        return batch_size * (5 * math.prod(self._data_shape) + 6 * self.latent_dim)

    def _compute_pre_activations(self, x):
        """Compute pre-activations for data of shape (batch, ...), before the selection."""
        return self.dictionary.encode(self.data_scale.normalize(self._flatten(x)))

    def _flatten(self, x):
        return ops.reshape(ops.cast(x, "float32"), (-1, self.data_scale.width))

    @batched("data")
    def encode(self, x: Data, training: bool = False) -> ArrayOrTensor:
        return self._select(self._compute_pre_activations(x), training)

    @batched("code")
    def decode(self, z: Array | Tensor, training: bool = False) -> ArrayOrTensor:
        output = self.data_scale.restore(self.dictionary.decode(ops.cast(z, "float32")))
        return ops.reshape(output, (-1, *self._data_shape))

    def loss_terms(self, x: Tensor, y: Tensor, training: bool) -> dict[str, Tensor]:
        if training:
            self.data_scale.update(self._flatten(x))
        a = self._compute_pre_activations(x)
        z = self._select(a, training)
        if training:
            self.sampler.update(z)
        y, output = self.data_scale.normalize(self._flatten(y)), self.dictionary.decode(z)
        error = ops.sum(ops.square(y - output), axis=-1)
        return {
            "reconstruction_loss": error,
            "l0": ops.sum(ops.cast(z != 0.0, "float32"), axis=-1),
            "unexplained_variance": error / self.data_scale.total_variance(),
            "dead_fraction": ops.mean(self.sampler.dead(self.dead_after)),
            **self._sparsity_terms(y, a, z, output, training),
        }

    @property
    def directions(self) -> np.ndarray:
        """The features' directions in the data, an array (latent_dim, ...), each of length 1."""
        inputs.require_built(self, "directions")
        rows = ops.convert_to_numpy(self.dictionary.rows())
        return rows.reshape(self.latent_dim, *self._data_shape)

    def dictionary_metrics(self, x: Data, batch_size: int | None = None) -> dict[str, Any]:
        """Measure how sparse the codes of data are, and how much of the data they explain.

        Args:
            x: Array of shape (examples, ...), or a stream of them as in `fit`.
            batch_size: Number of examples whose codes are in memory at once. Defaults to a number
                that fits in memory.

        Returns:
            Dictionary: see `keras_ae.sparsity.dictionary_metrics`.
        """
        x, size = inputs.check_data(self, x), batch_size
        if size is None:
            size = default_batch_size(self._data_shape, (self.latent_dim,))
        size = arguments.integer("dictionary_metrics", "batch_size", size)

        def parts():
            for start in range(0, len(x), size):
                part = x[start : start + size]
                codes = self.encode(part, batch_size=size, verbose=0)
                yield part, codes, self.decode(codes, batch_size=size, verbose=0)

        return sparsity.metrics_of_parts(parts(), np.mean(x, axis=0, dtype="float64"))

    def resample_dead(self, x: Data, seed: int | None = None) -> int:
        """Restart dead features with the directions of the errors of badly reconstructed examples.

        An example is drawn with a probability proportional to the square of its loss, as in Bricken
        et al. 2023 (https://transformer-circuits.pub/2023/monosemantic-features). The feature's
        column of the encoder gets the same direction, and the average length of the other columns.
        Call this between epochs:

        >>> import keras, numpy as np
        >>> from keras_ae import TopKSAE
        >>> model = TopKSAE(latent_dim=16, k=2, dead_after=5, seed=0)
        >>> model.compile("adam")
        >>> x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
        >>> resample = lambda epoch, logs: model.resample_dead(x)
        >>> again = keras.callbacks.LambdaCallback(on_epoch_end=resample)
        >>> history = model.fit(x, epochs=2, callbacks=[again], verbose=0)

        Args:
            x: Array of shape (examples, ...), such as some thousand training examples.
            seed: Integer that makes the draw repeatable. Defaults to None, the model's own seed.

        Returns:
            The number of features that were dead.

        Raises:
            ValueError: If the model cannot take x.
        """
        x = inputs.check_data(self, x)
        dead = np.flatnonzero(ops.convert_to_numpy(self.sampler.dead(self.dead_after)))
        error = (x - self.reconstruct(x, verbose=0)).reshape(len(x), -1).astype("float64")
        squares = np.sum(error**2, axis=1)
        if len(dead) == 0 or not np.any(squares):
            return len(dead)
        rng = np.random.default_rng(np.abs(seeds.seed_pair(self, seed)))
        chosen = rng.choice(len(x), len(dead), p=squares**2 / np.sum(squares**2))
        self.dictionary.replace(dead, error[chosen] / np.sqrt(squares[chosen])[:, None])
        self._restart(dead)
        return len(dead)

    def _restart(self, features):
        """Reset what else belongs to these features. Call this outside compiled functions."""
        set_entries(self.sampler.idle, features, 0.0)


def set_entries(variable, places, value):
    """Set some entries of a weight that is a vector. Call this outside compiled functions."""
    values = np.array(ops.convert_to_numpy(ops.convert_to_tensor(variable)))
    values[places] = value
    variable.assign(values)
