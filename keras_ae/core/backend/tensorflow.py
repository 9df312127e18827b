"""TensorFlow: one gradient tape a step."""

import contextlib
import functools
import json
import math
import os
import threading

import keras
import numpy as np
import tensorflow as tf

from keras_ae.core.backend.gradients import NOT_FINITE, find_held, find_whether_finite

COMPILES_EACH_SHAPE = False
KEEPS_PROGRAMS = True
RUNS_IN_ANY_THREAD = True
SEED_DTYPE = "int64"
MEMORY_ERRORS = (MemoryError, tf.errors.ResourceExhaustedError)
COPIES_OF_ARRAYS = 2
MARGIN_OF_A_STEP = 1.5
ERRORS = (tf.errors.OpError,)
NO_NUMBER_ERRORS = (TypeError, AttributeError, NotImplementedError)
STATE_OF_LOOPS = ()


class TrainStep:
    """One step under TensorFlow: every player descends its own loss, in one apply."""

    def train_step(self, data):
        groups = self._variable_groups()
        before = [(v, tf.convert_to_tensor(v.value)) for v in self.non_trainable_variables]
        # A persistent tape keeps every intermediate tensor alive: only several players need one.
        with tf.GradientTape(persistent=len(groups) > 1) as tape:
            losses, logs = self._losses_and_logs(data, training=True)
            scaled = [self.optimizer.scale_loss(loss) for loss in losses]
        gradients = [tape.gradient(loss, group) for loss, group in zip(scaled, groups, strict=True)]
        _update_if_finite(self, losses, sum(gradients, []), sum(groups, []), before)
        return _make_reducible(logs)

    def test_step(self, data):
        return _make_reducible(self._losses_and_logs(data, training=False)[1])

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        if iterator is not None and self._distribute_strategy is not None:
            # Keras averages the batch over the workers, which fails for a tuple of arrays.
            batch = next(next(iter(iterator))[2])
            local = self.distribute_strategy.experimental_local_results
            iterator, data_batch = None, keras.tree.map_structure(lambda p: local(p)[0], batch)
        super()._maybe_symbolic_build(iterator, data_batch)


def _update_if_finite(model, losses, gradients, variables, before):
    """Apply the gradients if they and the losses are finite. Otherwise restore the other state.

    Args:
        model: The model that is trained.
        losses: List of the step's losses.
        gradients, variables: Lists of the gradients and the variables that they update.
        before: List of (variable, value before the step) for the variables without gradients.
    """
    optimizer, total = model.optimizer, model._loss_tracker.total
    held, holds = find_held(model), None
    if held:
        holds = model._holds(next(value for v, value in before if v is model._step))

    def update_all():
        with _fused_updates(optimizer):
            optimizer.apply(gradients, variables)

    def update_others():
        pairs = zip(gradients, variables, strict=True)
        moved = [(g, v) for g, v in pairs if id(v) not in held]
        with _fused_updates(optimizer):
            optimizer.apply(*map(list, zip(*moved, strict=True)))

    def update():
        if holds is None:
            update_all()
        else:
            tf.cond(holds, update_others, update_all)

    def restore():
        for variable, value in before:
            variable.assign(value)
        total.assign(float("nan"))  # The later steps of the epoch are then left out, too.

    is_finite = find_whether_finite(model, tf.convert_to_tensor(total.value), losses, gradients)
    replicas = tf.distribute.get_replica_context()
    # A strategy of a single replica may not update weights within `tf.cond` either.
    if replicas is None or not tf.distribute.has_strategy():
        tf.cond(is_finite, update, restore)
        return
    if holds is not None:
        raise NotImplementedError(
            f"{type(model).__name__} holds weights still in some steps, which replicas that share "
            "a step cannot do. Train it on one device."
        )
    # Replicas may not update weights within `tf.cond`, so an error ends the step before it does.
    every = replicas.all_reduce(tf.distribute.ReduceOp.SUM, tf.cast(is_finite, tf.float32))
    step = tf.convert_to_tensor(model._step.value)  # This reads it after the step has counted.
    check = tf.debugging.Assert(every > replicas.num_replicas_in_sync - 0.5, [NOT_FINITE, step])
    with tf.control_dependencies([check]):
        gradients = [None if g is None else tf.identity(g) for g in gradients]
    update()


