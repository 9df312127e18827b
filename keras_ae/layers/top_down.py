"""The parts of a residual stream that latent variables add to: arXiv:2011.10650, figure 3."""

import keras
from keras import ops


class LearnedStart(keras.layers.Layer):
    """The learned vector that the stream starts from, once for each row of its argument."""

    def __init__(self, width, **kwargs):
        super().__init__(**kwargs)
        self.width = width

    def build(self, like_shape):
        self.start = self.add_weight(shape=(self.width,), initializer="zeros", name="start")

    def call(self, like):
        return ops.zeros_like(like[:, :1]) + self.start


class Residual(keras.layers.Layer):
    """h + last(network(h))."""

    def __init__(self, network, width, initializer, **kwargs):
        super().__init__(**kwargs)
        self.network = network
        self.last = keras.layers.Dense(
            width, kernel_initializer=initializer, dtype=self.dtype_policy, name="last"
        )

    def build(self, h_shape):
        self.last.build(self.network.output_shape)

    def call(self, h, training=False):
        return h + self.last(self.network(h, training=training))


class TopDownBlock(keras.layers.Layer):
    """h -> h + project(z) -> h + residual(h), where z is drawn given h."""

    def __init__(self, prior, posterior, layer, project, residual, **kwargs):
        super().__init__(**kwargs)
        self.prior, self.posterior, self.layer = prior, posterior, layer
        self.project, self.residual = project, residual
        self.statistics = keras.layers.Dense(
            2 * layer.width, dtype=self.dtype_policy, name="statistics"
        )

    def build(self, h_shape):
        self.statistics.build(self.posterior.output_shape)
        self.layer.build(self.prior.output_shape)
        self.project.build((None, self.layer.width))
        self.residual.build(h_shape)

    def call(self, h, a=None, seed=None, temperature=1.0, estimate=False, training=False):
        statistics = None
        if a is not None:
            both = ops.concatenate([h, a], axis=-1)
            statistics = self.statistics(self.posterior(both, training=training))
        above = self.prior(h, training=training)
        z, divergence = self.layer(
            above, statistics, seed=seed, temperature=temperature, estimate=estimate
        )
        return self.advance(h, z, training), z, divergence

    def advance(self, h, z, training):
        """The stream after the block, for a z that is given."""
        return self.residual(h + self.project(z), training=training)
