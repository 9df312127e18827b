"""Plots of arrays: what is drawn where, without using pyplot's state."""

import functools

import numpy as np
import pytest
from matplotlib import colormaps, pyplot
from sklearn.decomposition import PCA

from keras_ae import plots

pytestmark = pytest.mark.backend_free

PNG = b"\x89PNG\r\n\x1a\n"


def pictures(count=6, height=8, width=4, channels=1):
    return np.random.default_rng(0).random((count, height, width, channels)).astype("float32")


def shown(figure):
    return np.asarray(figure.axes[0].images[0].get_array())


def test_image_grid_lays_the_pictures_row_by_row_with_white_gaps():
    x = pictures()
    canvas = shown(plots.image_grid(x, columns=3))
    assert canvas.shape == (8 + 1 + 8, 4 + 1 + 4 + 1 + 4)
    np.testing.assert_array_equal(canvas[:8, :4], x[0, ..., 0])
    np.testing.assert_array_equal(canvas[9:, 5:9], x[4, ..., 0])
    assert np.all(canvas[8] == 1) and np.all(canvas[:, 4] == 1)


def test_image_grid_keeps_colors():
    x = pictures(count=1, channels=3)
    np.testing.assert_array_equal(shown(plots.image_grid(x)), x[0])


def test_values_outside_the_unit_interval_are_scaled_to_it():
    canvas = shown(plots.image_grid(4 * pictures(count=1) - 2))
    assert canvas.min() == 0 and canvas.max() == 1


def test_reconstructions_stand_below_their_originals_on_the_originals_scale():
    x = pictures(count=3)
    figure = plots.reconstructions(x, x + 0.5, columns=2)
    canvas = shown(figure)
    np.testing.assert_array_equal(canvas[:8, 5:9], x[1, ..., 0])
    np.testing.assert_allclose(canvas[9:17, 5:9], np.minimum(x[1, ..., 0] + 0.5, 1), rtol=1e-6)
    np.testing.assert_array_equal(canvas[18:26, :4], x[2, ..., 0])
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["original", "reconstruction"] * 2


def test_heat_maps_are_red_where_a_share_is_large():
    x, shares = pictures(count=2), np.zeros((2, 8, 4, 1))
    shares[0, 2, 1], shares[0, 3, 1], shares[1, 5, 3] = 0.8, 0.2, 1e-3
    canvas = shown(plots.heat_maps(x, shares, columns=2))
    np.testing.assert_allclose(canvas[:8, :4], np.repeat(x[0], 3, axis=-1), rtol=1e-6)
    for row, column, color in (
        (9 + 2, 1, [1, 0, 0]),
        (9 + 3, 1, 0.75 * np.repeat(x[0, 3, 1], 3) + [0.25, 0, 0]),
        (9 + 5, 5 + 3, [1, 0, 0]),
        (9, 0, np.repeat(x[0, 0, 0], 3)),
    ):
        np.testing.assert_allclose(canvas[row, column], color, rtol=1e-5)
    for wrong in (shares[:1], shares[..., 0, 0], np.zeros((2, 8, 4, 3))):
        with pytest.raises(ValueError, match="heat_maps: pictures has shape"):
            plots.heat_maps(x, wrong)


def test_vectors_are_drawn_as_curves():
    x = pictures(count=7)[:, :, 0, 0]
    figure = plots.reconstructions(x, -x)
    low, high = -x.max(), x.max()
    for line, values in zip(figure.axes[0].lines, (x, -x), strict=False):
        y = line.get_ydata().reshape(7, 9)
        assert np.all(np.isnan(y[:, -1]))
        bottom = np.repeat([0, -1.2], [5, 2])[:, None]  # The first row has five frames.
        np.testing.assert_allclose(y[:, :-1], bottom + (values - low) / (high - low), atol=1e-6)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "original",
        "reconstruction",
    ]
    assert not plots.image_grid(x).legends


def test_a_matrix_is_a_gray_picture():
    x = pictures()
    np.testing.assert_array_equal(shown(plots.image_grid(x[..., 0])), shown(plots.image_grid(x)))