@contextlib.contextmanager
def _fused_updates(optimizer):
    """Let a plain Adam update each weight in one operation while the step is traced.

    Keras writes Adam as a dozen operations a weight, each of which reads and writes all of it;
    TensorFlow's own does the same arithmetic in one pass. Other optimizers, subclasses, strategies
    of several replicas and the loss scaling of float16 keep Keras' way.
    """
    plain = (
        type(optimizer) is keras.optimizers.Adam
        and not optimizer.amsgrad
        and tf.distribute.get_strategy().num_replicas_in_sync == 1
    )
    if plain:
        optimizer.update_step = functools.partial(_adam_step, optimizer)
    try:
        yield
    finally:
        if plain:
            del optimizer.update_step


def _adam_step(optimizer, gradient, variable, learning_rate):
    if not isinstance(gradient, tf.Tensor) or variable.dtype != "float32":
        return type(optimizer).update_step(optimizer, gradient, variable, learning_rate)
    index = optimizer._get_variable_index(variable)
    step = keras.ops.cast(optimizer.iterations + 1, "float32")
    return tf.raw_ops.ResourceApplyAdam(
        var=optimizer._trainable_variables[index].value.handle,
        m=optimizer._momentums[index].value.handle,
        v=optimizer._velocities[index].value.handle,
        beta1_power=optimizer.beta_1**step,
        beta2_power=optimizer.beta_2**step,
        lr=tf.cast(learning_rate, tf.float32),
        beta1=optimizer.beta_1,
        beta2=optimizer.beta_2,
        epsilon=optimizer.epsilon,
        grad=tf.cast(gradient, tf.float32),
    )


def _make_reducible(logs):
    # Several workers average the logs over axis 0 (keras#20585), which a scalar does not have.
    if isinstance(tf.distribute.get_strategy(), tf.distribute.MultiWorkerMirroredStrategy):
        return {name: keras.ops.reshape(value, (1,)) for name, value in logs.items()}
    return logs


def is_tracing():
    """Tell whether what is computed now becomes part of a graph."""
    return not tf.executing_eagerly()


def mix_seed(seed):
    """Return the seed as it is, because TensorFlow draws from both of its numbers."""
    return seed


def loop(model):
    """Keras' loops leave the state in the variables."""
    return contextlib.nullcontext()


def settle(model):
    """Variables hold the model's state at any time."""


_tracing = threading.RLock()  # A layer that two graphs call at once would mix their tensors.


def compile_function(model, function):
    """Compile a function of tensors as one graph for every length of the first axis."""
    # A leading None in every signature: one trace serves every batch size.
    traced = {}

    def make_graph(arrays):
        specs = [tf.TensorSpec((None, *a.shape[1:]), a.dtype) for a in arrays]
        graph = tf.function(function, input_signature=specs, autograph=False)
        # Called by itself: tf.function would warn of retracing, for it takes all the graphs made
        # here for traces of one.
        return graph.get_concrete_function()

    def call(*arrays):
        key = tuple((array.shape[1:], array.dtype.name) for array in arrays)
        if key not in traced:
            with _tracing:
                traced[key] = traced.get(key) or make_graph(arrays)
        # tf.constant would copy once more, into memory never used before.
        return traced[key](*(tf.raw_ops.Identity(input=array) for array in arrays))

    return call


def view(tensor):
    """A tensor's numbers as an array to read from, without a copy of them if possible."""
    return np.asarray(tensor)


def program(model, method):
    """A method of tensors as one program, inside another one or by itself."""
    kept = model._notes.programs.current()
    if method.__name__ not in kept:
        kept[method.__name__] = tf.function(method, autograph=False, reduce_retracing=True)
    return kept[method.__name__]


def pullback(function, x):
    """function(x), and what takes a tensor of its shape times the Jacobian to one of x's shape."""
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        values = function(x)
    return values, lambda vector: tape.gradient(values, x, output_gradients=vector)


