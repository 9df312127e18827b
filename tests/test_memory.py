"""What cannot fit into memory is refused before any of it is taken, with its size and a remedy."""

import pathlib
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import zoo

import keras_ae
from keras_ae import layers, memory

X = np.zeros((64, 6), "float32")


def small(**options):
    return {"network_options": {"units": (8,)}, **options}


def fitted(kind, x=X, **options):
    model = getattr(keras_ae, kind)(2, **small(**options))
    model.compile("adam")
    model.build((None, *x.shape[1:]))
    return model


# Calls that would end the process, each with a word of what it has to say.
CALLS = {
    "latent_dim": lambda: keras_ae.AE(10**9).build((None, 6)),
    "latent_dim of a VAE": lambda: keras_ae.VAE(10**9).build((None, 6)),
    "latent_dim of pictures": lambda: keras_ae.VAE(10**8).build((None, 28, 28, 1)),
    "units": lambda: keras_ae.VAE(2, network_options={"units": (10**7, 10**7)}).build((None, 6)),
    "filters": lambda: keras_ae.AE(2, network_options={"filters": (10**6, 10**6)}).build(
        (None, 8, 8, 1)
    ),
    "examples": lambda: keras_ae.AE(64).build((None, 10**10)),
    "num_codes": lambda: keras_ae.VQVAE(num_codes=10**9).build((None, 6)),
    "num_codes of residuals": lambda: keras_ae.ResidualVQVAE(num_codes=10**9).build((None, 6)),
    "code_length": lambda: keras_ae.VQVAE(code_length=10**9).build((None, 6)),
    "a dictionary": lambda: keras_ae.TopKSAE(10**10).build((None, 6)),
    "num_components": lambda: keras_ae.VampVAE(2, num_components=10**10).build((None, 6)),
    "num_anchors": lambda: keras_ae.RiemannianHamiltonianVAE(2, num_anchors=10**10).build(
        (None, 6)
    ),
    "units of a prior": lambda: keras_ae.VQVAE(prior_options={"units": 10**6}).build((None, 6)),
    "a quantizer": lambda: layers.VectorQuantizer(10**10)(X),
    "a prior": lambda: layers.SequencePrior(2**31 - 1, (5,), units=64).build(),
    "samples of a layer": lambda: layers.SequencePrior(4, (3,), units=8).sample(10**9, seed=0),
    "a group": lambda: layers.LookupFreeQuantizer(30, group=30)(np.zeros((2, 30), "float32")),
    "samples": lambda: fitted("VAE").sample(10**11),
    "samples of codes": lambda: zoo.trained("AE").sample(10**11),
    "samples of a prior": lambda: zoo.trained("FSQVAE").sample(10**11),
    "results": lambda: memory.refuse_results(fitted("VAE"), 10**11, X),
    "a batch": lambda: memory.refuse_batch(fitted("VAE"), 10**10, [X]),
    "a step": lambda: memory.refuse_step(fitted("VAE"), 10**10),
    "pairs with codes": lambda: memory.refuse_step(fitted("VQVAE", num_codes=10**5), 10**6),
    "pairs with components": lambda: memory.refuse_step(
        fitted("VampVAE", num_components=10**5), 10**6
    ),
    "codes to compare with": lambda: fitted("VQVAE", num_codes=10**5).encode(
        np.zeros((1024, 6), "float32"), batch_size=1024
    ),
    "logits of a prior": lambda: fitted("VQVAE", num_codes=10**5, code_length=100).fit_prior(
        X, verbose=0
    ),
    "pairs of positions": lambda: fitted(
        "AE", np.zeros((1, 20000, 4), "float32"), encoder="transformer", network_options={}
    ).fit(np.zeros((8, 20000, 4), "float32"), verbose=0),
    "importance samples": lambda: fitted("IWAE", num_samples=10**8).fit(X, verbose=0),
}


