"""The parts of a residual stream to which latent variables are added (arXiv:2011.10650)."""

import keras
from keras import ops

from keras_ae.layers.stochastic import StochasticLayer


class LearnedStart(keras.layers.Layer):
    """The learned vector with which the stream starts, repeated for each row of the argument."""

    def __init__(self, width, **kwargs):
        super().__init__(**kwargs)
        self.width = width

    def build(self, like_shape):
        self.start = self.add_weight(shape=(self.width,), initializer="zeros", name="start")

    def call(self, like):
        return ops.zeros_like(like[:, :1]) + self.start


class Residual(keras.layers.Layer):
    """A residual block, h -> h + last(hidden(h)).

    Args:
        make_mlp: Function of a name, a width and a tuple of units. It makes a network for inputs of
            shape (batch, width).
        width: Width of h.
        make_initializer: Function without arguments. It makes the initializer of the layer whose
            output is added to h.
    """

    def __init__(self, make_mlp, width, make_initializer, **kwargs):
        super().__init__(**kwargs)
        self.hidden = make_mlp(f"{self.name}_hidden", width, (width,))
        self.last = keras.layers.Dense(
            width, kernel_initializer=make_initializer(), dtype=self.dtype_policy, name="last"
        )

    def build(self, h_shape):
        self.last.build(self.hidden.output_shape)

    def call(self, h, training=False):
        return h + self.last(self.hidden(h, training=training))


class TopDownBlock(keras.layers.Layer):
    """h -> h + project(z) -> residual(h), where z is drawn given h.

    Args:
        make_mlp, width, make_initializer: See `Residual`.
        dimensions: Dimensions of z.
    """

    def __init__(self, make_mlp, dimensions, width, make_initializer, **kwargs):
        super().__init__(**kwargs)
        self.prior = make_mlp(f"{self.name}_prior", width, (width,))
        self.posterior = make_mlp(f"{self.name}_posterior", 2 * width, (width,))
        self.layer = StochasticLayer(dimensions, "zeros", name="layer")
        options = {"dtype": self.dtype_policy}
        self.statistics = keras.layers.Dense(2 * dimensions, name="statistics", **options)
        self.project = keras.layers.Dense(
            width, kernel_initializer=make_initializer(), name=f"{self.name}_project", **options
        )
        self.residual = Residual(
            make_mlp, width, make_initializer, name=f"{self.name}_residual", **options
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
        """Compute the stream after the block, given z."""
        return self.residual(h + self.project(z), training=training)
