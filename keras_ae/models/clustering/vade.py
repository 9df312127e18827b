"""Variational deep embedding: Jiang et al. 2017, arXiv:1611.05148."""

import warnings
from typing import Any

import numpy as np
from keras import ops

from keras_ae.core import arguments, seeds
from keras_ae.core.types import Tensor, Verbose
from keras_ae.distributions import DiagonalGaussian, WeightedGaussians
from keras_ae.models.clustering.base import Clustering, make_state
from keras_ae.models.variational.vae import VAE

# When the clusters start, posteriors have this share of the mean variance of the components, and
# the variances of components are increased by the other share of the codes' mean variance.
_SHARE_OF_POSTERIOR, _SHARE_OF_VARIANCE = 0.1, 1e-3
_LEAST_VARIANCE = 1e-6


class VaDE(Clustering, VAE):
    """A VAE whose prior is a mixture of Gaussians, each of which is a cluster.

    A cluster c is drawn with the probability pi_c, a code z from the Gaussian of the cluster, and
    the data from p(x | z). `kl_loss` is the divergence of q(z | x) q(c | x) from p(c) p(z | c),
    eq. 12, in which the sum over the clusters is exact. q(c | x) is p(c | z) at the code z that was
    drawn, eq. 16, so that in expectation the sum of both losses is a negative lower bound of
    log p(x).

    From untrained weights most clusters would stay empty. Therefore the first `pretraining_steps`
    steps train an autoencoder, which decodes the posterior's mean and has no divergence. `evaluate`
    decodes draws and has the divergence at any time, so that it reports a bound. Then a mixture
    with diagonal covariances is fitted to the codes of all data by scikit-learn, which ends at the
    best of five starts, and all weights minimize the negative bound from then on. The posteriors
    begin with a tenth of the variance within the clusters. All of this is part of `fit`, and the
    weights hold where the training is: several calls of `fit` train like one, and a training that
    was killed resumes. If `fit` ends before the pre-training does, it fits a mixture to the codes
    at its end.

    The clusters that are found depend on the seed. The paper reports the best of ten runs.

    Args:
        latent_dim: Dimensions of the code. Defaults to 10, as in the paper.
        num_clusters: Number of clusters, a positive integer. Defaults to 10.
        pretraining_steps: Number of training steps before the clusters start, an integer of at
            least 0. Defaults to 2,000.
        encoder, decoder, likelihood, kl_weight, network_options, seed, standardize: See
            `keras_ae.VAE`. The paper's networks are those of `encoder="mlp", decoder="mlp",
            network_options={"units": (500, 500, 2000)}`.
        free_bits: Nats of the whole code that are exempt from the penalty. Defaults to 0.

    Raises:
        ValueError: If an argument is out of range; in `fit`, if there are fewer examples than
            clusters, or the data is a generator, which cannot be read again.

    Example:

    >>> import numpy as np
    >>> from keras_ae import VaDE
    >>> x = np.random.default_rng(0).integers(0, 2, (64, 8)).astype("float32")
    >>> model = VaDE(latent_dim=2, num_clusters=2, pretraining_steps=20, seed=0)
    >>> model.compile("adam")
    >>> history = model.fit(x, epochs=20, verbose=0)
    >>> model.cluster(x).shape, model.cluster_probabilities(x).shape
    ((64,), (64, 2))
    >>> model.sample(3, seed=0).shape, model.sample(3, seed=0, cluster=1).shape
    ((3, 8), (3, 8))
    """

    def __init__(
        self,
        latent_dim: int = 10,
        num_clusters: int = 10,
        pretraining_steps: int = 2000,
        **kwargs: Any,
    ):
        super().__init__(latent_dim, **kwargs)
        self._check_arguments(num_clusters, pretraining_steps)

    def _build_networks(self, shape, target_shape):
        super()._build_networks(shape, target_shape)
        # Until they are trained, the log-variances of posteriors are the offset.
        kernel = self.features_to_code.layers[-1].kernel
        is_mean = ops.arange(self._code_width()) < self.latent_dim
        kernel.assign(ops.where(is_mean, ops.convert_to_tensor(kernel), 0.0))
        number, width = self.num_clusters, self.latent_dim
        self._offset = make_state(self, "offset", (width,))
        self._starts, self._moves = [], []
        for name, each in (("logits", ()), ("means", (width,)), ("log_variances", (width,))):
            shape = (number, *each)
            self._starts.append(make_state(self, f"start_of_{name}", shape))
            options = {"initializer": "zeros", "dtype": "float32", "name": f"moves_of_{name}"}
            self._moves.append(self.add_weight(shape=shape, **options))

    def _step_numbers(self, batch_size):
        # Each draw is paired with each component.
        return 4 * batch_size * self.num_clusters * self.latent_dim

    # ------------------------------------------------------------------ distributions

    def posterior(self, x: Tensor, training: bool = False) -> DiagonalGaussian:
        q = super().posterior(x, training)
        return DiagonalGaussian(q.mean, q.log_variance + ops.convert_to_tensor(self._offset))

    def prior(self, like: Tensor | None = None) -> WeightedGaussians:
        """Make p(z), a `keras_ae.distributions.WeightedGaussians` of num_clusters components."""
        pairs = zip(self._starts, self._moves, strict=True)
        return WeightedGaussians(*(ops.convert_to_tensor(s) + m for s, m in pairs))

    @property
    def centers(self) -> np.ndarray:
        """The means of the clusters' Gaussians, an array of shape (num_clusters, latent_dim).

        The model must be built.
        """
        return ops.convert_to_numpy(self.prior().mean)

    def _draw_prior(self, num_samples, seed, cluster=None):
        return self.prior().sample(num_samples, seed, cluster)

    def _log_cluster_probabilities(self, x):
        return self.prior().log_memberships(self.posterior(x).mean)

    # ------------------------------------------------------------------ training

    def _start_clusters(self, passes):
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture

        codes = self._find_codes(passes)
        options = {
            "covariance_type": "diag",
            "n_init": 5,
            "reg_covar": _SHARE_OF_VARIANCE * np.mean(np.var(codes, axis=0)) + _LEAST_VARIANCE,
            "random_state": seeds.order_seed(self) % 2**32,
        }
        with warnings.catch_warnings():
            # A mixture whose likelihood still rises a little is good enough to start with.
            warnings.simplefilter("ignore", ConvergenceWarning)
            found = GaussianMixture(self.num_clusters, **options).fit(codes)
        log_weights = np.log(np.maximum(found.weights_, 1e-12))
        values = (log_weights, found.means_, np.log(found.covariances_))
        for start, value in zip(self._starts, values, strict=True):
            start.assign(value)
        within = found.weights_ @ found.covariances_
        self._offset.assign(np.log(_SHARE_OF_POSTERIOR * within))

    def loss_weights(self) -> dict[str, Any]:
        weights = super().loss_weights()
        is_clustering = ops.cast(self._is_clustering(), "float32")
        return {name: is_clustering * weight for name, weight in weights.items()}

    def loss_terms(self, x: Tensor, y: Tensor, training: bool) -> dict[str, Tensor]:
        q, prior = self.posterior(x, training), self.prior()
        z = q.sample(self.step_seed(training))
        if training:
            z = ops.where(self._is_clustering(), z, q.mean)
        divergence = prior.divergence_of(q, prior.log_memberships(z))
        return self.elbo_terms(y, z, divergence[:, None], training)

    # ------------------------------------------------------------------ calls

    def sample(
        self,
        num_samples: int,
        seed: int | None = None,
        cluster: int | None = None,
        *,
        batch_size: int | None = None,
        verbose: Verbose = "auto",
    ) -> np.ndarray:
        """Draw new data from the model, or from one of its clusters.

        Args:
            num_samples: Number of examples, a positive integer.
            seed: Integer that makes the draw repeatable. Defaults to None, a new draw in each call.
            cluster: The cluster of all samples, an integer from 0 to num_clusters - 1. Defaults to
                None, which draws each sample's cluster with the probabilities of the clusters.
            batch_size: Number of examples decoded at once. Defaults to a number that fits in
                memory.
            verbose: 0, 1 or "auto" (a progress bar after two seconds). Defaults to "auto".

        Returns:
            Array of shape (num_samples, ...), float32.

        Raises:
            ValueError: If num_samples is not a positive integer, the cluster is out of range, or
                `fit_sampler` has replaced the prior, which has the clusters.
        """
        if cluster is None:
            return self._sample(num_samples, seed, batch_size, verbose)
        cluster = arguments.integer("sample", "cluster", cluster, 0, self.num_clusters - 1)
        if self._fitted_sampler is not None:
            raise ValueError(
                f"sample: cluster={cluster} needs the model's prior, but fit_sampler has replaced "
                'it. Call fit_sampler(sampler="own") first, or leave cluster out.'
            )
        return self._sample(num_samples, seed, batch_size, verbose, cluster=cluster)
