"""fit, evaluate and predict: Keras' loops over data of any form, checked before they begin."""

import contextlib
import functools

import keras

from keras_ae.core import adaptation, backend, examples, memory, objective, seeds, storage
from keras_ae.core import inputs as data
from keras_ae.core.turns import one_at_a_time


class Loops(backend.TrainStep, keras.Model):
    """The part of `keras_ae.Autoencoder` that reads data."""

    def compile(self, optimizer="rmsprop", loss=None, loss_weights=None, **kwargs):
        """As of every Keras model, but for the losses, which are the model's own.

        Args:
            optimizer: An optimizer or its name. Defaults to "rmsprop".
            loss, loss_weights: None.
            **kwargs: `metrics`, `run_eagerly`, `jit_compile` and the others of
                `keras.Model.compile`.

        Raises:
            ValueError: If a loss or weights of losses are given; the model stays as it was.
        """
        given = {"loss": loss, "loss_weights": loss_weights}
        for name, value in given.items():
            if value is not None:
                raise ValueError(
                    f"compile({name}={value!r}): {type(self).__name__} defines its own losses, "
                    f"{', '.join(self.objective)}. Leave {name} out; the constructor takes what "
                    "can be chosen, such as reconstruction_loss= or likelihood=."
                )
        super().compile(optimizer, **kwargs)
        # What they read of closures and globals is no part of the model that can be looked at.
        self._notes.programs.forget()

    def compile_from_config(self, config):
        # Keras does the same where `compile` is its own.
        config = keras.saving.deserialize_keras_object(config)
        trained = config.pop("trained", None)  # Files of old do not hold it.
        self.compile(**config)
        if self.built:
            known = self.trainable_variables
            if trained is not None:
                known = [self.weights[number] for number in trained]
            self.optimizer.build(known)

    @one_at_a_time(training=True)
    def fit(
        self,
        x=None,
        y=None,
        batch_size=None,
        epochs=1,
        verbose="auto",
        callbacks=None,
        validation_split=0.0,
        validation_data=None,
        shuffle=True,
        class_weight=None,
        sample_weight=None,
        initial_epoch=0,
        steps_per_epoch=None,
        validation_steps=None,
        validation_batch_size=None,
        validation_freq=1,
        **inputs,
    ):
        """Train, as `keras.Model.fit` does, on data that needs no labels.

        Args:
            x: Array of shape (examples, ...); a `tf.data.Dataset` of batches or of single
                examples, of inputs or of (input, target) pairs, or of TFDS features with an
                "image"; a `keras.utils.PyDataset`; or a generator of batches. A model with named
                inputs, or of several modalities, also takes dictionaries of them.
            y: Array of targets, or None to reconstruct x. Labels are an error.
            batch_size: Examples of a step, for arrays and for datasets of single examples.
                Defaults to 32. Where devices share it under `keras.distribution`, a multiple of
                their number; so are all batches of arrays then, for which up to as many examples
                less one are left out at the end of a pass.
            shuffle: Whether arrays are read in a new order every epoch. The order follows from
                the model's seed and the epoch alone, so that a resumed run sees the same batches.
            class_weight: Refused: there are no classes. Use sample_weight.
            sample_weight: Array of shape (examples,): the weight of every example's losses.
            validation_data: Array, (x, y) pair, (x, y, sample_weight), or any x of the above.
            epochs, verbose, callbacks, validation_split, initial_epoch, steps_per_epoch,
                validation_steps, validation_batch_size, validation_freq: As in Keras.
            **inputs: The model's named inputs, such as `label=`, one row for each example of x.

        Returns:
            `keras.callbacks.History`, with the mean of every loss over each epoch.

        Raises:
            TypeError, ValueError: If the data is not what the model can be trained on. Nothing is
                trained then.
        """
        _refuse_class_weight(class_weight)
        self._assert_compile_called("fit")
        _check_checkpoints(callbacks)
        x = data.with_inputs(self, "fit", x, inputs)
        parts, validation_data = _split(x, y, sample_weight, validation_split, validation_data)
        batches = data.make_batches(self, parts, batch_size, shuffle, steps_per_epoch)
        if validation_data is not None:
            parts, size = data.unpack(validation_data), validation_batch_size or batch_size
            validation_data = (
                data.make_batches(self, parts, size, False, validation_steps, "validation_data"),
            )
        build_optimizer(self)
        self._prepare_training(batches, steps_per_epoch)
        callbacks = _add_callbacks(self, callbacks, batches, steps_per_epoch)
        with backend.steps_at_once(self, data.batch_shape(batches), callbacks) as callbacks:
            return super().fit(
                batches,
                epochs=epochs,
                verbose=verbose,
                callbacks=callbacks,
                validation_data=validation_data,
                shuffle=False,
                initial_epoch=initial_epoch,
                steps_per_epoch=data.count_steps(batches, steps_per_epoch),
                validation_steps=validation_data
                and data.count_steps(validation_data[0], validation_steps),
                validation_freq=validation_freq,
            )

    @one_at_a_time()
    def evaluate(
        self,
        x=None,
        y=None,
        batch_size=None,
        verbose="auto",
        sample_weight=None,
        steps=None,
        callbacks=None,
        return_dict=False,
        **inputs,
    ):
        """The mean losses over data, as `keras.Model.evaluate`: the same numbers every time.

        Args:
            x, y, batch_size, sample_weight: As in `fit`, also on several devices.
            verbose, steps, callbacks, return_dict: As in Keras.
            **inputs: The model's named inputs, one row for each example of x.

        Returns:
            List of the loss and the metrics, or a dictionary of them.
        """
        # Keras' `fit` passes this on, to use one iterator of the data in all epochs.
        cached = {k: inputs.pop(k) for k in ("_use_cached_eval_dataset",) if k in inputs}
        self._assert_compile_called("evaluate")
        x = data.with_inputs(self, "evaluate", x, inputs)
        batches = data.make_batches(self, (x, y, sample_weight), batch_size, False, steps)
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
    def adapt(self, x, **inputs):
        """Learn from data what the model needs before its first step, such as the data's units.

        The first `fit` of a new model does this by itself. Call it to learn from other data.

        Args:
            x: As in `fit`.
            **inputs: The model's named inputs, one row for each example of x.

        Raises:
            ValueError: If a model of this kind learns nothing before its first step.
        """
        x = data.with_inputs(self, "adapt", x, inputs)
        batches = data.make_batches(self, (x, None, None), None, False, None)
        if not adaptation.is_needed(self):
            raise ValueError(
                f"{type(self).__name__}.adapt: this model needs nothing of the data before its "
                "first step. Leave the call out, or make the model with standardize=True."
            )
        adaptation.adapt(self, adaptation.Passes(self, batches))

    def _prepare_training(self, batches, steps):
        """Look at the data of `fit` before training, which does nothing in this class.

        Args:
            batches: `ArrayBatches`, or what was passed: a dataset, `PyDataset` or generator.
            steps: Batches of an epoch, or None.
        """

    def _evaluation_scope(self, batches, steps):
        """Return the context of an evaluation, which does nothing in this class."""
        return contextlib.nullcontext()

    @one_at_a_time()
    def predict(self, x, batch_size=None, verbose="auto", steps=None, callbacks=None, **inputs):
        """Reconstructions of data, as `keras.Model.predict`; `reconstruct` is the faster way.

        Args:
            x, batch_size: As in `fit`.
            verbose, steps, callbacks: As in Keras.
            **inputs: The named inputs that `reconstruct` takes, one row for each example of x.

        Returns:
            Array of the target's shape.
        """
        x = data.with_inputs(self, "predict", x, inputs, self.reconstruct)
        options = {"divided": False, "function": self.reconstruct}
        batches = data.make_batches(self, (x, None, None), batch_size, False, steps, **options)
        steps = data.count_steps(batches, steps)
        self._notes.step_programs.current()
        return super().predict(batches, verbose=verbose, steps=steps, callbacks=callbacks)

    @one_at_a_time(training=True)
    def train_on_batch(
        self, x, y=None, sample_weight=None, class_weight=None, return_dict=False, **inputs
    ):
        """One step on one batch, as `keras.Model.train_on_batch`; named inputs as in `fit`."""
        _refuse_class_weight(class_weight)
        self._assert_compile_called("train_on_batch")
        x = data.with_inputs(self, "train_on_batch", x, inputs)
        arrays = data.check_batch(self, x, y, sample_weight)
        memory.refuse_step(self, examples.length(arrays[0]))
        build_optimizer(self)
        self._notes.step_programs.current()
        return super().train_on_batch(*data.unpack(arrays), return_dict=return_dict)

    @one_at_a_time()
    def test_on_batch(self, x, y=None, sample_weight=None, return_dict=False, **inputs):
        """The losses of one batch, as `keras.Model.test_on_batch`; named inputs as in `fit`."""
        self._assert_compile_called("test_on_batch")
        x = data.with_inputs(self, "test_on_batch", x, inputs)
        arrays = data.check_batch(self, x, y, sample_weight)
        memory.refuse_step(self, examples.length(arrays[0]))
        self._notes.step_programs.current()
        return super().test_on_batch(*data.unpack(arrays), return_dict=return_dict)

    @one_at_a_time()
    def predict_on_batch(self, x, **inputs):
        """Reconstructions of one batch, as `keras.Model.predict_on_batch`."""
        x, named = data.check_call(self, "predict_on_batch", self.reconstruct, x, inputs)
        batch = examples.join(self, x, named)
        memory.refuse_batch(self, examples.length(batch), examples.leaves(batch))
        self._notes.step_programs.current()
        return super().predict_on_batch(batch)

    def _losses_and_logs(self, data, training):
        """See `keras_ae.core.objective`; a step differentiates the first."""
        return objective.losses_and_logs(self, data, training)

    def _variable_groups(self):
        """The weights that each player moves; the first group is everything unclaimed."""
        return objective.variable_groups(self)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        # Keras hands over the whole batch when it builds its metrics.
        y = examples.split(self, x)[0] if y is None else y
        return super().compute_metrics(x, y, y_pred, sample_weight)


