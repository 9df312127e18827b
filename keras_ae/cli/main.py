"""The commands of `keras-ae`, such as `keras-ae train VAE`.

No import at the top of this module loads Keras, so that `--help` answers at once.
"""

import importlib
import json
import os
import pathlib
import sys
from typing import Annotated

import typer

app = typer.Typer(
    help="Autoencoders for Keras 3: train, sample, serve and fine-tune.",
    epilog="Example: keras-ae train VAE",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

ModelPath = Annotated[
    str,
    typer.Argument(
        metavar="PATH",
        help="Run folder, exported folder, .keras file, or name of a pretrained model.",
    ),
]
DataName = Annotated[
    str | None,
    typer.Option(
        help="Name or path of the data. [default: the data that the model was trained on]"
    ),
]
Seed = Annotated[int, typer.Option(help="Seed of all random numbers.")]


def main(arguments=None):
    """Run the console command `keras-ae`.

    Args:
        arguments: List of words. Defaults to the words with which the process was started.

    Raises:
        SystemExit: Always. The status is 0 after success, 2 after a mistake, which one line on
            standard error explains, and 130 after Ctrl-C.
    """
    command = typer.main.get_command(app)
    try:
        words = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
        status = command.main(words, prog_name="keras-ae", standalone_mode=False)
    except _list_mistakes() as error:
        message = error.format_message() if isinstance(error, typer.TyperException) else str(error)
        message = " ".join(message.split()) or type(error).__name__
        typer.echo(f"keras-ae: error: {message}", err=True)
        status = 2
    sys.exit(status)


def _list_mistakes():
    """List the errors that users' mistakes and full disks raise.

    TensorFlow's errors are among them only if it has been imported.
    """
    mistakes = (
        typer.TyperException,
        ValueError,
        TypeError,
        OSError,
        RuntimeError,
        ImportError,
        MemoryError,
    )
    tensorflow = sys.modules.get("tensorflow")
    return (*mistakes, tensorflow.errors.OpError) if tensorflow else mistakes


# ---------------------------------------------------------------------- commands


@app.command(
    epilog="Example: keras-ae train BetaVAE --data mnist --latent-dim 10 --epochs 20 --set beta=8"
)
def train(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="The model, such as VAE: see `keras-ae list`.")
    ],
    data: Annotated[
        str,
        typer.Option(
            help='"digits" (embedded), "sprites" (generated), the name of an image set of '
            "TensorFlow Datasets, a folder of pictures, or an .npy, .npz or .csv file."
        ),
    ] = "digits",
    latent_dim: Annotated[
        int | None, typer.Option(help="Dimensions of the code. [default: the model's own]")
    ] = None,
    epochs: Annotated[int, typer.Option(help="Passes over the data.")] = 60,
    batch_size: Annotated[int, typer.Option(help="Examples in a step.")] = 32,
    learning_rate: Annotated[float, typer.Option(help="Step size of Adam.")] = 1e-3,
    seed: Seed = 0,
    output: Annotated[
        pathlib.Path | None,
        typer.Option(help="Folder of the run. [default: runs/<model>_<data>]"),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Any argument of the model's constructor; the value is JSON, or else a string. "
            "May be repeated.",
        ),
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes that share every step.")] = 1,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with a stopped run, with the same result to the bit."),
    ] = False,
):
    """Train a model, and write a folder with the model, its metrics and pictures."""
    runs = _import_runs()
    arguments = {} if latent_dim is None else {"latent_dim": latent_dim}
    for setting in settings or []:
        name, equals, value = setting.partition("=")
        if not equals:
            raise ValueError(f"--set {setting}: write the setting as name=value.")
        if name == "seed":
            raise ValueError(f"--set {setting}: pass it as --seed {value}.")
        if name in arguments:
            raise ValueError(f"--set {setting}: {name} is given twice.")
        arguments[name] = runs.parse(value)
    run = runs.Settings(model, data, epochs, batch_size, learning_rate, seed, arguments, workers)
    folder = output or run.folder()
    try:
        if runs.needs_launch(run):
            runs.launch(run, folder, resume)
            return
        # A progress bar redraws its line, which only a terminal can do.
        written = runs.train(run, folder, resume, verbose=1 if sys.stdout.isatty() else 2)
    except KeyboardInterrupt:
        if (folder / "run.json").exists():
            typer.echo(f"\nStopped. Go on with: {runs.make_resume_command(folder)}", err=True)
        raise
    if written:
        typer.echo(_summarize(runs, folder))


