"""A page in the browser with which one walks through the latent space of a model."""

import importlib.util

from keras_ae.explorer.sources import make_views


def explore(
    model,
    x=None,
    *,
    labels=None,
    names=None,
    rate=None,
    port=0,
    host="127.0.0.1",
    open_browser=True,
    seed=0,
    **inputs,
):
    """Serve a page in the browser with which one walks through the latent space of a model.

    The page is served by a thread, so that a notebook or a script goes on. Nobody but the users of
    this machine can reach it, unless `host` says otherwise. docs/explore.md describes the page.

    Args:
        model: A built model, a fitted `keras_ae.estimators.AnomalyDetector`, or what
            `keras_ae.load` takes, such as "vae_mnist".
        x: Examples of data as `encode` takes them. The first 300 are encoded. Defaults to None: the
            data on which a model that is loaded here was trained, or else draws from the model.
        labels: One label for each example, by which codes are colored. Defaults to None: those of
            the data, if it has any.
        names: One text for each feature of a vector, word of a vocabulary, or token. Defaults to
            None: their numbers.
        rate: Samples per second of waves, a positive number, if the data are waves of shape
            (steps,) or (steps, 1), which are then played. Defaults to None: what the entry "rate"
            of the card says, if the model is loaded here.
        port: Port of the page, an integer from 0 to 65,535. Defaults to 0, a free one.
        host: Address or name to which the server is bound. Defaults to "127.0.0.1".
        open_browser: Whether the page is opened in the browser. Defaults to True.
        seed: Integer, the seed of draws that stand in for data. Defaults to 0.
        **inputs: The model's named inputs, one row for each example.

    Returns:
        An object with the attribute `url` and the method `close`, which is also a context manager.

    Raises:
        ImportError: If what `pip install keras-ae[explore]` installs is missing.
        TypeError: If the model is none, or a named input is unknown.
        ValueError: If the model is not built, or an argument does not fit it.
        OSError: If the port is taken, or files of the model are missing.

    Example:

    >>> import keras_ae
    >>> model = keras_ae.VAE(latent_dim=2, network_options={"units": (8,)}, seed=0)
    >>> model.build((None, 6))
    >>> with keras_ae.explore(model, open_browser=False) as page:
    ...     page.url.startswith("http://127.0.0.1:")
    True
    """
    require_packages()
    from keras_ae.explorer import server

    views = make_views(model, x, inputs=inputs, labels=labels, names=names, rate=rate, seed=seed)
    page = server.Page(views, host, port)
    if open_browser:
        page.open()
    return page


def require_packages():
    """Raise an error that says what to install, if a package that the server needs is missing."""
    missing = [name for name in ("starlette", "uvicorn") if not importlib.util.find_spec(name)]
    if missing:
        raise ImportError(f"explore needs {' and '.join(missing)}: pip install keras-ae[explore]")
