"""Stand-ins that let Keras load files with classes of this package that are not imported yet.

A file names a class as it is registered with Keras, and a class is registered when its module is
imported. This module registers a stand-in for each class as soon as Keras is imported. When Keras
reads the name from a file, the stand-in imports the class. So `import keras_ae` is enough for
`keras.saving.load_model`, and imports neither Keras nor forty models.
"""

import importlib
import importlib.machinery
import sys

# Module -> names of its classes that files may hold, besides the models.
CLASSES = {
    "corruptions": "AdditiveGaussian Affine Blocks Downsampling Gray JPEG Masking Rectangle "
    "SaltAndPepper Speckle Text",
    "layers": "Conv2DTranspose Conv3D Conv3DTranspose FiniteScalarQuantizer GatedTransition "
    "GridPrior InverseAutoregressiveFlow LadderLayer LookupFreeQuantizer Maxout ResidualQuantizer "
    "SequencePrior SpectralNormalization StochasticLayer TopicMixture VectorQuantizer",
    "likelihoods": "Bernoulli Beta ByModality Categorical Columns ContinuousBernoulli "
    "DiscretizedLogisticMixture Gaussian HeteroscedasticGaussian HeteroscedasticLaplace Laplace "
    "LogNormal Multinomial NegativeBinomial OptimalGaussian Ordinal Poisson StudentT "
    "ZeroInflatedNegativeBinomial",
    "losses": "Contrastive MSSSIM",
    "networks.transformer": "LearnedPositions",
    "samplers": "AggregatedPosterior FlowMatching GaussianMixture HyperbolicUniform InverseFlow "
    "KernelDensity MaskedFlow NearestCodes SphericalUniform TwoStage",
    "schedules": "Cyclical LinearWarmUp",
}


def register(models, renamed):
    """Register the stand-ins: now, if Keras is imported already, or else when it is imported.

    Args:
        models: Name of a model's class -> its module in `keras_ae.models`.
        renamed: Old name of a module -> its new name, for the error when the old one is imported.
    """
    homes = {name: f"keras_ae.models.{file}" for name, file in models.items()}
    for module, names in CLASSES.items():
        homes |= dict.fromkeys(names.split(), f"keras_ae.{module}")
    sys.meta_path.insert(0, _Finder(homes, renamed))
    if "keras" in sys.modules:
        _register_stand_ins(homes)


class _Finder:
    """Watches for imports of Keras and of renamed modules; Python's own finders find modules."""

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
    """Imports a class when Keras asks for an object of it, and makes the object with that class."""

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
