"""Methods such as `fit`, `evaluate` and `predict`, which check data before Keras' loops begin."""

import contextlib
import functools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_ae.core import (
    adaptation,
    arguments,
    backend,
    changes,
    conversion,
    examples,
    finite,
    memory,
    objective,
    seeds,
    streams,
)
from keras_ae.core import inputs as data
from keras_ae.core.array_batches import ArrayBatches, EpochOrder
from keras_ae.core.sparse_rows import to_dense
from keras_ae.core.turns import one_at_a_time
from keras_ae.core.types import Data, Optimizer, Verbose


class Loops(backend.TrainStep, keras.Model):
    """Base class of `keras_ae.Autoencoder` with the methods that run Keras' loops."""

    def compile(
        self,
        optimizer: Optimizer = "rmsprop",
        loss: None = None,
        loss_weights: None = None,
        **kwargs: Any,
    ) -> None:
        """Prepare training, as `keras.Model.compile` does. The model defines its losses itself.

        Args:
            optimizer: An optimizer or its name. Defaults to "rmsprop".
            loss, loss_weights: Must be None, because the model defines its own losses.
            **kwargs: `metrics`, `run_eagerly` and other arguments of `keras.Model.compile`.

        Raises:
            ValueError: If loss or loss_weights is not None. The model then stays unchanged.
        """
        _refuse_losses(self, loss=loss, loss_weights=loss_weights)
        super().compile(optimizer, **kwargs)
        # Compiled functions also read closures and globals, which `Programs` cannot check.
        self._notes.programs.forget()

    def compile_from_config(self, config):
        # Keras does the same, but only for classes that do not override `compile`.
        config = keras.saving.deserialize_keras_object(config)
        trained = config.pop("trained", None)  # Older files lack it.
        self.compile(**config)
        if self.built:
            self.optimizer.build(changes.find_trained(self, trained))

    _losses_and_logs, _variable_groups = objective.losses_and_logs, objective.variable_groups
    _held = ()  # Networks that stand still in the training steps for which `_holds(step)` is true.
    _check_fit = None  # Subclasses may check the name, and the least and largest value, of x.

    @one_at_a_time(training=True)
    def fit(
        self,
        x: Data = None,
        y: Data = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Verbose = "auto",
        callbacks: list[keras.callbacks.Callback] | None = None,
        validation_split: float = 0.0,
        validation_data: Data = None,
        shuffle: bool = True,
        class_weight: None = None,
        sample_weight: Data = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | Sequence[int] = 1,
        **inputs: Any,
    ) -> keras.callbacks.History:
        """Train the model, as `keras.Model.fit` does, but without labels.

        Args:
            x: Array of shape (examples, ...), `tf.data.Dataset`, `keras.utils.PyDataset`, torch
                DataLoader, or generator of batches. A dataset yields batches or single examples:
                inputs, (input, target) pairs, or TFDS features with an "image". A model with named
                inputs or several modalities also accepts dictionaries of arrays.
            y: Array of targets. Defaults to None, which reconstructs x. Labels raise an error.
            batch_size: Number of examples in a batch of arrays, or of a dataset of single examples.
                Defaults to 32. If several devices share a batch in `keras.distribution`, it must be
                a multiple of their number, and a pass leaves out the last few rows of arrays.
            shuffle: Whether arrays are read in a new order in every epoch. The order depends only
                on the model's seed and the epoch, so that a resumed run reads the same batches.
            class_weight: Must be None, because targets are no classes. Use sample_weight instead.
            sample_weight: Array of shape (examples,), the weight of each example in all losses.
            validation_data: Anything that x may be, an (x, y) pair, or (x, y, sample_weight). In
                arrays, a batch has validation_batch_size examples, by default batch_size.
            epochs, verbose, callbacks, validation_split, initial_epoch, steps_per_epoch,
                validation_steps, validation_batch_size, validation_freq: See `keras.Model.fit`.
            **inputs: The model's named inputs, such as `label=`, with one row for each example.

        Returns:
            `keras.callbacks.History` with the mean of every loss in each epoch.

        Raises:
            TypeError, ValueError: If the model cannot be trained on the data. The later batches of
                a stream are checked when they are read, and all other data before the first step.
        """
        _refuse_class_weight(class_weight)
        self._assert_compile_called("fit")
        sizes = {"batch_size": batch_size, "validation_batch_size": validation_batch_size}
        _check_counts(validation_freq, epochs=epochs, initial_epoch=initial_epoch, **sizes)
        streams.check_steps(x, "x", "steps_per_epoch", steps_per_epoch)
        x = data.with_inputs(self, "fit", x, inputs)
        parts, validation_data = _split(x, y, sample_weight, validation_split, validation_data)
        batches = data.make_batches(self, parts, batch_size, shuffle, steps_per_epoch, fits=True)
        validation, validation_steps, total = _make_validation_batches(
            self, validation_data, validation_batch_size, batch_size, validation_steps
        )
        build_optimizer(self)
        self._prepare_training(batches, steps_per_epoch)
        callbacks = _add_callbacks(self, callbacks, batches, steps_per_epoch)
        at_once = backend.steps_at_once(self, data.batch_shape(batches), callbacks, total)
        with adaptation.finishing(self, batches, steps_per_epoch), at_once as callbacks:
            return super().fit(
                batches,
                epochs=epochs,
                verbose=verbose,
                callbacks=callbacks,
                validation_data=validation,
                shuffle=False,
                initial_epoch=initial_epoch,
                steps_per_epoch=data.count_steps(batches, steps_per_epoch),
                validation_steps=validation_steps,
                validation_freq=validation_freq,
            )

    @one_at_a_time()
    def evaluate(
        self,
        x: Data = None,
        y: Data = None,
        batch_size: int | None = None,
        verbose: Verbose = "auto",
        sample_weight: Data = None,
        steps: int | None = None,
        callbacks: list[keras.callbacks.Callback] | None = None,
        return_dict: bool = False,
        **inputs: Any,
    ) -> Any:
        """Compute the mean losses over data, with the same random draws in every call.

        Values beyond the range in which the model's loss is defined count as the nearest ones in
        this range, so that examples unlike those of `fit` can be scored.

        Args:
            x, y, batch_size, sample_weight: See `fit`, also for several devices.
            verbose, steps, callbacks, return_dict: See `keras.Model.evaluate`.
            **inputs: The model's named inputs, with one row for each example of x.

        Returns:
            List of the loss and the metrics, or a dictionary of them if return_dict is True.
        """
        # Keras' `fit` passes this argument to evaluate with the same iterator in all epochs.
        cached = {k: inputs.pop(k) for k in ("_use_cached_eval_dataset",) if k in inputs}
        self._assert_compile_called("evaluate")
        parts, batches = (x, y, sample_weight), x  # If it is cached, `fit` has checked it.
        if not cached:
            batches = _make_batches(self, "evaluate", parts, batch_size, steps, inputs)
        self._notes.step_programs.current()
        at_once = backend.steps_at_once(self, data.batch_shape(batches), callbacks)
        with self._evaluation_scope(batches, steps), at_once as callbacks:
            return super().evaluate(
                batches,
                verbose=verbose,
                steps=data.count_steps(batches, steps),
                callbacks=callbacks,
                return_dict=return_dict,
                **cached,
            )

    @one_at_a_time(training=True)
    def adapt(self, x: Data, **inputs: Any) -> None:
        """Learn what the model needs to know about the data before its first training step.

        The first call of `fit` does this by itself. Call this method to learn from other data.

        Args:
            x: See `fit`.
            **inputs: The model's named inputs, with one row for each example of x.

        Raises:
            ValueError: If a model of this kind learns nothing before its first training step.
        """
        streams.refuse_endless(x, "x")
        x = data.with_inputs(self, "adapt", x, inputs)
        batches = data.make_batches(self, (x, None, None), None, False, None, fits=True)
        adaptation.refuse_needless(self)
        adaptation.adapt(self, adaptation.Passes(self, batches))

    def _prepare_training(self, batches, steps):
        """Look at the batches of `fit` before training. Subclasses may override this."""

    def _finish_training(self, passes):
        """Look at the data of `fit` after training: see `_adapt`. Subclasses may override this."""

    def _evaluation_scope(self, batches, steps):
        """Return a context in which `evaluate` runs its loop. Subclasses may override this."""
        return contextlib.nullcontext()

    @one_at_a_time()
    def predict(
        self,
        x: Data,
        batch_size: int | None = None,
        verbose: Verbose = "auto",
        steps: int | None = None,
        callbacks: list[keras.callbacks.Callback] | None = None,
        **inputs: Any,
    ) -> np.ndarray:
        """Reconstruct data, as `keras.Model.predict` does. The method `reconstruct` is faster.

        Args:
            x, batch_size: See `fit`.
            verbose, steps, callbacks: See `keras.Model.predict`.
            **inputs: The named inputs that `reconstruct` takes, with one row for each example.

        Returns:
            Array of the reconstructions, which has the shape of the targets.
        """
        batches = _make_batches(self, "predict", (x,), batch_size, steps, inputs, self.reconstruct)
        steps = data.count_steps(batches, steps)
        self._notes.step_programs.current()
        return super().predict(batches, verbose=verbose, steps=steps, callbacks=callbacks)

    @one_at_a_time(training=True)
    def train_on_batch(
        self,
        x: Data,
        y: Data = None,
        sample_weight: Data = None,
        class_weight: None = None,
        return_dict: bool = False,
        **inputs: Any,
    ) -> Any:
        """Make one training step on one batch, as in Keras. `fit` explains the named inputs."""
        _refuse_class_weight(class_weight)
        arrays = _check_batch(self, "train_on_batch", x, y, sample_weight, inputs, fits=True)
        logs = super().train_on_batch(*arrays, return_dict=return_dict)
        finite.check(self, {"loss": self._loss_tracker.result()})
        return logs

    @one_at_a_time()
    def test_on_batch(
        self,
        x: Data,
        y: Data = None,
        sample_weight: Data = None,
        return_dict: bool = False,
        **inputs: Any,
    ) -> Any:
        """Return the losses of one batch, as in Keras. `fit` explains the named inputs."""
        arrays = _check_batch(self, "test_on_batch", x, y, sample_weight, inputs, fits=False)
        return super().test_on_batch(*arrays, return_dict=return_dict)

    @one_at_a_time()
    def predict_on_batch(self, x: Data, **inputs: Any) -> np.ndarray:
        """Reconstruct one batch, as `keras.Model.predict_on_batch` does."""
        x, named = data.check_call(self, "predict_on_batch", self.reconstruct, x, inputs)
        batch = examples.join(self, examples.map_leaves(_to_float32, x), named)
        memory.refuse_batch(self, examples.length(batch), examples.leaves(batch))
        self._notes.step_programs.current()
        return super().predict_on_batch(batch)

    def make_train_function(self, force=False):
        if self.train_function is None or force:
            super().make_train_function(force)
            self.train_function = finite.watch(self, self.train_function)
        return self.train_function

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        # Keras passes the whole batch as x, and no y, when it builds its metrics.
        y = examples.split(self, x)[0] if y is None else y
        return super().compute_metrics(x, y, y_pred, sample_weight)


