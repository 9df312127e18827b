"""One tiny constructor a model, and the data they are tried on."""

import functools
import os

import keras
import numpy as np

import keras_ae

OPTIONS = {"network_options": {"units": (8,), "activation": "tanh"}, "seed": 1}

TINY_PRIOR = {"prior_options": {"units": 8, "num_layers": 1, "num_heads": 2}}

# What a tiny model of a class takes beside `OPTIONS`. All have codes of two numbers.
SMALL = {
    "AE": dict,
    "DenoisingAE": dict,
    "SparseAE": lambda: {"target": 0.3, "weight": 0.1},
    "ContractiveAE": lambda: {"weight": 0.01},
    "UNetAE": lambda: {"unet_options": {"filters": (4, 4), "activation": "tanh"}},
    "RecurrentAE": lambda: {"reverse": True, "teacher_forcing": True, "mask_value": -1.0},
    "MaskedAE": lambda: {
        "patch_size": 2,
        "mask_ratio": 0.5,
        "network_options": {"width": 8, "heads": 2, "blocks": 1},
    },
    "WAE": lambda: {"weight": 2.0},
    "RegularizedAE": lambda: {"regularization": "gradient_penalty"},
    "AdversarialAE": lambda: {"discriminator": keras_ae.networks.discriminator(2, units=(8,))},
    "SlicedWAE": lambda: {"weight": 2.0, "num_projections": 4},
    "VAE": dict,
    "BetaVAE": lambda: {"beta": 2.0},
    "FactorVAE": lambda: {"discriminator": keras_ae.networks.discriminator(2, 2, units=(8,))},
    "AnnealedVAE": lambda: {"gamma": 2.0, "capacity": 0.5},
    "BetaTCVAE": lambda: {"beta": 2.0},
    "DIPVAE": lambda: {"off_diagonal_weight": 0.5},
    "InfoVAE": lambda: {"alpha": 0.5, "scale": 3.0},
    "IWAE": lambda: {"num_samples": 3},
    "MIWAE": lambda: {"num_bounds": 2, "num_samples": 2},
    "PIWAE": lambda: {"num_bounds": 2, "num_samples": 2},
    "CIWAE": lambda: {"num_samples": 3},
    "VampVAE": lambda: {"num_components": 4},
    "LadderVAE": lambda: {"upper_dims": (2,)},
    "TopDownVAE": lambda: {"width": 8, "layer_weights": [0.5, 0.5]},
    "FlowVAE": lambda: {"num_flows": 2},
    "IAFVAE": lambda: {"num_flows": 2, "flow_units": 8},
    "HamiltonianVAE": lambda: {"num_steps": 2},
    "HypersphericalVAE": dict,
    "PoincareVAE": lambda: {"curvature": 0.7},
    "VAEGAN": lambda: {"gamma": 50.0},
    "PerceptualVAE": lambda: {"weight": 200.0},
    "RiemannianHamiltonianVAE": lambda: {"num_steps": 1, "num_anchors": 10, "walk_steps": 4},
    "VQVAE": lambda: {"num_codes": 8, "code_length": 2, **TINY_PRIOR},
    "VQVAE2": lambda: {"num_codes": 8, "code_length": 1, "hidden_units": 8, **TINY_PRIOR},
    "ResidualVQVAE": lambda: {"num_codes": 8, "depth": 2, "code_length": 1, **TINY_PRIOR},
    "FSQVAE": lambda: {"code_length": 2, **TINY_PRIOR},
    "LFQVAE": lambda: {"code_length": 2, **TINY_PRIOR},
    "TopKSAE": lambda: {"k": 1},
    "BatchTopKSAE": lambda: {"k": 1},
    "JumpReLUSAE": lambda: {"sparsity_weight": 0.1},
    "GatedSAE": lambda: {"sparsity_weight": 0.1},
    "MatryoshkaSAE": lambda: {"k": 1, "prefixes": (1, 2)},
}
# These own linear maps, and take neither networks nor their options.
DICTIONARIES = ["TopKSAE", "BatchTopKSAE", "JumpReLUSAE", "GatedSAE", "MatryoshkaSAE"]


