"""The losses of a batch: one number for each player, and the running means of every term."""

import keras
from keras import ops

from keras_ae.core import adaptation, examples
from keras_ae.core.programs import guard_programs


class _BatchMean(keras.losses.Loss):
    """Mean over the batch; sample weights and the scaling for replicas are Keras' own."""

    def call(self, y_true, y_pred):
        return y_pred


_BATCH_MEAN = _BatchMean(dtype="float32", name="batch_mean")


class CountingMean(keras.metrics.Mean):
    """A running mean that also counts its examples, whatever they weigh."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seen = self.add_variable((), "zeros", dtype="int32", name="seen")

    def update_state(self, values, sample_weight=None):
        super().update_state(values, sample_weight)
        self.seen.assign(self.seen + ops.shape(values)[0])

    def reset_state(self):
        super().reset_state()
        self.seen.assign(0)


def make_trackers(model):
    """Make the running mean of each term; the first one also counts the examples."""
    first, *others = [*model.objective, *sum(model.players.values(), ()), *model.diagnostics]
    means = {name: keras.metrics.Mean(name=name) for name in others}
    model._trackers = {first: CountingMean(name=first), **means}


def losses_and_logs(model, data, training):
    """One scalar loss per player, and the running means of everything tracked.

    Args:
        model: The model.
        data: Batch as Keras hands it to a step: x, (x, y) or (x, y, sample_weight).
        training: Whether weights are being updated.

    Returns:
        List of scalars, the autoencoder's own first, then those of `players` in order; and a
        dictionary of logs.
    """
    model._notes.in_step.seed = model.step_seed(training)
    try:
        with guard_programs(model):
            return _losses_and_logs(model, data, training)
    finally:
        model._notes.in_step.seed = None


def _losses_and_logs(model, data, training):
    batch, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    x, inputs = examples.cast(model, *examples.split(model, batch))
    y = x if y is None else examples.map_leaves(lambda value: ops.cast(value, "float32"), y)
    if not training:
        y = examples.clip_to_support(model, y)
    inputs = examples.select(model, model.loss_terms, inputs)
    length = ops.shape(examples.leaves(x)[0])[0]
    own = [adaptation.standardize(model, v) for v in ((x,) if y is x else (x, y))]
    own_inputs = adaptation.standardize_inputs(model, inputs)
    with adaptation.own_units(model):
        terms = model.loss_terms(own[0], own[-1], training, **own_inputs)
    terms = {name: _per_example(value, length) for name, value in terms.items()}
    weights = model.loss_weights()
    totals = [
        sum(weights.get(name, 1.0) * terms[name] for name in names) + sum(regularizers)
        for names, regularizers in zip(
            (model.objective, *model.players.values()), _regularizers(model), strict=True
        )
    ]
    for name, tracker in model._trackers.items():
        tracker.update_state(terms[name], sample_weight)
    model._loss_tracker.update_state(totals[0], sample_weight)
    losses = [_BATCH_MEAN(total, total, sample_weight) for total in totals]
    if training:
        model._step.assign(model._step + 1)
    y_pred = None
    if model._compile_metrics is not None:
        y_pred = model(examples.join(model, x, inputs), training=False)
    return losses, model.compute_metrics(x, y, y_pred, sample_weight)


def _regularizers(model):
    """The regularization losses of the autoencoder's own networks, then of each player's."""
    claimed = claimed_networks(model)
    ids = {id(network) for networks in claimed for network in networks}
    own = sum((layer.losses for layer in model.layers if id(layer) not in ids), [])
    return [own, *(sum((n.losses for n in networks), []) for networks in claimed)]


def variable_groups(model):
    """The weights that each player moves; the first group is everything unclaimed."""
    claimed = [
        sum((network.trainable_variables for network in networks), [])
        for networks in claimed_networks(model)
    ]
    ids = {id(variable) for group in claimed for variable in group}
    return [[v for v in model.trainable_variables if id(v) not in ids], *claimed]


def claimed_networks(model):
    """The networks of each player."""
    names = [(name,) if isinstance(name, str) else name for name in model.players]
    return [[getattr(model, name) for name in group] for group in names]


def skip_single_example(model, name, value, x):
    """Replace a term that compares the examples of a batch by its mean so far for one example.

    One example says nothing about a distribution, so that it must not change any weight, or any
    mean in the logs.

    Args:
        model: The model.
        name: The term's name.
        value: What was computed from the batch.
        x: The batch, shape (batch, ...).
    """
    return ops.where(
        ops.shape(x)[0] > 1, value, ops.cast(model._trackers[name].result(), "float32")
    )


def _per_example(value, length):
    """A loss as a float32 tensor of shape (batch,), whatever its shape."""
    value = ops.cast(value, "float32")
    return value if len(value.shape) == 1 else ops.broadcast_to(value, (length,))
