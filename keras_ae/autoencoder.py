"""The contract of every model: encode, decode, sample, and named losses per example."""

import inspect

import keras
import numpy as np
from keras import ops

from keras_ae import networks, samplers
from keras_ae.core import arguments, backend, changes, inputs, memory
from keras_ae.core.adjustable import Adjustable
from keras_ae.core.batching import batched
from keras_ae.core.notes import Notes
from keras_ae.core.programs import traced
from keras_ae.core.seeds import FreshSeeds, ReplicaSeedGenerator, RunSeed, following
from keras_ae.core.training import Loops
from keras_ae.saving import export, keras_files


class _BatchMean(keras.losses.Loss):
    """Mean over the batch; sample weights and the scaling for replicas are Keras' own."""

    def call(self, y_true, y_pred):
        return y_pred


class _CountingMean(keras.metrics.Mean):
    """A running mean that also counts its examples, whatever they weigh."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seen = self.add_variable((), "zeros", dtype="int32", name="seen")

    def update_state(self, values, sample_weight=None):
        super().update_state(values, sample_weight)
        self.seen.assign(self.seen + ops.shape(values)[0])

    def reset_state(self):
        super().reset_state()
        self.seen.assign(0)


class Autoencoder(Adjustable, Loops):
    """The base of all models: what a paper adds is `loss_terms` and who minimises which term.

    A model names its losses per example in `loss_terms`; the tables below say who minimises them;
    this class turns them into one number per player, tracks them, and does everything that is the
    same for every model: networks, building, data, batched calls, configuration, state, export.

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
        **kwargs: `name` and `dtype`, as of every Keras model.

    Raises:
        ValueError: If an argument is out of range, or an option is unknown.
    """

    objective = ("reconstruction_loss",)  # What every unclaimed weight minimises.
    # Attribute, or tuple of attributes -> the terms that these networks minimise instead.
    players = {}
    diagnostics = ()  # Tracked, minimised by nobody.

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if "__init__" in vars(cls):
            cls.__init__ = memory.explains(memory.SMALLER_MODEL)(cls.__init__)
        if cls.__module__.startswith("keras_ae."):
            keras.saving.register_keras_serializable("keras_ae")(cls)

    def __new__(cls, *args, **kwargs):
        model = super().__new__(cls, *args, **kwargs)
        given = {**dict(zip(inspect.signature(cls).parameters, args, strict=False)), **kwargs}
        _refuse_unknown(cls, [name for name in given if name in cls.without])
        arguments = {k: given.get(k, default) for k, default in constructor_parameters(cls).items()}
        object.__setattr__(model, "_notes", Notes(model, arguments))  # Hidden from Keras' tracking.
        return model

    def __init__(
        self,
        latent_dim=16,
        encoder=None,
        decoder=None,
        network_options=None,
        seed=None,
        **kwargs,
    ):
        _refuse_unknown(type(self), kwargs)
        super().__init__(**kwargs)
        self.latent_dim = arguments.integer(self, "latent_dim", latent_dim)
        self.encoder = networks.given_or_none(self, "encoder", encoder)
        self.decoder = networks.given_or_none(self, "decoder", decoder)
        if not isinstance(network_options, (dict, type(None))):
            raise TypeError(
                f"{type(self).__name__}: network_options={network_options!r} must be a dictionary, "
                "such as {'units': (200, 200)}."
            )
        self.network_options = dict(network_options or {})
        # What all features of a padded step equal, or None where no step is padding.
        self.mask_value = networks.mask_value(self.encoder, self.network_options)
        if seed is not None:
            _checked_seed(seed)
        self.seed_generator = ReplicaSeedGenerator(seed, name="seed_generator")
        # For draws outside of training, which must not move its seeds: where they are not known
        # before a program of the user's runs, and anywhere else.
        self.program_seeds = ReplicaSeedGenerator(self.order_seed(), name="program_seeds")
        self.fresh_seeds = FreshSeeds(self.order_seed())
        self.features_to_code = self.sampler = None
        self.step = self.add_weight(
            shape=(),
            initializer="zeros",
            dtype="int32",
            trainable=False,
            aggregation="only_first_replica",
            name="step",
        )
        self.batch_mean = _BatchMean(name="batch_mean")

    # ------------------------------------------------------------------ what a paper writes

    without = ()  # Arguments of this class that a model has no use for and refuses.
    code_parameters = 1  # Numbers that the encoder gives for each dimension of the code.
    support = None  # Lowest and highest value of the data, where the model has limits.
    takes_classes = False  # Whether the targets' last axis holds the probabilities of classes.
    code_dtype = "float32"  # "int32" where `encode` gives the numbers of codes.
    _inputs_are_targets = True  # Whether inputs have the targets' range, where both have one shape.
    restored = False  # Whether the model was built from a file.

    def loss_terms(self, x, y, training):
        """The losses of a batch by name.

        Args:
            x: Float32 tensor of inputs, shape (batch, ...).
            y: Float32 tensor of targets, shape (batch, ...); x itself unless the data is paired.
            training: Whether weights are being updated.

        Returns:
            Dictionary of name -> tensor of shape (batch,) or (), in nats for likelihoods. It holds
            every name in `objective`, `players` and `diagnostics`.
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
    def encode(self, x, training=False):
        """The code of every example.

        Args:
            x: Array or tensor of shape (batch, ...), or a `tf.data.Dataset` of such examples.
            training: Whether layers such as dropout are active. Defaults to False.

        Returns:
            Array or tensor of shape (batch, latent_dim), float32.
        """
        raise NotImplementedError

    @batched("code")
    def decode(self, z, training=False):
        """The data that belongs to every code.

        Args:
            z: Array or tensor of shape (batch, latent_dim).
            training: Whether layers such as dropout are active. Defaults to False.

        Returns:
            Array or tensor of shape (batch, ...), float32.
        """
        raise NotImplementedError

    def _decode_drawn(self, draws, **options):
        """Data of what the sampler draws: `decode`, unless draws hold what codes cannot."""
        return self.decode(draws, **options)

    def decoder_shape(self, target_shape):
        """The shape that the decoder returns for targets of this shape, without the batch axis."""
        return tuple(target_shape)

    def batch_numbers(self, batch_size):
        """Numbers in what an array call of a batch compares its examples with: see below."""
        return 0

    def step_numbers(self, batch_size):
        """Numbers in the largest term of a step's losses that are no outputs of layers.

        Such as one for each pair of examples, or of a vector and a code. `fit` and `evaluate`
        refuse a batch_size for which they and the outputs do not fit into memory.
        """
        return self.batch_numbers(batch_size)

    def code_width(self):
        """Numbers that the encoder gives for the whole code."""
        return self.code_parameters * self.latent_dim

    @property
    def arguments(self):
        """What the constructor was given, or its defaults: name -> value.

        Files hold the weights of networks that were given under this name.
        """
        return self._notes.arguments

    @property
    def code_shape(self):
        """The shape of one code, without the batch axis; of a built model."""
        return (self.latent_dim,)

    def decoder_input_shape(self):
        """The shape of what the decoder takes, without the batch axis; of a built model."""
        return (self.latent_dim,)

    def _steps_in(self, array):
        """Data (batch, ...) as sequences (batch, ..., features), or None if it is none."""
        return array if array.ndim > 2 else None

    # ------------------------------------------------------------------ what every model does

    @batched("data")
    def reconstruct(self, x, training=False):
        """Every example encoded and decoded again.

        Args:
            x: Array or tensor of shape (batch, ...), or a `tf.data.Dataset` of such examples.
            training: Whether layers such as dropout are active. Defaults to False.

        Returns:
            Array or tensor of the target's shape, float32.
        """
        return self.decode(self.encode(x, training=training), training=training)

    def call(self, x, training=False):
        with traced(self):
            return self.reconstruct(ops.cast(x, "float32"), training=training)

    def sample(self, num_samples, seed=None, *, batch_size=None, verbose="auto"):
        """New data from the model.

        Args:
            num_samples: How many, an integer of at least 1.
            seed: Integer that makes the draw repeatable. Defaults to None, a fresh draw.
            batch_size: Examples of a batch, of which up to four are in memory at a time. Defaults
                to a million numbers of data, at most 1,024 examples.
            verbose: 0, 1 or "auto" (a progress bar after two seconds).

        Returns:
            Array of shape (num_samples, ...), float32.

        Raises:
            ValueError: If num_samples is not a positive integer.
            RuntimeError: If the sampler is not ready; the message says what to call.
        """
        return self._sample(num_samples, seed, batch_size, verbose)

    def _sample(self, num_samples, seed, batch_size, verbose, **options):
        """`sample`, with options of the sampler."""
        if not isinstance(num_samples, (int, np.integer)) or num_samples < 1:
            raise ValueError(f"sample: num_samples={num_samples!r} must be a positive integer.")
        if self.sampler is None or not self.sampler.ready():
            needs = (self.sampler or samplers.Sampler).needs
            raise RuntimeError(f"{type(self).__name__}.sample needs {needs}")
        inputs.require_built(self, "sample")
        memory.refuse_samples(self, num_samples)
        seed = self.draw_seed(seed)
        name, sizes = f"{type(self).__name__}.sample", {"num_samples": num_samples}
        with memory.explained(name, lambda: sizes, memory.FEWER_DRAWS):
            self.sampler.prepare()
            draws = self.sampler.draw(int(num_samples), seed, verbose=verbose, **options)
            return self._decode_drawn(draws, batch_size=batch_size, verbose=verbose)

    def gradient(self, function, z):
        """The gradient of a function of codes, one number for each of them, in any backend.

        Args:
            function: Takes z and returns a tensor of shape (batch,).
            z: Tensor of shape (batch, ...).

        Returns:
            Tensor of z's shape, itself differentiable.
        """
        values, pull = self.pullback(function, z)
        return pull(ops.ones_like(values))

    def pullback(self, function, x):
        """The value of a function and products of vectors with its Jacobian, in any backend.

        Args:
            function: Takes x and returns a tensor.
            x: Tensor of shape (batch, ...).

        Returns:
            function(x); and a function of a tensor of that value's shape, whose product with the
            Jacobian it returns: a tensor of x's shape, itself differentiable.
        """
        return backend.pullback(function, x)

    def program(self, method):
        """A method of tensors that runs as one program, in any backend."""
        return backend.program(self, method)

    def draw_seed(self, seed):
        """A seed generator of a seed: an integer's, the given one, or if it is None a fresh one.

        Within a step of training that is the training's own, so that a resumed run repeats it.
        """
        if seed is None:
            if getattr(self._notes.in_step, "seed", None) is not None:
                return self._notes.in_step.seed
            if backend.tracing():
                return self.program_seeds
            return RunSeed(self.fresh_seeds.next().astype(backend.SEED_DTYPE))
        if isinstance(seed, keras.random.SeedGenerator):
            return seed
        return RunSeed(np.array([_checked_seed(seed), 0]).astype(backend.SEED_DTYPE))

    def seed_numbers(self, seed):
        """The two integers of a seed, fresh ones if it is None."""
        if seed is None:
            return self.fresh_seeds.next()
        if isinstance(seed, keras.random.SeedGenerator):
            return ops.convert_to_numpy(seed.next()).astype("int64")
        return np.array([_checked_seed(seed), 0])

    def step_seed(self, training):
        """Noise for one step: fresh while training, and the same in every evaluation.

        In evaluation the seed is the number of examples seen since it began, so that batches
        differ and two evaluations of the same weights agree. All draws of a step are its one
        seed's.
        """
        if training:
            return self.seed_generator
        if getattr(self._notes.in_step, "seed", None) is not None:
            return self._notes.in_step.seed
        seen = ops.cast(self.trackers[self.objective[0]].seen, backend.SEED_DTYPE)
        index = backend.replica_index()
        zero = ops.zeros_like(seen) if index is None else ops.cast(index, backend.SEED_DTYPE)
        return RunSeed(ops.stack([zero, seen]))

    # ------------------------------------------------------------------ building

    def build(self, input_shape, target_shape=None):
        """Make the networks and the weights for data of this shape.

        Args:
            input_shape: Shape of a batch of inputs, such as (None, 28, 28, 1).
            target_shape: Shape of a batch of targets. Defaults to the inputs' own.

        Raises:
            ValueError: If the model was built for other shapes, or the networks do not fit.
        """
        shape, target_shape = tuple(input_shape[1:]), tuple((target_shape or input_shape)[1:])
        if self.built:
            if (shape, target_shape) != (self.data_shape, self.target_shape):
                raise ValueError(
                    f"This {type(self).__name__} was built for {self.data_shape} -> "
                    f"{self.target_shape}, and cannot be built again for {shape} -> "
                    f"{target_shape}. Make a new model."
                )
            return
        self.data_shape, self.target_shape = shape, target_shape
        scope = memory.checked_weights(type(self).__name__, memory.SMALLER_MODEL)
        explained = memory.explained(
            f"{type(self).__name__}.build",
            lambda: {"input_shape": input_shape},
            memory.SMALLER_MODEL,
        )
        with following(self.order_seed()), backend.building_scope(self), scope, explained:
            self._make_trackers()
            self.build_networks(shape, target_shape)
        if not self.restored:
            self.check_given()

    def _make_trackers(self):
        """Make the running mean of each term; the first one also counts the examples."""
        first, *others = [*self.objective, *sum(self.players.values(), ()), *self.diagnostics]
        self.trackers = {name: keras.metrics.Mean(name=name) for name in others}
        self.trackers = {first: _CountingMean(name=first), **self.trackers}

    def check_given(self):
        """Raise where what was given has no effect, or cannot be trained as it is meant.

        Of a model that is built for the first time: files of before such checks still load.
        """
        given = [self.arguments.get(name) for name in ("encoder", "decoder")]
        if all(isinstance(network, keras.layers.Layer) for network in given):
            for name in self.network_options.keys() - self.options_in_use():
                raise ValueError(
                    f"{type(self).__name__}: network_options={self.network_options!r} has no "
                    f"effect in {name!r}, because encoder and decoder were given. Leave it out."
                )

    def options_in_use(self):
        """Names of the `network_options` that count even where both networks were given."""
        return {"mask_value"}

    def refuse_unused(self, name, reason):
        """Raise if an argument without effect has another value than its default."""
        value = self.arguments[name]
        if value != constructor_parameters(type(self))[name]:
            raise ValueError(
                f"{type(self).__name__}: {name}={value!r} has no effect, because {reason}. Leave "
                "it out."
            )

    def build_networks(self, shape, target_shape):
        """Make the networks that were not given; subclasses add their own.

        Args:
            shape: Shape of one input.
            target_shape: Shape of one target.
        """
        dtype, options = self.dtype_policy, self.network_options
        if self.encoder is None or isinstance(self.encoder, str):
            self.encoder = networks.encoder(shape, self.encoder, dtype=dtype, **options)
        if self.decoder is None or isinstance(self.decoder, str):
            self.decoder = networks.decoder(
                self.latent_dim,
                self.decoder_shape(target_shape),
                self.decoder,
                dtype=dtype,
                **options,
            )
        self.features_to_code = keras.Sequential(
            [
                keras.layers.Flatten(dtype=dtype, name="flatten"),
                keras.layers.Dense(self.code_width(), dtype=dtype, name="code"),
            ],
            name="features_to_code",
        )
        self._fit_networks(shape, target_shape)

    def _fit_networks(self, shape, target_shape):
        """Build the networks by passing symbolic data, and check that they fit each other."""
        features = symbolic_call(self, "encoder", self.encoder, (None, *shape))
        self.features_to_code(features)
        self._fit_decoder(target_shape)

    def _fit_decoder(self, target_shape):
        """Build the decoder by passing symbolic data, and check what it returns."""
        width = self.decoder_input_shape()
        output = symbolic_call(self, "decoder", self.decoder, (None, *width))
        expected = self.decoder_shape(target_shape)
        if tuple(output.shape[1:]) != tuple(expected):
            raise ValueError(
                f"{type(self).__name__}: the decoder returns {tuple(output.shape[1:])} for "
                f"inputs of shape {width}, and {tuple(expected)} is needed. Give it an output of "
                "that shape."
            )

    def get_build_config(self):
        if not self.built:
            return None
        return {
            "input_shape": [None, *self.data_shape],
            "target_shape": [None, *self.target_shape],
            "changes": changes.record(self),
        }

    def build_from_config(self, config):
        # Keras' own swallows what goes wrong here, and the weights would then be left unread.
        if config:
            self.restored = True
            self.build(tuple(config["input_shape"]), tuple(config["target_shape"]))
            if "changes" in config:  # Files of old do not hold them.
                with backend.building_scope(self):
                    changes.repeat(self, config["changes"])

    def _build_for(self, shape, target_shape=None):
        """Build if need be, in one thread."""
        with self._notes.making:
            if not self.built:
                self.build((None, *shape), (None, *(target_shape or shape)))

    # ------------------------------------------------------------------ losses

    def losses_and_logs(self, data, training):
        """One scalar loss per player, and the running means of everything tracked.

        Args:
            data: Batch as Keras hands it to a step: x, (x, y) or (x, y, sample_weight).
            training: Whether weights are being updated.

        Returns:
            List of scalars, the autoencoder's own first, then those of `players` in order; and a
            dictionary of logs.
        """
        self._notes.in_step.seed = self.step_seed(training)
        try:
            with traced(self):
                return self._losses_and_logs(data, training)
        finally:
            self._notes.in_step.seed = None

    def _losses_and_logs(self, data, training):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        x = ops.cast(x, "float32")
        y = x if y is None else ops.cast(y, "float32")
        terms = {
            name: _per_example(value, x) for name, value in self.loss_terms(x, y, training).items()
        }
        weights = self.loss_weights()
        totals = [
            sum(weights.get(name, 1.0) * terms[name] for name in names) + sum(regularisers)
            for names, regularisers in zip(
                (self.objective, *self.players.values()), self._regularisers(), strict=True
            )
        ]
        for name, tracker in self.trackers.items():
            tracker.update_state(terms[name], sample_weight)
        self._loss_tracker.update_state(totals[0], sample_weight)
        losses = [self.batch_mean(total, total, sample_weight) for total in totals]
        if training:
            self.step.assign(self.step + 1)
        y_pred = self(x, training=False) if self._compile_metrics is not None else None
        return losses, self.compute_metrics(x, y, y_pred, sample_weight)

    def unless_alone(self, name, value, x):
        """A term that compares the examples of a batch, of shape (); of one alone, its mean so far.

        One example says nothing of a distribution. So it moves no weight, and no mean in the logs.

        Args:
            name: The term's name.
            value: What was computed from the batch.
            x: The batch, shape (batch, ...).
        """
        return ops.where(
            ops.shape(x)[0] > 1, value, ops.cast(self.trackers[name].result(), "float32")
        )

    def _regularisers(self):
        """The regularisation losses of the autoencoder's own networks, then of each player's."""
        claimed = self._claimed_networks()
        ids = {id(network) for networks in claimed for network in networks}
        own = sum((layer.losses for layer in self.layers if id(layer) not in ids), [])
        return [own, *(sum((n.losses for n in networks), []) for networks in claimed)]

    def _claimed_networks(self):
        """The networks of each player."""
        names = [(name,) if isinstance(name, str) else name for name in self.players]
        return [[getattr(self, name) for name in group] for group in names]

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        return super().compute_metrics(x, x if y is None else y, y_pred, sample_weight)

    def variable_groups(self):
        """The weights that each player moves; the first group is everything unclaimed."""
        claimed = [
            sum((network.trainable_variables for network in networks), [])
            for networks in self._claimed_networks()
        ]
        ids = {id(variable) for group in claimed for variable in group}
        return [[v for v in self.trainable_variables if id(v) not in ids], *claimed]

    # ------------------------------------------------------------------ configuration and state

    def get_config(self):
        arguments = {
            name: keras.saving.serialize_keras_object(self.argument_now(name))
            for name in self.arguments
        }
        return {**super().get_config(), **arguments}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(
            **{
                name: keras.saving.deserialize_keras_object(value, custom_objects)
                for name, value in config.items()
            }
        )

    def get_compile_config(self):
        config, trained = super().get_compile_config(), changes.numbers_of_trained(self)
        if config is None or trained is None:  # What it knows of weights that are gone is lost.
            return None
        # On torch Keras stores optimisers of its own, which no other backend can load.
        return {**_portable(config), **trained}

    def _seed_states(self):
        return [
            v
            for v in self.non_trainable_variables
            if v.name == "seed_generator_state" and v is not self.program_seeds.state
        ]

    def save_own_variables(self, store):
        super().save_own_variables(store)
        # Keras saves no seed generators: without them a resumed run repeats its first noise.
        for number, state in enumerate(self._seed_states()):
            store[f"seed_{number}"] = state

    def load_own_variables(self, store):
        super().load_own_variables({k: store[k] for k in store.keys() if not k.startswith("seed_")})
        for number, state in enumerate(self._seed_states()):
            if f"seed_{number}" in store.keys():
                state.assign(store[f"seed_{number}"])

    # ------------------------------------------------------------------ files

    def save(self, filepath, overwrite=True, zipped=None, **kwargs):
        """Write the model to a `.keras` file, as every Keras model, for `keras_ae.load`.

        The file appears whole or not at all, unless Keras has to ask whether to replace one.

        Args:
            filepath: Path of the file; its name ends in `.keras`. With `zipped=False` that of a
                new or empty folder, which `keras.saving.load_model` reads.
            overwrite: Whether to replace a file without asking. Defaults to True.
            zipped: As in Keras. Defaults to None, a file.
            **kwargs: As in Keras.

        Raises:
            ValueError: If the name does not end in `.keras`. Nothing is written then.
            FileExistsError: If filepath is a folder that is not empty, or where a file is to be.
            OSError: If the file cannot be written, such as on a full disk.
        """
        keras_files.save(super().save, filepath, overwrite, zipped, **kwargs)

    def save_weights(self, filepath, overwrite=True, max_shard_size=None):
        """Write the weights alone to a `.weights.h5` file, as every Keras model.

        The file appears whole or not at all, unless Keras has to ask whether to replace one.

        Args:
            filepath: Path of the file; its name ends in `.weights.h5`, and that of several files
                in `.weights.json`.
            overwrite: Whether to replace a file without asking. Defaults to True.
            max_shard_size: Gigabytes of a file, of which as many are written as it takes. Defaults
                to None, one file.

        Raises:
            ValueError: If the name has another end. Nothing is written then.
            OSError: If the file cannot be written, such as on a full disk.
        """
        keras_files.save_weights(self, super().save_weights, filepath, overwrite, max_shard_size)

    def _endpoints(self):
        """What an exported model serves: name -> (function, {argument: shape})."""
        x, z = (None, *self.data_shape), (None, *self.code_shape)
        return {
            "serve": (lambda x: self.reconstruct(x), {"x": x}),
            "encode": (lambda x: self.encode(x), {"x": x}),
            "decode": (lambda z: self.decode(z), {"z": z}),
        }

    def export(self, filepath, format="tf_saved_model", *, card=None, overwrite=False, **kwargs):
        """Write a folder that TensorFlow serves without this package, and `keras_ae.load` trains.

        The endpoints are for inference; through those of a model on JAX no gradient goes.

        Args:
            filepath: Folder to make; of another format, the file. It appears whole or not at all.
            format: "tf_saved_model", or another format of `keras.Model.export`.
            card: Dictionary of facts for the folder's `card.json`, such as data and figures.
            overwrite: Whether an artifact that is there may be replaced, or a file by one of
                another format. Nothing else ever is. Defaults to False.
            **kwargs: For the other formats.

        Raises:
            FileExistsError: If filepath exists and overwrite is False; or if it is something else
                than an artifact, such as a link, a folder that holds other files, too, or the
                working directory.
            BlockingIOError: If another export to filepath is under way, in any process.
            ValueError: If the model is not built.
            OSError: If the folder cannot be written; what was there before is unharmed.
            NotImplementedError: On the torch backend.
        """
        inputs.require_built(self, "export")
        if format != "tf_saved_model":
            return export.write_other(self, super().export, filepath, format, overwrite, **kwargs)
        if kwargs:
            raise TypeError(f"export: unknown arguments {', '.join(kwargs)} for {format!r}.")
        export.write(self, filepath, card or {}, overwrite)


