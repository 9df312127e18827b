"""What models of clusters share: pre-training, the start of the clusters, and their calls."""

import math
import warnings
from typing import Any

import numpy as np
from keras import ops

from keras_ae.core import (
    adaptation,
    arguments,
    backend,
    building,
    former_weights,
    memory,
    seeds,
)
from keras_ae.core.batching import batched
from keras_ae.core.types import ArrayOrTensor, Data, Verbose
from keras_ae.models.deterministic.ae import AE

# The values of the weight `stage`. Clusters are preliminary if `fit` ended during the pre-training.
# The end of the pre-training replaces them.
_WITHOUT_CLUSTERS, _PRELIMINARY, _CLUSTERING = 0, 1, 2


def make_state(model, name, shape, initializer="zeros", dtype="float32"):
    """Make a weight that no gradient moves.

    What `fit` finds in the data is in such weights, and a trainable weight is added to it. Assigned
    to trainable weights, it would be lost with an optimizer that averages them.

    Args:
        model: The model.
        name, shape, initializer, dtype: As in `keras.layers.Layer.add_weight`.
    """
    return model.add_weight(
        shape=shape,
        initializer=initializer,
        dtype=dtype,
        trainable=False,
        autocast=False,
        aggregation="only_first_replica",
        name=name,
    )


def _copy(value):
    """Return the value of a weight or array as a new array, because weights share no memory."""
    return np.array(ops.convert_to_numpy(ops.convert_to_tensor(value)))


