"""fit, evaluate and predict: Keras' loops over data of any form, checked before they begin."""

import contextlib

import keras
import numpy as np
from keras import ops

from keras_ae.core import backend, inputs, memory
from keras_ae.core.turns import one_at_a_time


class Loops(backend.TrainStep, keras.Model):
    """The part of `keras_ae.Autoencoder` that reads data."""

    def compile(self, optimizer="rmsprop", loss=None, loss_weights=None, **kwargs):
        """As of every Keras model, but for the losses, which are the model's own.

        Args:
            optimizer: An optimiser or its name. Defaults to "rmsprop".
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

    def compile_from_config(self, config):
        # As Keras does it where `compile` is its own.
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            self.optimizer.build(self.trainable_variables)

    def check_data(self, x, name="x"):
        """A checked array of inputs, for which the model is built if it was not."""
        if inputs.is_tf_dataset(x):
            x = inputs.dataset_to_array(x, len(self.data_shape) if self.built else None)
        x, extent = inputs.array_and_extent(x, name)
        self._build_for(x.shape[1:])
        inputs.check_shape(x, self.data_shape, name, self)
        if self.target_shape == self.data_shape:
            self.check_input(x, name, extent)
        return x

    def check_input(self, x, name, extent):
        """Raise where inputs leave the range of the targets; models of noisy inputs let them."""
        self.check_support(x, name, extent)

    def check_code(self, z, name="z"):
        """A checked array of codes, in the type that `decode` takes."""
        self.require_built("decode")
        z = inputs.as_array(z, name)
        if z.shape[1:] != self.code_shape:
            raise ValueError(
                f"decode: {name} has shape {z.shape}, and codes of this {type(self).__name__} have "
                f"shape (batch, {', '.join(map(str, self.code_shape))})."
            )
        return np.asarray(z, "float32")

    def check_target(self, x, y, name="y"):
        """A checked array of targets for these inputs."""
        y, extent = inputs.as_target(x, y, name)
        if self.built:
            inputs.check_shape(y, self.target_shape, name, self)
        self.check_support(y, name, extent)
        return y

    def check_support(self, array, name, extent):
        """Raise where the data leaves the range on which the model's likelihood is defined.

        Args:
            array: The data.
            name: The argument's name, for the error.
            extent: The data's smallest and largest number.
        """
        if self.support is None:
            return
        if self.mask_value is not None and array.ndim > 2:
            array = inputs.without_padding(array, self.mask_value)
            if not array.size:
                return
            extent = inputs.extent(array)
        low, high = self.support
        smallest, largest = extent
        if smallest < low or largest > high:
            remedy = (
                f"Divide by 255: {name}.astype('float32') / 255"
                if 1 < largest <= 255 and smallest >= 0
                else f"Rescale {name} to that range, or choose likelihood='gaussian'"
            )
            raise ValueError(
                f"{name} lies between {smallest:g} and {largest:g}, but this "
                f"{type(self).__name__} models values between {low:g} and {high:g}. {remedy}."
            )
        if self.takes_classes:
            inputs.check_classes(array, name, self)

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
    ):
        """Train, as `keras.Model.fit` does, on data that needs no labels.

        Args:
            x: Array of shape (examples, ...); a `tf.data.Dataset` of batches or of single
                examples, of inputs or of (input, target) pairs, or of TFDS features with an
                "image"; a `keras.utils.PyDataset`; or a generator of batches.
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

        Returns:
            `keras.callbacks.History`, with the mean of every loss over each epoch.

        Raises:
            TypeError, ValueError: If the data is not what the model can be trained on. Nothing is
                trained then.
        """
        if class_weight is not None:
            raise ValueError(
                "class_weight weighs labels, and this model has none. Pass sample_weight, one "
                "number for each example."
            )
        self._assert_compile_called("fit")
        _check_checkpoints(callbacks)
        parts = (x, y, sample_weight)
        if validation_split:
            if not inputs.is_array(x):
                raise ValueError(
                    f"validation_split needs arrays, and x is a {type(x).__name__}. Pass "
                    "validation_data."
                )
            if validation_data is None:
                parts, validation_data = self._split(parts, validation_split)
        batches = self._batches(parts, batch_size, shuffle, steps_per_epoch)
        if validation_data is not None:
            validation_parts = inputs.unpack(validation_data)
            size = validation_batch_size or batch_size
            validation_data = (
                self._batches(validation_parts, size, False, validation_steps, "validation_data"),
            )
        self._build_optimizer()
        self.prepare_training(batches, steps_per_epoch)
        self.step_programs.current()
        # After the user's own, which may change the model.
        callbacks = _with_callback(callbacks, _Renewal(self.step_programs), last=True)
        if isinstance(batches, inputs.ArrayBatches):
            callbacks = _with_callback(callbacks, inputs.EpochOrder(batches, self.order_seed))
        with backend.steps_at_once(self, inputs.batch_shape(batches), callbacks) as callbacks:
            return super().fit(
                batches,
                epochs=epochs,
                verbose=verbose,
                callbacks=callbacks,
                validation_data=validation_data,
                shuffle=False,
                initial_epoch=initial_epoch,
                steps_per_epoch=_steps(batches, steps_per_epoch),
                validation_steps=validation_data and _steps(validation_data[0], validation_steps),
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
        **kwargs,
    ):
        """The mean losses over data, as `keras.Model.evaluate`: the same numbers every time.

        Args:
            x, y, batch_size, sample_weight: As in `fit`, also on several devices.
            verbose, steps, callbacks, return_dict: As in Keras.

        Returns:
            List of the loss and the metrics, or a dictionary of them.
        """
        self._assert_compile_called("evaluate")
        batches = self._batches((x, y, sample_weight), batch_size, False, steps)
        self.step_programs.current()
        at_once = backend.steps_at_once(self, inputs.batch_shape(batches), callbacks)
        with self.evaluating(batches, steps), at_once as callbacks:
            return super().evaluate(
                batches,
                verbose=verbose,
                steps=_steps(batches, steps),
                callbacks=callbacks,
                return_dict=return_dict,
                **kwargs,
            )

    def prepare_training(self, batches, steps):
        """Look at what `fit` is about to train a built model on; here nothing.

        Args:
            batches: `ArrayBatches`, or what was passed: a dataset, `PyDataset` or generator.
            steps: Batches of an epoch, or None.
        """

    def evaluating(self, batches, steps):
        """A context around an evaluation, of the same arguments; here nothing."""
        return contextlib.nullcontext()

    @one_at_a_time()
    def predict(self, x, batch_size=None, verbose="auto", steps=None, callbacks=None):
        """Reconstructions of data, as `keras.Model.predict`; `reconstruct` is the faster way.

        Args:
            x, batch_size: As in `fit`.
            verbose, steps, callbacks: As in Keras.

        Returns:
            Array of the target's shape.
        """
        batches = self._batches((x, None, None), batch_size, False, steps, divided=False)
        steps = _steps(batches, steps)
        self.step_programs.current()
        return super().predict(batches, verbose=verbose, steps=steps, callbacks=callbacks)

    @one_at_a_time(training=True)
    def train_on_batch(self, x, y=None, sample_weight=None, class_weight=None, return_dict=False):
        """One step on one batch, as `keras.Model.train_on_batch`."""
        if class_weight is not None:
            raise ValueError("class_weight weighs labels, and this model has none.")
        self._assert_compile_called("train_on_batch")
        arrays = self.check_batch(x, y, sample_weight)
        memory.refuse_step(self, len(arrays[0]))
        self._build_optimizer()
        self.step_programs.current()
        return super().train_on_batch(*inputs.unpack(arrays), return_dict=return_dict)

    @one_at_a_time()
    def test_on_batch(self, x, y=None, sample_weight=None, return_dict=False):
        """The losses of one batch, as `keras.Model.test_on_batch`."""
        self._assert_compile_called("test_on_batch")
        arrays = self.check_batch(x, y, sample_weight)
        memory.refuse_step(self, len(arrays[0]))
        self.step_programs.current()
        return super().test_on_batch(*inputs.unpack(arrays), return_dict=return_dict)

    @one_at_a_time()
    def predict_on_batch(self, x):
        """Reconstructions of one batch, as `keras.Model.predict_on_batch`."""
        x = self.check_data(x)
        memory.refuse_batch(self, len(x), (x,))
        self.step_programs.current()
        return super().predict_on_batch(x)

    def check_batch(self, x, y, sample_weight, name="x"):
        """Checked x, target and weights as a tuple without the trailing ones that are missing."""
        if y is x:
            y = None
        x, extent = inputs.array_and_extent(x, name)
        if y is not None:
            y = self.check_target(x, y, "y" if name == "x" else f"{name}[1]")
        self._build_for(x.shape[1:], None if y is None else y.shape[1:])
        inputs.check_shape(x, self.data_shape, name, self)
        if y is None:
            if self.target_shape != self.data_shape:
                raise ValueError(
                    f"This {type(self).__name__} turns inputs of shape {self.data_shape} into "
                    f"targets of shape {self.target_shape}, and no target was passed. Call "
                    "fit(x, target)."
                )
            self.check_support(x, name, extent)
        if sample_weight is None:
            return (x,) if y is None else (x, y)
        weights = inputs.check_sample_weight(sample_weight, len(x))
        return (x, x if y is None else y, weights)

    def _batches(self, parts, batch_size, shuffle, steps, name="x", divided=True):
        """What Keras' loops iterate over, checked, with the model built for it.

        Where several devices share the batches of arrays, each gets as many examples as any other,
        and the last ones of a pass are left out for it unless `divided` is False.
        """
        x, y, sample_weight = parts
        if isinstance(x, inputs.ArrayBatches):
            return x
        if inputs.is_array(x):
            arrays = self.check_batch(x, y, sample_weight, name)
            size = 32 if batch_size is None else batch_size
            if not isinstance(size, (int, np.integer)) or size < 1:
                raise ValueError(f"batch_size={batch_size!r} must be a positive integer.")
            devices = inputs.devices_of_a_batch() if divided else 1
            if size % devices or len(arrays[0]) < devices:
                raise ValueError(
                    f"{devices} devices share a batch of batch_size={size} from {len(arrays[0])} "
                    f"examples of {name}. Pass a multiple of {devices}, and as many examples."
                )
            memory.refuse_step(self, min(size, len(arrays[0])))
            order = self.order_seed()
            return inputs.ArrayBatches(arrays, int(size), shuffle, order, steps, devices)
        if y is not None or sample_weight is not None:
            raise ValueError(
                f"{name} is a {type(x).__name__}, which yields its own targets and weights. Put "
                "them into it and pass x alone."
            )
        return inputs.streamed(x, self, batch_size, name)

    def _split(self, parts, fraction):
        """Training and validation parts of arrays, the last `fraction` being the latter."""
        present = [np.asarray(part) for part in parts if part is not None]
        head, tail = inputs.split_tail(present, fraction)
        return tuple(_restored(parts, half) for half in (head, tail))

    def order_seed(self):
        """The integer that the order of array data follows from; resuming does not change it."""
        return int(ops.convert_to_numpy(ops.convert_to_tensor(self.seed_generator.state))[0])

    def _build_optimizer(self):
        # Before training begins, for BackupAndRestore restores into what exists by then.
        if self.built and self.optimizer is not None and not self.optimizer.built:
            # A step makes a gradient of every weight beside what the optimizer keeps of it.
            gradients = memory.size_of(self.trainable_variables)
            remedy = f"{memory.SMALLER_MODEL} Some optimizers, such as SGD, keep less."
            with backend.building_scope(self), memory.checked_weights(self, remedy, gradients):
                self.optimizer.build(self.trainable_variables)


def check_suffix(path, argument="save"):
    """Raise unless the name of a file for a whole model ends in the only way that is read."""
    if not str(path).endswith(".keras"):
        raise ValueError(
            f"{argument}: the name of {str(path)!r} must end in .keras: nothing loads a whole "
            "model from another file that Keras writes. For weights alone `save_weights`, or a "
            "ModelCheckpoint with save_weights_only=True, takes a name that ends in .weights.h5; "
            "`export` writes a SavedModel."
        )


def _check_checkpoints(callbacks):
    """Raise for a checkpoint that nothing would load, before anything is trained for it."""
    callbacks = getattr(callbacks, "callbacks", callbacks)  # Those of a CallbackList.
    for callback in keras.tree.flatten(callbacks or []):
        if isinstance(callback, keras.callbacks.ModelCheckpoint):
            if not callback.save_weights_only:
                check_suffix(callback.filepath, "ModelCheckpoint")


def _steps(batches, steps):
    """The steps of an epoch. Where Keras is not told, it makes an iterator too many for each."""
    return batches.num_batches if isinstance(batches, inputs.ArrayBatches) else steps


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


def _restored(parts, present):
    """`present` with None again where `parts` had None."""
    remaining = iter(present)
    return tuple(None if part is None else next(remaining) for part in parts)
