"""The only code that knows which backend Keras runs on.

Each module has the same names:

- `TrainStep`: how a step differentiates and applies.
- `compile_function`: compile a function of arrays as a program of its own.
- `program`: a method of tensors as a program, inside another program or by itself.
- `view`: the result of a program as an array.
- `pullback`: products with the Jacobian of a function within a step.
- `log_bernoulli`: a density that each backend computes fastest in a way of its own.
- `draw_poisson`: counts with Poisson distributions, of which Keras has none.
- `servable`: what an export writes.
- `steps_at_once`: the context in which one call makes several steps.
- `building_scope`: the context in which weights are made.
- `loop`: the context of one of Keras' loops.
- `settle`: put the state of a running `fit` into the variables.
- `is_tracing`: tell whether a program is being compiled at the moment.
- `mix_seed`: turn a seed into one whose draws meet no other's.
- `replica_index`: which copy of the model is running.
- `argmin`, `argmax`: the index of the smallest or largest number, in operations that other file
  formats have, too.
- `transposes_slowly`: tell whether matrix products are faster than a transposed convolution.
- `convolve`: a convolution with its bias, where Keras takes a detour.
- `worker_count`, `worker_environment`, `join_workers`: training in several processes.
- `writes`: tell whether this process writes files for all of them.
- `COMPILES_EACH_SHAPE`: whether a batch of another length needs another program.
- `KEEPS_PROGRAMS`: whether compiled programs are kept.
- `RUNS_IN_ANY_THREAD`: whether a program may be called in another thread than made it.
- `SEED_DTYPE`: the dtype of the two numbers of a seed.
- `MEMORY_ERRORS`: the types of errors, among others, of an allocation that fails.
- `MARGIN_OF_A_STEP`: the measured peak memory of a step is at most this times its layer outputs.
- `COPIES_OF_ARRAYS`: how many copies of a NumPy array exist while it becomes a tensor.
- `ERRORS`: the types of errors of its operations that are no errors of Python.
- `NO_NUMBER_ERRORS`: the types of errors, among others, if Python asks a symbol for its number.
- `STATE_OF_LOOPS`: the attributes of a model that Keras' loops assign in every step.
"""

import importlib

import keras

BACKENDS = ("tensorflow", "jax", "torch")

if keras.config.backend() not in BACKENDS:
    raise ImportError(
        f"keras_ae runs on {', '.join(BACKENDS)}, but Keras was started with the backend "
        f"{keras.config.backend()!r}. Set the environment variable KERAS_BACKEND to one of them "
        "before Keras is imported."
    )

_backend = importlib.import_module(f"keras_ae.core.backend.{keras.config.backend()}")

TrainStep = _backend.TrainStep
compile_function = _backend.compile_function
view = _backend.view
program = _backend.program
pullback = _backend.pullback
log_bernoulli = _backend.log_bernoulli
draw_poisson = _backend.draw_poisson
servable = _backend.servable
steps_at_once = _backend.steps_at_once
building_scope = _backend.building_scope
MEMORY_ERRORS = _backend.MEMORY_ERRORS
COPIES_OF_ARRAYS = _backend.COPIES_OF_ARRAYS
MARGIN_OF_A_STEP = _backend.MARGIN_OF_A_STEP
ERRORS = _backend.ERRORS
NO_NUMBER_ERRORS = _backend.NO_NUMBER_ERRORS
STATE_OF_LOOPS = _backend.STATE_OF_LOOPS
replica_index = _backend.replica_index
KEEPS_PROGRAMS = _backend.KEEPS_PROGRAMS
is_tracing = _backend.is_tracing
settle = _backend.settle
loop = _backend.loop
mix_seed = _backend.mix_seed
COMPILES_EACH_SHAPE = _backend.COMPILES_EACH_SHAPE
RUNS_IN_ANY_THREAD = _backend.RUNS_IN_ANY_THREAD
SEED_DTYPE = _backend.SEED_DTYPE
transposes_slowly = _backend.transposes_slowly
convolve = _backend.convolve
worker_count = _backend.worker_count
join_workers = _backend.join_workers
writes = _backend.writes
worker_environment = _backend.worker_environment


def argmin(x):
    """The index of the smallest number along the last axis, int32."""
    return _ArgMin()(x) if isinstance(x, keras.KerasTensor) else _backend.argmin(x)


class _ArgMin(keras.Operation):
    """The operation that stands in a symbolic model, where only those of Keras can."""

    def call(self, x):
        return _backend.argmin(x)

    def compute_output_spec(self, x):
        return keras.KerasTensor(x.shape[:-1], "int32")


def argmax(x):
    """The index of the largest number along the last axis, int32; see `argmin`."""
    return argmin(-x)