def _to_float32(x):
    return np.float32(to_dense(x))


def _refuse_losses(model, **given):
    for name, value in given.items():
        if value is not None:
            raise ValueError(
                f"compile({name}={value!r}): {type(model).__name__} defines its own losses, "
                f"{', '.join(model.objective)}. Leave {name} out. Choose losses in the "
                "constructor, for example with reconstruction_loss= or likelihood=."
            )


def _refuse_class_weight(class_weight):
    if class_weight is not None:
        raise ValueError(
            "class_weight needs targets that are classes, but the targets of an autoencoder are "
            "data. Pass sample_weight, which has one number for each example."
        )


def _check_counts(validation_freq, **counts):
    """Raise an error if one of `fit`'s numbers of epochs or examples is none."""
    for name, count in counts.items():
        if count is not None:
            arguments.integer(None, name, count, least=int(name.endswith("size")))
    several = isinstance(validation_freq, (tuple, list, set, range))
    for epoch in validation_freq if several else [validation_freq]:
        arguments.integer(None, "validation_freq", epoch)


def _make_batches(model, call, parts, size, steps, inputs, function=None):
    """Return the checked batches of a method that does not train."""
    x, *others = parts
    streams.check_steps(x, "x", "steps", steps)
    parts = (data.with_inputs(model, call, x, inputs, function), *(others or (None, None)))
    options = {"function": function, "divided": function is None}
    return data.make_batches(model, parts, size, False, steps, **options)


