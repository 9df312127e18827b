"""Find the model, its data and its facts, for what a user passes to `explore`."""

import os

import numpy as np

from keras_ae import datasets
from keras_ae.autoencoder import Autoencoder
from keras_ae.core import arguments
from keras_ae.estimators import AnomalyDetector
from keras_ae.explorer.views import NUM_EXAMPLES, Views
from keras_ae.saving.card import read_card
from keras_ae.saving.load import load

_FACTS = ("data", "figures", "seed", "command", "license", "backend")  # What is shown of a card.


def make_views(
    model,
    x=None,
    *,
    inputs=None,
    labels=None,
    names=None,
    rate=None,
    seed=0,
    title=None,
    data=None,
    needs_data=False,
    warn=None,
):
    """Make the views of a model.

    Args:
        model, x, labels, names, rate, seed: See `keras_ae.explore`.
        inputs: Dictionary of the named inputs of x. Defaults to None, no inputs.
        title: Title of the page. Defaults to None: the name of the file, or the class.
        data: Name or path of the data that x is read from. Defaults to None: what the card says.
        needs_data: Whether it is an error if this data cannot be read. Defaults to False: the page
            shows draws from the model instead.
        warn: Function of a line of text, which is called in this case. Defaults to None.

    Returns:
        `Views`.
    """
    card, detector, inputs = {}, None, inputs or {}
    seed = arguments.integer("explore", "seed", seed, least=0)
    rate = arguments.number("explore", "rate", rate, positive=True, optional=True)
    if isinstance(model, (str, os.PathLike)):
        title = title or os.path.basename(os.path.normpath(model))
        card = read_card(model)
        model = AnomalyDetector.load(model) if "detector" in card else load(model)
    if isinstance(model, AnomalyDetector):
        detector, model = model, model.model_
    if not isinstance(model, Autoencoder):
        wanted = "a model of keras_ae, an AnomalyDetector, or a path or name that load takes"
        raise arguments.refusal("explore", "model", model, wanted, error=TypeError)
    for name in inputs:
        if name not in model.extra_inputs:
            raise TypeError(
                f"explore: {type(model).__name__} has no input {name!r}."
                f"{arguments.did_you_mean(name, model.extra_inputs)} Its inputs are "
                f"{', '.join(model.extra_inputs) or '(none)'}."
            )
    data = card.get("data") if data is None else data
    if x is None and isinstance(data, str):
        try:
            x, labels, inputs = _find_data(model, data, labels, inputs)
        except (ImportError, OSError, ValueError) as error:
            if needs_data:
                raise
            if warn is not None:
                line = " ".join(str(error).split())
                warn(f"draws from the model are shown, because {data!r} cannot be: {line}")
    if names is None and detector is not None:
        names = getattr(detector, "feature_names_in_", None)
    if rate is None and arguments.is_number(card.get("rate")) and card["rate"] > 0:
        rate = card["rate"]
    facts = {key: card[key] for key in _FACTS if key in card}
    return Views(
        model,
        x,
        inputs=inputs,
        labels=labels,
        names=names,
        rate=rate,
        title=title,
        card=facts,
        detector=detector,
        seed=seed,
    )


def _find_data(model, name, labels, inputs):
    """Read the first examples of named data. Return them, their labels, and named inputs."""
    x, found = read_examples(name)
    wanted = None if model._modalities else tuple(model._data_shape)
    if x.shape[1:] != wanted:
        raise ValueError(
            f"its examples have the shape {x.shape[1:]}, and {type(model).__name__} takes {wanted}."
        )
    if "label" in model.extra_inputs and "label" not in inputs:
        if found is None:
            raise ValueError(f"{type(model).__name__} takes labels, and the data has none.")
        inputs = {**inputs, "label": found}
    return x, found if labels is None else labels, inputs


def read_examples(name):
    """Read the first examples of the test split of named data.

    If there is none, the last tenth of "train" is the test split.

    Returns:
        Array of examples, and a vector of their labels, or None if there are none.
    """
    split = "test"
    try:
        dataset = datasets.load(name, split)
    except ValueError as no_test:
        split = "train[90%:]"
        try:
            dataset = datasets.load(name, split)
        except ValueError:
            raise no_test from None
    try:
        pairs = datasets.load(name, split, labels=True).take(NUM_EXAMPLES).as_numpy_iterator()
        x, labels = map(np.stack, zip(*pairs, strict=True))
        return x, labels.reshape(len(labels), -1)[:, 0]
    except ValueError:
        return np.stack(list(dataset.take(NUM_EXAMPLES).as_numpy_iterator())), None
