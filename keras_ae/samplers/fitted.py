"""Samplers that are fitted to the codes of data, and how a model gets one."""

import importlib
import inspect
import math
from typing import Any, Self

import keras
import numpy as np
from keras import ops

from keras_ae.core import arguments, backend, building, conversion, seeds
from keras_ae.core.array_batches import ArrayBatches
from keras_ae.core.types import Array, Data, Seed, Tensor, Verbose
from keras_ae.samplers.base import Sampler, read_value

_ROWS_AT_ONCE = 8192

# Name of a sampler -> its file in this folder, and its class.
BY_NAME = {
    "gaussian_mixture": ("mixture", "GaussianMixture"),
    "kernel_density": ("kernel_density", "KernelDensity"),
    "nearest_codes": ("nearest_codes", "NearestCodes"),
    "aggregated_posterior": ("aggregated_posterior", "AggregatedPosterior"),
    "masked_flow": ("masked_flow", "MaskedFlow"),
    "inverse_flow": ("inverse_flow", "InverseFlow"),
    "two_stage": ("two_stage", "TwoStage"),
    "flow_matching": ("flow_matching", "FlowMatching"),
    "spherical_uniform": ("spherical", "SphericalUniform"),
    "hyperbolic_uniform": ("hyperbolic", "HyperbolicUniform"),
}