def _refuse_class_weight(class_weight):
    if class_weight is not None:
        raise ValueError(
            "class_weight weighs labels, and this model has none. Pass sample_weight, one number "
            "for each example."
        )


def _split(x, y, sample_weight, fraction, validation_data):
    """Return the parts to train on and those to validate on, the last fraction of arrays."""
    parts = (x, y, sample_weight)
    if fraction and not data.holds_arrays(x):
        raise ValueError(
            f"validation_split needs arrays, and x is a {type(x).__name__}. Pass validation_data."
        )
    if not fraction or validation_data is not None:
        return parts, validation_data
    return data.split(parts, fraction)


def _add_callbacks(model, callbacks, batches, steps):
    """Return the user's callbacks with those that the model needs."""
    notes = model._notes
    notes.step_programs.current()
    # This one comes after the user's own, which may change the model.
    callbacks = _with_callback(callbacks, _Renewal(notes.step_programs), last=True)
    if adaptation.is_needed(model):
        passes = adaptation.Passes(model, batches, steps)
        callbacks = _with_callback(callbacks, adaptation.Adaptation(passes), last=True)
    if isinstance(batches, data.ArrayBatches):
        order = data.EpochOrder(batches, functools.partial(seeds.order_seed, model))
        callbacks = _with_callback(callbacks, order)
    return callbacks


def build_optimizer(model):
    """Make the state of a model's optimizer, as soon as there are weights."""
    # Before training begins, for BackupAndRestore restores into what exists by then.
    if model.built and model.optimizer is not None and not model.optimizer.built:
        # A step makes a gradient of every weight beside what the optimizer keeps of it.
        gradients = memory.size_of(model.trainable_variables)
        remedy = f"{memory.SMALLER_MODEL} Some optimizers, such as SGD, keep less."
        name = type(model).__name__
        with backend.building_scope(model), memory.checked_weights(name, remedy, gradients):
            model.optimizer.build(model.trainable_variables)


def _check_checkpoints(callbacks):
    """Raise for a checkpoint that nothing would load, before anything is trained for it."""
    callbacks = getattr(callbacks, "callbacks", callbacks)  # Those of a CallbackList.
    for callback in keras.tree.flatten(callbacks or []):
        if isinstance(callback, keras.callbacks.ModelCheckpoint):
            if not callback.save_weights_only:
                storage.check_suffix(callback.filepath, "ModelCheckpoint")


class _Renewal(keras.callbacks.Callback):
    """Lets an epoch run what is compiled from the model as callbacks left it."""

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
