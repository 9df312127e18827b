"""Batches of arrays, whose order is a function of the seed and the epoch alone."""

import math

import keras
import numpy as np
from keras.src.trainers.data_adapters.data_adapter import DataAdapter

from keras_ae.core import examples

_SORTED_BATCHES = 20  # More would make the order of the examples less random.


class ArrayBatches(DataAdapter):
    """Batches of arrays in an order that depends only on the seed and the epoch.

    A run that is killed and resumed at epoch 7 reads the same batches in epoch 7. Keras' own array
    adapter cannot do this, because it draws the order from a state that no checkpoint contains.

    Args:
        parts: Tuple (x,), (x, target) or (x, target, sample_weight). Each part is an array or a
            dictionary of arrays, and all arrays have the same length.
        batch_size: Positive integer.
        shuffle: Whether every pass over the data has a different order. Defaults to False.
        seed: Integer that determines the order. Defaults to 0.
        steps_per_epoch: Number of batches in an epoch. The next epoch begins where this one ends.
            Defaults to one pass over the data.
        divisor: A divisor of the batch size. The length of every batch is a multiple of it, so
            that a pass leaves out the last few examples. Defaults to 1, which leaves out none.
        labels: Names of the arrays that are converted to int32. All others become float32.
        lengths: Array of the lengths of the examples. If they are shuffled, examples of similar
            lengths are then in one batch. Defaults to None.

    Attributes:
        arrays: Tuple of all arrays in the parts.
        dtypes: List of the dtypes to which the arrays are converted.
    """

    def __init__(
        self,
        parts,
        batch_size,
        shuffle=False,
        seed=0,
        steps_per_epoch=None,
        divisor=1,
        labels=(),
        lengths=None,
    ):
        self.parts, self._batch_size, self.lengths = parts, batch_size, lengths
        self.arrays = arrays = tuple(sum(map(examples.leaves, parts), []))
        self.dtypes = ["float32"] * len(arrays)
        if isinstance(parts[0], dict):
            for number, name in enumerate(parts[0]):
                self.dtypes[number] = "int32" if name in labels else "float32"
        self.shuffle, self.seed = shuffle, seed
        self.epoch = 0
        self.num_examples = len(arrays[0]) // divisor * divisor
        self.batches_per_pass = math.ceil(self.num_examples / batch_size)
        self.steps_per_epoch = steps_per_epoch or self.batches_per_pass
        # NumPy shuffles int32 and int64 in the same order, and int32 takes half of the memory.
        self.index_dtype = "int32" if len(arrays[0]) < 2**31 else "int64"
        self.kept_order = None  # ((seed, number of a pass), order of that pass)

    num_batches = property(lambda self: self.steps_per_epoch)
    batch_size = property(lambda self: self._batch_size)
    has_partial_batch = property(lambda self: self.num_examples % self._batch_size != 0)

    @property
    def partial_batch_size(self):
        return self.num_examples % self._batch_size or None

    def order_of_pass(self, number):
        """Return the order of the examples in pass `number`, as an array of indices."""
        order = np.arange(len(self.arrays[0]), dtype=self.index_dtype)
        if not self.shuffle:
            return order[: self.num_examples]
        generator = np.random.default_rng((self.seed, number))
        generator.shuffle(order)
        order = order[: self.num_examples]
        return order if self.lengths is None else self._join_similar_lengths(order, generator)

    def _join_similar_lengths(self, order, generator):
        """Sort some batches at a time by length, and shuffle these batches."""
        size, parts = self._batch_size, []
        for start in range(0, len(order), _SORTED_BATCHES * size):
            part = order[start : start + _SORTED_BATCHES * size]
            part = part[np.argsort(self.lengths[part], kind="stable")]
            whole = len(part) // size * size
            batches = generator.permutation(part[:whole].reshape(-1, size), axis=0)
            parts += [batches.ravel(), part[whole:]]
        return np.concatenate(parts)

    def index_batches(self, first=0, last=None):
        """Yield the indices of each batch of the epoch, or of batches `first` to `last - 1`."""
        last = min(last or self.steps_per_epoch, self.steps_per_epoch)
        before = self.epoch * self.steps_per_epoch
        for batch in range(before + first, before + last):
            number = batch // self.batches_per_pass
            kept = self.kept_order  # An iterator in another thread may replace this pair.
            if kept is None or kept[0] != (self.seed, number):
                kept = self.kept_order = (self.seed, number), self.order_of_pass(number)
            start = batch % self.batches_per_pass * self._batch_size
            yield kept[1][start : start + self._batch_size]

    def take(self, indices):
        if not self.shuffle:  # A slice is a view, while an array of indices makes a copy.
            indices = slice(indices[0], indices[-1] + 1)
        return tuple(
            np.asarray(array[indices], dtype)
            for array, dtype in zip(self.arrays, self.dtypes, strict=True)
        )

    def read_in_order(self):
        """Iterate over the batches of one pass in the order of the data."""
        for start in range(0, self.num_examples, self._batch_size):
            yield self.pack(array[start : start + self._batch_size] for array in self.arrays)

    def pack(self, arrays):
        """Return arrays, given in the order of `self.arrays`, in the structure of the parts."""
        arrays = iter(arrays)
        return tuple(examples.map_leaves(lambda _: next(arrays), part) for part in self.parts)

    def get_numpy_iterator(self):
        return (self.pack(self.take(indices)) for indices in self.index_batches())

    def get_jax_iterator(self):
        """Iterate over the batches, or over this process' part of each in `keras.distribution`."""
        distribution = keras.distribution.distribution()
        if distribution is None or not distribution.auto_shard_dataset:
            return self.get_numpy_iterator()
        parts = min(distribution.num_processes, distribution.num_model_replicas)
        return (
            self.pack(
                np.array_split(array, parts)[distribution.data_shard_id]
                for array in self.take(indices)
            )
            for indices in self.index_batches()
        )

    def get_torch_dataloader(self):
        return (
            self.pack(map(keras.ops.convert_to_tensor, self.take(indices)))
            for indices in self.index_batches()
        )

    def get_tf_dataset(self):
        from keras_ae.core.tf_data import dataset_of_batches

        return dataset_of_batches(self)


class EpochOrder(keras.callbacks.Callback):
    """Callback that tells the batches the current epoch, which may not be 0 in a resumed run.

    Args:
        batches: `ArrayBatches`.
        seed: Function that returns the current seed of the order, because a callback may restore
            another seed after the batches are made. Defaults to None, which keeps the seed.
    """

    def __init__(self, batches, seed=None):
        super().__init__()
        self.batches, self.seed = batches, seed

    def on_epoch_begin(self, epoch, logs=None):
        self.batches.epoch = epoch
        if self.seed is not None:
            self.batches.seed = self.seed()
