# What the lazy `__getattr__` of this package returns, for type checkers and editors.

from keras_ae import callbacks as callbacks
from keras_ae import corruptions as corruptions
from keras_ae import datasets as datasets
from keras_ae import distributions as distributions
from keras_ae import divergences as divergences
from keras_ae import estimators as estimators
from keras_ae import evaluation as evaluation
from keras_ae import flows as flows
from keras_ae import hamiltonian as hamiltonian
from keras_ae import layers as layers
from keras_ae import likelihoods as likelihoods
from keras_ae import losses as losses
from keras_ae import models as models
from keras_ae import networks as networks
from keras_ae import plots as plots
from keras_ae import samplers as samplers
from keras_ae import saving as saving
from keras_ae import schedules as schedules
from keras_ae import sparsity as sparsity
from keras_ae import testing as testing
from keras_ae.autoencoder import Autoencoder as Autoencoder
from keras_ae.cli.compare import compare as compare
from keras_ae.datasets.inner_activations import activations as activations
from keras_ae.models import *  # noqa: F403
from keras_ae.optimizers import optimizers_for as optimizers_for
from keras_ae.saving.collection import list_pretrained as list_pretrained
from keras_ae.saving.load import load as load
from keras_ae.saving.upload import upload_preset as upload_preset

__version__: str