class FittedSampler(Sampler, keras.layers.Layer):
    """Base class of the samplers that `model.fit_sampler` fits to the codes of data.

    A subclass makes its weights in `_make`, fits them in `_learn`, and draws in `_draw`. The codes
    that it sees are vectors, and each dimension has mean 0 and variance 1.

    Args:
        temperature: Factor of the draws' noise, a number of at least 0. Below 1, the codes are more
            typical and less diverse. Defaults to 1.
        **kwargs: `name`.
    """

    takes_labels = False  # If True, `fit` takes one label for each code, and `sample` then as well.
    _standardizes = True
    _has_noise = True  # If False, a temperature other than 1 is refused.

    def __init__(self, temperature: float = 1.0, **kwargs: Any):
        super().__init__(**{"name": "fitted_sampler", **kwargs, "dtype": "float32"})
        self.temperature = self._check_temperature(temperature)
        self.code_shape = self._sizes = self._count_steps = None

    def _check_temperature(self, temperature):
        temperature = arguments.number(self, "temperature", temperature)
        if temperature != 1.0 and not self._has_noise:
            raise ValueError(
                f"{type(self).__name__}: temperature={temperature} has no effect, because this "
                "sampler adds no noise. Leave it out."
            )
        return temperature

    # ------------------------------------------------------------------ what subclasses define

    def _find_sizes(self, codes, labels):
        """Return the sizes of weights that depend on the data, as keyword arguments of `_make`."""
        return {}

    def _make(self, width, **sizes):
        """Make the weights for codes of `width` numbers."""

    def _learn(self, codes, labels, seed, verbose):
        """Fit the weights to codes, a float32 array of shape (codes, width)."""
        raise NotImplementedError

    def _draw(self, num_samples, seed, temperature):
        """Draw a tensor of shape (num_samples, width)."""
        raise NotImplementedError

    # ------------------------------------------------------------------ fitting

    @classmethod
    def defaults_for(cls, model: keras.Model) -> dict[str, Any]:
        """Return the arguments that a model determines, if its user passes only a name."""
        return {}

    def check_model(self, model: keras.Model) -> None:
        """Raise if the sampler cannot draw the codes of a model."""

    def fit(
        self, codes: Array, labels: Array | None = None, seed: int = 0, verbose: Verbose = 0
    ) -> Self:
        """Fit the sampler to codes.

        Args:
            codes: Float array of shape (codes, ...), at least two codes.
            labels: Integer array of shape (codes,), for samplers that draw codes by label. Defaults
                to None: the codes have no labels.
            seed: Integer that makes the fit repeatable. Defaults to 0.
            verbose: 0, 1 or "auto", whether a progress bar is shown. Defaults to 0.

        Returns:
            The sampler itself.

        Raises:
            TypeError: If the sampler takes no labels.
            ValueError: If the codes are not finite, or are too few.
        """
        owner, seed = type(self).__name__, seeds.check_seed(seed) % 2**31
        codes = np.asarray(codes, "float32")
        if codes.ndim < 2 or len(codes) < 2:
            raise ValueError(
                f"{owner}.fit: codes has shape {codes.shape}, but must have the shape (codes, ...) "
                "and at least two codes."
            )
        if not np.all(np.isfinite(codes)):
            raise ValueError(f"{owner}.fit: codes contains NaN or infinite values.")
        labels = self._check_labels(labels, len(codes))
        flat = codes.reshape(len(codes), -1)
        sizes = self._find_sizes(flat, labels)
        if self.built and (self.code_shape, self._sizes) != (codes.shape[1:], sizes):
            raise ValueError(
                f"{owner}.fit: the sampler was fitted to codes of shape {self.code_shape} and "
                f"{self._sizes}, and these have shape {codes.shape[1:]} and {sizes}. Make a new "
                "sampler."
            )
        if not self.built:
            with seeds.follow_seed(seed):
                self.build_from_config({"code_shape": list(codes.shape[1:]), "sizes": sizes})
        if self._standardizes:
            mean, spread = flat.mean(axis=0, dtype="float64"), flat.std(axis=0, dtype="float64")
            self.center.assign(mean)
            self.spread.assign(spread)
            flat = (flat - mean) / np.where(spread > 0.0, spread, 1.0)
        self._learn(flat.astype("float32"), labels, seed, verbose)
        self.fitted.assign(1)
        return self

    def _check_labels(self, labels, count):
        owner = type(self).__name__
        if labels is None:
            return None
        if not self.takes_labels:
            raise TypeError(
                f"{owner}.fit: labels were given, but only samplers that draw codes by label take "
                "them, such as keras_ae.samplers.GaussianMixture. Leave them out."
            )
        labels = np.asarray(labels)
        if labels.shape != (count,) or labels.dtype.kind not in "iu" or labels.min() < 0:
            raise ValueError(
                f"{owner}.fit: labels has shape {labels.shape} and dtype {labels.dtype}, but must "
                f"be a vector of {count} integers of at least 0, one for each code."
            )
        return labels

    def follow(self, model: keras.Model) -> None:
        """Become stale as soon as a model is trained further, because its codes change then."""
        self._count_steps = lambda: int(read_value(model._step))

    def mark_current(self) -> None:
        """Note that the sampler fits the codes that the model has now."""
        self.fitted.assign(1 + self._count_steps())

    def ready(self) -> bool:
        steps = 0 if self._count_steps is None else self._count_steps()
        return self.built and int(read_value(self.fitted)) == 1 + steps

    @property
    def needs(self) -> str:
        state = "was not fitted yet" if not self.built else "was fitted before the last training"
        return (
            f"codes, and its fitted sampler {type(self).__name__} {state}. Call fit_sampler(x, ...)"
            ', or fit_sampler(sampler="own") for the model\'s own sampler.'
        )

    # ------------------------------------------------------------------ drawing

    def inputs_taken(self, model: keras.Model) -> dict[str, bool]:
        return {"label": True} if self.built and self._sizes.get("num_labels") else {}

    def label_range(self) -> tuple[int, int]:
        """Return the least and the largest label that `sample` takes."""
        return 0, self._sizes["num_labels"] - 1

    def check_inputs(self, given: dict[str, Any], num_samples: int) -> dict[str, Any]:
        """Check the labels of `sample`, and return them as an array with one for each sample.

        Args:
            given: Dictionary, empty or with "label": an integer, or one for each sample.
            num_samples: Number of samples.

        Returns:
            Dictionary, empty or with "label": int32 array of shape (num_samples,).

        Raises:
            ValueError: If a label is not one of those that the sampler was fitted to.
        """
        if "label" not in given:
            return given
        labels, (_, most) = np.asarray(given["label"]), self.label_range()
        if labels.shape == ():
            labels = np.broadcast_to(labels, (num_samples,))
        right = labels.shape == (num_samples,) and labels.dtype.kind in "iu"
        if not right or labels.min() < 0 or labels.max() > most:
            raise ValueError(
                f"sample: label={arguments.show(given['label'])} must be an integer from 0 to "
                f"{most}, or {num_samples} of them."
            )
        return {"label": labels.astype("int32")}

    def sample(
        self, num_samples: int | Tensor, seed: Seed, temperature: float = 1.0, **inputs: Any
    ) -> Tensor:
        factor = self.temperature * self._check_temperature(temperature)
        codes = self._draw(num_samples, seed, factor, **inputs)
        if self._standardizes:
            codes = self.center + self.spread * codes
        return ops.reshape(codes, (-1, *self.code_shape))

    def draw(
        self,
        num_samples: int | Tensor,
        seed: Seed,
        verbose: Verbose = 0,
        temperature: float = 1.0,
        **inputs: Any,
    ) -> np.ndarray:
        parts = []
        for start in range(0, num_samples, _ROWS_AT_ONCE):  # The networks need memory for each row.
            stop = min(start + _ROWS_AT_ONCE, num_samples)
            given = {name: ops.convert_to_tensor(v[start:stop]) for name, v in inputs.items()}
            parts.append(
                ops.convert_to_numpy(self.sample(stop - start, seed, temperature, **given))
            )
        return np.concatenate(parts)

    # ------------------------------------------------------------------ Keras

    # The model's training does not reach the sampler, even if the whole model is made trainable.
    @property
    def trainable(self):
        return False

    @trainable.setter
    def trainable(self, value):
        pass

    def _make_state(self, shape, name, initializer="zeros", dtype="float32"):
        return self.add_weight(
            shape=shape,
            initializer=initializer,
            dtype=dtype,
            name=name,
            trainable=False,
            aggregation="only_first_replica",
        )

    def get_config(self):
        return {**super().get_config(), "temperature": self.temperature}

    def get_build_config(self):
        return {"code_shape": list(self.code_shape), "sizes": self._sizes} if self.built else None

    def build_from_config(self, config):
        self.code_shape, self._sizes = tuple(config["code_shape"]), dict(config["sizes"])
        width = math.prod(self.code_shape)
        self.fitted = self._make_state((), "fitted", dtype="int32")
        if self._standardizes:
            self.center = self._make_state((width,), "center")
            self.spread = self._make_state((width,), "spread", "ones")
        self._make(width, **self._sizes)
        self.built = True
        self._set_trained(False)

    def _set_trained(self, trained):
        """Choose whether the weights that are no state are trained."""
        for part in [*self._layers, *self._trainable_variables]:
            part.trainable = trained


