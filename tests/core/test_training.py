"""`fit`, `evaluate` and the calls, which are the same for all models, on three that differ."""

import re
import subprocess
import sys

import keras
import numpy as np
import pytest
import zoo
from keras import ops

import keras_ae
from keras_ae.core.array_batches import ArrayBatches
from keras_ae.testing.parts import same

BACKEND = keras.config.backend()
# A model without noise, one with noise, and one with a second player.
foundation = pytest.mark.parametrize("name", ["AE", "VAE", "FactorVAE"])


def forms(x):
    """Return a dictionary: name -> (data for fit, its keyword arguments)."""
    import tensorflow as tf

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            return (x[index * 16 : (index + 1) * 16],)

    def generator():
        for start in (0, 16, 32):
            yield x[start : start + 16]

    slices = tf.data.Dataset.from_tensor_slices
    return {
        "array": ((x,), {"batch_size": 16}),
        "list": ((x.tolist(),), {"batch_size": 16}),
        "pair": ((x, x), {"batch_size": 16}),
        "uint8": ((x.astype("uint8"),), {"batch_size": 16}),
        "float64": ((x.astype("float64"),), {"batch_size": 16}),
        "tensor": ((ops.convert_to_tensor(x),), {"batch_size": 16}),
        "batched dataset": ((slices(x).batch(16),), {}),
        "dataset of examples": ((slices(x),), {"batch_size": 16}),
        "dataset of pairs": ((slices((x, x)).batch(16),), {}),
        "weighted dataset": ((slices((x, x, np.ones(len(x)))).batch(16),), {}),
        "PyDataset": ((Batches(),), {}),
        "generator": ((generator(),), {"steps_per_epoch": 3}),
    }


@pytest.mark.costly
@foundation
def test_all_forms_of_data_train_alike(name):
    """The model does not learn, so that every form of the data must give the same losses."""
    x = zoo.data()
    model = zoo.eager(name, keras.optimizers.SGD(0.0))
    losses = {}
    for form, (arguments, options) in forms(x).items():
        model.build((None, 6))
        model._seed_generator.state.assign([1, 0])
        history = model.fit(*arguments, verbose=0, shuffle=False, **options)
        losses[form] = history.history["loss"][0]
    for form, value in losses.items():
        assert value == pytest.approx(losses["array"], rel=1e-4), form


def test_tfds_features_train_as_they_come():
    import tensorflow as tf

    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 1)).astype("uint8")
    features = {"image": images, "label": np.arange(20)}
    model = keras_ae.VAE(2, network_options={"filters": (2, 2), "units": (4,)})
    model.compile("adam")
    dataset = tf.data.Dataset.from_tensor_slices(features)
    model.fit(dataset, batch_size=10, verbose=0, validation_data=dataset)
    assert model._data_shape == (8, 8, 1)
    np.testing.assert_allclose(
        model.encode(dataset), model.encode(images.astype("float32") / 255), atol=1e-6
    )


def test_targets_of_another_image_size():
    x = np.random.default_rng(0).random((8, 8, 8, 1), "float32")
    y = np.random.default_rng(1).random((8, 16, 16, 3), "float32")
    model = keras_ae.AE(2, network_options={"filters": (2, 2), "units": (4,)})
    model.compile("adam")
    model.fit(x, y, verbose=0)
    assert model.reconstruct(x).shape == y.shape


@foundation
def test_validation_forms_agree(name):
    x, held_out = zoo.data(48), zoo.data(16, seed=5)
    joined = np.concatenate([x, held_out])
    model = zoo.eager(name, keras.optimizers.SGD(0.0))
    results = []
    for train, options in (
        (x, {"validation_data": held_out}),
        (x, {"validation_data": (held_out, held_out)}),
        (x, {"validation_data": (held_out, held_out, np.ones(16))}),
        (joined, {"validation_split": 0.25}),
    ):
        history = model.fit(train, batch_size=16, verbose=0, **options)
        results.append(history.history["val_loss"][0])
    assert results == pytest.approx([results[0]] * 4, rel=1e-5)


def test_sample_weights_reach_the_gradient():
    x = zoo.data(32)
    twice = zoo.compiled("AE", keras.optimizers.SGD(0.1))
    twice.fit(x, sample_weight=np.full(32, 2.0), batch_size=32, verbose=0)
    faster = zoo.compiled("AE", keras.optimizers.SGD(0.2))
    faster.fit(x, batch_size=32, verbose=0)
    for a, b in zip(twice.trainable_variables, faster.trainable_variables, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-6)


