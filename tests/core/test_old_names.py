"""Keywords of earlier versions still work."""

import numpy as np
import pytest

from keras_ae import flows, layers
from keras_ae.hamiltonian import LearnedMetric

ROWS = np.ones((2, 1), "float32")


@pytest.mark.parametrize(
    ("function", "old", "new"),
    [
        (
            lambda **given: flows.radial(ROWS, width=ROWS, strength=ROWS, **given),
            "centre",
            "center",
        ),
        (lambda **given: layers.k_means(ROWS, **given), "centres", "centers"),
        (
            lambda **given: LearnedMetric(ROWS, ROWS[:, None], 1.0, **given).inverse(ROWS),
            "regularisation",
            "regularization",
        ),
    ],
)
def test_an_argument_takes_its_old_name(function, old, new):
    values = [function(**{name: ROWS}) for name in (old, new)]
    first, second = (np.asarray(v[0] if isinstance(v, tuple) else v) for v in values)
    np.testing.assert_array_equal(first, second)
    with pytest.raises(TypeError):
        function(**{"centr": ROWS})
