"""scikit-learn's API around any model."""

from keras_ae.estimators.base import AutoencoderEstimator as AutoencoderEstimator
from keras_ae.estimators.transformer import AutoencoderTransformer as AutoencoderTransformer
