"""Sparse autoencoders: Ng 2011, https://web.stanford.edu/class/cs294a/sparseAutoencoder.pdf."""

from typing import Any

from keras import ops

from keras_ae.core import arguments
from keras_ae.core.configuration import refuse_unused
from keras_ae.core.types import Tensor
from keras_ae.divergences import bernoulli_kl
from keras_ae.models.deterministic.ae import AE

# The default weight of each penalty. "l1" needs a smaller one, because with a weight of 1 all units
# become 0 for all data.
_WEIGHTS = {"kl": 10.0, "l1": 0.15}


class SparseAE(AE):
    """An autoencoder whose code has few active units.

    The model minimizes the reconstruction loss plus weight times a penalty on activity. With "kl"
    the code ends in a sigmoid, and the penalty is that of section 3: the sum over the units of the
    divergence between the target and the unit's mean activation, here over the batch. With "l1" the
    code ends in a ReLU, and the penalty is its sum. The units then begin with a bias of 1, because
    a unit that is 0 for all data gets no gradient.

    Args:
        latent_dim: Number of units of the code. Defaults to 16.
        penalty: "kl" or "l1". Defaults to "kl".
        target: Mean activation of every unit that "kl" aims at, a number above 0 and below 1.
            Defaults to 0.05.
        weight: Factor of the penalty, a number of at least 0. Defaults to None: 10 for "kl", and
            0.15 for "l1".
        encoder, decoder, reconstruction_loss, network_options, seed: See `keras_ae.AE`.

    Example:

    >>> import numpy as np
    >>> from keras_ae import SparseAE
    >>> model = SparseAE(latent_dim=8, target=0.1, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).random((64, 8), "float32")
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> sorted(history.history)
    ['loss', 'mean_activation', 'reconstruction_loss', 'sparsity_loss']
    """

    objective = (*AE.objective, "sparsity_loss")
    diagnostics = ("mean_activation",)

    def __init__(
        self,
        latent_dim: int = 16,
        penalty: str = "kl",
        target: float = 0.05,
        weight: float | None = None,
        **kwargs: Any,
    ):
        super().__init__(latent_dim, **kwargs)
        self.penalty = arguments.choice(self, "penalty", penalty, ("kl", "l1"))
        self.target = arguments.number(self, "target", target, positive=True, below=1.0)
        weight = _WEIGHTS[penalty] if weight is None else weight
        self.weight = arguments.number(self, "weight", weight)
        self._code_activation = "sigmoid" if penalty == "kl" else "relu"

    def _build_networks(self, shape, target_shape):
        super()._build_networks(shape, target_shape)
        if self.penalty == "l1":
            self.features_to_code.layers[-1].bias.assign(ops.ones(self.latent_dim))

    def _check_given(self):
        super()._check_given()
        if self.penalty == "l1":
            refuse_unused(self, "target", 'penalty="l1" has no target')

    def loss_weights(self) -> dict[str, Any]:
        return {"sparsity_loss": self.weight}

    def loss_terms(self, x: Tensor, y: Tensor, training: bool) -> dict[str, Tensor]:
        z = self._code(x, training)
        if self.penalty == "kl":
            sparsity = ops.sum(bernoulli_kl(self.target, ops.mean(z, axis=0)))
        else:
            sparsity = ops.sum(z, axis=-1)
        return {
            **self._reconstruction_terms(y, z, training, x),
            "sparsity_loss": sparsity,
            "mean_activation": ops.mean(z, axis=-1),
        }
