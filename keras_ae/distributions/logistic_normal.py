"""Gaussians whose softmax is distributed much like a Dirichlet distribution."""

from keras_ae.core import arguments


def approximate_dirichlet(concentration: float, size: int) -> float:
    """Compute the Gaussian whose softmax approximates a symmetric Dirichlet distribution.

    It is the Laplace approximation of the density in the basis of the softmax. Its mean is 0, and
    its dimensions are taken as independent with equal variances, which is close for many dimensions
    (Srivastava and Sutton, eq. 6, arXiv:1703.01488). For equal concentrations, the paper's formula
    is

        variance = (1 - 1 / size) / concentration.

    Args:
        concentration: Concentration of the Dirichlet distribution, a positive number. Below 1 most
            of the mass is in a few dimensions.
        size: Number of dimensions, an integer of at least 2.

    Returns:
        Float: the variance of each dimension.

    Example:
        >>> from keras_ae.distributions import approximate_dirichlet
        >>> round(approximate_dirichlet(1.0, 50), 4), round(approximate_dirichlet(0.1, 50), 4)
        (0.98, 9.8)
    """
    where = "approximate_dirichlet"
    concentration = arguments.number(where, "concentration", concentration, positive=True)
    size = arguments.integer(where, "size", size, least=2)
    return (1.0 - 1.0 / size) / concentration