def constructor_parameters(cls):
    """The constructor's parameters and their defaults, following **kwargs up to Autoencoder."""
    found = {}
    for base in cls.__mro__[: cls.__mro__.index(Autoencoder) + 1]:
        for p in inspect.signature(vars(base).get("__init__", object.__init__)).parameters.values():
            if p.kind is p.POSITIONAL_OR_KEYWORD and p.name not in ("self", *cls.without):
                found.setdefault(p.name, p.default)
    return found


def _refuse_unknown(cls, names):
    unknown = [name for name in names if name not in ("name", "dtype", "trainable")]
    if unknown:
        raise TypeError(
            f"{cls.__name__}: unknown argument {unknown[0]!r}. It takes "
            f"{', '.join(constructor_parameters(cls))}, name and dtype."
        )


def symbolic_call(model, name, network, shape):
    """The network's output for symbolic data, with an error that says who asked for what."""
    given = getattr(network, "input_shape", None) if network.built else None
    if isinstance(given, (list, dict)) and len(given) > 1:
        raise ValueError(
            f"{type(model).__name__}: the {name} {network.name!r} has {len(given)} inputs, of "
            f"shapes {given}, and gets one, of shape {shape[1:]}. Make a model of one input."
        )
    if isinstance(given, tuple) and not _compatible(given, shape):
        raise ValueError(
            f"{type(model).__name__}: the {name} takes inputs of shape {given[1:]}, and gets "
            f"{shape[1:]}. "
            f"Make its first layer keras.Input({shape[1:]}), or "
            + ("set latent_dim to what it takes." if name == "decoder" else "reshape the data.")
        )
    output = network(keras.KerasTensor(shape, dtype="float32"), training=False)
    if not isinstance(output, keras.KerasTensor):
        found = keras.tree.map_structure(lambda each: each.shape[1:], output)
        raise ValueError(
            f"{type(model).__name__}: the {name} {network.name!r} has to return one tensor, and it "
            f"returns a {type(output).__name__} of outputs of shapes {found}. Choose one, such as "
            "keras.Model(network.inputs, network.outputs[0]), or join them by "
            "keras.layers.Concatenate."
        )
    return output


def _compatible(given, shape):
    return len(given) == len(shape) and all(
        None in pair or pair[0] == pair[1] for pair in zip(given, shape, strict=True)
    )


def _portable(config):
    """A configuration in which torch's optimisers have the names that every backend knows."""
    if isinstance(config, (list, tuple)):
        return [_portable(value) for value in config]
    if not isinstance(config, dict):
        return config
    config = {name: _portable(value) for name, value in config.items()}
    if str(config.get("module")).startswith("keras.src.backend.torch.optimizers"):
        config |= {"module": "keras.optimizers", "registered_name": None}
    return config


def _per_example(value, x):
    """A loss as a float32 tensor of shape (batch,), whatever its shape."""
    value = ops.cast(value, "float32")
    return value if len(value.shape) == 1 else ops.broadcast_to(value, (ops.shape(x)[0],))


def _checked_seed(seed):
    if not isinstance(seed, (int, np.integer)) or isinstance(seed, bool):
        raise TypeError(f"seed={seed!r} must be an integer, or None for a fresh draw.")
    return int(seed)