def _check_batch(model, call, x, y, sample_weight, inputs, fits):
    """Return the checked parts of a batch. `inputs.check_support` explains `fits`."""
    model._assert_compile_called(call)
    x = data.with_inputs(model, call, x, inputs)
    arrays = data.check_batch(model, x, y, sample_weight, fits=fits)
    data.check_step(model, examples.length(arrays[0]))
    if fits:
        build_optimizer(model)
    model._notes.step_programs.current()
    return streams.unpack(tuple(examples.map_leaves(to_dense, part) for part in arrays))


def _split(x, y, sample_weight, fraction, validation_data):
    """Return the data for training and for validation, which may be the last part of arrays."""
    parts = (x, y, sample_weight)
    if fraction and not conversion.holds_arrays(x):
        streams.refuse_no_stream(x, "x")
        raise ValueError(
            f"validation_split needs arrays, but x is a {type(x).__name__}. Pass validation_data."
        )
    if not fraction or validation_data is not None:
        return parts, validation_data
    return data.split(parts, fraction)


def _make_validation_batches(model, validation_data, size, batch_size, steps):
    """Return what Keras' `fit` takes as validation_data and validation_steps.

    A third value is the number of steps after which a stream ends, or None.
    """
    if validation_data is None:
        return None, None, None
    parts = streams.unpack_pair(validation_data)
    streams.check_steps(parts[0], "validation_data", "validation_steps", steps)
    if size is None and conversion.holds_arrays(parts[0]):
        size = batch_size
    batches = data.make_batches(model, parts, size, False, steps, "validation_data")
    total = None if isinstance(batches, ArrayBatches) else steps
    return (batches,), data.count_steps(batches, steps), total