@pytest.mark.parametrize("shape", [(3, 8, 8, 2), (3,), (0, 8), (2, 3, 4, 5, 1), (3, 0, 8, 1)])
def test_what_cannot_be_drawn_is_named(shape):
    assert not plots.can_draw(np.zeros(shape))
    with pytest.raises(ValueError, match="cannot be drawn"):
        plots.image_grid(np.zeros(shape))


def test_reconstructions_need_one_output_for_each_original():
    with pytest.raises(ValueError, match="one output for each original"):
        plots.reconstructions(pictures(6), pictures(5))


def points(figure):
    return np.concatenate([np.asarray(c.get_offsets()) for c in figure.axes[0].collections])


def test_latent_plane_of_two_dimensions_shows_the_codes_themselves():
    codes = np.random.default_rng(0).normal(size=(20, 2))
    figure = plots.latent_plane(codes)
    np.testing.assert_array_equal(points(figure), codes)
    assert figure.axes[0].get_xlabel() == "code[0]"


def test_latent_plane_of_more_dimensions_shows_the_principal_components():
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(200, 5)) * [1, 5, 0.1, 3, 0.2]
    expected = PCA(2).fit(codes)
    figure = plots.latent_plane(codes)
    # The sign of a principal component is arbitrary.
    np.testing.assert_allclose(
        np.abs(points(figure)), np.abs(expected.transform(codes)), rtol=1e-6, atol=1e-8
    )
    assert f"{expected.explained_variance_ratio_[0]:.0%}" in figure.axes[0].get_xlabel()


def test_latent_plane_of_one_dimension_is_a_line():
    figure = plots.latent_plane([[1.0], [3.0]])
    np.testing.assert_array_equal(points(figure), [[1, 0], [3, 0]])


def test_latent_plane_gives_every_class_a_color_and_numbers_a_scale():
    codes = np.random.default_rng(0).normal(size=(30, 2))
    labels = np.arange(30) % 3
    figure = plots.latent_plane(codes, labels)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["0", "1", "2"]
    colors = [tuple(c.get_facecolor()[0]) for c in figure.axes[0].collections]
    assert len(set(colors)) == 3
    np.testing.assert_array_equal(points(figure), np.concatenate([codes[i::3] for i in range(3)]))
    scaled = plots.latent_plane(codes, np.linspace(0, 1, 30))
    assert not scaled.legends and len(scaled.axes) == 2


@pytest.mark.parametrize(
    "codes, labels, message",
    [
        (np.zeros((3, 2, 2)), None, "codes has shape"),
        (np.zeros((0, 2)), None, "codes has shape"),
        (np.zeros((3, 2)), np.zeros(4), "labels has shape"),
    ],
)
def test_latent_plane_names_a_wrong_shape(codes, labels, message):
    with pytest.raises(ValueError, match=message):
        plots.latent_plane(codes, labels)


def test_loss_curves_draw_validation_next_to_training():
    history = {"kl_loss": [3.0, 1.0], "loss": [5.0, 4.0], "val_loss": [6.0, 5.5]}
    figure = plots.loss_curves(history)
    assert [axes.get_title() for axes in figure.axes] == ["loss", "kl_loss"]
    drawn = {line.get_label(): line for line in figure.axes[0].lines}
    np.testing.assert_array_equal(drawn["training"].get_data(), [[1, 2], [5, 4]])
    np.testing.assert_array_equal(drawn["validation"].get_data(), [[1, 2], [6, 5.5]])
    assert len(figure.axes[1].lines) == 1


@pytest.mark.parametrize("history", [{}, {"loss": []}])
def test_loss_curves_need_an_epoch(history):
    with pytest.raises(ValueError, match="no epochs"):
        plots.loss_curves(history)


def test_figures_are_saved_and_shown_without_pyplot(tmp_path):
    x = pictures()
    figure = plots.image_grid(x, tmp_path / "grid.png")
    plots.reconstructions(x, x, tmp_path / "pairs.png")
    plots.latent_plane(np.zeros((3, 4)), path=tmp_path / "plane.png")
    plots.loss_curves({"loss": [1.0]}, str(tmp_path / "losses.png"))
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "grid.png",
        "losses.png",
        "pairs.png",
        "plane.png",
    ]
    assert all(p.read_bytes().startswith(PNG) for p in tmp_path.iterdir())
    assert figure._repr_png_().startswith(PNG)
    assert pyplot.get_fignums() == []


