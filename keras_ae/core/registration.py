"""What Keras finds of this package in files, though nothing has imported it yet.

A file names a class as Keras has registered it, and Keras registers a class when its module is
imported. Here stand-ins are registered in their place as soon as Keras is imported, by whomever:
each imports the class when Keras reads it from a file. So `import keras_ae` is enough for
`keras.saving.load_model`, and imports neither Keras nor forty models.
"""

import importlib
import importlib.machinery
import sys

# Module -> its classes that are found in files, besides the models.
CLASSES = {
    "corruptions": "AdditiveGaussian Affine Blocks Masking SaltAndPepper Speckle",
    "layers": "Conv2DTranspose FiniteScalarQuantizer GridPrior InverseAutoregressiveFlow "
    "LadderLayer LookupFreeQuantizer ResidualQuantizer SequencePrior SpectralNormalization "
    "StochasticLayer VectorQuantizer",
    "likelihoods": "Bernoulli Categorical ContinuousBernoulli Gaussian Laplace",
    "losses": "MSSSIM",
    "networks.transformer": "LearnedPositions",
    "schedules": "Cyclical LinearWarmUp",
}


def register(models, renamed):
    """Register the stand-ins, now or when Keras is imported.

    Args:
        models: Name of a model's class -> its module in `keras_ae.models`.
        renamed: Old name of a module -> its new one, for the error of an import of the old one.
    """
    homes = {name: f"keras_ae.models.{file}" for name, file in models.items()}
    for module, names in CLASSES.items():
        homes |= dict.fromkeys(names.split(), f"keras_ae.{module}")
    sys.meta_path.insert(0, _Finder(homes, renamed))
    if "keras" in sys.modules:
        _register_stand_ins(homes)


class _Finder:
    """Sees the imports of Keras and of modules that have been renamed, and finds nothing itself."""

    def __init__(self, homes, renamed):
        self.homes, self.renamed = homes, renamed

    def find_spec(self, name, path=None, target=None):
        package, _, module = name.partition(".")
        if package == "keras_ae" and module in self.renamed:
            raise ModuleNotFoundError(
                f"{name} is keras_ae.{self.renamed[module]} now: import that.", name=name
            )
        if name != "keras":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_register(module):
                execute(module)
                _register_stand_ins(self.homes)

            spec.loader.exec_module = execute_and_register
        return spec


class _StandIn:
    """Reads a configuration as the class does whose place it takes."""

    def __init__(self, module, name):
        self.module, self.name = module, name

    def from_config(self, config, **options):
        cls = getattr(importlib.import_module(self.module), self.name)
        return cls.from_config(config, **options)


def _register_stand_ins(homes):
    from keras.saving import get_custom_objects

    registered = get_custom_objects()
    for name, module in homes.items():
        registered.setdefault(f"keras_ae>{name}", _StandIn(module, name))
