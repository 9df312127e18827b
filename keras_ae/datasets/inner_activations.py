"""The activations of a layer of any Keras model, batch by batch, as training data."""

import contextlib

import keras
import numpy as np
from keras import ops

from keras_ae.core import arguments, backend, conversion, streams
from keras_ae.core.types import Data


def activations(
    model: keras.Model, layer: str | keras.layers.Layer, data: Data, batch_size: int = 32
) -> "Activations":
    """Compute the inner activations of any Keras model, as data for `fit`.

    The model runs in inference mode, and only one batch is in memory at a time. All axes of the
    activations except the last count examples: activations of shape (batch, steps, width) of a
    sequence model become batch * steps examples of shape (width,), and every position in a
    picture's features becomes one example. The batches keep the data's order. Shuffle an array
    beforehand, or train on `array()`, whose examples `fit` shuffles itself.

    Args:
        model: Any Keras model: functional, `Sequential` or a subclass.
        layer: The name of a layer of the model, or of a model nested in it; or the layer object
            itself, at any depth. The model must call it once.
        data: What the model takes: an array, or a list or dictionary of arrays for several inputs.
            Or a `tf.data.Dataset` of known length or a `keras.utils.PyDataset`, whose batches are
            such inputs or tuples that begin with them.
        batch_size: Number of inputs that the model sees at once, if data is arrays. Defaults to 32.

    Returns:
        `Activations`, a `keras.utils.PyDataset`: pass it to `fit`, or call its `array()`.

    Raises:
        ValueError: If the model has no layer or several layers of the name, or if the data is empty
            or of unknown length.
        TypeError: If the model, the layer or the data is of no known kind.

    Example:
        >>> import keras, numpy as np, keras_ae
        >>> layers = [keras.Input((4,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(2)]
        >>> network = keras.Sequential(layers)
        >>> x = np.random.default_rng(0).random((100, 4), "float32")
        >>> inner = keras_ae.activations(network, network.layers[0], x)
        >>> model = keras_ae.TopKSAE(latent_dim=16, k=2, seed=0)
        >>> model.compile("adam")
        >>> history = model.fit(inner, epochs=2, verbose=0)
        >>> inner.array().shape, len(inner)
        ((100, 8), 4)
    """
    return Activations(model, layer, data, batch_size)


class Activations(keras.utils.PyDataset):
    """Batches of inner activations: see `keras_ae.activations`.

    Args:
        model, layer, data, batch_size: See `keras_ae.activations`.
    """

    def __init__(
        self, model: keras.Model, layer: str | keras.layers.Layer, data: Data, batch_size: int = 32
    ):
        super().__init__()
        if not isinstance(model, keras.Model):
            raise TypeError(f"activations: model={model!r} must be a Keras model.")
        batch_size = arguments.integer("activations", "batch_size", batch_size)
        self.layer = _find_layer(model, layer)
        self.source = _make_batches(data, batch_size)
        self.model, self._programs = model, {}

    def __len__(self):
        return len(self.source)

    def __getitem__(self, index):
        return (self._compute(self.source[index]),)

    def __iter__(self):
        return (self[index] for index in range(len(self)))

    def array(self) -> np.ndarray:
        """Compute all activations at once: an array of shape (examples, width)."""
        return np.concatenate([batch for (batch,) in self])

    def _compute(self, batch):
        """Compute the activations of one batch of inputs, as NumPy arrays."""
        flat = [np.asarray(part) for part in keras.tree.flatten(batch)]
        structure = str(keras.tree.map_structure(lambda part: None, batch))
        if structure not in self._programs:

            def run(*parts):
                inputs_of_model = keras.tree.pack_sequence_as(batch, parts)
                with _record_calls(self.layer) as found:
                    self.model(inputs_of_model, training=False)
                if len(found) != 1 or not ops.is_tensor(found[0]):
                    raise ValueError(
                        f"activations: the model calls the layer {self.layer.name!r} "
                        f"{len(found)} times and gets {[type(f).__name__ for f in found]}. Choose "
                        "a layer that it calls once and that returns one tensor."
                    )
                return ops.reshape(ops.cast(found[0], "float32"), (-1, found[0].shape[-1]))

            self._programs[structure] = backend.compile_function(self.model, run)
        return ops.convert_to_numpy(self._programs[structure](*flat))