def _add_callbacks(model, callbacks, batches, steps):
    """Return the user's callbacks with those that the model needs."""
    notes = model._notes
    notes.step_programs.current()
    # `_Renewal` must run after the user's callbacks, because these may change the model.
    callbacks = _with_callback(callbacks, _Renewal(notes.step_programs), last=True)
    passes = adaptation.Passes(model, batches, steps)
    if adaptation.is_needed(model):
        callbacks = _with_callback(callbacks, adaptation.Adaptation(passes), last=True)
    if hasattr(model, "_begin_stage"):
        callbacks = _with_callback(callbacks, adaptation.Stages(passes), last=True)
    if isinstance(batches, ArrayBatches):
        order = EpochOrder(batches, functools.partial(seeds.order_seed, model))
        callbacks = _with_callback(callbacks, order)
    # This check comes first, so that no callback writes or compares a loss that is not finite.
    return _with_callback(callbacks, finite.EpochCheck())


def build_optimizer(model):
    """Make the variables of a model's optimizer if the model has weights already."""
    # BackupAndRestore restores these variables, so they must exist before training begins.
    if model.built and model.optimizer is not None and not model.optimizer.built:
        # A step also makes a gradient for every weight, which takes memory.
        gradients = memory.size_of(model.trainable_variables)
        remedy = f"{memory.SMALLER_MODEL} Some optimizers, such as SGD, take less."
        name = type(model).__name__
        with backend.building_scope(model), memory.checked_weights(name, remedy, gradients):
            model.optimizer.build(model.trainable_variables)


class _Renewal(keras.callbacks.Callback):
    """Callback that discards compiled functions if other callbacks have changed the model."""

    async_safe = True

    def __init__(self, programs):
        super().__init__()
        self.programs = programs

    def on_epoch_begin(self, epoch, logs=None):
        self.programs.current()


def _with_callback(callbacks, callback, last=False):
    if isinstance(callbacks, keras.callbacks.CallbackList):
        callbacks.append(callback)
        return callbacks
    given = keras.tree.flatten(callbacks or [])
    return [*given, callback] if last else [callback, *given]
