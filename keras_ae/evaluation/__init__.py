"""Figures of models, as functions of arrays and callables.

- Samples: `frechet_distance`, `kernel_distance`, `precision_recall`, and all of them at once:
  `score_samples`. Features for them: `DigitFeatures`, `InceptionFeatures`, `DataFeatures`.
- Reconstructions: `mean_squared_error`, `peak_signal_to_noise_ratio`, `structural_similarity`,
  `multiscale_structural_similarity`.
- Likelihood: `active_units`, `decompose_divergence`, `bits_per_dimension`.
- Disentanglement: `mutual_information_gap`, `disentanglement_completeness`,
  `separated_attribute_predictability`, `modularity_explicitness`, `interventional_robustness`,
  `unsupervised_disentanglement_ranking`, `gaussian_total_correlation`, `predict_factors`,
  `beta_vae_score`, `factor_vae_score`.
- Anomalies: `anomaly_scores`; of the steps of a series: `event_f1`, `vus_pr`, `vus_roc`, and
  `point_adjusted_f1`, which is for comparison with published figures only.
- Codes: `linear_probe`, `nearest_neighbor_probe`, `probe_baselines`, `clustering_accuracy`,
  `cluster_codes`, `codebook_usage`. The measures of dictionaries are in `keras_ae.sparsity`.
- Recommendations: `recall_at_k`, `ndcg_at_k`.
- Topics: `topic_coherence`, `topic_diversity`, `completion_perplexity`.

All compute with NumPy on every backend, and all but `DigitFeatures` in float64. Only
`InceptionFeatures` runs a network of Keras.
"""

from keras_ae.evaluation.anomaly import (
    anomaly_scores,
    event_f1,
    point_adjusted_f1,
    vus_pr,
    vus_roc,
)
from keras_ae.evaluation.codes import (
    cluster_codes,
    clustering_accuracy,
    codebook_usage,
    linear_probe,
    nearest_neighbor_probe,
    probe_baselines,
)
from keras_ae.evaluation.disentanglement import (
    beta_vae_score,
    disentanglement_completeness,
    factor_vae_score,
    gaussian_total_correlation,
    interventional_robustness,
    modularity_explicitness,
    mutual_information_gap,
    predict_factors,
    separated_attribute_predictability,
    unsupervised_disentanglement_ranking,
)
from keras_ae.evaluation.features import DataFeatures, DigitFeatures, InceptionFeatures
from keras_ae.evaluation.likelihood import active_units, bits_per_dimension, decompose_divergence
from keras_ae.evaluation.ranking import ndcg_at_k, recall_at_k
from keras_ae.evaluation.reconstruction import (
    mean_squared_error,
    multiscale_structural_similarity,
    peak_signal_to_noise_ratio,
    structural_similarity,
)
from keras_ae.evaluation.samples import (
    frechet_distance,
    kernel_distance,
    precision_recall,
    score_samples,
)
from keras_ae.evaluation.topics import completion_perplexity, topic_coherence, topic_diversity

__all__ = [
    "DataFeatures",
    "DigitFeatures",
    "InceptionFeatures",
    "active_units",
    "anomaly_scores",
    "beta_vae_score",
    "bits_per_dimension",
    "cluster_codes",
    "clustering_accuracy",
    "codebook_usage",
    "completion_perplexity",
    "decompose_divergence",
    "disentanglement_completeness",
    "event_f1",
    "factor_vae_score",
    "frechet_distance",
    "gaussian_total_correlation",
    "interventional_robustness",
    "kernel_distance",
    "linear_probe",
    "mean_squared_error",
    "modularity_explicitness",
    "multiscale_structural_similarity",
    "mutual_information_gap",
    "ndcg_at_k",
    "nearest_neighbor_probe",
    "peak_signal_to_noise_ratio",
    "point_adjusted_f1",
    "precision_recall",
    "predict_factors",
    "probe_baselines",
    "recall_at_k",
    "score_samples",
    "separated_attribute_predictability",
    "structural_similarity",
    "topic_coherence",
    "topic_diversity",
    "unsupervised_disentanglement_ranking",
    "vus_pr",
    "vus_roc",
]
