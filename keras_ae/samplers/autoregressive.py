"""A prior that is trained over integer codes, after the model."""

import keras

from keras_ae.samplers.base import Sampler, value_of


class Autoregressive(Sampler):
    """Draws codes one after the other, each given those before it.

    Training the model changes its codes: the prior is stale then, until it is fitted again.

    Args:
        prior: `keras_ae.layers.SequencePrior` or `GridPrior`.
        fitted: Weight of the model that is 1 while the prior is fitted to the model's codes.
        generate: Function of uniform draws, the prior's `generate` as a method of arrays, too.
    """

    needs = (
        "the prior over the codes, which has not been fitted to what `fit` left. Call "
        "fit_prior(x) first."
    )

    def __init__(self, prior, fitted, generate):
        self.prior, self.fitted, self.generate = prior, fitted, generate

    def update(self, z):
        # What the prior has learned of the codes, it has learned of other ones.
        self.fitted.assign(keras.ops.zeros(()))

    def ready(self):
        return bool(value_of(self.fitted) > 0)

    def _uniform(self, num_samples, seed):
        shape = (num_samples, *self.prior.draws_shape)
        return keras.random.uniform(shape, dtype="float32", seed=seed)

    def sample(self, num_samples, seed):
        return self.generate(self._uniform(num_samples, seed))

    def draw(self, num_samples, seed, verbose=0):
        uniform = keras.ops.convert_to_numpy(self._uniform(num_samples, seed))
        return self.generate(uniform, verbose=verbose)
