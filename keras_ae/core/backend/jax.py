"""JAX: one forward pass a step, and one pullback per player."""

import contextlib
import os
import reprlib
import warnings

import jax
import keras
import numpy as np

from keras_ae.core.backend.gradients import find_held, find_whether_finite

COMPILES_EACH_SHAPE = True
KEEPS_PROGRAMS = True
RUNS_IN_ANY_THREAD = False
SEED_DTYPE = "uint32"
# Programs that are compiled for an allocation alone raise a ValueError.
MEMORY_ERRORS = (MemoryError, jax.errors.JaxRuntimeError, ValueError)
COPIES_OF_ARRAYS = 1
MARGIN_OF_A_STEP = 1.75
ERRORS = ()  # They are errors of Python.
NO_NUMBER_ERRORS = (jax.errors.JAXTypeError,)
STATE_OF_LOOPS = ("_jax_state",)


_WEIGHTS = ("trainable_variables", "non_trainable_variables")
# The parts of a state by their number: those of `predict`, of `evaluate` and of `fit`.
_KINDS = {
    2: _WEIGHTS,
    3: (*_WEIGHTS, "metrics_variables"),
    4: (*_WEIGHTS, "optimizer_variables", "metrics_variables"),
}


# Keras' loops take the state out of the variables, and each step uses up the memory of the last
# state. This class notes the latest state, and puts it back whatever ends a loop.
class TrainStep:
    """One step under JAX: every player descends its own loss, in one apply."""

    def _get_jax_state(self, purge_model_variables=False, **kinds):
        # What the variables still hold costs no memory: the first step uses it up.
        state = super()._get_jax_state(**kinds)
        self._notes.latest[:] = [(None, state)]
        self._jax_state_synced = False
        return state

    def _make_function(self, step_function, concatenate_outputs=False):
        return super()._make_function(_note_states(self, step_function), concatenate_outputs)

    def jax_state_sync(self):
        if not self._jax_state_synced and self._notes.latest:
            _, state = self._notes.latest[-1]
            self._jax_state = dict(zip(_KINDS[len(state)], state, strict=True))
        super().jax_state_sync()

    def train_step(self, state, data):
        return _train(self, state, data)

    def test_step(self, state, data):
        return _test(self, state, data)


def _note_states(model, step_function):
    """Return the function of a step that notes the latest state where no interrupt can lose it."""
    proven, latest = False, model._notes.latest

    def run_step(state, data):
        nonlocal proven
        if not proven:
            # A program that does not fit into memory fails at its first step, which has used
            # up the state by then, and not before its results are waited for.
            latest[:] = [(None, jax.tree.map(jax.numpy.copy, state))]
            latest[:] = [jax.block_until_ready(step_function(state, data))]
            proven = True
            return latest[-1]
        # One call of C runs the step and notes down what becomes of the state: between two of
        # them Python may raise KeyboardInterrupt.
        latest.extend(map(step_function, (state,), (data,)))
        del latest[:-1]
        return latest[-1]

    return run_step


