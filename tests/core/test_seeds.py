"""Seeds give the same draws again, differ from each other, and change only in training."""

import keras
import numpy as np
import pytest
import zoo
from keras import ops

import keras_ae
from keras_ae.core import backend, seeds
from keras_ae.core.seeds import RunSeed, SeedGenerator
from keras_ae.testing.parts import cut, to_tensors

BACKEND = keras.config.backend()
BATCH = {"batch_size": 16, "verbose": 0}


def numbers_of(draw):
    """Return what Keras makes of the two numbers of a seed on this backend."""
    first, second = (int(number) for number in ops.convert_to_numpy(draw))
    return (first + second) % 2**32 if BACKEND == "torch" else (first, second)


def test_no_two_draws_share_a_seed():
    found = set()
    seeds, turns, draws = range(24), (*range(12), *(RunSeed.TURNS * n for n in range(1, 6))), 12
    for seed in seeds:
        for turn in turns:
            run = RunSeed(np.array([seed, turn]).astype(backend.SEED_DTYPE))
            found |= {numbers_of(run.next()) for _ in range(draws)}
    assert len(found) == len(seeds) * len(turns) * draws
    for seed in seeds:
        generator = SeedGenerator(seed)
        found |= {numbers_of(generator.next()) for _ in range(30)}
    # A generator's first draws are those of the first turn, so only 18 of its 30 are new.
    assert len(found) == len(seeds) * (len(turns) * draws + 18)


def test_torch_tells_far_more_seeds_apart():
    if BACKEND != "torch":
        pytest.skip("the others take a seed's two numbers as they are")
    seeds, turns, draws = np.meshgrid(np.arange(400), np.arange(200), np.arange(32))
    first = seeds.astype("uint64") + np.uint64(7_368_787) * draws.astype("uint64")
    mixed = first * np.uint64(0x9E3779B1) + turns.astype("uint64") * np.uint64(0x85EBCA77)
    assert len(np.unique(mixed.astype("uint32"))) == mixed.size


def test_neighboring_seeds_have_nothing_in_common():
    def noise(seed, turn):
        run = RunSeed(np.array([seed, turn]).astype(backend.SEED_DTYPE))
        return [ops.convert_to_numpy(keras.random.normal((2000,), seed=run)) for _ in range(2)]

    found = np.array([values for s in range(3) for t in range(3) for values in noise(s, t)])
    correlations = np.corrcoef(found) - np.eye(len(found))
    assert np.abs(correlations).max() < 0.1
    np.testing.assert_array_equal(noise(1, 2), noise(1, 2))


@pytest.mark.parametrize("prior", ["gaussian_mixture", "swiss_roll"])
def test_priors_of_neighboring_seeds(prior):
    draws = [keras_ae.samplers.get(prior)(1000, 2, seed=seed) for seed in (0, 1)]
    values = np.abs([np.ravel(ops.convert_to_numpy(one)) for one in draws])
    assert abs(np.corrcoef(values)[0, 1]) < 0.15


def test_estimates_of_neighboring_seeds_are_independent():
    """If seeds overlapped, seed s would share most of its 64 samples with seed s + 1."""
    model = zoo.trained("VAE")
    x = zoo.data(16)
    found = np.array([model.log_likelihood(x, num_samples=64, seed=s) for s in range(16)])
    apart = found - found.mean(axis=0)
    steps, spread = np.diff(apart, axis=0).var(), apart.var()
    # Differences of independent estimates have twice the variance; shared draws make it less.
    assert 1.3 < steps / spread < 2.8


def test_small_sample_weights_do_not_repeat_the_noise():
    """Each batch of an evaluation has its own noise, also if its examples have small weights."""
    model = zoo.compiled("VAE", keras.optimizers.SGD(0.0))
    x = np.tile(zoo.data(16), (3, 1))
    options = {"return_dict": True, **BATCH}
    expected = model.evaluate(x, **options)
    found = model.evaluate(x, sample_weight=np.full(48, 0.01), **options)
    assert found["reconstruction_loss"] == pytest.approx(expected["reconstruction_loss"], rel=1e-4)


# ------------------------------------------------------------------ use between two fits


