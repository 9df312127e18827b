"""Private names of Keras that the package relies on: these tests fail when Keras renames them."""

import ast
import inspect
import pathlib
import tempfile

import keras
import numpy as np
import pytest
import zoo
from keras.src.saving import saving_lib, serialization_lib
from keras.src.trainers import data_adapters
from keras.src.trainers.data_adapters.data_adapter import DataAdapter

import keras_ae
from keras_ae.core import seeds

PACKAGE = pathlib.Path(keras_ae.__file__).resolve().parent
BACKEND = keras.config.backend()


def built_adam():
    optimizer = keras.optimizers.Adam()
    optimizer.build([keras.Variable(np.zeros(3, "float32"))])
    return optimizer


FUSED_ADAM = (
    "core/backend: _adam_step",
    "an operation of TensorFlow's, or torch's, updates it in place",
)


def store_of_weights():
    with tempfile.TemporaryDirectory() as folder:
        return saving_lib.H5IOStore(f"{folder}/a.weights.h5", mode="w")


def batched_dataset():
    import tensorflow as tf

    return tf.data.Dataset.range(3).batch(2)


# Private attribute -> (an object that must have it, where the package uses it, and for what).
PRIVATE = {
    "_assert_compile_called": (
        lambda: zoo.compiled("AE"),
        "core/training.py: fit, evaluate, train_on_batch, test_on_batch",
        "raises Keras' own error before the data is looked at",
    ),
    "_initialize_with_initializer": (
        lambda: keras.Variable(np.zeros(3, "float32")),
        "core/memory.py: _watch_variables",
        "makes a weight, whose size is compared with the memory that is left before",
    ),
    "_flatten_layers": (
        lambda: zoo.compiled("AE"),
        "core/memory.py: numbers_of_layers",
        "the layers of a model and of its networks",
    ),
    "_input_dataset": (
        batched_dataset,
        "core/tf_data.py: _refuse_batches",
        "what a dataset of batches gathers, which may be more than fits into memory",
    ),
    "_h5_entry_path": (
        store_of_weights,
        "samplers/base.py: find_old_weights",
        "where in a file a sampler is read from, which was elsewhere in files of before",
    ),
    "_retrieve_class_or_fn": (
        lambda: serialization_lib,
        "saving/objects.py: _find_in_keras",
        "finds the class or function that a file names, as Keras does when it reads the file",
    ),
    "_tracker": (
        lambda: zoo.compiled("AE"),
        "models/discrete/base.py: _renew_prior",
        "lets a built model have another prior over its codes",
    ),
    "_loss_tracker": (
        lambda: zoo.compiled("AE"),
        "core/objective.py: losses_and_logs",
        "the running mean that History shows as `loss`",
    ),
    "_compile_metrics": (
        lambda: zoo.compiled("AE"),
        "core/objective.py: losses_and_logs",
        "None where no metrics were compiled, so that no reconstruction need be computed",
    ),
    "_fn_kwargs": (
        lambda: keras.losses.BinaryCrossentropy(from_logits=True),
        "losses.py: output_activation",
        "says whether a loss takes logits",
    ),
    "_get_variable_index": (built_adam, *FUSED_ADAM),
    "_trainable_variables": (built_adam, *FUSED_ADAM),
    "_momentums": (built_adam, *FUSED_ADAM),
    "_velocities": (built_adam, *FUSED_ADAM),
    "_compile_config": (
        lambda: zoo.compiled("AE"),
        "core/backend/tensorflow.py: steps_at_once",
        "tells the compiled functions of one `compile` from those of the next",
    ),
    "_layers": (
        lambda: zoo.compiled("AE"),
        "core/programs.py: Programs",
        "the layers within a layer, of which a program depends on each",
    ),
    "_keras_history": (
        lambda: keras.Input((2,)),
        "networks/fitting.py: _explain_outputs",
        "the layer that computes an output of a network",
    ),
    "_symbolic_build": (
        lambda: zoo.compiled("AE"),
        "callbacks.py: BackupAndRestore",
        "makes the metrics of `compile` before the first step does",
    ),
    "_distribute_strategy": (
        lambda: zoo.compiled("AE"),
        "core/backend/tensorflow.py: steps_at_once",
        "several steps in one call do not work under a strategy",
    ),
}
ONLY_ON_TENSORFLOW = {"_distribute_strategy"}
MODULES = {
    "keras.src.legacy.saving": "saving/keras_files.py: _refuse_hdf5",
    "keras.src.saving": "saving/objects.py: _find_in_keras",
    "keras.src.random": "core/seeds.py: where Keras draws the seeds that nobody gave",
    "keras.src.trainers.data_adapters.data_adapter": "core/array_batches.py: ArrayBatches",
}


