"""TensorFlow: one gradient tape a step."""

import contextlib

import keras
import tensorflow as tf

SEED_DTYPE = "int64"


class TrainStep:
    """One step under TensorFlow: every player descends its own loss, in one apply."""

    def train_step(self, data):
        groups = self.variable_groups()
        # A persistent tape keeps every intermediate tensor alive: only several players need one.
        with tf.GradientTape(persistent=len(groups) > 1) as tape:
            losses, logs = self.losses_and_logs(data, training=True)
            losses = [self.optimizer.scale_loss(loss) for loss in losses]
        gradients = [tape.gradient(loss, group) for loss, group in zip(losses, groups, strict=True)]
        self.optimizer.apply(sum(gradients, []), sum(groups, []))
        return _reducible(logs)

    def test_step(self, data):
        return _reducible(self.losses_and_logs(data, training=False)[1])


def _reducible(logs):
    # Several workers average the logs over axis 0 (keras#20585), which a scalar does not have.
    if isinstance(tf.distribute.get_strategy(), tf.distribute.MultiWorkerMirroredStrategy):
        return {name: keras.ops.reshape(value, (1,)) for name, value in logs.items()}
    return logs


def compiled(model, function):
    """`function` of tensors as one graph, whatever the length of the first axis."""
    # A leading None in every signature: one trace serves every batch size.
    traced = {}

    def call(*arrays):
        key = tuple((array.shape[1:], array.dtype.name) for array in arrays)
        if key not in traced:
            specs = [tf.TensorSpec((None, *a.shape[1:]), a.dtype) for a in arrays]
            graph = tf.function(function, input_signature=specs, autograph=False)
            # Called by itself: tf.function would warn of retracing, for it takes all the graphs
            # made here for traces of one.
            traced[key] = graph.get_concrete_function()
        return traced[key](*map(tf.constant, arrays))

    return call


def building_scope(model):
    """The scope in which the model's weights are mirrored, if it was made under a strategy."""
    # distribute_strategy falls back on the default strategy, whose scope cannot be entered twice.
    if tf.distribute.has_strategy() or model.distribute_strategy is tf.distribute.get_strategy():
        return contextlib.nullcontext()
    return model.distribute_strategy.scope()


def replica_index():
    """The number of the running replica, or None where there is only one."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return None
    return context.replica_id_in_sync_group
