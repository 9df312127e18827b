"""What `fit` takes as x, all other methods take, and refuse in the same words."""

import itertools

import keras
import numpy as np
import pytest

import keras_ae

SIZE, NUMBER, WIDTH = 8, 4, 6
X = np.random.default_rng(0).random((SIZE * NUMBER, WIDTH), "float32")
SMALL = {"network_options": {"units": (8,)}, "seed": 0}


def compiled(cls=keras_ae.VAE, **given):
    model = cls(2, **{**SMALL, **given})
    model.compile(keras.optimizers.Adam(0.01), run_eagerly=keras.config.backend() != "jax")
    return model


@pytest.fixture(scope="module")
def trained():
    model = compiled()
    model.fit(X, verbose=0)
    return model


class Stored(keras.utils.PyDataset):
    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, number):
        return self.batches[number]


class Endless(Stored):
    num_batches = None

    def __getitem__(self, number):
        return self.batches[number % len(self.batches)]


class WithoutLength(keras.utils.PyDataset):
    def __getitem__(self, number):
        return X


def split(x):
    return [x[start : start + SIZE] for start in range(0, len(x), SIZE)]


def generate(x):
    yield from split(x)


def as_frame(x):
    return pytest.importorskip("pandas").DataFrame(x, columns=list("abcdef"))


def as_nullable_frame(x):
    return as_frame(x).astype({"a": "Float32", "c": "Float64"})


def as_dataset(x, batched=True):
    dataset = pytest.importorskip("tensorflow").data.Dataset.from_tensor_slices(x)
    return dataset.batch(SIZE) if batched else dataset


def as_loader(x):
    torch = pytest.importorskip("torch")
    data = torch.utils.data.TensorDataset(torch.from_numpy(x))
    return torch.utils.data.DataLoader(data, batch_size=SIZE)


FORMS = {
    "array": np.asarray,
    "float64": lambda x: x.astype("float64"),
    "another byte order": lambda x: x.astype(">f4"),
    "list": lambda x: x.tolist(),
    "list of examples": list,
    "masked array without masked values": np.ma.array,
    "dictionary": lambda x: {"x": x},
    "frame": as_frame,
    "nullable frame": as_nullable_frame,
    "dataset": as_dataset,
    "dataset of examples": lambda x: as_dataset(x, batched=False),
    "dataset of dictionaries": lambda x: as_dataset({"image": x}),
    "PyDataset": lambda x: Stored(split(x)),
    "PyDataset of dictionaries": lambda x: Stored([{"x": part} for part in split(x)]),
    "generator": generate,
    "generator of tuples": lambda x: ((part,) for part in split(x)),
    "generator of lists": lambda x: (part.tolist() for part in split(x)),
    "generator of frames": lambda x: (as_frame(part) for part in split(x)),
    "PyDataset of frames": lambda x: Stored([as_nullable_frame(part) for part in split(x)]),
    "PyDataset of masked arrays": lambda x: Stored([np.ma.array(part) for part in split(x)]),
    "loader": as_loader,
}


@pytest.mark.parametrize("form", FORMS)
def test_every_method_takes_every_form(trained, form):
    make = FORMS[form]
    np.testing.assert_allclose(trained.encode(make(X)), trained.encode(X), atol=1e-5)
    np.testing.assert_allclose(trained.reconstruct(make(X)), trained.reconstruct(X), atol=1e-5)
    np.testing.assert_allclose(
        trained.log_likelihood(make(X), num_samples=8, seed=0),
        trained.log_likelihood(X, num_samples=8, seed=0),
        rtol=1e-4,
    )
    steps = NUMBER if "generator" in form else None
    found = trained.evaluate(make(X), steps=steps, verbose=0)
    np.testing.assert_allclose(found, trained.evaluate(X, batch_size=SIZE, verbose=0), rtol=0.2)
    predicted = trained.predict(make(X), steps=steps, verbose=0)
    np.testing.assert_allclose(predicted, trained.reconstruct(X), atol=1e-5)
    fresh = compiled()
    fresh.fit(make(X), steps_per_epoch=steps, verbose=0)
    assert fresh.encode(make(X)).shape == (len(X), 2)
    steps = NUMBER if "generator" in form else None
    fresh.fit(X, validation_data=make(X), validation_steps=steps, verbose=0)
    assert compiled().encode(make(X)).shape == (len(X), 2)  # The call builds the model.


METHODS = ("fit", "evaluate", "predict", "encode", "reconstruct", "log_likelihood")


def with_nan(x):
    x = x.copy()
    x[3, 2] = np.nan
    return x