@pytest.mark.parametrize("name", PRIVATE)
def test_keras_still_has(name):
    if name in ONLY_ON_TENSORFLOW and BACKEND != "tensorflow":
        pytest.skip("concerns the TensorFlow backend")
    make, where, purpose = PRIVATE[name]
    assert hasattr(make(), name), (
        f"Keras {keras.__version__} has no {name} any more. keras_ae/{where} needs it: {purpose}."
    )


def trees():
    return {path: ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}


def test_no_other_private_name_is_used():
    """The test looks for private attributes that the package reads but never sets."""
    used, own = {}, set()
    for path, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                own.add(node.attr)
            elif isinstance(node, ast.Attribute):
                used.setdefault(node.attr, path.name)
            elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                own.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                own.add(node.id)
            elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "getattr":
                used.setdefault(getattr(node.args[1], "value", ""), path.name)
    private = {name for name in used if str(name).startswith("_") and not name.endswith("__")}
    foreign = private - own
    assert foreign == set(PRIVATE), {n: used.get(n) for n in foreign ^ set(PRIVATE)}


def test_no_other_private_module_is_imported():
    found = {
        node.module
        for tree in trees().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module.startswith("keras.src")
    }
    assert found == set(MODULES)


# ------------------------------------------------------------------ behavior that is not promised


def test_a_data_adapter_of_our_own_passes_through():
    """core/array_batches.py: `fit` passes `ArrayBatches` to Keras, which must use it as it is."""
    batches = keras_ae.core.array_batches.ArrayBatches((zoo.data(),), 16)
    assert isinstance(batches, DataAdapter)
    assert data_adapters.get_data_adapter(batches) is batches, (
        "keras.src.trainers.data_adapters.get_data_adapter no longer lets a DataAdapter pass: "
        "keras_ae/core/array_batches.py: ArrayBatches cannot be given to fit."
    )
    abstract = {
        name
        for name, value in vars(DataAdapter).items()
        if not str(name).startswith("_") and name not in ("on_epoch_begin", "on_epoch_end")
    }
    missing = abstract - set(vars(keras_ae.core.array_batches.ArrayBatches))
    assert not missing, (
        f"Keras' DataAdapter gained {missing}, which "
        "keras_ae/core/array_batches.py: ArrayBatches must define."
    )


def test_generators_are_told_by_their_exact_type():
    """core/inputs.py: `_prepend` is a generator function, because Keras refuses iterators."""
    source = inspect.getsource(data_adapters.get_data_adapter)
    assert "types.GeneratorType" in source


def test_compile_assigns_the_loss():
    """core/training.py: Keras assigns the loss in `compile`, and the `loss` property refuses it."""
    model = zoo.MODELS["AE"]()
    with pytest.raises(ValueError, match="defines its own losses"):
        model.compile("adam", loss="mse")


def test_seed_generators_are_found_by_the_name_of_their_state():
    """core/seeds.py: `states` saves what Keras does not."""
    generator = keras.random.SeedGenerator(0)
    assert generator.state.name == "seed_generator_state"
    dropout = keras.layers.Dropout(0.5, seed=0)
    assert [v.name for v in dropout.variables] == ["seed_generator_state"]
    model = zoo.compiled("AE", network_options={"units": (4,), "dropout": 0.5})
    model.build((None, 6))
    assert len(seeds.states(model)) == 3  # The model's own, the encoder's and the decoder's.


def test_seeds_need_no_state():
    """core/seeds.py: RunSeed has no variable, because Keras' random functions only call `next`."""

    pair = np.array([5, 7]).astype(keras_ae.core.backend.SEED_DTYPE)
    seed, again = (keras_ae.core.seeds.RunSeed(pair) for _ in range(2))
    assert not hasattr(seed, "state")
    first, second, repeated = (
        keras.ops.convert_to_numpy(keras.random.normal((4,), seed=given))
        for given in (seed, seed, again)
    )
    assert np.array_equal(first, repeated)
    assert not np.array_equal(first, second)


def test_names_that_a_training_step_uses_exist():
    """core/backend/*.py: a step calls these on the optimizer and in stateless code."""
    optimizer = keras.optimizers.Adam()
    for name in ("scale_loss", "apply", "stateless_apply", "build"):
        assert callable(getattr(optimizer, name)), (
            f"core/backend/{BACKEND}.py calls optimizer.{name}"
        )
    assert "collect_losses" in inspect.signature(keras.StatelessScope.__init__).parameters, (
        "core/backend/jax.py opens StatelessScope(..., collect_losses=True)"
    )
    for name in ("MultiOptimizer", "OptimizerMap"):
        assert hasattr(keras.optimizers, name), f"optimizers.py makes a keras.optimizers.{name}"


