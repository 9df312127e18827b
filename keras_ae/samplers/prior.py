"""A model's own prior."""

from keras_ae.samplers.base import Sampler


class Prior(Sampler):
    """Draws what a function draws, such as a model's method, which needs no training for it.

    Args:
        function: Takes num_samples and seed, and returns a tensor (num_samples, ...).
    """

    def __init__(self, function):
        self.function = function

    def sample(self, num_samples, seed, **options):
        return self.function(num_samples, seed, **options)
