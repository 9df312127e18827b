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
import typer.core

from keras_ae import models
from keras_ae.cli import listing, terminal
from keras_ae.cli.config import Config, add_to_config, takes_pairs
from keras_ae.core.silence import silence_libraries

app = typer.Typer(
    help="Autoencoders for Keras 3: train, sample, serve and fine-tune.",
    epilog="Example: keras-ae train VAE",
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
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


_FORMATS = ("tf_saved_model", "onnx", "litert", "openvino", "torch")
_OF_THE_RUN = ("data", "figures", "seed", "command")  # What a card says about the training.


def main(arguments=None):
    """Run the console command `keras-ae`.

    Args:
        arguments: List of words. Defaults to the words with which the process was started.

    Raises:
        SystemExit: Always. The status is 0 after success, 1 if the program that reads the output
            has ended, 2 after a mistake, which one line on standard error explains, and 130 after
            Ctrl-C.
    """
    command = typer.main.get_command(app)
    with terminal.prepare_streams():
        try:
            words = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
            status = command.main(words, prog_name="keras-ae", standalone_mode=False)
            error = terminal.flush()
        except _list_mistakes() as mistake:
            error = mistake
            terminal.flush()
        if terminal.lacks_reader(error):
            status = 1
        elif error is not None:
            terminal.complain("error", _describe(error))
            status = 2
    sys.exit(status)


def _describe(error):
    if isinstance(error, typer.TyperException):
        return error.format_message()
    # The messages of these errors are no sentences: that of a KeyError is the key alone.
    named = (ArithmeticError, AttributeError, LookupError)
    kind = type(error).__name__
    return f"{kind}: {error}" if isinstance(error, named) or not str(error) else str(error)


def _list_mistakes():
    """List the errors that users' mistakes, odd files and full disks raise.

    TensorFlow's errors are among them only if it has been imported.
    """
    mistakes = (
        typer.TyperException,
        ArithmeticError,
        AttributeError,
        EOFError,
        ImportError,
        LookupError,
        MemoryError,
        OSError,
        RuntimeError,
        TypeError,
        ValueError,
    )
    tensorflow = sys.modules.get("tensorflow")
    return (*mistakes, tensorflow.errors.OpError) if tensorflow else mistakes


def _print_version(wanted: bool):
    if wanted:
        terminal.show(f"keras-ae {importlib.import_module('keras_ae').__version__}")
        raise typer.Exit


@app.callback()
def _take_common_options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
):
    pass


class _TakesSeveral(typer.core.TyperCommand):
    """A command whose lists may be given in one go: --seeds 0 1 2 for --seeds 0 --seeds 1 ..."""

    def parse_args(self, context, words):
        lists = {o for p in self.params if p.multiple and not takes_pairs(p) for o in p.opts}
        found, option, has_value = [], None, False
        for number, word in enumerate(words):
            if word == "--":
                found += words[number:]
                break
            if word.startswith("-") and not word[1:].isdigit():
                if option and not has_value:
                    raise ValueError(f"{option}: write at least one value after it.")
                name, equals, _ = word.partition("=")
                option, has_value = (name if name in lists else None), bool(equals)
            elif option:
                found += [option] if has_value else []
                has_value = True
            found.append(word)
        return super().parse_args(context, found)


# ---------------------------------------------------------------------- commands


