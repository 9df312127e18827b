"""`tf.distribute` over two logical devices of one machine.

Another process measures everything, because devices can only be set up before TensorFlow starts.
"""

import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import zoo
from keras import ops

import keras_ae

pytestmark = [pytest.mark.xdist_group("strategies"), pytest.mark.costly]
HERE = pathlib.Path(__file__).resolve().parent
PATHS = os.pathsep.join(map(str, (HERE.parents[1], HERE.parent, HERE)))
OPTIONS = {"batch_size": 16, "verbose": 0}


# ------------------------------------------------------------------ in a process of its own


def measure(folder):
    """Train under the strategy and print what happened as one line of JSON."""
    import tensorflow as tf

    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
    )
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    facts = {
        "replicas": strategy.num_replicas_in_sync,
        "plain": plain_model(strategy),
        "variational": variational_model(strategy, folder),
        "adversary": adversary(strategy),
        "noise": noise(strategy),
        "quantized": quantized(strategy),
        "not_finite": loss_that_is_not_finite(strategy),
    }
    print(json.dumps(facts))


def made_under(strategy, name, **given):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        return zoo.compiled(name, keras.optimizers.SGD(0.1), **given)


def built_under(strategy, name):
    model = made_under(strategy, name)
    model.build((None, 6))  # This is outside of the strategy's scope; weights are mirrored anyway.
    return model


def plain_model(strategy):
    """Compare one replica with two at the same global batch; without noise they must agree."""
    import tensorflow as tf

    x = zoo.data(52)  # The last batch holds two examples for each replica.
    one = made_under(tf.distribute.get_strategy(), "AE")
    two = made_under(strategy, "AE")
    histories = [m.fit(x, epochs=2, validation_data=x, **OPTIONS).history for m in (one, two)]
    codes = [m.encode(x).tolist() for m in (one, two)]
    predicted = np.abs(two.predict(x, verbose=0) - two.reconstruct(x)).max()
    samples = two.sample(3, seed=0)
    two.fit(zoo.data(33), **OPTIONS)  # The last batch leaves one replica without an example.
    density = [two.sampler.mean.numpy(), two.sampler.covariance.numpy()]
    return {
        "histories": histories,
        "codes": codes,
        "predicted": float(predicted),
        "samples": samples.shape,
        "density": [value.tolist() for value in density],
    }


class Killed(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt


def variational_model(strategy, folder):
    """Train with a warm-up; kill and resume the same; read its file without a strategy."""

    def run(*callbacks):
        model = made_under(strategy, "VAE", kl_weight=keras_ae.schedules.LinearWarmUp(8))
        history = model.fit(zoo.data(), epochs=3, callbacks=list(callbacks), **OPTIONS).history
        return model, history

    def backup():
        return keras_ae.callbacks.BackupAndRestore(folder / "backup")

    whole, history = run()
    try:
        run(backup(), Killed())
    except KeyboardInterrupt:
        resumed, _ = run(backup())
    whole.save(folder / "model.keras")
    loaded = keras_ae.load(folder / "model.keras")
    x = zoo.data()
    distances = [
        np.abs(a - b).max() for a, b in zip(*map(zoo.weights, (whole, resumed)), strict=True)
    ]
    evaluations = [whole.evaluate(x, return_dict=True, **OPTIONS) for _ in range(2)]
    return {
        "history": history,
        "steps": int(whole._step.numpy()),
        "resumed": float(max(distances)),
        "loaded": float(np.abs(loaded.encode(x) - whole.encode(x)).max()),
        "evaluations": evaluations,
        "log_likelihood": whole.log_likelihood(x, num_samples=8, seed=0).tolist(),
        "loaded_log_likelihood": loaded.log_likelihood(x, num_samples=8, seed=0).tolist(),
    }


def loss_that_is_not_finite(strategy):
    """Train until one replica's loss is NaN, and compare with the steps before that one."""
    import tensorflow as tf

    class Fails(keras_ae.VAE):
        def loss_terms(self, x, y, training):
            terms = super().loss_terms(x, y, training)
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            fails = ops.logical_and(ops.convert_to_tensor(self._step) == 2, replica == 1)
            terms["kl_loss"] = terms["kl_loss"] + ops.where(fails, float("nan"), 0.0)
            return terms

    models = []
    for _ in range(2):
        keras.utils.set_random_seed(0)
        with strategy.scope():
            models.append(Fails(**zoo.settings("VAE")))
            models[-1].compile("adam")
    models[0].fit(zoo.data(32), shuffle=False, **OPTIONS)
    try:
        models[1].fit(zoo.data(64), shuffle=False, **OPTIONS)
        message = "no error"
    except FloatingPointError as error:
        message = str(error)
    pairs = zip(*(model.trainable_variables for model in models), strict=True)
    return {"message": message, "moved": max(float(abs(a - b).numpy().max()) for a, b in pairs)}


def adversary(strategy):
    model = built_under(strategy, "FactorVAE")
    before = [[v.numpy() for v in group] for group in model._variable_groups()]
    history = model.fit(zoo.data(), epochs=2, **OPTIONS).history
    moved = [
        all(not np.array_equal(v.numpy(), b) for v, b in zip(group, old, strict=True))
        for group, old in zip(model._variable_groups(), before, strict=True)
    ]
    return {"history": history, "moved": moved}


def noise(strategy):
    """Return what each replica draws for the same example, in training and in evaluation."""
    denoiser, vae = built_under(strategy, "DenoisingAE"), built_under(strategy, "VAE")
    x = ops.ones((1, 6))

    def draws(training):
        corrupted = denoiser.corruption(x, denoiser.step_seed(training))
        return corrupted, vae.posterior(x).sample(vae.step_seed(training))

    facts = {}
    for training in (True, False):
        results = strategy.run(draws, args=(training,))
        facts[f"training={training}"] = [
            [value.numpy().tolist() for value in strategy.experimental_local_results(result)]
            for result in results
        ]
    return facts


def quantized(strategy):
    """Compare codebooks learned by EMA on one replica and on two; then test starts and restarts."""
    import tensorflow as tf

    x, still = zoo.data(), {"k_means_start": False, "restart_below": 0.0, "decay": 0.8}
    strategies = (tf.distribute.get_strategy(), strategy)
    models = [made_under(s, "VQVAE", **still) for s in strategies]
    histories = [m.fit(x, epochs=2, **OPTIONS).history for m in models]
    codebooks = [m.quantizer.codebook().numpy().tolist() for m in models]
    restarted = made_under(strategy, "VQVAE", decay=0.5, restart_below=0.5)
    history = restarted.fit(zoo.data(33), epochs=3, **OPTIONS).history
    restarted.fit_prior(x, epochs=1, **OPTIONS)
    placed = restarted.quantizer.placed_embeddings.value
    placed = strategy.experimental_local_results(placed)
    return {
        "histories": histories,
        "codebooks": codebooks,
        "restarted": history,
        "placed": [value.numpy().tolist() for value in placed],
        "samples": restarted.sample(3, seed=0).shape,
    }


# ------------------------------------------------------------------ what it must have found


@pytest.fixture(scope="module")
def facts(tmp_path_factory):
    if keras.config.backend() != "tensorflow":
        pytest.skip("tf.distribute is TensorFlow's")
    folder = tmp_path_factory.mktemp("strategy")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import {__name__} as t\nt.measure(t.pathlib.Path({str(folder)!r}))",
        ],
        env={**os.environ, "PYTHONPATH": PATHS},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    facts = json.loads(done.stdout.splitlines()[-1])
    assert facts["replicas"] == 2
    return facts


