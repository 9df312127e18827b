"""What a recipe of a pretrained model is, and how the model and its card are made."""

import dataclasses
import datetime
import pathlib
import subprocess
import sys
from collections.abc import Callable

import keras
import numpy as np
from sources import Data

from keras_ae.core import examples

FOLDER = pathlib.Path(__file__).resolve().parents[1]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a pretrained model is made.

    Args:
        sentence: What the model is, for its card.
        use: What it is good for.
        limits: What it is not good for, or what to know before it is used.
        data: The data on which the model is trained and measured.
        make: Function of a seed that returns the model, compiled.
        figures: Functions of the model and the data that return dictionaries of numbers.
        epochs: Passes over the training data.
        batch_size: Examples in a step.
        inputs: Names of what the model reads besides x, which are keys of the data.
        finish: Function of the model, the training data and the seed that is called after `fit`,
            to fit a prior or a sampler. Defaults to None.
        training: Function of the model, the training data and the seed that trains instead of a
            single call of `fit`. Defaults to None.
        classes: Names of the classes that labels count. Defaults to None.
        version: Number of the version, which rises when the files change.
    """

    sentence: str
    use: str
    limits: str
    data: Data
    make: Callable
    figures: tuple
    epochs: int = 0
    batch_size: int = 128
    inputs: tuple = ()
    finish: Callable | None = None
    training: Callable | None = None
    classes: tuple | None = None
    version: int = 1

    def train(self, seed, verbose=0):
        """Return a model that was trained from a seed."""
        keras.utils.set_random_seed(seed + 1)
        model, train = self.make(seed), self.data.load()["train"]
        if self.training is not None:
            self.training(model, train, seed)
        else:
            model.fit(
                train["x"],
                **{name: train[name] for name in self.inputs},
                batch_size=self.batch_size,
                epochs=self.epochs,
                verbose=verbose,
            )
        if self.finish is not None:
            self.finish(model, train, seed)
        return model

    def measure(self, model):
        """Return the figures of a model on the test split."""
        data, found = self.data.load(), {}
        for figure in self.figures:
            found |= figure(model, data)
        return {name: float(f"{float(value):.6g}") for name, value in found.items()}

    def describe(self, name, model, by_seed):
        """Return the entries of the card of a model.

        Args:
            name: Name of the pretrained model.
            model: The model.
            by_seed: Dictionary of seed -> figures. The model is that of the first seed.
        """
        keras_model = getattr(model, "model_", model)
        paper = sys.modules[type(keras_model).__module__].__doc__.splitlines()[0]
        return {
            "name": name,
            "version": self.version,
            "sentence": self.sentence,
            "paper": paper,
            "data": self.data.name,
            "source": self.data.source,
            "license": "Apache-2.0",
            "data_license": self.data.license,
            "splits": self.data.splits,
            "data_sha256": self.data.hash_test(),
            "latents": describe_codes(keras_model, self.data.load()["test"]),
            **({"classes": list(self.classes)} if self.classes else {}),
            "use": self.use,
            "limits": self.limits,
            **self.describe_seeds(name, by_seed),
            "commit": _find_commit(),
            "date": datetime.date.today().isoformat(),
        }

    def describe_seeds(self, name, by_seed):
        """Return the entries of the figures: see `describe`."""
        seed, *others = by_seed
        spread = {
            figure: {
                "mean": float(f"{np.mean(values):.6g}"),
                "standard_deviation": float(f"{np.std(values, ddof=1):.3g}"),
            }
            for figure in by_seed[seed]
            for values in [[found[figure] for found in by_seed.values()]]
            if others
        }
        seeds = " ".join(map(str, by_seed))
        return {
            "figures": {"split": "test", **by_seed[seed]},
            "seeds": list(by_seed),
            **({"over_seeds": spread} if others else {}),
            **({"of_seeds": {str(each): by_seed[each] for each in others}} if others else {}),
            "command": f"python saved_models/recipes train {name} --seeds {seeds}",
        }


def describe_codes(model, test):
    """Return shape, means and deviations of the codes of test examples."""
    found = {"shape": list(model.code_shape)}
    if model._code_dtype == "float32" and len(model.code_shape) == 1:
        taken = examples.taken_by(model, model.encode)
        given = {name: test[name][:2000] for name, required in taken.items() if required}
        x = examples.map_leaves(lambda each: each[:2000], test["x"])
        codes = model.encode(x, verbose=0, **given)
        found["mean"] = [round(float(v), 4) for v in codes.mean(axis=0)]
        found["deviation"] = [round(float(v), 4) for v in codes.std(axis=0)]
    return found


def _find_commit():
    command = ["git", "-C", str(FOLDER), "rev-parse", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