@app.command(
    epilog="Example: keras-ae train BetaVAE --data mnist --latent-dim 10 --epochs 20 --set beta=8"
)
def train(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="The model, such as VAE: see `keras-ae list`.",
            autocompletion=lambda: list(models.FILES),
        ),
    ],
    data: Annotated[
        str,
        typer.Option(
            help='"small_mnist" or "digits" (embedded), "sprites" (generated), pictures of '
            "TensorFlow Datasets, a folder of pictures, or an .npy, .npz or .csv file."
        ),
    ] = "small_mnist",
    latent_dim: Annotated[
        int | None, typer.Option(help="Dimensions of the code. [default: the model's own]")
    ] = None,
    epochs: Annotated[int, typer.Option(help="Passes over the data.")] = 15,
    batch_size: Annotated[int, typer.Option(help="Examples in a step.")] = 64,
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
            callback=add_to_config,
        ),
    ] = None,
    early_stopping: Annotated[
        int | None,
        typer.Option(
            metavar="EPOCHS",
            help="Stop when the loss on the test split has not fallen for so many epochs, and "
            "take the model of the best epoch. [default: train for all epochs]",
        ),
    ] = None,
    sampler: Annotated[
        str | None,
        typer.Option(
            help="Density of the codes that is fitted after the training, from which samples are "
            "drawn, such as gaussian_mixture or flow_matching. [default: the model's own]",
        ),
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes that share every step.")] = 1,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with a stopped run, with the same result to the bit."),
    ] = False,
    logdir: Annotated[
        pathlib.Path | None,
        typer.Option(help="Folder of logs and pictures for TensorBoard. [default: none]"),
    ] = None,
    as_json: Json = False,
    config: Config = None,
):
    """Train a model, and write a folder with the model, its metrics and pictures."""
    runs = _import_runs()
    arguments = {} if latent_dim is None else {"latent_dim": latent_dim}
    for setting, name, value in _split_pairs("--set", "setting", settings):
        if name == "seed":
            raise ValueError(f"--set {setting}: pass it as --seed {value}.")
        if name in arguments:
            raise ValueError(f"--set {setting}: {name} is given twice.")
        arguments[name] = runs.parse(value)
    run = runs.Settings(
        model,
        data,
        epochs,
        batch_size,
        learning_rate,
        seed,
        arguments,
        workers,
        early_stopping,
        sampler,
    )
    folder = output or run.folder()
    # A progress bar redraws its line, which only a terminal can do.
    verbose = 0 if as_json else 1 if sys.stdout.isatty() else 2
    try:
        if runs.needs_launch(run):
            more = ["--json"] if as_json else []
            runs.launch(run, folder, resume, logdir, more)
            return
        written = runs.train(run, folder, resume, verbose, logdir)
    except KeyboardInterrupt:
        if (folder / "run.json").exists():
            command = runs.make_resume_command(folder)
            typer.echo(f"\n{terminal.escape(f'Stopped. Go on with: {command}')}", err=True)
        raise
    if written:
        figures = runs.read_figures(folder)
        if as_json:
            model = str(_find_artifact(folder))
            terminal.show_json({"folder": str(folder), "model": model, "metrics": figures})
        else:
            terminal.show(*_summarize(runs, folder, figures))


@app.command(
    cls=_TakesSeveral,
    epilog="Example: keras-ae compare --data mnist --models VAE BetaVAE VQVAE --seeds 0 1 2 "
    "--set latent_dim=16 --set BetaVAE.beta=4 --output report/",
)
def compare(
    models: Annotated[
        list[str],
        typer.Option(
            metavar="MODEL ...",
            help="The models: see `keras-ae list`.",
            autocompletion=lambda: list(models.FILES),
        ),
    ],
    data: Annotated[
        str, typer.Option(help="Name or path of the data: see `keras-ae train --help`.")
    ] = "digits",
    seeds: Annotated[
        list[int] | None,
        typer.Option(metavar="SEED ...", help="Seeds of the runs of each model. [default: 0]"),
    ] = None,
    output: Annotated[
        pathlib.Path,
        typer.Option(
            help="Folder of the report and of the runs. Runs that are finished there are kept."
        ),
    ] = pathlib.Path("report"),
    epochs: Annotated[int, typer.Option(help="Passes over the data.")] = 60,
    batch_size: Annotated[int, typer.Option(help="Examples in a step.")] = 32,
    learning_rate: Annotated[float, typer.Option(help="Step size of Adam.")] = 1e-3,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="An argument of all models that have it, or of one: BetaVAE.beta=4. The value is "
            "JSON, or else a string. May be repeated.",
            callback=add_to_config,
        ),
    ] = None,
    processes: Annotated[
        int, typer.Option(help="Runs at a time, each of which takes the memory of a training.")
    ] = 1,
    config: Config = None,
):
    """Train models with several seeds, and write one report that compares them.

    The folder gets report.html, report.md and results.csv. A run that fails is listed with its
    error.
    """
    runs = _import_runs()
    from keras_ae.cli.compare import compare as write_report

    arguments = {}
    for _, name, value in _split_pairs("--set", "setting", settings):
        model, dot, argument = name.partition(".")
        value = runs.parse(value)
        if dot:
            arguments.setdefault(model, {})[argument] = value
        elif isinstance(value, dict) and isinstance(arguments.get(name), dict):
            arguments[name] |= value
        else:
            arguments[name] = value
    write_report(
        data,
        models,
        [0] if seeds is None else seeds,
        output,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        arguments=arguments,
        processes=processes,
    )
    terminal.show(*(str(output / name) for name in ("report.html", "report.md", "results.csv")))


@app.command("run-trial", hidden=True)
def run_trial(settings: str, folder: pathlib.Path):
    """Train and evaluate one model of `keras-ae compare`, which starts this command."""
    runs = _import_runs()
    from keras_ae.cli import trial

    trial.run(runs.Settings(**json.loads(settings)), folder)


