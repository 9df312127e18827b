"""Pack the pretrained models for a server, and write the index by which the package finds them.

python saved_models/pack.py --output collection/

The files are those that `keras_ae.load` downloads from the address in KERAS_AE_COLLECTION.
"""

import argparse
import hashlib
import json
import pathlib
import zipfile

from keras_ae.saving import collection, read_card, verify

HERE = pathlib.Path(__file__).parent
# What the index says of a model, besides its version, size and hash.
FACTS = (
    "model",
    "sentence",
    "data",
    "source",
    "data_license",
    "limits",
    "latent_dim",
    "parameters",
    "figures",
)
_TIME = (1980, 1, 1, 0, 0, 0)  # The bytes of an archive must depend on the files alone.


def pack(folder, target):
    """Write a model's folder to an archive, and return what the index says of it."""
    card = read_card(folder)
    version = card.get("version", 1)
    path = target / collection.archive_name(folder.name, version)
    verify(folder)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                name = file.relative_to(folder.parent).as_posix()
                archive.writestr(zipfile.ZipInfo(name, _TIME), file.read_bytes())
    return {
        "version": version,
        **{name: card.get(name) for name in FACTS},
        "bytes": path.stat().st_size,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=pathlib.Path, required=True, help="folder of the archives")
    target = parser.parse_args().output
    target.mkdir(parents=True, exist_ok=True)
    folders = sorted(card.parent for card in HERE.glob("*/card.json"))
    index = {folder.name: pack(folder, target) for folder in folders}
    collection.INDEX.write_text(json.dumps(index, indent=2) + "\n")
    print(f"{len(index)} models in {target}, and {collection.INDEX.name}")


if __name__ == "__main__":
    main()
