"""The base class of VAEs with a latent variable at every step of a sequence."""

import dataclasses
import functools
import itertools
import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ae import likelihoods
from keras_ae.core import arguments, backend, memory, seeds
from keras_ae.core.batching import batched
from keras_ae.core.types import ArrayOrTensor, Data, Tensor, Verbose
from keras_ae.distributions import WithoutPadding, counted
from keras_ae.models.structured.base import StructuredVAE
from keras_ae.networks.options import check_mask_value
from keras_ae.networks.sequences import steps_shape

# A step of training computes a quarter, a half, three quarters or all of the steps: as few as hold
# all that is no padding. Short sequences are not worth the time to compile four programs.
_PARTS = 4
_LEAST_STEPS = 16
_ROWS = 1024  # So many sequences at a time are searched for padding.
# The networks of a step have these options of the default networks.
_OPTIONS = ("units", "activation", "kernel_initializer", "kernel_regularizer")


class CountedSteps:
    """Mixin for VAEs of sequences whose likelihood is a sum over the steps that are not padding.

    The logs also have `nats_per_step`, the negative bound of each sequence divided by its number of
    steps, and `num_steps`, this number. `loss` divided by `num_steps` is the bound per step of all
    sequences together.
    """

    diagnostics = ("nats_per_step", "num_steps")

    def _leaves_out_padding(self):
        return self._mask_value is not None

    def _condition(self, parameters, training=False):
        """Make p(x | z) from the parameters of all steps, (batch, steps, parameters)."""
        p = super()._condition(parameters, training)
        return _OfSingleFeatures(p) if len(self._target_shape) == 1 else p

    def _with_nats_per_step(self, terms, number):
        """Add what the logs have of each step to the terms of the bound.

        Args:
            terms: Dictionary of `loss_terms`.
            number: Number of steps of each sequence, a tensor of shape (batch,).
        """
        bound = terms["reconstruction_loss"] + terms["kl_loss"]
        return {**terms, "nats_per_step": bound / ops.maximum(number, 1.0), "num_steps": number}


class ShortenedSteps(CountedSteps):
    """Mixin for models of sequences whose networks take any number of steps.

    If the last steps of a batch are padding in every row, training and `evaluate` leave them out:
    they compute a quarter, a half, three quarters or all of the steps. Each of these lengths is
    compiled once. `fit` puts sequences of similar lengths into one batch.
    """

    def _padding(self):
        """Return the number that all features of a padded step equal, or None."""
        return self._mask_value

    def _may_leave_out(self, steps):
        return self._padding() is not None and steps >= _LEAST_STEPS

    def _count_lengths(self, x):
        """Return how many steps of each sequence come before its padding, or None."""
        if not self._may_leave_out(x.shape[1]):
            return None
        lengths = []
        for start in range(0, len(x), _ROWS):
            given = np.asarray(x[start : start + _ROWS], "float32") != np.float32(self._padding())
            given = given if given.ndim == 2 else given.any(axis=2)
            after_last = x.shape[1] - np.argmax(given[:, ::-1], axis=1)
            lengths.append(np.where(given.any(axis=1), after_last, 0))
        return np.concatenate(lengths)

    def _leave_out_padding(self, compute, batch, counts, training):
        """Compute the terms of a batch without the last steps that are padding in every row.

        Args:
            compute: Function of x and y that returns the dictionary of the terms.
            batch: Tuple of data and targets, each of shape (batch, steps) or (batch, steps,
                features), whose numbers of steps may differ.
            counts: A tensor (batch, steps) for each of the two, which is 1 up to the last given
                step and 0 after it.
            training: Whether weights are being updated.
        """
        steps = [values.shape[1] for values in batch]
        if not all(map(self._may_leave_out, steps)):
            return compute(*batch)
        parts = [[math.ceil(n * part / _PARTS) for n in steps] for part in range(1, _PARTS + 1)]
        longest = [ops.max(ops.sum(each, axis=1)) for each in counts]
        number = 0
        for lengths in parts[:-1]:  # A part is too short if it is for x or for y.
            beyond = [a > b for a, b in zip(longest, lengths, strict=True)]
            number = number + ops.cast(ops.logical_or(*beyond), "int32")

        def follow(lengths, pair, *batch):
            with seeds.follow_pair(self, pair):
                return compute(*(v[:, :n] for v, n in zip(batch, lengths, strict=True)))

        branches = [functools.partial(follow, lengths) for lengths in parts]
        return ops.switch(number, branches, self.step_seed(training).next(), *batch)


