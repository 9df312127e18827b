"""The models, one paper a file."""

from keras_ae.models.adversarial_ae import AdversarialAE as AdversarialAE
from keras_ae.models.ae import AE as AE
from keras_ae.models.annealed_vae import AnnealedVAE as AnnealedVAE
from keras_ae.models.batch_top_k_sae import BatchTopKSAE as BatchTopKSAE
from keras_ae.models.beta_tc_vae import BetaTCVAE as BetaTCVAE
from keras_ae.models.beta_vae import BetaVAE as BetaVAE
from keras_ae.models.ciwae import CIWAE as CIWAE
from keras_ae.models.contractive_ae import ContractiveAE as ContractiveAE
from keras_ae.models.denoising_ae import DenoisingAE as DenoisingAE
from keras_ae.models.dip_vae import DIPVAE as DIPVAE
from keras_ae.models.factor_vae import FactorVAE as FactorVAE
from keras_ae.models.flow_vae import FlowVAE as FlowVAE
from keras_ae.models.fsqvae import FSQVAE as FSQVAE
from keras_ae.models.gated_sae import GatedSAE as GatedSAE
from keras_ae.models.hamiltonian_vae import HamiltonianVAE as HamiltonianVAE
from keras_ae.models.hyperspherical_vae import HypersphericalVAE as HypersphericalVAE
from keras_ae.models.iaf_vae import IAFVAE as IAFVAE
from keras_ae.models.info_vae import InfoVAE as InfoVAE
from keras_ae.models.iwae import IWAE as IWAE
from keras_ae.models.jump_relu_sae import JumpReLUSAE as JumpReLUSAE
from keras_ae.models.ladder_vae import LadderVAE as LadderVAE
from keras_ae.models.lfqvae import LFQVAE as LFQVAE
from keras_ae.models.masked_ae import MaskedAE as MaskedAE
from keras_ae.models.matryoshka_sae import MatryoshkaSAE as MatryoshkaSAE
from keras_ae.models.miwae import MIWAE as MIWAE
from keras_ae.models.perceptual_vae import PerceptualVAE as PerceptualVAE
from keras_ae.models.piwae import PIWAE as PIWAE
from keras_ae.models.poincare_vae import PoincareVAE as PoincareVAE
from keras_ae.models.recurrent_ae import RecurrentAE as RecurrentAE
from keras_ae.models.regularized_ae import RegularizedAE as RegularizedAE
from keras_ae.models.residual_vqvae import ResidualVQVAE as ResidualVQVAE
from keras_ae.models.riemannian_hamiltonian_vae import (
    RiemannianHamiltonianVAE as RiemannianHamiltonianVAE,
)
from keras_ae.models.sliced_wae import SlicedWAE as SlicedWAE
from keras_ae.models.sparse_ae import SparseAE as SparseAE
from keras_ae.models.top_down_vae import TopDownVAE as TopDownVAE
from keras_ae.models.top_k_sae import TopKSAE as TopKSAE
from keras_ae.models.unet_ae import UNetAE as UNetAE
from keras_ae.models.vae import VAE as VAE
from keras_ae.models.vaegan import VAEGAN as VAEGAN
from keras_ae.models.vamp_vae import VampVAE as VampVAE
from keras_ae.models.vqvae import VQVAE as VQVAE
from keras_ae.models.vqvae2 import VQVAE2 as VQVAE2
from keras_ae.models.wae import WAE as WAE
