"""The masked autoencoder: which patches it sees, which it predicts, and from which."""

import keras
import numpy as np
import pytest
import zoo
from keras import ops

import keras_ae
from keras_ae import layers
from keras_ae.core import seeds
from keras_ae.models.deterministic.masked_ae import _choose_groups

pytestmark = pytest.mark.formula

SHAPE = (6, 4, 2)  # Patches of 2 x 2 lie in three rows of two.
OPTIONS = {"width": 8, "heads": 2, "blocks": 1}


def made(shape=SHAPE, mask_ratio=0.5, **given):
    given = {"patch_size": 2, "network_options": OPTIONS, "seed": 0, **given}
    model = keras_ae.MaskedAE(3, mask_ratio=mask_ratio, **given)
    model.compile(keras.optimizers.SGD(0.0), **zoo.OP_BY_OP)
    model.build((None, *shape))
    return model


def pictures(number=5, shape=SHAPE, seed=0):
    return np.random.default_rng(seed).random((number, *shape), "float32")


def array(tensor):
    return ops.convert_to_numpy(tensor)


def seen_patches(model, number, seed):
    """Which patches are seen, (number, patches), as `draw_order` says."""
    order = array(model._draw_order(number, seeds.draw(model, seed)))
    seen = np.zeros(order.shape, bool)
    np.put_along_axis(seen, order[:, : model._num_visible], True, axis=1)
    return seen


def terms(model, x, y=None, training=False):
    """Return each example's loss, with the masks of the first step of an evaluation."""

    def losses(x, y):
        return model.loss_terms(x, y, training)["reconstruction_loss"]

    return zoo.compute(losses, x, x if y is None else y)


def masks_of_evaluation(model, number):
    order = array(model._draw_order(number, model.step_seed(False)))
    masked = np.ones(order.shape, bool)
    np.put_along_axis(masked, order[:, : model._num_visible], False, axis=1)
    return masked


# ------------------------------------------------------------------ patches


