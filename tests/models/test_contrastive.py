"""The contrastive reconstruction loss against NumPy, with padding, weights and single examples."""

import keras
import numpy as np
import pytest
import scipy.special
import zoo
from keras import ops

import keras_ae
from keras_ae import losses

pytestmark = pytest.mark.formula

STEPS, FEATURES = 4, 3
ALONE = ("MemAE", "DAGMM", "MaskedAE", "RecurrentAE", "UNetAE")


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def loss_of(target, output, temperature=0.1):
    """Compute the definition in float64: a softmax over the squared distances of all pairs."""
    target, output = (v.reshape(len(v), -1).astype("float64") for v in (target, output))
    squares = np.sum((target[:, None] - target) ** 2, axis=-1)
    unit = squares.sum() / (len(target) * (len(target) - 1))
    logits = -np.sum((output[:, None] - target) ** 2, axis=-1) / (temperature * unit)
    return -np.diag(scipy.special.log_softmax(logits, axis=1))


def compute(target, output, mask_value=None, **given):
    def function(target, output):
        return losses.per_example(losses.Contrastive(**given), target, output, mask_value)

    return zoo.compute(function, target, output)


@pytest.mark.parametrize("shape", [(7, 5), (3, 4, 4, 2), (2, 1)])
@pytest.mark.parametrize("temperature", [0.1, 2.0])
def test_it_is_the_cross_entropy_of_the_own_example(shape, temperature):
    target, output = normal(*shape), normal(*shape, seed=1)
    found = compute(target, output, temperature=temperature)
    wanted = loss_of(target, output, temperature)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("unit, offset", [(1e-3, 0.0), (100.0, 0.0), (1.0, 30.0)])
def test_units_and_offsets_do_not_matter(unit, offset):
    target, output = normal(6, 5), normal(6, 5, seed=1)
    found = compute(unit * target + offset, unit * output + offset)
    np.testing.assert_allclose(found, loss_of(target, output), rtol=1e-3)


def test_chance_has_the_logarithm_of_the_batch():
    """A constant reconstruction as far from all examples, and examples that are all equal."""
    for count in (2, 8, 32):
        target = np.eye(count, dtype="float32")
        for found in (
            compute(target, np.full_like(target, 0.3)),
            compute(np.ones_like(target), normal(count, count)),
        ):
            np.testing.assert_allclose(found, np.log(count), rtol=1e-5)
    target, constant = normal(32, 5), np.tile(normal(1, 5, seed=1), (32, 1))
    assert compute(target, constant).mean() > np.log(32)


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_perfect_reconstructions_of_examples_at_equal_distances_have_a_closed_form(temperature):
    target = 3.0 * np.eye(8, dtype="float32")
    wanted = np.log1p(7.0 * np.exp(-1.0 / temperature))
    np.testing.assert_allclose(compute(target, target, temperature=temperature), wanted, atol=1e-5)


@pytest.mark.parametrize("value", [-9.0, 0.0, 9.0])
def test_padded_steps_count_as_zeros_of_both(value):
    target, output = normal(6, STEPS, FEATURES), normal(6, STEPS, FEATURES, seed=1)
    real = np.arange(STEPS) < np.array([1, 2, 3, 4, 4, 2])[:, None]
    padded = np.where(real[..., None], target, value).astype("float32")
    found = compute(padded, output, mask_value=value)
    wanted = loss_of(*(np.where(real[..., None], v, 0.0) for v in (target, output)))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    longer = [np.concatenate([v, np.full_like(v, value)], axis=1) for v in (padded, output)]
    np.testing.assert_allclose(compute(*longer, mask_value=value), wanted, rtol=1e-4, atol=1e-5)


def made(name="AE", optimizer=None, **given):
    return zoo.eager(name, optimizer, reconstruction_loss="contrastive", **given)


def test_evaluate_is_its_mean_over_batches_with_weights():
    model, x = made(), zoo.data(48)
    model.build((None, 6))
    for size, weight in ((16, None), (48, None), (20, None), (16, np.linspace(0.0, 2.0, 48))):
        y = model.reconstruct(x)
        starts = range(0, 48, size)
        values = np.concatenate([loss_of(x[n : n + size], y[n : n + size]) for n in starts])
        found = model.evaluate(x, batch_size=size, sample_weight=weight, verbose=0)
        found = found if isinstance(found, float) else found[0]
        assert found == pytest.approx(np.average(values, weights=weight), rel=1e-3)