def test_every_epoch_has_an_order_of_its_own():
    x = np.arange(100, dtype="float32")[:, None]

    def order(seed, epoch, **options):
        batches = ArrayBatches((x,), 16, shuffle=True, seed=seed, **options)
        batches.epoch = epoch
        streams = [[b[0] for b in batches.get_numpy_iterator()]]
        streams.append([b[0].numpy() for b in batches.get_tf_dataset()])
        flat = [np.concatenate(stream)[:, 0] for stream in streams]
        assert np.array_equal(*flat)
        return flat[0]

    assert np.array_equal(np.sort(order(0, 0)), x[:, 0])
    assert not np.array_equal(order(0, 0), order(0, 1))
    assert not np.array_equal(order(0, 0), order(1, 0))
    assert np.array_equal(order(0, 5), order(0, 5))
    # Two epochs of four steps are the first eight batches of the endless stream of passes.
    stream = np.concatenate([order(0, 0), order(0, 1)])
    parts = np.concatenate([order(0, e, steps_per_epoch=4) for e in range(2)])
    assert np.array_equal(parts[:100], stream[:100])


def test_batches_hold_examples_of_similar_lengths():
    lengths = np.random.default_rng(0).integers(1, 100, 1010)
    batches = ArrayBatches((lengths[:, None],), 16, shuffle=True, lengths=lengths)
    orders = []
    for batches.epoch in (0, 1, 0):
        found = [b[0][:, 0] for b in batches.get_numpy_iterator()]
        orders.append(np.concatenate(found))
        assert np.array_equal(np.sort(orders[-1]), np.sort(lengths))
        assert np.median([np.ptp(batch) for batch in found]) < 10  # Random batches have about 90.
        means = [batch.mean() for batch in found[:20]]
        assert means != sorted(means)
    assert np.array_equal(orders[0], orders[2]) and not np.array_equal(orders[0], orders[1])
    batches = ArrayBatches((lengths[:, None],), 16, lengths=lengths)
    in_order = np.concatenate([b[0][:, 0] for b in batches.get_numpy_iterator()])
    assert np.array_equal(in_order, lengths)


@pytest.mark.parametrize("steps_per_epoch", [None, 4])
def test_fit_reads_each_epoch_in_its_own_order(steps_per_epoch, monkeypatch):
    if BACKEND == "tensorflow":
        monkeypatch.setattr("keras_ae.core.tf_data._BATCHES_AT_ONCE", 2)  # A pass has three.
    x = np.arange(10, dtype="float32")[:, None] * np.ones(6, "float32")
    model = zoo.compiled("AE", None, {"run_eagerly": True}, seed=5)
    model.build(x.shape)
    losses_and_logs, seen = model._losses_and_logs, []

    def recorded(data, training):
        (batch,) = data
        seen.append(keras.ops.convert_to_numpy(batch)[:, 0])
        return losses_and_logs(data, training)

    monkeypatch.setattr(model, "_losses_and_logs", recorded)
    model.fit(x, batch_size=4, epochs=3, steps_per_epoch=steps_per_epoch, verbose=0)
    batches = ArrayBatches(
        (x,), 4, True, keras_ae.core.seeds.order_seed(model), steps_per_epoch=steps_per_epoch
    )
    expected = []
    for batches.epoch in range(3):
        expected += list(batches.index_batches())
    assert len(seen) == len(expected)
    for batch, indices in zip(seen, expected, strict=True):
        np.testing.assert_array_equal(batch, indices)


def test_a_memory_mapped_file_is_read_in_pieces(tmp_path):
    np.save(tmp_path / "x.npy", zoo.data())
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    losses = [
        zoo.compiled("AE").fit(values, epochs=2, batch_size=16, verbose=0).history["loss"]
        for values in (x, zoo.data())
    ]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-6)


def test_the_progress_bar_counts_the_steps_that_there_are(capsys):
    model, x = zoo.compiled("AE"), zoo.data(48)
    model.fit(x, batch_size=16, epochs=2, validation_data=x[:16], verbose=1)
    model.evaluate(x, batch_size=16, verbose=1)
    shown = capsys.readouterr().out
    assert set(re.findall(r"\d+/\d+", shown)) - {"1/3", "2/3"} == {"1/2", "2/2", "3/3"}


def test_callbacks_that_look_at_batches_see_each():
    seen = []
    look = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(batch))
    for callbacks in (look, [look], ([look],)):  # Keras takes all of these.
        seen.clear()
        zoo.compiled("AE").fit(zoo.data(48), batch_size=16, callbacks=callbacks, verbose=0)
        assert seen == [0, 1, 2]


