"""The command `keras-ae explore`, which serves or writes a page about a model."""

from keras_ae.cli import terminal
from keras_ae.explorer import require_packages
from keras_ae.explorer.sources import make_views


def make(artifact, name, is_chosen, data, seed):
    """Load a model and its data.

    Args:
        artifact: Path of the model's folder or file.
        name: What the user called it.
        is_chosen: Whether the user named the data, so that it is an error if it cannot be read.
        data: Name or path of the data, or None.
        seed: Integer, the seed of draws that stand in for data.

    Returns:
        `keras_ae.explorer.views.Views`.
    """

    def warn(line):
        terminal.complain("warning", line)

    return make_views(
        artifact,
        title=str(name),
        data=data,
        needs_data=is_chosen,
        seed=seed,
        warn=warn,
    )


def serve(views, host, port, opens_browser):
    """Serve the page until Ctrl-C is pressed, and print one line with its address."""
    require_packages()
    from keras_ae.explorer.server import Page

    with Page(views, host, port) as page:
        terminal.show(f"{page.url} shows {views.title}. Press Ctrl-C to stop.")
        terminal.flush()
        if opens_browser:
            page.open()
        page.wait()


def write_static(views, folder):
    """Write a page that needs no server. Return the lines that say so."""
    from keras_ae.explorer.static import write

    write(views, folder)
    return [
        f"{folder}: a page of {views.title} for a web site",
        f"  python -m http.server --directory {folder}",
    ]
