"""Keywords of earlier versions still work."""

import numpy as np
import pytest
from keras import ops

from keras_ae import flows, layers
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
