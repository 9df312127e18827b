"""scikit-learn's API around any model."""

from keras_ae.estimators.base import AutoencoderEstimator as AutoencoderEstimator
from keras_ae.estimators.classifier import AutoencoderClassifier as AutoencoderClassifier
from keras_ae.estimators.clusterer import AutoencoderClusterer as AutoencoderClusterer
from keras_ae.estimators.detector import AnomalyDetector as AnomalyDetector
from keras_ae.estimators.imputer import AutoencoderImputer as AutoencoderImputer
from keras_ae.estimators.transformer import AutoencoderTransformer as AutoencoderTransformer
