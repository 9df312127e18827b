"""Base classes of the models whose codes are integers."""

import math
from typing import Any

import keras
from keras import ops

from keras_ae import networks, samplers
from keras_ae.core import arguments, backend, conversion, memory
from keras_ae.core.array_batches import ArrayBatches, EpochOrder
from keras_ae.core.batching import batched, default_batch_size
from keras_ae.core.seeds import follow_seed, order_seed
from keras_ae.core.turns import check_callbacks
from keras_ae.core.types import Array, ArrayOrTensor, Data, Optimizer, Tensor, Verbose
from keras_ae.layers import GridPrior, Quantized, SequencePrior, VectorQuantizer
from keras_ae.models.deterministic.base import DeterministicAE
from keras_ae.networks import fitting

# Unless batch_size is given, `prior_log_likelihood` computes at most this many float32 numbers,
# 1 GiB, at a time.
_NUMBERS_OF_A_BATCH = 2**28


class DiscreteAE(DeterministicAE):
    """Base class of autoencoders whose codes are integers, the code indices of a quantizer.

    If the encoder returns a feature map, as the default encoders of pictures, volumes and sequences
    do, each position of the map has one code index. If the encoder returns one vector of features
    per example, each example has `code_length` code indices. Their quantized vectors are
    concatenated for the decoder.

    Args:
        latent_dim: Dimensions of each vector that is quantized. Defaults to 16.
        code_length: Number of code indices per example if the encoder returns no feature map.
            Defaults to 8.
        prior_options: Dictionary of options of the prior over the codes. If the codes form a grid,
            see `keras_ae.layers.GridPrior`, and otherwise `keras_ae.layers.SequencePrior`. Defaults
            to None.
        encoder, decoder, reconstruction_loss, network_options, seed: See `keras_ae.AE`. Your own
            encoder returns features of shape (batch, features), or a feature map of shape
            (batch, ..., features). Your own decoder takes vectors of shape
            (batch, code_length * latent_dim) in the first case, and (batch, ..., latent_dim) in the
            second.
    """

    diagnostics = ("codebook_usage", "perplexity")
    _code_dtype = "int32"

    def __init__(
        self,
        latent_dim: int = 16,
        code_length: int = 8,
        prior_options: dict[str, Any] | None = None,
        **kwargs: Any,
    ):
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
        # If this is True, the prior predicts whole codes, even if they consist of digits.
        self._whole_codes = False

    # ------------------------------------------------------------------ what subclasses override

    def _make_quantizer(self):
        """Make the layer that quantizes vectors of `latent_dim` dimensions."""
        raise NotImplementedError

    def quantized(self, x: Tensor, training: bool = False, follow: bool = False) -> Quantized:
        """Encode a batch, and quantize the encoder's vectors.

        Args:
            x: Tensor of shape (batch, ...).
            training: Whether layers such as dropout are active. Defaults to False.
            follow: Whether the codebook learns from the encoder's vectors. Defaults to False.

        Returns:
            `keras_ae.layers.Quantized` with codes of shape (batch, *code_shape).
        """
        return self.quantizer(self._code(x, training), training=follow)

    def _vectors(self, codes):
        """Look up the vectors of codes.

        Args:
            codes: Integer tensor of shape (batch, *code_shape).

        Returns:
            Tensor of shape (batch, ..., latent_dim).
        """
        return self.quantizer.vectors(codes)

    def _statistics(self, codes):
        """Compute `keras_ae.layers.code_statistics` of codes of shape (batch, *code_shape)."""
        return self.quantizer.statistics(codes)

    def _batch_numbers(self, batch_size):
        # A quantizer without levels has a codebook, and compares each vector with each embedding.
        vectors = batch_size * math.prod(self._places)
        return vectors * (self.num_codes if self.quantizer.levels is None else 0)

    @property
    def num_codes(self) -> int:
        """The number of values that a code index can have. The model must be built."""
        return self.quantizer.num_codes

    @property
    def code_shape(self) -> tuple[int, ...]:
        return self._places

    @property
    def _vector_shape(self):
        """The shape of one example's vectors, without the batch axis. The model must be built."""
        return (*self._places, self.latent_dim)

    # ------------------------------------------------------------------ building

    def _build_networks(self, shape, target_shape):
        dtype, options = self.dtype_policy, self.network_options
        if self.encoder is None:
            fitting.refuse_misread_pictures(self, shape)
        if self.encoder is None or isinstance(self.encoder, str):
            grid = networks.has_places(shape, self.encoder)
            self.encoder = networks.encoder(shape, self.encoder, dtype=dtype, grid=grid, **options)
        features = fitting.symbolic_call(self, "encoder", self.encoder, (None, *shape))
        if len(features.shape) < 2:
            raise ValueError(
                f"{type(self).__name__}: the encoder returns one number for each example, without "
                "an axis of features. End it with a layer that returns shape (batch, features), "
                "or (batch, ..., features) with a code for each place."
            )
        self._flat = len(features.shape) == 2
        self._places = (self.code_length,) if self._flat else tuple(features.shape[1:-1])
        if None in self._places:
            raise ValueError(
                f"{type(self).__name__}: the encoder returns features of shape "
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
        """Make the prior over the codes.

        The prior predicts each digit of a code separately. If the quantizer's codes have no digits,
        or if `whole_codes` is True, it predicts whole codes.
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
        """Replace the prior over whole codes, which was never fitted, with a prior over digits."""
        self._tracker.unlock()
        self._layers.remove(self.code_prior)  # Keras tracks a layer whose attribute is deleted.
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
        # Earlier versions had no priors over digits. Their files lack this entry and contain the
        # weights of a prior over whole codes.
        if config:
            self._whole_codes = config.get("prior_of_whole_codes", True)
        super().build_from_config(config)

    def _check_given(self):
        super()._check_given()
        if not self._flat and self._mask_value is not None:
            raise ValueError(
                f"{type(self).__name__}: mask_value={self._mask_value!r} is not possible, because "
                "this model has a code for every step, and padded steps are no exception. Leave "
                "mask_value out, or use keras_ae.AE."
            )

    def _build_codes(self, features):
        """Make the layers that turn the encoder's features into codes."""
        self.features_to_code = self._make_head("code")
        self.features_to_code(features)
        self.quantizer = self._make_quantizer()
        self.quantizer.build((None, *self._vector_shape))

    def _make_head(self, name):
        """Make a network that turns features into vectors.

        The same layer acts at every position of a feature map.
        """
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
    def encode(self, x: Data, training: bool = False) -> ArrayOrTensor:
        """Compute the code indices of every example.

        Args:
            x: Array or tensor of shape (batch, ...), or a stream of them as in `fit`.
            training: Whether layers such as dropout are active. Defaults to False.

        Returns:
            Array or tensor of shape (batch, *code_shape), int32.
        """
        return self.quantized(x, training).codes

    @batched("code")
    def decode(self, z: Array | Tensor, training: bool = False) -> ArrayOrTensor:
        """Decode code indices, or the vectors that a quantizer returned.

        Args:
            z: Code indices of shape (batch, *code_shape), or quantized vectors.
            training: Whether layers such as dropout are active. Defaults to False.

        Returns:
            Array or tensor of shape (batch, ...), float32.
        """
        vectors = self._vectors(z) if len(z.shape) == 1 + len(self.code_shape) else z
        vectors = self._decoder_input(vectors, training)
        output = ops.cast(self.decoder(vectors, training=training), "float32")
        return keras.activations.get(self._decoder_activation)(output)

    def _decoder_input(self, vectors, training=False):
        """Reshape vectors to the shape of the decoder's input."""
        return ops.reshape(vectors, (-1, *self._decoder_input_shape()))

    @batched("data", returns_data=True)
    def reconstruct(self, x: Data, training: bool = False) -> ArrayOrTensor:
        """Encode and decode every example.

        The quantizer's estimator passes gradients from the decoder to the encoder.

        Args:
            x: Array or tensor of shape (batch, ...), or a stream of them as in `fit`.
            training: Whether layers such as dropout are active. Defaults to False.

        Returns:
            Array or tensor of the target's shape, float32.
        """
        return self.decode(self.quantized(x, training).vectors, training=training)

    def codebook_statistics(
        self, x: Data, *, batch_size: int | None = None, verbose: Verbose = "auto"
    ) -> dict[str, float]:
        """Compute how much of the codebook the codes of all examples use.

        The logs of `fit` contain the same statistics for single batches. A batch may be too small
        to use every code.

        Args:
            x: Array of shape (examples, ...), or a stream of them as in `fit`.
            batch_size, verbose: See `encode`.

        Returns:
            Dictionary: "usage" is the fraction of the codes that occur, and "perplexity" is
            explained in `keras_ae.layers.code_statistics`. If there are several codebooks, both are
            averages over the codebooks.
        """
        conversion.refuse_symbols(x, "x")
        codes = self.encode(x, batch_size=batch_size, verbose=verbose)
        found = self._statistics(ops.convert_to_tensor(codes))
        return {name: float(ops.convert_to_numpy(value)) for name, value in found.items()}

    # ------------------------------------------------------------------ losses

    def loss_terms(self, x: Tensor, y: Tensor, training: bool) -> dict[str, Tensor]:
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
        x: Data,
        epochs: int = 20,
        batch_size: int = 128,
        optimizer: Optimizer = "adam",
        validation_data: Data = None,
        callbacks: list[keras.callbacks.Callback] | None = None,
        verbose: Verbose = "auto",
    ) -> keras.callbacks.History:
        """Train the autoregressive prior over codes on the codes of x. `sample` draws from it.

        Call this method after `fit`. If you train the model further, its codes change. `sample`
        then raises an error until you call `fit_prior` again, which continues to train the prior.

        Args:
            x: Array of shape (examples, ...), or a stream of them as in `fit`.
            epochs: Number of passes over the codes. Defaults to 20.
            batch_size: Number of examples in a training step. Defaults to 128.
            optimizer: A Keras optimizer or its name. Defaults to "adam".
            validation_data: Data like x, which the prior is evaluated on after every epoch.
                Defaults to None.
            callbacks, verbose: See `fit`.

        Returns:
            `keras.callbacks.History`. Its "loss" is the negative log-likelihood of the codes in
            nats per example.

        Raises:
            ValueError: If the model cannot take the data, or batch_size is not a positive integer.
        """
        batch_size = arguments.integer(self, "batch_size", batch_size)
        epochs = arguments.integer(self, "epochs", epochs, least=0)
        check_callbacks(callbacks)
        conversion.refuse_symbols(x, "x")
        conversion.refuse_symbols(validation_data, "validation_data")
        codes = self.encode(x, verbose=0)
        if not len(codes):
            raise ValueError(f"{type(self).__name__}.fit_prior: x is empty. Pass an example.")
        if self._whole_codes and self.quantizer.levels and not self.sampler.ready():
            self._renew_prior()
        prior = self.code_prior
        size = min(batch_size, len(codes))
        memory.refuse_beyond(
            4.0 * size * prior.numbers_of_example(),
            f"{type(self).__name__}.fit_prior: a step with batch_size={size} examples, codes of "
            f"shape {self.code_shape} and {sum(prior.levels)} logits for each code index",
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
            callbacks = [EpochOrder(batches), *keras.tree.flatten(callbacks or [])]
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

    def prior_log_likelihood(
        self, x: Data, *, batch_size: int | None = None, verbose: Verbose = "auto"
    ) -> ArrayOrTensor:
        """Compute the log-probability, in nats, of every example's codes under the fitted prior.

        Divide the result by -log(2) to get the number of bits to which the prior can compress the
        codes.

        Args:
            x: Array or tensor of shape (batch, ...), or a stream of them as in `fit`.
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
            # The default batch size is suited to the size of the data, but the prior may need more
            # memory per example.
            most = max(1, _NUMBERS_OF_A_BATCH // self.code_prior.numbers_of_example())
            batch_size = min(most, default_batch_size(self._data_shape))
        return self._log_prob(x, batch_size=batch_size, verbose=verbose)

    @batched("data")
    def _log_prob(self, x):
        return self.code_prior.log_prob(self.encode(x))

    @batched("draws", returns_data=False)
    def _generate_codes(self, draws):
        """Call `CodePrior.generate`, which turns uniform draws into codes."""
        return self.code_prior.generate(draws)


class VectorQuantizedAE(DiscreteAE):
    """Base class of autoencoders whose codebook is learned.

    Args:
        latent_dim: Dimensions of each vector that is quantized. Defaults to 16.
        num_codes: Number of embeddings in each codebook. Defaults to 256.
        commitment_weight: Weight of the commitment loss, a number of at least 0. Defaults to 0.25.
        learning, decay, estimator, cosine, k_means_start, restart_below: See
            `keras_ae.layers.VectorQuantizer`.
        code_length, prior_options, encoder, decoder, reconstruction_loss, network_options, seed:
            See `keras_ae.VQVAE`.
    """

    objective = (*DiscreteAE.objective, "commitment_loss")

    def __init__(
        self,
        latent_dim: int = 16,
        num_codes: int = 256,
        commitment_weight: float = 0.25,
        learning: str = "ema",
        decay: float = 0.99,
        estimator: str = "straight_through",
        cosine: bool = False,
        k_means_start: bool = True,
        restart_below: float = 0.05,
        **kwargs: Any,
    ):
        super().__init__(latent_dim, **kwargs)
        if isinstance(learning, str) and learning == "gradient":
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
        # The constructor checks the options, so that a wrong one raises an error right away.
        VectorQuantizer(**self._quantizer_options, seed=0)

    def _make_quantizer(self, name="quantizer"):
        return VectorQuantizer(**self._quantizer_options, name=name)

    def loss_weights(self) -> dict[str, Any]:
        return {"commitment_loss": self.commitment_weight}
