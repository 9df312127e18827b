"""Keywords of earlier versions still work."""

import numpy as np
import pytest
from keras import ops

from keras_ae import MaskedAE, RiemannianHamiltonianVAE, flows, layers
from keras_ae.core.adjustable import load_numbers
from keras_ae.hamiltonian import LearnedMetric

ROWS = np.ones((2, 1), "float32")


@pytest.mark.parametrize(
    ("function", "old", "new", "value"),
    [
        (
            lambda **given: flows.radial(ROWS, width=ROWS, strength=ROWS, **given),
            "centre",
            "center",
            ROWS,
        ),
        (lambda **given: layers.k_means(ROWS, **given), "centres", "centers", ROWS),
        (
            lambda **given: LearnedMetric(ROWS, ROWS[:, None], 1.0, **given).inverse(ROWS),
            "regularisation",
            "regularization",
            0.5,
        ),
    ],
)
def test_an_argument_takes_its_old_name(function, old, new, value):
    values = [function(**{name: value}) for name in (old, new)]
    parts = (v[0] if isinstance(v, tuple) else v for v in values)
    first, second = map(ops.convert_to_numpy, parts)
    np.testing.assert_array_equal(first, second)
    with pytest.raises(TypeError):
        function(**{"centr": value})


MODELS = [
    (MaskedAE, "normalised_targets", "normalized_targets", True),
    (RiemannianHamiltonianVAE, "regularisation", "regularization", 0.5),
]


@pytest.mark.parametrize(("cls", "old", "new", "value"), MODELS)
def test_a_model_takes_the_old_name_and_saves_the_new_one(cls, old, new, value):
    class OfUser(cls):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)

    for kind in (cls, OfUser):
        model = kind(**{old: value})
        assert getattr(model, new) == model.arguments[new] == model.get_config()[new] == value
        assert old not in model.get_config()
    config = {old if name == new else name: v for name, v in model.get_config().items()}
    assert cls.from_config(config).get_config()[new] == value


def test_a_number_that_an_earlier_version_assigned_is_loaded():
    model = RiemannianHamiltonianVAE(latent_dim=2, num_anchors=2, seed=0)
    load_numbers(model, {"assigned_regularisation": np.array(0.5)})
    assert model.regularization == model.get_config()["regularization"] == 0.5