def test_patches_are_squares_of_the_picture():
    x = pictures()
    patches = array(layers.to_patches(x, 2))
    for place, (row, column) in enumerate(layers.patch_places(SHAPE, 2)):
        square = x[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        np.testing.assert_array_equal(patches[:, place], square.reshape(5, -1))


@pytest.mark.parametrize("shape", [(6,), (6, 3), (6, 4, 2)], ids=str)
def test_patches_join_into_the_picture_again(shape):
    x = pictures(shape=shape)
    patches = layers.to_patches(x, 2)
    assert patches.shape[1] == len(layers.patch_places(shape, 2))
    np.testing.assert_array_equal(array(layers.from_patches(patches, shape, 2)), x)


def test_positions_are_the_sines_and_cosines_of_the_paper():
    positions = layers.sine_cosine_positions(np.arange(7)[:, None], 6)
    for place in range(7):
        for i in range(3):
            angle = place / 10_000 ** (2 * i / 6)
            assert positions[place, i] == pytest.approx(np.sin(angle), abs=1e-6)
            assert positions[place, 3 + i] == pytest.approx(np.cos(angle), abs=1e-6)
    # A picture's positions encode the row in one half and the column in the other. An odd width has
    # one sine more than cosines.
    both = layers.sine_cosine_positions(layers.patch_places((4, 6, 1), 2), 10)
    assert both.shape == (6, 10)
    np.testing.assert_array_equal(both[0, :5], both[2, :5])
    np.testing.assert_array_equal(both[1, 5:], both[4, 5:])
    assert len(np.unique(both.round(6), axis=0)) == 6


# ------------------------------------------------------------------ masks


@pytest.mark.parametrize(
    "mask_ratio, masked", [(0.75, 12), (0.5, 8), (0.1, 2), (0.01, 1), (0.99, 15)]
)
def test_the_share_of_masked_patches_is_exact(mask_ratio, masked):
    model = made((8, 8, 1), mask_ratio)
    seen = seen_patches(model, 200, seed=0)
    assert np.all(np.sum(~seen, axis=1) == masked) and model._num_patches == 16
    # All patches are masked equally often, within five standard deviations.
    share = masked / 16
    assert np.all(np.abs(np.mean(~seen, axis=0) - share) < 5 * np.sqrt(share * (1 - share) / 200))
    assert len(np.unique(seen, axis=0)) > 1


@pytest.mark.costly
@pytest.mark.every_backend
def test_masks_differ_between_steps_and_repeat_in_evaluations():
    model, x = made(), pictures(16)
    history = model.fit(x, epochs=3, batch_size=16, verbose=0).history["loss"]
    assert len(set(history)) == 3  # Only the masks differ, because the weights do not change.
    found = [model.evaluate(x, batch_size=8, verbose=0, return_dict=True) for _ in range(2)]
    assert found[0] == found[1]


def test_visible_patches_are_left_out_of_the_loss():
    """A changed target matters only where the patch is masked, and by the right amount."""
    model, x = made(), pictures()
    masked = masks_of_evaluation(model, len(x))
    before = terms(model, x)
    for patch, (row, column) in enumerate(layers.patch_places(SHAPE, 2)):
        y = x.copy()
        y[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2] += 1
        moved = np.abs(terms(model, x, y) - before) > 1e-3
        assert moved.tolist() == masked[:, patch].tolist()


def test_masked_patches_are_not_seen():
    """Other values in masked patches do not change the predictions, as the loss shows."""
    model, x = made(), pictures()
    masked = masks_of_evaluation(model, len(x))
    y = pictures(seed=1)
    changed = array(
        layers.from_patches(
            np.where(masked[:, :, None], 7.0, array(layers.to_patches(x, 2))), SHAPE, 2
        )
    )
    np.testing.assert_allclose(terms(model, changed, y), terms(model, x, y), rtol=1e-4)
    shown = np.where(masked[:, :, None], array(layers.to_patches(x, 2)), 7.0)
    other = terms(model, array(layers.from_patches(shown, SHAPE, 2)), y)
    assert np.abs(other / terms(model, x, y) - 1).max() > 1e-3


def test_the_loss_is_the_squared_error_of_predictions_from_visible_codes():
    """The test puts the codes of visible patches in their positions by hand."""
    model, x = made(), pictures()
    masked = masks_of_evaluation(model, len(x))
    expected = []
    for picture, hidden in zip(x, masked, strict=True):
        tokens = array(model._embed_patches(picture[None]))[:, ~hidden]
        z = np.tile(array(model._mask_token), (1, 6, 1))
        z[:, ~hidden] = array(model._encode_tokens(tokens, False))
        output = array(model.decoder(z + model._code_positions))
        error = (output - array(layers.to_patches(picture[None], 2))) ** 2
        expected.append(error[:, hidden].sum())
    np.testing.assert_allclose(terms(model, x), expected, rtol=1e-4)


def test_targets_can_be_normalized():
    x = 3 + 2 * pictures()
    targets = array(made(normalized_targets=True)._targets(x))
    np.testing.assert_allclose(targets.mean(axis=-1), 0, atol=1e-4)
    np.testing.assert_allclose(targets.std(axis=-1), 1, atol=1e-3)
    with pytest.raises(ValueError, match="normalized_targets=True makes some targets negative"):
        made(normalized_targets=True, reconstruction_loss="binary_crossentropy")


# ------------------------------------------------------------------ codes


def test_encode_masks_nothing_and_does_not_depend_on_masks():
    model, x = made(), pictures()
    z = model.encode(x)
    assert z.shape == (5, 6, 3) and model.code_shape == (6, 3)
    model.fit(x, verbose=0)  # Training draws masks.
    np.testing.assert_array_equal(model.encode(x), z)
    for patch, (row, column) in enumerate(layers.patch_places(SHAPE, 2)):
        changed = x.copy()
        changed[:, 2 * row, 2 * column] += 1
        assert np.abs(model.encode(changed)[:, patch] - z[:, patch]).min(axis=0).max() > 1e-4


@pytest.mark.parametrize("visible, passes", [(12, 4), (25, 2), (36, 4), (48, 49), (1, 49)])
def test_decoding_passes_show_as_much_as_training_and_hide_every_patch(visible, passes):
    shown = _choose_groups(49, visible)
    assert len(shown) == passes
    assert np.all(np.any(~shown, axis=0)) and np.all(np.any(shown, axis=1))
    assert np.abs(shown.sum(axis=1) - visible).max() <= 1
    assert len(set(shown.sum(axis=0))) == 1  # All patches are shown equally often.


@pytest.mark.parametrize("mask_ratio", [0.67, 0.33])
def test_a_patch_is_predicted_without_its_own_token(mask_ratio):
    model = made(mask_ratio=mask_ratio)
    # Larger weights make differences visible.
    for number, weight in enumerate(model.decoder.weights):
        weight.assign(np.random.default_rng(number).normal(size=weight.shape))
    z = np.random.default_rng(0).normal(size=(1, 6, 3)).astype("float32")
    before = array(layers.to_patches(model.decode(z), 2))
    for patch in range(6):
        changed = z.copy()
        changed[:, patch] = [5, -3, 1]
        moved = np.abs(array(layers.to_patches(model.decode(changed), 2)) - before).max(axis=-1)[0]
        # A patch changes if a pass shows the changed patch and hides this one.
        expected = np.any(~model._shown & model._shown[:, patch, None], axis=0)
        assert np.all(moved[~expected] < 1e-6) and moved[expected].max() > 1e-3
        assert not expected[patch] and expected.sum() >= 4


def test_predictions_are_averaged_over_the_passes_that_hide_the_patch():
    model = made(mask_ratio=0.67)
    z = np.random.default_rng(0).normal(size=(1, 6, 3)).astype("float32")
    total, count = np.zeros((6, 8)), np.zeros((6, 1))
    for shown in model._shown:
        tokens = np.where(shown[:, None], z, array(model._mask_token))
        output = array(model.decoder(tokens + model._code_positions))[0]
        total[~shown] += output[~shown]
        count[~shown] += 1
    assert set(count.ravel()) == {2}  # Each of three passes shows another group of two patches.
    found = array(layers.to_patches(model.decode(z), 2))[0]
    np.testing.assert_allclose(found, total / count, rtol=1e-4, atol=1e-5)


def test_samples_have_the_mean_and_covariance_of_the_codes():
    model, x = made(shape=(4,), mask_ratio=0.5), pictures(64, (4,))
    model.fit(np.tile(x, (8, 1)), batch_size=512, verbose=0, shuffle=False)
    codes = model.encode(x[::8]).reshape(8, -1)  # The density follows one example in eight.
    density = model.sampler
    np.testing.assert_allclose(array(density.mean), codes.mean(axis=0), rtol=1e-3, atol=1e-4)
    expected = np.cov(codes, rowvar=False, bias=True)
    np.testing.assert_allclose(array(density.covariance), expected, rtol=1e-2, atol=1e-4)
    model.sampler.prepare()
    drawn = array(model.sampler.sample(20_000, seeds.draw(model, 0)))
    assert drawn.shape == (20_000, 2, 3)
    spread = np.cov(drawn.reshape(20_000, -1), rowvar=False)
    np.testing.assert_allclose(spread, expected, atol=0.05 * expected.max())


def test_of_long_codes_only_variances_are_kept(monkeypatch):
    monkeypatch.setattr("keras_ae.samplers.CodeDensity.MOST", 5)
    model, x = made(shape=(4,), mask_ratio=0.5), pictures(64, (4,))
    model.fit(x, batch_size=64, verbose=0, shuffle=False)
    codes = model.encode(x[::8]).reshape(8, -1)
    variances = array(model.sampler.covariance)
    np.testing.assert_allclose(variances, codes.var(axis=0), rtol=1e-3, atol=1e-5)
    model.sampler.prepare()
    drawn = array(model.sampler.sample(20_000, seeds.draw(model, 0))).reshape(20_000, -1)
    np.testing.assert_allclose(drawn.var(axis=0), variances, rtol=0.05)
    np.testing.assert_allclose(drawn.mean(axis=0), codes.mean(axis=0), atol=0.02)


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    "given, message",
    [
        ({"encoder": "conv"}, "encoder='conv' cannot leave patches out. Pass 'transformer'"),
        ({"mask_ratio": 0}, "mask_ratio=0 must be a positive number below 1"),
        ({"mask_ratio": 1.0}, "mask_ratio=1.0 must be a positive number below 1"),
        ({"patch_size": 0}, "patch_size=0 must be a positive integer"),
        ({"patch_size": 4}, r"patch_size=4 must divide the sides \(6, 4\)"),
        ({"decoder_blocks": 0}, "decoder_blocks=0 must be a positive integer"),
        ({"network_options": {"units": (3,)}}, r"units=\(3,\) is not an option"),
        ({"encoder": keras.layers.Dense(3)}, "the width of the encoder's tokens is unknown"),
        (
            {"decoder": keras.Sequential([keras.Input((6, 3)), keras.layers.Dense(3)])},
            r"the decoder returns \(6, 3\) .* returns \(6, 8\)",
        ),
    ],
)
def test_errors_name_the_argument_the_value_and_the_remedy(given, message):
    with pytest.raises(ValueError, match=message):
        made(**given)


def test_data_of_one_patch_or_with_other_targets_is_refused():
    with pytest.raises(ValueError, match="into at least two patches"):
        made((2, 2, 1))
    with pytest.raises(ValueError, match="Call fit.x. without a target"):
        keras_ae.MaskedAE(3, patch_size=2).build((None, 6), (None, 8))
