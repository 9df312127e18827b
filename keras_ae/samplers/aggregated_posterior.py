"""The posterior averaged over the data."""

import keras

from keras_ae.samplers.stored_codes import StoredCodes


@keras.saving.register_keras_serializable("keras_ae")
class AggregatedPosterior(StoredCodes):
    """Draws one of the stored codes, which were drawn from the posteriors of the data.

    Its samples are decoded codes of data, and thus show how good samples would be if the sampler
    were perfect. Samples of an autoencoder without a posterior are reconstructions.

    Source: Makhzani et al., Adversarial Autoencoders, eq. 1, arXiv:1511.05644.

    Args:
        num_codes: Number of codes that are stored, a positive integer. Defaults to 10,000.
        **kwargs: `name`.

    Example:
        >>> import numpy as np
        >>> from keras_ae.samplers import AggregatedPosterior
        >>> codes = np.random.default_rng(0).normal(size=(200, 3))
        >>> AggregatedPosterior().fit(codes).draw(5, seed=0).shape
        (5, 3)
    """

    _has_noise = False

    def _find_widths(self, stored):
        return 0.0
