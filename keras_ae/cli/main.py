"""The command line: `keras-ae train VAE`, and what to do with the result.

Nothing at its top imports Keras: `--help` answers at once.
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
    typer.Option(help="Name or path of the data. [default: what the model was trained on]"),
]
Seed = Annotated[int, typer.Option(help="All randomness follows from it.")]


def main(arguments=None):
    """The console command `keras-ae`.

    Args:
        arguments: List of words. Defaults to the ones that the process was started with.

    Raises:
        SystemExit: Always: 0 if all went well, 2 after a mistake, which one line on standard error
            names, and 130 after Ctrl-C.
    """
    command = typer.main.get_command(app)
    try:
        words = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
        status = command.main(words, prog_name="keras-ae", standalone_mode=False)
    except _mistakes() as error:
        message = error.format_message() if isinstance(error, typer.TyperException) else str(error)
        message = " ".join(message.split()) or type(error).__name__
        typer.echo(f"keras-ae: error: {message}", err=True)
        status = 2
    sys.exit(status)


def _mistakes():
    """What users' mistakes and full disks raise; TensorFlow's own only where it is loaded."""
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
    batch_size: Annotated[int, typer.Option(help="Examples of a step.")] = 32,
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
        bool, typer.Option("--resume", help="Go on with a run that was stopped, to the same bits.")
    ] = False,
):
    """Train a model. Its folder holds it, its figures and its pictures."""
    runs = _import_runs()
    arguments = {} if latent_dim is None else {"latent_dim": latent_dim}
    for setting in settings or []:
        name, equals, value = setting.partition("=")
        if not equals:
            raise ValueError(f"--set {setting}: write it as name=value.")
        if name == "seed":
            raise ValueError(f"--set {setting}: pass it as --seed {value}.")
        if name in arguments:
            raise ValueError(f"--set {setting}: {name} is given twice.")
        arguments[name] = runs.parsed(value)
    run = runs.Settings(model, data, epochs, batch_size, learning_rate, seed, arguments, workers)
    folder = output or run.folder()
    try:
        if runs.needs_launch(run):
            runs.launch(run, folder, resume)
            return
        # A bar redraws its line, which a log file cannot.
        written = runs.train(run, folder, resume, verbose=1 if sys.stdout.isatty() else 2)
    except KeyboardInterrupt:
        if (folder / "run.json").exists():
            typer.echo(f"\nStopped. Go on with: {runs.resume_command(folder)}", err=True)
        raise
    if written:
        typer.echo(_summary(runs, folder))


@app.command(epilog="Example: keras-ae evaluate runs/vae_digits")
def evaluate(path: ModelPath, data: DataName = None):
    """Print a model's figures on the test split.

    They come as JSON: the mean losses, and for variational models the log-likelihood in nats.
    """
    runs = _import_runs()
    model, data = _model(path), _data(path, data)
    _, test_split = runs.splits(data)
    typer.echo(json.dumps(runs.measure(model, data, test_split), indent=2))


@app.command(epilog="Example: keras-ae sample vae_mnist --num-samples 100 --output digits.png")
def sample(
    path: ModelPath,
    num_samples: Annotated[int, typer.Option(help="How many.")] = 64,
    seed: Seed = 0,
    output: Annotated[pathlib.Path, typer.Option(help="New file: a .png picture, or an .npy.")] = (
        pathlib.Path("samples.png")
    ),
):
    """Draw new data from a model."""
    runs = _import_runs()
    _check_output(output, ".png", ".npy")
    samples = _model(path).sample(num_samples, seed=seed)
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
    _write_over_all(_model(path).encode, _data(path, data), output)


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
    """Write examples encoded and decoded again."""
    runs = _import_runs()
    _check_output(output, ".png", ".npy")
    model, data = _model(path), _data(path, data)
    if output.suffix == ".npy":
        _write_over_all(model.reconstruct, data, output)
    else:
        x = runs.first_of(runs.examples(data, "all"), 20)
        _write(output, model.reconstruct(x), lambda y: runs.plots.reconstructions(x, y))


@app.command(epilog="Example: keras-ae info runs/vae_digits")
def info(path: ModelPath):
    """Print what is in a folder: model, data, figures, versions."""
    _import_runs()
    from keras_ae import saving
    from keras_ae.saving.collection import find

    place = _artifact(path)
    card = saving.read_card(place)
    if not card:
        model = _model(path)
        card = {
            "model": type(model).__name__,
            "data_shape": list(model.data_shape),
            "latent_dim": model.latent_dim,
            "parameters": model.count_params(),
        }
    typer.echo("\n".join(_lines({"path": str(find(place)), **card})))


@app.command("list", epilog="Example: keras-ae list")
def list_models():
    """Print the models and their papers, and what is pretrained."""
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
    """`keras_ae.cli.runs`, imported without what TensorFlow's libraries log at their start."""
    if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") != "3":
        return importlib.import_module("keras_ae.cli.runs")
    # Their first lines come before they have read that variable, straight from C++.
    sys.stderr.flush()
    standard_error = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        importlib.import_module("keras_ae.core.tf_data")  # Loads TensorFlow, whatever the backend.
        return importlib.import_module("keras_ae.cli.runs")
    finally:
        os.dup2(standard_error, 2)
        os.close(standard_error)


