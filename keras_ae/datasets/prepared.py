"""Sets of pictures of TensorFlow Datasets, downloaded if needed and streamed from disk."""

import os
import urllib.error
import urllib.request
import warnings
from pathlib import Path

import numpy as np

_PEEK = 64
_CONNECT_SECONDS = 10


def list_tfds_names():
    """List the names of all sets that TensorFlow Datasets can prepare, without network access."""
    return _import_tfds().list_builders(with_community_datasets=False)


def is_tfds_name(name, data_dir):
    """Tell whether `name`, such as "cifar10_corrupted/fog_1:1.0.0", is known or on disk."""
    base = name.replace(":", "/").split("/")[0]
    if not base:
        return False
    return base in list_tfds_names() or any(Path(_find_root(data_dir), base).rglob("features.json"))


def make_tfds_dataset(name, split, labels, data_dir):
    """Make the dataset of a TFDS name; see `load`."""
    import tensorflow as tf

    tfds = _import_tfds()
    builder = _make_builder(tfds, name, data_dir)
    # The features of a set that is known only from its files come in another order in every
    # process, so they are sorted.
    features = dict(sorted(builder.info.features.items()))
    label_keys = _check_features(features, labels, name)
    # Even small sets are streamed. By default, a new thread in every pass reads 8 MB of a file at
    # once, and glibc keeps this memory for each thread, so that memory would grow by 100 MB in the
    # first passes.
    read_config = tfds.ReadConfig(try_autocache=False, override_buffer_size=2**18)
    try:
        examples = builder.as_dataset(split=split, read_config=read_config)
    except ValueError as error:
        raise ValueError(
            f"datasets.load: split={split!r} does not exist for name={name!r}, which has "
            f"{', '.join(map(repr, builder.info.splits))}: {error}"
        ) from error
    scale = _find_scale(features["image"].np_dtype, examples)

    def pick(example):
        x = tf.cast(example["image"], tf.float32) / scale
        if not labels:
            return x
        values = [example[key] for key in label_keys]
        return x, values[0] if len(values) == 1 else tf.stack(values)

    return examples.map(pick, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def _import_tfds():
    with warnings.catch_warnings():
        # The dependencies of TFDS use what Python and protobuf have deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        import tensorflow_datasets
    return tensorflow_datasets


def _find_root(data_dir):
    # TFDS reads the variable only when it is imported. Reading it here lets users set it later.
    default = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return os.path.expanduser(os.fspath(data_dir or default))


def _make_builder(tfds, name, data_dir):
    root = _find_root(data_dir)
    try:
        builder = tfds.builder(name, data_dir=root, try_gcs=False)
    # An unknown configuration is a ValueError, and an unknown version an AssertionError.
    except (ValueError, AssertionError) as error:
        reason = _shorten(error)
        raise ValueError(f"datasets.load: name={name!r} is not available: {reason}") from error
    if not builder.data_path.exists():
        _prepare(tfds, builder, name, root)
    return builder


def _prepare(tfds, builder, name, root):
    config = tfds.download.DownloadConfig(try_download_gcs=False)
    try:
        _check_reachable(builder)
        builder.download_and_prepare(download_config=config)
    # A file may be unreachable, a file may have to be fetched by hand, and a package that reads the
    # set may be missing.
    except (OSError, tfds.download.DownloadError, AssertionError, ImportError) as error:
        raise FileNotFoundError(
            f"datasets.load: name={name!r} is not prepared in {root} and could not be downloaded: "
            f"{_shorten(error)}\nIt is looked for in data_dir, else in TFDS_DATA_DIR, else in "
            "~/tensorflow_datasets. Connect to the internet, or prepare it on another machine with "
            "`tfds build` and pass its folder as data_dir. 'digits', 'small_mnist' and "
            "'sprites' need no download."
        ) from error


def _check_reachable(builder):
    """Raise an OSError within seconds if the server cannot be reached.

    TFDS itself would try again for minutes and leave folders behind.
    """
    urls = list(builder.url_infos or ())
    if not urls:
        return
    request = urllib.request.Request(urls[0], method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=_CONNECT_SECONDS).close()
    except urllib.error.HTTPError as error:
        error.close()  # The server answers, and TFDS will find out whether it has the file.
    except OSError as error:
        raise OSError(f"{urls[0]}: {getattr(error, 'reason', error)}") from error


def _shorten(error):
    return " ".join(str(error).split())[:400]


def _check_features(features, labels, name):
    """Return the keys of the labels.

    Raises:
        ValueError: If the set has no pictures, or no labels although they are requested.
    """
    if "image" not in features or len(features["image"].shape) != 3:
        raise ValueError(
            f"datasets.load: name={name!r} is not a set of pictures: its features are "
            f"{', '.join(features)}, and none is a single 'image'."
        )
    if not labels:
        return []
    keys = (
        ["label"] if "label" in features else [key for key in features if key.startswith("label_")]
    )
    if not keys:
        raise ValueError(
            f"datasets.load: labels=True, but name={name!r} has no 'label' or 'label_*': its "
            f"features are {', '.join(features)}."
        )
    return keys


def _find_scale(dtype, examples):
    """Find the value of white: 255 for uint8, unless the set stores 0 and 1, as binary sets do."""
    if not np.issubdtype(dtype, np.integer):
        return 1.0
    peek = examples.take(_PEEK).as_numpy_iterator()
    largest = max((example["image"].max() for example in peek), default=0)
    return float(np.iinfo(dtype).max) if largest > 1 else 1.0