def _train(model, state, data):
    trainable, non_trainable, optimizer_state, metrics = state
    before = non_trainable

    def compute_losses(trainable):
        return _stateless_losses(model, trainable, non_trainable, metrics, data, training=True)

    losses, pullback, (logs, non_trainable, metrics) = jax.vjp(
        compute_losses, trainable, has_aux=True
    )
    with keras.StatelessScope(zip(model.optimizer.variables, optimizer_state, strict=True)):
        scale = model.optimizer.scale_loss(1.0)
    gradients = [None] * len(trainable)
    places = {id(v): i for i, v in enumerate(model.trainable_variables)}
    for player, group in enumerate(model._variable_groups()):
        cotangents = [
            jax.numpy.full_like(loss, scale * (i == player)) for i, loss in enumerate(losses)
        ]
        (pulled,) = pullback(cotangents)  # XLA drops the entries that nobody reads.
        for variable in group:
            gradients[places[id(variable)]] = pulled[places[id(variable)]]
    place = [id(v) for v in model.metrics_variables].index(id(model._loss_tracker.total))
    is_finite = find_whether_finite(model, metrics[place], losses, gradients)

    def update(gradients, trainable, optimizer_state):
        if not model._held:
            return apply(gradients, trainable, optimizer_state)
        step = [id(v) for v in model.non_trainable_variables].index(id(model._step))
        held = find_held(model)
        others = [
            None if id(v) in held else gradient
            for v, gradient in zip(model.trainable_variables, gradients, strict=True)
        ]
        return jax.lax.cond(
            model._holds(before[step]),
            lambda: apply(others, trainable, optimizer_state),
            lambda: apply(gradients, trainable, optimizer_state),
        )

    def apply(gradients, trainable, optimizer_state):
        with warnings.catch_warnings():
            # Only weights that belong to no player at this step have no gradient.
            warnings.filterwarnings("ignore", "Gradients do not exist for variables")
            return model.optimizer.stateless_apply(optimizer_state, gradients, trainable)

    trainable, optimizer_state = jax.lax.cond(
        is_finite,
        update,
        lambda _, *before: before,
        gradients,
        trainable,
        optimizer_state,
    )
    non_trainable = [
        jax.numpy.where(is_finite, new, old) for new, old in zip(non_trainable, before, strict=True)
    ]
    # The later steps of the epoch are then left out, too.
    metrics[place] = jax.numpy.where(is_finite, metrics[place], jax.numpy.nan)
    return logs, (trainable, non_trainable, optimizer_state, metrics)


def _test(model, state, data):
    trainable, non_trainable, metrics = state
    _, (logs, non_trainable, metrics) = _stateless_losses(
        model, trainable, non_trainable, metrics, data, training=False
    )
    return logs, (trainable, non_trainable, metrics)


def _stateless_losses(model, trainable, non_trainable, metrics, data, training):
    mapping = [
        *zip(model.trainable_variables, trainable, strict=True),
        *zip(model.non_trainable_variables, non_trainable, strict=True),
        *zip(model.metrics_variables, metrics, strict=True),
    ]
    with keras.StatelessScope(mapping, collect_losses=True) as scope:
        losses, logs = model._losses_and_logs(data, training)
    non_trainable = [scope.get_current_value(v) for v in model.non_trainable_variables]
    metrics = [scope.get_current_value(v) for v in model.metrics_variables]
    return losses, (logs, non_trainable, metrics)


def is_tracing():
    """Tell whether what is computed now becomes part of a program."""
    return isinstance(jax.numpy.ones(()), jax.core.Tracer)


def mix_seed(seed):
    """Return the seed as it is, because JAX draws from both of its numbers."""
    return seed


@contextlib.contextmanager
def loop(model):
    """The context of one of Keras' loops, after which the state is in the variables again."""
    settle(model)  # A callback may begin this loop within another one.
    try:
        yield
    finally:
        model.jax_state_sync()
        model._notes.latest.clear()
        model._jax_state = None


def settle(model):
    """Put the state that Keras' loop carries from step to step back into the variables."""
    model.jax_state_sync()


def compile_function(model, function):
    """Compile a function of tensors, which may read the weights, as one program per shape."""

    @jax.jit
    def program(values, *tensors):
        with keras.StatelessScope(zip(model.variables, values, strict=True)):
            return function(*tensors)

    def call(*arrays):
        # Keras' loops take the weights out of the model: they are no other thread's meanwhile. A
        # model of the user's own, whose activations are read, has no turns.
        notes = getattr(model, "_notes", None)
        with notes.turns.take("a call with arrays") if notes else contextlib.nullcontext():
            model.jax_state_sync()
            return program([v.value for v in model.variables], *arrays)

    return call


def view(tensor):
    """A tensor's numbers as an array to read from, without a copy of them if possible."""
    return np.asarray(tensor)


