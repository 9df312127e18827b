"""Autoencoders for Keras 3: train, sample, serve and fine-tune.

Every name is loaded when it is used first, so that an import of the package alone takes no time.
"""

import importlib

from keras_ae import models
from keras_ae.core import registration

__version__ = "0.2.0"

# Public names that are no models -> where they are.
_HOMES = {
    "Autoencoder": "autoencoder",
    "activations": "datasets.inner_activations",
    "compare": "cli.compare",
    "explore": "explorer",
    "list_pretrained": "saving.collection",
    "load": "saving.load",
    "optimizers_for": "optimizers",
    "upload_preset": "saving.upload",
}
_MODULES = (
    "callbacks corruptions datasets distributions divergences estimators evaluation flows "
    "hamiltonian layers likelihoods losses models networks plots samplers saving schedules "
    "sparsity testing"
).split()
_RENAMED = {"metric": "hamiltonian", "priors": "samplers", "artefact": "saving"}

registration.register(models.FILES, _RENAMED)


def __getattr__(name):
    if name in _MODULES or name in _RENAMED:
        return importlib.import_module(f"keras_ae.{_RENAMED.get(name, name)}")
    if name in models.FILES:
        value = getattr(models, name)
    elif name in _HOMES:
        value = getattr(importlib.import_module(f"keras_ae.{_HOMES[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__():
    return sorted([*models.FILES, *_HOMES, *_MODULES, "__doc__", "__name__", "__version__"])
