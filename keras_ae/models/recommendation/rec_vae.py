"""RecVAE, a VAE for top-N recommendations: Shenbin et al. 2019, arXiv:1912.11160."""

import math
import operator
from typing import Any

import keras
from keras import ops

from keras_ae import distributions, networks
from keras_ae.core import arguments, building, former_weights
from keras_ae.core.draws import draw_normal
from keras_ae.core.types import Network, Tensor, Weight
from keras_ae.distributions import Normal
from keras_ae.layers import gaussian
from keras_ae.models.recommendation.base import Recommender, fill_options
from keras_ae.models.variational.vae import VAE
from keras_ae.networks.maker import LayerMaker
from keras_ae.networks.options import MAXOUT, check_options

# The parts of the prior are a standard normal, the posterior of before, and a wide normal.
_SHARES, _WIDE_LOG_VARIANCE = (3 / 20, 3 / 4, 1 / 10), 10.0
_EPSILON = 0.1  # The normalization adds this to variances.
_STEPS = 100  # An epoch is taken to have so many steps if its length is unknown.


class RecVAE(Recommender, VAE):
    """A VAE of the items that users chose, whose posterior is kept close to that of before.

    It differs from `MultinomialVAE` in four ways. The prior of the divergence is a mixture of a
    standard normal (3/20), of the posterior that the encoder computed at the beginning of the
    epoch (3/4), and of a normal with variance exp(10) (1/10), in each dimension of the code, as in
    the authors' program. The weight of the divergence is proportional to the user's number of
    items. The encoder has dense connections and layer normalization, and the decoder is linear. And
    the encoder learns from rows of which items are dropped, but the decoder from whole rows. In the
    paper, three epochs of the encoder alternate with one of the decoder. Here both move in each
    step, each with its own loss. In the logs, `kl_loss` is an estimate of the divergence from the
    mixture times the number of items, so that the sum of the losses is no bound of log p(x).

    The mixture depends on x, so that it is no prior of new data: `sample` and `log_likelihood` are
    those of the standard normal prior.

    Args:
        latent_dim: Dimensions of the code. Defaults to 200.
        dropout: Share of a user's values that training drops for the encoder, in [0, 1). Defaults
            to 0.5.
        kl_weight_per_item: The paper's gamma: the weight of the divergence for each item of the
            user, a number of at least 0 or a schedule. Defaults to 0.005.
        encoder, decoder, seed: See `keras_ae.VAE`.
        network_options: Dictionary of options of the encoder that the model makes: `units`, the
            sizes of its dense layers, which are equal, and their `activation`. Defaults to None,
            five layers of 600 units with "silu". Networks by name take all options of
            `keras_ae.networks`.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> import numpy as np
    >>> from keras_ae import RecVAE
    >>> model = RecVAE(latent_dim=2, network_options={"units": (8, 8)}, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).integers(0, 2, (64, 30))
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> model.encode(x).shape, model.recommend(x[:5], k=1).shape
    ((64, 2), (5, 1))
    """

    _without = ("likelihood", "kl_weight", "free_bits", "standardize")
    players = {"decoder": ("decoder_loss",)}

    def __init__(
        self,
        latent_dim: int = 200,
        dropout: float = 0.5,
        kl_weight_per_item: Weight = 0.005,
        encoder: Network | None = None,
        decoder: Network | None = None,
        network_options: dict[str, Any] | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        options = fill_options(
            encoder, decoder, network_options, units=(600,) * 5, activation="silu"
        )
        super().__init__(
            latent_dim,
            encoder,
            decoder,
            likelihood="multinomial",
            network_options=options,
            seed=seed,
            **kwargs,
        )
        self.dropout = arguments.number(self, "dropout", dropout, below=1)
        self.kl_weight_per_item = arguments.number_or_schedule(
            self, "kl_weight_per_item", kl_weight_per_item
        )

    def _build_networks(self, shape, target_shape):
        shape_of_logits = self._decoder_shape(target_shape)
        if self.encoder is None:
            self.encoder = _make_encoder(self, shape)
        if self.decoder is None:
            self.decoder = networks.decoder(
                self.latent_dim, shape_of_logits, "mlp", dtype=self.dtype_policy, units=()
            )
        super()._build_networks(shape, target_shape)
        self._former = [
            self.add_weight(
                shape=w.shape,
                initializer="zeros",
                dtype="float32",
                trainable=False,
                aggregation="mean",
                name=f"former_{number}",
            )
            for number, w in enumerate(former_weights.list_weights(self._posterior_parts()))
        ]
        self._steps_of_epoch = self.add_weight(
            shape=(),
            initializer=keras.initializers.Constant(_STEPS),
            dtype="int32",
            trainable=False,
            aggregation="only_first_replica",
            name="steps_of_epoch",
        )
        self._first_step = building.make_counter(self, "first_step")

    def _posterior_parts(self):
        return self.encoder, self.features_to_code

    def _prepare_training(self, batches, steps):
        super()._prepare_training(batches, steps)
        number = steps or getattr(batches, "num_batches", None)
        self._steps_of_epoch.assign(number or operator.length_hint(batches, 0) or _STEPS)
        # Epochs are counted from here, because those of an earlier `fit` may have had other
        # lengths. A backup of a training that was killed holds where its epochs began.
        self._first_step.assign(int(ops.convert_to_numpy(ops.convert_to_tensor(self._step))))

    def loss_weights(self) -> dict[str, Any]:
        return {"kl_loss": arguments.value_at(self.kl_weight_per_item, self._step)}

    def posterior(self, x: Tensor, training: bool = False) -> distributions.DiagonalGaussian:
        return super().posterior(self._prepare(x, training), training)

    def loss_terms(self, x: Tensor, y: Tensor, training: bool) -> dict[str, Tensor]:
        if training:
            self._keep_former()
        clean = self.posterior(x)
        # Noise is the same in both, so that without dropout the losses are equal.
        noise = draw_normal(ops.shape(clean.mean), self.step_seed(training))
        q = self.posterior(x, training) if training else clean
        z, z_of_decoder = (p.mean + ops.exp(0.5 * p.log_variance) * noise for p in (q, clean))
        divergence = q.log_prob(z) - self._log_composite_prior(x, z)
        return {
            "reconstruction_loss": -self.conditional(z, training).log_prob(y),
            "kl_loss": ops.sum(x, axis=-1) * divergence,
            "decoder_loss": -self.conditional(ops.stop_gradient(z_of_decoder)).log_prob(y),
        }

    def _keep_former(self):
        """Copy the encoder's weights at the beginning of an epoch."""
        step, first = (
            ops.cast(ops.convert_to_tensor(v), "int32") for v in (self._step, self._first_step)
        )
        begins = ops.equal(ops.mod(step - first, ops.convert_to_tensor(self._steps_of_epoch)), 0)
        values = former_weights.read_values(self._posterior_parts())
        for former, now in zip(self._former, values, strict=True):
            before = ops.convert_to_tensor(former)
            # On JAX, what is assigned would pass gradients.
            now = ops.stop_gradient(ops.cast(now, "float32"))
            former.assign(ops.where(begins, now, before))

    def _former_posterior(self, x):
        """Make the posterior that the encoder computed at the beginning of the epoch."""
        h, values = self._prepare(x, False), [ops.convert_to_tensor(v) for v in self._former]
        with former_weights.replacing(self._posterior_parts(), values):
            for part in self._posterior_parts():
                h = part(h, training=False)
        return gaussian(h)

    def _log_composite_prior(self, x, z):
        """Compute the log-density of the mixture, a product over dimensions: (batch,)."""
        former = self._former_posterior(x)
        zeros = ops.zeros_like(z)
        parts = [
            Normal(zeros, 1.0),
            Normal(former.mean, ops.exp(0.5 * former.log_variance)),
            Normal(zeros, math.exp(0.5 * _WIDE_LOG_VARIANCE)),
        ]
        logs = [
            part.log_prob_per_element(z) + math.log(share)
            for part, share in zip(parts, _SHARES, strict=True)
        ]
        return ops.sum(ops.logsumexp(ops.stack(logs, axis=-1), axis=-1), axis=-1)


def _make_encoder(model, shape):
    """Make the paper's encoder, in which each layer also reads what all before it have computed."""
    where = "RecVAE: network_options"
    without = ("activity_regularizer", "batch_normalization", "spectral_normalization")
    options = check_options(where, "mlp", model.network_options, without)
    if options.activation == MAXOUT:
        raise ValueError(
            f"{where}: activation={MAXOUT!r} would halve the layers' outputs, which are added up. "
            "Choose another activation, or encoder='mlp'."
        )
    if len(set(options.units)) != 1:
        raise ValueError(
            f"{where}: units={options.units} must be one or more equal sizes, because the layers' "
            "outputs are added up. Pass equal sizes, or encoder='mlp'."
        )
    make = LayerMaker("encoder", model.dtype_policy, options)
    x = h = make.input(shape)
    before = []
    for number, width in enumerate(options.units, start=1):
        h = make.kernel_layer(keras.layers.Dense, f"dense_{number}", width)(h)
        if before:
            h = make.layer(keras.layers.Add, f"sum_{number}")([h, *before])
        h = make.layer(keras.layers.Activation, f"activation_{number}", options.activation)(h)
        role = f"normalization_{number}"
        h = make.layer(keras.layers.LayerNormalization, role, epsilon=_EPSILON)(h)
        h = make.dropout(h, f"normalization_{number}")
        before.append(h)
    return make.network(x, h)
