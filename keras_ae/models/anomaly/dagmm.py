"""Deep autoencoding Gaussian mixture model: Zong et al. 2018, https://openreview.net/forum?id=BJJLHbb0-."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ae import losses
from keras_ae.core import arguments
from keras_ae.core.batching import batched
from keras_ae.core.examples import call, takes_inputs_of
from keras_ae.core.running_means import fading_rate, mix_variances, move, num_examples
from keras_ae.core.seeds import default_seed
from keras_ae.core.types import ArrayOrTensor, Data, Tensor
from keras_ae.models.anomaly.base import make_statistic, refuse_other_targets
from keras_ae.models.deterministic.ae import AE

# These are added to the variances of a component: a number, and a share of its mean variance. The
# condition of a covariance matrix of n rows is then at most 10,000 n, which float32 can factorize.
_LEAST_VARIANCE, _SHARE_OF_VARIANCE = 1e-3, 1e-4
# The stored mixture consists of running means, in which a batch has this share. It is larger than
# that of other running means, because the codes of before are those of another encoder.
_SHARE = 0.05
# Shorter vectors count as this long, because the features divide by lengths.
_LEAST_LENGTH = 1e-3


class DAGMM(AE):
    """An autoencoder and a Gaussian mixture of its codes and errors, which train each other.

    The mixture is one of vectors of latent_dim + 2 numbers: the code, the error of the
    reconstruction relative to the length of the example, and the cosine between the two. A small
    network, the estimator, tells to which component an example belongs. The mixture of a batch has
    the moments that follow from these memberships, eq. 5. `anomaly_score` is the energy, eq. 6:
    minus the log-density of the vector, in nats. The model minimizes the reconstruction loss,
    summed over an example's elements, plus energy_weight times the energy, plus covariance_weight
    times the sum of the inverse variances of all components, eq. 7.

    Scores, and losses in `evaluate`, come from a mixture that is stored with the weights. At the
    end of `fit` it is computed from all of the data, by one more pass. Before, and after a `fit`
    with a generator, which cannot be read again, it has the running moments of training: each batch
    has a weight of 5 %, and the first 20 batches have equal weights.

    Each component's variances are increased by 0.001 plus 1e-4 of their mean, so that no covariance
    matrix is singular, even if a batch has fewer examples than the vectors have dimensions.

    Args:
        latent_dim: Dimensions of the code. Defaults to 4.
        num_components: Number of Gaussians, a positive integer. Defaults to 4.
        hidden_units: Width of the estimator's hidden layer, a positive integer. Defaults to 10, as
            in the paper. It has tanh units, of which half are dropped in training.
        energy_weight: Factor lambda_1 of the energy, a number of at least 0. Defaults to 0.1.
        covariance_weight: Factor lambda_2 of the inverse variances, a number of at least 0.
            Defaults to 0.005.
        encoder, decoder, reconstruction_loss, network_options, seed, standardize: See
            `keras_ae.AE`. The paper has the squared error, the default. Sequences may not be
            padded.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> import numpy as np
    >>> from keras_ae import DAGMM
    >>> model = DAGMM(latent_dim=2, num_components=2, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> model.anomaly_score(x).shape, model.mixture()["covariances"].shape
    ((64,), (2, 4, 4))
    """

    objective = (*AE.objective, "energy_loss", "covariance_loss")
    _may_compare_examples = False

    def __init__(
        self,
        latent_dim: int = 4,
        num_components: int = 4,
        hidden_units: int = 10,
        energy_weight: float = 0.1,
        covariance_weight: float = 0.005,
        **kwargs: Any,
    ):
        super().__init__(latent_dim, **kwargs)
        self.num_components = arguments.integer(self, "num_components", num_components)
        self.hidden_units = arguments.integer(self, "hidden_units", hidden_units)
        self.energy_weight = arguments.number(self, "energy_weight", energy_weight)
        self.covariance_weight = arguments.number(self, "covariance_weight", covariance_weight)
        self.estimator = None

    def _build_networks(self, shape, target_shape):
        refuse_other_targets(self, shape, target_shape)
        super()._build_networks(shape, target_shape)
        width, dtype = self.latent_dim + 2, self.dtype_policy
        layers = [
            keras.Input((width,)),
            keras.layers.Dense(self.hidden_units, "tanh", dtype=dtype, name="estimator_dense"),
            keras.layers.Dropout(0.5, seed=default_seed(), dtype=dtype, name="estimator_dropout"),
            keras.layers.Dense(
                self.num_components, "softmax", dtype=dtype, name="estimator_output"
            ),
        ]
        self.estimator = keras.Sequential(layers, name="estimator")
        number = self.num_components
        identities = np.tile(np.eye(width), (number, 1, 1))
        self._shares = make_statistic(self, "shares", np.full(number, 1.0 / number))
        self._means = make_statistic(self, "means", np.zeros((number, width)))
        self._covariances = make_statistic(self, "covariances", identities)
        # Scores need the inverse factors, because functions that JAX exports cannot compute them.
        self._inverse_factors = make_statistic(self, "inverse_factors", identities)

    def _check_given(self):
        super()._check_given()
        if self._mask_value is not None and len(self._target_shape) > 1:
            raise ValueError(
                f"DAGMM: mask_value={self._mask_value!r} was set, but the mixture would read the "
                "errors of padded steps. Cut the sequences to one length, or use keras_ae.MemAE."
            )

    def mixture(self) -> dict[str, np.ndarray]:
        """Return the mixture of which scores are the energy. The model must be built.

        Returns:
            Dictionary of arrays: "weights" of shape (num_components,), whose sum is 1; "means" of
            shape (num_components, latent_dim + 2); and "covariances" of shape (num_components,
            latent_dim + 2, latent_dim + 2).
        """
        found = {"weights": self._shares, "means": self._means}
        found["covariances"] = _regularize(ops.convert_to_tensor(self._covariances))
        return {k: ops.convert_to_numpy(ops.convert_to_tensor(v)) for k, v in found.items()}

    def loss_weights(self) -> dict[str, Any]:
        return {"energy_loss": self.energy_weight, "covariance_loss": self.covariance_weight}

    @takes_inputs_of("_code", "decode")
    def loss_terms(self, x: Tensor, y: Tensor, training: bool, **inputs: Any) -> dict[str, Tensor]:
        z = call(self, self._code, x, training, inputs=inputs)
        if training:
            self._update_density(z, x, **inputs)
        output = call(self, self.decode, z, training=training, inputs=inputs)
        vectors = _join_features(x, z, output)
        if training:
            members = ops.cast(self.estimator(vectors, training=True), "float32")
            shares, means, covariances = _find_moments(vectors, members)
            self._update_mixture(vectors, shares, means, covariances)
            covariances = _regularize(covariances)
            mixture = (shares, means, _invert_factors(covariances))
        else:
            mixture = self._stored_mixture()
            covariances = _regularize(ops.convert_to_tensor(self._covariances))
        variances = ops.diagonal(covariances, axis1=-2, axis2=-1)
        return {
            "reconstruction_loss": losses.per_example(self.reconstruction_loss, y, output),
            "energy_loss": _energy(vectors, *mixture),
            "covariance_loss": ops.sum(1.0 / variances),
        }

    @batched("data", "fit", returns_data=False)
    @takes_inputs_of("_code", "decode")
    def _join_members(self, x, **inputs):
        """Compute the vectors of examples and their memberships: (batch, width + components)."""
        z = call(self, self._code, x, inputs=inputs)
        vectors = _join_features(x, z, call(self, self.decode, z, inputs=inputs))
        members = ops.cast(self.estimator(vectors, training=False), "float32")
        return ops.concatenate([vectors, members], axis=-1)

    def _finish_training(self, passes):
        if not passes.can_repeat():
            return
        number, width = 0, self.latent_dim + 2
        totals = sums = squares = 0.0
        for x, inputs in passes:
            rows = self._join_members(x, verbose=0, **inputs).astype("float64")
            vectors, members = rows[:, :width], rows[:, width:]
            number, totals = number + len(rows), totals + members.sum(axis=0)
            sums = sums + members.T @ vectors
            squares = squares + np.einsum("bc,bi,bj->cij", members, vectors, vectors)
        counts = np.maximum(totals, 1e-12)[:, None]
        means = sums / counts
        covariances = squares / counts[..., None] - means[:, :, None] * means[:, None, :]
        self._shares.assign(totals / number)
        self._means.assign(means)
        self._covariances.assign(covariances)
        factors = _invert_factors(_regularize(ops.convert_to_tensor(self._covariances)))
        self._inverse_factors.assign(factors)

    def _stored_mixture(self):
        return map(ops.convert_to_tensor, (self._shares, self._means, self._inverse_factors))

    def _update_mixture(self, vectors, *moments):
        """Add the moments of a batch to the stored mixture."""
        shares, means, covariances = map(ops.stop_gradient, moments)
        rate = fading_rate(ops.cast(self._step, "float32"), vectors, _SHARE)
        total = move(ops.convert_to_tensor(self._shares), shares, rate)
        part = (rate * shares / ops.maximum(total, 1e-12))[:, None]
        shift = means - self._means
        product = shift[:, :, None] * shift[:, None, :]
        before = ops.convert_to_tensor(self._covariances)
        mixed = mix_variances(before, covariances, product, part[:, :, None])
        self._covariances.assign(mixed)
        self._inverse_factors.assign(_invert_factors(_regularize(mixed)))
        self._means.assign(move(self._means, means, part))
        self._shares.assign(total)

    @batched("data")
    @takes_inputs_of("_code", "decode")
    def anomaly_score(self, x: Data, **inputs: Any) -> ArrayOrTensor:
        """Compute the energy of every example, in nats; high is anomalous.

        Args:
            x: Array or tensor of shape (batch, ...), or a stream of them as in `fit`.
            **inputs: The model's named inputs, one row for each example.

        Returns:
            Array or tensor of shape (batch,), float32.
        """
        z = call(self, self._code, x, inputs=inputs)
        vectors = _join_features(x, z, call(self, self.decode, z, inputs=inputs))
        return _energy(vectors, *self._stored_mixture())


def _join_features(x, z, output):
    """Join codes, relative Euclidean distances and cosines, section 3.2: (batch, width + 2)."""
    x, output = (ops.reshape(v, (-1, math.prod(v.shape[1:]))) for v in (x, output))
    error, length, length_of_output = map(_find_length, (x - output, x, output))
    cosine = ops.sum(x * output, axis=-1, keepdims=True) / (length * length_of_output)
    return ops.concatenate([z, error / length, cosine], axis=-1)


def _find_length(vectors):
    squares = ops.sum(ops.square(vectors), axis=-1, keepdims=True)
    return ops.sqrt(ops.maximum(squares, _LEAST_LENGTH**2))


def _find_moments(vectors, members):
    """Compute the mixture that follows from memberships, eq. 5.

    Args:
        vectors: Tensor of shape (batch, width).
        members: Tensor of shape (batch, components), whose rows have the sum 1.

    Returns:
        Weights (components,), means (components, width), and covariances (components, width,
        width).
    """
    totals = ops.sum(members, axis=0)
    parts = ops.transpose(members / ops.maximum(totals, 1e-12))  # Rows have the sum 1.
    means = ops.matmul(parts, vectors)
    centered = vectors[None] - means[:, None]
    covariances = ops.matmul(ops.transpose(centered, (0, 2, 1)), parts[:, :, None] * centered)
    return totals / ops.maximum(num_examples(vectors), 1.0), means, covariances


def _regularize(covariances):
    width = covariances.shape[-1]
    mean = ops.trace(covariances, axis1=-2, axis2=-1)[:, None, None] / width
    return covariances + (_LEAST_VARIANCE + _SHARE_OF_VARIANCE * mean) * ops.eye(width)


def _invert_factors(covariances):
    """Compute the inverses of the lower Cholesky factors of matrices (components, n, n).

    Those of a matrix that is not finite are NaN, where some backends would raise an error.
    """
    identity = ops.zeros_like(covariances) + ops.eye(covariances.shape[-1])
    is_finite = ops.all(ops.isfinite(covariances), axis=(1, 2), keepdims=True)
    factors = ops.cholesky(ops.where(is_finite, covariances, identity))
    inverses = ops.linalg.solve_triangular(factors, identity, lower=True)
    return ops.where(is_finite, inverses, float("nan"))


def _energy(vectors, shares, means, inverse_factors):
    """Compute minus the log-density of vectors in a mixture, eq. 6, shape (batch,)."""
    centered = vectors[:, None] - means  # (batch, components, width)
    scaled = ops.einsum("bcj,cij->bci", centered, inverse_factors)
    logs = ops.log(ops.diagonal(inverse_factors, axis1=-2, axis2=-1))
    constant = ops.sum(logs, axis=-1) - 0.5 * vectors.shape[-1] * math.log(2.0 * math.pi)
    logs = ops.log(ops.maximum(shares, 1e-12)) + constant
    return -ops.logsumexp(logs - 0.5 * ops.sum(ops.square(scaled), axis=-1), axis=-1)