REFUSED = {
    "nothing": lambda: None,
    "number": lambda: 3.0,
    "text": lambda: "mnist",
    "set": lambda: {1, 2},
    "pair": lambda: (X, X),
    "list of a pair": lambda: [X, X],
    "list of one": lambda: [X],
    "iterator": lambda: iter(split(X)),
    "zip": lambda: zip(X, X, strict=True),
    "cycle": lambda: itertools.cycle(split(X)),
    "function": lambda: generate,
    "other keys": lambda: {"pixels": X},
    "no keys": lambda: {},
    "empty": lambda: X[:0],
    "empty list": lambda: [],
    "rank 1": lambda: X[0],
    "width": lambda: X[:, :5],
    "NaN": lambda: with_nan(X),
    "objects": lambda: X.astype(object),
    "text values": lambda: X.astype(str),
    "complex": lambda: X.astype("complex64"),
    "ragged": lambda: [[1.0, 2.0], [3.0]],
    "generator of NaN": lambda: generate(with_nan(X)),
    "generator of a width": lambda: generate(X[:, :5]),
    "empty generator": lambda: generate(X[:0]),
    "PyDataset of NaN": lambda: Stored(split(with_nan(X))),
    "PyDataset of text": lambda: Stored([part.astype(str) for part in split(X)]),
    "empty PyDataset": lambda: Stored([]),
    "PyDataset without a length": WithoutLength,
    "rank 0": lambda: np.float32(3.0),
    "generator of nothing": lambda: (None for _ in range(3)),
    "generator of numbers": lambda: (1.0 for _ in range(3)),
    "generator of text": lambda: ("text" for _ in range(3)),
    "generator of four parts": lambda: ((X, X, X, X) for _ in range(3)),
    "generator of unknown keys": lambda: ({"pixels": X} for _ in range(3)),
    "generator of other parts": lambda: (part for part in (X, X, X, (X, X))),
    "generator of other keys": lambda: (part for part in ({"x": X}, {"image": X})),
    "nested dataset": lambda: as_dataset(((X, X), X)),
    "far beyond the range": lambda: X * np.float32(1e38),
}


@pytest.mark.parametrize("case", REFUSED)
def test_every_method_refuses_in_the_same_words(trained, case):
    found = {}
    for method in METHODS:
        with pytest.raises((TypeError, ValueError)) as caught:
            getattr(trained, method)(REFUSED[case]())
        text = str(caught.value)
        assert "\n" not in text and len(text) < 500 and "array(" not in text, text
        found[type(caught.value), text.replace(f"{method}(", "fit(")] = method
    assert len(found) == 1, found


# ------------------------------------------------------------------ streams without an end


@pytest.mark.parametrize(
    "make", [lambda: Endless(split(X)), lambda: as_dataset(X).repeat()], ids=["PyDataset", "tf"]
)
def test_streams_without_an_end_need_a_number_of_steps(trained, make):
    for method, argument in (
        ("fit", "steps_per_epoch"),
        ("evaluate", "steps"),
        ("predict", "steps"),
    ):
        with pytest.raises(ValueError, match=f"without an end, and {argument} was not passed"):
            getattr(trained, method)(make(), verbose=0)
        getattr(compiled(), method)(make(), **{argument: 2}, verbose=0)
    with pytest.raises(ValueError, match="validation_data is .* validation_steps was not passed"):
        trained.fit(X, validation_data=make(), verbose=0)
    trained.fit(X, validation_data=make(), validation_steps=2, verbose=0)
    for method in ("encode", "reconstruct", "log_likelihood"):
        with pytest.raises(ValueError, match="without an end. Pass one that ends"):
            getattr(trained, method)(make())


@pytest.mark.parametrize("value", [0, -1, True, "2", 2.5, 2.0])
def test_counts_are_positive_integers(trained, value):
    for call, names in {
        trained.fit: (
            "steps_per_epoch",
            "validation_steps",
            "batch_size",
            "validation_batch_size",
            "validation_freq",
        ),
        trained.evaluate: ("steps", "batch_size"),
        trained.predict: ("steps", "batch_size"),
        trained.encode: ("batch_size",),
        trained.log_likelihood: ("num_samples", "batch_size"),
        trained.sample: ("num_samples", "batch_size"),
    }.items():
        for name in names:
            needed = {"validation_data": X} if name.startswith("validation") else {}
            first = () if name == "num_samples" and call == trained.sample else (X,)
            if call == trained.sample and name == "batch_size":
                first = (4,)
            with pytest.raises(ValueError, match=f"{name}={value!r} must be a positive integer"):
                call(*first, **needed, **{name: value})