class Clustering:
    """The part of a model of clusters that decides when they start: a mixin before its base class.

    Training has two phases, which one `fit` or several share. The first `pretraining_steps` steps
    train an autoencoder. Before the next step, `_start_clusters` finds clusters of the codes of all
    data. The weights hold the number of steps and the phase, so that a training that was killed
    resumes in the phase in which it was. If `fit` ends earlier, it finds preliminary clusters at
    its end.
    """

    explorer_views = {"Cluster probabilities": "cluster_probabilities"}

    def _check_arguments(self, num_clusters, pretraining_steps):
        """Store the arguments that all of these models take."""
        self.num_clusters = arguments.integer(self, "num_clusters", num_clusters)
        remedy = "It counts training steps, which are epochs times batches per epoch."
        self.pretraining_steps = arguments.integer(
            self, "pretraining_steps", pretraining_steps, least=0, remedy=remedy
        )

    def _build_networks(self, shape, target_shape):
        super()._build_networks(shape, target_shape)
        self._stage = building.make_counter(self, "stage")

    def _start_clusters(self, passes):
        """Find clusters of the codes of all data, and assign the weights that hold them."""
        raise NotImplementedError

    def _read_stage(self):
        return int(ops.convert_to_numpy(ops.convert_to_tensor(self._stage)))

    def _is_clustering(self):
        """Tell whether the pre-training is over: a boolean scalar tensor."""
        return ops.equal(ops.convert_to_tensor(self._stage), _CLUSTERING)

    def _prepare_training(self, batches, steps):
        super()._prepare_training(batches, steps)
        passes = adaptation.Passes(self, batches, steps)
        if not passes.can_repeat():
            raise ValueError(
                f"{type(self).__name__}: x is a generator, which can be read only once, but all "
                "data is read when the clusters start. Pass an array, a tf.data.Dataset or a "
                "keras.utils.PyDataset."
            )
        if self._read_stage() != _CLUSTERING:
            self._check_number(passes)

    def _check_number(self, passes):
        """Raise an error if the data has fewer examples than there are clusters."""
        number = 0
        for x, _ in passes:
            number += len(x)
            if number >= self.num_clusters:
                return
        raise ValueError(
            f"{type(self).__name__}: num_clusters={self.num_clusters}, but x has only {number} "
            "examples. Take fewer clusters, or pass more examples."
        )

    def _next_stage(self):
        return math.inf if self._read_stage() == _CLUSTERING else self.pretraining_steps

    def _begin_stage(self, passes):
        if self._read_stage() != _CLUSTERING:
            self._start_clusters(passes)
            self._stage.assign(_CLUSTERING)

    def _finish_training(self, passes):
        if self._read_stage() != _CLUSTERING:
            self._start_clusters(passes)
            self._stage.assign(_PRELIMINARY)

    def _find_codes(self, passes):
        """Compute the codes of all data, a float64 array of shape (examples, latent_dim)."""
        codes = [self.encode(x, verbose=0, **inputs) for x, inputs in passes]
        return np.concatenate(codes).astype("float64")

    def _log_cluster_probabilities(self, x):
        """Compute the logarithms of the probabilities of the clusters, (batch, num_clusters)."""
        raise NotImplementedError

    @batched("data", "cluster_probabilities")
    def _find_probabilities(self, x):
        return ops.exp(self._log_cluster_probabilities(x))

    @batched("data", "cluster")
    def _find_clusters(self, x):
        return backend.argmax(self._log_cluster_probabilities(x))

    def _require_clusters(self, call):
        # A function that is being compiled cannot read weights.
        if not self.built or (not backend.is_tracing() and not self._read_stage()):
            raise RuntimeError(
                f"{type(self).__name__}.{call}: there are no clusters yet. Call fit(x) first."
            )

    def cluster(
        self, x: Data, *, batch_size: int | None = None, verbose: Verbose = "auto"
    ) -> ArrayOrTensor:
        """Find the most probable cluster of every example.

        Args:
            x: Array or tensor of shape (batch, ...), or a stream of them as in `fit`.
            batch_size: Number of examples in a batch. Defaults to a number that fits in memory.
            verbose: 0, 1 or "auto" (a progress bar after two seconds). Defaults to "auto".

        Returns:
            Array or tensor of shape (batch,), int32: integers from 0 to num_clusters - 1.

        Raises:
            RuntimeError: If the model has not been trained.
        """
        self._require_clusters("cluster")
        return self._find_clusters(x, batch_size=batch_size, verbose=verbose)

    def cluster_probabilities(
        self, x: Data, *, batch_size: int | None = None, verbose: Verbose = "auto"
    ) -> ArrayOrTensor:
        """Compute the probability of every cluster for every example.

        Args:
            x, batch_size, verbose: See `cluster`.

        Returns:
            Array or tensor of shape (batch, num_clusters), float32, whose rows have the sum 1.

        Raises:
            RuntimeError: If the model has not been trained.
        """
        self._require_clusters("cluster_probabilities")
        return self._find_probabilities(x, batch_size=batch_size, verbose=verbose)

    def _endpoints(self):
        if not self._read_stage():
            return super()._endpoints()
        found = (self.cluster_probabilities, {"x": (None, *self._data_shape)})
        return {**super()._endpoints(), "cluster_probabilities": found}