@app.command(epilog="Example: keras-ae evaluate runs/vae_digits")
def evaluate(path: ModelPath, data: DataName = None):
    """Print a model's metrics on the test split, as JSON.

    They are the mean losses, and for variational models the log-likelihood in nats.
    """
    runs = _import_runs()
    model, data = _load_model(path), _find_data(path, data)
    _, test_split = runs.splits(data)
    typer.echo(json.dumps(runs.measure(model, data, test_split), indent=2))


@app.command(epilog="Example: keras-ae sample vae_mnist --num-samples 100 --output digits.png")
def sample(
    path: ModelPath,
    num_samples: Annotated[int, typer.Option(help="Number of samples.")] = 64,
    seed: Seed = 0,
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            metavar="NAME=VALUE",
            help="A named input of the model, such as label=3. The value is JSON: one for all "
            "samples, or a list of one for each. May be repeated.",
        ),
    ] = None,
    output: Annotated[pathlib.Path, typer.Option(help="New file: a .png picture, or an .npy.")] = (
        pathlib.Path("samples.png")
    ),
):
    """Draw new data from a model."""
    runs = _import_runs()
    _check_output(output, ".png", ".npy")
    given = {}
    for each in inputs or []:
        name, equals, value = each.partition("=")
        if not equals:
            raise ValueError(f"--input {each}: write the input as name=value.")
        given[name] = runs.parse(value)
    samples = _load_model(path).sample(num_samples, seed=seed, **given)
    _write(output, samples, runs.plots.image_grid)


@app.command(epilog="Example: keras-ae encode vae_mnist --data mnist --output codes.npy")
def encode(
    path: ModelPath,
    data: DataName = None,
    output: Annotated[pathlib.Path, typer.Option(help="New .npy file.")] = (
        pathlib.Path("codes.npy")
    ),
):
    """Write the codes of all examples: an array (examples, latent_dim)."""
    _import_runs()
    _check_output(output, ".npy")
    model = _load_model(path)
    _write_over_all(model, model.encode, _find_data(path, data), output)


@app.command(epilog="Example: keras-ae reconstruct vae_mnist --data mnist --output pairs.png")
def reconstruct(
    path: ModelPath,
    data: DataName = None,
    output: Annotated[
        pathlib.Path,
        typer.Option(
            help="New file: a .png picture of the first twenty examples above their "
            "reconstructions, or an .npy of all reconstructions."
        ),
    ] = pathlib.Path("reconstructions.png"),
):
    """Encode and decode examples, and write the reconstructions."""
    runs = _import_runs()
    _check_output(output, ".png", ".npy")
    model, data = _load_model(path), _find_data(path, data)
    if output.suffix == ".npy":
        _write_over_all(model, model.reconstruct, data, output)
    else:
        x = runs.take_first(runs.examples(data, "all", model), 20)
        shown = x["x"] if isinstance(x, dict) else x
        _write(output, model.reconstruct(x), lambda y: runs.plots.reconstructions(shown, y))


@app.command(epilog="Example: keras-ae verify runs/vae_digits")
def verify(path: ModelPath):
    """Check that the files of a model are complete and have not changed since they were written."""
    _import_runs()
    from keras_ae import saving

    checked = saving.verify(_find_artifact(path))
    typer.echo(f"{path}: unchanged ({', '.join(checked)})")


@app.command(epilog="Example: keras-ae info runs/vae_digits")
def info(path: ModelPath):
    """Print what is in a folder: model, data, metrics, versions."""
    _import_runs()
    from keras_ae import saving
    from keras_ae.saving.card import describe_shapes
    from keras_ae.saving.collection import find

    place = _find_artifact(path)
    card = saving.read_card(place)
    if not card:
        model = _load_model(path)
        card = {
            "model": type(model).__name__,
            **describe_shapes(model),
            "latent_dim": model.latent_dim,
            "parameters": model.count_params(),
        }
    typer.echo("\n".join(_format_card({"path": str(find(place)), **card})))


@app.command("list", epilog="Example: keras-ae list")
def list_models():
    """Print the models and their papers, and the pretrained models."""
    runs = _import_runs()
    from keras_ae import saving
    from keras_ae.saving.collection import directories

    typer.echo("Models:")
    classes = runs.model_classes()
    width = max(map(len, classes)) + 2
    for name, cls in classes.items():
        typer.echo(f"  {name:<{width}}{_first_line(cls)}")
        typer.echo(f"  {'':<{width}}{_first_line(sys.modules[cls.__module__])}")
    typer.echo("Pretrained:")
    for name in saving.pretrained():
        card = saving.read_card(name)
        figures = [
            f"{key} {value:.4g}"
            for key, value in card.get("figures", {}).items()
            if isinstance(value, float)
        ]
        typer.echo(f"  {name:<14}{card['model']} on {card.get('data')}: {', '.join(figures)}")
    if not saving.pretrained():
        typer.echo(f"  none in {', '.join(map(str, directories()))}")


