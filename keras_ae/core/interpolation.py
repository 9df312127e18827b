"""Decode codes on the way from one example to another, and the spaces in which codes lie."""

from typing import Any

import numpy as np
from keras import ops

from keras_ae.core import arguments, backend, conversion, examples, memory
from keras_ae.core.examples import takes_inputs_of
from keras_ae.core.inputs import require_built, take_apart
from keras_ae.core.types import ArrayOrTensor, Data, Verbose


class Vectors:
    """The space of codes that may be any vectors, in which the shortest way is straight.

    Other spaces have the same methods. A model's attribute `_space` holds one.
    """

    def go_between(self, a, b, shares, spherical):
        """Compute codes on the way from one code to another.

        Args:
            a, b: Float32 tensors of shape (batch, latent_dim).
            shares: Float32 tensor of shape (points,), which parts of the way are behind each point.
            spherical: Whether the user wants the way along a great circle.

        Returns:
            Float32 tensor of shape (batch, points, latent_dim).
        """
        return go_around(a, b, shares) if spherical else go_straight(a, b, shares)

    def project(self, z):
        """Move vectors of shape (batch, latent_dim) to the nearest codes."""
        return z

    def to_vectors(self, z):
        """Return codes as the vectors to which samplers are fitted, of the same shape.

        A model's `_decode_draws` decodes them as its `decode` does the codes.
        """
        return z


class Sphere(Vectors):
    """The unit sphere, on which the shortest way is the arc of a great circle."""

    def go_between(self, a, b, shares, spherical):
        return go_around(a, b, shares)

    def project(self, z):
        return _to_unit_length(z)


def go_straight(a, b, shares):
    """Compute points on straight lines: see `Vectors.go_between`."""
    shares = shares[None, :, None]
    return (1.0 - shares) * a[:, None] + shares * b[:, None]


def go_around(a, b, shares):
    """Compute points whose directions go along a great circle, and whose lengths change evenly.

    Of the half circles between opposite directions, one is chosen that depends on the first alone.

    Source: Shoemake 1985, Animating rotation with quaternion curves, for vectors of one length.
    White, Sampling generative networks, arXiv:1609.04468, recommends it for codes. For vectors of
    different lengths in nearly opposite directions, White's formula leaves the codes of the data.

    Args:
        a, b, shares: See `Vectors.go_between`.

    Returns:
        Float32 tensor of shape (batch, points, latent_dim).
    """
    lengths = [ops.sqrt(ops.sum(ops.square(v), axis=-1, keepdims=True)) for v in (a, b)]
    start, goal = _to_unit_length(a), _to_unit_length(b)
    # A vector of length 0 has the direction of the other one, so that the way is straight.
    start, goal = (
        ops.where(lengths[0] > 0.0, start, goal),
        ops.where(lengths[1] > 0.0, goal, start),
    )
    differences = [ops.sqrt(ops.sum(ops.square(v), -1, True)) for v in (goal - start, goal + start)]
    angle = 2.0 * ops.arctan2(*differences)
    # The axis on which the start has its smallest number is never parallel to the start.
    axis = ops.one_hot(backend.argmin(ops.abs(start)), a.shape[-1], dtype="float32")
    aside = [v - ops.sum(v * start, -1, True) * start for v in (goal, axis)]
    far = ops.sum(ops.square(aside[0]), axis=-1, keepdims=True) > 1e-10
    aside = _to_unit_length(ops.where(far, aside[0], aside[1]))
    angles, shares = angle[:, None] * shares[None, :, None], shares[None, :, None]
    directions = ops.cos(angles) * start[:, None] + ops.sin(angles) * aside[:, None]
    return ((1.0 - shares) * lengths[0][:, None] + shares * lengths[1][:, None]) * directions


def _to_unit_length(vectors):
    squares = ops.sum(ops.square(vectors), axis=-1, keepdims=True)
    return vectors / ops.sqrt(ops.maximum(squares, 1e-30))


