"""A tiny model of every class that the package lists, and the data they are tried on."""

import functools
import inspect
import os
import zlib

import keras
import numpy as np

import keras_ae
from keras_ae import datasets, models, testing
from keras_ae.core import examples, ranges

OPTIONS = {"network_options": {"units": (8,), "activation": "tanh"}, "seed": 1}

# A tiny model has this value for an argument of this name, if its class takes one.
TINY = {
    **OPTIONS,
    "latent_dim": 2,
    "alpha": 0.5,
    "beta": 0.7,
    "capacity": 0.5,
    "continuous_capacity": 0.5,
    "code_length": 2,
    "curvature": 0.7,
    "depth": 2,
    "discrete_capacity": 0.5,
    "embedding_dim": 4,
    "flow_units": 8,
    "gamma": 2.0,
    "hidden_units": 8,
    "k": 1,
    "kl_weight": 1.0,
    "mask_token": None,  # The data has bits, and 0 is one of them.
    "mask_value": -1.0,
    "modalities": {"bits": "bernoulli", "numbers": "gaussian", "kind": "categorical"},
    "num_anchors": 10,
    "num_batches": 3,
    "num_bounds": 2,
    "num_categories": 4,
    "num_classes": 3,
    "num_clusters": 3,
    "num_codes": 8,
    "num_components": 4,
    "num_flows": 2,
    "num_items": 8,
    "num_neighbors": 2,
    "num_projections": 4,
    "num_samples": 3,
    "num_steps": 2,
    "off_diagonal_weight": 0.5,
    "prefixes": (1, 2),
    "pretraining_steps": 36,
    "prior_options": {"units": 8, "num_layers": 1, "num_heads": 2},
    "reverse": True,
    "scale": 3.0,
    "sparsity_weight": 0.1,
    "seasonalities": ((3, 1),),
    "target": 0.3,
    "teacher_forcing": True,
    "unet_options": {"filters": (4, 4), "activation": "tanh"},
    "update_interval": 10,
    "vocabulary_size": 2,
    "upper_dims": (2,),
    "walk_steps": 4,
    "width": 8,
}
# Models that cut data into patches have transformers as networks. Tokens of two numbers would be
# normalized to two signs, which no gradient moves. With a single visible token, attention would
# have no choice.
TINY_WITH_PATCHES = {
    "patch_size": 2,
    "latent_dim": 4,
    "mask_ratio": 0.3,
    "network_options": {"width": 8, "heads": 2, "blocks": 1},
}
# A one-class model takes no bounded activations.
TINY_ONE_CLASS = {"network_options": {"units": (8,), "activation": "silu"}}
# These arguments have an effect only on a decoder that the model makes itself.
WITH_OWN_DECODER_ONLY = ("teacher_forcing",)


@functools.cache
def parameters_of(name):
    """Return the names of the arguments that a class takes."""
    return set(inspect.signature(getattr(keras_ae, name)).parameters)


def settings(name, **given):
    """Return the arguments of a tiny model of a class."""
    parameters = parameters_of(name)
    tiny = TINY | (TINY_WITH_PATCHES if "patch_size" in parameters else {})
    tiny |= TINY_ONE_CLASS if "nu" in parameters else {}
    tiny = {argument: value for argument, value in tiny.items() if argument in parameters}
    if given.get("decoder") is not None:
        tiny = {k: v for k, v in tiny.items() if k not in WITH_OWN_DECODER_ONLY}
    if all(isinstance(given.get(part), keras.layers.Layer) for part in ("encoder", "decoder")):
        tiny.pop("network_options", None)  # It would have nothing to do.
    return tiny | given


def small(name):
    """Return the arguments of a tiny model that not every class takes."""
    return {k: v for k, v in settings(name).items() if k not in ("latent_dim", *OPTIONS)}


def make(name, **given):
    return getattr(keras_ae, name)(**settings(name, **given))


MODELS = {name: functools.partial(make, name) for name in models.FILES}


def asked(question):
    """Return the names of the models for whose class the function `question` is true."""
    return [name for name in MODELS if question(getattr(keras_ae, name))]


WITH_NETWORKS = [name for name in MODELS if "encoder" in parameters_of(name)]
OF_MODALITIES = [name for name in MODELS if "modalities" in parameters_of(name)]
# These take one array of data.
OF_ARRAYS = [n for n in asked(lambda cls: not cls.extra_inputs) if n not in OF_MODALITIES]
VARIATIONAL = asked(lambda cls: hasattr(cls, "log_likelihood"))
# The likelihood of these models is an argument, and Bernoulli by default.
WITH_LIKELIHOOD = [
    name
    for name in VARIATIONAL
    if "likelihood" in parameters_of(name)
    and inspect.signature(getattr(keras_ae, name)).parameters["likelihood"].default == "bernoulli"
]
DISCRETE = asked(lambda cls: cls._code_dtype == "int32")


