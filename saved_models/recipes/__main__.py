"""Train pretrained models by their recipes, check their figures, and pack them for a server.

python saved_models/recipes list
TFDS_DATA_DIR=... KERAS_AE_DATA=... python saved_models/recipes train vae_mnist --seeds 0 1 2
python saved_models/recipes add vae_mnist --seeds 3 4  # without a seed: written anew
python saved_models/recipes measure vae_mnist  # of the files
python saved_models/recipes draw  # into docs/pictures
"""

import argparse
import json
import pathlib
import time

import keras
import sources
from catalog import RECIPES
from detectors import DetectorRecipe
from draw import can_draw, draw
from recipe import FOLDER

import keras_ae
from keras_ae.estimators import AnomalyDetector
from keras_ae.saving import read_card

PICTURES = FOLDER.parent / "docs" / "pictures"


def train_once(name, seed):
    """Return a model that was trained from a seed, and its figures."""
    start = time.perf_counter()
    model = RECIPES[name].train(seed)
    seconds = time.perf_counter() - start
    figures = RECIPES[name].measure(model)
    print(f"{name}, seed {seed}, {seconds:.0f} s: {json.dumps(figures)}", flush=True)
    return model, figures


def train(name, seeds, target):
    """Train a model from every seed, and export the one of the first with all figures."""
    by_seed, chosen = {}, None
    for seed in seeds:
        model, by_seed[seed] = train_once(name, seed)
        chosen = model if chosen is None else chosen
    write(name, chosen, by_seed, target)


def add(name, seeds, target):
    """Train a model from further seeds, and add their figures to the card of the model here.

    Without seeds, the folder is written anew, by this version and with the texts of the recipe.
    """
    card = read_card(target / name)
    figures = {key: value for key, value in card["figures"].items() if key != "split"}
    others = {int(seed): found for seed, found in card.get("of_seeds", {}).items()}
    by_seed = {card["seeds"][0]: figures, **others}
    for seed in seeds:
        by_seed[seed] = train_once(name, seed)[1]
    kept = {entry: card[entry] for entry in ("commit", "date")}
    write(name, load(name, target), by_seed, target, kept)


def write(name, model, by_seed, target, kept=()):
    """Export a model with its card, in place of the one that is there."""
    card = {**RECIPES[name].describe(name, model, by_seed), **dict(kept)}
    # Without the moments of Adam, the file that `load` reads has a third of the size.
    getattr(model, "model_", model).compile(keras.optimizers.Adam(1e-3))
    model.export(target / name, card=card, overwrite=True)
    size = sum(file.stat().st_size for file in (target / name).rglob("*") if file.is_file())
    print(f"{target / name}: {size / 1e6:.2f} MB", flush=True)


def load(name, folder=FOLDER):
    """Load a model or a detector of the collection."""
    loader = AnomalyDetector.load if isinstance(RECIPES[name], DetectorRecipe) else keras_ae.load
    return loader(folder / name)


def draw_picture(name):
    """Draw what a model of pictures does into the folder of the site."""
    data = RECIPES[name].data.load()
    if not isinstance(RECIPES[name], DetectorRecipe) and can_draw(data["test"]["x"]):
        PICTURES.mkdir(exist_ok=True)
        draw(load(name), data, PICTURES / f"{name}.png")


def print_figures(name):
    print(f"{name}: {json.dumps(RECIPES[name].measure(load(name)))}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=("list", "train", "add", "measure", "draw"))
    parser.add_argument("names", nargs="*", help="names of pretrained models [default: all]")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--output", type=pathlib.Path, default=FOLDER)
    given = parser.parse_args()
    unknown = sorted(set(given.names) - set(RECIPES))
    if unknown:
        parser.error(f"there is no recipe {unknown[0]!r}. The recipes are {', '.join(RECIPES)}.")
    actions = {
        "list": lambda name: print(f"{name}: {RECIPES[name].sentence}"),
        "train": lambda name: train(name, given.seeds, given.output),
        "add": lambda name: add(name, given.seeds, given.output),
        "measure": print_figures,
        "draw": draw_picture,
    }
    for name in given.names or RECIPES:
        try:
            actions[given.action](name)
        except sources.Absent as reason:
            print(f"{name}: its data is not here: {reason}", flush=True)


if __name__ == "__main__":
    main()