def settings(name, **given):
    """The arguments of a tiny model of a class beside its two dimensions."""
    # The seed of directions that zoo.data() has.
    options = {"seed": 5} if name in DICTIONARIES else OPTIONS
    small = SMALL[name]()
    if given.get("decoder") is not None:  # Which RecurrentAE cannot teach.
        small.pop("teacher_forcing", None)
    both = [isinstance(given.get(part), keras.layers.Layer) for part in ("encoder", "decoder")]
    if all(both):  # Which leave the options nothing to do.
        small.pop("network_options", None)
        options = {"seed": 1}
    return options | small | given


# The shape of a code, where it is no vector of two: MaskedAE's last number is its latent_dim. Its
# tokens of two numbers would be normalised to two signs, which no gradient moves.
CODE_SHAPES = {"MaskedAE": (3, 4)}


# Models that reconstruct from more than the code.
SKIPPING = ["UNetAE"]


def code_shape(name):
    return CODE_SHAPES.get(name, (2,))


def make(name, **given):
    return getattr(keras_ae, name)(code_shape(name)[-1], **settings(name, **given))


MODELS = {name: functools.partial(make, name) for name in SMALL}
# They use every part of the mechanism between them. What no model's own code bears on is tried with
# these alone: with all of them a run would take an hour.
FOUNDATION = ["AE", "DenoisingAE", "VAE", "BetaVAE", "FactorVAE"]
WHOLE_ZOO = os.environ.get("WHOLE_ZOO") == "1"
# For which JAX and torch leave nothing out.
TRIED_EVERYWHERE = list(MODELS) if WHOLE_ZOO else FOUNDATION
WITH_NETWORKS = [name for name in MODELS if name not in DICTIONARIES]
VARIATIONAL = [name for name in MODELS if issubclass(getattr(keras_ae, name), keras_ae.VAE)]

# Whose codes are integers.
DISCRETE = [name for name in MODELS if getattr(keras_ae, name)._code_dtype == "int32"]


def code_of(name, num_examples, seed=0):
    """Codes that a tiny model can decode."""
    rng = np.random.default_rng(seed)
    if name in DISCRETE:
        return rng.integers(0, 4, (num_examples, *code_shape(name)))
    # Well inside the ball of PoincareVAE, whose distances lose their digits at the rim.
    return rng.uniform(-0.6, 0.6, (num_examples, *code_shape(name))).astype("float32")


def decoder_width(name):
    """Numbers that a tiny model's decoder takes: of integer codes, those of their vectors."""
    return 4 if name in DISCRETE and name != "ResidualVQVAE" else 2


def data(num_examples=48, width=6, seed=0):
    """Binary vectors with structure: pairs of equal columns."""
    half = np.random.default_rng(seed).integers(0, 2, (num_examples, width // 2))
    return np.repeat(half, 2, axis=1).astype("float32")


def compiled(name, optimizer=None, compile_options=None, **given):
    model = MODELS[name](**given)
    model.compile(optimizer or keras.optimizers.Adam(0.01), **compile_options or {})
    return model


# Op by op: a few steps are sooner done than a graph is traced. But JAX takes longer so.
OP_BY_OP = {"run_eagerly": keras.config.backend() != "jax"}


def eager(name, optimizer=None, **given):
    return compiled(name, optimizer, OP_BY_OP, **given)


def weights(model):
    return [v.numpy() for v in model.variables]


def fitted(name, epochs=1, **given):
    model = eager(name, **given)
    model.fit(data(), epochs=epochs, batch_size=16, verbose=0)
    return model


def own_networks(name):
    """Networks of the user's own, of a model that takes any."""
    if name in DICTIONARIES:
        return {}
    if name == "MaskedAE":  # From tokens to tokens.
        encoder = keras.Sequential([keras.Input((None, 4)), keras.layers.Dense(4, "relu")])
        decoder = keras.Sequential([keras.Input((3, 4)), keras.layers.Dense(2)])
        return {"encoder": encoder, "decoder": decoder}
    encoder = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4, "relu")])
    decoder = keras.Sequential([keras.Input((decoder_width(name),)), keras.layers.Dense(6)])
    return {"encoder": encoder, "decoder": decoder}


