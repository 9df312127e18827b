"""What `keras-ae train` says about the quality of a model, and the samplers that it fits."""

import keras
import numpy as np
import pytest
from command_line import MODEL, assert_one_line, command, make_place, train

import keras_ae
from keras_ae.cli import quality, runs
from keras_ae.core.examples import sampler_of


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return make_place(tmp_path_factory.mktemp("quality"))


def judge(losses, **given):
    return quality._judge_training(losses, runs.Settings("VAE", epochs=len(losses), **given))


def test_the_training_is_judged_by_the_losses_of_the_test_split():
    falling = [10.0 - step for step in range(10)]
    flat = [10.0, 4.0, 2.0, 1.2, 1.1, 1.05, 1.03, 1.02, 1.01, 1.005]
    rising = [10.0, 5.0, 2.0, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0]
    (still,) = judge(falling)
    assert "still falls: by 2 in the last 2 epochs" in still and "--epochs 20" in still
    assert judge(flat) == ["The loss hardly falls any more."]
    (rose,) = judge(rising)
    assert "lowest in epoch 4" in rose and "--early-stopping 5" in rose
    assert judge(rising, early_stopping=5) == []
    assert judge([3.0])[0].startswith("One epoch is hardly a training. Try --epochs 5.")


def test_the_share_of_the_variance_is_that_of_the_copies():
    x = np.random.default_rng(0).random((50, 6), "float32")
    model = keras_ae.AE(3, seed=0)
    model.compile(keras.optimizers.Adam(0.01))
    model.fit(x, epochs=20, verbose=0)
    rest = np.square(model.reconstruct(x) - x).sum() / np.square(x - x.mean(axis=0)).sum()
    share = f"{1 - rest:.0%}"
    assert 0.05 < rest < 0.95
    assert quality._judge_copies(model, x) == [
        f"Reconstructions explain {share} of the variance of the test data."
    ]
    worse = keras_ae.AE(3, seed=0)
    worse.build((None, 6))
    worse.decoder.layers[-1].bias.assign(np.full(6, 100.0))
    assert "no better than the mean" in quality._judge_copies(worse, x)[0]


def test_a_collapsed_code_is_named_with_what_to_try(place, capsys):
    words = ("--epochs", "20", "--learning-rate", "0.03", "--set", "kl_weight=1000")
    assert train(place, "collapsed", *words) == 0
    printed = capsys.readouterr().out
    assert "Quality:" in printed and "The code: has collapsed" in printed
    assert "Try kl_weight below 1000" in printed


def test_a_sampler_is_fitted_and_saved(place, capsys):
    assert train(place, "sampled", "--sampler", "gaussian_mixture") == 0
    assert "--sampler" not in capsys.readouterr().out  # There is nothing better to try.
    model = keras_ae.load(place / "sampled" / MODEL)
    assert type(sampler_of(model)) is keras_ae.samplers.GaussianMixture
    assert model.sample(3, seed=0).shape == (3, 6)
    assert train(place, "sampled", "--sampler", "kernel_density", "--resume") == 2
    assert "sampler='gaussian_mixture', not 'kernel_density'" in capsys.readouterr().err
    command_line = runs.Settings("VAE", sampler="flow_matching").command()
    assert command_line.endswith("--sampler flow_matching")


def test_a_sampler_that_cannot_be_is_refused_before_the_training(place, tmp_path, capsys):
    data = ("--data", place / "tall.npy", "--output", tmp_path / "run")
    assert command("train", "VAE", *data, "--sampler", "gausian_mixture") == 2
    assert_one_line(capsys.readouterr(), "Did you mean 'gaussian_mixture'?")
    assert command("train", "VQVAE", *data, "--sampler", "gaussian_mixture") == 2
    assert_one_line(capsys.readouterr(), "VQVAE has no codes of vectors")
    assert not (tmp_path / "run").exists()
