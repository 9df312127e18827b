"""Whether a model's training step takes longer than its arithmetic explains, on JAX.

    KERAS_BACKEND=jax python -m benchmarks.speed.zoo_step

Every model has the same dense networks, data and batch. The script traces its step and counts the
operations: multiplications in matrix products, and numbers that all other operations write. The
cost of a multiplication is measured on products alone. The cost of a number is what is left of the
VAE's step, divided by its count. From these two costs follows the time that explains any other
step, and the table compares the measured time with it. Steps are called in turn, round after round;
the median counts.
"""

import argparse
import math
import os
import statistics
import time

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import jax
import keras
import numpy as np
from jax.interpreters import partial_eval

import keras_ae

LATENT, UNITS = 16, (512, 256)
WIDTH, FEATURES = 784, 2048
GIVEN = {
    "AE": {},
    "DenoisingAE": {},
    "BetaVAE": {},
    "AnnealedVAE": {},
    "FactorVAE": {},
    "BetaTCVAE": {},
    "DIPVAE": {},
    "InfoVAE": {},
    "IWAE": {"num_samples": 5},
    "MIWAE": {"num_bounds": 2, "num_samples": 5},
    "PIWAE": {"num_bounds": 2, "num_samples": 5},
    "CIWAE": {"num_samples": 5},
    "VampVAE": {"num_components": 100},
    "FlowVAE": {},
    "IAFVAE": {},
    "HamiltonianVAE": {},
    "RiemannianHamiltonianVAE": {},
    "HypersphericalVAE": {},
    "PoincareVAE": {},
    "LadderVAE": {},
    "TopDownVAE": {},
    "VAEGAN": {},
    "PerceptualVAE": {},
    "SparseAE": {},
    "ContractiveAE": {},
    "RegularizedAE": {},
    "WAE": {},
    "SlicedWAE": {},
    "AdversarialAE": {},
    "VQVAE": {},
    "VQVAE2": {},
    "ResidualVQVAE": {},
    "FSQVAE": {"latent_dim": 4},
    "LFQVAE": {"latent_dim": 8},
    "TopKSAE": {},
    "BatchTopKSAE": {},
    "JumpReLUSAE": {},
    "GatedSAE": {},
    "MatryoshkaSAE": {},
}
FREE = {"broadcast_in_dim", "reshape", "squeeze", "slice", "transpose", "convert_element_type"}


def step_of(name, batch_size, given):
    """Return a function that takes a training step of this model, and the counts of its trace."""
    if name.endswith("SAE"):  # A dictionary of vectors has no networks.
        options = {"latent_dim": FEATURES}
    else:
        options = {"latent_dim": LATENT, "network_options": {"units": UNITS}}
    model = getattr(keras_ae, name)(seed=0, **(options | given))
    model.compile("adam")
    x = np.random.default_rng(0).integers(0, 2, (batch_size, WIDTH)).astype("float32")
    model.fit(x, batch_size=batch_size, verbose=0)
    state = tuple(
        [v.value for v in variables]
        for variables in (
            model.trainable_variables,
            model.non_trainable_variables,
            model.optimizer.variables,
            model.metrics_variables,
        )
    )
    traced = jax.make_jaxpr(model.train_step)(state, (x,)).jaxpr
    # Leave out what nothing reads, such as gradients of one player's weights by another's loss.
    needed, _ = partial_eval.dce_jaxpr(traced, [True] * len(traced.outvars))
    counts = count(needed)
    program = jax.jit(model.train_step)
    return lambda: jax.block_until_ready(program(state, (x,))), counts


def count(jaxpr):
    """Count the multiplications in matrix products, and the numbers that other operations write."""
    products = elements = 0
    for equation in jaxpr.eqns:
        times = equation.params.get("length", 1) if equation.primitive.name == "scan" else 1
        inner = [p for value in equation.params.values() for p in programs_in(value)]
        if inner:
            for below in map(count, inner):
                products, elements = products + times * below[0], elements + times * below[1]
        elif equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            depth = math.prod(shape[axis] for axis in contracted)
            products += depth * math.prod(equation.outvars[0].aval.shape)
        elif equation.primitive.name not in FREE:
            made = max(
                (math.prod(getattr(v.aval, "shape", ())) for v in equation.invars), default=0
            )
            elements += max(made, *(math.prod(v.aval.shape) for v in equation.outvars))
    return products, elements


def programs_in(value):
    values = value if isinstance(value, (list, tuple)) else [value]
    return [getattr(v, "jaxpr", v) for v in values if hasattr(v, "eqns") or hasattr(v, "jaxpr")]


def products_alone(batch_size):
    """Return a function that computes the VAE's large products, and their multiplications."""
    shapes = [(WIDTH, UNITS[0]), UNITS, UNITS[::-1], (UNITS[0], WIDTH)]
    weights = [np.ones(shape, "float32") for shape in shapes]
    inputs = [np.ones((batch_size, shape[0]), "float32") for shape in shapes]
    outputs = [np.ones((batch_size, shape[1]), "float32") for shape in shapes]

    @jax.jit
    def program(weights, inputs, outputs):
        return [(x @ w, x.T @ y, y @ w.T) for w, x, y in zip(weights, inputs, outputs, strict=True)]

    def call():
        jax.block_until_ready(program(weights, inputs, outputs))

    return call, 3 * batch_size * sum(math.prod(shape) for shape in shapes)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--calls", type=int, default=10)
    parser.add_argument("--models", nargs="+", choices=GIVEN, default=list(GIVEN))
    arguments = parser.parse_args()
    alone, multiplications = products_alone(arguments.batch_size)
    steps, counts = {"products": alone}, {}
    for name in ["VAE", *arguments.models]:
        steps[name], counts[name] = step_of(name, arguments.batch_size, GIVEN.get(name, {}))
    taken = {name: [] for name in steps}
    for _ in range(arguments.rounds):
        for name, step in steps.items():
            step()
            start = time.perf_counter()
            for _ in range(arguments.calls):
                step()
            taken[name].append((time.perf_counter() - start) / arguments.calls)
    seconds = {name: statistics.median(values) for name, values in taken.items()}
    per_product = seconds["products"] / multiplications
    products, elements = counts["VAE"]
    per_element = (seconds["VAE"] - products * per_product) / elements
    print(f"{keras.config.backend()}, batch {arguments.batch_size}; products {per_product:.3g} s")
    print("| model | milliseconds | ratio to VAE's | explained | taken / explained |")
    print("|---|---|---|---|---|")
    for name, (products, elements) in counts.items():
        explained = products * per_product + elements * per_element
        print(
            f"| {name} | {1000 * seconds[name]:.2f} | {seconds[name] / seconds['VAE']:.2f} "
            f"| {1000 * explained:.2f} | {seconds[name] / explained:.2f} |"
        )


if __name__ == "__main__":
    main()