@pytest.mark.parametrize("epochs", [[0], [1, "a"], (True,), {2.5}])
def test_epochs_of_validation_are_positive_integers(trained, epochs):
    with pytest.raises(ValueError, match="validation_freq=.* must be a positive integer"):
        trained.fit(X, validation_data=X, validation_freq=epochs)


def test_targets_without_data_are_told_apart(trained):
    with pytest.raises(TypeError, match="x is None, a NoneType. Pass an array"):
        trained.fit(y=X)


@pytest.mark.parametrize("name", ["epochs", "initial_epoch"])
@pytest.mark.parametrize("value", [-1, True, "2", 2.5])
def test_epochs_are_integers(trained, name, value):
    with pytest.raises(ValueError, match=f"{name}={value!r} must be an integer of at least 0"):
        trained.fit(X, **{name: value})


@pytest.mark.parametrize("value", [0, 1.0, 1, -0.5, True, "0.5"])
def test_a_split_is_a_number_between_0_and_1(value):
    if value == 0 and value is not False:
        return
    with pytest.raises(ValueError, match="validation_split=.* must be a number between 0 and 1"):
        compiled().fit(X, validation_split=value, verbose=0)


def test_batch_sizes_beyond_the_data_are_taken(trained):
    for size in (len(X) + 1, 10**9):
        wanted = trained.encode(X)
        np.testing.assert_allclose(trained.encode(X, batch_size=size), wanted, atol=1e-6)
        compiled().fit(X, batch_size=size, validation_data=X, verbose=0)
        trained.evaluate(X, batch_size=size, verbose=0)
        trained.predict(X, batch_size=size, verbose=0)
        trained.log_likelihood(X, num_samples=8, batch_size=size)
        assert trained.sample(4, batch_size=size).shape == (4, WIDTH)
        compiled().fit(as_dataset(X, batched=False), batch_size=size, verbose=0)


def test_methods_of_single_models_count_as_well():
    model = keras_ae.TopKSAE(8, k=2, seed=0)
    model.compile("adam")
    model.fit(X, verbose=0)
    for size in (0, True):
        with pytest.raises(ValueError, match="batch_size=.* must be a positive integer"):
            model.dictionary_metrics(X, batch_size=size)
    model = compiled(keras_ae.VQVAE, num_codes=4)
    with pytest.raises(ValueError, match="epochs=-1 must be an integer of at least 0"):
        model.fit_prior(X, epochs=-1)
    model = compiled(keras_ae.AE, standardize=True)
    with pytest.raises(ValueError, match="without an end"):
        model.adapt(Endless(split(X)))


def test_batches_of_arrays_of_other_lengths_are_not_joined():
    model = compiled(keras_ae.ConditionalVAE, num_classes=3)
    batches = [{"x": X[:8], "label": np.zeros(n, "int32")} for n in (6, 10)]
    for method in ("fit", "encode"):
        with pytest.raises(ValueError, match="one row|One row|row of each"):
            getattr(model, method)(Stored(batches))


# ------------------------------------------------------------------ validation data


@pytest.mark.parametrize("form", [form for form in FORMS if "generator" not in form])
def test_the_batch_size_is_that_of_x_alone(form):
    history = compiled().fit(X, batch_size=16, validation_data=FORMS[form](X), verbose=0)
    assert np.isfinite(history.history["val_loss"]).all()


def test_validation_data_may_have_a_batch_size_of_its_own():
    class Sizes(keras.callbacks.Callback):
        def on_test_batch_end(self, batch, logs=None):
            self.found = batch + 1

    for given, wanted in (({}, 2), ({"validation_batch_size": 4}, 8)):
        sizes = Sizes()
        compiled().fit(
            Stored(split(X)), validation_data=X[:32], callbacks=[sizes], verbose=0, **given
        )
        assert sizes.found == (1 if not given else wanted)
    with pytest.raises(ValueError, match="validation_batch_size=4 was passed with a Stored"):
        compiled().fit(X, validation_data=Stored(split(X)), validation_batch_size=4, verbose=0)


def test_a_list_of_rows_is_validation_data():
    compiled().fit(X, validation_data=X.tolist(), verbose=0)
    compiled().fit(X, validation_data=[X, X], verbose=0)


