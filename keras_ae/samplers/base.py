"""The base class of samplers."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ae.core import adaptation, arguments, examples, memory
from keras_ae.core.inputs import check_rows, require_built
from keras_ae.core.types import Seed, Tensor, Verbose


class Sampler:
    """Draws the codes that a model's `sample` decodes.

    The model's attribute `sampler` holds it, and one that `fit_sampler` returns takes its place.

    A sampler that learns from codes is also a Keras layer, which is saved and exported with the
    model.
    """

    # The error says this if the sampler is not ready: what is missing, and what to call.
    needs = "codes seen in training, and this model has not been trained. Call fit(x) first."

    def update(self, z: Tensor) -> None:
        """Learn from the codes of a training batch, a tensor of shape (batch, ...)."""

    def ready(self) -> bool:
        """Tell whether the sampler has learned from codes and is not stale."""
        return True

    def prepare(self) -> None:
        """Update what `sample` reads. This is called before it, outside compiled functions."""

    def sample(self, num_samples: int | Tensor, seed: Seed) -> Tensor:
        """Draw codes, which the model decodes.

        Args:
            num_samples: Number of codes, an integer or scalar tensor.
            seed: `keras.random.SeedGenerator`.
            **inputs: The named inputs of `inputs_taken`, with one row for each code.

        Returns:
            Tensor of shape (num_samples, ...).
        """
        raise NotImplementedError

    def inputs_taken(self, model: keras.Model) -> dict[str, bool]:
        """Return the named inputs on which the codes depend: name -> whether it is required."""
        return {}

    def check_inputs(self, given: dict[str, Any], num_samples: int) -> dict[str, Any]:
        """Check those named inputs of `sample` that the model does not know, and return them."""
        return given

    def draw(
        self, num_samples: int, seed: Seed, verbose: Verbose = 0, **options: Any
    ) -> np.ndarray:
        """Draw codes as a NumPy array, outside compiled functions.

        With verbose=1, a sampler that takes long shows a progress bar.
        """
        return ops.convert_to_numpy(self.sample(num_samples, seed, **options))


def read_value(variable):
    """Return the value of a weight, which may be mirrored on several devices, as an array."""
    return ops.convert_to_numpy(ops.convert_to_tensor(variable))


def find_old_weights(store, name):
    """Find a sampler's weights in a file, even in one written before 27 November 2026.

    Until then the model's attribute `sampler` had another name.

    Args:
        store: What Keras passes to `load_own_variables` of a model's `sampler`.
        name: The old name of the attribute.
    """
    path = getattr(store, "_h5_entry_path", None)
    if len(store.keys()) or not path:
        return store
    *folders, _ = path.split("/")
    return store.get("/".join([*folders, name]))


def draw(
    model: keras.Model,
    num_samples: int,
    seed: Seed,
    verbose: Verbose = 0,
    inputs: dict[str, Any] | None = None,
    **options: Any,
) -> tuple[np.ndarray, dict[str, Any]]:
    """Draw from the sampler of a model.

    Args:
        model: The model.
        num_samples: Number of draws, an integer of at least 1.
        seed: `keras.random.SeedGenerator`.
        verbose: As in `sample`.
        inputs: Dictionary of the named inputs that `sample` was given. Defaults to None.
        **options: Options of the sampler.

    Returns:
        The draws, an array, and the named inputs with one row for each, to decode them with.

    Raises:
        TypeError: If a named input is unknown or missing.
        ValueError: If num_samples is not a positive integer, or takes more memory than there is.
        RuntimeError: If the sampler is not ready. The message says what to call.
    """
    num_samples = arguments.integer("sample", "num_samples", num_samples)
    sampler = examples.sampler_of(model)
    if sampler is None or not sampler.ready():
        needs = (Sampler if sampler is None else sampler).needs
        raise RuntimeError(f"{type(model).__name__}.sample needs {needs}")
    require_built(model, "sample")
    memory.refuse_samples(model, num_samples)
    given = examples.check_names(model, "sample", examples.taken_by_sample(model), inputs or {})
    own = {k: given.pop(k) for k in sampler.inputs_taken(model) if k not in model.extra_inputs}
    own = sampler.check_inputs(own, num_samples)
    given = check_rows(model, "sample", examples.rows(model, given, num_samples), num_samples)
    shared = {name: given[name] for name in sampler.inputs_taken(model) if name in given}
    own |= adaptation.standardize_inputs(model, shared)
    sampler.prepare()
    draws = sampler.draw(num_samples, seed, verbose=verbose, **own, **options)
    return draws, examples.select(model, model.decode, given)