def test_models_on_tensorflow_know_their_strategy(on_tensorflow):
    """core/backend/tensorflow.py: `building_scope` makes weights in the model's own strategy."""
    import tensorflow as tf

    assert zoo.compiled("AE").distribute_strategy is tf.distribute.get_strategy()


def test_keras_builds_before_it_trains_under_a_strategy(on_tensorflow):
    """core/backend/tensorflow.py: TrainStep overrides a method that fails for several workers."""
    parameters = inspect.signature(keras.Model._maybe_symbolic_build).parameters
    assert list(parameters) == ["self", "iterator", "data_batch"]


class UnfusedAdam(keras.optimizers.Adam):
    """Keras' own Adam: backend/tensorflow.py and torch.py replace it, but not its subclasses."""


class UnfusedAdamW(keras.optimizers.AdamW):
    pass


@pytest.fixture
def on_torch():
    if BACKEND != "torch":
        pytest.skip("concerns the torch backend")


def test_torch_updates_all_weights_at_once(monkeypatch, on_torch):
    """core/backend/torch.py: `_fused_updates` replaces the method that Keras calls."""
    from keras_ae.core.backend import torch

    calls, adam = [], torch.adam
    monkeypatch.setattr(torch, "adam", lambda *args, **given: calls.append(adam(*args, **given)))
    for optimizer in (keras.optimizers.Adam, keras.optimizers.AdamW, UnfusedAdam):
        zoo.compiled("AE", optimizer()).fit(zoo.data(48), batch_size=16, verbose=0)
    assert len(calls) == 6


@pytest.mark.parametrize("transposed", ["weight", "gradient"])
def test_torch_updates_weights_of_any_memory_layout(transposed, on_torch):
    import torch

    from keras_ae.core.backend.torch import _fused_updates

    gradient, found = torch.arange(6.0).reshape(2, 3) - 2.5, []
    if transposed == "gradient":
        gradient = gradient.T.contiguous().T
    for optimizer in (keras.optimizers.Adam(0.1), UnfusedAdam(0.1)):
        value = torch.ones((3, 2)).T if transposed == "weight" else torch.ones((2, 3))
        weight = keras.Variable(value)
        assert weight.value.is_contiguous() == (transposed == "gradient")
        with torch.no_grad(), _fused_updates(optimizer):
            for factor in (1.0, -0.2, 3.0):
                optimizer.apply([gradient * factor], [weight])
        found.append(weight.numpy())
    np.testing.assert_allclose(*found, rtol=1e-5)


def test_torch_flushes_near_subnormal_adam_moments(on_torch):
    """Moments that fade would become subnormal numbers, which make a step several times slower."""
    import torch

    from keras_ae.core.backend.torch import _fused_updates

    optimizer, weight = keras.optimizers.Adam(), keras.Variable(torch.ones(3))
    first = torch.tensor([1.0, 1e-15, 1e-18])
    for gradient in (first, *[torch.zeros(3)] * 1100):
        with torch.no_grad(), _fused_updates(optimizer):
            optimizer.apply([gradient], [weight])
    assert not optimizer._momentums[0].numpy().any()
    faded = 1e-3 * 0.999**1100
    np.testing.assert_allclose(
        optimizer._velocities[0].numpy(), [faded, faded * 1e-30, 0.0], rtol=1e-3
    )


@pytest.mark.parametrize(
    "optimizers",
    [
        (keras.optimizers.Adam, UnfusedAdam),
        (keras.optimizers.AdamW, UnfusedAdamW),
    ],
    ids=["Adam", "AdamW"],
)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3},
        {"weight_decay": 0.1, "clipnorm": 0.01},
        {"use_ema": True, "gradient_accumulation_steps": 2},
        {"learning_rate": keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)},
    ],
    ids=lambda options: "-".join(options) or "defaults",
)
def test_the_fused_adam_is_keras_adam(options, optimizers):
    """Weights, moments and averages are compared after a few steps."""
    if BACKEND == "jax":
        pytest.skip("XLA fuses the updates of Keras' own optimizer")
    states = []
    for optimizer in optimizers:
        keras.utils.set_random_seed(0)
        model = zoo.compiled("AE", optimizer(**{"learning_rate": 0.05} | options))
        model.fit(zoo.data(), epochs=2, batch_size=8, verbose=0)
        states.append(zoo.weights(model) + [v.numpy() for v in model.optimizer.variables])
    for fused, unfused in zip(*states, strict=True):
        # The two differ by rounding, which Adam amplifies where a gradient is almost 0.
        np.testing.assert_allclose(fused, unfused, rtol=1e-3, atol=3e-4)
