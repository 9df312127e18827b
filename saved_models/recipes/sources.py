"""The data of the pretrained models: where they come from, under which license, and their splits.

Sets of TensorFlow Datasets and those of the package are loaded as users load them. Others are read
from the folder that the environment variable KERAS_AE_DATA names.
"""

import dataclasses
import functools
import hashlib
import io
import os
import pathlib
import tarfile
from collections.abc import Callable

import numpy as np
import pandas as pd

from keras_ae import datasets, evaluation


class Absent(Exception):
    """Data that is not on this machine."""


@dataclasses.dataclass(frozen=True)
class Data:
    """Data of pretrained models.

    Args:
        name: What commands such as `keras-ae sample` call it, or a short name of its own.
        license: License of the data.
        source: Who made it, and where it is.
        splits: What the two splits are, in words.
        read: Function that returns {"train": part, "test": part}. Each part is a dictionary of "x"
            and other arrays, such as "label".
        computed_from: Data of which a network computes this, because what it computes is rounded
            differently on other machines and has no hash. Defaults to None.
    """

    name: str
    license: str
    source: str
    splits: str
    read: Callable
    computed_from: "Data | None" = None

    @functools.cache  # noqa: B019  There are few sets, and all of them are constants.
    def load(self):
        return self.read()

    def hash_test(self):
        """Return the SHA-256 of the test examples' bytes."""
        x = (self.computed_from or self).load()["test"]["x"]
        if isinstance(x, dict):
            x = np.concatenate([np.ascontiguousarray(v).reshape(len(v), -1) for v in x.values()], 1)
        elif isinstance(x, pd.DataFrame):
            return hashlib.sha256(x.to_csv(index=False).encode()).hexdigest()
        elif not isinstance(x, np.ndarray):
            x = x.toarray()
        return hashlib.sha256(np.ascontiguousarray(x).tobytes()).hexdigest()


def find_file(path):
    """Return the path of a file in the folder KERAS_AE_DATA.

    Raises:
        Absent: If the folder or the file is not there.
    """
    folder = os.environ.get("KERAS_AE_DATA")
    if not folder:
        raise Absent(f"set KERAS_AE_DATA to the folder that has {path}")
    file = pathlib.Path(folder) / path
    if not file.exists():
        raise Absent(f"there is no {path} in the folder of KERAS_AE_DATA")
    return file


def _read_pictures(name):
    def read():
        found = {}
        for part in ("train", "test"):
            try:
                x, label = datasets.as_array(name, part, labels=True)
            except (OSError, ValueError, ConnectionError) as error:
                raise Absent(f"{name} of TensorFlow Datasets: {str(error)[:100]}") from error
            found[part] = {"x": x, "label": label}
        return found

    return read


MNIST = Data(
    "mnist",
    "CC BY-SA 3.0",
    "MNIST, LeCun, Cortes and Burges (1998), from TensorFlow Datasets (mnist 3.0.1)",
    "60,000 training digits, 10,000 test digits",
    _read_pictures("mnist"),
)
DIGITS = Data(
    "digits",
    "CC BY 4.0",
    "Optical Recognition of Handwritten Digits, Alpaydin and Kaynak (1998), UCI, from scikit-learn",
    "1,437 training digits, 360 test digits",
    _read_pictures("digits"),
)


def _flatten(data):
    def read():
        parts = data.load()
        return {
            k: {**part, "x": part["x"].reshape(len(part["x"]), -1)} for k, part in parts.items()
        }

    return read


def derive(data, read, splits=None):
    """Return data that is computed from other data."""
    return dataclasses.replace(data, read=read, splits=splits or data.splits)


MNIST_ROWS = derive(MNIST, _flatten(MNIST))
DIGITS_ROWS = derive(DIGITS, _flatten(DIGITS))


def _read_features():
    features = evaluation.DigitFeatures()
    parts = MNIST.load()
    return {name: {**part, "x": features(part["x"])} for name, part in parts.items()}


CLASSIFIER_FEATURES = Data(
    "digit_features",
    "CC BY-SA 3.0",
    "the features that keras_ae.evaluation.DigitFeatures() computes of MNIST",
    "60,000 training digits, 10,000 test digits",
    _read_features,
    computed_from=MNIST,
)


def _read_few_labels():
    """Hide the labels of all digits but ten of each kind. Labeled digits are repeated."""
    parts = MNIST_ROWS.load()
    x, digits = parts["train"]["x"], parts["train"]["label"]
    rng = np.random.default_rng(0)
    labeled = np.concatenate(
        [rng.choice(np.flatnonzero(digits == d), 10, False) for d in range(10)]
    )
    label = np.full(len(x), -1, "int32")
    label[labeled] = digits[labeled]
    order = np.concatenate([np.arange(len(x)), np.resize(labeled, 40_000)])
    return {
        "train": {"x": x[order], "label": label[order]},
        "test": parts["test"],
    }