@memory.explains("Pass fewer examples, or fewer steps.", converts=False)
@takes_inputs_of("encode", "decode")
def interpolate(
    self,
    a: Data,
    b: Data,
    steps: int = 10,
    spherical: bool = False,
    *,
    batch_size: int | None = None,
    verbose: Verbose = "auto",
    **inputs: Any,
) -> ArrayOrTensor:
    """Decode codes on the way from the code of one example to the code of another.

    The way is straight, or goes along a great circle. The codes of `HypersphericalVAE` and
    `PoincareVAE` go along the shortest way on the sphere and in the ball.

    Args:
        a, b: Two examples, or two batches of as many examples, as arrays or tensors. If one is a
            batch and the other one example, each way begins or ends at this example. They may also
            be dictionaries with named inputs of their own, with which they are encoded.
        steps: Number of codes on each way with both ends, an integer of at least 2. Defaults to 10.
        spherical: Whether the codes' directions go along a great circle, while their lengths change
            evenly. Codes on the way between typical draws of a Gaussian are then as long as typical
            draws (arXiv:1609.04468). Defaults to False.
        batch_size, verbose: See `sample`.
        **inputs: The named inputs that `encode` and `decode` take, with one value for all examples
            or one for each way. They may be left out if a and b contain the same ones.

    Returns:
        Array or tensor of shape (steps, ...), or (batch, steps, ...) if a or b is a batch.

    Raises:
        TypeError: If the model's codes are integers, or a named input is unknown or missing.
        ValueError: If the model has seen no data, or a and b do not fit each other.

    Example:

    >>> import numpy as np
    >>> from keras_ae import VAE
    >>> x = np.random.default_rng(0).integers(0, 2, (64, 8)).astype("float32")
    >>> model = VAE(latent_dim=2, seed=0)
    >>> model.build((None, 8))
    >>> model.interpolate(x[0], x[1], steps=5).shape
    (5, 8)
    >>> model.interpolate(x[:3], x[3:6], spherical=True).shape
    (3, 10, 8)
    """
    owner = f"{type(self).__name__}.interpolate"
    steps = arguments.integer(owner, "steps", steps, least=2)
    spherical = arguments.flag(owner, "spherical", spherical)
    if self._code_dtype != "float32":
        raise TypeError(
            f"{owner}: the codes of this model are integers, and no codes lie on the way from one "
            "to another. Use a model whose codes are vectors of real numbers, such as VAE."
        )
    require_built(self, "interpolate")
    ends = [_End(self, x, name) for x, name in ((a, "a"), (b, "b"))]
    has_tensors = any(end.has_tensors for end in ends)
    if has_tensors:
        for end in ends:  # An array cannot be encoded within a function that is being compiled.
            end.make_tensors()
    number = _find_number(owner, *ends)
    taken = {**examples.taken_by(self, self.encode), **examples.taken_by(self, self.decode)}
    examples.check_names(self, "interpolate", dict.fromkeys(taken, False), inputs)
    inputs = examples.rows(self, {k: v for k, v in inputs.items() if v is not None}, number)
    options = {"batch_size": batch_size, "verbose": verbose}
    codes = [
        self.encode(
            end.repeat_x(number),
            **examples.select(self, self.encode, {**inputs, **end.repeat_inputs(number)}),
            **options,
        )
        for end in ends
    ]
    codes = [ops.reshape(ops.convert_to_tensor(z), (number, -1)) for z in codes]
    shares = ops.convert_to_tensor(np.linspace(0.0, 1.0, steps, dtype="float32"))
    z = self._space.go_between(*codes, shares, spherical)
    # The computed ends are replaced, so that they are exactly the codes of a and b.
    z = ops.concatenate([codes[0][:, None], z[:, 1:-1], codes[1][:, None]], axis=1)
    z = ops.reshape(z, (number * steps, *self.code_shape))
    z = z if has_tensors else ops.convert_to_numpy(z)
    shared = {**_find_shared_inputs(self, owner, ends, inputs, number), **inputs}
    shared = examples.select(self, self.decode, shared)
    shared = {name: np.repeat(value, steps, axis=0) for name, value in shared.items()}
    result = self.decode(z, **shared, **options)
    shape = (steps,) if all(end.is_single for end in ends) else (number, steps)
    reshape = ops.reshape if has_tensors else np.reshape
    return examples.map_leaves(lambda v: reshape(v, (*shape, *v.shape[1:])), result)


