"""Every property that all models share, for every model."""

import inspect
import json
import re

import keras
import numpy as np
import pytest
import zoo
from keras import ops

import keras_ae

BACKEND = keras.config.backend()
every_model = pytest.mark.parametrize("name", zoo.MODELS)
with_networks = pytest.mark.parametrize("name", zoo.WITH_NETWORKS)
dictionaries = pytest.mark.parametrize("name", zoo.DICTIONARIES)
foundation = pytest.mark.parametrize("name", zoo.FOUNDATION)
variational = pytest.mark.parametrize("name", zoo.VARIATIONAL)


def same(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


# ------------------------------------------------------------------ the zoo is whole


def test_every_public_model_is_in_the_zoo():
    assert set(keras_ae.models.FILES) == set(zoo.MODELS)


@every_model
def test_every_model_says_what_it_is(name):
    cls = getattr(keras_ae, name)
    module = inspect.getmodule(cls).__doc__
    assert any(key in module for key in ("arXiv:", "doi:", "https://", "openreview.net")), module
    for section in ("Args:", "Example:"):
        assert section in cls.__doc__


# ------------------------------------------------------------------ what fit takes


def forms(x):
    """name -> (data for fit, its keyword arguments)."""
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


@foundation
def test_all_forms_of_data_train_alike(name):
    """One model that stands still, so that every form must give the same losses."""
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
    assert model.data_shape == (8, 8, 1)
    np.testing.assert_allclose(
        model.encode(dataset), model.encode(images.astype("float32") / 255), atol=1e-6
    )


@foundation
def test_targets_of_another_shape(name):
    x, y = zoo.data(), zoo.data(width=8)
    model = zoo.eager(name)
    model.fit(x, y, batch_size=16, verbose=0, validation_data=(x, y))
    assert model.reconstruct(x).shape == y.shape
    assert model.sample(3, seed=0).shape == (3, 8)
    assert np.isfinite(model.evaluate(x, y, verbose=0, return_dict=True)["loss"])
    if name in zoo.VARIATIONAL:
        assert model.log_likelihood(x, y, num_samples=4, seed=0).shape == (48,)
    with pytest.raises(ValueError, match="no target was passed"):
        model.fit(x, verbose=0)


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


@foundation
def test_sample_weights_count_examples(name):
    """Weight 0 removes an example from the loss, which is the mean of weighted losses."""
    x = zoo.data(32)
    model = zoo.trained(name)
    weights = np.concatenate([np.ones(16), np.zeros(16)])
    options = {"batch_size": 32, "verbose": 0, "return_dict": True}
    kept = model.evaluate(x, sample_weight=weights, **options)
    scaled = model.evaluate(x, sample_weight=3 * weights, **options)
    assert kept["loss"] == pytest.approx(scaled["loss"], rel=1e-5)


def test_sample_weights_reach_the_gradient():
    x = zoo.data(32)
    twice = zoo.compiled("AE", keras.optimizers.SGD(0.1))
    twice.fit(x, sample_weight=np.full(32, 2.0), batch_size=32, verbose=0)
    faster = zoo.compiled("AE", keras.optimizers.SGD(0.2))
    faster.fit(x, batch_size=32, verbose=0)
    for a, b in zip(twice.trainable_variables, faster.trainable_variables, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-6)


@every_model
def test_history_holds_every_declared_loss(name):
    model = zoo.trained(name)
    history = model.history.history
    names = {"loss", *model.objective, *sum(model.players.values(), ()), *model.diagnostics}
    assert set(history) == names | {f"val_{n}" for n in names}
    weights = {k: float(v) for k, v in model.loss_weights().items()}
    total = sum(weights.get(n, 1.0) * history[n][-1] for n in model.objective)
    assert history["loss"][-1] == pytest.approx(total, rel=1e-5)


# ------------------------------------------------------------------ training


@every_model
def test_training_lowers_the_loss(name):
    model = zoo.trained(name)
    if name in zoo.DICTIONARIES:  # Whose loss is in a unit that only training tells.
        assert model.history.history["val_unexplained_variance"][-1] < 0.7
        return
    after = model.history.history["val_reconstruction_loss"][-1]
    assert after < 0.97 * model.before["reconstruction_loss"]


@foundation
def test_the_seed_decides_everything(name):
    given = {"network_options": {"units": (8,), "dropout": 0.2}}
    if name == "FactorVAE":
        given["discriminator"] = None  # Networks of your own have their own first weights.
    runs = []
    for seed in (3, 3, 4):
        model = zoo.eager(name, seed=seed, **given)
        model.fit(zoo.data(), batch_size=16, verbose=0)
        runs.append(zoo.weights(model))
    assert same(runs[0], runs[1])
    assert not same(runs[0], runs[2])


def test_every_epoch_has_an_order_of_its_own():
    x = np.arange(100, dtype="float32")[:, None]

    def order(seed, epoch, **options):
        batches = keras_ae.core.inputs.ArrayBatches((x,), 16, shuffle=True, seed=seed, **options)
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


@pytest.mark.parametrize("steps_per_epoch", [None, 4])
def test_fit_reads_each_epoch_in_its_own_order(steps_per_epoch, monkeypatch):
    if BACKEND == "tensorflow":
        monkeypatch.setattr("keras_ae.core.tf_data._BATCHES_AT_ONCE", 2)  # Of the three of a pass.
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
    batches = keras_ae.core.inputs.ArrayBatches(
        (x,), 4, True, keras_ae.core.seeds.of_order(model), steps_per_epoch=steps_per_epoch
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
    for callbacks in (look, [look], ([look],)):  # As Keras takes them.
        seen.clear()
        zoo.compiled("AE").fit(zoo.data(48), batch_size=16, callbacks=callbacks, verbose=0)
        assert seen == [0, 1, 2]


def test_fit_holds_one_copy_of_its_data():
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # The peak begins anew from what is in use.
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


@every_model
def test_evaluation_repeats_itself(name):
    model = zoo.trained(name)
    options = {"batch_size": 16, "verbose": 0, "return_dict": True}
    first = model.evaluate(zoo.data(), **options)
    model.sample(5)  # Moves the model's own seed.
    assert model.evaluate(zoo.data(), **options) == first


@foundation
def test_batch_methods(name):
    model = zoo.compiled(name)
    x = zoo.data(16)
    first = model.test_on_batch(x, return_dict=True)
    model.train_on_batch(x)
    assert set(model.train_on_batch(x, return_dict=True)) == set(first)
    assert model.predict(x, verbose=0).shape == x.shape
    np.testing.assert_allclose(model.predict(x, verbose=0), model.reconstruct(x), atol=1e-6)


def trained_alike(name, *all_options):
    """The weights of equal models after training, each compiled in its own way."""
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
    several = {} if BACKEND == "torch" else {"steps_per_execution": 2}  # Which torch has not.
    plain, *others = trained_alike(name, {}, {"run_eagerly": True}, {"metrics": ["mae"]} | several)
    for other in others:
        for a, b in zip(plain, other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_xla_changes_nothing():
    """Of a model without noise, for XLA draws other numbers."""
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


@every_model
def test_mixed_precision(name):
    if BACKEND == "jax" and name == "MaskedAE":
        pytest.skip("JAX's attention takes no float16 on a CPU")
    if BACKEND == "jax" and name not in zoo.TRIED_EVERYWHERE:
        pytest.skip("what a model mixes up TensorFlow refuses; JAX casts it and takes long")
    check_precision(name, "mixed_float16")


@foundation
def test_mixed_precision_with_a_wide_exponent(name):
    check_precision(name, "mixed_bfloat16")


def check_precision(name, policy):
    given = {"discriminator": None} if name == "FactorVAE" else {}
    how = {} if name in zoo.FOUNDATION else zoo.OP_BY_OP
    model = zoo.compiled(name, compile_options=how, dtype=policy, **given)
    x = zoo.data()
    history = model.fit(x, batch_size=16, verbose=0)
    assert np.all(np.isfinite(history.history["loss"]))
    assert {v.dtype for v in model.trainable_variables} == {"float32"}
    assert model.encode(x).dtype == model._code_dtype
    assert model.reconstruct(x).dtype == np.float32
    exact = zoo.compiled(name, **given)
    exact.build((None, 6))
    exact.set_weights(model.get_weights())
    if name in zoo.DISCRETE:  # Between two codes rounding may decide.
        assert np.mean(model.encode(x) == exact.encode(x)) > 0.9
    else:
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
def test_regularisers_belong_to_the_loss(name):
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


@every_model
def test_learning_stays_inside_the_players(name):
    """Zeroing one player's losses leaves exactly that player's weights still.

    With networks of the user's own, which the players' groups must hold, where a model takes them.
    """
    cls = type(zoo.MODELS[name]())
    players = [None, *cls.players]
    if BACKEND == "jax" and len(players) == 1 and name not in zoo.TRIED_EVERYWHERE:
        pytest.skip("there is one player, as in the foundation's models, and JAX takes long")
    for silenced in players:

        class Silenced(cls):
            def loss_terms(self, x, y, training):
                terms = super().loss_terms(x, y, training)
                names = self.objective if silenced is None else self.players[silenced]  # noqa: B023
                return {k: 0.0 * v if k in names else v for k, v in terms.items()}

        networks = zoo.own_networks(name)
        model = Silenced(zoo.code_shape(name)[-1], **zoo.settings(name, **networks))
        model.compile(keras.optimizers.SGD(0.1), **zoo.OP_BY_OP)
        model.build((None, 6))
        assert {part: getattr(model, part) for part in networks} == networks
        before = [[v.numpy().copy() for v in group] for group in model._variable_groups()]
        model.fit(zoo.data(), batch_size=48, verbose=0)
        for player, group, old in zip(players, model._variable_groups(), before, strict=True):
            moved = [not np.array_equal(v.numpy(), b) for v, b in zip(group, old, strict=True)]
            assert any(moved) != (player == silenced), (silenced, player)


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


# ------------------------------------------------------------------ calls


@every_model
def test_arrays_in_numpy_out(name):
    model = zoo.trained(name)
    x, code = zoo.data(37), (37, *zoo.code_shape(name))
    calls = {
        "encode": (x, code),
        "decode": (np.zeros(code, "float32"), (37, 6)),
        "reconstruct": (x, (37, 6)),
    }
    for method, (argument, shape) in calls.items():
        call = getattr(model, method)
        whole = call(argument)
        dtype = model._code_dtype if method == "encode" else "float32"
        assert isinstance(whole, np.ndarray) and whole.dtype == dtype
        assert whole.shape == shape
        np.testing.assert_allclose(call(argument, batch_size=8), whole, atol=1e-6)
        np.testing.assert_allclose(call(argument.tolist()), whole, atol=1e-6)
        assert np.array_equal(call(argument), whole)
    decoded, reconstructed = model.decode(model.encode(x)), model.reconstruct(x)
    if name in zoo.SKIPPING:
        assert np.abs(decoded - reconstructed).max() > 1e-3
    else:
        np.testing.assert_allclose(decoded, reconstructed, atol=1e-6)


@every_model
def test_tensors_in_tensors_out(name):
    model = zoo.trained(name)
    x = ops.convert_to_tensor(zoo.data(5))
    z = model.encode(x)
    assert ops.is_tensor(z) and ops.is_tensor(model.decode(z))
    np.testing.assert_allclose(
        ops.convert_to_numpy(model.reconstruct(x)), model.reconstruct(zoo.data(5)), atol=1e-6
    )


@every_model
def test_gradients_flow_through_the_calls(name):
    """d reconstruct / d x by autodiff equals a difference quotient.

    Where codes are integers that of what takes the place of their steps: z + (q - z), the latter
    held still.
    """
    model = zoo.trained(name)
    x = zoo.data(5) * 0.5 + 0.25
    step = np.zeros_like(x)
    step[1, 2] = 1e-3

    def total(values):
        return ops.sum(ops.square(model.reconstruct(values)))

    gradient = zoo.gradient(total, x)
    smooth = model.reconstruct
    if name in zoo.DISCRETE:
        smooth = zoo.straightened(model, x)
    above, below = ((smooth(x + sign * step) ** 2).sum() for sign in (1, -1))
    assert gradient[1, 2] == pytest.approx((above - below) / 2e-3, rel=0.05, abs=5e-3)
    assert np.abs(gradient).max() > 0


@variational
def test_the_likelihood_is_differentiable(name):
    if BACKEND == "jax" and not zoo.overrides(name, "posterior", "prior", "importance_terms"):
        pytest.skip("it is VAE's likelihood, and JAX takes long")
    model = zoo.trained(name)
    x = zoo.data(3)
    gradient = zoo.gradient(
        lambda v: ops.sum(model.log_likelihood(v, num_samples=4, seed=0)), x * 0.5 + 0.25
    )
    assert np.all(np.isfinite(gradient)) and np.abs(gradient).max() > 0


@every_model
def test_symbolic_calls_make_models(name):
    model = zoo.trained(name)
    inputs = keras.Input((6,))
    features = keras.Model(inputs, model.encode(inputs))
    x = zoo.data(5)
    np.testing.assert_allclose(features.predict(x, verbose=0), model.encode(x), atol=1e-6)
    code = keras.Input(zoo.code_shape(name))
    generator = keras.Model(code, model.decode(code))
    z = model.encode(x)
    np.testing.assert_allclose(generator.predict(z, verbose=0), model.decode(z), atol=1e-6)


@every_model
def test_samples_follow_their_seed(name):
    model = zoo.trained(name)
    first = model.sample(37, seed=3)
    assert first.shape == (37, 6) and first.min() >= -5
    assert np.array_equal(model.sample(37, seed=3), first)
    assert not np.array_equal(model.sample(37, seed=4), first)
    assert not np.array_equal(model.sample(37), model.sample(37))
    np.testing.assert_allclose(model.sample(37, seed=3, batch_size=8), first, atol=1e-6)


@pytest.mark.parametrize("name", ["AE", "DenoisingAE", *zoo.DICTIONARIES])
def test_plain_models_sample_once_trained(name):
    model = zoo.compiled(name)
    with pytest.raises(RuntimeError, match="has not been trained"):
        model.sample(3)
    model.build((None, 6))
    with pytest.raises(RuntimeError, match="has not been trained"):
        model.sample(3)


@variational
def test_draws_on_demand(name):
    model = zoo.trained(name)
    x = zoo.data(8)
    assert np.array_equal(model.encode(x), model.encode(x))
    drawn = model.encode(x, sample=True, seed=1)
    assert np.array_equal(drawn, model.encode(x, sample=True, seed=1))
    assert not np.array_equal(drawn, model.encode(x, sample=True, seed=2))
    assert not np.array_equal(model.encode(x, sample=True), model.encode(x, sample=True))
    binary = model.decode(drawn, sample=True, seed=1)
    assert set(np.unique(binary)) <= {0.0, 1.0}
    likelihood = model.log_likelihood(x, num_samples=12, seed=0)
    assert likelihood.shape == (8,) and np.mean(likelihood) < 0
    assert np.array_equal(likelihood, model.log_likelihood(x, num_samples=12, seed=0))
    assert not np.array_equal(likelihood, model.log_likelihood(x, num_samples=12, seed=1))


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


# ------------------------------------------------------------------ networks of your own


@with_networks
def test_your_own_networks(name):
    """Whose training `test_learning_stays_inside_the_players` shows."""
    x, networks = zoo.data(), zoo.own_networks(name)
    model = zoo.make(name, **networks)
    again = type(model).from_config(model.get_config())
    for each in (model, again):
        each.build((None, 6))
    assert model.encoder is networks["encoder"] and again.encoder is not model.encoder
    again.set_weights(model.get_weights())
    np.testing.assert_allclose(again.encode(x), model.encode(x), atol=1e-6)


@with_networks
@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_networks_of_several_inputs_or_outputs_are_refused(name, part):
    networks = zoo.own_networks(name)
    network = networks[part]
    for outputs in (network.outputs * 2, network.outputs, {"a": network.outputs[0]}):
        several = keras.Model(network.inputs, outputs)
        with pytest.raises(ValueError, match=f"{name}: the {part} .* has to return one tensor"):
            zoo.make(name, **networks | {part: several}).build((None, 6))
    first, second = (keras.Input(network.input_shape[1:]) for _ in range(2))
    several = keras.Model([first, second], network(keras.ops.add(first, second)))
    with pytest.raises(ValueError, match=f"{name}: the {part} .*(has 2 inputs|how wide)"):
        zoo.make(name, **networks | {part: several}).build((None, 6))


@dictionaries
def test_dictionaries_refuse_networks(name):
    refused = zoo.own_networks("AE") | {"network_options": {"units": (8,)}}
    for argument, value in refused.items():
        with pytest.raises(TypeError, match=f"unknown argument '{argument}'. It takes latent_dim"):
            zoo.make(name, **{argument: value})


@foundation
@pytest.mark.parametrize("shape", [(6,), (8, 8, 1), (5, 3)], ids=["dense", "conv", "recurrent"])
def test_networks_fit_the_data(name, shape):
    if BACKEND == "jax" and not zoo.overrides(name, "build_networks"):
        pytest.skip("it has AE's or VAE's networks, and JAX takes long")
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


# ------------------------------------------------------------------ configuration and state


@every_model
def test_the_configuration_is_what_was_given(name):
    model = zoo.trained(name)
    config = json.loads(json.dumps(model.get_config()))
    assert config["latent_dim"] == zoo.code_shape(name)[-1] and config.get("encoder") is None
    assert ("encoder" in config) == (name in zoo.WITH_NETWORKS)
    again = type(model).from_config(config)
    assert json.dumps(again.get_config()) == json.dumps(model.get_config())


@foundation
def test_clone_model(name):
    model = zoo.trained(name)
    clone = keras.models.clone_model(model)
    assert clone._seed_generator is not model._seed_generator
    shared = {id(v) for v in clone.variables} & {id(v) for v in model.variables}
    assert not shared
    clone.set_weights(model.get_weights())
    np.testing.assert_allclose(clone.encode(zoo.data()), model.encode(zoo.data()), atol=1e-6)


@every_model
def test_a_saved_model_goes_on_as_if_never_saved(name, tmp_path):
    model = zoo.eager(name)
    model.fit(zoo.data(), epochs=1, batch_size=24, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras_ae.load(tmp_path / "model.keras")
    assert same(zoo.weights(model), zoo.weights(loaded))
    for m in (model, loaded):
        m.fit(zoo.data(), initial_epoch=1, epochs=2, batch_size=24, verbose=0)
    assert same(zoo.weights(model), zoo.weights(loaded))


@foundation
def test_a_killed_run_resumes_to_the_same_bits(name, tmp_path):
    """With shuffling, noise, dropout, optimiser state and a warm-up."""

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