def in_turn(*parts, costly=False):
    """Return whether this run tries a pair of a model and a property: see `conftest.py`.

    Models count by their place in the list, so that each turn has as many of them.
    """
    turn = os.environ.get("KERAS_AE_COSTLY_TURN" if costly else "KERAS_AE_TURN")
    if turn is None:
        return True
    number, count = map(int, turn.split("/"))
    places = {name: place for place, name in enumerate(MODELS)}
    return sum(places.get(p, zlib.crc32(p.encode())) for p in parts) % count == number


@functools.cache
def shapes(name):
    """Return a tiny model's shapes of one code and of the decoder's input."""
    model = make(name)
    build(model)
    return model.code_shape, model._decoder_input_shape()


def code_shape(name):
    return shapes(name)[0]


def code_of(name, num_examples, seed=0):
    """Return codes that a tiny model can decode."""
    rng = np.random.default_rng(seed)
    if name in DISCRETE:
        return rng.integers(0, 4, (num_examples, *code_shape(name)))
    # These lie well inside the ball of PoincareVAE, where distances lose their digits at the rim.
    return rng.uniform(-0.6, 0.6, (num_examples, *code_shape(name))).astype("float32")


def data(num_examples=48, width=6, seed=0):
    """Return binary vectors whose columns are equal in pairs."""
    half = np.random.default_rng(seed).integers(0, 2, (num_examples, width // 2))
    return np.repeat(half, 2, axis=1).astype("float32")


@functools.cache
def dtypes_of_inputs(name):
    """Return the named inputs that a tiny model requires for training: name -> dtype."""
    model = make(name)
    required = examples.required_by(model, model.loss_terms)
    return {each: examples.dtype_of(model, each) for each in required}


def inputs_for(name, x):
    """Return the named inputs that a model has, such as labels, which depend on the data x."""
    inputs = {}
    for each, dtype in dtypes_of_inputs(name).items():
        values = np.asarray(x)
        values = values.reshape(len(values), -1)[:, [0, -1]] > 0.5
        number = values.sum(axis=1)
        inputs[each] = number if dtype == "int32" else number[:, None].astype("float32")
    return inputs


def joined(name, x):
    """Return one array of data with the named inputs that a model has."""
    return examples.join(getattr(keras_ae, name), x, inputs_for(name, x))


def data_for(name, num_examples=48, seed=0):
    """Return data of the form that a model takes: `data`, or a dictionary that is made of it.

    Some of it is missing if the model says that it takes NaN.
    """
    model, bits = make(name), data(num_examples, seed=seed)
    label = (bits[:, ::2] @ [1, 2, 4]).astype("int32")  # The number that three bits make up.
    x = {}
    for number, key in enumerate(model._modalities):
        x[key] = np.eye(8, dtype="float32")[label] if model._takes_classes[key] else bits.copy()
        x[key][number :: len(model._modalities) + 2] = np.nan
    if not model._modalities:
        x = bits.copy()
        if model._allow_nan:
            x[::3, 0] = x[1::5, 3] = np.nan
    return examples.join(model, x, inputs_for(name, bits))


def build(model):
    """Build a tiny model for its data."""
    model.build(testing.parts.with_rows(examples.shapes(data_for(type(model).__name__)), None))


def inputs(model, method, number):
    """Return the named inputs that a method of a model takes, with so many rows."""
    found = inputs_for(type(model).__name__, data(number))
    if method == "sample":
        taken = examples.taken_by_sample(model)
    else:
        taken = examples.taken_by(model, getattr(model, method))
    return {name: value for name, value in found.items() if name in taken}


def compiled(name, optimizer=None, compile_options=None, **given):
    model = MODELS[name](**given)
    model.compile(optimizer or keras.optimizers.Adam(0.01), **compile_options or {})
    return model


# A few steps run sooner one operation at a time than a graph is traced, except on JAX.
OP_BY_OP = {"run_eagerly": keras.config.backend() != "jax"}


def eager(name, optimizer=None, **given):
    return compiled(name, optimizer, OP_BY_OP, **given)


def weights(model):
    return [v.numpy() for v in model.variables]


def fitted(name, epochs=1, **given):
    model = eager(name, **given)
    model.fit(data_for(name), epochs=epochs, batch_size=16, verbose=0)
    return model


def own_networks(name):
    """Return networks such as a user may bring, if the model takes any."""
    model = make(name)
    build(model)
    given = testing.parts.networks_for(model)
    return {part: network for part, network in given.items() if network is not None}


@functools.cache
def digits():
    """Return 2,000 training and 500 test digits, (2500, 28, 28, 1), and their labels."""
    parts = [datasets.as_array("small_mnist", split, labels=True) for split in ("train", "test")]
    return tuple(
        np.concatenate([train[:2000], test[:500]]) for train, test in zip(*parts, strict=True)
    )


@functools.cache
def waves():
    """Return 2,500 pictures of plane waves, (28, 28, 1), whose patches tell each other.

    The patches of digits do so less. A model that predicts patches needs thousands of steps to
    predict them better than the mean digit does.
    """
    rng, places = np.random.default_rng(0), np.linspace(-3.0, 3.0, 28)
    slopes, phase = rng.uniform(-1.0, 1.0, (2500, 2, 1, 1)), rng.uniform(0.0, 6.3, (2500, 1, 1))
    waves = np.sin(slopes[:, 0] * places[:, None] + slopes[:, 1] * places + phase)
    return (0.5 + 0.5 * waves[..., None]).astype("float32")


@functools.cache
def table():
    """Return a table of 2,500 rows and 12 columns of numbers that four causes explain."""
    rng = np.random.default_rng(0)
    causes, loadings = rng.normal(size=(2500, 4)), rng.normal(size=(4, 12))
    x = np.tanh(causes) @ loadings + 0.2 * rng.normal(size=(2500, 12))
    return (100.0 * x).astype("float32")


@functools.cache
def documents():
    """Return 2,500 documents of 80 words, most of which are about one of eight topics."""
    rng = np.random.default_rng(0)
    topics, shares = rng.dirichlet(np.full(200, 0.05), 8), rng.dirichlet(np.full(8, 0.1), 2500)
    return rng.multinomial(80, shares @ topics).astype("float32")


@functools.cache
def sentences():
    """Return 2,500 sentences of 12 tokens from 1 to 8, which three causes explain."""
    rng = np.random.default_rng(0)
    causes, loadings = rng.normal(size=(2500, 3)), rng.normal(size=(3, 12))
    return np.clip(np.round(4.5 + 2.0 * causes @ loadings), 1, 8).astype("int32")


def defaults(name):
    """Return a function that makes a model with default arguments, and digits that it takes."""
    cls, (x, label) = getattr(keras_ae, name), digits()
    if "columns" in parameters_of(name):
        x = table()
    if "vocabulary_size" in parameters_of(name):
        return functools.partial(cls, vocabulary_size=9, seed=0), sentences()
    if {"mask_value", "trend_degree"} & parameters_of(name):
        x = x[..., 0]  # The rows of a picture are the steps of a sequence.
    if "patch_size" in parameters_of(name):
        x = waves()
    if "num_batches" in parameters_of(name):
        x = np.round(16.0 * x).reshape(len(x), -1)  # Counts.
    elif MODELS[name]()._takes_sparse:
        x = documents() if hasattr(cls, "doc_topics") else np.round(x).reshape(len(x), -1)
    model = cls(seed=0) if cls.extra_inputs else cls
    inputs = {each: label for each in examples.required_by(model, cls.loss_terms)}
    if name not in OF_MODALITIES:
        return functools.partial(cls, seed=0), examples.join(cls, x, inputs)
    modalities = {"picture": "bernoulli", "label": "categorical"}
    make = functools.partial(cls, modalities=modalities, seed=0)
    return make, {"picture": x, "label": np.eye(10, dtype="float32")[label]}


@functools.lru_cache(maxsize=8)
def subject(name):
    """Return the model as the contract checks it, with the trained one that all checks share."""
    return testing.Subject(MODELS[name], data_for(name, 64), defaults=defaults(name))


def trained(name):
    """Return a model that was trained on `data_for(name)`, for tests that leave it as it is."""
    return subject(name).trained


def nearest(model, x):
    """Return the data that is nearest to x among what a model takes."""
    if model._support is None:
        return x
    return keras.ops.convert_to_numpy(ranges.clip(keras.ops.convert_to_tensor(x), model._support))


def assert_trains_on_blank_pictures(model):
    """Train 200 steps each on three sets of equal pictures; losses and weights stay finite."""
    first = None
    for value in (0.0, 1.0, 0.5):
        x = nearest(model, np.full((16, 6), value, "float32"))
        if first:
            for variable, start in zip(model.variables, first, strict=True):
                variable.assign(start)
            for variable in model.optimizer.variables:
                if "learning_rate" not in variable.path:
                    variable.assign(np.zeros(variable.shape))
        else:
            model.build((None, 6))
            first = weights(model)
        x = joined(type(model).__name__, np.tile(x, (200, 1)))
        history = model.fit(x, batch_size=16, verbose=0).history
        assert all(np.all(np.isfinite(values)) for values in history.values()), history
        assert all(np.all(np.isfinite(w)) for w in weights(model))


def gradient(function, value):
    """Return the derivative of the sum of function's values, on the backend in use."""
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
    """Return what a function returns, as NumPy arrays. JAX computes it in one program.

    Op by op JAX would compile each operation for each shape. Large arrays must be arguments: what
    jaxlib 0.10.2 computed on a CPU from a constant of (5000, 10) was wrong from row 3,276 on.
    """
    arguments = keras.tree.map_structure(keras.ops.convert_to_tensor, arguments)
    if keras.config.backend() == "jax":
        import jax

        function = jax.jit(function)
    return keras.tree.map_structure(keras.ops.convert_to_numpy, function(*arguments))


def straightened(model, x):
    """Return `reconstruct` of a model of integer codes without its steps: z + (q - z) for q, at x.

    A function of arrays.
    """

    def surrogate(values, offset):
        """Return the reconstruction, and q - z of the values."""
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
    for _ in range(2):  # The lower level depends on the upper one.
        offset = compute(surrogate, x, offset)[1]
    return lambda values: compute(surrogate, values, offset)[0]
