"""The only code that knows which backend Keras runs on.

Each module has the same names: `TrainStep` (how a step differentiates and applies), `compiled` (a
function of arrays as one compiled program), `view` (what that returns, as an array), `program` (a
method as one, where weights are at hand), `pullback` (products with the Jacobian of a function
within a step), `servable` (what an export writes), `steps_at_once` (how many steps one call makes),
`log_bernoulli` (a loss that each computes fastest in a way of its own), `building_scope` (where
weights are made), `MEMORY_ERRORS` (the types of errors of an allocation that fails, among others),
`replica_index` (which copy of the model is running), `SEED_DTYPE` (what its draws take), `mixed` (a
seed whose draws meet no other's), `COMPILES_EACH_SHAPE` (whether a batch of another length is
another program), `KEEPS_PROGRAMS` (whether what runs was compiled before), `tracing` (whether that
is being done at the moment), `NO_NUMBER_ERRORS` (the types of errors where Python asks a symbol of
a program for its number, among others), `settle` (what puts the state of a running `fit` into the
variables), `loop` (the context of one of Keras' loops), `RUNS_IN_ANY_THREAD` (whether what
`compiled` returns may be called in another thread than made it), `transposes_slowly` (transposed
convolutions), `worker_count`, `join_workers` (training in several processes), `writes` (whether
this one writes files for all of them) and `worker_environment` (how one is told that it belongs to
them).
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
compiled = _backend.compiled
view = _backend.view
program = _backend.program
pullback = _backend.pullback
log_bernoulli = _backend.log_bernoulli
servable = _backend.servable
steps_at_once = _backend.steps_at_once
building_scope = _backend.building_scope
MEMORY_ERRORS = _backend.MEMORY_ERRORS
NO_NUMBER_ERRORS = _backend.NO_NUMBER_ERRORS
replica_index = _backend.replica_index
KEEPS_PROGRAMS = _backend.KEEPS_PROGRAMS
tracing = _backend.tracing
settle = _backend.settle
loop = _backend.loop
mixed = _backend.mixed
COMPILES_EACH_SHAPE = _backend.COMPILES_EACH_SHAPE
RUNS_IN_ANY_THREAD = _backend.RUNS_IN_ANY_THREAD
SEED_DTYPE = _backend.SEED_DTYPE
transposes_slowly = _backend.transposes_slowly
worker_count = _backend.worker_count
join_workers = _backend.join_workers
writes = _backend.writes
worker_environment = _backend.worker_environment