def test_fit_holds_one_copy_of_its_data():
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # This sets the peak back to what is in use.
    except OSError as error:
        pytest.skip(f"the peak of memory cannot be set back here: {error}")

    def mebibytes(name):
        with open("/proc/self/status") as file:
            status = dict(line.split(":", 1) for line in file)
        return int(status[name].split()[0]) / 1024

    x = np.ones((102_400, 1024), "float32")  # 400 MiB.
    model = keras_ae.AE(2, network_options={"units": (2,)})
    model.compile("sgd")
    model.fit(x[:1024], batch_size=512, verbose=0)
    before = mebibytes("VmRSS")
    model.fit(x, batch_size=512, verbose=0)
    assert mebibytes("VmHWM") - before < 1.5 * 400


def trained_alike(name, *all_options):
    """Return the weights of equal models after training, each compiled with its own options."""
    first, found = None, []
    for compile_options in all_options:
        model = zoo.compiled(name, compile_options=compile_options)
        model.build((None, 6))
        first = first or model.get_weights()
        model.set_weights(first)
        model.fit(zoo.data(), epochs=2, batch_size=16, verbose=0)
        found.append([v.numpy() for v in model.trainable_variables])
    return found


@foundation
def test_compile_options_change_nothing(name):
    # torch has no steps_per_execution.
    several = {} if BACKEND == "torch" else {"steps_per_execution": 2}
    plain, *others = trained_alike(name, {}, {"run_eagerly": True}, {"metrics": ["mae"]} | several)
    for other in others:
        for a, b in zip(plain, other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_xla_changes_nothing():
    """The model has no noise, because XLA draws other random numbers."""
    if BACKEND == "torch":
        pytest.skip("torch's compiler needs one for C++")
    plain, compiled = trained_alike("AE", {"jit_compile": False}, {"jit_compile": True})
    for a, b in zip(plain, compiled, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@foundation
def test_compiled_by_xla_it_trains(name):
    if BACKEND != "tensorflow":
        pytest.skip("JAX always compiles so, and torch never")
    model = zoo.compiled(name, compile_options={"jit_compile": True})
    assert np.isfinite(model.fit(zoo.data(), batch_size=16, verbose=0).history["loss"][0])


@foundation
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(name, policy):
    model = zoo.compiled(name, dtype=policy)
    x = zoo.data()
    history = model.fit(x, batch_size=16, verbose=0)
    assert np.all(np.isfinite(history.history["loss"]))
    assert {v.dtype for v in model.trainable_variables} == {"float32"}
    assert model.encode(x).dtype == model.reconstruct(x).dtype == np.float32
    exact = zoo.compiled(name)
    exact.build((None, 6))
    exact.set_weights(model.get_weights())
    np.testing.assert_allclose(model.encode(x), exact.encode(x), atol=0.05)


@foundation
def test_gradient_accumulation(name):
    optimizer = keras.optimizers.Adam(0.01, gradient_accumulation_steps=2)
    model = zoo.compiled(name, optimizer)
    model.build((None, 6))
    before = zoo.weights(model)
    model.fit(zoo.data(16), batch_size=16, verbose=0)
    trainable = [v.numpy() for v in model.trainable_variables]
    assert sum(any(np.array_equal(t, b) for b in before) for t in trainable) == len(trainable)
    model.fit(zoo.data(16), batch_size=16, verbose=0)
    moved = [v.numpy() for v in model.trainable_variables]
    assert not same(trainable, moved)


@foundation
def test_regularizers_belong_to_the_loss(name):
    options = {"units": (8,), "kernel_regularizer": "l2"}
    model = zoo.eager(name, network_options=options)
    model.fit(zoo.data(), batch_size=48, verbose=0)
    logs = model.evaluate(zoo.data(), batch_size=48, verbose=0, return_dict=True)
    weights = {k: float(v) for k, v in model.loss_weights().items()}
    terms = sum(weights.get(n, 1.0) * logs[n] for n in model.objective)
    kernels = [v.numpy() for v in model._variable_groups()[0] if v.regularizer is not None]
    assert kernels
    penalty = 0.01 * sum((k**2).sum() for k in kernels)
    assert logs["loss"] - terms == pytest.approx(penalty, rel=1e-3)


def test_an_optimizer_for_each_player():
    model = zoo.MODELS["FactorVAE"]()
    model.build((None, 6))
    frozen = keras.optimizers.SGD(0.0)
    model.compile(keras_ae.optimizers_for(model, keras.optimizers.SGD(0.1), discriminator=frozen))
    before = [[v.numpy().copy() for v in g] for g in model._variable_groups()]
    model.fit(zoo.data(), batch_size=16, verbose=0)
    after = [[v.numpy() for v in g] for g in model._variable_groups()]
    assert not same(before[0], after[0])
    assert same(before[1], after[1])
    with pytest.raises(ValueError, match="no network 'critic'"):
        keras_ae.optimizers_for(model, "adam", critic="sgd")


def test_large_examples_make_small_batches():
    shapes = [(784,), (64, 64, 3), (2**21,)]
    sizes = [keras_ae.core.batching.default_batch_size(shape, (16,)) for shape in shapes]
    assert sizes == [1024, 85, 1]


def test_a_progress_bar_when_asked(capsys):
    model = zoo.trained("AE")
    capsys.readouterr()
    model.encode(zoo.data(), batch_size=8)
    assert capsys.readouterr().out == ""
    model.encode(zoo.data(), batch_size=8, verbose=1)
    assert "6/6" in capsys.readouterr().out


@foundation
def test_summary(name, capsys):
    zoo.trained(name).summary()
    printed = capsys.readouterr().out
    assert "encoder" in printed and "decoder" in printed


@foundation
@pytest.mark.parametrize("shape", [(6,), (8, 8, 1), (5, 3)], ids=["dense", "conv", "recurrent"])
def test_networks_fit_the_data(name, shape):
    x = np.random.default_rng(0).integers(0, 2, (8, *shape)).astype("float32")
    options = {"units": (4,)} | ({"filters": (2, 2)} if len(shape) == 3 else {})
    model = zoo.eager(name, network_options=options)
    model.fit(x, verbose=0)
    assert model.reconstruct(x).shape == x.shape
    assert model.sample(2, seed=0).shape == (2, *shape)


@foundation
def test_network_options(name):
    options = {
        "units": (8,),
        "activation": "elu",
        "kernel_initializer": "he_normal",
        "kernel_regularizer": "l1_l2",
        "activity_regularizer": "l1",
        "dropout": 0.2,
        "batch_normalization": True,
    }
    model = zoo.eager(name, network_options=options)
    history = model.fit(zoo.data(), epochs=2, batch_size=16, verbose=0)
    assert np.all(np.isfinite(history.history["loss"]))
    x = zoo.data(8)
    assert np.array_equal(model.encode(x), model.encode(x))


@foundation
def test_a_killed_run_resumes_to_the_same_bits(name, tmp_path):
    """The run has shuffling, noise, dropout, an optimizer with state, and a warm-up."""

    class Killed(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    def run(callbacks, seed_of_the_process):
        keras.utils.set_random_seed(seed_of_the_process)
        given = {"network_options": {"units": (8,), "dropout": 0.2}}
        if name in zoo.VARIATIONAL:
            given["kl_weight"] = keras_ae.schedules.LinearWarmUp(10)
        model = zoo.eager(name, **given)
        model.fit(zoo.data(), epochs=4, batch_size=24, verbose=0, callbacks=callbacks)
        return zoo.weights(model)

    whole = run([], 0)

    def backup():
        return keras_ae.callbacks.BackupAndRestore(tmp_path / "backup")

    with pytest.raises(KeyboardInterrupt):
        run([backup(), Killed()], 0)
    assert same(run([backup()], 7), whole)


@foundation
def test_the_usual_callbacks(name, tmp_path):
    callbacks = [
        keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", save_best_only=True),
        keras.callbacks.EarlyStopping("val_loss", patience=0, min_delta=1e9),
        keras.callbacks.CSVLogger(tmp_path / "history.csv"),
        keras.callbacks.TerminateOnNaN(),
        keras.callbacks.ReduceLROnPlateau(),
    ]
    if BACKEND == "tensorflow":
        callbacks.append(keras.callbacks.TensorBoard(tmp_path / "logs"))
    model = zoo.compiled(name)
    history = model.fit(
        zoo.data(), validation_data=zoo.data(), epochs=5, verbose=0, callbacks=callbacks
    )
    assert len(history.history["loss"]) == 2
    best = keras_ae.load(tmp_path / "best.keras")
    assert isinstance(best, type(model))


def test_another_backend_trains_without_tensorflow():
    """TensorFlow would take two more seconds to import."""
    if BACKEND == "tensorflow":
        pytest.skip("concerns the other backends")
    code = """if True:
        import sys
        import numpy as np
        import keras_ae
        model = keras_ae.VAE(2, likelihood="gaussian", network_options={"units": (4,)})
        model.compile("adam")
        model.fit(np.zeros((8, 6), "float32"), verbose=0)
        model.encode(np.zeros((8, 6), "float32"))
        assert "tensorflow" not in sys.modules
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
