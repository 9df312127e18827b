"""The contract of every model: encode, decode, sample, and named losses per example."""

from keras_ae import networks, samplers
from keras_ae.core import (
    adaptation,
    arguments,
    building,
    examples,
    memory,
    objective,
    seeds,
)
from keras_ae.core.adjustable import Adjustable
from keras_ae.core.batching import batched
from keras_ae.core.configuration import refuse_unknown
from keras_ae.core.examples import takes_inputs_of
from keras_ae.core.programs import guard_programs
from keras_ae.core.training import Loops
from keras_ae.networks import fitting
from keras_ae.saving.saved import Saved


class Autoencoder(Adjustable, Saved, Loops):
    """The base of all models: what a paper adds is `loss_terms` and who minimizes which term.

    A model names its losses per example in `loss_terms`, and the tables below say who minimizes
    them. This class does what is the same for every model.

    Args:
        latent_dim: Positive integer, the number of dimensions of the code. Defaults to 16.
        encoder: None for a network that fits the data's shape, `"mlp"`, `"conv"`, `"resnet"`,
            `"unet"`, `"recurrent"` or `"transformer"` for one of that kind, or any Keras model from
            the data to features. The model adds the layer from the features to the code. Defaults
            to None.
        decoder: The same, or any Keras model from a code of shape (batch, latent_dim) to the
            parameters of the reconstruction, in the data's shape. Defaults to None.
        network_options: Dictionary of options of the default networks, such as
            `{"units": (200, 200), "activation": "tanh", "dropout": 0.1}`: see
            `keras_ae.networks`. Defaults to None.
        seed: Integer from which everything random about the model follows: the weights of its
            default networks, all noise, and the order of the data. Defaults to None, a seed drawn
            from Python's `random` (which `keras.utils.set_random_seed` sets).
        standardize: Whether the model learns the mean and the deviation of each feature in its
            first `fit`, and works with data of mean 0 and deviation 1. It returns data, and
            likelihoods, in the units of the data. Defaults to False.
        **kwargs: `name` and `dtype`, as of every Keras model.

    Raises:
        ValueError: If an argument is out of range, or an option is unknown.
    """

    objective = ("reconstruction_loss",)  # What every unclaimed weight minimizes.
    # Attribute, or tuple of attributes -> the terms that these networks minimize instead.
    players = {}
    diagnostics = ()  # Tracked, minimized by nobody.
    # Names of further arrays of an example, such as ("label",), which methods take by keyword.
    extra_inputs = ()
    _modalities = ()  # The keys of x, where x is a dictionary of several arrays.
    _allow_nan = False  # Whether NaN in the data is a missing value, and no error.

    def __init__(
        self,
        latent_dim=16,
        encoder=None,
        decoder=None,
        network_options=None,
        seed=None,
        standardize=False,
        **kwargs,
    ):
        refuse_unknown(type(self), kwargs)
        super().__init__(**kwargs)
        self.latent_dim = arguments.integer(self, "latent_dim", latent_dim)
        self.encoder = networks.given_or_none(self, "encoder", encoder)
        self.decoder = networks.given_or_none(self, "decoder", decoder)
        self.network_options = networks.options_or_none(self, network_options)
        # What all features of a padded step equal, or None where no step is padding.
        self._mask_value = networks.mask_value(self.encoder, self.network_options)
        self._seed_generator, self._program_seeds = seeds.make_generators(self, seed)
        self.features_to_code = self.sampler = None
        self.standardize = arguments.flag(self, "standardize", standardize)
        self._extra_shapes, self._adapted = {}, None
        self._step = building.make_counter(self, "step")

    # ------------------------------------------------------------------ what a paper writes

    _without = ()  # Arguments of this class that a model has no use for and refuses.
    _code_parameters = 1  # Numbers that the encoder gives for each dimension of the code.
    _support = None  # Lowest and highest value of the data, where the model has limits.
    _takes_classes = False  # Whether the targets' last axis holds the probabilities of classes.
    _code_dtype = "float32"  # "int32" where `encode` gives the numbers of codes.
    _inputs_are_targets = True  # Whether inputs have the targets' range, where both have one shape.
    _restored = False  # Whether the model was built from a file.
    _needs_data = False  # Whether `_adapt` is to be called before the first step.
    _input_dtypes = {}  # "int32" for the named inputs that are labels; the others are float32.

    def loss_terms(self, x, y, training, **inputs):
        """The losses of a batch by name, of every one in `objective`, `players` and `diagnostics`.

        Args:
            x: Float32 tensor of inputs, shape (batch, ...).
            y: Float32 tensor of targets, shape (batch, ...); x itself unless the data is paired.
            training: Whether weights are being updated.
            **inputs: Tensors of the named inputs; a class that has none leaves them out.

        Returns:
            Dictionary of name -> tensor of shape (batch,) or (), in nats for likelihoods.
        """
        raise NotImplementedError

    def loss_weights(self):
        """name -> factor of a term in its player's loss; the tracked value stays unweighted.

        Numbers that may be assigned after the model was made, such as `self.kl_weight`, are tensors
        here and in `loss_terms` on TensorFlow and JAX: choose by `keras.ops.where(self.kl_weight >
        1, a, b)` instead of `if self.kl_weight > 1`.
        """
        return {}

    @batched("data")
    def encode(self, x, training=False, **inputs):
        """The code of every example.

        Args:
            x: Array or tensor of shape (batch, ...), or a `tf.data.Dataset` of such examples.
            training: Whether layers such as dropout are active. Defaults to False.
            **inputs: The model's named inputs, one row for each example.

        Returns:
            Array or tensor of shape (batch, latent_dim), float32.
        """
        raise NotImplementedError

    @batched("code")
    def decode(self, z, training=False, **inputs):
        """The data that belongs to every code.

        Args:
            z: Array or tensor of shape (batch, latent_dim).
            training: Whether layers such as dropout are active. Defaults to False.
            **inputs: The model's named inputs, one row for each code.

        Returns:
            Array or tensor of shape (batch, ...), float32.
        """
        raise NotImplementedError

    def _decode_draws(self, draws, **options):
        """Decode the sampler's draws, which are codes unless codes cannot represent them."""
        return self.decode(draws, **options)

    def _decoder_shape(self, target_shape):
        """The shape that the decoder returns for targets of this shape, without the batch axis."""
        return tuple(target_shape)

    def _step_numbers(self, batch_size):
        """Numbers of a step besides the outputs of layers, such as one for each pair of examples.

        `fit` and `evaluate` refuse a batch_size for which all of them do not fit into memory.
        """
        return self._batch_numbers(batch_size)

    def _batch_numbers(self, batch_size):
        """The same of an array call."""
        return 0

    def _code_width(self):
        """Numbers that the encoder gives for the whole code."""
        return self._code_parameters * self.latent_dim

    @property
    def code_shape(self):
        """The shape of one code, without the batch axis; of a built model."""
        return (self.latent_dim,)

    def _encoder_input_shape(self, shape):
        """The shape of what the encoder takes for data of this shape, without the batch axis."""
        return shape

    def _decoder_input_shape(self):
        """The shape of what the decoder takes, without the batch axis; of a built model."""
        return (self.latent_dim,)

    def _adapt(self, passes):
        """Learn what the model needs before its first step from passes over the data.

        Args:
            passes: `keras_ae.core.adaptation.Passes`, each iteration of which is a pass.
        """

    def _check_values(self, name, values):
        """Check the array of a named input or a modality further, and return it."""
        return values

    def _to_sequences(self, array):
        """Reshape data (batch, ...) to sequences (batch, ..., features), or return None."""
        return array if array.ndim > 2 else None

    # ------------------------------------------------------------------ what every model does

    @batched("data", returns_data=True)
    @takes_inputs_of("encode", "decode")
    def reconstruct(self, x, training=False, **inputs):
        """Every example encoded and decoded again.

        Args:
            x: Array or tensor of shape (batch, ...), or a `tf.data.Dataset` of such examples.
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

    def sample(self, num_samples, seed=None, *, batch_size=None, verbose="auto", **inputs):
        """New data from the model.

        Args:
            num_samples: How many, an integer of at least 1.
            seed: Integer that makes the draw repeatable. Defaults to None, a fresh draw.
            batch_size: Examples of a batch, of which up to four are in memory at a time. Defaults
                to a million numbers of data, at most 1,024 examples.
            verbose: 0, 1 or "auto" (a progress bar after two seconds).
            **inputs: The model's named inputs: of each one value for all, or one for each sample.

        Returns:
            Array of shape (num_samples, ...), float32.

        Raises:
            ValueError: If num_samples is not a positive integer.
            RuntimeError: If the sampler is not ready; the message says what to call.
        """
        return self._sample(num_samples, seed, batch_size, verbose, inputs)

    @memory.explains(memory.FEWER_DRAWS)
    def _sample(self, num_samples, seed, batch_size, verbose, inputs=None, **options):
        """`sample`, with options of the sampler."""
        seed = seeds.draw(self, seed)
        draws, inputs = samplers.draw(self, num_samples, seed, verbose, inputs or {}, **options)
        return self._decode_draws(draws, batch_size=batch_size, verbose=verbose, **inputs)

    def step_seed(self, training):
        """The seed of one step's draws: fresh while training, and the same in every evaluation.

        In evaluation it is the number of examples seen since it began, so that batches differ.
        """
        return seeds.step_seed(self, training)

    def build(self, input_shape, target_shape=None):
        """Make the networks and the weights for data of this shape.

        Args:
            input_shape: Shape of a batch of inputs, such as (None, 28, 28, 1). With named inputs, a
                dictionary of shapes such as {"x": (None, 784), "condition": (None, 4)}.
            target_shape: Shape of a batch of targets. Defaults to the inputs' own.

        Raises:
            ValueError: If the model was built for other shapes, or the networks do not fit.
        """
        *shapes, inputs = building.take_apart(self, input_shape, target_shape)
        if not building.is_built_for(self, *shapes, inputs):
            (self.data_shape, self.target_shape), self._extra_shapes = shapes, inputs
            with building.scope(self):
                objective.make_trackers(self)
                adaptation.make_weights(self)
                self._build_networks(*shapes)
            if not self._restored:
                self._check_given()

    def _check_given(self):
        """Raise where what was given has no effect, or cannot be trained as it is meant.

        Of a model that is built for the first time: files of before such checks still load.
        """
        fitting.refuse_unused_options(self)

    def _options_in_use(self):
        """Names of the `network_options` that count even where both networks were given."""
        return {"mask_value"}

    def _build_networks(self, shape, target_shape):
        """Make the networks that were not given; subclasses add their own.

        Args:
            shape: Shape of one input.
            target_shape: Shape of one target.
        """
        fitting.make_networks(self, shape, target_shape)
        self._fit_networks(shape, target_shape)

    _fit_networks = fitting.fit_networks