@pytest.mark.costly
@pytest.mark.parametrize("name", ["AE", "DenoisingAE", "WAE", "VQVAE"])
def test_models_learn_to_tell_examples_apart(name):
    """Of 32 examples that were never seen, the nearest one is often the own one."""
    x = normal(288, 3) @ normal(3, 6, seed=2)
    options = {"VQVAE": {"num_codes": 64}, "WAE": {"weight": 1.0}}.get(name, {})
    model = made(name, keras.optimizers.Adam(0.01), latent_dim=3, **options)
    model.fit(x[:256], batch_size=32, epochs=40, verbose=0)
    y, x = model.reconstruct(x[256:]), x[256:]
    loss = model.evaluate(x, batch_size=32, verbose=0, return_dict=True)["reconstruction_loss"]
    assert loss < 0.5 * np.log(32)
    distances = np.sum((y[:, None] - x) ** 2, axis=-1)
    assert np.mean(distances.argmin(axis=1) == np.arange(32)) > 0.25


def test_the_last_example_alone_in_its_batch_changes_nothing():
    x, found = zoo.data(33), []
    for part in (x[:32], x):
        model = made(optimizer=keras.optimizers.SGD(0.1))
        history = model.fit(part, batch_size=16, shuffle=False, verbose=0).history
        found.append([*history["loss"], *(v.numpy() for v in model.trainable_variables)])
    for without, with_last in zip(*found, strict=True):
        np.testing.assert_allclose(with_last, without, rtol=1e-5, atol=1e-7)


def test_batches_of_one_example_are_refused():
    model, x = made(), zoo.data(16)
    words = "AE: the loss tells .* one example. Pass a larger batch_size"
    calls = {
        "fit": lambda: model.fit(x, batch_size=1, verbose=0),
        "fit of one": lambda: model.fit(x[:1], verbose=0),
        "evaluate": lambda: model.evaluate(x, batch_size=1, verbose=0),
        "validation": lambda: model.fit(x, validation_data=x[:1], verbose=0),
        "a generator": lambda: model.evaluate((v for v in [x[:1]]), steps=1, verbose=0),
        "one training step": lambda: model.train_on_batch(x[:1]),
        "one test step": lambda: model.test_on_batch(x[:1]),
    }
    for name, call in calls.items():
        with pytest.raises(ValueError, match=words):
            call()
            pytest.fail(name)
    assert model.predict(x[:1], verbose=0).shape == model.reconstruct(x[:1]).shape == (1, 6)


@pytest.mark.parametrize("name", ALONE)
def test_models_that_compare_each_example_alone_refuse_it(name):
    words = f"{name}: reconstruction_loss='contrastive' .* Choose another loss"
    with pytest.raises(ValueError, match=words):
        getattr(keras_ae, name)(reconstruction_loss="contrastive")


def test_models_with_a_likelihood_refuse_it():
    with pytest.raises((TypeError, ValueError), match="reconstruction_loss"):
        keras_ae.VAE(reconstruction_loss="contrastive")
    with pytest.raises(ValueError, match="likelihood='contrastive' is unknown"):
        keras_ae.VAE(likelihood="contrastive")
    with pytest.raises(ValueError, match="PerceptualVAE: features='contrastive' tells"):
        keras_ae.PerceptualVAE(features="contrastive")
    with pytest.raises(ValueError, match="temperature=0 must be a"):
        losses.Contrastive(0)
    with pytest.raises(ValueError, match="Did you mean 'contrastive'"):
        losses.get("contrastiv")


def test_it_is_saved_with_its_temperature(tmp_path):
    model, x = made(), zoo.data()
    model.reconstruction_loss.temperature = 0.7
    model.build((None, 6))
    wanted = model.evaluate(x, verbose=0, return_dict=True)
    assert wanted["loss"] == pytest.approx(loss_of_batches(x, model.reconstruct(x)), rel=1e-3)
    model.save(tmp_path / "model.keras")
    again = keras_ae.load(tmp_path / "model.keras")
    assert again.reconstruction_loss.temperature == 0.7
    assert again.evaluate(x, verbose=0, return_dict=True) == pytest.approx(wanted, rel=1e-5)


def loss_of_batches(x, y):
    parts = [loss_of(x[n : n + 32], y[n : n + 32], 0.7) for n in range(0, len(x), 32)]
    return np.concatenate(parts).mean()


def test_a_step_counts_the_pairs_of_a_batch(monkeypatch):
    model, sizes = made(), []
    model.build((None, 6))
    monkeypatch.setattr(keras_ae.core.memory, "refuse_beyond", lambda size, *_: sizes.append(size))
    for number in (10**4, 10**5):
        keras_ae.core.memory.refuse_step(model, number)
    assert 90.0 < sizes[1] / sizes[0] <= 100.0


def test_gradients_are_those_of_difference_quotients():
    target, output = normal(5, 3), normal(5, 3, seed=1)
    found = zoo.gradient(
        lambda v: losses.Contrastive().call(ops.convert_to_tensor(target), v), output
    )
    direction = normal(5, 3, seed=2).astype("float64")
    ends = [loss_of(target, output + sign * 1e-4 * direction).sum() for sign in (1.0, -1.0)]
    assert np.sum(found * direction) == pytest.approx((ends[0] - ends[1]) / 2e-4, rel=1e-3)