def test_two_replicas_learn_what_one_learns(facts):
    one, two = facts["plain"]["histories"]
    assert one.keys() == two.keys() and "val_loss" in one
    for name, values in one.items():
        assert two[name] == pytest.approx(values, abs=1e-5), name
    np.testing.assert_allclose(*facts["plain"]["codes"], atol=1e-5)
    assert one["loss"][1] < one["loss"][0]


def test_predictions_are_gathered_in_order(facts):
    assert facts["plain"]["predicted"] < 1e-6


def test_a_mirrored_model_without_a_posterior_samples(facts):
    """The moments of its codes are weights, which exist on both replicas."""
    assert facts["plain"]["samples"] == [3, 6]


def test_a_replica_without_examples_harms_nothing(facts):
    mean, covariance = facts["plain"]["density"]
    assert np.all(np.isfinite(mean)) and np.all(np.isfinite(covariance))
    assert np.linalg.eigvalsh(covariance).min() > -1e-6


def test_a_variational_model_trains_under_a_warm_up(facts):
    found = facts["variational"]
    history = found["history"]
    assert found["steps"] == 9
    assert history["reconstruction_loss"][-1] < history["reconstruction_loss"][0]
    # The warm-up weighs the divergence by 6/8 in step 6, by 7/8 in step 7, and by 1 in the last.
    penalty = history["loss"][2] - history["reconstruction_loss"][2]
    assert 6 / 8 < penalty / history["kl_loss"][2] < 1


def test_a_mirrored_run_resumes_to_the_same_bits(facts):
    assert facts["variational"]["resumed"] == 0.0


def test_a_mirrored_model_is_an_ordinary_file(facts):
    found = facts["variational"]
    assert found["loaded"] < 1e-6
    np.testing.assert_allclose(found["log_likelihood"], found["loaded_log_likelihood"], atol=1e-5)


def test_mirrored_evaluation_repeats_itself(facts):
    first, second = facts["variational"]["evaluations"]
    assert first == second


def test_an_adversary_trains_on_two_replicas(facts):
    found = facts["adversary"]
    assert all(np.all(np.isfinite(values)) for values in found["history"].values())
    assert found["moved"] == [True, True]


def test_a_loss_of_one_replica_that_is_not_finite_moves_no_weight(facts):
    assert "kl_loss became NaN or infinite in training step 3" in facts["not_finite"]["message"]
    assert facts["not_finite"]["moved"] < 1e-6


@pytest.mark.parametrize("training", [True, False])
def test_replicas_draw_different_noise(training, facts):
    for first, second in facts["noise"][f"training={training}"]:
        assert np.min(np.abs(np.subtract(first, second))) > 1e-6


def test_a_codebook_learns_the_same_on_two_replicas_as_on_one(facts):
    found = facts["quantized"]
    np.testing.assert_allclose(*found["codebooks"], atol=1e-5)
    one, two = found["histories"]
    for name in ("loss", "reconstruction_loss", "commitment_loss"):
        assert two[name] == pytest.approx(one[name], abs=1e-5), name


def test_codes_start_and_restart_alike_on_both_replicas(facts):
    found = facts["quantized"]
    assert all(np.all(np.isfinite(values)) for values in found["restarted"].values())
    first, second = found["placed"]
    assert first == second
    assert found["samples"] == [3, 6]


def test_a_mirrored_strategy_may_have_one_device(on_tensorflow):
    import tensorflow as tf

    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    x = zoo.data_for("VAE")
    with strategy.scope():
        model = zoo.compiled("VAE", keras.optimizers.Adam(0.01))
    history = model.fit(x, batch_size=16, epochs=5, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