class TrainedSampler(FittedSampler):
    """Base class of samplers with networks, which minimize the mean of `_losses_of` over the codes.

    Args:
        epochs: Number of passes over the codes, a positive integer.
        batch_size: Codes in a step, a positive integer. Defaults to 256.
        learning_rate: Rate of Adam in the first step, a positive number. It falls to 0 along a
            cosine. Defaults to 1e-3.
        temperature: See `FittedSampler`.
        **kwargs: `name`.
    """

    def __init__(
        self, epochs: int, batch_size: int = 256, learning_rate: float = 1e-3, **kwargs: Any
    ):
        super().__init__(**kwargs)
        self.epochs = arguments.integer(self, "epochs", epochs)
        self.batch_size = arguments.integer(self, "batch_size", batch_size)
        self.learning_rate = arguments.number(self, "learning_rate", learning_rate, positive=True)

    def _losses_of(self, codes, seed):
        """Compute the loss of each code of a batch, a tensor of shape (batch,)."""
        raise NotImplementedError

    def _learn(self, codes, labels, seed, verbose):
        batches = ArrayBatches((codes, np.zeros(len(codes))), self.batch_size, True, seed)
        schedule = keras.optimizers.schedules.CosineDecay(
            self.learning_rate, self.epochs * batches.num_batches
        )
        learner = _Learner(self, seed)
        optimizer = keras.optimizers.Adam(schedule, clipnorm=10.0)
        learner.compile(optimizer, loss=lambda _, losses: losses)
        self._set_trained(True)
        try:
            learner.fit(batches, epochs=self.epochs, verbose=verbose, shuffle=False)
        finally:
            self._set_trained(False)

    def get_config(self):
        names = ("epochs", "batch_size", "learning_rate")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


class _Learner(keras.Model):
    """What trains a sampler by Keras' `fit`."""

    def __init__(self, sampler, seed):
        super().__init__(name="learner")
        self.sampler, self.seeds = sampler, seeds.SeedGenerator(seed)

    def call(self, codes):
        return self.sampler._losses_of(codes, self.seeds)