MNIST_FEW_LABELS = derive(
    MNIST,
    _read_few_labels,
    "60,000 training digits, of which 100 have labels, 10,000 test digits",
)


def _read_two_modalities():
    found = {}
    for name, part in MNIST_ROWS.load().items():
        draws = np.random.default_rng(0).random(part["x"].shape, "float32")
        x = {
            "image": (draws < part["x"]).astype("float32"),
            "label": np.eye(10, dtype="float32")[part["label"]],
        }
        found[name] = {"x": x, "label": part["label"]}
    return found


MNIST_WITH_LABELS = derive(MNIST, _read_two_modalities)


def _read_fashion():
    with np.load(find_file("images/fashion_mnist_part.npz")) as file:
        return {
            part: {
                "x": (file[f"x_{part}"] / np.float32(255))[..., None].astype("float32"),
                "label": file[f"y_{part}"].astype("int64"),
            }
            for part in ("train", "test")
        }


FASHION = Data(
    "fashion_mnist",
    "MIT",
    "Fashion-MNIST, Xiao, Rasul and Vollgraf (2017)",
    "the first 8,226 training pictures and the first 4,443 test pictures",
    _read_fashion,
)


def _read_omniglot():
    """Average the drawings to 28 by 28 pixels, and hold out a tenth of the characters."""
    with np.load(find_file("images/omniglot_small.npz")) as file:
        bits = np.unpackbits(file["ink_packed"], axis=1, count=11025).reshape(-1, 105, 105)
        number = 1000 * file["alphabet"].astype(int) + file["character"]
    character = np.unique(number, return_inverse=True)[1]
    # 105 pixels become 28 of 3.75 pixels each: each pixel is repeated 4 times, and 15 are averaged.
    fine = bits.repeat(4, axis=1).repeat(4, axis=2).reshape(-1, 28, 15, 28, 15)
    x = fine.mean((2, 4), dtype="float32")
    x = np.minimum(x * np.float32(2.0), 1.0)[..., None]  # Lines thinner than a pixel become gray.
    is_test = character % 10 == 9
    return {"train": {"x": x[~is_test]}, "test": {"x": x[is_test]}}


OMNIGLOT = Data(
    "omniglot",
    "MIT",
    "Omniglot, Lake, Salakhutdinov and Tenenbaum (2015), 5,840 drawings of 292 characters",
    "the drawings of nine tenths of the characters, and those of the others",
    _read_omniglot,
)


def _read_sprites():
    found = {}
    for part, number in (("train", 60_000), ("test", 10_000)):
        examples = datasets.load("sprites", part, labels=True, seed=0).take(number)
        x, label = next(examples.batch(number).as_numpy_iterator())
        found[part] = {"x": x, "label": label}
    return found


SPRITES = Data(
    "sprites",
    "generated by this package",
    "keras_ae.datasets.sprites_images, after dSprites (Matthey et al. 2017)",
    "60,000 training pictures, 10,000 test pictures",
    _read_sprites,
)

ADULT_COLUMNS = (
    "age workclass fnlwgt education education_num marital_status occupation relationship race sex "
    "capital_gain capital_loss hours_per_week native_country income"
).split()


def _read_adult():
    found = {}
    for part in ("train", "test"):
        path = find_file(f"tabular/adult-{part}.csv.gz")
        options = {"na_values": "?", "skipinitialspace": True, "comment": "|"}
        table = pd.read_csv(path, names=ADULT_COLUMNS, **options)
        table["income"] = table["income"].str.rstrip(".")
        found[part] = {"x": table}
    return found


ADULT = Data(
    "adult",
    "CC BY 4.0",
    "Adult, Becker and Kohavi (1996), UCI",
    "32,561 training rows, 16,281 test rows",
    _read_adult,
)


def _read_wine():
    """Standardize the columns of numbers. Every tenth row is a test row."""
    with tarfile.open(find_file("tabular/hivae_tabular.tar.gz")) as archive:
        text = archive.extractfile("Wine/data.csv").read().decode()
    x = pd.read_csv(io.StringIO(text), header=None).to_numpy("float32")[:, :-1]
    is_test = np.arange(len(x)) % 10 == 9
    return {"train": {"x": x[~is_test]}, "test": {"x": x[is_test]}}


WINE = Data(
    "wine",
    "CC BY 4.0",
    "Wine Quality, Cortez et al. (2009), UCI",
    "nine tenths of 6,497 rows of 12 columns, and the others",
    _read_wine,
)


def _read_adbench(file):
    """Return normal rows to train on, and the other half of them with all anomalies."""

    def read():
        with np.load(find_file(f"adbench/{file}")) as archive:
            x, y = archive["X"].astype("float32"), archive["y"].astype(int)
        normal = np.random.default_rng(0).permutation(np.flatnonzero(y == 0))
        fitted, held_out = np.array_split(normal, 2)
        test = np.concatenate([held_out, np.flatnonzero(y == 1)])
        return {"train": {"x": x[fitted]}, "test": {"x": x[test], "label": y[test]}}

    return read


