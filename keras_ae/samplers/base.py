"""The base class of samplers."""

from keras import ops

from keras_ae.core import arguments, inputs, memory


class Sampler:
    """Draws the codes that a model's `sample` decodes. The model's attribute `sampler` holds it.

    A sampler that learns from codes is also a Keras layer, which is saved and exported with the
    model.
    """

    # The error says this if the sampler is not ready: what is missing, and what to call.
    needs = "codes seen in training, and this model has not been trained. Call fit(x) first."

    def update(self, z):
        """Learn from the codes of a training batch, a tensor of shape (batch, ...)."""

    def ready(self):
        """Tell whether the sampler has learned from codes and is not stale."""
        return True

    def prepare(self):
        """Update what `sample` reads. This is called before it, outside compiled functions."""

    def sample(self, num_samples, seed):
        """Draw codes, which the model decodes.

        Args:
            num_samples: Number of codes, an integer or scalar tensor.
            seed: `keras.random.SeedGenerator`.

        Returns:
            Tensor of shape (num_samples, ...).
        """
        raise NotImplementedError

    def draw(self, num_samples, seed, verbose=0, **options):
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
    num_samples = arguments.integer("sample", "num_samples", num_samples)
    if model.sampler is None or not model.sampler.ready():
        needs = (model.sampler or Sampler).needs
        raise RuntimeError(f"{type(model).__name__}.sample needs {needs}")
    inputs.require_built(model, "sample")
    memory.refuse_samples(model, num_samples)
    model.sampler.prepare()
    return model.sampler.draw(num_samples, seed, verbose=verbose, **options)
