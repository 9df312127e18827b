"""Language Model Beats Diffusion: Yu et al. 2023, arXiv:2310.05737: lookup-free quantization."""

import math
from typing import Any

from keras_ae.core import arguments
from keras_ae.layers import LookupFreeQuantizer
from keras_ae.layers.scalar_quantizers import check_num_codes
from keras_ae.models.discrete.base import DiscreteAE


class LFQVAE(DiscreteAE):
    """An autoencoder whose vectors are reduced to signs: 2 ** latent_dim codes, and no codebook.

    The model has the quantizer of section 3.1 between networks of this package. It minimizes the
    reconstruction loss plus `entropy_weight` times the entropy penalty plus `commitment_weight`
    times the commitment loss. The entropy penalty makes the code of each vector certain and all
    codes equally frequent. `encode` returns code indices. `sample` decodes codes from a prior,
    which `fit_prior(x)` trains after `fit`.

    Args:
        latent_dim: Number of signs of each vector. Defaults to 8, for 256 codes.
        entropy_weight: Factor of the entropy penalty, a number of at least 0. Defaults to 0.1.
        commitment_weight: Factor of the commitment loss, a number of at least 0. Defaults to 0.25.
        temperature: Temperature of the soft assignment of vectors to codes whose entropy is
            penalized, a positive number. Defaults to 1.
        code_length, prior_options: See `keras_ae.VQVAE`.
        encoder, decoder, reconstruction_loss, network_options, seed: See `keras_ae.VQVAE`.

    Example:

    >>> import numpy as np
    >>> from keras_ae import LFQVAE
    >>> model = LFQVAE(latent_dim=3, code_length=2, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).random((64, 8), "float32")
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> model.encode(x).shape, model.num_codes, sorted(history.history)[1:3]
    ((64, 2), 8, ['commitment_loss', 'entropy_loss'])
    """

    objective = (*DiscreteAE.objective, "commitment_loss", "entropy_loss")

    def __init__(
        self,
        latent_dim: int = 8,
        entropy_weight: float = 0.1,
        commitment_weight: float = 0.25,
        temperature: float = 1.0,
        **kwargs: Any,
    ):
        super().__init__(latent_dim, **kwargs)
        check_num_codes(self, (2,), self.latent_dim)
        self.entropy_weight = arguments.number(self, "entropy_weight", entropy_weight)
        self.commitment_weight = arguments.number(self, "commitment_weight", commitment_weight)
        self.temperature = arguments.number(
            self, "temperature", temperature, positive=True, fixed=True
        )

    def _make_quantizer(self):
        return LookupFreeQuantizer(self.latent_dim, self.temperature, name="quantizer")

    def _step_numbers(self, batch_size):
        # The entropy of the average has a number for each code of each group of signs.
        group = min(self.quantizer.group, self.latent_dim)
        codes = math.ceil(self.latent_dim / group) * 2**group
        places = batch_size * math.prod(self._places)
        return super()._step_numbers(batch_size) + 1.5 * places * codes

    def loss_weights(self) -> dict[str, Any]:
        return {"commitment_loss": self.commitment_weight, "entropy_loss": self.entropy_weight}
