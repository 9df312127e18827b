"""Pure functions behind the terms that compare two distributions through their samples."""

import keras
from keras import ops


def permute_dims(z, seed):
    """Shuffle every latent dimension across the batch, independently of the others.

    Turns draws of an aggregate posterior q(z) into draws of the product of its marginals.

    Source: Kim and Mnih, Disentangling by Factorising, algorithm 1, arXiv:1802.05983.

    Args:
        z: Tensor of shape (batch, latent_dim).
        seed: Integer or `keras.random.SeedGenerator`.

    Returns:
        Tensor of z's shape and dtype; every column holds the same values as z's, reordered.

    Example:
        >>> import numpy as np
        >>> permute_dims(np.arange(20.0).reshape(10, 2), seed=0).shape == (10, 2)
        True
    """
    # The ranks of independent uniform numbers are a uniformly drawn permutation.
    uniform = keras.random.uniform(ops.shape(z), dtype="float32", seed=seed)
    return ops.take_along_axis(z, ops.argsort(uniform, axis=0), axis=0)


def softmax_loss(logits, label):
    """Cross-entropy of one class that all examples share, in nats.

    A discriminator's loss in the density-ratio trick: label 0 for draws of one distribution,
    label 1 for those of the other.

    Source: Kim and Mnih, Disentangling by Factorising, section 3, arXiv:1802.05983.

    Args:
        logits: Tensor of shape (batch, 2).
        label: 0 or 1, the class that every row belongs to.

    Returns:
        Float32 tensor of shape (batch,), non-negative.

    Example:
        >>> import numpy as np
        >>> round(float(softmax_loss(np.zeros((4, 2)), 0)[0]), 4)
        0.6931
    """
    return -ops.log_softmax(ops.cast(logits, "float32"), axis=-1)[:, label]
