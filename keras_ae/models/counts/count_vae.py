"""Deep generative modeling for single-cell transcriptomics: Lopez et al. 2018, Nature Methods.

The authors call it scVI, doi:10.1038/s41592-018-0229-2.
"""

import math
from typing import Any

import numpy as np
from keras import ops

from keras_ae import distributions, likelihoods
from keras_ae.core import arguments
from keras_ae.core.batching import batched
from keras_ae.core.examples import call, takes_inputs_of
from keras_ae.core.types import ArrayOrTensor, Data, Tensor, Verbose
from keras_ae.models.variational.vae import VAE


class CountVAE(VAE):
    """A variational autoencoder of counts, whose sum in an example says little about the example.

    Counts of a cell's molecules, a document's words or a customer's purchases also depend on how
    much was counted. The decoder therefore returns shares that add up to 1, and the mean of a count
    is the library size times the share. The library size is the sum of the counts of the example,
    or the input `library`. The bound and `log_likelihood` are those of the counts given the library
    size, in nats.

    Counts that were measured in several batches differ for reasons that are of no interest. With
    `num_batches`, encoder and decoder read the batch, so that the code need not tell it: `fit(x,
    batch=b)`, `encode(x, batch=b)`, `decode(z, batch=b)`, `sample(16, batch=0)`. Counts of one
    batch are transferred to another by `decode(encode(x, batch=0), batch=1)`, where arrays have a
    batch for each row. Numbers that are known of an example, such as a donor's age, can be read in
    the same way: the input `covariates`.

    The encoder reads log(1 + x). Unlike in the paper, the library size is observed, and no latent
    variable.

    Args:
        latent_dim: Dimensions of the code. Defaults to 10.
        num_batches: Number of batches, which are the integers from 0 in the input `batch`. Defaults
            to None: the model has no such input.
        num_covariates: Number of columns of the input `covariates`, of shape (examples,
            num_covariates) and about unit scale. Defaults to 0: the model has no such input.
        likelihood: `"zero_inflated_negative_binomial"`, `"negative_binomial"`, `"poisson"`, or such
            an object of `keras_ae.likelihoods`. Defaults to "zero_inflated_negative_binomial".
        encoder, decoder, kl_weight, free_bits, network_options, seed: See `keras_ae.VAE`. Features
            of the batch (one-hot) and the covariates are joined to what an encoder of your own
            reads, which is log(1 + x), and to the code that a decoder of your own reads. The
            decoder returns the logarithms of shares, up to a constant for each example, and for the
            zero-inflated likelihood as many logits of zeros after them.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> import numpy as np
    >>> from keras_ae import CountVAE
    >>> model = CountVAE(latent_dim=2, num_batches=2, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).poisson(3.0, (64, 8))
    >>> batch = np.arange(64) % 2
    >>> history = model.fit(x, batch=batch, epochs=1, verbose=0)
    >>> moved = model.decode(model.encode(x, batch=batch), batch=1 - batch, library=x.sum(axis=1))
    >>> moved.shape, model.normalized_expression(x, batch=batch).sum(axis=1).round(3)[0].item()
    ((64, 8), 1.0)
    """

    extra_inputs = ("batch", "covariates", "library")
    _input_dtypes = {"batch": "int32"}
    _needs_data = True

    def __init__(
        self,
        latent_dim: int = 10,
        num_batches: int | None = None,
        num_covariates: int = 0,
        likelihood: str | likelihoods.Likelihood = "zero_inflated_negative_binomial",
        **kwargs: Any,
    ):
        super().__init__(latent_dim, likelihood=likelihood, **kwargs)
        if not isinstance(self.likelihood, likelihoods.Poisson):
            remedy = "Other data needs a keras_ae.VAE or keras_ae.ConditionalVAE."
            raise arguments.refusal(
                self, "likelihood", likelihood, "a likelihood of counts", remedy
            )
        self.num_batches = num_batches
        if num_batches is not None:
            self.num_batches = arguments.integer(self, "num_batches", num_batches)
        self.num_covariates = arguments.integer(self, "num_covariates", num_covariates, least=0)
        unused = {"batch": not self.num_batches, "covariates": not self.num_covariates}
        self.extra_inputs = tuple(name for name in self.extra_inputs if not unused.get(name))

    def _check_values(self, name, values, call):
        if name == "batch" and (values.min() < 0 or values.max() >= self.num_batches):
            raise ValueError(
                f"{type(self).__name__}: batch holds values from {values.min():g} to "
                f"{values.max():g}, and {call} takes integers from 0 to {self.num_batches - 1}, "
                f"because num_batches={self.num_batches}. np.unique(batch, return_inverse=True)[1] "
                "numbers batches from 0."
            )
        if name == "covariates" and values.shape[1:] != (self.num_covariates,):
            raise ValueError(
                f"{type(self).__name__}: covariates has the shape {values.shape}, and "
                f"num_covariates={self.num_covariates} was set. Pass an array of shape (examples, "
                f"{self.num_covariates})."
            )
        if name == "library" and (values.min() <= 0 or values.size != len(values)):
            raise ValueError(
                f"{type(self).__name__}: library of shape {values.shape} holds values from "
                f"{values.min():g} on, and {call} takes one positive number for each example, the "
                "sum of its counts. Leave it out where fit, evaluate or reconstruct can add up x."
            )
        return values

    def _label_range(self, call):
        return 0, self.num_batches - 1

    def _check_given(self):
        super()._check_given()
        if self._mask_value is not None:
            raise ValueError(
                f"{type(self).__name__} takes no mask_value={self._mask_value!r}, because padding "
                "would count in the library size. Pad with zeros, which are counts of nothing."
            )

    def _build_networks(self, shape, target_shape):
        if target_shape != shape:
            raise ValueError(
                f"{type(self).__name__}: targets of shape {target_shape} are no counts of the "
                f"data's features, of shape {shape}. Leave the target out."
            )
        super()._build_networks(shape, target_shape)
        # The logarithm of the typical library size, with which codes are decoded unless one is
        # given.
        self._log_library = self.add_weight(
            shape=(),
            initializer="zeros",
            dtype="float32",
            trainable=False,
            aggregation="only_first_replica",
            name="log_library",
        )

    def _adapt(self, passes):
        count = total = 0.0
        for x, inputs in passes:
            library = inputs.get("library", x.reshape(len(x), -1).sum(axis=1, dtype="float64"))
            logs = np.log(library[library > 0], dtype="float64")
            count, total = count + logs.size, total + logs.sum()
        self._log_library.assign(total / max(count, 1.0))

    @property
    def typical_library(self) -> float:
        """The geometric mean of the library sizes of the data that the model was fitted to."""
        return float(np.exp(ops.convert_to_numpy(self._log_library.value)))

    # ------------------------------------------------------------------ distributions

    def _num_conditions(self):
        return (self.num_batches or 0) + self.num_covariates

    def _encoder_input_shape(self, shape):
        return (*shape[:-1], shape[-1] + self._num_conditions())

    def _decoder_input_shape(self):
        return (self.latent_dim + self._num_conditions(),)

    def _join_conditions(self, values, batch, covariates):
        """Join the batch, one-hot, and the covariates to the last axis of a tensor."""
        parts = [values]
        if batch is not None:
            parts.append(ops.one_hot(batch, self.num_batches, dtype="float32"))
        if covariates is not None:
            parts.append(ops.cast(covariates, "float32"))
        axes = [1] * (len(values.shape) - 2)
        for number, part in enumerate(parts[1:], start=1):
            part = ops.reshape(part, (-1, *axes, part.shape[-1]))
            parts[number] = part + ops.zeros_like(values[..., :1])  # The same at every place.
        return ops.concatenate(parts, axis=-1) if len(parts) > 1 else values

    def _conditions(self, batch, covariates):
        """Declare, by its signature, which inputs both networks read if the model has them."""

    @takes_inputs_of("_conditions")
    def posterior(
        self, x: Tensor, training: bool = False, **inputs: Any
    ) -> distributions.DiagonalGaussian:
        """Make q(z | x, batch, covariates), a `keras_ae.distributions.DiagonalGaussian`.

        Args:
            x: Tensor of shape (batch, ...).
            training: Whether layers such as dropout are active. Defaults to False.
            **inputs: Tensors of `batch` and `covariates`, if the model has them.
        """
        logs = ops.log1p(ops.maximum(ops.cast(x, "float32"), 0.0))
        given = inputs.get("batch"), inputs.get("covariates")
        return super().posterior(self._join_conditions(logs, *given), training)

    @takes_inputs_of("_conditions")
    def conditional(
        self, z: Tensor, training: bool = False, library: Tensor | None = None, **inputs: Any
    ) -> Any:
        """Make p(x | z, batch, covariates, library), a distribution of counts.

        Args:
            z: Tensor of shape (batch, latent_dim).
            training: Whether layers such as dropout are active. Defaults to False.
            library: Tensor of library sizes, shape (batch,). Defaults to None, the
                `typical_library` for all codes.
            **inputs: Tensors of `batch` and `covariates`, if the model has them.
        """
        given = inputs.get("batch"), inputs.get("covariates")
        parameters = self.decoder(self._join_conditions(z, *given), training=training)
        if library is None:
            library = ops.exp(ops.convert_to_tensor(self._log_library))
        return self.likelihood.distribution(parameters, library)

    @takes_inputs_of("posterior", "conditional")
    def loss_terms(self, x: Tensor, y: Tensor, training: bool, **inputs: Any) -> dict[str, Tensor]:
        return super().loss_terms(x, y, training, **{"library": _add_up(y), **inputs})

    @takes_inputs_of("conditional", "prior")
    def _average_weights(self, q, y, num_samples, draws_at_once, seed, **inputs):
        inputs = {"library": _add_up(y), **inputs}
        return super()._average_weights(q, y, num_samples, draws_at_once, seed, **inputs)

    @batched("data", returns_data=True)
    @takes_inputs_of("posterior", "conditional")
    def reconstruct(self, x: Data, training: bool = False, **inputs: Any) -> ArrayOrTensor:
        """Compute the means of the counts given the code and the library size of every example.

        Args:
            x: Array or tensor of counts, (batch, ...), or a stream of them as in `fit`.
            training: Whether layers such as dropout are active. Defaults to False.
            **inputs: The model's named inputs, one row for each example.

        Returns:
            Array or tensor of shape (batch, ...), float32.
        """
        inputs = {"library": _add_up(x), **inputs}
        z = call(self, self.posterior, x, training, inputs=inputs).mean
        return call(self, self.conditional, z, training, inputs=inputs).mean

    @takes_inputs_of("_conditions")
    def normalized_expression(
        self,
        x: Data,
        total: float = 1.0,
        as_batch: int | None = None,
        *,
        batch_size: int | None = None,
        verbose: Verbose = "auto",
        **inputs: Any,
    ) -> ArrayOrTensor:
        """Compute the decoded shares of every example, which do not depend on its library size.

        Zeros of a zero-inflated likelihood are left out: these are the means of the counts that are
        not set to 0.

        Args:
            x: Array or tensor of counts, (batch, ...), or a stream of them as in `fit`.
            total: Sum of the result over the features of an example, a positive number. Defaults to
                1.
            as_batch: The batch with which all codes are decoded, an integer. Defaults to None, that
                of each example.
            batch_size, verbose: See `sample`.
            **inputs: The model's named inputs, one row for each example.

        Returns:
            Array or tensor of shape (batch, ...), float32.

        Raises:
            ValueError: If total is not positive, or as_batch is no batch.
        """
        who = "normalized_expression"
        total = arguments.number(who, "total", total, positive=True)
        if as_batch is not None:
            if not self.num_batches:
                raise ValueError(
                    f"{who}: as_batch={as_batch!r} has no effect, because this "
                    f"{type(self).__name__} has no batches. Make it with num_batches=."
                )
            most = self.num_batches - 1
            as_batch = arguments.integer(who, "as_batch", as_batch, least=0, most=most)
        options = {"batch_size": batch_size, "verbose": verbose}
        return self._normalize(x, total, as_batch, **options, **inputs)

    @batched("data", "normalized_expression")
    @takes_inputs_of("_conditions")
    def _normalize(self, x, total, as_batch, **inputs):
        z = self.posterior(x, **inputs).mean
        if as_batch is not None:
            inputs = {**inputs, "batch": ops.full_like(inputs["batch"], as_batch)}
        p = self.conditional(z, library=ops.convert_to_tensor(total, "float32"), **inputs)
        return ops.exp(p.log_mean)


def _add_up(x):
    """Add up the counts of every example, shape (batch,)."""
    x = ops.cast(x, "float32")
    return ops.sum(ops.reshape(x, (-1, math.prod(x.shape[1:]))), axis=1)
