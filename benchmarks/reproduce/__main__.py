"""Train models as papers do and print their figures, one row per model.

    TFDS_DATA_DIR=... python -m benchmarks.reproduce vae_mnist
    TFDS_DATA_DIR=... python -m benchmarks.reproduce likelihood --models VAE IWAE
    TFDS_DATA_DIR=... python -m benchmarks.reproduce denoising  # needs scikit-image
    python -m benchmarks.reproduce counts --data worm_neuron_cell.h5  # needs h5py, scikit-learn
    python -m benchmarks.reproduce missing_data --data hivae_tabular.tar.gz  # needs scikit-learn
    python -m benchmarks.reproduce missing_cells --data hivae_tabular.tar.gz
    python -m benchmarks.reproduce large_pictures --data photos/
    python -m benchmarks.reproduce repair --data images/ --pictures strips/
    python -m benchmarks.reproduce anomaly --data adbench/ --output anomaly/  # needs pyod
    python -m benchmarks.reproduce tiles --data magnetic_tile_64.npz --pictures tiles/
    python -m benchmarks.reproduce skab --data skab.tar.gz
    python -m benchmarks.reproduce spacecraft --data smap_msl.npz
    python -m benchmarks.reproduce tables --data tabular/  # TVAE needs ctgan
    python -m benchmarks.reproduce recommendation --data recommender/
    python -m benchmarks.reproduce topics --data 20ng/
    python -m benchmarks.reproduce clustering --data usps.npz  # without --data: MNIST
    TFDS_DATA_DIR=... python -m benchmarks.reproduce joint_codes
    TFDS_DATA_DIR=... python -m benchmarks.reproduce selected_pixels  # needs scikit-learn
    python -m benchmarks.reproduce piano_rolls --data series/
    python -m benchmarks.reproduce sentences --data text/
    python -m benchmarks.reproduce series_scores --data mnist1d.npz
    python -m benchmarks.reproduce moving_digits --output videos/
    python -m benchmarks.reproduce speech

MNIST comes from tensorflow-datasets, which downloads it unless TFDS_DATA_DIR has it. A row prints
its figures as JSON. `benchmarks/RESULTS.md` has what was printed, with the command.
"""

import argparse
import json
import os
import pathlib
import platform

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras

from benchmarks.reproduce.anomaly import anomaly
from benchmarks.reproduce.anomaly_series import skab, spacecraft
from benchmarks.reproduce.clustering import clustering, joint_codes
from benchmarks.reproduce.codes import codes
from benchmarks.reproduce.compression import compression
from benchmarks.reproduce.conditional import conditional
from benchmarks.reproduce.counts import counts
from benchmarks.reproduce.denoising import denoising
from benchmarks.reproduce.disentanglement import disentanglement
from benchmarks.reproduce.large_pictures import large_pictures
from benchmarks.reproduce.likelihood import likelihood
from benchmarks.reproduce.missing_cells import missing_cells
from benchmarks.reproduce.missing_data import missing_data
from benchmarks.reproduce.moving_digits import moving_digits
from benchmarks.reproduce.multimodal import multimodal
from benchmarks.reproduce.one_class import one_class
from benchmarks.reproduce.piano_rolls import piano_rolls
from benchmarks.reproduce.recommendation import recommendation
from benchmarks.reproduce.repair import repair
from benchmarks.reproduce.samplers import samplers
from benchmarks.reproduce.samples import samples
from benchmarks.reproduce.selected_pixels import selected_pixels
from benchmarks.reproduce.semi_supervised import semi_supervised
from benchmarks.reproduce.sentences import sentences
from benchmarks.reproduce.series_scores import series_scores
from benchmarks.reproduce.sigma import sigma
from benchmarks.reproduce.sparse_activations import sparse_activations
from benchmarks.reproduce.sparse_features import sparse_features
from benchmarks.reproduce.speech import speech
from benchmarks.reproduce.tables import tables
from benchmarks.reproduce.tiles import tiles
from benchmarks.reproduce.topics import topics
from benchmarks.reproduce.vae_mnist import vae_mnist

ROWS = {
    row.__name__: row
    for row in (
        vae_mnist,
        likelihood,
        disentanglement,
        samples,
        samplers,
        codes,
        compression,
        denoising,
        sparse_features,
        sparse_activations,
        missing_data,
        missing_cells,
        counts,
        multimodal,
        sigma,
        conditional,
        semi_supervised,
        large_pictures,
        repair,
        anomaly,
        one_class,
        tiles,
        skab,
        spacecraft,
        tables,
        recommendation,
        topics,
        clustering,
        joint_codes,
        selected_pixels,
        piano_rolls,
        sentences,
        series_scores,
        moving_digits,
        speech,
    )
}


def main():
    parser = argparse.ArgumentParser(
        "python -m benchmarks.reproduce", description=__doc__.splitlines()[0]
    )
    parser.add_argument("row", choices=ROWS)
    parser.add_argument("--epochs", type=int, help="default: as many as RESULTS.md says")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, nargs="+", help="seeds of the rows that take several")
    parser.add_argument("--models", nargs="+", help="default: all models of the row")
    parser.add_argument(
        "--pictures", type=pathlib.Path, help="folder for pictures of what models make"
    )
    parser.add_argument("--tables", nargs="+", help="names of tables, for `missing_cells`")
    parser.add_argument(
        "--sides", type=int, nargs="+", help="sides of the pictures, for `large_pictures`"
    )
    parser.add_argument(
        "--output",
        help="folder for the finished runs of `disentanglement` or `anomaly`, or for pictures",
    )
    parser.add_argument("--data", help="path of the data, for the rows that say so above")
    arguments = parser.parse_args()
    given = {name: value for name, value in vars(arguments).items() if value is not None}
    settings = {
        "row": given.pop("row"),
        "backend": keras.config.backend(),
        "keras": keras.__version__,
        "python": platform.python_version(),
    }
    found = ROWS[settings["row"]](**given)
    for figures in [found] if isinstance(found, dict) else found:
        print(json.dumps({**settings, **given, **figures}, default=str), flush=True)


if __name__ == "__main__":
    main()
