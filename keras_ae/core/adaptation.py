"""What a model learns from the data before its first step, among it the data's units."""

import contextlib
import types

import keras
import numpy as np
from keras import ops

from keras_ae.core import backend, building, examples, ranges, streams
from keras_ae.core.array_batches import ArrayBatches


class Passes:
    """Passes over the data that `fit` was given, for `Autoencoder._adapt`.

    Each iteration yields batches: x, a float32 array or a dictionary of them, and a dictionary of
    the named inputs.

    Args:
        model: The model.
        batches: What Keras' loop iterates over.
        steps: Number of batches in an epoch, or None.

    Attributes:
        num_steps: Number of training steps that `fit` is about to make, or None if it is unknown.
    """

    def __init__(self, model, batches, steps=None):
        self.model, self.batches, self.steps = model, batches, steps
        self.num_steps = None

    def can_repeat(self):
        """Tell whether the data can be read more than once. A generator cannot."""
        return not isinstance(self.batches, types.GeneratorType)

    def __iter__(self):
        if isinstance(self.batches, ArrayBatches):
            parts = self.batches.read_in_order()
        else:
            parts = streams.iterate_batches(self.batches, self.steps)
            if parts is None:
                raise ValueError(
                    f"{type(self.model).__name__} reads the data before it trains, and a generator "
                    "can be read only once. Pass an array, a tf.data.Dataset or a "
                    "keras.utils.PyDataset, or call adapt(x) with such data first."
                )
        for x, *_ in parts:
            x, named = examples.split(self.model, x)
            yield (
                examples.map_leaves(lambda v: np.asarray(v, "float32"), x),
                {k: np.asarray(v, examples.dtype_of(self.model, k)) for k, v in named.items()},
            )


@contextlib.contextmanager
def finishing(model, batches, steps):
    """Let a model look at the data once more after a `with` block that trains it."""
    yield
    model._finish_training(Passes(model, batches, steps))


class Adaptation(keras.callbacks.Callback):
    """Adapts a model when training begins, unless a callback before this one restored a backup."""

    async_safe = True

    def __init__(self, passes):
        super().__init__()
        self.passes = passes

    def on_train_begin(self, logs=None):
        steps, epochs = (self.params or {}).get("steps"), (self.params or {}).get("epochs")
        self.passes.num_steps = steps and steps * epochs
        if not is_adapted(self.model):
            adapt(self.model, self.passes)
        elif hasattr(self.model, "_plan_steps") and not _read_step(self.model):
            # `adapt` was called before it was known how long training would be.
            self.model._plan_steps(self.passes.num_steps)


class Stages(keras.callbacks.Callback):
    """Lets a model look at the data before the training steps that it names.

    The steps are compared with the number of steps in the model's weights, so that a resumed
    training looks at the data before the same steps.
    """

    def __init__(self, passes):
        super().__init__()
        self.passes = passes
        self.step = self.next_stage = None

    def on_train_begin(self, logs=None):
        self.next_stage = None

    def on_epoch_begin(self, epoch, logs=None):
        # A backup is restored by now, and no step has been replaced yet by one that skips its data.
        if self.next_stage is None:
            self._look(self.model)

    def on_train_batch_begin(self, batch, logs=None):
        if self.step >= self.next_stage:
            self._look(self.model)
        self.step += self.model.steps_per_execution

    def _look(self, model):
        # The count of this callback may be too high, because a resumed training skips steps.
        backend.settle(model)
        self.step = _read_step(model)
        if self.step >= model._next_stage():
            model._begin_stage(self.passes)
        self.next_stage = model._next_stage()


def _read_step(model):
    """Return how many training steps a model has made."""
    return int(ops.convert_to_numpy(ops.convert_to_tensor(model._step)))


def is_needed(model):
    """Tell whether a model of this kind learns anything from the data before its first step."""
    return model._adapted is not None


def is_adapted(model):
    return bool(ops.convert_to_numpy(ops.convert_to_tensor(model._adapted)))


def refuse_needless(model):
    """Raise an error if a model learns nothing from the data before its first training step."""
    if not is_needed(model):
        takes_units = "standardize" not in type(model)._without
        raise ValueError(
            f"{type(model).__name__}.adapt: this model learns nothing from the data before its "
            "first training step. Leave the call out"
            + (", or make the model with standardize=True." if takes_units else ".")
        )


def adapt(model, passes):
    """Have a built model learn from passes over the data what it needs before its first step."""
    if model.standardize:
        _learn_units(model, passes)
    model._adapt(passes)
    model._adapted.assign(1)


def make_weights(model):
    """Make the weights that hold what a model learns, if it learns anything."""
    if model.standardize:
        _refuse_units(model)
        shapes = {"x": model._data_shape}
        for name, shape in model._extra_shapes.items():
            if examples.dtype_of(model, name) == "float32":
                shapes[name] = shape
        model._units = {
            name: (
                _make_weight(model, f"mean_of_{name}", shape[-1:], "zeros"),
                _make_weight(model, f"deviation_of_{name}", shape[-1:], "ones"),
            )
            for name, shape in shapes.items()
        }
    if model.standardize or model._needs_data:
        model._adapted = building.make_counter(model, "adapted")


