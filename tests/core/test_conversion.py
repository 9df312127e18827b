"""What is no array of numbers is told apart, and the remedy in the error works."""

import re

import keras
import numpy as np
import pytest

import keras_ae
from keras_ae.core import conversion

X = np.random.default_rng(0).random((24, 6), "float32")


ARRAY = re.compile(r"\barray\(")


def compiled(cls=keras_ae.AE, **given):
    model = cls(2, network_options={"units": (8,)}, seed=0, **given)
    model.compile("adam", run_eagerly=keras.config.backend() != "jax")
    return model


def message(x, model=None):
    """Return the error of a model that is not built and of one that is, which are the same."""
    found = set()
    trained = compiled()
    trained.build((None, 6))
    for each in [model] if model else [compiled(), trained]:
        for method in ("fit", "encode"):
            with pytest.raises((TypeError, ValueError)) as caught:
                getattr(each, method)(x)
            found.add(str(caught.value))
    (text,) = found
    assert "\n" not in text and len(text) < 600 and not ARRAY.search(text), text
    return text


def apply(text, x, remedy):
    """Check that an error contains a remedy, and train a model on what it makes of x."""
    assert remedy.replace("x.map", "dataset.map") in text, text
    names = {"x": x, "np": np, "keras": keras}
    for name, package in (("pandas", "pandas"), ("tf", "tensorflow")):
        if f"{name}." in remedy:
            names[name] = pytest.importorskip(package)
    found = eval(remedy, names)
    model = compiled()
    model.fit(found, verbose=0)
    assert np.isfinite(keras.ops.convert_to_numpy(model.encode(found))).all()
    return found


# ------------------------------------------------------------------ lists and tuples


def test_a_tuple_is_no_array():
    text = message((X, X))
    assert "x is a tuple" in text and "2 parts (shape (24, 6), shape (24, 6))" in text
    assert "fit(x, target)" in text
    x = tuple(X)
    assert len(apply(message(x), x, "np.stack(x)")) == 24
    assert "0 parts" in message(())


def test_a_list_of_a_few_arrays_is_no_array_of_examples():
    for x in ([X], [X, X], [X, X, X], [X, X[:3]]):
        text = message(x)
        assert f"x is a list of {len(x)} array" in text and "(24, 6)" in text
    pictures = [np.ones((4, 4, 1), "float32"), np.zeros((4, 4, 1), "float32")]
    assert "np.stack(x) if each of them is one example" in message(pictures)
    model = compiled(encoder="mlp", decoder="mlp")
    model.fit(np.stack(pictures), verbose=0)
    assert model.encode(pictures).shape == (2, 2)  # The model knows what an example is.


def test_a_list_of_batches_is_joined():
    x = [X[:7], X[7:12], X[12:16], X[16:]]
    assert len(apply(message(x), x, "np.concatenate(x)")) == 24


def test_rows_of_different_lengths_are_padded():
    x = [list(range(1 + number % 3)) for number in range(12)]
    assert apply(message(x), x, "keras.utils.pad_sequences(x, dtype='float32')").shape == (12, 3)
    x = [np.ones((2 + number % 3, 2)) for number in range(12)]
    padded = apply(message(x), x, "keras.utils.pad_sequences(x, dtype='float32')")
    assert padded.shape == (12, 4, 2)
    x = np.array([np.ones(2 + number % 3) for number in range(12)], dtype=object)
    padded = apply(message(x), x, "keras.utils.pad_sequences(x, dtype='float32')")
    assert padded.shape == (12, 4)


def test_records_become_a_frame():
    x = [{"a": 1.0, "b": 2.0}] * 12
    assert apply(message(x), x, "pandas.DataFrame(x)").shape == (12, 2)


def test_one_example_or_one_feature_gets_an_axis():
    x = list(range(12))
    assert apply(message(x), x, "np.reshape(x, (-1, 1))").shape == (12, 1)
    assert len(apply(message(x), x, "[x]")) == 1


# ------------------------------------------------------------------ data frames


@pytest.fixture
def pandas():
    return pytest.importorskip("pandas")


def test_columns_of_numbers_are_taken(pandas):
    frame = pandas.DataFrame(
        {
            "flag": [True, False] * 8,
            "count": np.arange(16),
            "small": np.arange(16, dtype="int8"),
            "real": np.linspace(0, 1, 16),
            "nullable": pandas.array([1, 2] * 8, dtype="Int64"),
            "maybe": pandas.array([True, False] * 8, dtype="boolean"),
            "sparse": pandas.arrays.SparseArray([0.0, 1.0] * 8),
        }
    )
    model = compiled()
    model.fit(frame, verbose=0)
    np.testing.assert_allclose(model.encode(frame), model.encode(frame.astype("float32")))
    for columns in (["flag"], ["flag", "real"], ["nullable"], ["maybe", "flag"]):
        compiled().fit(frame[columns], validation_split=0.25, verbose=0)
    compiled().fit(frame, frame, verbose=0)