class SequentialVAE(ShortenedSteps, StructuredVAE):
    """Base class of VAEs of sequences, whose code has a vector for each step.

    The bound of a sequence is the sum over its steps. The logs also have `nats_per_step`, the
    negative bound of each sequence divided by its number of steps, and `num_steps`, this number.
    `loss` divided by `num_steps` is the bound per step of all sequences together.

    A step is missing if all its features equal `mask_value`. Missing steps at the end are padding,
    which changes nothing, and which a whole batch leaves out as far as a quarter, a half or three
    quarters of the steps hold all data. Between other steps they are not counted in the likelihood,
    and the model infers their latent variables from the other steps.

    Args:
        latent_dim: Dimensions of the code of a step. Defaults to 16.
        hidden_units: Units of the recurrent layer. Defaults to 64.
        mask_value: Number that all features of a missing step equal. Defaults to None, no missing
            steps.
        likelihood, kl_weight, free_bits, seed: See `keras_ae.VAE`. `free_bits` applies to each
            step.
        network_options: Dictionary of the options "units", "activation", "kernel_initializer" and
            "kernel_regularizer" of the dense networks of a step. Defaults to None.
    """

    _without = ("encoder", "decoder")

    def __init__(
        self,
        latent_dim: int = 16,
        hidden_units: int = 64,
        mask_value: float | None = None,
        **kwargs: Any,
    ):
        super().__init__(latent_dim, **kwargs)
        self.hidden_units = arguments.integer(self, "hidden_units", hidden_units)
        self._mask_value = check_mask_value(type(self).__name__, mask_value)
        arguments.fix(self, "mask_value")
        for name in self.network_options.keys() - set(_OPTIONS):
            raise ValueError(
                f"{type(self).__name__}: network_options has {name!r}, and the networks of a step "
                f"have {', '.join(_OPTIONS)}. Leave it out."
            )

    # ------------------------------------------------------------------ shapes

    @property
    def code_shape(self) -> tuple[int, ...]:
        return (self._steps[0], self.latent_dim)

    def _decoder_input_shape(self):
        return self.code_shape

    def _to_sequences(self, array):
        return array.reshape(-1, *steps_shape(self, array.shape[1:]))

    def _build_networks(self, shape, target_shape):
        self._steps, targets = steps_shape(self, shape), steps_shape(self, target_shape)
        if targets[0] != self._steps[0]:
            raise ValueError(
                f"{type(self).__name__}: the targets have {targets[0]} steps and the data has "
                f"{self._steps[0]}. Pass a target for each step."
            )
        memory.refuse_beyond(
            4.0 * self._steps[0] * (self._steps[1] + self.hidden_units),
            f"{type(self).__name__}: one sequence of shape {self._steps}",
            "Cut it into shorter ones.",
        )
        self.likelihood.build(targets)
        self._step_parameters = count_parameters(self, targets)
        self._build_step_networks()

    def _build_step_networks(self):
        """Make the networks for the data's `_steps`, (steps, features)."""
        raise NotImplementedError

    # ------------------------------------------------------------------ steps

    def _read_steps(self, x):
        """Prepare data for networks, or count the steps of targets.

        Returns:
            Tensor of shape (batch, steps, features + 1), in which missing steps are 0 and the last
            number says whether the step is given. Tensor (batch, steps), which is 1 up to the last
            given step and 0 after it.
        """
        # Targets may have another number of features than the data.
        steps = ops.reshape(x, (-1, *steps_shape(self, x.shape[1:])))
        steps = ops.cast(steps, "float32")
        if self._mask_value is None:
            given = ops.ones_like(steps[:, :, 0])
        else:
            given = ops.cast(counted(steps, self._mask_value), "float32")
        later = ops.flip(ops.cumsum(ops.flip(given, axis=1), axis=1), axis=1)
        seen = ops.concatenate([steps * given[..., None], given[..., None]], axis=-1)
        return seen, ops.cast(later > 0.0, "float32")

    def _at_each_step(self, network, values, training=False):
        """Apply a network for (batch, features) to every step of (batch, steps, features)."""
        rows = ops.reshape(values, (-1, values.shape[-1]))
        found = ops.cast(network(rows, training=training), "float32")
        return ops.reshape(found, (-1, values.shape[1], found.shape[-1]))

    def _step_log_prob(self, x, parameters):
        """Compute log p(x | z) of single steps, (rows, features), which is 0 for missing ones."""
        if self._mask_value is None:
            return self.likelihood.distribution(parameters).log_prob(x)
        p = WithoutPadding(self.likelihood.distribution, parameters[:, None], self._mask_value)
        return p.log_prob(x[:, None])

    def loss_terms(self, x: Tensor, y: Tensor, training: bool) -> dict[str, Tensor]:
        counts = [self._read_steps(values)[1] for values in (x, y)]
        compute = functools.partial(super().loss_terms, training=training)
        terms = self._leave_out_padding(compute, (x, y), counts, training)
        return self._with_nats_per_step(terms, ops.sum(counts[1], axis=1))

    def _bound_terms(self, log_likelihood, divergence):
        # `free_bits` apply to each step, also where a batch has only padding.
        missing = self._steps[0] - divergence.shape[1]
        return super()._bound_terms(log_likelihood, ops.pad(divergence, ((0, 0), (0, missing))))

    # ------------------------------------------------------------------ what follows

    def forecast(
        self,
        x: Data,
        num_steps: int = 1,
        num_samples: int = 100,
        seed: int | None = None,
        *,
        batch_size: int | None = None,
        verbose: Verbose = "auto",
    ) -> ArrayOrTensor:
        """Draw what follows each sequence, after its last step that is not padding.

        Args:
            x: Array or tensor of shape (batch, steps, features), or a stream of them as in `fit`.
            num_steps: Number of steps to draw, a positive integer. Defaults to 1.
            num_samples: Number of continuations of each sequence. Their mean is the expected one.
                Defaults to 100.
            seed: Integer that makes the draws repeatable. Defaults to None, new draws in each call.
            batch_size: Number of sequences in a batch. Defaults to a number that fits in memory.
            verbose: 0, 1 or "auto" (a progress bar after two seconds). Defaults to "auto".

        Returns:
            Array or tensor of shape (batch, num_samples, num_steps, features), float32, without the
            last axis if the data has none.

        Raises:
            ValueError: If num_steps or num_samples is not a positive integer.
        """
        refuse_symbol("forecast", x)
        num_steps = arguments.integer("forecast", "num_steps", num_steps)
        number = arguments.integer("forecast", "num_samples", num_samples)
        refuse_units_of_steps(self, "forecast")
        memory.refuse_beyond(
            4.0 * number * num_steps * (self.hidden_units + self.latent_dim),
            f"forecast: num_samples={number} of num_steps={num_steps}",
            "Take fewer steps, or fewer samples.",
        )
        batch_size = choose_batch_size(batch_size, number)
        options = {"batch_size": batch_size, "verbose": verbose}
        return self._forecast(x, num_steps, number, seed, **options)

    @batched("data", "forecast", returns_data=True)
    def _forecast(self, x, num_steps, num_samples, seed):
        evidence = self.posterior(x).repeat(num_samples).evidence
        parameters = self._continue(evidence, num_steps, seed)
        rows = ops.reshape(parameters, (-1, self._step_parameters))
        drawn = self.likelihood.distribution(rows).sample(seed)
        return ops.reshape(drawn, (-1, num_samples, num_steps, *self._target_shape[1:]))

    def _continue(self, evidence, num_steps, seed):
        """Draw the states that follow sequences, and compute the parameters of their steps.

        Args:
            evidence: See `_infer`. The last tensor is 1 up to the last given step and 0 after it.
            num_steps: Number of steps.
            seed: `keras.random.SeedGenerator`.

        Returns:
            Tensor of shape (batch, num_steps, parameters).
        """
        raise NotImplementedError


