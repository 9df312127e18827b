"""What a layer of any Keras model gives, batch by batch, as data that models are trained on."""

import contextlib

import keras
import numpy as np
from keras import ops

from keras_ae.core import arguments, backend, inputs


def activations(model, layer, data, batch_size=32):
    """The inner activations of any Keras model, as data for `fit`.

    The model runs in inference mode, and only one batch is in memory at a time. All axes of the
    activations but the last are examples: those of shape (batch, steps, width) of a sequence model
    become batch * steps examples of shape (width,), and every place of a picture's features becomes
    one. The batches follow the data's order: shuffle an array before, or train on `array()`, whose
    examples `fit` shuffles itself.

    Args:
        model: Any Keras model: functional, Sequential or a class.
        layer: The name of one of its layers, or of the models within it; or a layer of any depth
            itself. The model must call it once.
        data: What the model takes: an array, a list or dictionary of arrays for several inputs; or
            a `tf.data.Dataset` of known length or a `keras.utils.PyDataset` of batches of such, or
            of tuples that begin with such.
        batch_size: Inputs that the model sees at once, where data is arrays. Defaults to 32.

    Returns:
        `Activations`, a `keras.utils.PyDataset`: pass it to `fit`, or call its `array()`.

    Raises:
        ValueError: If the model has no such layer or several of the name, or the data is empty or
            of unknown length.
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

    def __init__(self, model, layer, data, batch_size=32):
        super().__init__()
        if not isinstance(model, keras.Model):
            raise TypeError(f"activations: model={model!r} must be a Keras model.")
        batch_size = arguments.integer("activations", "batch_size", batch_size)
        self.layer = _layer(model, layer)
        self.source = _source(data, batch_size)
        self.model, self._programs = model, {}

    def __len__(self):
        return len(self.source)

    def __getitem__(self, index):
        return (self._of(self.source[index]),)

    def __iter__(self):
        return (self[index] for index in range(len(self)))

    def array(self):
        """All activations at once, an array of shape (examples, width)."""
        return np.concatenate([batch for (batch,) in self])

    def _of(self, batch):
        """The activations of one batch of inputs, as NumPy."""
        flat = [np.asarray(part) for part in keras.tree.flatten(batch)]
        structure = str(keras.tree.map_structure(lambda part: None, batch))
        if structure not in self._programs:

            def run(*parts):
                inputs_of_model = keras.tree.pack_sequence_as(batch, parts)
                with _recorded(self.layer) as found:
                    self.model(inputs_of_model, training=False)
                if len(found) != 1 or not ops.is_tensor(found[0]):
                    raise ValueError(
                        f"activations: the model calls the layer {self.layer.name!r} "
                        f"{len(found)} times, and gets {[type(f).__name__ for f in found]}. Choose "
                        "a layer that it calls once and that gives one tensor."
                    )
                return ops.reshape(ops.cast(found[0], "float32"), (-1, found[0].shape[-1]))

            self._programs[structure] = backend.compiled(self.model, run)
        return ops.convert_to_numpy(self._programs[structure](*flat))


@contextlib.contextmanager
def _recorded(layer):
    """A list of what the layer returns while the context lasts."""
    found, call = [], layer.call

    def recording(*args, **kwargs):
        found.append(call(*args, **kwargs))
        return found[-1]

    # A graph cut at the layer would not reach into nested models, nor into models without one.
    # object.__setattr__ hides the function from Keras' tracking.
    object.__setattr__(layer, "call", recording)
    try:
        yield found
    finally:
        object.__delattr__(layer, "call")


def _layer(model, layer):
    """The layer itself, where a name was given."""
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
        f"activations: the model has {len(found) or 'no'} layers of the name {layer!r}; it has "
        f"{names}. Pass the layer itself where a name is not enough."
    )


def _layers_within(model):
    """The layers of a model and of the models among them."""
    for layer in model.layers:
        yield layer
        if isinstance(layer, keras.Model):
            yield from _layers_within(layer)


def _source(data, batch_size):
    """Batches of a model's inputs by number, and how many there are."""
    if isinstance(data, keras.utils.PyDataset):
        return _OfPyDataset(data)
    if inputs.is_tf_dataset(data):
        return _OfDataset(data)
    if isinstance(data, (dict, tuple)) or inputs.is_array(data):
        return _OfArrays(data, batch_size)
    raise TypeError(
        f"activations: data={data!r} is a {type(data).__name__}. Pass an array, a tf.data.Dataset "
        "or a keras.utils.PyDataset, which can be read in every epoch."
    )


class _OfArrays:
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
                f"activations: data has {sorted(lengths)} examples. Pass at least one, and as many "
                "for every input."
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


class _OfPyDataset:
    def __init__(self, data):
        self.data = data

    def __len__(self):
        return self.data.num_batches

    def __getitem__(self, index):
        return _inputs_of(self.data[index])


class _OfDataset:
    """A `tf.data.Dataset`, which is read in order, from its beginning at batch 0."""

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
                f"activations: batch {index} of a tf.data.Dataset was asked for, and {self.next} "
                "is the next one. Read its batches in order."
            )
        self.next += 1
        return _inputs_of(next(self.iterator))


def _inputs_of(batch):
    """The inputs of a batch that may have targets and weights."""
    return batch[0] if isinstance(batch, tuple) else batch