@app.command(epilog="Example: keras-ae evaluate runs/vae_digits")
def evaluate(path: ModelPath, data: DataName = None, config: Config = None):
    """Print a model's metrics on the test split, as JSON.

    They are the mean losses, and for variational models the log-likelihood in nats.
    """
    runs = _import_runs()
    model, data = _load_model(path), _find_data(path, data)
    _, test_split = runs.splits(data)
    terminal.show_json(runs.measure(model, data, test_split))


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
            callback=add_to_config,
        ),
    ] = None,
    output: Annotated[pathlib.Path, typer.Option(help="New file: a .png picture, or an .npy.")] = (
        pathlib.Path("samples.png")
    ),
    config: Config = None,
):
    """Draw new data from a model."""
    runs = _import_runs()
    _check_output(output, ".png", ".npy")
    given = {}
    for each, name, value in _split_pairs("--input", "input", inputs):
        given[name] = runs.parse(value)
        try:
            runs.np.asarray(given[name])
        except ValueError:
            raise ValueError(f"--input {each}: the lists in it have different lengths.") from None
    model = _load_model(path)
    for name in given:
        if name not in model.extra_inputs:
            raise ValueError(
                f"--input {name}: {type(model).__name__} has no input {name!r}."
                f"{runs.arguments.did_you_mean(name, model.extra_inputs)} Its inputs are "
                f"{', '.join(model.extra_inputs) or '(none)'}."
            )
    samples = model.sample(num_samples, seed=seed, **given)
    terminal.show(_write(output, samples, runs.plots.image_grid))


@app.command(epilog="Example: keras-ae encode vae_mnist --data mnist --output codes.npy")
def encode(
    path: ModelPath,
    data: DataName = None,
    output: Annotated[pathlib.Path, typer.Option(help="New .npy file.")] = (
        pathlib.Path("codes.npy")
    ),
    as_json: Json = False,
    config: Config = None,
):
    """Write the codes of all examples: an array (examples, latent_dim)."""
    _import_runs()
    _check_output(output, ".npy")
    model = _load_model(path)
    data = _find_data(path, data)
    shape = _write_over_all(model, model.encode, data, output, not as_json)
    if as_json:
        terminal.show_json({"output": str(output), "shape": shape, "dtype": model._code_dtype})
    else:
        terminal.show(_tell_shape(output, shape))


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
    config: Config = None,
):
    """Encode and decode examples, and write the reconstructions."""
    runs = _import_runs()
    _check_output(output, ".png", ".npy")
    model, data = _load_model(path), _find_data(path, data)
    if output.suffix == ".npy":
        shape = _write_over_all(model, model.reconstruct, data, output)
        terminal.show(_tell_shape(output, shape))
    else:
        x = runs.take_first(runs.examples(data, "all", model), 20)
        shown = x["x"] if isinstance(x, dict) else x
        pairs = _write(output, model.reconstruct(x), lambda y: runs.plots.reconstructions(shown, y))
        terminal.show(pairs)


@app.command(
    epilog="Example: keras-ae detect table.csv --model VAE --contamination 0.05 --output scores.csv"
)
def detect(
    data: Annotated[str, typer.Argument(metavar="DATA", help="Name or path of the data.")],
    model: Annotated[
        str,
        typer.Option(
            help="The model to train, such as VAE, or a folder that --export wrote, whose detector "
            "scores the data without training."
        ),
    ] = "VAE",
    contamination: Annotated[
        float | None,
        typer.Option(help="Share of the examples that are anomalies. [default: 0.1]"),
    ] = None,
    threshold: Annotated[
        str | None,
        typer.Option(
            help="contamination, false_positive_rate, extreme_values, or a number. "
            "[default: contamination]"
        ),
    ] = None,
    false_positive_rate: Annotated[
        float | None,
        typer.Option(help="Share of normal examples above the threshold. [default: 0.01]"),
    ] = None,
    anomaly_score: Annotated[
        str | None,
        typer.Option(help="The score, such as reconstruction_error. [default: the model's best]"),
    ] = None,
    trim: Annotated[
        float | None,
        typer.Option(
            help="Share of the examples that a second training leaves out. [default: 0.2, or 0 if "
            "the threshold is one of normal data]"
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Passes over the data. [default: 700 steps]")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the model. [default: 0]")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="An argument of the model's constructor. May be repeated.",
            callback=add_to_config,
        ),
    ] = None,
    output: Annotated[pathlib.Path, typer.Option(help="New .csv file.")] = (
        pathlib.Path("scores.csv")
    ),
    export: Annotated[
        pathlib.Path | None, typer.Option(help="New folder for the detector.")
    ] = None,
    config: Config = None,
):
    """Score how anomalous the examples of a table are, or of other data, and write a table.

    Its columns are anomaly_score, which is high for anomalies, is_anomaly, and for tables the
    column with the largest share in the score: its name, or its number, counted from 0.
    """
    runs = _import_runs()
    from keras_ae.cli import detect as command

    _check_output(output, ".csv")
    if export is not None and os.path.lexists(export):
        raise FileExistsError(f"--export {export} exists. Pass another name.")
    given = {
        "contamination": contamination,
        "threshold": threshold,
        "false_positive_rate": false_positive_rate,
        "anomaly_score": anomaly_score,
        "trim": trim,
        "epochs": epochs,
        "random_state": seed,
    }
    given = {name: value for name, value in given.items() if value is not None}
    pairs = _split_pairs("--set", "setting", settings)
    options = {name: runs.parse(value) for _, name, value in pairs}
    terminal.show(*command.run(data, model, given, options, output, export))