@pytest.mark.parametrize("number", [6, 100])
def test_a_generator_is_validation_data_as_in_keras(number):
    def batches():
        for value in range(number):
            yield (np.full((8, 6), value, "float32"),) * 2

    def dense(*widths):
        inputs, outputs = widths
        layer = keras.layers.Dense(outputs, kernel_initializer="zeros")
        return keras.Sequential([keras.Input((inputs,)), layer])

    plain = dense(6, 6)
    plain.compile(keras.optimizers.SGD(0.0), "mse")
    model = keras_ae.AE(2, encoder=dense(6, 2), decoder=dense(2, 6))
    model.compile(keras.optimizers.SGD(0.0))
    x, found = np.zeros((32, 6), "float32"), []
    for each in (plain, model):
        history = each.fit(x, x, epochs=3, verbose=0, validation_data=batches(), validation_steps=2)
        found.append(np.array(history.history["val_loss"]))
    np.testing.assert_allclose(found[1], 6 * found[0])


# ------------------------------------------------------------------ targets


def one_hot(tokens, number):
    return np.eye(number, dtype="float32")[tokens]


def test_targets_may_have_another_rank_than_x():
    layers, tokens = keras.layers, np.random.default_rng(0).integers(0, 5, (32, 4))
    encoder = keras.Sequential(
        [keras.Input((4,)), layers.Embedding(5, 3), layers.Flatten(), layers.Dense(4)]
    )
    model = compiled(encoder=encoder, likelihood="categorical")
    target = one_hot(tokens, 5)
    model.fit(tokens, target, verbose=0)
    assert model.encode(tokens).shape == (32, 2)
    assert model.reconstruct(tokens).shape == (32, 4, 5)
    assert model.log_likelihood(tokens, target, num_samples=8).shape == (32,)
    pairs = [(tokens[:16], target[:16]), (tokens[16:], target[16:])]
    for stream in (Stored(pairs), (pair for pair in pairs)):
        found = model.log_likelihood(stream, num_samples=8, seed=0)
        wanted = model.log_likelihood(tokens, target, num_samples=8, seed=0)
        np.testing.assert_allclose(found, wanted, rtol=1e-4)
    for call in (model.fit, model.evaluate, model.log_likelihood):
        with pytest.raises(ValueError, match="no target was passed"):
            call(tokens)


@pytest.mark.parametrize("shape", [(4, 3), (2, 2, 3), (24,)])
def test_targets_of_other_shapes_are_computed(shape):
    model = compiled(keras_ae.AE)
    y = np.random.default_rng(0).random((32, *shape), "float32")
    model.fit(X, y, verbose=0)
    assert model.reconstruct(X).shape == y.shape


def test_targets_that_are_no_arrays_are_named():
    for y in ({"a": X}, generate(X), (X, X), "labels", 3):
        with pytest.raises((TypeError, ValueError), match="^y "):
            compiled().fit(X, y, verbose=0)
    with pytest.raises(ValueError, match="y is not an array, because its rows"):
        compiled().fit(X, [[1.0], [2.0, 3.0]] * 16, verbose=0)


def test_an_encoder_that_rescales_bytes_is_given_bytes():
    layers = keras.layers
    encoder = keras.Sequential([keras.Input((6,)), layers.Rescaling(1 / 255), layers.Dense(4)])
    model, x = compiled(encoder=encoder), (X * 255).astype("uint8")
    target = x.astype("float32") / 255
    with pytest.raises(ValueError, match="fit.x, x.astype"):
        model.fit(x, verbose=0)
    model.fit(x, target, validation_data=(x, target), verbose=0)
    codes = model.encode(x)
    np.testing.assert_allclose(model.encode(Stored(split(x))), codes, atol=1e-5)
    np.testing.assert_allclose(model.predict(x, verbose=0), model.reconstruct(x), atol=1e-5)
    model.evaluate(x, target, verbose=0)
    assert np.isfinite(model.log_likelihood(x, target, num_samples=8)).all()
    with pytest.raises(ValueError, match="/ 255"):
        model.log_likelihood(x)


# ------------------------------------------------------------------ what streams do wrong


def raise_at(position):
    for number, part in enumerate(split(X)):
        if number == position:
            raise OSError("the disk is gone")
        yield part


class Raising(Stored):
    def __getitem__(self, number):
        if number == 1:
            raise OSError("the disk is gone")
        return self.batches[number]


@pytest.mark.parametrize(
    "make", [lambda: raise_at(0), lambda: raise_at(1), lambda: Raising(split(X))]
)
def test_errors_of_a_stream_come_through_as_they_are(trained, make):
    for method in METHODS:
        with pytest.raises(OSError) as caught:
            getattr(trained, method)(make())
        assert type(caught.value) is OSError and str(caught.value) == "the disk is gone"


@pytest.mark.parametrize("length", [-1, 2.5, "two"])
def test_the_length_of_a_stream_is_a_number_of_batches(trained, length):
    stream = type("Odd", (Stored,), {"num_batches": length})
    if length == -1:
        stream = type("Odd", (Stored,), {"__len__": lambda self: length})
    for method in METHODS:
        with pytest.raises(ValueError, match="^x is a Odd, whose length is .*__len__"):
            getattr(trained, method)(stream(split(X)))