def test_columns_in_another_order_are_refused(pandas, tmp_path):
    x = np.random.default_rng(0).random((16, 6)).astype("float32")
    frame = pandas.DataFrame(x, columns=list("abcdef"))
    turned, renamed = frame[list("bacdef")], frame.rename(columns={"f": "g"})
    model = compiled()
    with pytest.raises(ValueError, match="x contains NaN"):  # This is no reason to know its names.
        model.fit(turned.mask(turned > 0.5), verbose=0)
    model.fit(frame, verbose=0)
    model.save(tmp_path / "model.keras")
    for each in (model, keras.saving.load_model(tmp_path / "model.keras")):
        for call in (each.encode, each.evaluate, each.fit):
            with pytest.raises(ValueError, match="has the column 'b' where .* has 'a': number 0"):
                call(turned)
        with pytest.raises(ValueError, match="has the column 'g' where .* has 'f': number 5"):
            each.reconstruct(renamed)
        np.testing.assert_array_equal(each.encode(frame), each.encode(frame.to_numpy()))
    of_arrays = compiled()
    of_arrays.fit(x, verbose=0)
    assert np.isfinite(of_arrays.encode(turned)).all()


def test_missing_values_of_nullable_columns_are_nan(pandas):
    frame = pandas.DataFrame({"a": pandas.array([1, None, 3, 4], dtype="Int64"), "b": [1.0] * 4})
    assert "NaN" in message(frame)
    model = compiled(keras_ae.MissingDataIWAE, likelihood="gaussian")
    model.fit(frame, verbose=0)
    assert np.isfinite(model.impute(frame)).all()


def test_columns_of_text_are_named(pandas):
    frame = pandas.DataFrame(
        {"age": [1.0, 2.0] * 6, "city": ["a", "b"] * 6, "kind": pandas.Categorical(["u", "v"] * 6)}
    )
    text = message(frame)
    assert "'city' (" in text and "'kind' (category)" in text and "'age'" not in text
    assert apply(text, frame, "pandas.get_dummies(x, dtype='float32')").shape == (12, 5)
    wide = pandas.DataFrame({f"c{number}": ["a", "b"] for number in range(40)})
    text = message(wide)
    assert "and 35 more" in text
    frame = pandas.DataFrame({"a": ["1", "2"] * 6, "b": np.array([1.5, 2.0] * 6, dtype=object)})
    assert apply(message(frame), frame, "x.astype('float32')").shape == (12, 2)
    frame = pandas.DataFrame({"t": pandas.to_datetime(["2020-01-01"] * 4), "v": [1.0] * 4})
    assert apply(message(frame), frame, "x.drop(columns=['t'])").shape == (4, 1)


def test_columns_of_one_name_do_not_hide_the_error(pandas):
    frame = pandas.DataFrame([["a", 1.0, "b"]] * 4, columns=["s", "s", "s"])
    assert "'s' (" in message(frame)


def test_a_single_column_becomes_a_frame(pandas):
    series = pandas.Series(np.linspace(0, 1, 12))
    assert apply(message(series), series, "x.to_frame()").shape == (12, 1)


# ------------------------------------------------------------------ masked, sparse and ragged


def test_masked_values_are_missing():
    masked = np.ma.masked_less(X, 0.2)
    text = message(masked)
    assert f"{np.ma.count_masked(masked)} masked values" in text and "MissingDataIWAE" in text
    assert apply(text, masked, "x.filled(0)").min() == 0
    model = compiled(keras_ae.MissingDataIWAE, likelihood="gaussian")
    model.fit(masked, verbose=0)
    filled = model.impute(masked)
    np.testing.assert_allclose(filled[~masked.mask], X[~masked.mask])
    assert np.isfinite(filled).all()
    whole = np.ma.array(X)
    compiled().fit(whole, whole, verbose=0)


@pytest.mark.parametrize("kind", ["csr_matrix", "csc_array", "coo_matrix"])
def test_sparse_matrices_are_made_dense(kind):
    sparse = pytest.importorskip("scipy.sparse")
    x = getattr(sparse, kind)(X)
    assert apply(message(x), x, "x.toarray()").shape == X.shape
    with pytest.raises(TypeError, match="y.toarray"):
        compiled().fit(X, x)


def test_complex_columns_keep_their_imaginary_parts():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": X[:, 0], "b": X[:, 1] + 1j})
    assert "np.real(x['b']) and np.imag(x['b'])" in message(frame)
    assert "astype" not in message(frame)