@app.command(epilog="Example: keras-ae explore vae_mnist --data mnist")
def explore(
    path: ModelPath,
    data: DataName = None,
    port: Annotated[
        int, typer.Option(help="Port of the page, from 0 to 65535; 0 is a free one.")
    ] = 0,
    host: Annotated[
        str,
        typer.Option(help="Address to bind. Other machines can reach the page at 0.0.0.0."),
    ] = "127.0.0.1",
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
    static: Annotated[
        pathlib.Path | None,
        typer.Option(
            metavar="FOLDER",
            help="New folder for a page that needs no server. [default: serve the page]",
        ),
    ] = None,
    seed: Seed = 0,
    config: Config = None,
):
    """Serve a page in the browser with which one walks through the latent space of a model.

    The page shows data of the split "test", or draws from the model. Press Ctrl-C to stop it.
    """
    _import_runs()
    from keras_ae.cli import explore as command

    if static is not None and os.path.lexists(static):
        raise FileExistsError(f"--static {static} exists. Pass another name.")
    is_run = os.path.lexists(pathlib.Path(path) / "run.json")
    found = _find_data(path, data) if is_run else data
    views = command.make(_find_artifact(path), path, data is not None, found, seed)
    if static is not None:
        terminal.show(*command.write_static(views, static))
    else:
        command.serve(views, host, port, browser)


@app.command(epilog="Example: keras-ae verify runs/vae_digits")
def verify(path: ModelPath):
    """Check that the files of a model are complete and have not changed since they were written."""
    _import_runs()
    from keras_ae import saving

    checked = saving.verify(_find_artifact(path))
    typer.echo(f"{path}: unchanged ({', '.join(checked)})")


@app.command(
    epilog="Example: keras-ae export vae_mnist --format onnx --endpoint encode --output z.onnx"
)
def export(
    path: ModelPath,
    output: Annotated[pathlib.Path, typer.Option(help="New folder or file.")],
    format: Annotated[
        str,
        typer.Option(help=f"One of {', '.join(_FORMATS)}.", autocompletion=lambda: list(_FORMATS)),
    ] = "tf_saved_model",
    endpoint: Annotated[
        str | None,
        typer.Option(
            help="What the file of another format than tf_saved_model computes: reconstruct, "
            "encode, decode or sample. [default: reconstruct]"
        ),
    ] = None,
    config: Config = None,
):
    """Write a model as a folder that TensorFlow serves, or as a file of another format."""
    _import_runs()
    from keras_ae import saving

    if os.path.lexists(output):
        raise FileExistsError(f"--output {output} exists. Pass another name.")
    place = _find_artifact(path)
    model = _load_model(path)
    described = saving.read_card(place).items()
    card = {name: value for name, value in described if name in _OF_THE_RUN}
    with silence_libraries():  # Converters print whole graphs if they fail.
        model.export(output, format=format, endpoint=endpoint, card=card)
    what = "all endpoints" if format == "tf_saved_model" else endpoint or "reconstruct"
    terminal.show(f"{output}: {what} as {format}")


@app.command(epilog="Example: keras-ae info runs/vae_digits")
def info(path: ModelPath, as_json: Json = False, config: Config = None):
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
    card = {"path": str(find(place)), **card}
    if as_json:
        terminal.show_json(card)
    else:
        terminal.show(*listing.format_card(card))


