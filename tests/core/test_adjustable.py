"""Numbers that are assigned to a model after it was made take effect everywhere."""

import dataclasses

import keras
import numpy as np
import pytest
import zoo

import keras_ae

BACKEND = keras.config.backend()
BATCH = {"batch_size": 16, "verbose": 0}


def still(name="VAE", **given):
    """A model whose training changes no weight."""
    return zoo.compiled(name, keras.optimizers.SGD(0.0), **given)


def weight_shown(logs, name="kl_loss"):
    return (np.array(logs["loss"]) - logs["reconstruction_loss"]) / np.array(logs[name])


def other_values(model):
    """Return a new value for every number that may be assigned."""
    return {
        name: 0.8 if number.value is None else 0.5 * number.value + 0.3
        for name, number in model._notes.numbers.items()
    }


@pytest.mark.parametrize("name", [n for n in zoo.MODELS if zoo.MODELS[n]()._notes.numbers])
def test_an_assigned_number_takes_effect_at_once(name):
    """The model computes as if it had been made with the number, and compiles nothing again."""
    given = {"kl_weight": 0.8} if "kl_weight" in zoo.parameters_of(name) else {}
    model, x = zoo.compiled(name, **given), zoo.data_for(name)
    for _ in range(2):  # JAX builds the optimizer in the first evaluation.
        before = model.evaluate(x, return_dict=True, **BATCH)
    programs = model._notes.step_programs.kept
    values = other_values(model)
    started = None not in [number.value for number in model._notes.numbers.values()]
    for argument, value in values.items():
        setattr(model, argument, value)
        assert getattr(model, argument) == value
    found = model.evaluate(x, return_dict=True, **BATCH)
    assert not started or model._notes.step_programs.kept is programs
    # Some numbers of dictionaries, and of models of clusters or neighbors, weigh a loss that is 0
    # before any training, and dropout has an effect on training alone.
    starts_later = {"pretraining_steps", "num_neighbors"} & zoo.parameters_of(name)
    if name in zoo.WITH_NETWORKS and values.keys() != {"dropout"} and not starts_later:
        assert found["loss"] != pytest.approx(before["loss"], rel=1e-5)
    other = zoo.eager(name, **given | values)
    zoo.build(other)
    other.set_weights(model.get_weights())
    expected = other.evaluate(x, return_dict=True, **BATCH)
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-5)
    again = type(model).from_config(model.get_config())
    for argument, value in values.items():
        assert getattr(again, argument) == value


@pytest.mark.parametrize("name", zoo.MODELS)
def test_what_shapes_a_model_is_refused(name):
    model = zoo.make(name)
    for built in (False, True):
        for argument, value in model.arguments.items():
            if type(value) in (int, float) and argument not in model._notes.numbers:
                # Each program reads these when it is traced.
                if argument in ("mask_value", "target"):
                    continue
                with pytest.raises(ValueError, match=f"{argument}=.*Make a new model"):
                    setattr(model, argument, value + 1)
        if not built:
            zoo.build(model)


