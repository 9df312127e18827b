"""Autoencoders for Keras 3: train, sample, serve and fine-tune."""

from keras_ae import corruptions as corruptions
from keras_ae import distributions as distributions
from keras_ae import divergences as divergences
from keras_ae import flows as flows
from keras_ae import layers as layers
from keras_ae import likelihoods as likelihoods
from keras_ae import losses as losses
from keras_ae import metric as metric
from keras_ae import networks as networks
from keras_ae import priors as priors
from keras_ae import schedules as schedules
from keras_ae.artefact import load as load
from keras_ae.autoencoder import Autoencoder as Autoencoder
from keras_ae.models import AE as AE
from keras_ae.models import CIWAE as CIWAE
from keras_ae.models import DIPVAE as DIPVAE
from keras_ae.models import IAFVAE as IAFVAE
from keras_ae.models import IWAE as IWAE
from keras_ae.models import MIWAE as MIWAE
from keras_ae.models import PIWAE as PIWAE
from keras_ae.models import VAE as VAE
from keras_ae.models import VAEGAN as VAEGAN
from keras_ae.models import WAE as WAE
from keras_ae.models import AdversarialAE as AdversarialAE
from keras_ae.models import AnnealedVAE as AnnealedVAE
from keras_ae.models import BetaTCVAE as BetaTCVAE
from keras_ae.models import BetaVAE as BetaVAE
from keras_ae.models import ContractiveAE as ContractiveAE
from keras_ae.models import DenoisingAE as DenoisingAE
from keras_ae.models import FactorVAE as FactorVAE
from keras_ae.models import FlowVAE as FlowVAE
from keras_ae.models import HamiltonianVAE as HamiltonianVAE
from keras_ae.models import HypersphericalVAE as HypersphericalVAE
from keras_ae.models import InfoVAE as InfoVAE
from keras_ae.models import LadderVAE as LadderVAE
from keras_ae.models import PerceptualVAE as PerceptualVAE
from keras_ae.models import PoincareVAE as PoincareVAE
from keras_ae.models import RegularizedAE as RegularizedAE
from keras_ae.models import RiemannianHamiltonianVAE as RiemannianHamiltonianVAE
from keras_ae.models import SlicedWAE as SlicedWAE
from keras_ae.models import SparseAE as SparseAE
from keras_ae.models import TopDownVAE as TopDownVAE
from keras_ae.models import VampVAE as VampVAE
from keras_ae.optimizers import optimizers_for as optimizers_for

__version__ = "0.1.0"