THYROID, SHUTTLE = (
    Data(
        name,
        "BSD-2-Clause",
        f"{name} of ADBench, Han et al. (2022)",
        "half of the normal rows, and the other half with all anomalies",
        _read_adbench(file),
    )
    for name, file in (("thyroid", "38_thyroid.npz"), ("shuttle", "32_shuttle.npz"))
)


def _read_newsgroups():
    from scipy import sparse

    parts = {
        name: {"x": sparse.load_npz(find_file(f"20ng/{name}.npz")).tocsr()}
        for name in ("train", "test")
    }
    for half in ("first", "second"):
        parts["test"][half] = sparse.load_npz(find_file(f"20ng/test_{half}_half.npz")).tocsr()
    return parts


def read_vocabulary():
    """Return the words of 20 Newsgroups."""
    return find_file("20ng/vocab.txt").read_text().split()


NEWSGROUPS = Data(
    "20_newsgroups",
    "MIT",
    "20 Newsgroups, Lang (1995), counted by OCTIS, 3,072 words",
    "11,214 training documents, 7,531 test documents",
    _read_newsgroups,
)


def _read_cells():
    import h5py

    with h5py.File(find_file("counts/worm_neuron_cell.h5")) as file:
        counts, kinds = file["X"][:], file["Y"][:].astype("int64")
    genes = np.argsort(-counts.var(axis=0) / np.maximum(counts.mean(axis=0), 1e-3))[:500]
    x = counts[:, np.sort(genes)].astype("float32")
    is_test = np.arange(len(x)) % 10 == 9
    return {
        "train": {"x": x[~is_test], "label": kinds[~is_test]},
        "test": {"x": x[is_test], "label": kinds[is_test]},
    }


CELLS = Data(
    "worm_neurons",
    "Apache-2.0",
    "neurons of C. elegans, Cao et al. (2017), prepared by Tian et al. (2019)",
    "nine tenths of 4,186 cells with 500 genes, and the others",
    _read_cells,
)


def _read_mnist1d():
    with np.load(find_file("series/mnist1d.npz")) as file:
        names = set(file.files)
        parts = {}
        for part in ("train", "test"):
            x = file["x" if part == "train" and "x_train" not in names else f"x_{part}"]
            y = file["y" if part == "train" and "y_train" not in names else f"y_{part}"]
            parts[part] = {"x": x.astype("float32")[..., None], "label": y.astype("int64")}
    return parts


MNIST1D = Data(
    "mnist1d",
    "Apache-2.0",
    "MNIST-1D, Greydanus (2020), series of 40 steps",
    "4,000 training series, 1,000 test series",
    _read_mnist1d,
)


def _read_words():
    found = {}
    for part, number, seed in (("train", 4000, 0), ("test", 500, 1)):
        waves, labels = datasets.formant_words(number, seed=seed)[:2]
        found[part] = {"x": datasets.log_mel(waves, 8000, 40, 256), "label": labels, "waves": waves}
    return found


WORDS = Data(
    "formant_words",
    "generated by this package",
    "keras_ae.datasets.formant_words, as pictures of 40 bands of mels",
    "4,000 training words of seed 0, 500 test words of seed 1",
    _read_words,
)


def _read_videos():
    options = {"frames": 8, "side": 24, "seed": 0}
    return {
        "train": {"x": datasets.moving_digits(6000, **options)},
        "test": {"x": datasets.moving_digits(500, "test", **options)},
    }


MOVING_DIGITS = Data(
    "moving_digits",
    "CC BY-SA 3.0",
    "keras_ae.datasets.moving_digits, of the digits of MNIST in this package",
    "6,000 training videos, 500 test videos of other digits, 8 frames of 24x24 pixels",
    _read_videos,
)


def _read_names():
    import gzip

    text = gzip.decompress(find_file("text/names.txt.gz").read_bytes()).decode()
    names = [name.strip() for name in text.splitlines() if name.strip()]
    is_test = np.arange(len(names)) % 10 == 9
    table = encode_names(names)
    return {"train": {"x": table[~is_test]}, "test": {"x": table[is_test]}}


NAME_LENGTH = 16


def encode_names(names):
    """Return names as tokens: 0 is padding, 1 the end, and 2 to 27 are the letters."""
    table = np.zeros((len(names), NAME_LENGTH), "int32")
    for row, name in enumerate(names):
        tokens = [ord(letter) - ord("a") + 2 for letter in name.lower()[: NAME_LENGTH - 1]]
        table[row, : len(tokens) + 1] = [*tokens, 1]
    return table


NAMES = Data(
    "names",
    "MIT",
    "first names, from makemore (Karpathy 2022), after the US Social Security Administration",
    "nine tenths of 32,033 names, and the others",
    _read_names,
)