# ---------------------------------------------------------------------- helpers


def _import_runs():
    """Import `keras_ae.cli.runs` without the messages of TensorFlow's libraries."""
    if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") != "3":
        return importlib.import_module("keras_ae.cli.runs")
    # The libraries write their first lines from C++, before they read the variable above.
    sys.stderr.flush()
    standard_error = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        # This module loads TensorFlow, whatever the backend.
        importlib.import_module("keras_ae.core.tf_data")
        return importlib.import_module("keras_ae.cli.runs")
    finally:
        os.dup2(standard_error, 2)
        os.close(standard_error)


def _find_artifact(path):
    """Return the path of a run folder's model. Other paths and names are returned as they are."""
    folder = pathlib.Path(path)
    if not (folder / "run.json").exists():
        return path
    for name in ("model", "model.keras"):
        if (folder / name).exists():
            return folder / name
    from keras_ae.cli import runs

    raise FileNotFoundError(
        f"the run in {path} has no model yet. Go on with it: {runs.make_resume_command(folder)}"
    )


def _load_model(path):
    from keras_ae.saving.load import load

    return load(_find_artifact(path))


def _find_data(path, data):
    """Return the requested data, or the data on which the model was trained."""
    from keras_ae import saving

    run = pathlib.Path(path) / "run.json"
    known = json.loads(run.read_text()) if run.exists() else saving.read_card(path)
    if data is None and "data" not in known:
        raise ValueError(f"{path} does not say on which data it was trained. Pass --data.")
    return data or known["data"]


def _check_output(output, *suffixes):
    if output.suffix not in suffixes:
        raise ValueError(f"--output {output}: the name must end in {' or '.join(suffixes)}.")
    if output.exists():
        raise FileExistsError(f"--output {output} exists. Pass another name.")
    if not output.parent.is_dir():
        raise FileNotFoundError(f"--output {output}: there is no folder {output.parent}.")


def _write(output, array, draw=None):
    """Write an array as .npy, or the figure that `draw` makes of it, in one atomic step."""
    from keras_ae.cli import runs
    from keras_ae.core import storage

    with storage.whole_file(output, storage.refuse_existing) as partial:
        if output.suffix == ".npy":
            runs.write_npy(partial, [array], len(array))
        else:
            draw(array).savefig(partial)
    typer.echo(f"{output}: array of shape {array.shape}")


def _write_over_all(model, method, data, output):
    """Write what a model's method returns for all examples as .npy, in one atomic step."""
    from keras_ae.cli import runs
    from keras_ae.core import storage

    def function(batch):
        return method(batch, verbose=0)

    with storage.whole_file(output, storage.refuse_existing) as partial:
        shape = runs.write_over_all(function, data, partial, int(sys.stdout.isatty()), model)
    typer.echo(f"{output}: array of shape {shape}")


def _summarize(runs, folder):
    """Describe what a run has written, and how to use it."""
    figures = json.loads((folder / "metrics.json").read_text())
    made = {name: what for name, what in runs.CONTENTS.items() if (folder / name).exists()}
    model = next(name for name in made if name.startswith("model"))
    split = f"the {figures['split']} split of {figures['data']}"
    lines = [
        f"Trained: loss {figures['loss']:.4g} on {split}.",
        f"{folder}:",
        *(f"  {name:<21}{what}" for name, what in made.items()),
    ]
    if "samples.png" not in made:
        lines.append("  (no reconstructions.png, no samples.png: examples of this shape have none)")
    lines += [
        "Use it:",
        "  import keras_ae",
        f"  model = keras_ae.load({str(folder / model)!r})",
        "  samples = model.sample(64, seed=0)",
    ]
    return "\n".join(lines)


def _first_line(documented):
    return documented.__doc__.strip().splitlines()[0]


def _format_card(card, indent=""):
    """Iterate over the lines of a card, in which nested dictionaries are indented."""
    for name, value in card.items():
        if isinstance(value, dict):
            yield f"{indent}{name}:"
            yield from _format_card(value, indent + "  ")
        else:
            yield f"{indent}{name}: {value}"