@app.command("list", epilog="Example: keras-ae list")
def list_models(as_json: Json = False, config: Config = None):
    """Print the models and their papers, and the pretrained models."""
    runs = _import_runs()
    from keras_ae.saving.collection import directories, folders

    known = [
        {
            "name": name,
            "description": listing.first_line(cls),
            "paper": listing.first_line(sys.modules[cls.__module__]),
        }
        for name, cls in runs.model_classes().items()
    ]
    stored = [listing.describe_pretrained(folder) for folder in folders().values()]
    if as_json:
        terminal.show_json({"models": known, "pretrained": stored})
        return
    width = max(len(each["name"]) for each in known + stored) + 2
    terminal.show("Models:")
    for each in known:
        terminal.show(f"  {each['name']:<{width}}{each['description']}")
        terminal.show(f"  {'':<{width}}{each['paper']}")
    terminal.show("Pretrained:")
    for each in stored:
        terminal.show(f"  {each['name']:<{width}}{listing.format_pretrained(each)}")
    if not stored:
        terminal.show(f"  none in {', '.join(map(str, directories()))}")


# ---------------------------------------------------------------------- helpers


def _import_runs():
    """Import `keras_ae.cli.runs` without the messages of TensorFlow's libraries."""
    if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") != "3":
        return importlib.import_module("keras_ae.cli.runs")
    # The libraries write their first lines from C++, before they read the variable above.
    with silence_libraries():
        # This module loads TensorFlow, whatever the backend.
        importlib.import_module("keras_ae.core.tf_data")
        return importlib.import_module("keras_ae.cli.runs")


def _find_artifact(path):
    from keras_ae.cli.settings import find_artifact

    return find_artifact(path)


def _load_model(path):
    from keras_ae.saving.load import load

    return load(_find_artifact(path))


def _find_data(path, data):
    """Return the requested data, or the data on which the model was trained."""
    if data is not None:
        return data
    from keras_ae import saving
    from keras_ae.cli import runs

    folder = pathlib.Path(path)
    if os.path.lexists(folder / "run.json"):
        return runs.read_settings(folder)[0].data
    known = saving.read_card(path).get("data")
    if not isinstance(known, str):
        raise ValueError(f"{path} does not say on which data it was trained. Pass --data.")
    return known


def _split_pairs(option, what, words):
    """Split the NAME=VALUE words of an option, and yield each with its name and its value."""
    for word in words or []:
        name, equals, value = word.partition("=")
        if not equals:
            raise ValueError(f"{option} {word}: write the {what} as name=value.")
        yield word, name, value


def _check_output(output, *suffixes):
    if output.suffix not in suffixes:
        raise ValueError(f"--output {output}: the name must end in {' or '.join(suffixes)}.")
    if os.path.lexists(output):
        raise FileExistsError(f"--output {output} exists. Pass another name.")
    if not output.parent.is_dir():
        raise FileNotFoundError(f"--output {output}: there is no folder {output.parent}.")


def _write(output, array, draw):
    """Write an array as .npy, or the figure that `draw` makes of it, in one atomic step.

    Returns:
        The line that says so.
    """
    from keras_ae.cli import runs
    from keras_ae.core import storage

    with storage.whole_file(output, storage.refuse_existing) as partial:
        if output.suffix == ".npy":
            runs.write_npy(partial, [array], len(array))
        else:
            draw(array).savefig(partial)
    return _tell_shape(output, array.shape)


def _write_over_all(model, method, data, output, shows_progress=True):
    """Write what a model's method returns for all examples as .npy, in one atomic step.

    Returns:
        The shape of the array.
    """
    from keras_ae.cli import runs
    from keras_ae.core import storage

    def function(batch):
        return method(batch, verbose=0)

    verbose = int(shows_progress and sys.stdout.isatty())
    with storage.whole_file(output, storage.refuse_existing) as partial:
        return runs.write_over_all(function, data, partial, verbose, model)


def _tell_shape(output, shape):
    return f"{output}: array of shape {shape}"


def _summarize(runs, folder, figures):
    """Return the lines that say what a run has written, and how to use it."""
    made = {name: what for name, what in runs.CONTENTS.items() if (folder / name).exists()}
    split = f"the {figures['split']} split of {figures['data']}"
    lines = [
        f"Trained: loss {figures['loss']:.4g} on {split}.",
        f"{folder}:",
        *(f"  {name:<21}{what}" for name, what in made.items()),
    ]
    if "samples.png" not in made:
        lines.append("  (no reconstructions.png, no samples.png: examples of this shape have none)")
    found = figures.get("quality", [])
    if found:  # Runs of before 28 November 2026 have none.
        lines += ["Quality:", *(f"  {sentence}" for sentence in found)]
    return [
        *lines,
        "Use it:",
        "  import keras_ae",
        f"  model = keras_ae.load({str(_find_artifact(folder))!r})",
        "  samples = model.sample(64, seed=0)",
    ]