@pytest.mark.parametrize("call", CALLS)
def test_what_would_end_the_process_is_refused(call, monkeypatch):
    """In a machine of 2 GB, so that a failure ends nothing but the test."""
    monkeypatch.setattr(memory, "available", lambda: 2 * 10**9)
    started = time.perf_counter()
    with pytest.raises(ValueError, match=r"would take [\d,.]+ GB of memory, and 2.0 GB are left"):
        CALLS[call]()
    assert time.perf_counter() - started < 60.0


@pytest.mark.parametrize("name", zoo.MODELS)
def test_nothing_of_the_zoo_takes_a_look(name, monkeypatch):
    """What is small is not compared with anything, because reading what is left takes time."""
    monkeypatch.setattr(memory, "available", lambda: pytest.fail("was asked"))
    model = zoo.compiled(name)
    model.build((None, 6))
    memory.refuse_step(model, 32)
    memory.refuse_batch(model, 32, [zoo.data()])
    memory.refuse_samples(model, 32)


@pytest.mark.every_backend
def test_a_batch_beyond_the_data_costs_what_the_data_costs():
    """TensorFlow's indices of such a batch alone would take 4 TB."""
    model = fitted("AE")
    model.fit(X, batch_size=10**12, verbose=0)
    whole = model.evaluate(X, batch_size=10**12, verbose=0)
    assert whole == pytest.approx(model.evaluate(X, batch_size=64, verbose=0), rel=1e-5)
    assert model.predict(X, batch_size=10**12, verbose=0).shape == X.shape
    assert model.encode(X, batch_size=10**12).shape == (64, 2)


def test_a_weight_is_checked_before_it_is_made(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 10**9)
    made = []

    def initializer(shape, dtype):
        made.append(shape)
        return keras.ops.zeros(shape, dtype)

    layer = keras.layers.Dense(10**5, kernel_initializer=initializer)
    with pytest.raises(ValueError, match=r"kernel.* of shape \(10000, 100000\).*8.0 GB.*Take less"):
        with memory.checked_weights(layer, "Take less."):
            layer.build((None, 10**4))
    assert not made
    # Weights of others are none of our business.
    small_layer = keras.layers.Dense(3, kernel_initializer=initializer)
    small_layer.build((None, 2))
    assert made == [(2, 3)]


LIMITED = """
import resource
import keras_ae
from keras_ae import memory
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 10**9, size + 10**9))
assert memory.available() <= 10**9
try:
    keras_ae.AE(10**8).build((None, 64))
except ValueError as error:
    print(error)
"""


@pytest.mark.skipif(not pathlib.Path("/proc/self/statm").exists(), reason="of Linux alone")
def test_a_limit_of_address_space_counts():
    done = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True)
    assert done.returncode == 0 and "GB are left to this process" in done.stdout, done


@pytest.mark.parametrize("version", [1, 2])
def test_limits_of_control_groups_count(version, monkeypatch, tmp_path):
    groups, proc = tmp_path / "groups", tmp_path / "proc"
    names = {
        1: ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        2: ("", "memory.max", "memory.current", "inactive_file"),
    }
    controllers, limit, used, cache = names[version]
    outer, inner = groups / controllers / "outer", groups / controllers / "outer" / "inner"
    inner.mkdir(parents=True)
    (proc / "self").mkdir(parents=True)
    (proc / "self" / "cgroup").write_text(f"0:{controllers}:/outer/inner\n1:cpu:/other\n")
    (proc / "meminfo").write_text("MemTotal: 99 kB\nMemAvailable: 8000000 kB\n")
    monkeypatch.setattr(memory, "_PROC", proc)
    monkeypatch.setattr(memory, "_CGROUP", groups)
    assert memory.available() == 8000000 * 1024
    (outer / limit).write_text("3000000000\n")
    (outer / used).write_text("2500000000\n")
    (outer / "memory.stat").write_text(f"anon 1\n{cache} 700000000\n")
    (inner / limit).write_text("max\n")
    assert memory.available() == 1_200_000_000
    with pytest.raises(ValueError, match=r"A would take 1.3 GB of memory, and 1.2 GB are left"):
        memory.refuse_beyond(1.3e9, "A", "B.")