@contextlib.contextmanager
def _record_calls(layer):
    """Record what the layer returns while the context lasts, in the list that is yielded."""
    found, call = [], layer.call

    def record(*args, **kwargs):
        found.append(call(*args, **kwargs))
        return found[-1]

    # Replacing `call` works for layers inside nested models and for models without a graph of
    # layers, unlike a new functional model that ends at the layer. object.__setattr__ hides the
    # function from Keras' tracking.
    object.__setattr__(layer, "call", record)
    try:
        yield found
    finally:
        object.__delattr__(layer, "call")


def _find_layer(model, layer):
    """Find a layer by its name. A layer object is returned as it is."""
    if isinstance(layer, keras.layers.Layer):
        return layer
    if not isinstance(layer, str):
        raise TypeError(
            f"activations: layer={layer!r} must be a layer of the model, or the name of one."
        )
    known = {id(inner): inner for inner in _layers_within(model)}.values()
    found = [inner for inner in known if inner.name == layer]
    if len(found) == 1:
        return found[0]
    names = ", ".join(sorted({inner.name for inner in known}))
    raise ValueError(
        f"activations: the model has {len(found) or 'no'} layers of the name {layer!r}. It "
        f"has {names}. Pass the layer object if the name is not enough."
    )


def _layers_within(model):
    """Iterate over the layers of a model and of the models nested in it."""
    for layer in model.layers:
        yield layer
        if isinstance(layer, keras.Model):
            yield from _layers_within(layer)


def _make_batches(data, batch_size):
    """Make a sequence of batches of a model's inputs, with a length."""
    if isinstance(data, keras.utils.PyDataset):
        return _PyDatasetBatches(data)
    if streams.is_tf_dataset(data):
        return _DatasetBatches(data)
    if isinstance(data, (dict, tuple)) or conversion.is_array(data):
        return _ArrayBatches(data, batch_size)
    raise TypeError(
        f"activations: data is {conversion.describe(data)}. Pass an array, a tf.data.Dataset "
        "or a keras.utils.PyDataset, which can be read in every epoch."
    )


class _ArrayBatches:
    """One array, or a list or dictionary of arrays for several inputs."""

    def __init__(self, data, batch_size):
        several = isinstance(data, (dict, tuple)) or (
            isinstance(data, list) and hasattr(data[0], "shape")
        )
        self.data = keras.tree.map_structure(_as_numpy, data) if several else _as_numpy(data)
        self.batch_size = batch_size
        lengths = {len(part) for part in keras.tree.flatten(self.data)}
        if len(lengths) != 1 or 0 in lengths:
            raise ValueError(
                f"activations: data has {sorted(lengths)} examples. Pass at least one example, and "
                "equally many for every input."
            )
        (self.length,) = lengths

    def __len__(self):
        return -(-self.length // self.batch_size)

    def __getitem__(self, index):
        part = slice(index * self.batch_size, (index + 1) * self.batch_size)
        return keras.tree.map_structure(lambda array: array[part], self.data)


def _as_numpy(data):
    if ops.is_tensor(data):
        return ops.convert_to_numpy(data)
    return data if isinstance(data, np.memmap) else np.asarray(data)


class _PyDatasetBatches:
    def __init__(self, data):
        self.data = data

    def __len__(self):
        return self.data.num_batches

    def __getitem__(self, index):
        return _get_inputs(self.data[index])


class _DatasetBatches:
    """A `tf.data.Dataset`, whose batches must be read in order. Batch 0 starts a new pass."""

    def __init__(self, data):
        self.data, self.length = data, int(data.cardinality())
        self.iterator, self.next = None, None
        if self.length < 1:
            raise ValueError(
                "activations: the dataset is empty, endless or of unknown length. Cut it with "
                "dataset.take(n), or state its length with "
                "dataset.apply(tf.data.experimental.assert_cardinality(n))."
            )

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        if index == 0:
            self.iterator, self.next = iter(self.data.as_numpy_iterator()), 0
        if index != self.next:
            raise IndexError(
                f"activations: batch {index} of a tf.data.Dataset was requested, but {self.next} "
                "is the next one. Read its batches in order."
            )
        self.next += 1
        return _get_inputs(next(self.iterator))


def _get_inputs(batch):
    """Return the inputs of a batch that may also have targets and weights."""
    return batch[0] if isinstance(batch, tuple) else batch
