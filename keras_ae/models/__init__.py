"""The models, one paper a file."""

from keras_ae.models.ae import AE as AE
from keras_ae.models.beta_vae import BetaVAE as BetaVAE
from keras_ae.models.denoising_ae import DenoisingAE as DenoisingAE
from keras_ae.models.factor_vae import FactorVAE as FactorVAE
from keras_ae.models.vae import VAE as VAE
