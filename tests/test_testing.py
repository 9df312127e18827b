"""`keras_ae.testing` catches what is broken: no check passes whatever a model does."""

import functools
import itertools
import unittest

import keras
import numpy as np
import pytest
import zoo
from keras import ops

import keras_ae
from keras_ae import testing
from keras_ae.core.batching import batched

pytestmark = pytest.mark.formula
COUNT, MADE = itertools.count(), []


class ForgetfulConfiguration(keras_ae.VAE):
    def get_config(self):
        return {**super().get_config(), "latent_dim": 3}


class Unseeded(keras_ae.AE):
    def _build_networks(self, shape, target_shape):
        super()._build_networks(shape, target_shape)
        kernel = self.features_to_code.layers[-1].kernel
        kernel.assign(np.random.default_rng().normal(size=kernel.shape))


class WithoutEncoder(keras_ae.AE):
    def __init__(self, latent_dim=2, encoder=None, **kwargs):
        super().__init__(latent_dim, None, **kwargs)


class FirstOutput(keras_ae.AE):
    def _build_networks(self, shape, target_shape):
        if self.encoder is not None:
            self.encoder = keras.Model(self.encoder.inputs, self.encoder.outputs[0])
        super()._build_networks(shape, target_shape)


class HalvedArrays(keras_ae.AE):
    def evaluate(self, x=None, **options):
        return super().evaluate(x / 2 if isinstance(x, np.ndarray) else x, **options)


class DeafToTargets(keras_ae.AE):
    def _decoder_shape(self, target_shape):
        return self._data_shape


class ReadsPadding(keras_ae.VAE):
    def conditional(self, z, training=False):
        return self.likelihood.distribution(self.decoder(z, training=training))


class SummedWeights(keras_ae.AE):
    def evaluate(self, x=None, sample_weight=None, **options):
        logs = super().evaluate(x, sample_weight=sample_weight, **options)
        if sample_weight is not None:
            logs["loss"] *= np.sum(sample_weight)
        return logs


class Credulous(keras_ae.AE):
    def encode(self, x, **options):
        return super().encode(np.nan_to_num(x) if isinstance(x, np.ndarray) else x, **options)


class OtherSum(keras_ae.VAE):
    def evaluate(self, x=None, **options):
        logs = super().evaluate(x, **options)
        return {**logs, "loss": 2.0 * logs["loss"]}


class Worse(keras_ae.AE):
    def loss_terms(self, x, y, training):
        return {name: -value for name, value in super().loss_terms(x, y, training).items()}


class IdlePlayer(keras_ae.FactorVAE):
    def loss_terms(self, x, y, training):
        terms = super().loss_terms(x, y, training)
        return {**terms, "discriminator_loss": 0.0 * terms["discriminator_loss"]}


class HalfPrecision(keras_ae.AE):
    def encode(self, x, **options):
        codes = super().encode(x, **options)
        return codes.astype("float16") if isinstance(codes, np.ndarray) else codes


class Restless(keras_ae.AE):
    def evaluate(self, x=None, **options):
        logs = super().evaluate(x, **options)
        return {**logs, "loss": logs["loss"] + next(COUNT)}


class OtherPredictions(keras_ae.AE):
    def predict(self, x, **options):
        return 2.0 * super().predict(x, **options)


class Forgetful(keras_ae.AE):
    def save(self, filepath, **options):
        super().save(filepath, **options)
        self._step.assign(0)


class Twin(keras_ae.AE):
    def __init__(self, latent_dim=2, **kwargs):
        super().__init__(latent_dim, **kwargs)
        MADE.append(self)

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return MADE[0]


class DoublePrecision(keras_ae.AE):
    def decode(self, z, **options):
        output = super().decode(z, **options)
        return output.astype("float64") if isinstance(output, np.ndarray) else output


class HalvedReconstructions(keras_ae.AE):
    def reconstruct(self, x, **options):
        return super().reconstruct(x, **options) * 0.5


class OtherTensors(keras_ae.AE):
    def reconstruct(self, x, **options):
        output = super().reconstruct(x, **options)
        return output + 1.0 if ops.is_tensor(output) else output


class Steep(keras_ae.AE):
    def reconstruct(self, x, **options):
        output = super().reconstruct(x, **options)
        return ops.stop_gradient(output) + 0.0 * x if ops.is_tensor(output) else output


class NoSymbols(keras_ae.AE):
    def encode(self, x, **options):
        if isinstance(x, keras.KerasTensor):
            raise TypeError("x is a KerasTensor.")
        return super().encode(x, **options)


class DeafToFits(keras_ae.VAE):
    def fit_sampler(self, x=None, sampler="own", **options):
        return super().fit_sampler(sampler="own")


class DeafToSeeds(keras_ae.VAE):
    def sample(self, num_samples, seed=None, **options):
        return super().sample(num_samples, **options)

    def encode(self, x, sample=False, seed=None, **options):
        return super().encode(x, sample=sample, **options)

    def log_likelihood(self, x, y=None, num_samples=100, seed=None, **options):
        return super().log_likelihood(x, y, num_samples, **options)


class Bold(keras_ae.VAE):
    def sample(self, num_samples, seed=None, **options):
        return super().sample(num_samples, seed, **options) if self.built else np.zeros((3, 6))


class Constant(keras_ae.VAE):
    def loss_weights(self):
        return {"kl_loss": 1e4}


class ScoresOfBatches(keras_ae.MemAE):
    @batched("data")
    def anomaly_score(self, x):
        scores = super().anomaly_score(x)
        return scores - ops.mean(scores)