def look(model, x, tmp_path):
    """Do everything that people do with a model between two fits."""
    given = zoo.inputs(model, "decode", 48)
    code, tensors = model.encode(x), to_tensors(x)
    model.encode(tensors)
    model.decode(code, **given), model.reconstruct(x), model.predict(x, **BATCH)
    model.evaluate(x, **BATCH), model.test_on_batch(cut(x, 16))
    if isinstance(model, keras_ae.VAE):
        model.encode(x, sample=True), model.encode(x, sample=True, seed=3)
        model.encode(tensors, sample=True)
        model.decode(code, sample=True, **given), model.log_likelihood(x, num_samples=4)
    if type(model)._code_dtype != "int32":  # Models of integer codes need `fit_prior` first.
        given = zoo.inputs(model, "sample", 3)
        model.sample(3, **given), model.sample(3, seed=5, **given)
    model.summary(print_fn=lambda *_, **__: None), model.get_config()
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")


@pytest.mark.parametrize("name", zoo.MODELS)
def test_use_between_fits_does_not_change_training(name, tmp_path):
    found, x = [], zoo.data_for(name)
    for looks in (True, False):
        model = zoo.eager(name)
        model.fit(x, **BATCH)
        if looks:
            look(model, x, tmp_path)
        model.fit(x, **BATCH)
        found.append({v.path: v.numpy() for v in model.weights if v.name != "factor"})
        found[-1] |= {f"{i}": v.numpy() for i, v in enumerate(seeds.states(model))}
    for first, second in zip(found[0].values(), found[1].values(), strict=True):
        np.testing.assert_array_equal(first, second)


def test_calls_with_training_true_change_no_state():
    """That is the state of dropout's seeds, and the running means of batch normalization."""
    options = {"units": (8,), "dropout": 0.3, "batch_normalization": True}
    model, x = zoo.compiled("VAE", network_options=options), zoo.data()
    model.fit(x, **BATCH)
    before = zoo.weights(model)
    code = model.encode(x, training=True, batch_size=16)
    model.decode(code, training=True), model.reconstruct(x, training=True)
    for first, second in zip(before, zoo.weights(model), strict=True):
        np.testing.assert_array_equal(first, second)


def test_fresh_draws_follow_from_the_seed():
    found = []
    for seed in (3, 3, 4):
        model = zoo.make("VAE", seed=seed)
        model.build((None, 6))
        model.set_weights([np.full(w.shape, 0.1) for w in model.get_weights()])
        found.append([model.encode(zoo.data(), sample=True) for _ in range(2)])
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0][0], found[0][1])
    assert not np.array_equal(found[0], found[2])


def test_a_users_own_draws_within_a_step():
    """They differ in every step of training, repeat after a resume, and are fixed in evaluation."""

    class Drawing(keras_ae.VAE):
        def loss_terms(self, x, y, training):
            z = self.encode(x, training=training, sample=True)
            return self.elbo_terms(y, z, self.posterior(x).kl_per_dimension(), training)

    def model():
        made = Drawing(2, **zoo.OPTIONS)
        made.compile(keras.optimizers.SGD(0.0))
        return made

    models = model(), model()
    losses = [m.fit(zoo.data(), epochs=2, **BATCH).history["loss"] for m in models]
    assert losses[0] == losses[1] and losses[0][0] != losses[0][1]
    assert models[0].evaluate(zoo.data(), **BATCH) == models[0].evaluate(zoo.data(), **BATCH)


@pytest.mark.parametrize("seed", [2**63, 2**64, 2**70, -(2**63) - 1, 10**400])
def test_a_seed_beyond_64_bits_is_refused(seed):
    with pytest.raises(ValueError, match="seed=.* must be an integer from -9223372036854775808"):
        seeds.check_seed(seed)
    with pytest.raises(ValueError, match="seed="):
        keras_ae.VAE(latent_dim=2, seed=seed)


def test_a_seed_of_64_bits_is_taken():
    model = keras_ae.VAE(latent_dim=2, seed=0)
    model.encode(np.zeros((4, 3), "float32"))
    draws = [model.sample(2, seed=seed) for seed in (2**63 - 1, -(2**63))]
    assert np.isfinite(draws).all()
