"""A geometry-based VAE: Chadebec, Thibeau-Sutre, Burgos, Allassonnière 2021, arXiv:2105.00026."""

from typing import Any

import keras
from keras import ops

from keras_ae.core import arguments, backend, memory
from keras_ae.core.seeds import RunSeed
from keras_ae.core.types import Tensor
from keras_ae.hamiltonian import LearnedMetric
from keras_ae.models.geometric.hamiltonian_vae import HamiltonianVAE


class RiemannianHamiltonianVAE(HamiltonianVAE):
    """A Hamiltonian VAE whose codes live on a manifold with a learned metric.

    The inverse metric at z, eq. 7, is the sum of L_i L_i' exp(-|z - c_i|^2 / T^2) over the most
    recent training examples, plus a multiple of the identity. c_i are the examples' codes, and L_i
    are lower triangular matrices from a layer on the encoder's features. Momenta are drawn with the
    metric as covariance and moved by the generalized leapfrog, eq. 5. Its implicit equations are
    solved by iteration. If 30 iterations do not solve them, or if the reversed step does not lead
    back to the start, the step is not taken: see `keras_ae.HamiltonianVAE`. Steps that are too long
    for the metric therefore move codes little, and `max_step_size` keeps steps short, as in the
    paper.

    `sample` walks on the manifold by Hamiltonian Monte Carlo, starting at the codes of these
    examples. The target density is proportional to the square root of the determinant of the
    inverse metric, section 4. Because its integral over all codes is infinite, the paper restricts
    it to a compact set. Here this set is the codes within three temperatures of an example's code,
    and walks stay inside it.

    Args:
        latent_dim: Dimensions of the code. A step's time grows with its square. Defaults to 16.
        num_steps, step_size, max_step_size, tempering: See `keras_ae.HamiltonianVAE`.
        num_anchors: Number of examples that span the metric, a positive integer. Defaults to 100.
        temperature: The paper's T, a positive number. Defaults to 1.5.
        regularization: Factor of the identity, a positive number. Defaults to 0.01.
        walk_steps: Steps of a walk in `sample`, a positive integer. Defaults to 100.
        encoder, decoder, likelihood, kl_weight, network_options, seed: See `keras_ae.VAE`.
        free_bits: Nats of the whole code that are exempt from the penalty. Defaults to 0.

    Example:

    >>> import numpy as np
    >>> from keras_ae import RiemannianHamiltonianVAE
    >>> model = RiemannianHamiltonianVAE(latent_dim=2, num_steps=1, walk_steps=5, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).integers(0, 2, (64, 8)).astype("float32")
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> model.sample(3, seed=0).shape
    (3, 8)
    """

    _old_arguments = {"regularisation": "regularization"}

    def __init__(
        self,
        latent_dim: int = 16,
        num_steps: int = 3,
        num_anchors: int = 100,
        temperature: float = 1.5,
        regularization: float = 0.01,
        walk_steps: int = 100,
        **kwargs: Any,
    ):
        super().__init__(latent_dim, num_steps, **kwargs)
        self.num_anchors = arguments.integer(self, "num_anchors", num_anchors)
        self.walk_steps = arguments.integer(self, "walk_steps", walk_steps)
        for name, value in (("temperature", temperature), ("regularization", regularization)):
            setattr(self, name, arguments.number(self, name, value, positive=True))
        self.anchors = self.features_to_metric = None

    def _build_networks(self, shape, target_shape):
        memory.refuse_layers("RiemannianHamiltonianVAE", "latent_dim", self.latent_dim)
        super()._build_networks(shape, target_shape)
        dtype, size = self.dtype_policy, self.latent_dim
        self.features_to_metric = keras.Sequential(
            [
                keras.layers.Flatten(dtype=dtype, name="metric_flatten"),
                keras.layers.Dense(size * size, dtype=dtype, name="metric"),
            ],
            name="features_to_metric",
        )
        self.features_to_metric(self.encoder(keras.KerasTensor((None, *shape))))
        self.anchors = self.add_weight(
            shape=(self.num_anchors, *shape),
            initializer="zeros",
            dtype="float32",
            trainable=False,
            aggregation="only_first_replica",
            name="anchors",
        )

    def _step_numbers(self, batch_size):
        # Each anchor has matrices, and so has each example. Each iteration of a step pairs all
        # examples with all anchors.
        matrices = (3 * self.num_anchors + 4 * batch_size) * self.latent_dim**2
        pairs = batch_size * self.num_anchors * self.latent_dim
        return super()._step_numbers(batch_size) + matrices + 30 * self.num_steps * pairs

    def _metric(self, training=False):
        """Return the space whose metric the anchors span."""
        features = self.encoder(ops.convert_to_tensor(self.anchors), training=training)
        codes = ops.split(self.features_to_code(features, training=training), 2, axis=-1)[0]
        size = self.latent_dim
        square = ops.cast(self.features_to_metric(features, training=training), "float32")
        square = ops.reshape(square, (-1, size, size))
        eye = ops.eye(size, dtype="float32")
        # The exponential keeps the diagonals positive, and the limits keep their squares finite.
        lower = ops.tril(square, k=-1) + eye * ops.exp(ops.clip(square, -6.0, 6.0))
        matrices = ops.matmul(lower, ops.transpose(lower, (0, 2, 1)))
        return LearnedMetric(codes, matrices, self.temperature, self.regularization)

    def loss_terms(self, x: Tensor, y: Tensor, training: bool) -> dict[str, Tensor]:
        if training:
            recent = ops.concatenate([x, self.anchors])[: self.num_anchors]
            self.anchors.assign(ops.reshape(recent, self.anchors.shape))
        return super().loss_terms(x, y, training)

    def _draw_prior(self, num_samples, seed):
        if not isinstance(seed, RunSeed):
            seed = RunSeed(seed.next())
        uniform = keras.random.uniform((num_samples,), dtype="float32", seed=seed)
        anchor = ops.cast(uniform * self.num_anchors, "int32")
        return backend.program(self, self._walk)(anchor, seed.pair)

    def _walk(self, anchor, pair):
        """Walk from the codes of the anchors with these numbers, and return the final codes."""
        metric = self._metric()
        start = ops.take(metric.codes, ops.minimum(anchor, self.num_anchors - 1), axis=0)
        return metric.walk(start, self.walk_steps, RunSeed(pair))