class SoftClusteringAE(Clustering, AE):
    """Base class of `DEC` and `IDEC`, whose codes move toward the centers of their clusters.

    The probability q_ij that example i belongs to cluster j follows from a Student's t-distribution
    around the center mu_j of the cluster, eq. 1 of arXiv:1511.06335: it is proportional to
    1 / (1 + |z_i - mu_j|^2). `cluster_loss` is KL(p_i || q_i), eq. 2, in nats, with the target
    p_ij, eq. 3: it is proportional to q_ij^2 / f_j, where f_j is the sum of q_ij over all data.

    The targets stay fixed for `update_interval` steps. The model keeps the encoder and the centers
    of the last update in weights of their own. From them it computes the q_i of the targets, so
    that the targets of all data need no storage, and f_j is computed in a pass over all data.
    """

    objective = (*AE.objective, "cluster_loss")

    def __init__(
        self,
        latent_dim: int = 10,
        num_clusters: int = 10,
        pretraining_steps: int = 2000,
        update_interval: int = 140,
        **kwargs: Any,
    ):
        super().__init__(latent_dim, **kwargs)
        self._check_arguments(num_clusters, pretraining_steps)
        remedy = "It counts training steps, which are epochs times batches per epoch."
        self.update_interval = arguments.integer(
            self, "update_interval", update_interval, remedy=remedy
        )

    def _build_networks(self, shape, target_shape):
        super()._build_networks(shape, target_shape)
        shape = (self.num_clusters, self.latent_dim)
        self._starts = make_state(self, "starts", shape)
        self._moves = self.add_weight(
            shape=shape, initializer="zeros", dtype="float32", name="moves"
        )
        self._shares = make_state(self, "shares", (self.num_clusters,), "ones")
        self._last_update = building.make_counter(self, "last_update")
        self._targets = []
        for number, source in enumerate(self._sources()):
            name = f"of_targets_{number}"
            self._targets.append(make_state(self, name, source.shape, dtype=source.dtype))
            self._targets[-1].assign(_copy(source))

    def _sources(self):
        """List the weights from which the probabilities of the clusters follow."""
        return [*former_weights.list_weights(self._parts_of_code()), self._starts, self._moves]

    def _parts_of_code(self):
        return self.encoder, self.features_to_code

    def _step_numbers(self, batch_size):
        # The encoder reads each batch a second time, for the targets.
        outputs = memory.numbers_of_layers(self.encoder)[1]
        return super()._step_numbers(batch_size) + batch_size * outputs

    @property
    def centers(self) -> np.ndarray:
        """The centers of the clusters, an array of shape (num_clusters, latent_dim).

        The model must be built.
        """
        return ops.convert_to_numpy(self._current_centers())

    def _current_centers(self):
        return ops.convert_to_tensor(self._starts) + self._moves

    # ------------------------------------------------------------------ training

    def _next_stage(self):
        if self._read_stage() != _CLUSTERING:
            return super()._next_stage()
        last = int(ops.convert_to_numpy(ops.convert_to_tensor(self._last_update)))
        return last + self.update_interval

    def _begin_stage(self, passes):
        super()._begin_stage(passes)
        self._update_targets(passes)

    def _start_clusters(self, passes):
        from sklearn.cluster import KMeans
        from sklearn.exceptions import ConvergenceWarning

        codes = self._find_codes(passes)
        seed = seeds.order_seed(self) % 2**32
        with warnings.catch_warnings():
            # Equal codes make fewer clusters, some of which then have the same center.
            warnings.simplefilter("ignore", ConvergenceWarning)
            found = KMeans(self.num_clusters, n_init=20, random_state=seed).fit(codes)
        self._starts.assign(found.cluster_centers_)

    def _update_targets(self, passes):
        """Take the encoder, the centers and the shares f_j / n from the model as it is now."""
        total = number = 0
        for x, inputs in passes:
            found = self._find_probabilities(x, verbose=0, **inputs).astype("float64")
            total, number = total + found.sum(axis=0), number + len(found)
        self._shares.assign(total / number)
        values = [*former_weights.read_values(self._parts_of_code()), self._starts, self._moves]
        for state, value in zip(self._targets, values, strict=True):
            state.assign(_copy(value))
        self._last_update.assign(_copy(self._step))

    def _log_memberships(self, z):
        """Compute log q, eq. 1, of codes (batch, latent_dim): a tensor (batch, num_clusters)."""
        difference = z[:, None] - self._current_centers()
        distances = ops.sum(ops.square(difference), axis=-1)
        return ops.log_softmax(-ops.log1p(distances), axis=-1)

    def _log_cluster_probabilities(self, x):
        return self._log_memberships(self._code(x))

    def _log_targets(self, x):
        """Compute log p, eq. 3, of a batch: a tensor (batch, num_clusters) without gradients."""
        *states, starts, moves = map(ops.convert_to_tensor, self._targets)
        centers = [(self._starts, starts), (self._moves, moves)]
        with former_weights.replacing(self._parts_of_code(), states, centers):
            log_q = self._log_cluster_probabilities(x)
        shares = ops.maximum(ops.convert_to_tensor(self._shares), 1e-12)
        return ops.stop_gradient(ops.log_softmax(2.0 * log_q - ops.log(shares), axis=-1))

    def _cluster_loss(self, x, z):
        """Compute KL(p || q), eq. 2, of every example, shape (batch,)."""
        log_p = self._log_targets(x)
        return ops.sum(ops.exp(log_p) * (log_p - self._log_memberships(z)), axis=-1)