def log_bernoulli(x, logits):
    """log p(x) of every row of binary values, (batch, ...) -> (batch,), in float32."""
    values = x * logits - keras.ops.softplus(logits)
    return keras.ops.sum(values, axis=tuple(range(1, len(values.shape))))


def draw_poisson(mean, seed):
    """Counts with Poisson distributions of these means, in float32."""
    return jax.random.poisson(seed, mean).astype("float32")


def servable(model):
    """Variables of TensorFlow, and (function, specs) -> a function of its tensors."""
    import tensorflow as tf
    from jax.experimental import jax2tf

    variables = [tf.Variable(v.value, trainable=v.trainable, name=v.name) for v in model.variables]

    def in_tensorflow(function, specs):
        def with_weights(values, *tensors):
            with keras.StatelessScope(zip(model.variables, values, strict=True)):
                return function(*tensors)

        # Without the gradients, which take as long and as much room as the functions.
        shapes = [None, *("batch, ..." if spec.shape.rank else None for spec in specs)]
        converted = jax2tf.convert(with_weights, polymorphic_shapes=shapes, with_gradient=False)
        return lambda *tensors: converted(variables, *tensors)

    return variables, in_tensorflow


def program(model, method):
    """A method of tensors as one program, inside another one or by itself."""
    return jax.jit(method)  # Anew each time, for it holds the weights as they are.


def pullback(function, x):
    """function(x), and what takes a tensor of its shape times the Jacobian to one of x's shape."""
    values, pull = jax.vjp(function, x)
    return values, lambda vector: pull(vector)[0]


def steps_at_once(model, batch_shape, callbacks, total=None):
    """Keras' loop costs little here."""
    return contextlib.nullcontext(callbacks)


def building_scope(model):
    return contextlib.nullcontext()


def replica_index():
    """JAX runs one program over all devices: there are no replicas to tell apart."""
    return None


def argmin(x):
    """The index of the smallest number along the last axis, int32; see TensorFlow's."""
    return jax.numpy.argmin(x, axis=-1).astype("int32")


def transposes_slowly():
    """Whether a transposed convolution takes longer than the matrix products that it is made of."""
    return jax.default_backend() == "cpu"


def convolve(layer, x):
    """Keras calls the backend's own operations without a detour."""
    return None


def worker_environment(addresses, index):
    """The variables that make a process worker `index` of those at these addresses."""
    names = ("JOB_ADDRESSES", "NUM_PROCESSES", "PROCESS_ID")
    values = (",".join(addresses), str(len(addresses)), str(index))
    return {f"KERAS_DISTRIBUTION_{name}": value for name, value in zip(names, values, strict=True)}


def worker_count():
    """How many processes this one was started to train with, itself included."""
    number = _read_integer("KERAS_DISTRIBUTION_NUM_PROCESSES", "1", 1, 2**31)
    _read_integer("KERAS_DISTRIBUTION_PROCESS_ID", "0", 0, number)
    return number


def _read_integer(variable, default, least, below):
    """Read an environment variable, whose value is `default` if it is unset or empty."""
    text = os.environ.get(variable) or default
    digits = text if text.isdecimal() and len(text) < 20 else "-1"
    if not least <= int(digits) < below:
        raise ValueError(
            f"the environment variable {variable}={reprlib.repr(text)} must be an integer from "
            f"{least} to {below - 1}. Unset it to train in one process."
        )
    return int(text)


def join_workers():
    """Its number among the workers, and the scope of what they share."""
    keras.distribution.initialize()

    @contextlib.contextmanager
    def scope():
        with keras.distribution.DataParallel().scope():
            yield
        # Here, where all of them are: at its exit a process would wait for the slowest.
        jax.distributed.shutdown()

    return jax.process_index(), scope


def writes(model):
    """Whether this process writes files for all that train the model."""
    return jax.process_index() == 0
