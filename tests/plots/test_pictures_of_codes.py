"""Plots of codes: which codes are decoded, in which order, and what is written at them."""

import numpy as np
import pytest
import zoo
from keras import ops
from scipy.stats import norm

import keras_ae
from keras_ae import plots
from keras_ae.core import examples
from keras_ae.core.codes import Codes, describe_codes

VECTORS = [name for name in zoo.MODELS if name not in zoo.DISCRETE]


def built(name, **given):
    model = zoo.MODELS[name](**given)
    zoo.build(model)
    return model


def data_for(name):
    """Return data, without labels that are unknown."""
    return zoo.data_for(name, 16)


def texts(labels):
    return [label.get_text() for label in labels]


def watch(model, monkeypatch, method="decode"):
    """Return a list to which the codes that a model decodes are added."""
    seen, decode = [], getattr(type(model), method)

    def look(self, z, **given):
        seen.append(np.asarray(z))
        return decode(self, z, **given)

    monkeypatch.setattr(type(model), method, look)
    return seen


def test_codes_are_ranked_by_divergence_and_otherwise_by_variance():
    means = np.array([[0.0, 1.0, 0.0], [0.0, -1.0, 5.0]])
    assert Codes(means).rank().tolist() == [2, 1, 0]
    divergences = np.array([[3.0, 0.0, 1.0]])
    assert Codes(means, np.ones((2, 3)), divergences).rank().tolist() == [0, 2, 1]
    np.testing.assert_allclose(Codes(means, np.full((2, 3), 3.0)).spread()[1], 2.0)


def test_divergences_are_those_of_the_posterior():
    model, x = built("VAE"), zoo.data(16)
    found = describe_codes(model, x)
    posterior = model.posterior(ops.convert_to_tensor(x))
    divergences, variances = map(
        ops.convert_to_numpy, (posterior.kl_per_dimension(), ops.exp(posterior.log_variance))
    )
    np.testing.assert_allclose(found.divergences, divergences, atol=1e-5)
    np.testing.assert_allclose(found.variances, variances, rtol=1e-5)
    np.testing.assert_allclose(found.means, model.encode(x), atol=1e-6)
    assert describe_codes(built("AE"), x).divergences is None


def test_divergences_from_a_prior_of_each_condition():
    model, x = built("ConditionalVAE"), zoo.data(16)
    label = zoo.inputs_for("ConditionalVAE", x)["label"]
    found = describe_codes(model, x, {"label": label})
    q = model.posterior(ops.convert_to_tensor(x), label=label)
    p = model.prior(q.mean, label=label)
    qs, ps = (ops.convert_to_numpy(ops.exp(0.5 * d.log_variance)) for d in (q, p))
    gaps = ops.convert_to_numpy(q.mean - p.mean)
    wanted = np.log(ps / qs) + (qs**2 + gaps**2) / (2 * ps**2) - 0.5
    np.testing.assert_allclose(found.divergences, wanted, atol=1e-5)


def test_rows_of_a_traversal_are_dimensions_by_divergence(monkeypatch):
    model, x = built("VAE", latent_dim=4), zoo.data(16)
    known = describe_codes(model, x)
    seen = watch(model, monkeypatch)
    figure = plots.traversal(model, x, number=2, steps=3, example=5, extent=1.5)
    order = known.divergences.mean(axis=0).argsort()[::-1][:2]
    assert texts(figure.axes[0].get_yticklabels()) == [f"dimension {n}" for n in order]
    assert texts(figure.axes[0].get_xticklabels()) == ["-1.5", "+0", "+1.5"]
    z = seen[0].reshape(2, 3, 4)
    deviations = np.sqrt(known.means.var(axis=0) + known.variances.mean(axis=0))
    for row, dimension in zip(z, order, strict=True):
        center = known.means[:, dimension].mean()
        wanted = center + np.array([-1.5, 0.0, 1.5]) * deviations[dimension]
        np.testing.assert_allclose(row[:, dimension], wanted, rtol=1e-5)
        others = np.delete(np.arange(4), dimension)
        np.testing.assert_allclose(row[:, others], np.tile(known.means[5, others], (3, 1)), 1e-5)


