"""What `fit`, `evaluate` and the array calls accept, checked and brought to one form.

Arrays become `ArrayBatches`, whose order is a function of seed and epoch alone; datasets, Keras
`PyDataset`s and generators keep their own order, and their first batch is checked.
"""

import itertools
import math
import types

import keras
import numpy as np
from keras.src.trainers.data_adapters.data_adapter import DataAdapter

from keras_ae.core import arguments, building, memory, seeds


class ArrayBatches(DataAdapter):
    """Batches of arrays in an order that depends on the seed and the epoch, and on nothing else.

    A run that was killed and resumed at epoch 7 sees epoch 7's batches: Keras' own array input
    draws its order from a state that no checkpoint holds.

    Args:
        arrays: Tuple of arrays of equal length: x, x and target, or x, target and sample weights.
        batch_size: Positive integer.
        shuffle: Whether every pass over the data has an order of its own.
        seed: Integer of the order.
        steps_per_epoch: Batches of an epoch. The next epoch goes on where the last one ended.
            Defaults to one pass over the data.
        divisor: What the length of every batch is a multiple of, a divisor of the batch size. The
            last examples of a pass are left out for it. Defaults to 1.
    """

    def __init__(self, arrays, batch_size, shuffle=False, seed=0, steps_per_epoch=None, divisor=1):
        self.arrays, self._batch_size = arrays, batch_size
        self.shuffle, self.seed = shuffle, seed
        self.epoch = 0
        self.num_examples = len(arrays[0]) // divisor * divisor
        self.batches_per_pass = math.ceil(self.num_examples / batch_size)
        self.steps_per_epoch = steps_per_epoch or self.batches_per_pass
        # In half of the memory, where the numbers fit: the order is the same one.
        self.index_dtype = "int32" if len(arrays[0]) < 2**31 else "int64"
        self.kept_order = None  # The seed and the number of a pass, and its order.

    num_batches = property(lambda self: self.steps_per_epoch)
    batch_size = property(lambda self: self._batch_size)
    has_partial_batch = property(lambda self: self.num_examples % self._batch_size != 0)

    @property
    def partial_batch_size(self):
        return self.num_examples % self._batch_size or None

    def order_of_pass(self, number):
        """The order of the examples in the pass of that number, an array of indices."""
        order = np.arange(len(self.arrays[0]), dtype=self.index_dtype)
        if self.shuffle:
            np.random.default_rng((self.seed, number)).shuffle(order)
        return order[: self.num_examples]

    def index_batches(self, first=0, last=None):
        """The indices of each batch of the current epoch, or from `first` to before `last`."""
        last = min(last or self.steps_per_epoch, self.steps_per_epoch)
        before = self.epoch * self.steps_per_epoch
        for batch in range(before + first, before + last):
            number = batch // self.batches_per_pass
            kept = self.kept_order  # An iterator of another thread may change it meanwhile.
            if kept is None or kept[0] != (self.seed, number):
                kept = self.kept_order = (self.seed, number), self.order_of_pass(number)
            start = batch % self.batches_per_pass * self._batch_size
            yield kept[1][start : start + self._batch_size]

    def take(self, indices):
        if not self.shuffle:  # A view, not a copy.
            indices = slice(indices[0], indices[-1] + 1)
        return tuple(np.asarray(array[indices], "float32") for array in self.arrays)

    def get_numpy_iterator(self):
        return (self.take(indices) for indices in self.index_batches())

    def get_jax_iterator(self):
        """The batches, or of each the part that this process has under `keras.distribution`."""
        distribution = keras.distribution.distribution()
        if distribution is None or not distribution.auto_shard_dataset:
            return self.get_numpy_iterator()
        parts = min(distribution.num_processes, distribution.num_model_replicas)
        return (
            tuple(np.array_split(array, parts)[distribution.data_shard_id] for array in batch)
            for batch in self.get_numpy_iterator()
        )

    def get_torch_dataloader(self):
        return (
            tuple(keras.ops.convert_to_tensor(array) for array in batch)
            for batch in self.get_numpy_iterator()
        )

    def get_tf_dataset(self):
        from keras_ae.core.tf_data import dataset_of_batches

        return dataset_of_batches(self)


class EpochOrder(keras.callbacks.Callback):
    """Tells the batches which epoch begins, so that a resumed run finds its place.

    Args:
        batches: `ArrayBatches`.
        seed: Function that gives the seed of their order, where a callback may have restored
            another one since they were made. Defaults to None, for the seed that they have.
    """

    def __init__(self, batches, seed=None):
        super().__init__()
        self.batches, self.seed = batches, seed

    def on_epoch_begin(self, epoch, logs=None):
        self.batches.epoch = epoch
        if self.seed is not None:
            self.batches.seed = self.seed()


