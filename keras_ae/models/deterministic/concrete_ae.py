"""Concrete autoencoders: Balin, Abid and Zou 2019, arXiv:1901.09346."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ae import networks
from keras_ae.core import arguments, backend, building, inputs
from keras_ae.core.types import Tensor
from keras_ae.distributions import GumbelSoftmax
from keras_ae.models.deterministic.ae import AE
from keras_ae.networks import fitting
from keras_ae.samplers import CodeDensity

# The number of steps of the annealing if nobody knows how long training will be.
_STEPS = 1000
# The logits are this times a weight, because an optimizer such as Adam moves a weight by little
# more than its learning rate in each step, and a sure choice needs logits that differ by ten.
_SCALE = 100.0


class ConcreteAE(AE):
    """An autoencoder whose code consists of latent_dim features of the data, which it selects.

    Each unit of the code has a logit for every feature. In training its value is a mean of all
    features, weighted by a draw from the Concrete distribution of these logits (section 3.1), one
    for all examples of the step. The temperature of step b falls from T0 = `start_temperature` to
    TB = `end_temperature` as T(b) = T0 (TB / T0)^(b / B) (section 3.2), so that draws become
    one-hot. B is `annealing_steps`, after which the temperature stays. Outside of training, each
    unit is the feature with its largest logit. The logits are 100 times a weight, which suits
    optimizers such as Adam; with plain SGD they move 10,000 times as fast as its rate says.
    `encode` therefore returns values of the data, and a decoder reconstructs all features from
    them.

    `selected` has the indices of these features. Nothing keeps two units from selecting the same
    feature. In the logs, `num_selected` is the number of different features, and
    `selection_probability` is the mean over the units of the probability of the selected feature.
    If it is far from 1 at the end of the training, draws were still of several features, and the
    decoder has not learned from the selected ones alone: train longer, or with a larger learning
    rate.

    Args:
        latent_dim: Number of units, which select as many features or fewer. Defaults to 16.
        start_temperature: Temperature T0 of the first step, a positive number. Defaults to 10.
        end_temperature: Temperature TB of the last step, a positive number. Defaults to 0.01.
        annealing_steps: Number B of training steps, a positive integer. Defaults to None: the steps
            of the first `fit`, which are its epochs times the batches of an epoch, or 1,000 if
            these are unknown, as those of a generator are. If you train in several calls of `fit`,
            pass the number of all their steps.
        decoder, reconstruction_loss, network_options, seed, standardize: See `keras_ae.AE`. The
            paper has the squared error, the default, and a linear decoder or one with a hidden
            layer: `decoder="mlp", network_options={"units": (200,)}`. Codes of standardized data
            are standardized, too.

    Raises:
        ValueError: If an argument is out of range, or `network_options` has a `mask_value`, because
            selected steps may be padding.

    Example:

    >>> import numpy as np
    >>> from keras_ae import ConcreteAE
    >>> model = ConcreteAE(latent_dim=2, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).random((64, 8), "float32")
    >>> history = model.fit(x, epochs=20, verbose=0)
    >>> np.array_equal(model.encode(x), x[:, model.selected])
    True
    """

    _without = ("encoder",)
    _encodes_corrupted = True  # In training, codes are weighted means.
    diagnostics = ("selection_probability", "num_selected")

    def __init__(
        self,
        latent_dim: int = 16,
        start_temperature: float = 10.0,
        end_temperature: float = 0.01,
        annealing_steps: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(latent_dim, **kwargs)
        self.start_temperature = arguments.number(
            self, "start_temperature", start_temperature, positive=True
        )
        self.end_temperature = arguments.number(
            self, "end_temperature", end_temperature, positive=True
        )
        if annealing_steps is not None:
            remedy = "It counts training steps, which are epochs times batches per epoch."
            annealing_steps = arguments.integer(
                self, "annealing_steps", annealing_steps, remedy=remedy
            )
        self.annealing_steps = annealing_steps
        self._needs_data = annealing_steps is None

    def _check_given(self):
        super()._check_given()
        given = isinstance(self.arguments["decoder"], keras.layers.Layer)
        if given and self.network_options:
            raise ValueError(
                f"ConcreteAE: network_options={self.network_options!r} has no effect, because "
                "decoder was given, and there is no other network. Leave it out."
            )

    def _build_networks(self, shape, target_shape):
        if self._mask_value is not None:
            raise ValueError(
                f"ConcreteAE: network_options has mask_value={self._mask_value}, but the model "
                "selects steps at fixed places, some of which may be padding. Leave it out."
            )
        if self.decoder is None:
            fitting.refuse_misread_pictures(self, target_shape, argument="decoder")
        if not isinstance(self.decoder, keras.layers.Layer):
            self.decoder = networks.decoder(
                self.latent_dim,
                self._decoder_shape(target_shape),
                self.decoder,
                dtype=self.dtype_policy,
                **self.network_options,
            )
        fitting.fit_decoder(self, target_shape)
        self._scaled_logits = self.add_weight(
            shape=(self.latent_dim, math.prod(shape)),
            initializer=keras.initializers.RandomNormal(stddev=0.1 / _SCALE),
            dtype="float32",
            autocast=False,
            name="scaled_logits",
        )
        self._planned_steps = building.make_counter(self, "planned_steps")
        self.sampler = CodeDensity(self.code_shape, name="sampler")

    def _adapt(self, passes):
        self._plan_steps(passes.num_steps)

    def _plan_steps(self, number):
        self._planned_steps.assign(min(number or 0, 2**31 - 1))

    def _step_numbers(self, batch_size):
        # A draw and its gradient take about eight arrays of the logits' shape.
        return super()._step_numbers(batch_size) + 8 * math.prod(self._scaled_logits.shape)

    # ------------------------------------------------------------------ the selection

    def _logits(self):
        return _SCALE * ops.convert_to_tensor(self._scaled_logits)

    @property
    def selected(self) -> np.ndarray:
        """The selected features: integers, an array of shape (latent_dim,). They may repeat.

        They are indices of the flattened example. For data of several axes,
        `numpy.unravel_index(model.selected, x.shape[1:])` gives those along each axis. The model
        must be built.
        """
        inputs.require_built(self, "selected")
        return ops.convert_to_numpy(backend.argmax(self._logits()))

    def _find_temperature(self):
        """Compute the temperature of the next training step, a float32 scalar tensor."""
        number = self.annealing_steps
        if number is None:
            planned = ops.convert_to_tensor(self._planned_steps)
            number = ops.cast(ops.where(planned > 0, planned, _STEPS), "float32")
        share = ops.minimum(ops.cast(ops.convert_to_tensor(self._step), "float32") / number, 1.0)
        start, end = (
            ops.log(ops.cast(value, "float32"))
            for value in (self.start_temperature, self.end_temperature)
        )
        return ops.exp((1.0 - share) * start + share * end)

    def _code(self, x, training=False):
        chosen = backend.argmax(self._logits())
        return ops.take(self._flatten(x), chosen, axis=1)

    def _mix(self, x):
        """Compute the code of a training step, which follows one draw for all examples."""
        relaxed = GumbelSoftmax(self._logits(), self._find_temperature())
        weights = relaxed.sample(self.step_seed(True))
        return ops.matmul(self._flatten(x), ops.transpose(weights))

    def _flatten(self, x):
        return ops.reshape(ops.cast(x, "float32"), (-1, math.prod(self._data_shape)))

    def loss_terms(self, x: Tensor, y: Tensor, training: bool) -> dict[str, Tensor]:
        z = self._mix(x) if training else self._code(x)
        probabilities = ops.softmax(self._logits(), axis=-1)
        largest = ops.max(probabilities, axis=-1)
        chosen = ops.one_hot(backend.argmax(probabilities), probabilities.shape[-1])
        return {
            **self._reconstruction_terms(y, z, training, x),
            "selection_probability": ops.mean(largest),
            "num_selected": ops.sum(ops.max(chosen, axis=0)),
        }
