"""Recipes of detectors of anomalies."""

import dataclasses

import figures
import keras
import sources
from recipe import Recipe

from keras_ae.estimators import AnomalyDetector


@dataclasses.dataclass(frozen=True)
class DetectorRecipe(Recipe):
    """How a detector is made, which is trained by itself and has no epochs here."""

    def train(self, seed, verbose=0):
        keras.utils.set_random_seed(seed + 1)
        return self.make(seed).fit(self.data.load()["train"]["x"])


def detect(name, **given):
    def make(seed):
        return AnomalyDetector(name, random_state=seed, **given)

    return make


RECIPES = {
    "detector_thyroid": DetectorRecipe(
        "Tells patients with hyperthyroidism from others by six measurements.",
        "A first look at how a detector is served: scores, a decision, and what each cell adds.",
        "It was trained on half of the healthy rows of one public table. It is no medical device.",
        sources.THYROID,
        detect("VAE", threshold="false_positive_rate", false_positive_rate=0.05),
        (figures.anomalies,),
    ),
    "detector_shuttle": DetectorRecipe(
        "Finds rare states of a space shuttle's radiators by nine sensors.",
        "An example of clean training data, and of anomalies that are easy to tell.",
        "Sensors of other scales need a detector of their own.",
        sources.SHUTTLE,
        detect("AE", threshold="false_positive_rate", false_positive_rate=0.01),
        (figures.anomalies,),
    ),
}