@functools.lru_cache(maxsize=8)
def trained(name):
    """A model shared by the tests that only look at it.

    Its `history` is that of its training, with validation, and `before` what came before it.
    """
    # The game of VAEGAN's three players swings at the others' rate.
    model = compiled(name, keras.optimizers.Adam(0.001 if name == "VAEGAN" else 0.02))
    # In batches as in all later steps: JAX compiles each shape anew.
    options = {"batch_size": 16, "verbose": 0, "return_dict": True}
    object.__setattr__(model, "before", model.evaluate(data(), **options))
    # One long epoch: each begins with a pause.
    model.fit(np.tile(data(), (24, 1)), batch_size=16, verbose=0, validation_data=data())
    if name in DISCRETE:
        model.fit_prior(data(), epochs=2, batch_size=16, verbose=0)
    return model


def assert_trains_on_blank_pictures(model):
    """200 steps each on pictures that are all alike, from the same weights: all stays finite."""
    first = None
    for value in (0.0, 1.0, 0.5):
        x = np.full((16, 6), value, "float32")
        if first:
            for variable, start in zip(model.variables, first, strict=True):
                variable.assign(start)
            for variable in model.optimizer.variables:
                if "learning_rate" not in variable.path:
                    variable.assign(np.zeros(variable.shape))
        else:
            model.build((None, 6))
            first = weights(model)
        history = model.fit(np.tile(x, (200, 1)), batch_size=16, verbose=0).history
        assert all(np.all(np.isfinite(values)) for values in history.values()), history
        assert all(np.all(np.isfinite(w)) for w in weights(model))


def gradient(function, value):
    """The derivative of the sum of function's values, on whichever backend is in use."""
    value = np.asarray(value, "float32")
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        value = tf.constant(value)
        with tf.GradientTape() as tape:
            tape.watch(value)
            total = tf.reduce_sum(function(value))
        return tape.gradient(total, value).numpy()
    if keras.config.backend() == "jax":
        import jax

        return np.array(jax.jit(jax.grad(lambda value: function(value).sum()))(value))
    import torch

    value = torch.tensor(value, requires_grad=True)
    return torch.autograd.grad(function(value).sum(), value)[0].numpy()


def compute(function, *arguments):
    """What a function returns, as NumPy arrays: on JAX by one program.

    Op by op JAX would compile each operation for each shape. Large arrays must be arguments: what
    jaxlib 0.10.2 computed on a CPU from a constant of (5000, 10) was wrong from row 3,276 on.
    """
    arguments = [keras.ops.convert_to_tensor(value) for value in arguments]
    if keras.config.backend() == "jax":
        import jax

        function = jax.jit(function)
    return keras.tree.map_structure(keras.ops.convert_to_numpy, function(*arguments))


def overrides(name, *methods):
    """Whether a model has code of its own in place of one of these methods of AE's or VAE's.

    The foundation's models are tried with everything.
    """
    if name in TRIED_EVERYWHERE:
        return True
    inherited = {*keras_ae.AE.__mro__, *keras_ae.VAE.__mro__}
    own = [cls for cls in getattr(keras_ae, name).__mro__ if cls not in inherited]
    return any(method in vars(cls) for cls in own for method in methods)


def straightened(model, x):
    """`reconstruct` of a model of integer codes without its steps: z + (q - z) at x, for q.

    A function of arrays.
    """

    def surrogate(values, offset):
        """The reconstruction, and q - z of the values."""
        if not hasattr(model, "upper_quantizer"):
            z = model._code(values)
            if hasattr(model.quantizer, "bounded"):
                z = model.quantizer.bounded(z)
            return model.decode(z + offset), model.quantized(values).vectors - z
        features = model.encoder(values)
        upper = model.features_to_upper(features)
        below = model.downward(upper + offset[:, :1])
        lower = model.features_to_code(keras.ops.concatenate([features, below], axis=-1))
        z = keras.ops.concatenate([upper, lower], axis=1)
        return model.decode(z + offset), model.quantized(values).vectors - z

    offset = np.zeros((len(x), *model._vector_shape), "float32")
    for _ in range(2):  # What the lower level quantises follows from the upper one's.
        offset = compute(surrogate, x, offset)[1]
    return lambda values: compute(surrogate, values, offset)[0]