def test_batches_without_parts_or_rows_are_named(trained):
    for method in METHODS:
        with pytest.raises(ValueError, match="^A batch of x has no parts"):
            getattr(trained, method)(() for _ in range(2))
        with pytest.raises(ValueError, match=r"^x of shape \(6,\) needs a batch axis"):
            getattr(trained, method)(row for row in X)
    for given, number in (((), "no"), ((X, X, X, X), "4")):
        with pytest.raises(ValueError, match=f"^validation_data has {number} parts"):
            trained.fit(X, validation_data=given)


# ------------------------------------------------------------------ tensors


def test_tensors_of_other_shapes_and_dtypes_are_refused(trained):
    tensor = keras.ops.convert_to_tensor
    for method in ("encode", "reconstruct", "log_likelihood"):
        call = getattr(trained, method)
        for x in (X[:, :5], X[..., None]):
            with pytest.raises(ValueError, match=r"x is a tensor of shape .*\(batch, 6\)"):
                call(tensor(x))
        for x in (X[0], 1.0):
            with pytest.raises(ValueError, match="x is a tensor .* needs a batch axis"):
                call(tensor(x))
        with pytest.raises(TypeError, match="x is a tensor of .*complex64.*numbers"):
            call(tensor(X.astype("complex64")))
    for z in (np.zeros((4, 3)), np.zeros(2)):
        with pytest.raises(ValueError, match="z is a tensor of shape"):
            trained.decode(tensor(z))


def test_tensors_of_integers_are_numbers_and_build_a_model(trained):
    x = np.eye(6, dtype="int32")
    for method in ("encode", "reconstruct", "log_likelihood"):
        options = {"num_samples": 8, "seed": 0} if method == "log_likelihood" else {}
        call = getattr(trained, method)
        found = call(keras.ops.convert_to_tensor(x), **options)
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(found), call(x, **options), rtol=1e-4, atol=1e-5
        )
    model = compiled()
    assert model.encode(keras.ops.convert_to_tensor(X)).shape == (len(X), 2)
    with pytest.raises(ValueError, match="decode needs the data's shape"):
        compiled().decode(keras.ops.zeros((3, 2)))


# ------------------------------------------------------------------ sample weights and callbacks


@pytest.mark.parametrize(
    "weights",
    ["balanced", {"x": np.ones(NUMBER)}, (1.0 for _ in range(3)), [[1.0], [1.0, 2.0]], [1j], 1.0],
    ids=["a name", "a dictionary", "a generator", "ragged", "complex", "a number"],
)
def test_sample_weights_that_are_no_numbers_are_named(trained, weights):
    for method in ("fit", "evaluate", "train_on_batch", "test_on_batch"):
        with pytest.raises((TypeError, ValueError), match="^sample_weight "):
            getattr(trained, method)(X, sample_weight=weights)


@pytest.mark.parametrize(
    "callbacks", ["stop", 3, keras.callbacks.EarlyStopping, print, [None], {"a": 3}]
)
def test_what_is_no_callback_is_refused(trained, callbacks):
    for method in ("fit", "evaluate", "predict"):
        with pytest.raises(TypeError, match="^callbacks=.* must be a keras.callbacks.Callback"):
            getattr(trained, method)(X, callbacks=callbacks)


def test_a_model_predicts_before_it_is_compiled():
    model = keras_ae.VAE(2, network_options={"units": (4,)})
    assert model.predict(X, verbose=0).shape == X.shape
    assert model.predict_on_batch(X).shape == X.shape


@pytest.mark.parametrize("cls", [keras_ae.AE, keras_ae.VAE])
def test_numbers_whose_squares_overflow_are_refused(cls):
    model = compiled(cls)
    x = X.copy()
    for value in (1e20, -1e30, 3e38):
        x[3, 2] = value
        for method in ("fit", "evaluate", "encode", "reconstruct", "predict", "train_on_batch"):
            with pytest.raises(ValueError, match="^x has values .* float32 cannot hold"):
                getattr(model, method)(x)


@pytest.mark.parametrize("dtype", ["uint16", "uint32", "uint64"])
def test_unsigned_integers_that_torch_lacks_are_numbers(dtype):
    x, model = (X > 0.5).astype(dtype), compiled()
    for method in ("train_on_batch", "test_on_batch", "predict_on_batch", "encode", "reconstruct"):
        getattr(model, method)(x)
    model.fit(x, verbose=0)
