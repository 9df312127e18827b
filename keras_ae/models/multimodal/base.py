"""The base class of models of several modalities, each with its own networks and likelihood."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_ae import distributions, likelihoods, networks
from keras_ae.core import arguments, examples
from keras_ae.core.batching import batched
from keras_ae.core.types import Data, Network, Tensor
from keras_ae.models.variational.base import check_likelihood
from keras_ae.models.variational.vae import VAE
from keras_ae.networks.fitting import refuse_misread_pictures, symbolic_call

_DEFAULT = {"image": "bernoulli", "label": "categorical"}


class VAEOfModalities(VAE):
    """Base class of VAEs whose data is a dictionary of arrays, of which some may be absent.

    A modality is absent if the dictionary lacks it, or in an example whose row is NaN.

    Args:
        latent_dim: Dimensions of the code. Defaults to 16.
        modalities: Dictionary of name -> likelihood, its name or an object.
        encoders, decoders: Dictionaries of name -> network, its kind or a Keras model.
        **kwargs: See `keras_ae.VAE`.
    """

    _allow_nan = True
    _without = ("encoder", "decoder", "likelihood", "free_bits", "standardize")

    def __init__(
        self,
        latent_dim: int = 16,
        modalities: dict[str, str | likelihoods.Likelihood] | None = None,
        encoders: dict[str, Network] | None = None,
        decoders: dict[str, Network] | None = None,
        **kwargs: Any,
    ):
        modalities = arguments.dictionary(self, "modalities", modalities, str(_DEFAULT))
        modalities = modalities or _DEFAULT
        examples.check_free(type(self), "modalities", tuple(modalities))
        super().__init__(latent_dim, likelihood=likelihoods.ByModality(modalities), **kwargs)
        self._modalities = tuple(modalities)
        for name, each in self.likelihood.parts.items():
            if isinstance(each, likelihoods.OptimalGaussian):
                raise ValueError(
                    f"{type(self).__name__}: the likelihood of {name!r} fits its scale to a batch, "
                    'in which modalities may be absent. Choose "gaussian_learned_scale".'
                )
        for part, given in {"encoders": encoders, "decoders": decoders}.items():
            given = self._check_by_modality(part, given, "{'image': 'conv'}")
            for name, network in given.items():
                networks.given_or_none(self, f"{part}[{name!r}]", network)

    def _check_by_modality(self, argument, value, example):
        """Return a dictionary whose keys are modalities, or an empty one instead of None."""
        value = arguments.dictionary(self, argument, value, example)
        for name in value:
            if name not in self._modalities:
                hint = arguments.did_you_mean(name, self._modalities)
                raise ValueError(
                    f"{type(self).__name__}: {argument}={value!r} has the key {name!r}, and the "
                    f"modalities are {', '.join(self._modalities)}.{hint}"
                )
        return value

    def _build_networks(self, shape, target_shape):
        self.likelihood.build(target_shape)
        encoders = {name: self._make_encoder(name, shape[name]) for name in self._modalities}
        decoders = {name: self._make_decoder(name, shape[name]) for name in self._modalities}
        self.encoders, self.decoders = encoders, decoders

    def _given_network(self, part, name):
        """Return the network of a modality that was given, its kind, or None."""
        return (self.arguments[part] or {}).get(name)

    def _make_encoder(self, name, shape):
        """Make the network from a modality to the parameters of a posterior."""
        dtype, network = self.dtype_policy, self._given_network("encoders", name)
        if network is None:
            data, argument = f"x[{name!r}]", f"encoders[{name!r}]"
            are_classes = self.likelihood.parts[name].takes_classes
            refuse_misread_pictures(self, shape, data, argument, are_classes)
        if not isinstance(network, keras.layers.Layer):
            options = {"name": f"encoder_{name}", "dtype": dtype, **self.network_options}
            network = networks.encoder(shape, network, **options)
        symbolic_call(self, f"encoder of {name!r}", network, (None, *shape))
        flatten = keras.layers.Flatten(dtype=dtype, name=f"flatten_{name}")
        code = keras.layers.Dense(self._code_width(), dtype=dtype, name=f"code_{name}")
        layers = [keras.Input(shape), network, flatten, code]
        return keras.Sequential(layers, name=f"posterior_{name}")

    def _make_decoder(self, name, shape):
        """Make the network from a code to the parameters of the likelihood of a modality."""
        network = self._given_network("decoders", name)
        wanted = self.likelihood.parts[name].parameter_shape(shape)
        if not isinstance(network, keras.layers.Layer):
            options = {"name": f"decoder_{name}", "dtype": self.dtype_policy}
            options |= self.network_options
            network = networks.decoder(self.latent_dim, wanted, network, **options)
        found = symbolic_call(self, f"decoder of {name!r}", network, (None, self.latent_dim))
        if tuple(found.shape[1:]) != wanted:
            raise ValueError(
                f"{type(self).__name__}: the decoder of {name!r} returns {found.shape[1:]}, and "
                f"{wanted} is needed. Give it an output of that shape."
            )
        return network

    def _check_given(self):
        for name in self._modalities:
            value = networks.mask_value(self._given_network("encoders", name), self.network_options)
            if value is not None:
                raise ValueError(
                    f"{type(self).__name__}: mask_value={value!r} is not possible, because padding "
                    f"of {name!r} would count in its likelihood. Make the sequences one length."
                )
        for name, likelihood in self.likelihood.parts.items():
            decoder, shape = self._given_network("decoders", name), (self.latent_dim,)
            label = f"the likelihood of {name!r}"
            check_likelihood(self, likelihood, label, self._target_shape[name], decoder, shape)

    def _check_values(self, name, values, call):
        missing = np.isnan(values.reshape(len(values), -1))
        partly = missing.any(axis=1) & ~missing.all(axis=1)
        if partly.any():
            raise ValueError(
                f"{name} has NaN in a part of row {np.argmax(partly)}, and in a "
                f"{type(self).__name__} a modality is absent as a whole. Fill the row, or make all "
                "of it NaN."
            )
        return values

    def conditional(
        self, z: Tensor, training: bool = False, names: Sequence[str] | None = None
    ) -> distributions.Joint:
        """Make p(x | z), a `keras_ae.distributions.Joint` of all modalities or of those named."""
        names = names or self._modalities
        parameters = {name: self.decoders[name](z, training=training) for name in names}
        return self.likelihood.condition(parameters, training)

    @batched("data", returns_data=True)
    def reconstruct(self, x: Data, training: bool = False, to: str | None = None) -> Any:
        """Every example encoded and decoded again.

        Args:
            x: Dictionary of arrays or tensors of the modalities that are present, or a
                stream of them as in `fit`.
            training: Whether layers such as dropout are active. Defaults to False.
            to: Name of the modality to return. Defaults to None, a dictionary of all.

        Returns:
            Array or tensor of the modality's shape, float32, or a dictionary of them.
        """
        if to is not None:
            arguments.choice(f"{type(self).__name__}.reconstruct", "to", to, self._modalities)
        z = self.posterior(x, training).mean
        mean = self.conditional(z, training, to and (to,)).mean
        return mean if to is None else mean[to]