def num_examples(data, steps=None):
    """The examples of an epoch, or None where only reading all of them would tell.

    Of batches that are counted the last one counts as a whole.

    Args:
        data: What Keras' loops iterate over.
        steps: Batches of an epoch. Defaults to None, all that there are.
    """
    if isinstance(data, ArrayBatches):
        return data.num_examples
    if hasattr(data, "dataset") and hasattr(data.dataset, "__len__"):  # A torch DataLoader.
        return len(data.dataset)
    count = data.cardinality().numpy() if is_tf_dataset(data) else getattr(data, "num_batches", -1)
    count = steps if count is None or count < 0 else count  # Endless, or unknown.
    first = next(iter(iterate_batches(data, 1) or ()), None)
    return None if count is None or first is None else int(count) * len(first[0])


def iterate_batches(data, steps=None):
    """Iterate over the batches of a stream, each a tuple, in addition to Keras' loop.

    Return None for a generator, because it can be read only once, which the loop does.
    """
    if is_tf_dataset(data):
        batches = data.as_numpy_iterator()
    elif isinstance(data, keras.utils.PyDataset):
        count = data.num_batches
        numbers = itertools.count() if count is None else range(count)
        batches = (data[number] for number in numbers)
    elif isinstance(data, types.GeneratorType):
        return None
    else:
        batches = iter(data)
    return (_as_tuple(batch) for batch in itertools.islice(batches, steps))


def batch_shape(data):
    """The shape of a batch of inputs, where it is known before the first one is read."""
    if isinstance(data, ArrayBatches):
        return (data.batch_size, *data.arrays[0].shape[1:])
    return None


_NUMBERS_IN_CACHE = 2**18  # A megabyte of float32.


def is_tf_dataset(data):
    return any(
        base.__module__.startswith("tensorflow.") and base.__name__ == "DatasetV2"
        for base in type(data).__mro__
    )


def is_array(data):
    """Whether the data is read whole by NumPy: an array, a list, a data frame, a tensor."""
    return hasattr(data, "__array__") or isinstance(data, list)


def as_array(data, name):
    """A numeric array with at least one example and one feature axis, float32 or a narrower type.

    Args:
        data: Anything that NumPy reads as an array of numbers. A memory-mapped file stays one.
        name: The argument's name, for the error.

    Raises:
        TypeError: If it holds objects or text.
        ValueError: If it is empty, ragged, of rank 0 or 1, or holds NaN or an infinity.
    """
    return array_and_extent(data, name)[0]


def array_and_extent(data, name):
    """The same, and its smallest and largest number, found on the way."""
    if not is_array(data) and not isinstance(data, tuple):
        raise TypeError(f"{name} is {data!r}, a {type(data).__name__}, and an array is needed.")
    if keras.ops.is_tensor(data):
        data = keras.ops.convert_to_numpy(data)
    try:
        array = data if isinstance(data, np.memmap) else np.asarray(data)
    except ValueError as error:
        raise ValueError(
            f"{name} is not an array: its rows have different lengths ({error}). Pad them to one "
            "length, or train on each length apart."
        ) from None
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"{name} holds {array.dtype} values, and numbers are needed. Convert it, for example "
            f"with np.stack(list({name})).astype('float32')."
        )
    if array.size == 0:
        raise ValueError(f"{name} is empty: its shape is {array.shape}. Pass at least one example.")
    if array.ndim < 2:
        raise ValueError(
            f"{name} has shape {array.shape}; an axis of examples and at least one of features are "
            f"needed. Pass {name}[None] for one example or {name}[:, None] for one feature."
        )
    low, high = extent(array)
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError(
            f"{name} holds NaN or infinite values (its smallest is {low}, its largest {high}). "
            "Remove or fill them first, for example with np.nan_to_num."
        )
    if array.dtype.kind == "f" and array.dtype.itemsize > 4:
        array = array.astype("float32")
    return array, (low, high)


