"""Stacked denoising autoencoders: Vincent et al. 2010, https://jmlr.org/papers/v11/vincent10a.html."""

import math
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_ae import corruptions, losses
from keras_ae.core import arguments, building
from keras_ae.core.types import Tensor
from keras_ae.corruptions.base import OfPictures, apply
from keras_ae.models.deterministic.denoising_ae import DenoisingAE

# The number of steps of each layer if nobody knows how long training will be.
_STEPS = 1000
# The phase of a model without pre-training. No network has more layers.
_LAST_PHASE = 1000


class StackedDenoisingAE(DenoisingAE):
    """A denoising autoencoder of several dense layers, which are first trained one by one.

    Training has two parts. The first `pretraining_steps` steps train the first layer of the encoder
    with the last layer of the decoder, as a denoising autoencoder of its own (section 3.4). The
    next ones train the second layer, which reconstructs the clean output of the trained first layer
    from a corrupted one, and so on up to the layer that computes the code. No weight of any other
    layer moves meanwhile. All later steps train the whole encoder and decoder as
    `keras_ae.DenoisingAE` does.

    All of this is part of `fit`: several calls of `fit` train like one, and a training that was
    killed resumes. In training, `reconstruction_loss` is that of the layer that is being trained.
    For a layer above the first, it is the squared error of the outputs below, summed over them. In
    `evaluate` and in validation it is always that of the whole.

    Unlike in the paper, the two layers of a pair have weights of their own, and the whole learns to
    reconstruct at the end instead of to classify.

    Args:
        latent_dim: Dimensions of the code, which are those of the last layer. Defaults to 16.
        corruption: Corruption of the data, as in `keras_ae.DenoisingAE`. Defaults to "gaussian".
        hidden_corruption: Corruption of the outputs of layers, which are vectors: any but
            those of pictures, such as "blocks". Defaults to "masking".
        pretraining_steps: Number of training steps of each layer, an integer of at least 0.
            Defaults to None: half of the steps of the first `fit`, in equal parts for all layers,
            or 1,000 for each if the steps are unknown, as those of a generator are. If you train in
            several calls of `fit`, pass a number.
        network_options: Dictionary of options of the networks, which are those of `"mlp"`:
            `{"units": (1000, 1000)}` are the widths of the layers below the code, by default
            (512, 256). The paper's units are sigmoids: `{"activation": "sigmoid"}`.
        reconstruction_loss, seed, standardize: See `keras_ae.AE`.

    Raises:
        ValueError: If an argument is out of range, or `hidden_corruption` is for pictures.

    Example:

    >>> import numpy as np
    >>> from keras_ae import StackedDenoisingAE
    >>> model = StackedDenoisingAE(2, pretraining_steps=20, network_options={"units": (6,)}, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).random((64, 8), "float32")
    >>> history = model.fit(x, epochs=30, verbose=0)  # Twenty steps for each of two layers.
    >>> model.encode(x).shape, model.reconstruct(x).shape
    ((64, 2), (64, 8))
    """

    _without = ("encoder", "decoder")

    def __init__(
        self,
        latent_dim: int = 16,
        corruption: str | Callable[..., Any] | None = "gaussian",
        hidden_corruption: str | Callable[..., Any] | None = "masking",
        pretraining_steps: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(latent_dim, corruption, encoder="mlp", decoder="mlp", **kwargs)
        self.hidden_corruption = corruptions.get(hidden_corruption)
        if isinstance(self.hidden_corruption, OfPictures):
            raise ValueError(
                f"StackedDenoisingAE: hidden_corruption={hidden_corruption!r} is for pictures, but "
                'outputs of layers are vectors. Choose another one, such as "masking".'
            )
        if pretraining_steps is not None:
            remedy = "It counts training steps, which are epochs times batches per epoch."
            pretraining_steps = arguments.integer(
                self, "pretraining_steps", pretraining_steps, least=0, remedy=remedy
            )
        self.pretraining_steps = pretraining_steps
        self._needs_data = pretraining_steps is None
        # This is the number of layers that are trained. Compiled functions depend on it.
        self._phase = 0

    def _build_networks(self, shape, target_shape):
        super()._build_networks(shape, target_shape)
        self._planned_steps = building.make_counter(self, "planned_steps")

    def _adapt(self, passes):
        self._plan_steps(passes.num_steps)

    def _plan_steps(self, number):
        if number is not None:
            number //= 2 * len(self._pairs())
            self._planned_steps.assign(min(max(number, 1), 2**31 - 1))

    # ------------------------------------------------------------------ the phases

    def _pairs(self):
        """List what is trained together, from the data on: layers of the encoder, of the decoder.

        Each of the two is a list of layers, of which one has a kernel.
        """
        below = [*_split(self.encoder), [self.features_to_code]]
        return list(zip(below, reversed(_split(self.decoder)), strict=True))

    def _count_pretraining_steps(self):
        """Return the number of steps that train each layer."""
        if self.pretraining_steps is not None:
            return self.pretraining_steps
        return _read(self._planned_steps) or _STEPS

    def _find_phase(self):
        """Return the number of layers that are trained already, according to the weights."""
        if not self.built:
            return 0 if self.pretraining_steps != 0 else _LAST_PHASE
        number = self._count_pretraining_steps()
        return min(_read(self._step) // number, len(self._pairs())) if number else _LAST_PHASE

    def _next_stage(self):
        # A restored backup or another model's weights may be of any phase.
        self._begin_stage(None)
        if self._phase >= len(self._pairs()):
            return math.inf
        return (self._phase + 1) * self._count_pretraining_steps()

    def _begin_stage(self, passes):
        phase = self._find_phase()
        if phase != self._phase:
            self._phase = phase
            self._notes.step_programs.current()

    def train_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        self._phase = self._find_phase()
        return super().train_on_batch(*args, **kwargs)

    def _variable_groups(self):
        own, *others = super()._variable_groups()
        pairs = self._pairs()
        if self._phase < len(pairs):
            layers = sum(pairs[self._phase], [])
            moved = {id(v) for layer in layers for v in layer.trainable_variables}
            own = [variable for variable in own if id(variable) in moved]
        return [own, *others]

    # ------------------------------------------------------------------ the losses

    def loss_terms(self, x: Tensor, y: Tensor, training: bool) -> dict[str, Tensor]:
        if not training or self._phase >= len(self._pairs()):
            return super().loss_terms(x, y, training)
        self._update_density(None, x)
        return {"reconstruction_loss": self._layer_loss(self._phase, x, y, self.step_seed(True))}

    def _layer_loss(self, number, x, y, seed):
        """Compute the loss of the pair of layers of this number, shape (batch,).

        Args:
            number: Number of the layers of the encoder that are trained already.
            x, y: Data and targets, shape (batch, ...).
            seed: Seed of the corruption.
        """
        *below, (encoder, decoder) = self._pairs()[: number + 1]
        h, target = x, y
        for layers, _ in below:
            target = h = ops.stop_gradient(ops.cast(_apply(layers, h, False), "float32"))
        name = "hidden_corruption" if below else "corruption"
        noisy = apply(getattr(self, name), h, seed, self, name)
        # Dropout after the decoder's layer would drop what is compared with the target.
        decoder = [layer for layer in decoder if not isinstance(layer, keras.layers.Dropout)]
        output = _apply(decoder, _apply(encoder, noisy, True), True)
        output = ops.cast(output, "float32")
        if below:
            return losses.per_example(losses.get("mean_squared_error"), target, output)
        output = keras.activations.get(self._decoder_activation)(output)
        return losses.per_example(self.reconstruction_loss, target, output)


def _split(network):
    """Return the layers of a chain as lists, each of which has one layer with a kernel."""
    parts = [[]]
    for layer in network.layers:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        has_kernel = any(variable.name == "kernel" for variable in layer.weights)
        if has_kernel and any(each.weights for each in parts[-1]):
            parts.append([])
        parts[-1].append(layer)
    return [part for part in parts if any(layer.weights for layer in part)]


def _apply(layers, h, training):
    for layer in layers:
        h = layer(h, training=training)
    return h


def _read(counter):
    return int(ops.convert_to_numpy(ops.convert_to_tensor(counter)))