def _artifact(path):
    """The model of a run folder, or the path or name as it is."""
    folder = pathlib.Path(path)
    if not (folder / "run.json").exists():
        return path
    for name in ("model", "model.keras"):
        if (folder / name).exists():
            return folder / name
    from keras_ae.cli import runs

    raise FileNotFoundError(
        f"the run in {path} has no model yet. Go on with it: {runs.resume_command(folder)}"
    )


def _model(path):
    from keras_ae.saving.load import load

    return load(_artifact(path))


def _data(path, data):
    """The data that was asked for, or else that the model was trained on."""
    from keras_ae import saving

    run = pathlib.Path(path) / "run.json"
    known = json.loads(run.read_text()) if run.exists() else saving.read_card(path)
    if data is None and "data" not in known:
        raise ValueError(f"{path} does not say what it was trained on. Pass --data.")
    return data or known["data"]


def _check_output(output, *suffixes):
    if output.suffix not in suffixes:
        raise ValueError(f"--output {output}: the name must end in {' or '.join(suffixes)}.")
    if output.exists():
        raise FileExistsError(f"--output {output} exists. Pass another name.")
    if not output.parent.is_dir():
        raise FileNotFoundError(f"--output {output}: there is no folder {output.parent}.")


def _write(output, array, draw=None):
    """An array as .npy, or the figure that `draw` makes of it, in a file that appears whole."""
    from keras_ae.cli import runs
    from keras_ae.core import storage

    with storage.whole_file(output, storage.refuse_existing) as partial:
        if output.suffix == ".npy":
            runs.write_npy(partial, [array], len(array))
        else:
            draw(array).savefig(partial)
    typer.echo(f"{output}: array of shape {array.shape}")


def _write_over_all(method, data, output):
    """What a model's method gives for all examples, as an .npy file that appears whole."""
    from keras_ae.cli import runs
    from keras_ae.core import storage

    def function(batch):
        return method(batch, verbose=0)

    with storage.whole_file(output, storage.refuse_existing) as partial:
        shape = runs.write_over_all(function, data, partial, verbose=int(sys.stdout.isatty()))
    typer.echo(f"{output}: array of shape {shape}")


def _summary(runs, folder):
    """What a run has made, and how to use it."""
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


def _lines(card, indent=""):
    """A card as lines of text, nested as its dictionaries are."""
    for name, value in card.items():
        if isinstance(value, dict):
            yield f"{indent}{name}:"
            yield from _lines(value, indent + "  ")
        else:
            yield f"{indent}{name}: {value}"
