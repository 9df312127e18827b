"""The files of the page, which are part of the package."""

import importlib.resources

# Name -> type of the content.
FILES = {
    "index.html": "text/html; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "explorer.js": "text/javascript; charset=utf-8",
    "panels.js": "text/javascript; charset=utf-8",
    "drawing.js": "text/javascript; charset=utf-8",
    "backend.js": "text/javascript; charset=utf-8",
    "plane.js": "text/javascript; charset=utf-8",
}


def read_page(name):
    """Return the bytes of a file of the page, one of `FILES`."""
    return importlib.resources.files("keras_ae.explorer").joinpath("page", name).read_bytes()