def test_annealing_by_callbacks():
    """Callbacks assign per epoch and per batch, to `self.model` and to the model itself."""
    wanted = [0.0, 0.25, 1.0, 0.5]

    class Anneal(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.kl_weight = wanted[epoch]

    model = still(kl_weight=0.7)
    history = model.fit(zoo.data(), epochs=4, callbacks=[Anneal()], **BATCH).history
    np.testing.assert_allclose(weight_shown(history), wanted, atol=1e-4)

    shown = []

    def begin(batch, logs):
        model.kl_weight = float(batch)

    def end(batch, logs):
        shown.append(weight_shown(logs))  # The logs hold the means up to this batch.
        model.kl_weight = 9.0

    callback = keras.callbacks.LambdaCallback(on_train_batch_begin=begin, on_train_batch_end=end)
    model.fit(zoo.data(48), shuffle=False, callbacks=[callback], **BATCH)
    np.testing.assert_allclose(shown, [0.0, 0.5, 1.0], atol=0.1)


def test_annealing_traces_once():
    if BACKEND == "torch":
        pytest.skip("torch runs eagerly and compiles nothing")
    traces = []

    class Traced(keras_ae.VAE):
        def loss_terms(self, x, y, training):
            traces.append(training)
            return super().loss_terms(x, y, training)

    model = Traced(2, **zoo.OPTIONS)
    model.compile("sgd")

    def begin(epoch, logs):
        model.kl_weight = 0.1 * epoch

    callback = keras.callbacks.LambdaCallback(on_epoch_begin=begin)
    model.fit(zoo.data(), epochs=2, callbacks=[callback], **BATCH)
    model.encode(zoo.data())
    before = len(traces), model._notes.programs.kept
    model.fit(zoo.data(), epochs=5, callbacks=[callback], **BATCH)
    model.encode(zoo.data())
    assert (len(traces), model._notes.programs.kept) == before


def test_between_two_fits_and_between_number_and_schedule():
    model = still("BetaVAE", beta=4.0)
    model.fit(zoo.data(), **BATCH)
    model.beta = 0.5
    found = [weight_shown(model.fit(zoo.data(), **BATCH).history)[0]]
    model.kl_weight = keras_ae.schedules.LinearWarmUp(10**9, start=3.0)
    found.append(weight_shown(model.fit(zoo.data(), **BATCH).history)[0])
    model.kl_weight.start = 5.0
    found.append(weight_shown(model.fit(zoo.data(), **BATCH).history)[0])
    model.kl_weight = 2.0

    def begin(batch, logs):
        model.kl_weight = keras_ae.schedules.LinearWarmUp(10**9, start=8.0)

    found.append(weight_shown(model.fit(zoo.data(), **BATCH).history)[0])
    callback = keras.callbacks.LambdaCallback(on_train_batch_begin=begin)
    history = model.fit(zoo.data(), callbacks=[callback], **BATCH).history
    found.append(weight_shown(history)[0])
    np.testing.assert_allclose(found, [0.5, 1.5, 2.5, 1.0, 4.0], rtol=1e-3)


def test_the_constructors_rules_hold():
    refused = {
        "VAE": {"kl_weight": [-1.0, "1", None, True, float("nan"), 10**400, np.array(0.5)]},
        "SparseAE": {"target": [0.0, 1.0], "weight": [-0.1]},
        "CIWAE": {"beta": [1.5, -0.5]},
        "InfoVAE": {"alpha": [2.0, "a", True], "scale": [0.0, float("inf")]},
        "BetaVAE": {"beta": [10**400, float("inf"), False]},
    }
    for name, arguments in refused.items():
        model = zoo.make(name)
        for argument, values in arguments.items():
            before = getattr(model, argument)
            for value in values:
                with pytest.raises(ValueError, match=f"{argument}="):
                    setattr(model, argument, value)
                assert getattr(model, argument) == before
    model = zoo.make("VAE")
    model.kl_weight = np.float32(0.5)
    assert type(model.kl_weight) is float and zoo.make("VAE", kl_weight=np.int64(2)).kl_weight == 2
    model.latent_dim = 2  # This is the value that it has already.
    for value in (None, "2", 3):
        with pytest.raises(ValueError, match="latent_dim=.*Make a new model"):
            model.latent_dim = value


def test_what_is_learned_is_refused():
    model = zoo.make("HamiltonianVAE")
    model.step_size = 0.05  # This is the value that it has already.
    with pytest.raises(
        ValueError, match="step_size=0.05 cannot be changed to 0.09.*Make a new model"
    ):
        model.step_size = 0.09


def test_free_bits_change_where_they_count():
    model = still(free_bits=0.1)
    first = model.evaluate(zoo.data(), return_dict=True, **BATCH)["loss"]
    model.free_bits = 7.0
    second = model.evaluate(zoo.data(), return_dict=True, **BATCH)
    assert second["loss"] > first + 10
    assert second["loss"] == pytest.approx(second["reconstruction_loss"] + 14.0, rel=1e-5)
    model = still()
    with pytest.raises(
        ValueError, match="free_bits=0.0 cannot be changed to 0.5 .* Make a new model"
    ):
        model.free_bits = 0.5


def test_what_was_assigned_is_saved(tmp_path):
    model = zoo.compiled("BetaVAE", beta=4.0)
    model.fit(zoo.data(), **BATCH)
    model.beta = 0.3
    x, how = zoo.data(), {"return_dict": True, **BATCH}
    model.save(tmp_path / "a.keras")
    loaded = keras_ae.load(tmp_path / "a.keras")
    assert loaded.beta == 0.3 and loaded.evaluate(x, **how) == model.evaluate(x, **how)
    clone = keras.models.clone_model(model)
    assert clone.beta == 0.3
    model.save_weights(tmp_path / "a.weights.h5")
    other = zoo.make("BetaVAE", beta=4.0, kl_weight=0.5)
    other.build((None, 6))
    other.load_weights(tmp_path / "a.weights.h5")
    # A file of weights has the numbers that were assigned, but not those of the constructor.
    assert other.beta == pytest.approx(0.3) and other.kl_weight == 0.5
    other.beta = 0.9
    plain = zoo.make("BetaVAE", beta=4.0)
    plain.build((None, 6))
    plain.save_weights(tmp_path / "b.weights.h5")
    other.load_weights(tmp_path / "b.weights.h5")
    assert other.beta == 0.9
    before = other.beta
    other.set_weights(model.get_weights())
    assert other.beta == before


def test_a_resumed_run_goes_on_with_what_was_assigned(tmp_path):
    def assign(epoch, logs):
        if epoch == 1:
            model.kl_weight = 0.25
        if epoch == 3 and killed:
            raise KeyboardInterrupt

    def run():
        callbacks = [
            keras.callbacks.BackupAndRestore(tmp_path / "backup"),
            keras.callbacks.LambdaCallback(on_epoch_begin=assign),
        ]
        return model.fit(zoo.data(), epochs=4, callbacks=callbacks, **BATCH).history

    killed = True
    model = still()
    with pytest.raises(KeyboardInterrupt):
        run()
    killed, model = False, still()
    np.testing.assert_allclose(weight_shown(run()), [0.25], rtol=1e-3)


def parts_of(model):
    """List what a model made for itself, and whose numbers a user may assign."""
    parts = [*model._flatten_layers(include_self=False), *vars(model).values()]
    is_fixed = dataclasses.is_dataclass
    return [part for part in parts if hasattr(part, "get_config") and not is_fixed(part)]


def floats_of(model):
    """Return all fractions that the parts of a model hold as public attributes."""
    return [
        {k: v for k, v in vars(part).items() if type(v) is float and not k.startswith("_")}
        for part in parts_of(model)
    ]


@pytest.mark.parametrize("name", zoo.MODELS)
def test_numbers_assigned_to_parts_are_saved(name, tmp_path):
    model = zoo.make(name)
    zoo.build(model)
    for part in parts_of(model):
        for key, value in vars(part).items():
            if type(value) is float and not key.startswith("_"):
                setattr(part, key, value * 0.9 + 0.01)
    assigned = floats_of(model)
    model.save(tmp_path / "a.keras")
    assert floats_of(keras_ae.load(tmp_path / "a.keras")) == assigned
    model.save_weights(tmp_path / "a.weights.h5")
    other = zoo.make(name)
    zoo.build(other)
    other.load_weights(tmp_path / "a.weights.h5")
    assert floats_of(other) == assigned


@pytest.mark.every_backend
def test_numbers_of_a_quantizer_count_and_are_resumed(tmp_path):
    def run(epochs, killed=False):
        def assign(epoch, logs):
            if epoch == 1:
                model.quantizer.decay = 0.5
            if epoch == 2 and killed:
                raise KeyboardInterrupt

        model = zoo.compiled("VQVAE")
        model.build((None, 6))
        backup = keras_ae.callbacks.BackupAndRestore(tmp_path / "backup")
        callbacks = [backup, keras.callbacks.LambdaCallback(on_epoch_begin=assign)]
        try:
            model.fit(zoo.data(), epochs=epochs, callbacks=callbacks, **BATCH)
        except KeyboardInterrupt:
            backup.release()
        return model

    whole = run(4)
    run(4, killed=True)
    resumed = run(4)
    assert resumed.quantizer.decay == 0.5
    for found, expected in zip(resumed.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_numbers_of_a_loss_by_name_are_saved(tmp_path):
    x = np.random.default_rng(0).uniform(size=(8, 16, 16, 1)).astype("float32")
    for name, part in (("PerceptualVAE", "features"), ("AE", "reconstruction_loss")):
        model = getattr(keras_ae, name)(2, **{part: "ms_ssim"}, **zoo.OPTIONS)
        model.compile("adam")
        model.build((None, 16, 16, 1))
        before = model.evaluate(x, verbose=0, return_dict=True)
        getattr(model, part).max_value = 100.0
        expected = model.evaluate(x, verbose=0, return_dict=True)
        assert expected != before
        model.save(tmp_path / "a.keras")
        loaded = keras_ae.load(tmp_path / "a.keras")
        assert getattr(loaded, part).max_value == 100.0
        assert loaded.evaluate(x, verbose=0, return_dict=True) == expected


def test_numbers_of_a_users_model():
    """Nothing checks these numbers, but they take effect and are saved."""

    class Scaled(keras_ae.AE):
        def __init__(self, latent_dim=2, factor=1.0, **kwargs):
            super().__init__(latent_dim, **kwargs)
            self.factor = factor

        def loss_weights(self):
            return {"reconstruction_loss": self.factor}

    model = Scaled(2, 2.0, **zoo.OPTIONS)
    model.compile(keras.optimizers.SGD(0.0))
    found = [model.fit(zoo.data(), **BATCH).history["loss"][0]]
    model.factor = 4.0
    found.append(model.fit(zoo.data(), **BATCH).history["loss"][0])
    assert found[1] == pytest.approx(2 * found[0], rel=1e-5)

    def begin(batch, logs):
        model.factor = 8.0

    callback = keras.callbacks.LambdaCallback(on_train_batch_begin=begin)
    found.append(model.fit(zoo.data(), callbacks=[callback], **BATCH).history["loss"][0])
    assert found[2] == pytest.approx(4 * found[0], rel=1e-5)
    assert model.get_config()["factor"] == 8.0


def test_a_constructor_may_compute_its_number():
    class Halved(keras_ae.VAE):
        def __init__(self, latent_dim=2, factor=1.0, **kwargs):
            super().__init__(latent_dim, **kwargs)
            self.factor = factor / 2

    model = Halved(2, 3.0, **zoo.OPTIONS)
    assert model.factor == 1.5 and Halved.from_config(model.get_config()).factor == 1.5


@pytest.mark.parametrize("moment", ["on_epoch_begin", "on_train_batch_begin"])
def test_a_users_own_attribute_takes_effect_at_once(moment):
    """The attribute is not an argument of the constructor."""

    class Scaled(keras_ae.AE):
        factor = 1.0

        def loss_weights(self):
            return {"reconstruction_loss": self.factor}

    model = Scaled(2, **zoo.OPTIONS)
    model.factor = 2.0
    model.compile(keras.optimizers.SGD(0.0))
    x, losses = zoo.data(), []
    losses.append(model.fit(x, **BATCH).history["loss"][0])
    model.factor = 4.0
    losses.append(model.fit(x, **BATCH).history["loss"][0])

    def assign(number, logs):
        model.factor = 8.0

    callback = keras.callbacks.LambdaCallback(**{moment: assign})
    losses.append(model.fit(x, callbacks=[callback], **BATCH).history["loss"][0])
    np.testing.assert_allclose(losses, np.array([1, 2, 4]) * losses[0], rtol=1e-5)


CONDITIONS = {
    "if": lambda number: 2.0 if number > 1 else 1.0,
    "float": float,
    "round": lambda number: 1.0 if int(number) == 1 else 2.0,
    "max": lambda number: max(1.0, number),
    "array": lambda number: float(np.asarray(number)),
}


@pytest.mark.parametrize("method", ["loss_weights", "loss_terms", "posterior"])
@pytest.mark.parametrize("kind", CONDITIONS)
def test_a_condition_in_python_is_explained(kind, method):
    """On torch a condition in Python simply works."""

    class Conditional(keras_ae.BetaVAE):
        def loss_weights(self):
            factor = CONDITIONS[kind](self.beta) if method == "loss_weights" else 1.0
            return {"reconstruction_loss": factor}

        def loss_terms(self, x, y, training):
            terms = super().loss_terms(x, y, training)
            return terms if method != "loss_terms" or CONDITIONS[kind](self.beta) else {}

        def posterior(self, x, training=False):
            q = super().posterior(x, training)
            return q if method != "posterior" or CONDITIONS[kind](self.beta) else None

    model = Conditional(2, beta=3.0, **zoo.OPTIONS)
    model.compile("sgd")
    calls = [model.fit, model.evaluate] + [model.encode] * (method == "posterior")
    for call in calls:
        given = {} if call == model.encode else BATCH
        if BACKEND == "torch":
            call(zoo.data(), **given)
            continue
        with pytest.raises(TypeError, match=rf"{method}, line .*self.beta can .*keras.ops.where"):
            call(zoo.data(), **given)


def test_keras_where_works_as_a_condition():
    class Conditional(keras_ae.BetaVAE):
        def loss_weights(self):
            weight = keras.ops.where(self.beta > 1, 2.0, 1.0)
            return {"reconstruction_loss": weight, "kl_loss": 0.0}

    model = Conditional(2, beta=3.0, **zoo.OPTIONS)
    model.compile(keras.optimizers.SGD(0.0))
    for beta, factor in ((3.0, 2.0), (0.5, 1.0)):
        model.beta = beta
        logs = model.evaluate(zoo.data(), return_dict=True, **BATCH)
        assert logs["loss"] == pytest.approx(factor * logs["reconstruction_loss"], rel=1e-5)


@pytest.mark.parametrize("built", [False, True])
@pytest.mark.parametrize("likelihood", ["gaussian", "laplace"])
def test_a_scale_of_a_named_likelihood_is_saved(likelihood, built, tmp_path):
    model = zoo.compiled("VAE", likelihood=likelihood)
    assert model.get_config()["likelihood"] == likelihood
    if built:
        before = model.evaluate(zoo.data(), **BATCH)
    model.likelihood.scale = 2.0
    model.build((None, 6))
    after = model.evaluate(zoo.data(), **BATCH)
    assert not built or after != pytest.approx(before)
    model.save(tmp_path / "model.keras")
    loaded = keras_ae.load(tmp_path / "model.keras")
    assert loaded.likelihood.scale == 2.0
    assert loaded.evaluate(zoo.data(), **BATCH) == pytest.approx(after, rel=1e-5)
    for wrong in (0.0, -1.0, "2", float("nan"), float("inf")):
        with pytest.raises(ValueError, match="scale="):
            model.likelihood.scale = wrong
    with pytest.raises(ValueError, match="scale='learned' cannot replace scale=2.0"):
        model.likelihood.scale = "learned"
    assert model.likelihood.scale == 2.0


def test_a_number_of_a_named_loss_is_saved():
    model = zoo.make("AE", reconstruction_loss="ms_ssim")
    assert model.get_config()["reconstruction_loss"] == "ms_ssim"
    model.reconstruction_loss.max_value = 255.0
    again = type(model).from_config(model.get_config())
    assert again.reconstruction_loss.max_value == 255.0


@pytest.mark.every_backend
@pytest.mark.parametrize(
    ("name", "argument", "value", "options"),
    [
        ("AE", "standardize", True, {}),
        ("RecurrentAE", "cell", "lstm", {}),
        ("RecurrentAE", "reverse", True, {}),
        ("RecurrentAE", "mask_value", 0.0, {}),
        ("RecurrentVAE", "teacher_forcing", True, {}),
        ("RecurrentVAE", "mask_value", 0.0, {"mask_value": -1.0}),
        ("TimeVAE", "residual", False, {}),
        ("TimeVAE", "trend_degree", 1, {"trend_degree": None}),
        ("TimeVAE", "seasonalities", ((2, 1),), {}),
        ("SentenceVAE", "end_token", 3, {"vocabulary_size": 5}),
        ("SentenceVAE", "mask_token", 3, {"vocabulary_size": 5, "mask_token": None}),
    ],
)
def test_what_shapes_a_model_is_not_assigned(name, argument, value, options):
    """Such arguments would change the meaning of the weights, or would be saved without effect."""
    model = getattr(keras_ae, name)(2, seed=0, **options)
    model.build((None, 4) if name == "SentenceVAE" else (None, 4, 1))
    before = model.arguments[argument]
    words = rf"{argument}=.* cannot be changed to .* Make a new model with {argument}="
    with pytest.raises(ValueError, match=words):
        setattr(model, argument, value)
    assert model.arguments[argument] == before
    setattr(model, argument, before)
