"""What `sample` asks of the place that its codes come from."""

import numpy as np
from keras import ops

from keras_ae.core import inputs, memory


class Sampler:
    """Where `sample` of a model gets its codes; the model holds it as `sampler`.

    One that learns from codes is a Keras layer as well, which is saved and exported with the model.
    """

    # What is missing while it is not ready, and what to call.
    needs = "codes seen in training, and this model has not been trained. Call fit(x) first."

    def update(self, z):
        """Follow the codes of a batch of training, a tensor of shape (batch, ...)."""

    def ready(self):
        """Whether there is something to draw from, which still holds."""
        return True

    def prepare(self):
        """Bring up to date what `sample` reads; called before it, outside any program."""

    def sample(self, num_samples, seed):
        """Draws, which the model decodes.

        Args:
            num_samples: Integer, or scalar tensor.
            seed: `keras.random.SeedGenerator`.

        Returns:
            Tensor of shape (num_samples, ...).
        """
        raise NotImplementedError

    def draw(self, num_samples, seed, verbose=0, **options):
        """The same as an array, outside any program; a progress bar where drawing takes long."""
        return ops.convert_to_numpy(self.sample(num_samples, seed, **options))


def value_of(variable):
    """The value of a weight as an array, also of a mirrored one."""
    return ops.convert_to_numpy(ops.convert_to_tensor(variable))


def of_before(store, name):
    """The weights of a file, which files of before 27 November 2026 hold under another name.

    Args:
        store: What Keras passes to `load_own_variables` of a model's `sampler`.
        name: The attribute's name then.
    """
    path = getattr(store, "_h5_entry_path", None)
    if len(store.keys()) or not path:
        return store
    *folders, _ = path.split("/")
    return store.get("/".join([*folders, name]))


def draw(model, num_samples, seed, verbose=0, **options):
    """What the sampler of a model draws, as an array.

    Args:
        model: The model.
        num_samples: How many, an integer of at least 1.
        seed: `keras.random.SeedGenerator`.
        verbose: As in `sample`.
        **options: Of the sampler.

    Raises:
        ValueError: If num_samples is not a positive integer, or takes more memory than there is.
        RuntimeError: If the sampler is not ready; the message says what to call.
    """
    if not isinstance(num_samples, (int, np.integer)) or num_samples < 1:
        raise ValueError(f"sample: num_samples={num_samples!r} must be a positive integer.")
    if model.sampler is None or not model.sampler.ready():
        needs = (model.sampler or Sampler).needs
        raise RuntimeError(f"{type(model).__name__}.sample needs {needs}")
    inputs.require_built(model, "sample")
    memory.refuse_samples(model, num_samples)
    model.sampler.prepare()
    return model.sampler.draw(int(num_samples), seed, verbose=verbose, **options)