def log_bernoulli(x, logits):
    """log p(x) of every row of binary values, (batch, ...) -> (batch,), in float32."""
    if None in logits.shape[1:] or x.shape[0] != logits.shape[0]:
        axes = list(range(1, logits.shape.rank))
        return tf.reduce_sum(x * logits - tf.math.softplus(logits), axes)
    return _log_bernoulli(x, logits)


@tf.custom_gradient
def _log_bernoulli(x, logits):
    """The same of two tensors of one shape, as far as it is known.

    TensorFlow's softplus takes as long as the matrix product that makes the logits. Instead:
    softplus(l) = max(l, 0) - log(sigmoid(|l|)).
    """
    axes, size = list(range(1, logits.shape.rank)), math.prod(logits.shape[1:])
    # One logarithm of a product does for many: 120 numbers from 1/2 to 1 stay above 2**-120.
    together = next(number for number in range(min(120, size), 0, -1) if size % number == 0)
    sigmoid = tf.sigmoid(logits)
    factors = tf.reshape(tf.maximum(sigmoid, 1.0 - sigmoid), (-1, size // together, together))
    logarithms = tf.math.log(tf.reduce_prod(factors, axis=2))

    def gradient(upstream):
        upstream = tf.reshape(upstream, (-1, *[1] * len(axes)))
        slopes = upstream * logits, upstream * (x - sigmoid)
        # Where the numbers of rows are not known before the call, one of them may be 1.
        shapes = tf.shape(x), tf.shape(logits)
        repeated = tf.raw_ops.BroadcastGradientArgs(s0=shapes[0], s1=shapes[1])
        return [
            tf.reshape(tf.reduce_sum(slope, axes), shape)
            for slope, axes, shape in zip(slopes, repeated, shapes, strict=True)
        ]

    linear = tf.reduce_sum(x * logits - tf.nn.relu(logits), axes)
    return linear + tf.reduce_sum(logarithms, axis=1), gradient


def draw_poisson(mean, seed):
    """Counts with Poisson distributions of these means, in float32."""
    seed = tf.cast(seed, "int32")
    return tf.random.stateless_poisson(tf.shape(mean), seed, mean, dtype=tf.float32)


def servable(model):
    """Its variables, and (function, specs) -> a function of TensorFlow's tensors."""
    return [v.value for v in model.variables], lambda function, _: lambda *given: function(*given)


# Above this many numbers in a batch, the loop around a step costs little beside the step.
_NUMBERS_AT_ONCE = 4_000_000
_MOST_STEPS_AT_ONCE = 16
_BATCH_HOOKS = [
    f"on_{kind}batch_{end}" for kind in ("", "train_", "test_") for end in ("begin", "end")
]


@contextlib.contextmanager
def steps_at_once(model, batch_shape, callbacks, total=None):
    """Run several small steps in one call of TensorFlow while nobody looks between them.

    Keras' loop around a step takes longer than a small network's step. Users who set
    `steps_per_execution` themselves, or whose callbacks look at single batches, get what they ask.

    Args:
        model: Compiled model about to be trained or evaluated.
        batch_shape: Shape of a batch of inputs, None where it is not known.
        callbacks: The user's callbacks, in any form that `fit` takes.
        total: A multiple of the number of steps that run at once, or None for any number. The
            validation data of `fit` may go on after the last step.

    Yields:
        The callbacks, with a progress bar where several steps run at once.
    """
    numbers = int(np.prod(batch_shape)) if batch_shape and None not in batch_shape else None
    if (
        numbers is None
        or model.steps_per_execution != 1
        or model.run_eagerly
        or model._distribute_strategy is not None
        or tf.distribute.has_strategy()
        or _looks_at_batches(callbacks)
    ):
        yield callbacks
        return
    steps = max(1, min(_MOST_STEPS_AT_ONCE, _NUMBERS_AT_ONCE // numbers))
    if total is not None:
        steps = next(size for size in range(steps, 0, -1) if total % size == 0)
    # Keras builds its functions for one number of steps; both kinds are kept until `compile`.
    programs = model._notes.step_programs
    before, kept = (model.train_function, model.test_function), programs.kept
    held = kept.get("steps")
    if held is None or held[0] is not model._compile_config or held[1] != steps:
        held = model._compile_config, steps, (None, None)
    model.steps_per_execution = steps
    model.train_function, model.test_function = held[2]
    try:
        yield [*keras.tree.flatten(callbacks or []), _StepsThatThereAre()]
    finally:
        if programs.kept is not kept:  # The model changed meanwhile.
            before = None, None
        functions = model.train_function, model.test_function
        programs.kept["steps"] = model._compile_config, steps, functions
        model.steps_per_execution = 1
        model.train_function, model.test_function = before


def _looks_at_batches(callbacks):
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return True
    return any(
        getattr(getattr(callback, hook), "__func__", None)
        is not getattr(keras.callbacks.Callback, hook)
        for callback in keras.tree.flatten(callbacks or [])
        if getattr(callback, "save_freq", None) != "epoch"
        for hook in _BATCH_HOOKS
    )


class _StepsThatThereAre(keras.callbacks.ProgbarLogger):
    """Keras' progress bar, which would count 16 steps of an epoch of 3 where 16 run at once."""

    async_safe = True  # As Keras takes its own to be.

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(min(batch, self.target - 1), logs)

    def on_test_batch_end(self, batch, logs=None):
        super().on_test_batch_end(min(batch, self.target - 1), logs)


def building_scope(model):
    """The scope in which the model's weights are mirrored, if it was made under a strategy."""
    # distribute_strategy falls back on the default strategy, whose scope cannot be entered twice.
    if tf.distribute.has_strategy() or model.distribute_strategy is tf.distribute.get_strategy():
        return contextlib.nullcontext()
    return model.distribute_strategy.scope()


def replica_index():
    """The number of the running replica, or None where there is only one."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return None
    return context.replica_id_in_sync_group


def argmin(x):
    """The index of the smallest number along the last axis, int32.

    Keras tells -0.0 from 0.0, for which it needs the bits of a number, an operation that ONNX,
    LiteRT and OpenVINO lack.
    """
    return tf.argmin(x, axis=-1, output_type="int32")


def transposes_slowly():
    """It has kernels of its own for transposed convolutions."""
    return False


def convolve(layer, x):
    """Keras calls the backend's own operations without a detour."""
    return None


def worker_environment(addresses, index):
    """The variables that make a process worker `index` of those at these addresses."""
    task = {"type": "worker", "index": index}
    return {"TF_CONFIG": json.dumps({"cluster": {"worker": addresses}, "task": task})}


def worker_count():
    """How many processes this one was started to train with, itself included."""
    text = os.environ.get("TF_CONFIG") or "{}"
    try:
        return _count_workers(json.loads(text))
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError):
        raise ValueError(
            f"the environment variable TF_CONFIG={text[:200]!r} does not describe the workers and "
            "the task of this process. Set it as in "
            '{"cluster": {"worker": ["host0:2222", "host1:2222"]}, '
            '"task": {"type": "worker", "index": 0}}, or unset it to train in one process.'
        ) from None


def _count_workers(config):
    cluster = config.get("cluster", {})
    number = sum(len(_list_addresses(cluster, job)) for job in ("chief", "worker"))
    if number > 1:
        task = config["task"]
        if int(task["index"]) not in range(len(_list_addresses(cluster, task["type"]))):
            raise IndexError(task["index"])
    return max(1, number)


def _list_addresses(cluster, job):
    """List the addresses of a job, which TensorFlow reads from a list or a dictionary."""
    addresses = cluster.get(job, [])
    addresses = list(addresses.values()) if isinstance(addresses, dict) else addresses
    if not isinstance(addresses, list) or not all(isinstance(each, str) for each in addresses):
        raise TypeError(addresses)
    return addresses


def join_workers():
    """Its number among the workers, and the scope of what they share."""
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    resolver = strategy.cluster_resolver
    # The chief, where a cluster has one, is the first.
    before = 0 if resolver.task_type == "chief" else "chief" in resolver.cluster_spec().jobs
    return resolver.task_id + before, strategy.scope


def writes(model):
    """Whether this process writes files for all that train the model."""
    return model.distribute_strategy.extended.should_checkpoint
