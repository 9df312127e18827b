"""What the losses and the copies of a trained model say about it, and what to try next."""

import numpy as np

from keras_ae.callbacks.diagnosis import find_collapse
from keras_ae.core import examples

_STILL_FALLS = 0.02  # A loss still falls if its last fifth of the epochs brought this share.
_ROSE = 0.02  # It has risen if this share of what the training brought is lost again.


def judge(model, x, history, settings):
    """Return sentences on a trained model, each with what to try next if there is anything.

    Args:
        model: The model.
        x: Test examples, as `fit` takes them, or a dictionary of them and other inputs.
        history: Dictionary of the losses of all epochs: name -> list.
        settings: The `Settings` of the run.

    Returns:
        List of strings.
    """
    last = {name: values[-1] for name, values in history.items()}
    collapse = find_collapse(model, x, last)
    found = [f"The code: {collapse.removeprefix('the code ')}"] if collapse else []
    found += _judge_training(history.get("val_loss", history["loss"]), settings)
    found += _judge_copies(model, x)
    if settings.sampler is None and takes_sampler(model):
        found.append(
            "Samples were drawn as the model does by itself. Codes drawn from a density of the "
            "data's codes often give better ones: --sampler gaussian_mixture."
        )
    return found


def takes_sampler(model):
    """Tell whether a sampler of codes can be fitted to x alone."""
    is_vector = model._code_dtype == "float32" and len(model.code_shape) == 1
    return is_vector and not model.extra_inputs


def _judge_training(losses, settings):
    """Tell whether the loss still falls, or has risen again."""
    if len(losses) < 5:
        return [f"{_count(len(losses))} hardly a training. Try --epochs {5 * settings.epochs}."]
    best, brought = int(np.argmin(losses)), losses[0] - min(losses)
    if losses[-1] - losses[best] > _ROSE * brought:
        if settings.early_stopping is not None:
            return []  # The model is that of the best epoch.
        return [
            f"The loss on the test split was lowest in epoch {best + 1}, and has risen since. Try "
            f"--epochs {best + 1}, --early-stopping 5, or more data."
        ]
    before = losses[-1 - len(losses) // 5]
    if before - losses[-1] > _STILL_FALLS * brought:
        return [
            f"The loss still falls: by {before - losses[-1]:.3g} in the last "
            f"{len(losses) // 5} epochs. Try --epochs {2 * settings.epochs}."
        ]
    return ["The loss hardly falls any more."]


def _count(epochs):
    return "One epoch is" if epochs == 1 else f"{epochs} epochs are"


def _judge_copies(model, x):
    """Tell which share of the variance of the data the reconstructions explain."""
    data, _ = examples.split(model, x)
    if isinstance(data, dict) or not np.issubdtype(data.dtype, np.floating):
        return []
    copies = model.reconstruct(x, verbose=0)
    if copies.shape != data.shape or np.isnan(data).any():
        return []
    rest = np.square(copies - data).sum() / np.square(data - data.mean(axis=0)).sum()
    if not np.isfinite(rest):
        return []
    if rest >= 1.0:
        return [
            "Reconstructions are no better than the mean of the data. Try more epochs, or another "
            "--learning-rate."
        ]
    return [f"Reconstructions explain {1.0 - rest:.0%} of the variance of the test data."]