@dataclasses.dataclass(frozen=True, eq=False)
class _OfSingleFeatures:
    """The distribution of sequences (batch, steps) whose steps are (batch, steps, 1) in another."""

    base: object

    @property
    def mean(self):
        return self.base.mean[..., 0]

    def sample(self, seed):
        return self.base.sample(seed)[..., 0]

    def log_prob(self, x):
        return self.base.log_prob(x[..., None])


def choose_batch_size(batch_size, draws):
    """Return the given batch size, or one for about 1,024 draws in a batch if it is None."""
    return max(1, 1024 // draws) if batch_size is None else batch_size


def refuse_symbol(call, x):
    """Raise if data is symbolic in a method that needs to know how many draws it takes."""
    if isinstance(x, keras.KerasTensor):
        raise TypeError(
            f"{call}: x is symbolic, of shape {x.shape}, and the number of draws depends on the "
            "number of sequences. Pass an array or a tensor."
        )


def count_parameters(model, steps):
    """Return how many parameters the model's likelihood has for each step of a sequence.

    Args:
        model: The model.
        steps: (steps, features).

    Raises:
        ValueError: If the likelihood is none of independent steps.
    """
    parameters = model.likelihood.parameter_shape(steps)
    if len(parameters) != 2 or parameters[0] != steps[0]:
        raise ValueError(
            f"{type(model).__name__}: {model._likelihood_name()} has no parameters for each step "
            "of a sequence. Choose a likelihood of independent steps, such as 'gaussian'."
        )
    return parameters[1]


def most_probable(likelihood, parameters):
    """Return the step that a model reads after it has computed a step's parameters.

    This is one class for a categorical likelihood, 0 or 1 for a Bernoulli one, and otherwise the
    mean: a float32 tensor.
    """
    mean = likelihood.distribution(ops.cast(parameters, "float32")).mean
    if likelihood.takes_classes:
        return ops.one_hot(backend.argmax(mean), mean.shape[-1])
    if isinstance(likelihood, likelihoods.Bernoulli):
        return ops.cast(mean > 0.5, "float32")
    return mean


def refuse_units_of_steps(model, call):
    """Raise if a method needs steps with the same units, and standardized steps have their own.

    Args:
        model: The model.
        call: Name of the called method in the error.
    """
    if model.standardize and len(getattr(model, "_data_shape", ())) == 1:
        raise ValueError(
            f"{call}: with standardize=True each step of data of shape (steps,) has units of its "
            "own. Pass x[..., None], whose steps share them."
        )


def scan_steps(take_step, state, values, widths):
    """Go through the steps of a sequence with a state.

    Args:
        take_step: Function of a state and of one step of each value. It returns the next state and
            a tuple of tensors (batch, width).
        state: Tensor (batch, width), the state before the first step.
        values: List of tensors (batch, steps, width).
        widths: List of the widths of the tuple's tensors.

    Returns:
        List of the tuple's tensors of all steps, (batch, steps, width) each.
    """
    given, size = [value.shape[-1] for value in values], state.shape[-1]

    def pack(carried, joined):
        state, outputs = take_step(carried[:, :size], *cut(joined, given))
        carried = ops.concatenate([state, *outputs], axis=-1)
        return carried, carried

    # Keras' scan takes one array if data is symbolic, and on TensorFlow it returns what is like the
    # state. Both are therefore joined.
    blank = ops.repeat(ops.zeros_like(state[:, :1]), sum(widths), axis=1)
    joined = ops.swapaxes(ops.concatenate(values, axis=-1), 0, 1)
    _, found = ops.scan(pack, ops.concatenate([state, blank], axis=-1), joined)
    return cut(ops.swapaxes(found, 0, 1), [size, *widths])[1:]


def cut(values, widths):
    """Cut the last axis into parts of these widths."""
    ends = itertools.accumulate(widths, initial=0)
    return [values[..., start:end] for start, end in itertools.pairwise(ends)]


def take_last(first, values, counts):
    """Take the value of the last step that is not padding.

    Args:
        first: Tensor (batch, width), the value before the first step.
        values: Tensor (batch, steps, width).
        counts: Tensor (batch, steps), which is 1 up to the last given step and 0 after it.

    Returns:
        Tensor (batch, width).
    """
    values = ops.concatenate([first[:, None], values], axis=1)
    last = ops.cast(ops.sum(counts, axis=1), "int32")
    return ops.take_along_axis(values, last[:, None, None], axis=1)[:, 0]
