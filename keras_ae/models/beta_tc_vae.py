"""Isolating Sources of Disentanglement in VAEs: Chen et al. 2018, arXiv:1802.04942."""

from keras import ops

from keras_ae import arguments
from keras_ae.divergences import aggregate_log_densities
from keras_ae.models.vae import VAE


class BetaTCVAE(VAE):
    """Minimises eq. 4: the divergence split in three, of which the total correlation weighs beta.

    `mi_loss` is the mutual information of code and example, `tc_loss` the total correlation of the
    code's dimensions, `dimension_kl_loss` their divergence from the prior: eq. 2. They are
    estimated from one draw and sum to its log q(z | x) - log p(z) exactly.

    Args:
        latent_dim: Dimensions of the code. Defaults to 16.
        beta: Factor of the total correlation, a number of at least 0. Defaults to 6.
        alpha: Factor of the mutual information, a number of at least 0. Defaults to 1.
        gamma: Factor of the dimension-wise divergence, a number of at least 0. Defaults to 1.
        estimator: How q(z) is estimated from a batch, `"weighted"` or `"stratified"`: see
            `keras_ae.divergences.aggregate_log_densities`. Defaults to "weighted".
        dataset_size: Number N of training examples, a positive integer. It shifts the values of
            the three parts and, for "weighted", no gradient. Defaults to None, the batch size.
        encoder, decoder, likelihood, kl_weight, network_options, seed: See `keras_ae.VAE`. There
            are no `free_bits`: `kl_loss` is not minimised as a whole.

    Example:

    >>> import numpy as np
    >>> from keras_ae import BetaTCVAE
    >>> model = BetaTCVAE(latent_dim=2, beta=4.0, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).integers(0, 2, (64, 8)).astype("float32")
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> sorted(history.history)
    ['dimension_kl_loss', 'kl_loss', 'loss', 'mi_loss', 'reconstruction_loss', 'tc_loss']
    """

    objective = ("reconstruction_loss", "mi_loss", "tc_loss", "dimension_kl_loss")
    diagnostics = ("kl_loss",)

    def __init__(
        self,
        latent_dim=16,
        beta=6.0,
        alpha=1.0,
        gamma=1.0,
        estimator="weighted",
        dataset_size=None,
        **kwargs,
    ):
        super().__init__(latent_dim, **kwargs)
        self.beta = arguments.number(self, "beta", beta)
        self.alpha = arguments.number(self, "alpha", alpha)
        self.gamma = arguments.number(self, "gamma", gamma)
        self.estimator = arguments.choice(self, "estimator", estimator, ("weighted", "stratified"))
        if dataset_size is not None:
            arguments.integer(self, "dataset_size", dataset_size)
        self.dataset_size = dataset_size

    def loss_weights(self):
        weight = self.current_kl_weight()
        factors = {
            "mi_loss": self.alpha,
            "tc_loss": self.beta,
            "dimension_kl_loss": self.gamma,
        }
        return {name: factor * weight for name, factor in factors.items()}

    def loss_terms(self, x, y, training):
        q = self.posterior(x, training)
        z = q.sample(self.step_seed(training))
        joint, each = aggregate_log_densities(z, q, self.dataset_size, self.estimator)
        product = ops.sum(each, axis=-1)  # (batch,)
        return {
            **self.elbo_terms(y, z, q.kl_per_dimension(), training),
            "mi_loss": q.log_prob(z) - joint,
            "tc_loss": joint - product,
            "dimension_kl_loss": product - self.prior(z).log_prob(z),
        }
