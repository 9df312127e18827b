"""The base class of models with integer codes: their positions, a quantizer and a prior."""

import math

import keras
from keras import ops

from keras_ae import networks, samplers
from keras_ae.core import arguments, backend, memory
from keras_ae.core.array_batches import ArrayBatches, EpochOrder
from keras_ae.core.batching import batched, default_batch_size
from keras_ae.core.seeds import follow_seed, order_seed
from keras_ae.layers import GridPrior, SequencePrior, VectorQuantizer
from keras_ae.models.deterministic.base import DeterministicAE
from keras_ae.networks import fitting

_NUMBERS_OF_A_BATCH = 2**28  # So many float32 numbers take 1 GiB.


class DiscreteAE(DeterministicAE):
    """Base class of autoencoders whose codes are integers, the code indices of a quantizer.

    If the encoder ends in a map of features, as the default encoders of pictures and sequences do,
    there is a code index at every position of the map. The features of any other encoder become
    `code_length` code indices, whose vectors are concatenated for the decoder.

    Args:
        latent_dim: Dimensions of each vector that is quantized. Defaults to 16.
        code_length: Number of code indices of an example whose features have no positions. Defaults
            to 8.
        prior_options: Dictionary of options of the prior over the codes: see
            `keras_ae.layers.GridPrior` for a grid of codes, and `SequencePrior` otherwise. Defaults
            to None.
        encoder, decoder, reconstruction_loss, network_options, seed: See `keras_ae.AE`. An encoder
            of your own ends in features (batch, features) or in a map (batch, ..., features), and a
            decoder takes (batch, code_length * latent_dim) or (batch, ..., latent_dim).
    """

    diagnostics = ("codebook_usage", "perplexity")
    _code_dtype = "int32"

    def __init__(self, latent_dim=16, code_length=8, prior_options=None, **kwargs):
        super().__init__(latent_dim, **kwargs)
        self.code_length = arguments.integer(self, "code_length", code_length)
        example = "{'units': 64}"
        self.prior_options = arguments.dictionary(self, "prior_options", prior_options, example)
        self._prior_fitted = self.add_weight(
            shape=(),
            initializer="zeros",
            dtype="float32",
            trainable=False,
            aggregation="only_first_replica",
            name="prior_fitted",
        )
        self.quantizer = self.code_prior = None
        self._whole_codes = False  # If this is True, the prior predicts whole codes, not digits.

    # ------------------------------------------------------------------ what a paper writes

    def _make_quantizer(self):
        """Make the layer that quantizes vectors of latent_dim dimensions."""
        raise NotImplementedError

    def quantized(self, x, training=False, follow=False):
        """Compute the quantized vectors of a batch, their codes and losses.

        Args:
            x: Tensor of shape (batch, ...).
            training: Whether layers such as dropout are active. Defaults to False.
            follow: Whether codebooks learn from the vectors. Defaults to False.

        Returns:
            `keras_ae.layers.Quantized`, whose codes have the shape (batch, *code_shape).
        """
        return self.quantizer(self._code(x, training), training=follow)

    def _vectors(self, codes):
        """Look up the vectors of codes: a tensor (batch, ..., latent_dim).

        Args:
            codes: Integer tensor of shape (batch, *code_shape).
        """
        return self.quantizer.vectors(codes)

    def _statistics(self, codes):
        """Compute `keras_ae.layers.code_statistics` of a tensor of codes (batch, *code_shape)."""
        return self.quantizer.statistics(codes)

    def _batch_numbers(self, batch_size):
        # If there is a codebook to search, every vector is compared with every embedding.
        vectors = batch_size * math.prod(self._places)
        return vectors * (self.num_codes if self.quantizer.levels is None else 0)

    @property
    def num_codes(self):
        """The number of values of a code index. The model must be built."""
        return self.quantizer.num_codes

    @property
    def code_shape(self):
        return self._places

    @property
    def _vector_shape(self):
        """The shape of an example's vectors, without the batch axis. The model must be built."""
        return (*self._places, self.latent_dim)

    # ------------------------------------------------------------------ building

    def _build_networks(self, shape, target_shape):
        dtype, options = self.dtype_policy, self.network_options
        if self.encoder is None or isinstance(self.encoder, str):
            grid = networks.has_places(shape, self.encoder)
            self.encoder = networks.encoder(shape, self.encoder, dtype=dtype, grid=grid, **options)
        features = fitting.symbolic_call(self, "encoder", self.encoder, (None, *shape))
        self._flat = len(features.shape) == 2
        self._places = (self.code_length,) if self._flat else tuple(features.shape[1:-1])
        if None in self._places:
            raise ValueError(
                f"{type(self).__name__}: the encoder ends in features of shape "
                f"{tuple(features.shape[1:])}, but the number of codes must be known. Pass an "
                "encoder whose input has a known size."
            )
        self._build_codes(features)
        if self.decoder is None or isinstance(self.decoder, str):
            *grid, width = self._decoder_input_shape()
            self.decoder = networks.decoder(
                width,
                self._decoder_shape(target_shape),
                self.decoder,
                dtype=dtype,
                grid=tuple(grid) or None,
                **options,
            )
        fitting.fit_decoder(self, target_shape)
        self._make_prior(self._whole_codes)

    def _make_prior(self, whole_codes=False):
        """Make the prior over the digits of codes, or over whole codes.

        Codes without digits, and codes with whole_codes=True, are predicted as a whole.
        """
        prior = GridPrior if len(self.code_shape) == 2 else SequencePrior
        levels = None if whole_codes else self.quantizer.levels
        self.code_prior = prior(
            levels or self.num_codes, self.code_shape, name="code_prior", **self.prior_options
        )
        self.code_prior.build()
        self.code_prior.trainable = False  # Only `fit_prior` trains the prior.
        generate, fitted = self._generate_codes, self._prior_fitted
        self.sampler = samplers.Autoregressive(self.code_prior, fitted, generate)

    def _renew_prior(self):
        """Replace a prior over whole codes, which was never fitted, by one over digits."""
        self._tracker.unlock()
        del self.code_prior
        self._whole_codes = False
        with follow_seed(order_seed(self)), backend.building_scope(self):
            self._make_prior()
        self._tracker.lock()
        self._notes.programs.forget()

    def get_build_config(self):
        config = super().get_build_config()
        return config and {**config, "prior_of_whole_codes": self._whole_codes}

    def build_from_config(self, config):
        # Files from before there were priors over digits do not have this entry. They hold the
        # weights of a prior over whole codes.
        if config:
            self._whole_codes = config.get("prior_of_whole_codes", True)
        super().build_from_config(config)

    def _check_given(self):
        super()._check_given()
        if not self._flat and self._mask_value is not None:
            raise ValueError(
                f"{type(self).__name__}: mask_value={self._mask_value!r} is not possible, because "
                "this model has a code for every step, also for padding. Leave it out, or use "
                "keras_ae.AE."
            )

    def _build_codes(self, features):
        """Make the layers that turn the encoder's features into codes."""
        self.features_to_code = self._make_head("code")
        self.features_to_code(features)
        self.quantizer = self._make_quantizer()
        self.quantizer.build((None, *self._vector_shape))

    def _make_head(self, name):
        """Make a network from features to vectors, with the same layer at every position."""
        dtype = self.dtype_policy
        if not self._flat:
            return keras.Sequential(
                [keras.layers.Dense(self.latent_dim, dtype=dtype, name=name)],
                name=f"features_to_{name}",
            )
        width = self.code_length * self.latent_dim
        return keras.Sequential(
            [
                keras.layers.Dense(width, dtype=dtype, name=name),
                keras.layers.Reshape(
                    (self.code_length, self.latent_dim), dtype=dtype, name=f"{name}_places"
                ),
            ],
            name=f"features_to_{name}",
        )

    def _decoder_input_shape(self):
        shape = (*self._places, self.latent_dim)
        return (math.prod(shape),) if self._flat else shape

    # ------------------------------------------------------------------ codes

    @batched("data")
    def encode(self, x, training=False):
        """Compute the code indices of every example.

        Args:
            x: Array or tensor of shape (batch, ...), or a `tf.data.Dataset` of such examples.
            training: Whether layers such as dropout are active. Defaults to False.

        Returns:
            Array or tensor of shape (batch, *code_shape), int32.
        """
        return self.quantized(x, training).codes

    @batched("code")
    def decode(self, z, training=False):
        """Decode code indices, or the vectors that a quantizer returned.

        Args:
            z: Code indices of shape (batch, *code_shape), or vectors (batch, *vector_shape).
            training: Whether layers such as dropout are active. Defaults to False.

        Returns:
            Array or tensor of shape (batch, ...), float32.
        """
        vectors = self._vectors(z) if len(z.shape) == 1 + len(self.code_shape) else z
        vectors = self._decoder_input(vectors, training)
        output = ops.cast(self.decoder(vectors, training=training), "float32")
        return keras.activations.get(self._decoder_activation)(output)

    def _decoder_input(self, vectors, training=False):
        """Make the decoder's input from vectors (batch, *vector_shape)."""
        return ops.reshape(vectors, (-1, *self._decoder_input_shape()))

    @batched("data", returns_data=True)
    def reconstruct(self, x, training=False):
        """Encode and decode every example. The gradient passes through the quantizer's estimator.

        Args:
            x: Array or tensor of shape (batch, ...), or a `tf.data.Dataset` of such examples.
            training: Whether layers such as dropout are active. Defaults to False.

        Returns:
            Array or tensor of the target's shape, float32.
        """
        return self.decode(self.quantized(x, training).vectors, training=training)

    def codebook_statistics(self, x, *, batch_size=None, verbose="auto"):
        """Compute how much of the codebook is used by data of any size.

        The logs have the same statistics of each batch, which may be too small to use every code.

        Args:
            x: Array of shape (examples, ...), or a `tf.data.Dataset` of such examples.
            batch_size, verbose: See `encode`.

        Returns:
            Dictionary: "usage", the fraction of the codes that occur, and "perplexity". For several
            codebooks, these are averages.
        """
        codes = self.encode(x, batch_size=batch_size, verbose=verbose)
        found = self._statistics(ops.convert_to_tensor(codes))
        return {name: float(ops.convert_to_numpy(value)) for name, value in found.items()}

    # ------------------------------------------------------------------ losses

    def loss_terms(self, x, y, training):
        found = self.quantized(x, training, follow=training)
        statistics = self._statistics(found.codes)
        if training:
            self.sampler.update(found.codes)
        return {
            **self._reconstruction_terms(y, found.vectors, training),
            **found.losses,
            "codebook_usage": statistics["usage"],
            "perplexity": statistics["perplexity"],
        }

    # ------------------------------------------------------------------ the prior

    def fit_prior(
        self,
        x,
        epochs=20,
        batch_size=128,
        optimizer="adam",
        validation_data=None,
        callbacks=None,
        verbose="auto",
    ):
        """Train the autoregressive prior over the codes of data, from which `sample` draws.

        Call this after `fit`. Further training of the model changes the codes, and `sample` then
        raises an error until the prior is fitted again, which continues from the prior's weights.

        Args:
            x: Array of shape (examples, ...), or a `tf.data.Dataset` of such examples.
            epochs: Passes over the codes. Defaults to 20.
            batch_size: Examples in a step. Defaults to 128.
            optimizer: A Keras optimizer or its name. Defaults to "adam".
            validation_data: Data like x, whose codes are held out. Defaults to None.
            callbacks, verbose: See `fit`.

        Returns:
            `keras.callbacks.History`: "loss" is the codes' negative log-likelihood in nats per
            example.

        Raises:
            ValueError: If the model cannot take the data, or batch_size is not a positive integer.
        """
        batch_size = arguments.integer(self, "batch_size", batch_size)
        codes = self.encode(x, verbose=0)
        if self._whole_codes and self.quantizer.levels and not self.sampler.ready():
            self._renew_prior()
        prior = self.code_prior
        size = min(batch_size, len(codes))
        memory.refuse_beyond(
            4.0 * size * prior.numbers_of_example(),
            f"{type(self).__name__}.fit_prior: a step of batch_size={size} examples with codes of "
            f"shape {self.code_shape}, each of {sum(prior.levels)} logits,",
            "Pass a smaller batch_size, or make a model with fewer codes.",
        )
        codes = prior.digits(codes)
        batches = ArrayBatches((codes, codes), batch_size, True, order_seed(self))
        if validation_data is not None:
            held_out = prior.digits(self.encode(validation_data, verbose=0))
            held_out = ArrayBatches((held_out, held_out), batch_size)
            validation_data = (held_out,)
        prior.trainable = True
        try:
            with backend.building_scope(self):
                symbolic = keras.Input(prior.draws_shape, name="codes")
                network = keras.Model(symbolic, prior(symbolic), name="prior")
                network.compile(optimizer, loss=prior.nats, run_eagerly=self.run_eagerly)
            callbacks = [EpochOrder(batches), *(callbacks or [])]
            history = network.fit(
                batches,
                epochs=epochs,
                verbose=verbose,
                callbacks=callbacks,
                validation_data=validation_data,
                shuffle=False,
            )
        finally:
            prior.trainable = False
        self._prior_fitted.assign(1.0)
        return history

    def prior_log_likelihood(self, x, *, batch_size=None, verbose="auto"):
        """Compute the log-probability, in nats, of every example's codes under the fitted prior.

        Divided by -log(2), it is the number of bits that the codes take if the prior encodes them.

        Args:
            x: Array or tensor of shape (batch, ...), or a `tf.data.Dataset` of such examples.
            batch_size, verbose: See `encode`.

        Returns:
            Array or tensor of shape (batch,), float32.

        Raises:
            RuntimeError: If the prior is not fitted.
        """
        if not self.built or not self.sampler.ready():
            raise RuntimeError(
                f"{type(self).__name__}.prior_log_likelihood needs {samplers.Autoregressive.needs}"
            )
        if batch_size is None:
            # The default depends on the size of the data, but a prior may need more memory for each
            # example than the data.
            most = max(1, _NUMBERS_OF_A_BATCH // self.code_prior.numbers_of_example())
            batch_size = min(most, default_batch_size(self.data_shape))
        return self._log_prob(x, batch_size=batch_size, verbose=verbose)

    @batched("data")
    def _log_prob(self, x):
        return self.code_prior.log_prob(self.encode(x))

    @batched("draws", returns_data=False)
    def _generate_codes(self, draws):
        """Generate codes from uniform draws: see `CodePrior.generate`."""
        return self.code_prior.generate(draws)


class VectorQuantizedAE(DiscreteAE):
    """Base class of autoencoders whose codebook is learned.

    Args:
        latent_dim: Dimensions of each vector. Defaults to 16.
        num_codes: Number of embeddings in each codebook. Defaults to 256.
        commitment_weight: Factor of the commitment loss, a number of at least 0. Defaults to 0.25.
        learning, decay, estimator, cosine, k_means_start, restart_below: See
            `keras_ae.layers.VectorQuantizer`.
        code_length, prior_options, encoder, decoder, reconstruction_loss, network_options, seed:
            See `keras_ae.VQVAE`.
    """

    objective = (*DiscreteAE.objective, "commitment_loss")

    def __init__(
        self,
        latent_dim=16,
        num_codes=256,
        commitment_weight=0.25,
        learning="ema",
        decay=0.99,
        estimator="straight_through",
        cosine=False,
        k_means_start=True,
        restart_below=0.05,
        **kwargs,
    ):
        super().__init__(latent_dim, **kwargs)
        if learning == "gradient":
            self.objective = (*self.objective, "codebook_loss")
        self.commitment_weight = arguments.number(self, "commitment_weight", commitment_weight)
        self._quantizer_options = {
            "num_codes": num_codes,
            "learning": learning,
            "decay": decay,
            "estimator": estimator,
            "cosine": cosine,
            "k_means_start": k_means_start,
            "restart_below": restart_below,
        }
        VectorQuantizer(**self._quantizer_options, seed=0)  # The constructor checks them.

    def _make_quantizer(self, name="quantizer"):
        return VectorQuantizer(**self._quantizer_options, name=name)

    def loss_weights(self):
        return {"commitment_loss": self.commitment_weight}
