"""Multimodal Generative Models for Weakly-Supervised Learning: Wu and Goodman, arXiv:1802.05335."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ae.core import arguments, memory
from keras_ae.core.types import Tensor
from keras_ae.distributions import DiagonalGaussian, is_absent
from keras_ae.layers import gaussian
from keras_ae.likelihoods.base import Likelihood
from keras_ae.models.multimodal.base import VAEOfModalities


class MultimodalVAE(VAEOfModalities):
    """A VAE of several modalities, whose posterior is a product of experts, eq. 4.

    Each modality has an encoder, which is an expert, and a decoder with a likelihood. The posterior
    is the product of the experts of the modalities that are present, and of the prior. Data is a
    dictionary of arrays. A modality is absent if the dictionary lacks it, or in an example whose
    row is NaN. It then counts neither in the product nor in the likelihood.

    In training, the loss also has the bounds of subsets, section 2.2: of each modality alone, and
    of random subsets. Without them, experts would not learn to stand alone. `subset_loss` is the
    sum of these negative bounds. `reconstruction_loss` + `kl_loss` is the negative bound of all
    modalities in nats, whatever the weights are, and `reconstruction_loss_image` is the part of the
    modality "image". The loss is the sum of these parts times `modality_weights`, of `kl_loss`
    times `kl_weight`, and of `subset_loss`, in which the weights count already.

    Args:
        latent_dim: Dimensions of the code. Defaults to 16.
        modalities: Dictionary of name -> likelihood, such as `{"image": "bernoulli", "label":
            "categorical"}`: a name as of `keras_ae.VAE`, or an object of `keras_ae.likelihoods`.
            Defaults to None, these two.
        modality_weights: Dictionary of name -> factor of its reconstruction in training, a number
            of at least 0. A large one keeps a modality of few numbers from being ignored. Defaults
            to None, 1 for each modality.
        num_subsets: Number of random subsets in each step, of at least two modalities but not of
            all. There are none of two modalities. None trains the bound of all modalities alone.
            Defaults to 1.
        encoders, decoders: Dictionaries of name -> network. It is a kind of network, or any Keras
            model as of `encoder` and `decoder` of `keras_ae.VAE`. A modality that a dictionary
            lacks has a network that fits its shape. Sequences may not be padded. Default to None.
        kl_weight, network_options, seed: See `keras_ae.VAE`.

    Example:

    >>> import numpy as np
    >>> from keras_ae import MultimodalVAE
    >>> model = MultimodalVAE(2, {"image": "bernoulli", "label": "categorical"}, seed=0)
    >>> model.compile("adam")
    >>> rng = np.random.default_rng(0)
    >>> x = {"image": rng.integers(0, 2, (64, 8)), "label": np.eye(3)[rng.integers(0, 3, 64)]}
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> model.reconstruct({"label": x["label"]}, to="image").shape
    (64, 8)
    >>> sorted(model.sample(3, seed=0))
    ['image', 'label']
    """

    objective = ("kl_loss",)
    diagnostics = ("reconstruction_loss",)

    def __init__(
        self,
        latent_dim: int = 16,
        modalities: dict[str, str | Likelihood] | None = None,
        modality_weights: dict[str, float] | None = None,
        num_subsets: int | None = 1,
        **kwargs: Any,
    ):
        super().__init__(latent_dim, modalities, **kwargs)
        given = self._check_by_modality("modality_weights", modality_weights, "{'label': 10.0}")
        self.modality_weights = {
            name: arguments.number(self, f"modality_weights[{name!r}]", given.get(name, 1.0))
            for name in self._modalities
        }
        names = [f"reconstruction_loss_{name}" for name in self._modalities]
        if num_subsets is not None:
            num_subsets = arguments.integer(self, "num_subsets", num_subsets, least=0)
            names.append("subset_loss")
        self.num_subsets = num_subsets
        self.objective = (*names, *self.objective)

    def _step_numbers(self, batch_size):
        outputs = sum(sum(memory.numbers_of_layers(one)) for one in self.decoders.values())
        return batch_size * (1 + (self.num_subsets or 0)) * outputs

    def _find_experts(self, x, training):
        """Compute the mean and the log-precision of every expert.

        The mean is that of the expert's product with the prior, which is the posterior of its
        modality alone. The mean of the expert itself would hardly move a code as long as its
        precision is small, and such dimensions would never be learned. Of an absent modality, the
        log-precision is minus infinity.
        """
        experts = {}
        for name, values in x.items():
            present = ops.logical_not(is_absent(values))
            values = ops.where(ops.isnan(values), 0.0, values)
            expert = gaussian(self.encoders[name](values, training=training))
            experts[name] = _keep((expert.mean, -expert.log_variance), present)
        return experts

    def _multiply(self, experts):
        """Make the product of Gaussian experts and of the prior, a Gaussian in closed form."""
        prior = ops.zeros_like(next(iter(experts.values()))[0])  # Its mean is 0, its precision 1.
        means, log_precisions = zip(*experts.values(), strict=True)
        total = ops.logsumexp(ops.stack([prior, *log_precisions], axis=1), axis=1)
        # The precision of an expert and the prior together is 1 more than that of the expert.
        shares = [ops.exp(ops.softplus(precision) - total) for precision in log_precisions]
        mean = sum(share * mean for share, mean in zip(shares, means, strict=True))
        return DiagonalGaussian(mean, -total)

    def posterior(self, x: dict[str, Tensor], training: bool = False) -> DiagonalGaussian:
        return self._multiply(self._find_experts(x, training))

    def loss_weights(self) -> dict[str, Any]:
        weights = {f"reconstruction_loss_{k}": w for k, w in self.modality_weights.items()}
        return {**weights, **super().loss_weights()}

    def loss_terms(self, x: Tensor, y: Tensor, training: bool) -> dict[str, Tensor]:
        x = self._fill(x)
        seed, experts = self.step_seed(training), self._find_experts(x, training)
        losses, divergence = self._compute_bound(experts, x, seed, training)
        terms = {f"reconstruction_loss_{name}": loss for name, loss in losses.items()}
        terms |= {"reconstruction_loss": sum(losses.values()), "kl_loss": divergence}
        if self.num_subsets is not None:
            subsets = [{name: expert} for name, expert in experts.items()]
            if len(self._modalities) > 2:
                subsets += [self._draw_subset(experts, seed) for _ in range(self.num_subsets)]
            bounds = [self._compute_bound(subset, x, seed, training) for subset in subsets]
            terms["subset_loss"] = sum(self._weigh_bound(*bound) for bound in bounds)
        return terms

    def _fill(self, x):
        """Add rows of NaN if a batch lacks a modality, so that every weight has a gradient."""
        count = ops.shape(next(iter(x.values())))[0]
        return {
            name: x[name] if name in x else ops.full((count, *self._data_shape[name]), math.nan)
            for name in self._modalities
        }

    def _compute_bound(self, experts, x, seed, training):
        """Compute -log p(x | z) of each of the experts' modalities, and the divergence."""
        q = self._multiply(experts)
        p = self.conditional(q.sample(seed), training, tuple(experts))
        losses = {
            name: ops.where(experts[name][1][:, 0] > -math.inf, -value, 0.0)
            for name, value in p.log_probs({name: x[name] for name in experts}).items()
        }
        return losses, q.kl()

    def _weigh_bound(self, losses, divergence):
        weighted = [self.modality_weights[name] * loss for name, loss in losses.items()]
        return sum(weighted) + self._current_kl_weight() * divergence

    def _draw_subset(self, experts, seed):
        """Keep a random subset of each example, uniform among those of 2 to all but one."""
        number = len(self._modalities)
        counts = np.cumsum([math.comb(number, size) for size in range(2, number)])
        count = ops.shape(next(iter(experts.values()))[0])[0]
        uniform = keras.random.uniform((count, number + 1), dtype="float32", seed=seed)
        larger = ops.greater(uniform[:, :1], (counts[:-1] / counts[-1]).astype("float32"))
        size = 2 + ops.sum(ops.cast(larger, "int32"), axis=1, keepdims=True)
        ranks = ops.argsort(ops.argsort(uniform[:, 1:], axis=1), axis=1)
        chosen = ops.cast(ranks, "int32") < size
        kept = {name: chosen[:, place] for place, name in enumerate(self._modalities)}
        return {name: _keep(expert, kept[name]) for name, expert in experts.items()}


def _keep(expert, kept):
    """Leave an expert, a mean and a log-precision, out of the examples in which kept is False."""
    mean, log_precision = expert
    kept = kept[:, None]
    return ops.where(kept, mean, 0.0), ops.where(kept, log_precision, -math.inf)