# ------------------------------------------------------------------ axes, size, colormap, labels


def drawers():
    """Return functions of a keyword that draw pictures with one channel."""
    x = pictures()
    return {
        "image_grid": functools.partial(plots.image_grid, x),
        "reconstructions": functools.partial(plots.reconstructions, x, x),
        "features": functools.partial(plots.features, x),
    }


@pytest.mark.parametrize("name", ["image_grid", "reconstructions", "features"])
def test_axes_size_colormap_and_labels(name, tmp_path):
    draw = drawers()[name]
    figure = pyplot.figure()
    try:
        axes = figure.add_subplot(1, 2, 2)
        assert draw(ax=axes, labels=list("abcdef")) is figure
        assert [text.get_text() for text in axes.texts] == list("abcdef") and axes.images
    finally:
        pyplot.close(figure)
    figure = draw(size=(3, 2), colormap="viridis", labels=np.arange(6))
    np.testing.assert_array_equal(figure.get_size_inches(), (3, 2))
    assert shown(figure).shape[-1] == 3 and figure.axes[0].texts[5].get_text() == "5"
    figure.savefig(tmp_path / "drawn.png")
    for wrong, message in {
        "size": r"size=3 must be a width and a height in inches",
        "colormap": r"colormap='viridiss' must be the name.*Did you mean 'viridis'",
        "labels": rf"{name}: labels=\[0\] must be a list of 6 texts",
    }.items():
        value = {"size": 3, "colormap": "viridiss", "labels": [0]}[wrong]
        with pytest.raises(ValueError, match=message):
            draw(**{wrong: value})
    with pytest.raises(ValueError, match="no effect on axes that exist"):
        draw(size=(3, 2), ax=axes)


def test_a_colormap_colors_the_pictures_and_not_the_gaps():
    x = pictures(count=2)
    canvas = shown(plots.image_grid(x, columns=2, colormap="magma"))
    np.testing.assert_allclose(canvas[:, :4], colormaps["magma"](x[0, ..., 0])[..., :3], atol=1e-6)
    assert np.all(canvas[:, 4] == 1)
    with pytest.raises(ValueError, match="no effect on pictures with 3 channels"):
        plots.image_grid(pictures(channels=3), colormap="magma")
    with pytest.raises(ValueError, match="no effect on curves"):
        plots.image_grid(x[:, :, 0, 0], colormap="magma")


def test_labels_stand_above_their_pictures():
    texts = plots.image_grid(pictures(), columns=3, labels=range(6)).axes[0].texts
    assert [text.get_position() for text in texts[::4]] == [(1.5, 1.0), (6.5, 12.0)]


def test_the_most_active_features_come_first():
    directions = pictures() - 0.5
    figure = plots.features(directions, activity=[0, 3, 1, 5, 2, 4], most=2, columns=2)
    assert [text.get_text() for text in figure.axes[0].texts] == ["3", "5"]
    first = directions[3, ..., 0]
    wanted = colormaps["RdBu_r"](0.5 + 0.5 * first / np.abs(first).max())[..., :3]
    np.testing.assert_allclose(shown(figure)[2:10, :4], wanted, atol=1e-6)
    with pytest.raises(ValueError, match="one number for each of the 6 features"):
        plots.features(directions, activity=[1.0])


def test_modalities_are_drawn_one_by_one():
    with pytest.raises(TypeError, match=r"keys 'image', 'text'. Pass one.*examples\['image'\]"):
        plots.image_grid({"image": pictures(), "text": np.zeros((6, 3))})


@pytest.mark.parametrize("count", [3, 15])
def test_classes_take_the_colors_of_a_colormap(count):
    codes = np.zeros((count, 2))
    for name in ("Set1", "viridis"):
        figure = plots.latent_plane(codes, np.arange(count), colormap=name)
        assert len(figure.axes[0].collections) == count
    with pytest.raises(ValueError, match="no effect on points without labels"):
        plots.latent_plane(codes, colormap="Set1")