BROKEN = {
    "configuration": (ForgetfulConfiguration, "latent_dim"),
    "seed": (Unseeded, "Two trainings from seed=3 differ"),
    "own_networks": (WithoutEncoder, "The model's encoder is another one"),
    "odd_networks": (FirstOutput, "encoder of two outputs raised no ValueError"),
    "forms_of_data": (HalvedArrays, "evaluate of a list differs"),
    "targets": (DeafToTargets, ""),
    "padding": (ReadsPadding, "Losses depend on it"),
    "sample_weights": (SummedWeights, "Weights three times as large change the mean"),
    "bad_data": (Credulous, r"encode\(NaN\) raised no ValueError or TypeError"),
    "history": (OtherSum, "The loss is not the sum"),
    "training": (Worse, "The squared error of held-out data is"),
    "players": (IdlePlayer, "No weight of player 'discriminator' moved"),
    "mixed_precision": (HalfPrecision, "Codes are float16"),
    "learning": (Constant, "The squared error is .*, and with the mean example instead"),
    "evaluation": (Restless, "First .*, then"),
    "batches": (OtherPredictions, "predict differs from reconstruct"),
    "saving": (Forgetful, "The loaded weights are others"),
    "clone": (Twin, "variables are shared"),
    "arrays": (DoublePrecision, "decode gives a ndarray of float64"),
    "round_trip": (HalvedReconstructions, "It differs, and reads nothing but codes"),
    "tensors": (OtherTensors, "The numbers are others"),
    "gradients": (Steep, "The gradient's length is 0"),
    "symbols": (NoSymbols, "TypeError: x is a KerasTensor"),
    "samples": (DeafToSeeds, "Seed 3 gives others again"),
    "untrained_samples": (Bold, "sample before build raised no"),
    "fitted_samples": (DeafToFits, "The samples are those of before"),
    "draws": (DeafToSeeds, "encode: seed 1 gives another draw again"),
    "likelihood": (DeafToSeeds, "Seed 0 gives another estimate again"),
    "anomaly_scores": (ScoresOfBatches, "batch_size=3 gives other scores"),
    "export": (OtherTensors, "The served serve gives other numbers"),
}
for broken, _ in BROKEN.values():
    keras.saving.register_keras_serializable("broken")(broken)


def maker(cls):
    return functools.partial(cls, latent_dim=2, network_options={"units": (8,)}, seed=1)


def test_every_check_has_a_model_that_it_catches():
    assert BROKEN.keys() == testing.CHECKS.keys()


@pytest.mark.costly
@pytest.mark.parametrize("check", BROKEN)
def test_a_check_catches_what_is_broken(check):
    if check == "export" and keras.config.backend() == "torch":
        pytest.skip("torch writes no SavedModel")
    cls, found = BROKEN[check]
    defaults = (maker(cls), zoo.data(64))
    functions = dict(testing.checks(*defaults, defaults=defaults))
    with pytest.raises(AssertionError, match=f"(?s)check '{check}': .*{found}"):
        functions[check]()


def test_a_model_of_a_user_s_own_passes():
    """Its own constructor takes no seed, and its data are pictures that are not binary."""

    def make():
        options = {"filters": (2,), "units": (4,), "activation": "elu"}
        return keras_ae.AE(2, network_options=options, seed=0)

    pictures = np.random.default_rng(0).uniform(-1.0, 3.0, (24, 4, 4, 1)).astype("float32")
    skipped = testing.check_model(make, pictures)
    assert skipped["likelihood"] == "it has no log_likelihood"
    assert skipped["seed"] == "make() does not take seed="
    assert not {"arrays", "saving", "training", "players"} & skipped.keys()


def test_a_reconstruction_that_reads_the_data_must_gain_by_it():
    class Negative(keras_ae.AE):
        def reconstruct(self, x, **options):
            return super().reconstruct(x, **options) - x

    functions = dict(testing.checks(maker(Negative), zoo.data(64)))
    with pytest.raises(AssertionError, match="check 'round_trip': .*Its squared error is"):
        functions["round_trip"]()


def test_padding_is_tried_on_sequences_alone():
    """Of other data the check says that it does not concern the model."""
    options = {"filters": (2,), "units": (4,)}
    pictures = np.zeros((24, 4, 4, 1), "float32")
    tokens = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4)])
    cases = {
        "no sequences": (functools.partial(keras_ae.AE, network_options=options), pictures),
        "masks of their own, or none": (functools.partial(keras_ae.AE, encoder=tokens), zoo.data()),
        "takes no networks": (keras_ae.TopKSAE, zoo.data()),
        "it refuses padding: .*'mlp'": (functools.partial(keras_ae.AE, encoder="mlp"), zoo.data()),
    }
    for words, (make, x) in cases.items():
        with pytest.raises(unittest.SkipTest, match=words):
            dict(testing.checks(make, x))["padding"]()


def test_what_is_no_data_to_try_a_model_on():
    for inputs in (np.zeros((3, 6)), np.zeros(64)):
        with pytest.raises(ValueError, match="at least 16 examples"):
            testing.checks(keras_ae.VAE, inputs)


def test_checks_that_do_not_concern_a_model_say_so():
    functions = dict(testing.checks(maker(keras_ae.AE), zoo.data(64)))
    with pytest.raises(unittest.SkipTest, match="it has no log_likelihood"):
        functions["likelihood"]()


def test_a_model_without_a_seed_is_saved_and_goes_on():
    x = np.random.default_rng(0).integers(0, 2, (64, 6)).astype("float32")
    make = functools.partial(keras_ae.VAE, latent_dim=2, network_options={"units": (8,)})
    dict(testing.checks(make, x))["saving"]()
