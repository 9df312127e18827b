# What the lazy `__getattr__` of this package returns, for type checkers and editors.

from keras_ae.models.adversarial.adversarial_ae import AdversarialAE as AdversarialAE
from keras_ae.models.adversarial.factor_vae import FactorVAE as FactorVAE
from keras_ae.models.adversarial.vaegan import VAEGAN as VAEGAN
from keras_ae.models.anomaly.dagmm import DAGMM as DAGMM
from keras_ae.models.anomaly.deep_svdd import DeepSVDD as DeepSVDD
from keras_ae.models.anomaly.mem_ae import MemAE as MemAE
from keras_ae.models.anomaly.robust_ae import RobustAE as RobustAE
from keras_ae.models.anomaly.usad import USAD as USAD
from keras_ae.models.clustering.dec import DEC as DEC
from keras_ae.models.clustering.idec import IDEC as IDEC
from keras_ae.models.clustering.vade import VaDE as VaDE
from keras_ae.models.conditional.conditional_vae import ConditionalVAE as ConditionalVAE
from keras_ae.models.conditional.semi_supervised_vae import SemiSupervisedVAE as SemiSupervisedVAE
from keras_ae.models.counts.count_vae import CountVAE as CountVAE
from keras_ae.models.deterministic.ae import AE as AE
from keras_ae.models.deterministic.concrete_ae import ConcreteAE as ConcreteAE
from keras_ae.models.deterministic.contractive_ae import ContractiveAE as ContractiveAE
from keras_ae.models.deterministic.denoising_ae import DenoisingAE as DenoisingAE
from keras_ae.models.deterministic.laplacian_ae import LaplacianAE as LaplacianAE
from keras_ae.models.deterministic.linear_ae import LinearAE as LinearAE
from keras_ae.models.deterministic.masked_ae import MaskedAE as MaskedAE
from keras_ae.models.deterministic.recurrent_ae import RecurrentAE as RecurrentAE
from keras_ae.models.deterministic.regularized_ae import RegularizedAE as RegularizedAE
from keras_ae.models.deterministic.sliced_wae import SlicedWAE as SlicedWAE
from keras_ae.models.deterministic.sparse_ae import SparseAE as SparseAE
from keras_ae.models.deterministic.stacked_denoising_ae import (
    StackedDenoisingAE as StackedDenoisingAE,
)
from keras_ae.models.deterministic.unet_ae import UNetAE as UNetAE
from keras_ae.models.deterministic.wae import WAE as WAE
from keras_ae.models.discrete.fsqvae import FSQVAE as FSQVAE
from keras_ae.models.discrete.lfqvae import LFQVAE as LFQVAE
from keras_ae.models.discrete.residual_vqvae import ResidualVQVAE as ResidualVQVAE
from keras_ae.models.discrete.vqvae import VQVAE as VQVAE
from keras_ae.models.discrete.vqvae2 import VQVAE2 as VQVAE2
from keras_ae.models.geometric.hamiltonian_vae import HamiltonianVAE as HamiltonianVAE
from keras_ae.models.geometric.hyperspherical_vae import HypersphericalVAE as HypersphericalVAE
from keras_ae.models.geometric.poincare_vae import PoincareVAE as PoincareVAE
from keras_ae.models.geometric.riemannian_hamiltonian_vae import (
    RiemannianHamiltonianVAE as RiemannianHamiltonianVAE,
)
from keras_ae.models.hierarchical.ladder_vae import LadderVAE as LadderVAE
from keras_ae.models.hierarchical.top_down_vae import TopDownVAE as TopDownVAE
from keras_ae.models.importance_weighted.ciwae import CIWAE as CIWAE
from keras_ae.models.importance_weighted.iwae import IWAE as IWAE
from keras_ae.models.importance_weighted.missing_data_iwae import MissingDataIWAE as MissingDataIWAE
from keras_ae.models.importance_weighted.miwae import MIWAE as MIWAE
from keras_ae.models.importance_weighted.piwae import PIWAE as PIWAE
from keras_ae.models.multimodal.multimodal_vae import MultimodalVAE as MultimodalVAE
from keras_ae.models.recommendation.multinomial_dae import MultinomialDAE as MultinomialDAE
from keras_ae.models.recommendation.multinomial_vae import MultinomialVAE as MultinomialVAE
from keras_ae.models.recommendation.rec_vae import RecVAE as RecVAE
from keras_ae.models.series.deep_markov_model import DeepMarkovModel as DeepMarkovModel
from keras_ae.models.series.recurrent_vae import RecurrentVAE as RecurrentVAE
from keras_ae.models.series.sentence_vae import SentenceVAE as SentenceVAE
from keras_ae.models.series.time_vae import TimeVAE as TimeVAE
from keras_ae.models.series.vrnn import VRNN as VRNN
from keras_ae.models.sparse.batch_top_k_sae import BatchTopKSAE as BatchTopKSAE
from keras_ae.models.sparse.gated_sae import GatedSAE as GatedSAE
from keras_ae.models.sparse.jump_relu_sae import JumpReLUSAE as JumpReLUSAE
from keras_ae.models.sparse.matryoshka_sae import MatryoshkaSAE as MatryoshkaSAE
from keras_ae.models.sparse.top_k_sae import TopKSAE as TopKSAE
from keras_ae.models.tabular.hivae import HIVAE as HIVAE
from keras_ae.models.tabular.tabular_vae import TabularVAE as TabularVAE
from keras_ae.models.topics.embedded_topic_model import EmbeddedTopicModel as EmbeddedTopicModel
from keras_ae.models.topics.prod_lda import ProdLDA as ProdLDA
from keras_ae.models.variational.annealed_vae import AnnealedVAE as AnnealedVAE
from keras_ae.models.variational.beta_tc_vae import BetaTCVAE as BetaTCVAE
from keras_ae.models.variational.beta_vae import BetaVAE as BetaVAE
from keras_ae.models.variational.categorical_vae import CategoricalVAE as CategoricalVAE
from keras_ae.models.variational.dip_vae import DIPVAE as DIPVAE
from keras_ae.models.variational.flow_vae import FlowVAE as FlowVAE
from keras_ae.models.variational.iaf_vae import IAFVAE as IAFVAE
from keras_ae.models.variational.info_vae import InfoVAE as InfoVAE
from keras_ae.models.variational.joint_vae import JointVAE as JointVAE
from keras_ae.models.variational.perceptual_vae import PerceptualVAE as PerceptualVAE
from keras_ae.models.variational.sigma_vae import SigmaVAE as SigmaVAE
from keras_ae.models.variational.vae import VAE as VAE
from keras_ae.models.variational.vamp_vae import VampVAE as VampVAE
