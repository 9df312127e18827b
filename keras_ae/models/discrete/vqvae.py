"""Neural Discrete Representation Learning: van den Oord et al. 2017, arXiv:1711.00937."""

from keras_ae.models.discrete.base import VectorQuantizedAE


class VQVAE(VectorQuantizedAE):
    """Every vector of the encoder's map replaced by the nearest one of a learned codebook.

    Minimises the reconstruction loss plus `commitment_weight` times the commitment loss, eq. 3; the
    codebook is a running mean of the vectors (appendix A.1), or learns by the gradient of
    `codebook_loss`. `encode` gives integers. `sample` decodes codes from a prior that
    `fit_prior(x)` trains when `fit` is done.

    Args:
        latent_dim: Numbers of each vector. Defaults to 16.
        num_codes: Vectors of the codebook. Defaults to 256.
        commitment_weight: The paper's beta, a number of at least 0. Defaults to 0.25.
        learning: How the codebook learns, "ema" or "gradient". Defaults to "ema".
        decay, estimator, cosine, k_means_start, restart_below: See
            `keras_ae.layers.VectorQuantizer`.
        code_length: Codes of an example whose features have no places, such as a vector's. Those
            of pictures and of sequences have one code at every place. Defaults to 8.
        prior_options: Dictionary of options of the prior, a `keras_ae.layers.GridPrior` over the
            codes of a picture, a `SequencePrior` over any other. Defaults to None.
        encoder, decoder, reconstruction_loss, network_options, seed: See `keras_ae.AE`. An encoder
            of your own ends in features (batch, features) or in a map (batch, ..., features), and a
            decoder takes (batch, code_length * latent_dim) or (batch, ..., latent_dim).

    Example:

    >>> import numpy as np
    >>> from keras_ae import VQVAE
    >>> model = VQVAE(latent_dim=4, num_codes=8, code_length=3, prior_options={"units": 8}, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).random((64, 8), "float32")
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> codes = model.encode(x)
    >>> codes.shape, codes.dtype.name, model.decode(codes).shape
    ((64, 3), 'int32', (64, 8))
    >>> history = model.fit_prior(x, epochs=1, verbose=0)
    >>> model.sample(3, seed=0).shape, model.prior_log_likelihood(x).shape
    ((3, 8), (64,))
    """