@pytest.mark.parametrize("change", ["requires_grad", "Parameter", "bfloat16"])
def test_tensors_of_torch_are_data_on_every_backend(change):
    torch = pytest.importorskip("torch")
    x, width = torch.from_numpy(X.copy()), 1e-6
    if change == "bfloat16":
        x, width = x.bfloat16(), 1e-2
    elif change == "Parameter":
        x = torch.nn.Parameter(x)
    else:
        x.requires_grad_()
    for read in (conversion.to_numpy, conversion.to_labels):
        np.testing.assert_allclose(read(x, "x"), X, atol=width)


def test_sparse_and_ragged_tensors_are_made_dense():
    tf = pytest.importorskip("tensorflow")
    x = tf.sparse.from_dense(X)
    assert apply(message(x), x, "tf.sparse.to_dense(x)").shape == X.shape
    x = tf.ragged.constant([[1.0, 2.0], [3.0]])
    assert apply(message(x), x, "x.to_tensor()").shape == (2, 2)
    torch = pytest.importorskip("torch")
    x = torch.from_numpy(X).to_sparse()
    assert apply(message(x), x, "x.to_dense()").shape == X.shape


def test_a_dataset_of_ragged_or_sparse_batches_is_refused():
    tf = pytest.importorskip("tensorflow")
    x = tf.data.Dataset.from_tensor_slices(tf.ragged.constant([[1.0, 2.0], [3.0]] * 4)).batch(4)
    apply(message(x), x, "x.map(lambda x: x.to_tensor(shape=(None, 100)))")
    x = tf.data.Dataset.from_tensor_slices(tf.sparse.from_dense(X)).batch(4)
    apply(message(x), x, "x.map(tf.sparse.to_dense)")
    text = message(tf.data.Dataset.from_tensor_slices([["a", "b"]] * 4).batch(2))
    assert "string" in text


def sequences(lengths):
    for length in lengths:
        yield np.ones((length, 2), "float32")


def test_batches_that_are_padded_to_different_lengths_are_named():
    tf = pytest.importorskip("tensorflow")
    spec = tf.TensorSpec((None, 2), tf.float32)
    lengths = [3, 3, 4, 2, 5, 5]
    dataset = tf.data.Dataset.from_generator(lambda: sequences(lengths), output_signature=spec)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(len(lengths)))
    for method in ("fit", "encode", "evaluate", "predict"):
        model = compiled(encoder="recurrent", decoder="recurrent")
        with pytest.raises(ValueError, match=r"padded_shapes="):
            getattr(model, method)(dataset.padded_batch(2))
    model = compiled(encoder="recurrent", decoder="recurrent")
    padded = dataset.padded_batch(2, padded_shapes=(5, 2))
    model.fit(padded, verbose=0)
    assert model.encode(padded).shape == (6, 2)


# ------------------------------------------------------------------ dtypes


def test_objects_and_text_become_numbers_if_they_hold_some():
    remedy = "np.stack(list(x)).astype('float32')"
    for x in (X.astype(object), X.astype(str), X.astype("S12")):
        assert apply(message(x), x, remedy).shape == X.shape
    x = np.empty(12, dtype=object)
    for number in range(12):
        x[number] = X[number]
    assert apply(message(x), x, remedy).shape == (12, 6)
    x = X.astype(object)
    x[3, 2] = "red"
    text = message(x)
    assert "'red', a str" in text and "TextVectorization" in text
    x[3, 2] = None
    assert "None" in message(x)


def test_complex_numbers_times_and_records_get_a_remedy_of_their_own():
    x = (X + 1j).astype("complex64")
    assert apply(message(x), x, "np.stack([x.real, x.imag], axis=-1)").shape == (24, 6, 2)
    x = np.array(["1970-01-02", "1970-01-03"], "datetime64[D]")[:, None]
    assert apply(message(x), x, "x.astype('int64')").shape == (2, 1)
    x = np.zeros((4, 1), [("a", "f4"), ("b", "f4")])
    assert "structured_to_unstructured(x)" in message(x)


def test_no_error_prints_an_array():
    big = np.zeros((50, 50))
    model = compiled()
    model.fit(X, verbose=0)
    for call in (
        lambda: model.fit(X, batch_size=big),
        lambda: model.fit(X, steps_per_epoch=big),
        lambda: model.fit((big, big)),
        lambda: model.fit({"a": big}),
        lambda: model.fit(X, (big, big)),
        lambda: model.fit(X, validation_data=(big, big, big, big)),
        lambda: model.fit(X, validation_split=big),
        lambda: model.encode(X, batch_size=big),
        lambda: model.sample(big),
        lambda: model.decode((big, big)),
        lambda: model.decode([big, big]),
    ):
        with pytest.raises((TypeError, ValueError)) as caught:
            call()
        text = str(caught.value)
        assert "\n" not in text and "0. 0." not in text and not ARRAY.search(text), text
