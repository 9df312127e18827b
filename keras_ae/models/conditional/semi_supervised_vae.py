"""Semi-supervised Learning with Deep Generative Models: Kingma et al. 2014, arXiv:1406.5298."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ae import likelihoods, networks
from keras_ae.core import arguments, backend, memory, seeds
from keras_ae.core.batching import batched
from keras_ae.core.types import Array, ArrayOrTensor, Data, Network, Tensor, Verbose
from keras_ae.distributions import DiagonalGaussian, LabeledGaussians
from keras_ae.models.conditional.conditional_vae import ConditionalVAE
from keras_ae.networks.fitting import symbolic_call


class SemiSupervisedVAE(ConditionalVAE):
    """Learns to classify from a few labels: the model M2, which minimizes eq. 9.

    The data x follows from a code z and a label y, of which all are equally probable. Where the
    label is known, the bound is that of log p(x, y), eq. 6; where it is -1, which is unknown, the
    bound is that of log p(x), eq. 7, in which the sum over all labels is exact. A step therefore
    takes num_classes times as long as that of a VAE. The logs hold, in nats per example:

    - `reconstruction_loss` and `kl_loss`, the expectations over the label: of the known one, or
      over q(y | x).
    - `label_loss`, the divergence of q(y | x), or of the known label, from the uniform p(y). The
      three add up to the negative bound.
    - `classification_loss`, the cross-entropy -log q(y | x) of a known label, 0 for others.

    The paper's factor of the cross-entropy, classification_weight * N / N_labeled, needs the
    numbers of all examples and of labeled ones. The first `fit` counts them; `adapt` counts them
    again in other data. Where labeled examples are few, repeat them in the data, so that each batch
    has some.

    Args:
        latent_dim: Dimensions of the code. Defaults to 16.
        num_classes: Number of classes, of which labels are the integers from 0. Defaults to 10.
        classification_weight: Factor of the cross-entropy's mean over the labeled examples, a
            number of at least 0. Defaults to 0.1.
        classifier: None, the name of a kind of network, or any Keras model from x to features: see
            `keras_ae.Autoencoder`. The model adds the layer from the features to logits. Defaults
            to None.
        encoder, decoder, likelihood, kl_weight, free_bits, network_options, seed, standardize: See
            `keras_ae.VAE`. An encoder of your own reads x with num_classes more channels, a decoder
            the code followed by the label as one-hot. The likelihood "gaussian_optimal_scale" is
            refused, because it would fit its scale to wrong labels, too.

    Example:

    >>> import numpy as np
    >>> from keras_ae import SemiSupervisedVAE
    >>> model = SemiSupervisedVAE(latent_dim=2, num_classes=2, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).integers(0, 2, (64, 8)).astype("float32")
    >>> label = np.where(np.arange(64) < 8, x[:, 0], -1)
    >>> history = model.fit(x, label=label, epochs=1, verbose=0)
    >>> model.classify(x).shape, model.class_probabilities(x).shape, model.encode(x).shape
    ((64,), (64, 2), (64, 2))
    >>> model.sample(3, seed=0, label=1).shape, model.log_likelihood(x, num_samples=10).shape
    ((3, 8), (64,))
    """

    objective = (*ConditionalVAE.objective, "label_loss", "classification_loss")
    explorer_views = {"Class probabilities": "class_probabilities"}
    _without = ("prior", "condition_encoder")
    _needs_data = True

    def __init__(
        self,
        latent_dim: int = 16,
        num_classes: int = 10,
        classification_weight: float = 0.1,
        classifier: Network | None = None,
        **kwargs: Any,
    ):
        arguments.integer(self, "num_classes", num_classes)
        super().__init__(latent_dim, num_classes, prior="standard", **kwargs)
        self.classification_weight = arguments.number(
            self, "classification_weight", classification_weight
        )
        self.classifier = networks.given_or_none(self, "classifier", classifier)
        self.features_to_logits = None

    def _build_networks(self, shape, target_shape):
        super()._build_networks(shape, target_shape)
        if self.classifier is None or isinstance(self.classifier, str):
            self.classifier = self._make_network("classifier", shape, self.classifier)
        features = symbolic_call(self, "classifier", self.classifier, (None, *shape))
        dtype = self.dtype_policy
        flatten = keras.layers.Flatten(dtype=dtype, name="flatten_features")
        logits = keras.layers.Dense(self.num_classes, dtype=dtype, name="logits")
        self.features_to_logits = keras.Sequential([flatten, logits], name="features_to_logits")
        self.features_to_logits(features)
        self._examples_per_label = self.add_weight(
            shape=(),
            initializer="ones",
            dtype="float32",
            trainable=False,
            aggregation="only_first_replica",
            name="examples_per_label",
        )

    def _check_given(self):
        super()._check_given()
        if isinstance(self.likelihood, likelihoods.OptimalGaussian):
            raise ValueError(
                f"{type(self).__name__}: {self._likelihood_name()} would fit its scale to what the "
                "decoder makes of every label, wrong ones included. Choose "
                '"gaussian_learned_scale".'
            )

    def _label_range(self, call):
        # Data can only be made of known labels.
        return 0 if call in ("decode", "sample") else -1, self.num_classes - 1

    def _adapt(self, passes):
        count = labeled = 0
        for _, inputs in passes:
            label = self._check_values("label", inputs["label"], "fit")
            count, labeled = count + len(label), labeled + int(np.sum(label >= 0))
        if not labeled:
            raise ValueError(
                f"{type(self).__name__}: label is -1, unknown, for all {count} examples. Pass some "
                "that are known, or train a keras_ae.VAE, which needs none."
            )
        self._examples_per_label.assign(count / labeled)

    # ------------------------------------------------------------------ distributions

    def _log_class_probabilities(self, x, training=False):
        """Compute log q(y | x), shape (batch, num_classes)."""
        features = self.classifier(x, training=training)
        logits = self.features_to_logits(features, training=training)
        return ops.log_softmax(ops.cast(logits, "float32"), axis=-1)

    def _for_every_label(self, values):
        """Repeat every row once for each label; return the rows and their labels."""
        first = ops.reshape(values, (-1, math.prod(values.shape[1:])))[:, :1]
        labels = ops.arange(0, self.num_classes, dtype="int32")
        labels = ops.zeros_like(first, dtype="int32") + labels
        return ops.repeat(values, self.num_classes, axis=0), ops.reshape(labels, (-1,))

    def posterior(
        self, x: Tensor, training: bool = False, label: Tensor | None = None
    ) -> DiagonalGaussian | LabeledGaussians:
        """Make q(z | x, y), or without labels q(y | x) q(z | x, y) for every y.

        Args:
            x: Tensor of shape (batch, ...).
            training: Whether layers such as dropout are active. Defaults to False.
            label: Tensor of labels, none of which is -1. Defaults to None.

        Returns:
            A `keras_ae.distributions.DiagonalGaussian`, or without labels a
            `keras_ae.distributions.LabeledGaussians`.
        """
        if label is not None:
            return super().posterior(x, training, label=label)
        return self._weigh_labels(x, self._log_class_probabilities(x, training), training)

    def _weigh_labels(self, x, log_q, training, label=None):
        """Make q(y | x) q(z | x, y) for every y, where a known label has the probability 1."""
        if label is not None:
            known = ops.one_hot(label, self.num_classes, dtype="float32")
            log_q = ops.where(label[:, None] >= 0, ops.log(known + 1e-30), log_q)
        rows, labels = self._for_every_label(x)
        q = super().posterior(rows, training, label=labels)
        shape = (-1, self.num_classes, self.latent_dim)
        return LabeledGaussians(log_q, *(ops.reshape(v, shape) for v in (q.mean, q.log_variance)))

    def _importance_terms(self, q, y, num_samples, seed, training=False):
        label, z, log_posterior = q.repeat(num_samples).sample_with_label(seed)
        targets = ops.repeat(y, num_samples, axis=0)  # (batch * num_samples, ...)
        log_likelihood = self.conditional(z, training, label=label).log_prob(targets)
        log_prior = self.prior(z).log_prob(z) - math.log(self.num_classes)
        terms = (log_likelihood, log_posterior - log_prior)
        return tuple(ops.reshape(v, (-1, num_samples)) for v in terms)

    # ------------------------------------------------------------------ training

    def loss_weights(self) -> dict[str, Any]:
        scale = ops.convert_to_tensor(self._examples_per_label)
        return {
            **super().loss_weights(),
            "classification_loss": self.classification_weight * scale,
        }

    def loss_terms(self, x: Tensor, y: Tensor, training: bool, label: Tensor) -> dict[str, Tensor]:
        log_q = self._log_class_probabilities(x, training)
        q = self._weigh_labels(x, log_q, training, label)
        weights = ops.exp(q.log_probabilities)  # (batch, num_classes)
        each = DiagonalGaussian(q.means, q.log_variances)
        z = ops.reshape(each.sample(self.step_seed(training)), (-1, self.latent_dim))
        targets, labels = self._for_every_label(y)
        log_likelihood = self.conditional(z, training, label=labels).log_prob(targets)
        log_likelihood = ops.reshape(log_likelihood, (-1, self.num_classes))
        divergence = ops.sum(weights[..., None] * each.kl_per_dimension(), axis=1)
        negative_entropy = ops.sum(weights * q.log_probabilities, axis=1)
        known = ops.one_hot(label, self.num_classes, dtype="float32")  # Zeros where it is -1.
        return {
            **self._bound_terms(ops.sum(weights * log_likelihood, axis=1), divergence),
            "label_loss": math.log(self.num_classes) + negative_entropy,
            "classification_loss": -ops.sum(known * log_q, axis=1),
        }

    def _batch_numbers(self, batch_size):
        # Every label has a copy of an example, and of what the networks make of it.
        layers = (memory.numbers_of_layers(network)[1] for network in (self.encoder, self.decoder))
        numbers = sum(layers) + math.prod(self._data_shape) + 2 * math.prod(self._target_shape)
        return batch_size * self.num_classes * (numbers + 4 * self.latent_dim)

    # ------------------------------------------------------------------ calls

    @batched("data")
    def class_probabilities(self, x: Data) -> ArrayOrTensor:
        """Compute q(y | x): the probability of every class, shape (batch, num_classes).

        Args:
            x: Array or tensor of shape (batch, ...), or a stream of them as in `fit`.
        """
        return ops.exp(self._log_class_probabilities(x))

    @batched("data")
    def classify(self, x: Data) -> ArrayOrTensor:
        """Find the most probable label of every example: int32 of shape (batch,).

        Args:
            x: Array or tensor of shape (batch, ...), or a stream of them as in `fit`.
        """
        return backend.argmax(self._log_class_probabilities(x))

    @batched("data")
    def encode(
        self,
        x: Data,
        training: bool = False,
        sample: bool = False,
        seed: int | None = None,
        label: Array | Tensor | None = None,
    ) -> ArrayOrTensor:
        """Compute the posterior's mean of every example, or draw from the posterior.

        Args:
            x: Array or tensor of shape (batch, ...), or a stream of them as in `fit`.
            training: Whether layers such as dropout are active. Defaults to False.
            sample: Whether to draw instead of taking the mean. Defaults to False.
            seed: Integer that makes the draw repeatable. Defaults to None, a new draw in each call.
            label: Labels. Where one is unknown, -1, the posterior is the mixture of those of all
                labels with the probabilities q(y | x). Defaults to None, all unknown.

        Returns:
            Array or tensor of shape (batch, latent_dim), float32.
        """
        q = self._weigh_labels(x, self._log_class_probabilities(x, training), training, label)
        return q.sample(seed) if sample else q.mean

    @batched("data", returns_data=True)
    def reconstruct(
        self, x: Data, training: bool = False, label: Array | Tensor | None = None
    ) -> ArrayOrTensor:
        """Encode and decode every example, and take the mean over its label's distribution.

        Args:
            x: Array or tensor of shape (batch, ...), or a stream of them as in `fit`.
            training: Whether layers such as dropout are active. Defaults to False.
            label: Labels; -1 is an unknown one. Defaults to None, all unknown.

        Returns:
            Array or tensor of the target's shape, float32.
        """
        q = self._weigh_labels(x, self._log_class_probabilities(x, training), training, label)
        z, (_, labels) = ops.reshape(q.means, (-1, self.latent_dim)), self._for_every_label(x)
        data = self.conditional(z, training, label=labels).mean
        data = ops.reshape(data, (-1, self.num_classes, *self._target_shape))
        weights = ops.reshape(
            ops.exp(q.log_probabilities), (-1, self.num_classes, *[1] * len(self._target_shape))
        )
        return ops.sum(weights * data, axis=1)

    def sample(
        self,
        num_samples: int,
        seed: int | None = None,
        label: Array | Tensor | None = None,
        *,
        batch_size: int | None = None,
        verbose: Verbose = "auto",
    ) -> np.ndarray:
        """Draw new data from the model.

        Args:
            num_samples: Number of examples, a positive integer.
            seed: Integer that makes the draw repeatable. Defaults to None, a new draw in each call.
            label: One label for all samples, or one for each. Defaults to None, which draws them
                from the uniform distribution.
            batch_size: Number of examples decoded at once. Defaults to a number that fits in
                memory.
            verbose: 0, 1 or "auto" (a progress bar after two seconds). Defaults to "auto".

        Returns:
            Array of shape (num_samples, ...), float32.

        Raises:
            ValueError: If num_samples is not a positive integer, or a label is out of range.
        """
        if label is None:
            count = arguments.integer("sample", "num_samples", num_samples)
            generator = np.random.default_rng(seeds.seed_pair(self, seed))
            label = generator.integers(self.num_classes, size=count)
        return super().sample(
            num_samples, seed, batch_size=batch_size, verbose=verbose, label=label
        )

    def log_likelihood(
        self,
        x: Data,
        y: Data = None,
        num_samples: int = 1000,
        seed: int | None = None,
        *,
        batch_size: int | None = None,
        verbose: Verbose = "auto",
    ) -> ArrayOrTensor:
        """Estimate log p(x), the sum over all labels, by samples of q(y | x) q(z | x, y).

        The arguments are those of `keras_ae.VAE.log_likelihood`. In expectation, the estimate is a
        lower bound, which rises to log p(x) with the number of samples.
        """
        options = {"batch_size": batch_size, "verbose": verbose}
        return super().log_likelihood(x, y, num_samples, seed, **options)

    @batched("data", "log_likelihood")
    def _importance_estimate(self, x, y, num_samples, draws_at_once, seed):
        target = x if y is None else y
        return self._average_weights(self.posterior(x), target, num_samples, draws_at_once, seed)

    def _endpoints(self):
        found = (self.class_probabilities, {"x": (None, *self._data_shape)})
        return {**super()._endpoints(), "class_probabilities": found}
