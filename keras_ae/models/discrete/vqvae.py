"""Neural Discrete Representation Learning: van den Oord et al. 2017, arXiv:1711.00937."""

from keras_ae.models.discrete.base import VectorQuantizedAE


class VQVAE(VectorQuantizedAE):
    """An autoencoder that replaces every vector by the nearest embedding of a learned codebook.

    The model minimizes the reconstruction loss plus `commitment_weight` times the commitment loss,
    eq. 3. The embeddings are exponential moving averages (EMA) of the vectors (appendix A.1), or
    learn by the gradient of `codebook_loss`. `encode` returns code indices. `sample` decodes codes
    from a prior, which `fit_prior(x)` trains after `fit`.

    Args:
        latent_dim: Dimensions of each vector. Defaults to 16.
        num_codes: Number of embeddings in the codebook. Defaults to 256.
        commitment_weight: The paper's beta, a number of at least 0. Defaults to 0.25.
        learning: How the codebook learns, "ema" or "gradient". Defaults to "ema".
        decay, estimator, cosine, k_means_start, restart_below: See
            `keras_ae.layers.VectorQuantizer`.
        code_length: Number of code indices of an example whose features have no positions, such as
            a vector. Pictures and sequences have a code index at every position of their features.
            Defaults to 8.
        prior_options: Dictionary of options of the prior, which is a `keras_ae.layers.GridPrior`
            for pictures, and a `SequencePrior` otherwise. Defaults to None.
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
