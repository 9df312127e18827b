"""A mixture of Gaussians over codes: arXiv:1903.12436, section 5."""

import warnings
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ae.core import arguments, memory
from keras_ae.core.draws import draw_normal, draw_uniform
from keras_ae.samplers.fitted import FittedSampler


@keras.saving.register_keras_serializable("keras_ae")
class GaussianMixture(FittedSampler):
    """Draws codes from a mixture of Gaussians with full covariances, fitted by scikit-learn.

    With labels, each label has a mixture of its own, and `sample` takes `label`.

    Source: Ghosh et al., From Variational to Deterministic Autoencoders, section 5,
    arXiv:1903.12436, which fits ten Gaussians.

    Args:
        components: Number of Gaussians, of each label if there are labels. If there are fewer than
            ten codes for each Gaussian, there are fewer. Defaults to 10.
        regularization: Variance that is added in every direction, as a fraction of the variance of
            a dimension. Defaults to 1e-4.
        temperature: Factor of the standard deviations, a number of at least 0. Defaults to 1.
        **kwargs: `name`.

    Example:
        >>> import numpy as np
        >>> from keras_ae.samplers import GaussianMixture
        >>> codes = np.random.default_rng(0).normal(size=(200, 3))
        >>> GaussianMixture(2).fit(codes).draw(5, seed=0).shape
        (5, 3)
    """

    takes_labels = True

    def __init__(
        self,
        components: int = 10,
        regularization: float = 1e-4,
        temperature: float = 1.0,
        **kwargs: Any,
    ):
        super().__init__(temperature, **kwargs)
        self.components = arguments.integer(self, "components", components)
        self.regularization = arguments.number(
            self, "regularization", regularization, positive=True
        )

    def _find_sizes(self, codes, labels):
        if labels is None:
            return {"num_labels": 0}
        counts = np.bincount(labels)
        if counts.min() < 2:
            raise ValueError(
                f"GaussianMixture.fit: the label {counts.argmin()} has {counts.min()} codes, but "
                f"each label from 0 to {len(counts) - 1} needs at least two."
            )
        return {"num_labels": len(counts)}

    def _make(self, width, num_labels):
        shape = (max(1, num_labels), self.components)
        memory.refuse_beyond(
            24.0 * shape[0] * shape[1] * width**2,  # scikit-learn computes in float64.
            f"GaussianMixture: {shape[0] * shape[1]} covariances of {width} dimensions",
            "Take fewer components, a smaller latent_dim, or keras_ae.samplers.KernelDensity.",
        )
        self.cumulative = self._make_state(shape, "cumulative")
        self.means = self._make_state((*shape, width), "means")
        self.factors = self._make_state((*shape, width, width), "factors")

    def _learn(self, codes, labels, seed, verbose):
        groups = (
            [codes] if labels is None else [codes[labels == k] for k in range(labels.max() + 1)]
        )
        parts = zip(*(self._fit_group(group, seed) for group in groups), strict=True)
        for weight, values in zip((self.cumulative, self.means, self.factors), parts, strict=True):
            weight.assign(np.stack(values))

    def _fit_group(self, codes, seed):
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture as Mixture

        number = max(1, min(self.components, len(codes) // 10))
        mixture = Mixture(
            number, reg_covar=self.regularization, random_state=seed % 2**32, max_iter=200
        )
        with warnings.catch_warnings():
            # A mixture whose likelihood still rises a little is good enough to draw from.
            warnings.simplefilter("ignore", ConvergenceWarning)
            mixture.fit(codes.astype("float64"))
        # Components beyond those that the codes suffice for are never drawn.
        cumulative = np.ones(self.components)
        cumulative[:number] = np.cumsum(mixture.weights_)
        cumulative[number - 1 :] = 1.0
        unused = self.components - number
        means = np.pad(mixture.means_, ((0, unused), (0, 0)))
        factors = np.pad(np.linalg.cholesky(mixture.covariances_), ((0, unused), (0, 0), (0, 0)))
        return cumulative, means, factors

    def _draw(self, num_samples, seed, temperature, label=None):
        width = self.means.shape[-1]
        chance = draw_uniform((num_samples, 1), seed)
        noise = temperature * draw_normal((num_samples, width), seed)
        row = ops.zeros((num_samples,), "int32") if label is None else ops.cast(label, "int32")
        limits = ops.take(self.cumulative, row, axis=0)  # (num_samples, components)
        passed = ops.cast(chance >= limits[:, :-1], "int32")
        index = row * self.components + ops.sum(passed, axis=1)
        means = ops.take(ops.reshape(self.means, (-1, width)), index, axis=0)
        factors = ops.take(ops.reshape(self.factors, (-1, width, width)), index, axis=0)
        return means + ops.sum(factors * noise[:, None], axis=-1)

    def get_config(self):
        names = ("components", "regularization")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
