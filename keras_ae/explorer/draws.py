"""Draws from a model: what they need, and their temperature."""

import inspect

import numpy as np
from keras import ops

from keras_ae import samplers
from keras_ae.core import adaptation, examples, seeds
from keras_ae.core.draws import decode_draws


def find_refusal(model):
    """Return why a model cannot draw samples, or None."""
    sampler = examples.sampler_of(model)
    if sampler is None:
        return "This model has no sampler."
    return None if sampler.ready() else f"sample needs {sampler.needs}"


def make_inputs(model, count, seed):
    """Return values of all named inputs, for draws that stand in for data.

    Labels are random, and numbers are 1.
    """
    found, rng = {}, np.random.default_rng(seed)
    for name in dict.fromkeys([*model.extra_inputs, *_taken_by_sampler(model)]):
        shape = (count, *model._extra_shapes.get(name, ()))
        if examples.dtype_of(model, name) == "int32":
            low, high = examples.label_range(model, "sample", name) or (0, 0)
            found[name] = rng.integers(low, high + 1, shape).astype("int32")
        else:
            found[name] = np.ones(shape, "float32")
    return found


def _taken_by_sampler(model):
    return examples.taken_by_sample(model) if find_refusal(model) is None else {}


def takes_temperature(model):
    """Tell whether samples have a temperature. The model's sampler must be ready."""
    for function in (model.sample, examples.sampler_of(model).draw):
        if "temperature" in inspect.signature(function).parameters:
            return True
    codes = np.zeros((1, *model.code_shape), "float32")
    return _find_prior_mean(model, codes, make_inputs(model, 1, 0)) is not None


def sample_at(model, temperature, count, seed, inputs):
    """Sample at another temperature than 1.

    It is the argument of `sample`, or of the sampler. A Gaussian prior has neither, and there the
    temperature is the factor of its deviation.

    Args:
        model: The model, whose sampler is ready.
        temperature: Number of at least 0.
        count: Number of samples.
        seed: Integer.
        inputs: Dictionary of the named inputs of `sample`.

    Returns:
        What `sample` returns.

    Raises:
        ValueError: If samples of this model have no temperature.
    """
    if "temperature" in inspect.signature(model.sample).parameters:
        return model.sample(count, seed=seed, temperature=temperature, verbose=0, **inputs)
    if "temperature" in inspect.signature(examples.sampler_of(model).draw).parameters:
        return model._sample(count, seed, None, 0, inputs, temperature=temperature)
    generator = seeds.draw(model, seed)
    drawn, taken = samplers.draw(model, count, generator, 0, inputs)
    mean = _find_prior_mean(model, drawn, inputs)
    if mean is None:
        raise ValueError(
            f"sample: draws of {type(model).__name__} have no temperature={temperature:g}. Leave "
            "it 1."
        )
    drawn = (mean + temperature * (drawn - mean)).astype("float32")
    return decode_draws(model, drawn, generator, verbose=0, **taken)


def _find_prior_mean(model, drawn, inputs):
    """Return the mean of a Gaussian prior at draws, or None if they have another prior."""
    is_prior = isinstance(examples.sampler_of(model), samplers.Prior)
    if not is_prior or not hasattr(type(model), "prior") or drawn.shape[1:] != model.code_shape:
        return None
    given = examples.select(model, model.prior, inputs)
    given = examples.as_tensors(model, adaptation.standardize_inputs(model, given))
    try:
        prior = model.prior(ops.convert_to_tensor(drawn, "float32"), **given)
    except NotImplementedError:  # Several layers have a prior each.
        return None
    # Only Gaussians with independent dimensions have it.
    return ops.convert_to_numpy(prior.mean) if hasattr(prior, "kl_per_dimension") else None