@pytest.mark.parametrize("name", VECTORS)
def test_every_model_of_vectors_is_drawn(name):
    model, x = built(name), data_for(name)
    if model._modalities or len(model.code_shape) > 1:
        with pytest.raises((TypeError, ValueError), match="Pass one of its arrays|single vectors"):
            plots.traversal(model, x)
        return
    assert len(plots.traversal(model, x, steps=2).axes) == 1
    label = {key: 1 for key in examples.taken_by_sample(model)}
    ends = [examples.map_leaves(lambda v, i=i: v[i], x) for i in (0, 1)]
    assert len(plots.interpolation(model, *ends, steps=2, **label).axes) == 1
    if name == "HypersphericalVAE":
        with pytest.raises(ValueError, match="lie on a sphere"):
            plots.manifold(model)
    elif model.sampler.ready():
        assert len(plots.manifold(model, steps=2, **label).axes) == 1
    else:
        with pytest.raises(RuntimeError, match="Call fit"):
            plots.manifold(model)


def test_moved_unit_vectors_stay_on_the_sphere(monkeypatch):
    model = built("HypersphericalVAE", latent_dim=3)
    seen = watch(model, monkeypatch)
    plots.traversal(model, zoo.data(16))
    np.testing.assert_allclose(np.linalg.norm(seen[0], axis=1), 1.0, atol=1e-5)


def test_a_manifold_has_the_quantiles_of_a_gaussian_prior(monkeypatch):
    model = built("VAE", latent_dim=3)
    seen = watch(model, monkeypatch)
    figure = plots.manifold(model, dimensions=(2, 0), steps=4)
    z = seen[0].reshape(4, 4, 3)
    quantiles = norm.ppf([0.125, 0.375, 0.625, 0.875])
    np.testing.assert_allclose(z[..., 2], np.tile(quantiles, (4, 1)), atol=1e-6)
    np.testing.assert_allclose(z[..., 0], np.tile(quantiles[::-1, None], (1, 4)), atol=1e-6)
    assert np.all(z[..., 1] == 0)
    assert figure.axes[0].get_ylabel() == "code[0]"
    assert texts(figure.axes[0].get_yticklabels())[0] == "1.2"


def test_a_manifold_of_another_prior_has_the_quantiles_of_its_draws(monkeypatch):
    model = built("WAE")
    seen = watch(model, monkeypatch)
    plots.manifold(model, steps=4)
    quantiles = norm.ppf([0.125, 0.375, 0.625, 0.875])
    np.testing.assert_allclose(seen[0].reshape(4, 4, 2)[0, :, 0], quantiles, atol=0.1)


def test_an_interpolation_begins_and_ends_with_the_examples():
    model, x = built("VAE"), zoo.data(4)  # All values lie between 0 and 1.
    figure = plots.interpolation(model, x[:2], x[2:], steps=3, labels=["first", "second"])
    assert texts(figure.axes[0].get_xticklabels()) == ["from", "0", "0.5", "1", "to"]
    assert texts(figure.axes[0].get_yticklabels()) == ["first", "second"]
    heights = figure.axes[0].lines[0].get_ydata().reshape(10, 7)[:, :-1]
    ways = model.interpolate(x[:2], x[2:], steps=3)
    drawn = np.concatenate([x[:2, None], ways, x[2:, None]], axis=1).reshape(10, 6)
    np.testing.assert_allclose(heights, drawn + np.repeat([0, -1.2], 5)[:, None], atol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, x: plots.traversal(m, x, example=16), "example=16 must be an integer from 0 to"),
        (lambda m, x: plots.traversal(m, x, labels=["a"]), r"labels=\['a'\] must be a list of 2"),
        (lambda m, x: plots.traversal(m, x, extent=0), "extent=0 must be a positive number"),
        (lambda m, x: plots.manifold(m, (0, 2)), r"dimensions=\(0, 2\) must be two different int"),
        (lambda m, x: plots.manifold(m, (1, 1)), r"dimensions=\(1, 1\) must be two different int"),
        (lambda m, x: plots.manifold(m, steps=1), "steps=1 must be an integer of at least 2"),
    ],
)
def test_what_cannot_be_drawn(call, message):
    with pytest.raises(ValueError, match=message):
        call(built("VAE"), zoo.data(16))


@pytest.mark.parametrize("call", [plots.traversal, lambda m, x: plots.manifold(m)])
def test_integers_are_refused(call):
    with pytest.raises(TypeError, match="codes of VQVAE are integers"):
        call(built("VQVAE"), zoo.data(16))


def test_a_manifold_needs_a_built_model():
    with pytest.raises(ValueError, match="VAE.manifold needs the data's shape"):
        plots.manifold(keras_ae.VAE(2))