def fit_sampler(
    self,
    x: Data = None,
    sampler: str | FittedSampler = "gaussian_mixture",
    label: Array | None = None,
    seed: int | None = None,
    verbose: Verbose = "auto",
    **inputs: Any,
) -> FittedSampler | keras.callbacks.History:
    """Fit a sampler to the codes of x. `sample` then draws from it.

    Call this method after `fit`. If you train the model further, its codes change, and `sample`
    raises an error until you call `fit_sampler` again. The sampler is saved and exported with the
    model. Models with a posterior draw the codes from it. Models with integer codes fit their
    prior, as `fit_prior` does.

    Args:
        x: Array of shape (examples, ...), or a stream of them as in `fit`. Defaults to None, which
            only sampler="own" takes.
        sampler: "gaussian_mixture", "kernel_density", "nearest_codes", "aggregated_posterior",
            "masked_flow", "inverse_flow", "two_stage", "flow_matching", "spherical_uniform" or
            "hyperbolic_uniform", or an object of such a class of `keras_ae.samplers`, such as
            `GaussianMixture(20)`, which is fitted. "own" removes the fitted sampler: the model
            draws as it did before. Defaults to "gaussian_mixture".
        label: Integer array with a label for each example. The mixture then has components for each
            label, and `sample` takes `label`. Defaults to None.
        seed: Integer that makes the fit repeatable. Defaults to None: it is derived from the
            model's seed.
        verbose: 0, 1 or "auto", as in `fit`.
        **inputs: The model's named inputs, one row for each example.

    Returns:
        The fitted sampler, or the history of `fit_prior`.

    Raises:
        ValueError: If the sampler is unknown, or cannot be fitted to these codes.

    Example:
        >>> import numpy as np
        >>> from keras_ae import AE
        >>> x = np.random.default_rng(0).random((64, 8)).astype("float32")
        >>> model = AE(2, seed=0)
        >>> model.compile("adam")
        >>> history = model.fit(x, verbose=0)
        >>> mixture = model.fit_sampler(x, "gaussian_mixture", verbose=0)
        >>> model.sample(5, seed=0).shape
        (5, 8)
    """
    owner = type(self).__name__
    if isinstance(sampler, str) and sampler == "own":
        building.install_sampler(self, None)
        return self.sampler
    if x is None:
        raise TypeError(f"{owner}.fit_sampler: x is missing. Pass the data to fit the sampler to.")
    conversion.refuse_symbols(x, "x")
    if self._code_dtype == "int32":
        return _fit_prior(self, x, sampler, label, verbose, inputs)
    sampler = _make(owner, sampler, self)
    sampler.check_model(self)
    seed = seeds.order_seed(self) if seed is None else seeds.check_seed(seed)
    has_posterior = "sample" in inspect.signature(self.encode).parameters
    drawn = {"sample": True, "seed": seed} if has_posterior else {}
    codes = self.encode(x, verbose=verbose, **drawn, **inputs)
    with backend.building_scope(self):
        codes = ops.convert_to_numpy(self._space.to_vectors(codes))
        sampler.fit(codes, labels=label, seed=seed, verbose=verbose)
    building.install_sampler(self, sampler)
    sampler.mark_current()
    return sampler


def _make(owner, sampler, model):
    """Make a sampler that is not fitted from its name or an object."""
    if isinstance(sampler, FittedSampler):
        # A fitted one may belong to another model, or have weights of another size.
        return type(sampler).from_config(sampler.get_config()) if sampler.built else sampler
    if isinstance(sampler, str) and sampler in BY_NAME:
        file, name = BY_NAME[sampler]
        cls = getattr(importlib.import_module(f"keras_ae.samplers.{file}"), name)
        return cls(**cls.defaults_for(model))
    known = ", ".join(f'"{name}"' for name in BY_NAME)
    hint = arguments.did_you_mean(sampler, BY_NAME)
    raise ValueError(
        f'{owner}.fit_sampler: sampler={arguments.show(sampler)} must be {known}, "own" or an '
        f"object of such a class of keras_ae.samplers.{hint}"
    )


def _fit_prior(model, x, sampler, label, verbose, inputs):
    owner = type(model).__name__
    if sampler not in ("gaussian_mixture", "autoregressive") or label is not None or inputs:
        raise ValueError(
            f"{owner}.fit_sampler: sampler={arguments.show(sampler)} draws real vectors, and the "
            f'codes of {owner} are integers. Pass sampler="autoregressive" alone, or call '
            "fit_prior."
        )
    return model.fit_prior(x, verbose=verbose)
