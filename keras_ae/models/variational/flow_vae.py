"""Variational Inference with Normalizing Flows: Rezende and Mohamed 2015, arXiv:1505.05770."""

import math
from typing import Any

import keras
from keras import ops

from keras_ae import flows
from keras_ae.core import arguments
from keras_ae.core.configuration import refuse_unused
from keras_ae.core.types import Tensor
from keras_ae.distributions import TransformedGaussian
from keras_ae.layers import gaussian
from keras_ae.models.variational.vae import VAE

# Each function returns the shapes of a flow's parameters for one example with `size` dimensions.
PARAMETERS = {
    "planar": lambda size, reflections: [(size,), (size,), (1,)],
    "radial": lambda size, reflections: [(size,), (1,), (1,)],
    "sylvester": lambda size, reflections: [
        (reflections, size),
        (size, size),
        (size, size),
        (size,),
    ],
}


class FlowVAE(VAE):
    """A VAE whose posterior is a Gaussian moved by flows, whose parameters the encoder computes.

    The model minimizes eq. 15 of the paper. `kl_loss` is the divergence from the prior: that of the
    Gaussian in closed form, plus the contribution of the flows, estimated by one draw.

    Args:
        latent_dim: Dimensions of the code. Defaults to None, see `keras_ae.Autoencoder`.
        flow: `"planar"` or `"radial"`, which are the paper's, or `"sylvester"` (arXiv:1803.05649,
            with Householder reflections). Defaults to "planar".
        num_flows: Number of flows, an integer of at least 0. Defaults to 4.
        num_reflections: Number of reflections in each Sylvester flow, a positive integer. Defaults
            to 4.
        shortest_normal: The argument `shortest` of each planar flow, a number of at least 0: see
            `keras_ae.flows.planar`. Defaults to 0.05. Models from files without this argument
            have 0.
        encoder, decoder, likelihood, kl_weight, network_options, seed: See `keras_ae.VAE`.
        free_bits: Nats of the whole code that are exempt from the penalty. Defaults to 0.

    Example:

    >>> import numpy as np
    >>> from keras_ae import FlowVAE
    >>> model = FlowVAE(latent_dim=2, flow="radial", num_flows=2, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).integers(0, 2, (64, 8)).astype("float32")
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> model.encode(x).shape, model.log_likelihood(x, num_samples=10, seed=0).shape
    ((64, 2), (64,))
    """

    def __init__(
        self,
        latent_dim: int | None = None,
        flow: str = "planar",
        num_flows: int = 4,
        num_reflections: int = 4,
        shortest_normal: float = 0.05,
        **kwargs: Any,
    ):
        super().__init__(latent_dim, **kwargs)
        self.flow = arguments.choice(self, "flow", flow, PARAMETERS)
        self.num_flows = arguments.layers(self, "num_flows", num_flows, least=0)
        self.num_reflections = arguments.layers(self, "num_reflections", num_reflections)
        self.shortest_normal = arguments.number(
            self, "shortest_normal", shortest_normal, fixed=True
        )
        self.features_to_flows = None

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return super().from_config({"shortest_normal": 0.0, **config}, custom_objects)

    def _parameter_shapes(self):
        return PARAMETERS[self.flow](self.latent_dim, self.num_reflections)

    def _check_given(self):
        super()._check_given()
        if self.flow != "sylvester":
            refuse_unused(self, "num_reflections", f"a {self.flow} flow has none")

    def _build_networks(self, shape, target_shape):
        super()._build_networks(shape, target_shape)
        if self.num_flows:
            width = self.num_flows * sum(map(math.prod, self._parameter_shapes()))
            self.features_to_flows = keras.Sequential(
                [
                    keras.layers.Flatten(dtype=self.dtype_policy, name="flow_flatten"),
                    keras.layers.Dense(width, dtype=self.dtype_policy, name="flow_parameters"),
                ],
                name="features_to_flows",
            )
            self.features_to_flows(self.encoder(keras.KerasTensor((None, *shape))))

    def posterior(self, x: Tensor, training: bool = False) -> TransformedGaussian:
        features = self.encoder(x, training=training)
        parameters = self.features_to_code(features, training=training)
        base = gaussian(parameters)
        given = ()
        if self.num_flows:
            given = (ops.cast(self.features_to_flows(features, training=training), "float32"),)
        return TransformedGaussian(base, self._transform, given)

    def _transform(self, z, parameters=None):
        """Apply the flows one after the other, and sum their log-determinants."""
        total, start = 0.0 * z[:, 0], 0
        for _ in range(self.num_flows):
            pieces = []
            for shape in self._parameter_shapes():
                stop = start + math.prod(shape)
                pieces.append(ops.reshape(parameters[:, start:stop], (-1, *shape)))
                start = stop
            if self.flow == "planar":
                pieces.append(self.shortest_normal)
            z, log_determinant = getattr(flows, self.flow)(z, *pieces)
            total = total + log_determinant
        return z, total

    def loss_terms(self, x: Tensor, y: Tensor, training: bool) -> dict[str, Tensor]:
        z, divergence = self.posterior(x, training).sample_with_kl(self.step_seed(training))
        return self.elbo_terms(y, z, divergence[:, None], training)
