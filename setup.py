"""Puts five small pretrained models into the wheel. Everything else is in setup.cfg."""

import pathlib
import shutil

from setuptools import setup
from setuptools.command.build_py import build_py

SOURCE = pathlib.Path(__file__).parent / "saved_models"
# At most 5 MB in all. The other models are downloaded, see keras_ae/saving/collection.py.
BUNDLED = ("ae_mnist", "detector_thyroid", "top_k_sae_classifier", "vae_digits", "vae_mnist")


class BuildWithModels(build_py):
    def run(self):
        super().run()
        if self.editable_mode:  # A checkout has all models.
            return
        target = pathlib.Path(self.build_lib) / "keras_ae" / "saving" / "pretrained"
        for name in BUNDLED:
            shutil.copytree(SOURCE / name, target / name, dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithModels})
