"""What the steps of all backends do with their gradients."""

import keras
from keras import ops

# If several replicas share a step, TensorFlow ends it with an error that contains this sentence.
NOT_FINITE = "A loss or a gradient is not finite."


def find_whether_finite(model, total, losses, gradients):
    """Tell whether the losses of the epoch so far and the gradients of this step are finite.

    Of the gradients, only those of vectors are read, such as the biases of layers, which takes
    little time. A gradient that is NaN at a layer's output makes that of its bias NaN.

    Args:
        model: The model that is trained.
        total: Tensor of shape (), the sum of the autoencoder's own losses of the epoch.
        losses: List of the step's losses, tensors of shape (), one for each player.
        gradients: List of the gradients of the step. Some may be None or sparse.

    Returns:
        Boolean tensor of shape ().
    """
    total = sum(losses, total)
    vectors = []
    # With float16, this optimizer itself finds the gradients that overflow, and skips their step.
    if not isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer):
        vectors = [g for g in gradients if ops.is_tensor(g) and len(g.shape) == 1]
    if vectors:
        joined = ops.concatenate([ops.cast(vector, "float32") for vector in vectors])
        total = total + ops.sum(joined)
    return ops.isfinite(total)


def find_held(model):
    """Return the ids of the weights that stand still in some training steps."""
    return {id(v) for name in model._held for v in getattr(model, name).trainable_variables}