class _End:
    """An end of the ways: a batch of examples, or one example.

    Args:
        model: The model.
        x: What the user passed.
        name: Name of the argument in errors.

    Attributes:
        x: Array, tensor, or dictionary of the modalities, with a batch axis.
        inputs: Dictionary of the named inputs that x had, as arrays with a batch axis.
        is_single: Whether x was one example without a batch axis.
        has_tensors: Whether x was a tensor, or a dictionary of tensors.
    """

    def __init__(self, model, x, name):
        x, found = take_apart(model, x, name)
        leaves = examples.leaves(x)
        self.has_tensors = all(map(ops.is_tensor, leaves))
        if not self.has_tensors:
            shape = None if model._modalities else model._data_shape
            allow_nan = model._allow_nan
            x = examples.map_leaves(lambda v: conversion.to_numpy(v, name, allow_nan, shape), x)
        shapes = model._data_shape if model._modalities else {None: model._data_shape}
        parts = x if model._modalities else {None: x}
        ranks = {len(v.shape) - len(shapes[key]) for key, v in parts.items()}
        if ranks not in ({0}, {1}):
            found = {key: tuple(v.shape) for key, v in parts.items()}
            raise ValueError(
                f"{type(model).__name__}.interpolate: {name} has the shape "
                f"{found if model._modalities else found[None]}. Pass one example, of shape "
                f"{model._data_shape}, or a batch of examples."
            )
        self.is_single = ranks == {0}
        found = {key: conversion.to_labels(value, key) for key, value in found.items()}
        if self.is_single:
            x = examples.map_leaves(lambda v: v[None], x)
            found = {key: np.asarray(value)[None] for key, value in found.items()}
        self.x, self.inputs = x, found

    def make_tensors(self):
        self.x = examples.map_leaves(lambda v: ops.convert_to_tensor(v, "float32"), self.x)
        self.has_tensors = True

    def repeat_x(self, number):
        return self._repeat(self.x, number)

    def repeat_inputs(self, number):
        return self._repeat(self.inputs, number)

    def _repeat(self, x, number):
        if not self.is_single:
            return x

        def repeat(v):
            return (np if isinstance(v, np.ndarray) else ops).repeat(v, number, axis=0)

        return examples.map_leaves(repeat, x)


def _find_number(owner, a, b):
    """Return the number of ways between two ends."""
    numbers = {len(examples.leaves(end.x)[0]) for end in (a, b) if not end.is_single} or {1}
    if len(numbers) > 1:
        raise ValueError(
            f"{owner}: a has {len(examples.leaves(a.x)[0])} examples, and b has "
            f"{len(examples.leaves(b.x)[0])}. Pass as many of both, or one example without a batch "
            "axis."
        )
    return numbers.pop()


def _find_shared_inputs(model, owner, ends, given, number):
    """Return the named inputs that both ends contain, unless the user passed them by keyword."""
    found = {}
    for name in examples.taken_by(model, model.decode):
        values = [end.repeat_inputs(number)[name] for end in ends if name in end.inputs]
        if name in given or len(values) < 2:
            continue
        if not np.array_equal(*values):
            raise ValueError(
                f"{owner}: a and b have different values of {name!r}. Pass {name}=..., with which "
                "all codes are decoded."
            )
        found[name] = values[0]
    return found
