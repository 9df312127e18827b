"""The base class of all models, which defines what every model does."""

from typing import Any

import numpy as np

from keras_ae import networks, samplers
from keras_ae.core import adaptation, arguments, building, examples, interpolation, memory, seeds
from keras_ae.core.adjustable import Adjustable
from keras_ae.core.batching import batched
from keras_ae.core.configuration import refuse_unknown
from keras_ae.core.draws import decode_draws
from keras_ae.core.objective import make_trackers
from keras_ae.core.programs import guard_programs
from keras_ae.core.training import Loops
from keras_ae.core.types import Array, ArrayOrTensor, Data, Network, Tensor, Verbose
from keras_ae.networks import fitting
from keras_ae.saving.saved import Saved


class Autoencoder(Adjustable, Saved, Loops):
    """The base class of all models.

    The method `loss_terms` of a model computes its losses by name. `objective` and `players` say
    which weights minimize which losses. All else is the same in every model and is defined here.

    Args:
        latent_dim: Number of dimensions of the code, a positive integer. Defaults to None: 16, and
            for pictures 16 for each 1,536 numbers, up to 128, as for pictures of (64, 64, 3).
        encoder: `"mlp"`, `"conv"`, `"resnet"`, `"unet"`, `"recurrent"`, `"conv_recurrent"` or
            `"transformer"`, or any Keras model from the data to features, of which the model then
            computes the code. Defaults to None: the data's shape decides the network, and pictures
            without a channel axis or with channels first raise an error.
        decoder: One of the same names, or any Keras model that computes the parameters of the
            reconstruction, in the data's shape, from codes of shape (batch, latent_dim). Defaults
            to None: the data's shape decides the network.
        network_options: Dictionary of options of the networks that the model makes, such as
            `{"units": (200, 200), "dropout": 0.1}`: see `keras_ae.networks`. Defaults to None.
        seed: Integer that determines initial weights, all noise, and the order of the data.
            Defaults to None, a draw of `random`, which `keras.utils.set_random_seed` seeds.
        standardize: Whether the model learns the mean and deviation of each feature in its first
            `fit`, and scales x and named inputs that are no labels to mean 0 and deviation 1. Data
            and likelihoods that it returns are in the original units. Defaults to False.
        **kwargs: `name` and `dtype`, as in every Keras model.

    Raises:
        ValueError: If an argument is out of range, or an option is unknown.
    """

    objective: tuple[str, ...] = ("reconstruction_loss",)  # All weights but those of `players`.
    players: dict[Any, tuple[str, ...]] = {}  # A network's attribute, or several -> its losses.
    diagnostics: tuple[str, ...] = ()  # The logs show these losses, and no weight minimizes them.
    extra_inputs: tuple[str, ...] = ()  # Methods take these by keyword, such as ("label",).
    explorer_views: dict[str, str] = {}  # Title -> method: what `keras_ae.explore` shows of it.
    _modalities = ()  # If x is a dictionary of several arrays, these are its keys.
    _allow_nan = False  # If True, NaN in the data means a missing value and is no error.

    def __init__(
        self,
        latent_dim: int | None = None,
        encoder: Network | None = None,
        decoder: Network | None = None,
        network_options: dict[str, Any] | None = None,
        seed: int | None = None,
        standardize: bool = False,
        **kwargs: Any,
    ):
        refuse_unknown(type(self), kwargs)
        super().__init__(**kwargs)
        self.latent_dim = building.latent_dim_or_none(self, latent_dim)
        self.encoder = networks.given_or_none(self, "encoder", encoder)
        self.decoder = networks.given_or_none(self, "decoder", decoder)
        self.network_options = networks.options_or_none(self, network_options)
        # A step is padding if all its features equal this value. With None, no step is padding.
        self._mask_value = networks.mask_value(self.encoder, self.network_options)
        self._seed_generator, self._program_seeds = seeds.make_generators(self, seed)
        self.features_to_code: Any = None
        self.sampler: Any = None
        self._fitted_sampler = None
        self.standardize = arguments.flag(self, "standardize", standardize, fixed=True)
        self._extra_shapes, self._adapted = {}, None
        self._step = building.make_counter(self, "step")

    # ------------------------------------------------------------------ what subclasses define

    _without = ()  # The constructor refuses these arguments, because the model has no use for them.
    _code_parameters = 1  # VAEs use 2 for each dimension of the code, a mean and a variance.
    _support = None  # If the data has limits, these are its lowest and its highest value.
    _takes_classes = False  # If True, the targets' last axis holds the probabilities of classes.
    _takes_sparse = False  # If True, `scipy.sparse` matrices are data, read batch by batch.
    _code_dtype = "float32"  # It is "int32" if `encode` returns integers.
    _inputs_are_targets = True  # If False, inputs may leave the range of the targets.
    _scales_data = False  # If True, the model itself brings numbers of any size to unit scale.
    _draws_data = False  # If True, `sample` draws from p(x | z) instead of computing its mean.
    _outputs_are_data = True  # It is False if the decoder returns logits.
    _reads_data = False  # If True, `reconstruct` reads the data, and not its code alone.
    _default_networks = 2  # Older files have smaller numbers: see `networks.defaults_of`.
    _compares_examples = False  # If True, the loss of a batch needs two or more examples.
    _space = interpolation.Vectors()  # The space in which codes lie.
    _needs_data = False  # If True, `_adapt` is called before the first step.
    _input_dtypes = {}  # Inputs that are labels have the value "int32" here. Others are float32.

    def loss_terms(self, x: Tensor, y: Tensor, training: bool, **inputs: Any) -> dict[str, Tensor]:
        """Compute every loss that `objective`, `players` and `diagnostics` name, for a batch.

        Args:
            x: Float32 tensor of inputs, shape (batch, ...).
            y: Float32 tensor of targets, shape (batch, ...). It is x itself unless `fit` got pairs.
            training: Whether weights are being updated.
            **inputs: Tensors of the named inputs. Leave this out if the class has none.

        Returns:
            Dictionary of name -> tensor of shape (batch,) or (). Log-likelihoods are in nats.
        """
        raise NotImplementedError

    def loss_weights(self) -> dict[str, Any]:
        """Return the factors of losses in the minimized sum: name -> factor. The default is 1.

        The logs show losses without their factors. Numbers that users may change, such as
        `self.kl_weight`, are tensors here and in `loss_terms` on TensorFlow and JAX: write
        `keras.ops.where(self.kl_weight > 1, a, b)` instead of `if self.kl_weight > 1`.
        """
        return {}

    @batched("data")
    def encode(self, x: Data, training: bool = False, **inputs: Any) -> ArrayOrTensor:
        """Compute the code of every example.

        Args:
            x: Array or tensor of shape (batch, ...), or a stream of them as in `fit`.
            training: Whether layers such as dropout are active. Defaults to False.
            **inputs: The model's named inputs, one row for each example.

        Returns:
            Array or tensor of shape (batch, latent_dim), float32.
        """
        raise NotImplementedError

    @batched("code")
    def decode(self, z: Array | Tensor, training: bool = False, **inputs: Any) -> ArrayOrTensor:
        """Compute the data that each code represents.

        Args:
            z: Array or tensor of shape (batch, latent_dim).
            training: Whether layers such as dropout are active. Defaults to False.
            **inputs: The model's named inputs, one row for each code.

        Returns:
            Array or tensor of shape (batch, ...), float32.
        """
        raise NotImplementedError

    def _decode_draws(self, draws, **options):
        """Decode the sampler's draws. Override this method if the draws are not codes."""
        return self.decode(draws, **options)

    def _decoder_shape(self, target_shape):
        """Return the decoder's output shape for targets of this shape, without the batch axis."""
        return tuple(target_shape)

    def _step_numbers(self, batch_size):
        """Return how many numbers a training step keeps in memory besides the layers' outputs."""
        return self._batch_numbers(batch_size)

    def _batch_numbers(self, batch_size):
        """Return how many numbers an array call, such as `encode`, keeps besides these outputs."""
        return 0

    def _code_width(self):
        """Return how many numbers `features_to_code` computes for each example."""
        return self._code_parameters * self.latent_dim

    @property
    def code_shape(self) -> tuple[int, ...]:
        """The shape of one code, without the batch axis. The model must be built."""
        return (self.latent_dim,)

    def _encoder_input_shape(self, shape):
        """Return the encoder's input shape for data of this shape, without the batch axis."""
        return shape

    def _decoder_input_shape(self):
        """Return the decoder's input shape, without the batch axis. The model must be built."""
        return (self.latent_dim,)

    def _adapt(self, passes):
        """Learn from the data what the model needs before its first step.

        Args:
            passes: `keras_ae.core.adaptation.Passes`. Each loop over it is one pass over the data.
        """

    def _check_values(self, name, values, call):
        """Check the array of a named input or modality, and return it. Subclasses add checks."""
        return values

    def _label_range(self, call):
        """Return the least and the largest label that a method takes, or None if any is taken."""

    def _to_sequences(self, array):
        """Reshape data so that its last axis is a time step. Return None if it has no steps."""
        return array if array.ndim > 2 else None

    # ------------------------------------------------------------------ what every model does

    @batched("data", returns_data=True)
    @examples.takes_inputs_of("encode", "decode")
    def reconstruct(self, x: Data, training: bool = False, **inputs: Any) -> ArrayOrTensor:
        """Encode and decode every example.

        Args:
            x: Array or tensor of shape (batch, ...), or a stream of them as in `fit`.
            training: Whether layers such as dropout are active. Defaults to False.
            **inputs: The model's named inputs, one row for each example.

        Returns:
            Array or tensor of the target's shape, float32.
        """
        z = examples.call(self, self.encode, x, training=training, inputs=inputs)
        return examples.call(self, self.decode, z, training=training, inputs=inputs)

    def call(self, x, training=False):
        x, inputs = examples.cast(self, *examples.split(self, x))
        with guard_programs(self):
            return examples.call(self, self.reconstruct, x, training=training, inputs=inputs)

    def sample(
        self,
        num_samples: int,
        seed: int | None = None,
        *,
        batch_size: int | None = None,
        verbose: Verbose = "auto",
        **inputs: Any,
    ) -> np.ndarray:
        """Draw new data from the model.

        Args:
            num_samples: Number of examples to draw, a positive integer.
            seed: Integer that makes the draw repeatable. Defaults to None, a new draw in each call.
            batch_size: Number of examples in a batch, of which four may be in memory at a time.
                Defaults to 1,024, or to fewer if a batch would hold more than a million numbers.
            verbose: 0, 1 or "auto" (a progress bar after two seconds). Defaults to "auto".
            **inputs: The model's named inputs, with one value for all samples or one for each.

        Returns:
            Array of shape (num_samples, ...), float32.

        Raises:
            ValueError: If num_samples is not a positive integer.
            RuntimeError: If the sampler is not ready. The message says what to call.
        """
        return self._sample(num_samples, seed, batch_size, verbose, inputs)

    @memory.explains(memory.FEWER_DRAWS)
    def _sample(self, num_samples, seed, batch_size, verbose, inputs=None, **options):
        """Draw as `sample` does, with options of the sampler."""
        seed = seeds.draw(self, seed)
        drawn, inputs = samplers.draw(self, num_samples, seed, verbose, inputs or {}, **options)
        return decode_draws(self, drawn, seed, batch_size=batch_size, verbose=verbose, **inputs)

    fit_sampler = samplers.fit_sampler
    interpolate, step_seed = interpolation.interpolate, seeds.step_seed

    def build(self, input_shape, target_shape=None):
        """Make the networks and the weights for data of this shape.

        Args:
            input_shape: Shape of a batch of inputs, such as (None, 28, 28, 1), or with named inputs
                a dictionary of shapes, such as {"x": (None, 784), "condition": (None, 4)}.
            target_shape: Shape of a batch of targets. Defaults to None: the inputs' shape.

        Raises:
            ValueError: If the model was built for other shapes, or a network does not fit them.
        """
        *shapes, inputs = building.take_apart(self, input_shape, target_shape)
        if not building.is_built_for(self, *shapes, inputs):
            with building.scope(self), networks.defaults_of(self):
                building.set_shapes(self, *shapes, inputs)
                make_trackers(self)
                adaptation.make_weights(self)
                self._build_networks(*shapes)
                if not self._restored:  # A file may be older than the checks.
                    self._check_given()

    def _check_given(self):
        """Raise an error if an argument has no effect, or if training with it cannot work."""
        fitting.refuse_unused_options(self)

    def _options_in_use(self):
        """Return the `network_options` that have an effect if the user passes both networks."""
        return {"mask_value"}

    def _build_networks(self, shape, target_shape):
        """Make networks for one example's shapes, unless users passed them. Subclasses add some."""
        fitting.make_networks(self, shape, target_shape)
        self._fit_networks(shape, target_shape)

    _fit_networks = fitting.fit_networks