def _make_weight(model, name, shape, initializer):
    return model.add_weight(
        shape=shape,
        initializer=initializer,
        dtype="float32",
        trainable=False,
        aggregation="only_first_replica",
        name=name,
    )


# ---------------------------------------------------------------------- units


def _refuse_units(model):
    """Raise if standardized data would make no sense for a model."""
    who = f"{type(model).__name__}: standardize=True"
    if model._modalities:
        raise ValueError(
            f"{who} needs one array of data, and the model has {', '.join(model._modalities)}. "
            "Standardize those that need it yourself."
        )
    if model._support is not None:
        raise ValueError(
            f"{who} gives the data mean 0 and deviation 1, and this model takes "
            f"{ranges.describe(model._support)}. Leave it out, or choose likelihood='gaussian' or "
            "reconstruction_loss='mean_squared_error'."
        )
    if getattr(getattr(model, "likelihood", None), "knows_units", False):
        raise ValueError(
            f"{who} would change the categories and numbers that the likelihood of columns "
            "describes, and it has a center and a scale of each column itself. Leave it out."
        )
    if model._mask_value is not None:
        raise ValueError(
            f"{who} would change the value {model._mask_value} of padded steps. Standardize the "
            "other steps yourself."
        )
    if model._target_shape != model._data_shape:
        raise ValueError(
            f"{who} needs targets of the data's shape {model._data_shape}, and they have shape "
            f"{model._target_shape}. Standardize both yourself."
        )


def _learn_units(model, passes):
    """Assign the mean and the deviation of every feature of x and of named inputs that are floats.

    The features are the last axis. Missing values do not count, and a feature that never varies
    gets the deviation 1.
    """
    moments = {name: Moments() for name in model._units}
    for x, named in passes:
        for name, values in {"x": x, **named}.items():
            if name in moments:
                moments[name].update(values)
    for name, (mean, deviation) in model._units.items():
        mean.assign(np.broadcast_to(moments[name].mean, mean.shape))
        deviation.assign(np.broadcast_to(moments[name].find_deviation(), mean.shape))


class Moments:
    """The mean and the deviation of every feature, from one batch after another."""

    def __init__(self):
        self.count = self.mean = self.squares = 0.0

    def update(self, values):
        rows = values.reshape(-1, *values.shape[1:][-1:]).astype("float64")
        given = ~np.isnan(rows)
        new = given.sum(axis=0)
        center = np.where(given, rows, 0.0).sum(axis=0) / np.maximum(new, 1)
        total = np.maximum(self.count + new, 1)
        shift = center - self.mean
        self.squares = self.squares + np.square(np.where(given, rows - center, 0.0)).sum(axis=0)
        self.squares = self.squares + shift**2 * self.count * new / total
        self.mean = self.mean + np.where(new > 0, shift, 0.0) * new / total
        self.count = self.count + new

    def find_deviation(self):
        deviation = np.sqrt(self.squares / np.maximum(self.count, 1))
        # A feature that does not vary has a deviation of rounding errors.
        varies = deviation > 1e-6 * np.maximum(np.abs(self.mean), 1e-30)
        return np.where(varies, deviation, 1.0)


def standardize(model, values, name="x"):
    """Return x, or the named input `name`, in the units in which the model works."""
    if not model.standardize or name not in model._units:
        return values
    mean, deviation = map(ops.convert_to_tensor, model._units[name])
    return (ops.cast(values, "float32") - mean) / deviation


def standardize_inputs(model, inputs):
    """Return a dictionary of named inputs in the units in which the model works."""
    return {name: standardize(model, values, name) for name, values in inputs.items()}


def restore(model, y):
    """Return data in the user's units."""
    if not model.standardize:
        return y
    mean, deviation = map(ops.convert_to_tensor, model._units["x"])
    return y * deviation + mean


@contextlib.contextmanager
def own_units(model):
    """A context of methods of the model that call each other, within which no units change.

    Yields:
        Whether the caller is outside of it, so that units have to be changed.
    """
    notes = model._notes.in_own_units
    outside = not getattr(notes, "inside", False)
    notes.inside = True
    try:
        yield outside
    finally:
        notes.inside = not outside


def log_scale(model):
    """Return the logarithm of the length of each feature's unit in the model's own units.

    A density of the feature in the user's units is smaller by this, in nats. It is 0 where data is
    not standardized.
    """
    if not model.standardize:
        return 0.0
    return ops.log(ops.convert_to_tensor(model._units["x"][1]))


def log_volume(model):
    """Return the sum of `log_scale` over the elements of an example."""
    places = int(np.prod(model._data_shape[:-1]))
    return places * ops.sum(log_scale(model))
