"""The models, with one file for each paper. A model is loaded when its name is first used."""

import importlib

# Each public name of a model maps to its file.
FILES = {
    "AE": "deterministic.ae",
    "DenoisingAE": "deterministic.denoising_ae",
    "StackedDenoisingAE": "deterministic.stacked_denoising_ae",
    "UNetAE": "deterministic.unet_ae",
    "RecurrentAE": "deterministic.recurrent_ae",
    "MaskedAE": "deterministic.masked_ae",
    "WAE": "deterministic.wae",
    "SlicedWAE": "deterministic.sliced_wae",
    "SparseAE": "deterministic.sparse_ae",
    "ConcreteAE": "deterministic.concrete_ae",
    "ContractiveAE": "deterministic.contractive_ae",
    "RegularizedAE": "deterministic.regularized_ae",
    "LaplacianAE": "deterministic.laplacian_ae",
    "LinearAE": "deterministic.linear_ae",
    "RobustAE": "anomaly.robust_ae",
    "USAD": "anomaly.usad",
    "AdversarialAE": "adversarial.adversarial_ae",
    "VAE": "variational.vae",
    "BetaVAE": "variational.beta_vae",
    "SigmaVAE": "variational.sigma_vae",
    "FactorVAE": "adversarial.factor_vae",
    "AnnealedVAE": "variational.annealed_vae",
    "BetaTCVAE": "variational.beta_tc_vae",
    "DIPVAE": "variational.dip_vae",
    "InfoVAE": "variational.info_vae",
    "IWAE": "importance_weighted.iwae",
    "MIWAE": "importance_weighted.miwae",
    "PIWAE": "importance_weighted.piwae",
    "CIWAE": "importance_weighted.ciwae",
    "MissingDataIWAE": "importance_weighted.missing_data_iwae",
    "VampVAE": "variational.vamp_vae",
    "CategoricalVAE": "variational.categorical_vae",
    "JointVAE": "variational.joint_vae",
    "FlowVAE": "variational.flow_vae",
    "IAFVAE": "variational.iaf_vae",
    "HamiltonianVAE": "geometric.hamiltonian_vae",
    "RiemannianHamiltonianVAE": "geometric.riemannian_hamiltonian_vae",
    "TabularVAE": "tabular.tabular_vae",
    "HIVAE": "tabular.hivae",
    "ConditionalVAE": "conditional.conditional_vae",
    "SemiSupervisedVAE": "conditional.semi_supervised_vae",
    "CountVAE": "counts.count_vae",
    "VAEGAN": "adversarial.vaegan",
    "PerceptualVAE": "variational.perceptual_vae",
    "LadderVAE": "hierarchical.ladder_vae",
    "TopDownVAE": "hierarchical.top_down_vae",
    "HypersphericalVAE": "geometric.hyperspherical_vae",
    "PoincareVAE": "geometric.poincare_vae",
    "MultimodalVAE": "multimodal.multimodal_vae",
    "VQVAE": "discrete.vqvae",
    "VQVAE2": "discrete.vqvae2",
    "ResidualVQVAE": "discrete.residual_vqvae",
    "FSQVAE": "discrete.fsqvae",
    "LFQVAE": "discrete.lfqvae",
    "DeepSVDD": "anomaly.deep_svdd",
    "MemAE": "anomaly.mem_ae",
    "DAGMM": "anomaly.dagmm",
    "MultinomialVAE": "recommendation.multinomial_vae",
    "MultinomialDAE": "recommendation.multinomial_dae",
    "RecVAE": "recommendation.rec_vae",
    "ProdLDA": "topics.prod_lda",
    "EmbeddedTopicModel": "topics.embedded_topic_model",
    "DEC": "clustering.dec",
    "IDEC": "clustering.idec",
    "VaDE": "clustering.vade",
    "VRNN": "series.vrnn",
    "DeepMarkovModel": "series.deep_markov_model",
    "TopKSAE": "sparse.top_k_sae",
    "BatchTopKSAE": "sparse.batch_top_k_sae",
    "JumpReLUSAE": "sparse.jump_relu_sae",
    "GatedSAE": "sparse.gated_sae",
    "MatryoshkaSAE": "sparse.matryoshka_sae",
}


def __getattr__(name):
    if name not in FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{FILES[name]}"), name)


def __dir__():
    return sorted(FILES)
