"""Uploads of artifacts to the Hugging Face Hub, with a page that is made from the card."""

import json
import pathlib

from keras_ae.core.types import Path
from keras_ae.saving import hub, manifest
from keras_ae.saving.card import read_card

_README = "README.md"


def upload_preset(address: str, folder: Path) -> str:
    """Upload an artifact to the Hugging Face Hub, with a page that is made from its card.

    The repository is made if it does not exist. `huggingface_hub.login` or the environment variable
    HF_TOKEN says who uploads.

    Args:
        address: "hf://user/name".
        folder: Folder that `export` wrote.

    Returns:
        Address of the commit, a string.

    Raises:
        ValueError: If the address is wrong, or the folder no artifact, or damaged.
        FileNotFoundError: If there is no such folder.
        ImportError: If huggingface_hub is not installed.

    Example:

        keras_ae.upload_preset("hf://user/vae_mnist", "runs/vae_mnist/model")
        model = keras_ae.load("hf://user/vae_mnist")
    """
    call = "upload_preset"
    repository, revision = hub.parse(call, str(address))
    if revision:
        raise ValueError(f"{call}: {address!r} names a revision. Upload to hf://{repository}.")
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{call}: there is no folder {str(folder)!r}. Export a model first."
        )
    names = manifest.verify(folder)
    if not (folder / manifest.MANIFEST).is_file():
        raise ValueError(f"{call}: {folder} has no {manifest.MANIFEST}. Export the model again.")
    package = hub.import_hub(call)
    operations = [
        package.CommitOperationAdd(name, folder / name) for name in (*names, manifest.MANIFEST)
    ]
    page = render_page(address, read_card(folder)).encode()
    operations.append(package.CommitOperationAdd(_README, page))
    api = package.HfApi()
    api.create_repo(repository, exist_ok=True)
    done = api.create_commit(repository, operations, commit_message="Upload a model of keras_ae")
    return str(done.commit_url)


def render_page(address, card):
    """Return the page of a repository in Markdown, made from the card of the artifact."""
    kind = str(card.get("model"))
    header = {"library_name": "keras", "tags": ["keras_ae", "autoencoder", kind.lower()]}
    if card.get("license"):
        header["license"] = str(card["license"]).lower()
    # JSON is YAML, too.
    head = [f"{name}: {json.dumps(value)}" for name, value in header.items()]
    facts = {
        "model": kind,
        "data": card.get("data"),
        "shape of an example": card.get("data_shape"),
        "dimensions of a code": card.get("latent_dim"),
        "parameters": card.get("parameters"),
        "functions": ", ".join(map(str, card.get("endpoints") or ())),
        "trained by": card.get("command"),
    }
    facts = {name: value for name, value in facts.items() if value not in (None, "")}
    figures = card.get("figures")
    facts |= figures if isinstance(figures, dict) else {}
    rows = [f"| {_to_cell(name)} | {_to_cell(value)} |" for name, value in facts.items()]
    use = f"import keras_ae\n\nmodel = keras_ae.load({address!r})"
    lines = ["---", *head, "---", "", f"# {address.rpartition('/')[2]}", ""]
    lines += [
        f"A `{kind}` of keras_ae.",
        "",
        "```python",
        use,
        "```",
        "",
        "| | |",
        "|---|---|",
        *rows,
    ]
    return "\n".join(lines) + "\n"


def _to_cell(value):
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return "".join(c if c.isprintable() else " " for c in text).replace("|", r"\|")