def extent(array):
    """The smallest and the largest number of an array, NaN where it holds one.

    A part at a time: the second reading of a part finds it in the processor's cache, and memory,
    or a file, is read but once.
    """
    step = max(1, _NUMBERS_IN_CACHE // array[0].size)
    parts = (array[start : start + step] for start in range(0, len(array), step))
    lows, highs = zip(*((part.min(), part.max()) for part in parts), strict=True)
    return np.min(lows), np.max(highs)


def without_padding(array, mask_value):
    """The steps of sequences that are no padding, whose features do not all equal mask_value."""
    steps = array.reshape(-1, array.shape[-1])
    return steps[np.any(steps != np.float32(mask_value), axis=-1)]


def check_classes(array, name, model):
    """Raise unless the last axis of targets holds probabilities of classes, or zeros alone.

    Part by part, as `extent` reads them.
    """
    width = array.shape[-1]
    rows, ones = array.reshape(-1, width), np.ones(width, "float32")
    step = max(1, _NUMBERS_IN_CACHE // width)
    for start in range(0, len(rows), step):
        sums = np.asarray(rows[start : start + step], "float32") @ ones
        wrong = (np.abs(sums - 1.0) > 1e-2) & (sums != 0.0)
        if np.any(wrong):
            raise ValueError(
                f"{name} of shape {array.shape} has a last axis that adds up to "
                f"{sums[np.argmax(wrong)]:g}, and this {type(model).__name__} reads it as the "
                "probabilities of classes, which add up to 1. Make labels one-hot with "
                "keras.utils.to_categorical, or choose 'bernoulli' or 'binary_crossentropy' for "
                "numbers that each lie between 0 and 1."
            )


def devices_of_a_batch():
    """How many devices share a batch of this process' arrays under `keras.distribution`."""
    distribution = keras.distribution.distribution()
    if distribution is None:
        return 1
    devices = distribution.num_model_replicas
    return devices if distribution.auto_shard_dataset else devices // distribution.num_processes


def check_shape(array, shape, name, model):
    """Raise unless the examples have the shape that the model was built for."""
    if tuple(array.shape[1:]) != tuple(shape):
        raise ValueError(
            f"{name} has examples of shape {tuple(array.shape[1:])}, but this "
            f"{type(model).__name__} was built for {tuple(shape)}. Reshape {name} to "
            f"{('batch', *shape)}, or make a new model."
        )


def as_target(x, y, name="y"):
    """A checked array of targets, and its extent.

    Labels, which no autoencoder reconstructs, are an error.
    """
    given = y if hasattr(y, "shape") else np.asarray(y)
    if len(given.shape) <= 1:
        labels = f"{name} of shape {tuple(given.shape)} holds labels"
    else:
        y, bounds = array_and_extent(y, name)
        labels = _label_like(x, y, name)
    if labels:
        raise ValueError(
            f"{labels}, and this model reconstructs its input without them. Call fit(x), or "
            "fit(x, target) with targets like x; of a dataset of pairs keep the inputs: "
            "dataset.map(lambda x, label: x)."
        )
    if len(x) != len(y):
        raise ValueError(
            f"{name} has {len(y)} examples and x has {len(x)}. Pass one target for each input."
        )
    return y, bounds


def _label_like(x, y, name):
    """What makes the targets look like labels, or None."""
    if y.dtype.kind in "iu" and y.ndim == 2 and y.shape[1] == 1 != x.shape[-1]:
        return f"{name} holds {y.dtype} labels of shape {y.shape}"
    if y.shape != x.shape and y.ndim == 2 and _one_hot(y):
        return f"{name} of shape {y.shape} holds one-hot labels"
    if y.ndim != x.ndim:
        return f"{name} of shape {y.shape} has another rank than x of shape {x.shape}"
    return None


def _one_hot(y):
    sample = y[:1000]
    return bool(np.all((sample == 0) | (sample == 1)) and np.all(sample.sum(axis=1) == 1))


def check_sample_weight(sample_weight, num_examples):
    """The weights as a float32 vector with one finite, non-negative number for each example."""
    weights = np.asarray(sample_weight, "float32").squeeze()
    if weights.shape != (num_examples,):
        raise ValueError(
            f"sample_weight has shape {np.shape(sample_weight)}; one weight for each of the "
            f"{num_examples} examples is needed, shape ({num_examples},)."
        )
    if not np.all(np.isfinite(weights)) or weights.min() < 0:
        raise ValueError(
            f"sample_weight must be finite and not negative; it lies between {weights.min()} and "
            f"{weights.max()}."
        )
    return weights


def split_tail(arrays, fraction):
    """The leading part of every array, and the last `fraction` of it, as Keras splits."""
    if not 0 < fraction < 1:
        raise ValueError(f"validation_split={fraction!r} must lie between 0 and 1.")
    length = len(arrays[0])
    cut = int(math.floor(length * (1 - fraction)))
    if cut in (0, length):
        raise ValueError(
            f"validation_split={fraction!r} of {length} examples leaves one part empty. Pass "
            "validation_data, or more examples."
        )
    return tuple(a[:cut] for a in arrays), tuple(a[cut:] for a in arrays)


def unpack(data):
    """x, target and sample weight of a batch or a pair; what is missing is None."""
    if not isinstance(data, (tuple, list)):
        return data, None, None
    if len(data) > 3:
        raise ValueError(f"A batch may hold x, target and sample_weight; it has {len(data)} parts.")
    return (*data, None, None)[:3]


def check_stream(data, model, batch_size, name):
    """Check the first batch of a dataset, `PyDataset`, data loader or generator.

    The model is built for that batch. What is returned yields all batches, also the first.

    Raises:
        TypeError: If the data is of no known kind.
        ValueError: If it yields nothing, or its first batch is not what the model takes.
    """
    if is_tf_dataset(data):
        from keras_ae.core.tf_data import canonical

        data = canonical(data, batch_size, len(model.data_shape) if model.built else None)
        _check_first(next(iter(data.as_numpy_iterator()), None), model, name)
        return data
    if batch_size is not None:
        raise ValueError(
            f"batch_size={batch_size} was passed with a {type(data).__name__}, which makes its own "
            "batches. Leave it out."
        )
    if isinstance(data, keras.utils.PyDataset):
        _check_first(data[0] if data.num_batches != 0 else None, model, name)
        return data
    if isinstance(data, types.GeneratorType):
        first = next(data, None)
        _check_first(first, model, name)
        return _prepend(first, data)
    if hasattr(data, "dataset") and hasattr(data, "__iter__"):  # A torch DataLoader.
        _check_first(next(iter(data), None), model, name)
        return data
    raise TypeError(
        f"{name} is {data!r}, a {type(data).__name__}. Pass an array, a tf.data.Dataset, a "
        "keras.utils.PyDataset, a torch DataLoader or a generator of batches."
    )


def _prepend(first, rest):
    # Keras tells generators by their exact type, which itertools.chain has not.
    yield _as_tuple(first)
    for batch in rest:
        yield _as_tuple(batch)


def _as_tuple(batch):
    return tuple(batch) if isinstance(batch, (tuple, list)) else (batch,)


def _check_first(batch, model, name):
    if batch is None:
        raise ValueError(f"{name} yields no batches. Pass data with at least one example.")
    parts = check_batch(model, *unpack(batch), name)
    memory.refuse_step(model, len(parts[0]))


def dataset_to_array(dataset, rank=None):
    """The inputs of a `tf.data.Dataset` as one array."""
    from keras_ae.core.tf_data import canonical

    parts = [batch[0] for batch in canonical(dataset, None, rank).as_numpy_iterator()]
    if not parts:
        raise ValueError("The dataset yields no batches. Pass one with at least one example.")
    return np.concatenate(parts)


# ------------------------------------------------------------------ what a model takes


def require_built(model, wanted):
    """Raise unless the model knows the shape of its data.

    Args:
        model: The model.
        wanted: What was called, for the error.
    """
    if not model.built:
        raise ValueError(
            f"{type(model).__name__}.{wanted} needs the data's shape, and the model has seen no "
            "data yet. Call fit(x), encode(x) or build((None, ...)) first."
        )


def check_data(model, x, name="x"):
    """A checked array of inputs, for which the model is built if it was not."""
    if is_tf_dataset(x):
        x = dataset_to_array(x, len(model.data_shape) if model.built else None)
    x, bounds = array_and_extent(x, name)
    building.build_once(model, x.shape[1:])
    check_shape(x, model.data_shape, name, model)
    if model.target_shape == model.data_shape and model._inputs_are_targets:
        check_support(model, x, name, bounds)
    return x


def check_codes(model, z, name="z"):
    """A checked array of codes, in the type that `decode` takes."""
    require_built(model, "decode")
    given, z = z, as_array(z, name)
    if model._code_dtype == "int32":
        return _check_integer_codes(model, z, given, name)
    if z.shape[1:] != model.code_shape:
        raise ValueError(
            f"decode: {name} has shape {z.shape}, and codes of this {type(model).__name__} have "
            f"shape (batch, {', '.join(map(str, model.code_shape))})."
        )
    return np.asarray(z, "float32")


def _check_integer_codes(model, z, given, name):
    """A checked array of integer codes, or of their vectors, as float32."""
    if z.shape[1:] == model._vector_shape:
        return np.asarray(z, "float32")
    if z.shape[1:] != model.code_shape:
        shapes = [", ".join(map(str, shape)) for shape in (model.code_shape, model._vector_shape)]
        raise ValueError(
            f"decode: {name} has shape {z.shape}, and codes of this {type(model).__name__} have "
            f"shape (batch, {shapes[0]}), their vectors (batch, {shapes[1]})."
        )
    z = np.asarray(given)  # A float32 counts to 2 ** 24, and there may be more codes.
    if np.any(z != np.floor(z)) or z.min() < 0 or z.max() >= model.num_codes:
        raise ValueError(
            f"decode: {name} of shape {z.shape} holds codes, which are integers from 0 to "
            f"{model.num_codes - 1}; its smallest is {z.min()}, its largest {z.max()}."
        )
    return np.asarray(z, "int32")


def check_target(model, x, y, name="y"):
    """A checked array of targets for these inputs."""
    y, bounds = as_target(x, y, name)
    if model.built:
        check_shape(y, model.target_shape, name, model)
    check_support(model, y, name, bounds)
    return y


def check_support(model, array, name, bounds):
    """Raise where the data leaves the range on which the model's likelihood is defined.

    Args:
        model: The model.
        array: The data.
        name: The argument's name, for the error.
        bounds: The data's smallest and largest number.
    """
    if model._support is None:
        return
    steps = None if model._mask_value is None else model._to_sequences(array)
    if steps is not None:
        array = without_padding(steps, model._mask_value)
        if not array.size:
            return
        bounds = extent(array)
    low, high = model._support
    smallest, largest = bounds
    if smallest < low or largest > high:
        remedy = (
            f"Divide by 255: {name}.astype('float32') / 255"
            if 1 < largest <= 255 and smallest >= 0
            else f"Rescale {name} to that range, or choose likelihood='gaussian'"
        )
        raise ValueError(
            f"{name} lies between {smallest:g} and {largest:g}, but this "
            f"{type(model).__name__} models values between {low:g} and {high:g}. {remedy}."
        )
    if model._takes_classes:
        check_classes(array, name, model)


def check_batch(model, x, y, sample_weight, name="x"):
    """Checked x, target and weights as a tuple without the trailing ones that are missing."""
    if y is x:
        y = None
    x, bounds = array_and_extent(x, name)
    if y is not None:
        y = check_target(model, x, y, "y" if name == "x" else f"{name}[1]")
    building.build_once(model, x.shape[1:], None if y is None else y.shape[1:])
    check_shape(x, model.data_shape, name, model)
    if y is None:
        if model.target_shape != model.data_shape:
            raise ValueError(
                f"This {type(model).__name__} turns inputs of shape {model.data_shape} into "
                f"targets of shape {model.target_shape}, and no target was passed. Call "
                "fit(x, target)."
            )
        check_support(model, x, name, bounds)
    if sample_weight is None:
        return (x,) if y is None else (x, y)
    weights = check_sample_weight(sample_weight, len(x))
    return (x, x if y is None else y, weights)


def make_batches(model, parts, batch_size, shuffle, steps, name="x", divided=True):
    """What Keras' loops iterate over, checked, with the model built for it.

    Where several devices share the batches of arrays, each gets as many examples as any other,
    and the last ones of a pass are left out for it unless `divided` is False.
    """
    x, y, sample_weight = parts
    if isinstance(x, ArrayBatches):
        return x
    if is_array(x):
        arrays = check_batch(model, x, y, sample_weight, name)
        size = arguments.integer(None, "batch_size", 32 if batch_size is None else batch_size)
        devices = devices_of_a_batch() if divided else 1
        if size % devices or len(arrays[0]) < devices:
            raise ValueError(
                f"{devices} devices share a batch of batch_size={size} from {len(arrays[0])} "
                f"examples of {name}. Pass a multiple of {devices}, and as many examples."
            )
        memory.refuse_step(model, min(size, len(arrays[0])))
        order = seeds.order_seed(model)
        return ArrayBatches(arrays, size, shuffle, order, steps, devices)
    if y is not None or sample_weight is not None:
        raise ValueError(
            f"{name} is a {type(x).__name__}, which yields its own targets and weights. Put "
            "them into it and pass x alone."
        )
    return check_stream(x, model, batch_size, name)


def split(parts, fraction):
    """Training and validation parts of arrays, the last `fraction` being the latter."""
    present = [np.asarray(part) for part in parts if part is not None]
    head, tail = split_tail(present, fraction)
    return tuple(_restore_missing(parts, half) for half in (head, tail))


def count_steps(batches, steps):
    """Return the steps of an epoch. If Keras is not told, it makes one more iterator for each."""
    return batches.num_batches if isinstance(batches, ArrayBatches) else steps


def _restore_missing(parts, present):
    """Put None back into `present` at the positions where `parts` had None."""
    remaining = iter(present)
    return tuple(None if part is None else next(remaining) for part in parts)
