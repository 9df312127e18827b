"""Models of counts take `scipy.sparse` matrices, and make rows dense batch by batch."""

import tracemalloc

import keras
import numpy as np
import pytest
import zoo
from scipy import sparse

import keras_ae
from keras_ae.core import ranges
from keras_ae.core.sparse_rows import SparseRows

FORMATS = [sparse.csr_matrix, sparse.csc_matrix, sparse.coo_array, sparse.csr_array]


def counts(rows=60, columns=12, seed=0):
    return np.random.default_rng(seed).poisson(0.4, (rows, columns)).astype("float32")


def vae(**given):
    model = keras_ae.VAE(
        2, likelihood="multinomial", network_options={"units": (4,)}, seed=0, **given
    )
    model.compile(keras.optimizers.Adam(0.01), **zoo.OP_BY_OP)
    return model


@pytest.mark.parametrize("kind", FORMATS)
def test_a_sparse_matrix_gives_what_the_array_gives(kind):
    dense, models, logs = counts(), [vae(), vae()], []
    matrix = kind(dense)
    for model, x in zip(models, (dense, matrix), strict=True):
        history = model.fit(x, batch_size=16, epochs=2, validation_split=0.2, verbose=0).history
        logs.append([history, model.evaluate(x, verbose=0, return_dict=True)])
    assert logs[0] == logs[1]
    for first, second in zip(*map(zoo.weights, models), strict=True):
        np.testing.assert_array_equal(first, second)
    calls = {
        "encode": {},
        "reconstruct": {"batch_size": 7},
        "predict": {},
        "log_likelihood": {"num_samples": 3, "seed": 0},
    }
    for method, options in calls.items():
        found, wanted = (getattr(models[0], method)(x, verbose=0, **options)
                         for x in (matrix, dense))  # fmt: skip
        np.testing.assert_array_equal(found, wanted)


def test_targets_validation_data_and_batches_may_be_sparse():
    x = sparse.csr_matrix(counts())
    first, second = x.multiply(counts(seed=1) > 0).tocsr(), x[:20]
    model = vae()
    model.fit(first, x, validation_data=(second, second), verbose=0)
    model.fit(first, validation_data=second, verbose=0)
    model.train_on_batch(first)
    found = model.predict_on_batch(first)
    np.testing.assert_array_equal(found, model.predict_on_batch(first.toarray()))
    loss = model.evaluate(first, x, batch_size=30, verbose=0)
    dense = model.evaluate(first.toarray(), x.toarray(), batch_size=30, verbose=0)
    np.testing.assert_array_equal(loss, dense)
    model.fit((x[i : i + 10] for i in range(0, 60, 10)), steps_per_epoch=6, verbose=0)
    codes = model.encode(x[i : i + 10] for i in range(0, 60, 10))
    np.testing.assert_allclose(codes, model.encode(x), atol=1e-5)


def test_the_matrix_of_the_user_is_not_changed():
    parts = ([1.0, 2.0, 4.0], ([0, 0, 1], [1, 1, 0]))  # One element is stored in two parts.
    matrix = sparse.coo_matrix(parts, shape=(2, 3)).tocsr(copy=True)
    scattered = sparse.csr_matrix(
        (np.array([1.0, 2.0, 4.0]), np.array([1, 1, 0]), np.array([0, 2, 3])), shape=(2, 3)
    )
    for each in (matrix, scattered):
        before = each.data.copy()
        rows = SparseRows(each)
        np.testing.assert_array_equal(rows[np.array([1, 0])], [[4, 0, 0], [0, 3, 0]])
        np.testing.assert_array_equal(each.data, before)
    with pytest.raises(TypeError, match="never made dense as a whole"):
        np.asarray(rows)


@pytest.mark.parametrize("values", [[-2.0, 5.0], [3.0], [], [1.0, np.nan], [np.inf]])
@pytest.mark.parametrize("skip_nan", [True, False])
def test_the_extent_is_that_of_the_array(values, skip_nan):
    matrix = sparse.csr_matrix((values, (range(len(values)), [1] * len(values))), shape=(3, 4))
    found, wanted = (ranges.extent(x, skip_nan) for x in (SparseRows(matrix), matrix.toarray()))
    np.testing.assert_array_equal(found, wanted)


def test_bad_values_of_a_sparse_matrix_are_refused():
    model = vae()
    model.fit(counts(), verbose=0)
    cases = {"such as 0.5": 0.5, "from 0 on": -1.0, "NaN or infinite": np.nan, "float32": 1e300}
    for message, value in cases.items():
        x = sparse.csr_matrix(counts().astype("float64"))
        x.data[3] = value
        for call in (model.fit, model.encode):
            with pytest.raises(ValueError, match=message):
                call(x, verbose=0)
    with pytest.raises(ValueError, match="12"):
        model.fit(sparse.csr_matrix(counts(columns=9)), verbose=0)
    with pytest.raises(ValueError, match="x is empty"):
        model.encode(sparse.csr_matrix((0, 12)))


@pytest.mark.parametrize("name", ["VAE", "AE", "MissingDataIWAE"])
def test_other_models_say_how_to_make_it_dense(name):
    model, x = zoo.compiled(name), sparse.csr_matrix(counts())
    for call in (model.fit, model.evaluate, model.encode, model.reconstruct):
        with pytest.raises(TypeError, match=r"x is a csr_matrix. Make it dense: x.toarray\(\)"):
            call(x)


def huge(rows, columns, number=5):
    """Return a matrix with `number` ones in every row."""
    rng = np.random.default_rng(0)
    columns_of = np.sort(rng.integers(0, columns // number, (rows, number)), axis=1)
    columns_of += columns // number * np.arange(number)
    ends = np.arange(rows + 1) * number
    return sparse.csr_matrix(
        (np.ones(rows * number, "float32"), columns_of.ravel(), ends), shape=(rows, columns)
    )


def test_a_huge_matrix_is_never_dense_as_a_whole():
    """Dense, the matrix would take 40 GB, and the encoded part of it 2 GB."""
    x = huge(200_000, 50_000)
    model = vae()
    model.build((None, 50_000))
    model.train_on_batch(x[:2])
    model.encode(x[:2])
    tracemalloc.start()
    try:
        model.fit(x, batch_size=128, steps_per_epoch=3, verbose=0)
        model.evaluate(x, batch_size=128, steps=2, verbose=0)
        codes = model.encode(x[:10_000], batch_size=256)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert codes.shape == (10_000, 2) and np.all(np.isfinite(codes))
    assert peak < 700e6, f"{peak / 1e6:.0f} MB"
