"""Comparisons of models: every model is trained with every seed, and one report shows them all."""

import dataclasses
import hashlib
import json
import os
import pathlib
import shlex
import subprocess
import sys
import time

import keras

from keras_ae.cli import report, runs
from keras_ae.cli.settings import read_json, read_settings, to_json, to_snake_case
from keras_ae.cli.trial import FIGURES, describe_versions
from keras_ae.core import arguments as checks
from keras_ae.core import configuration, storage, workers

_RUNS = "runs"  # The folder of the runs, and of what they print, in that of the report.
_ERROR = "keras-ae: error: "


@dataclasses.dataclass(frozen=True, eq=False)
class _Trial:
    """One model with one seed."""

    settings: runs.Settings
    folder: pathlib.Path

    @property
    def name(self):
        return f"{self.settings.model}, seed {self.settings.seed}"

    @property
    def log(self):
        return self.folder.with_name(f"{self.folder.name}.log")

    def is_finished(self):
        return (self.folder / FIGURES).exists()


def compare(
    data,
    models,
    seeds=(0,),
    output="report",
    *,
    epochs=60,
    batch_size=32,
    learning_rate=1e-3,
    arguments=None,
    processes=1,
    verbose=1,
):
    """Train models with several seeds, evaluate each with all that applies, and write a report.

    Every run has a process of its own and a folder in `output`. A run that is finished there is not
    trained again, as long as the content of the data is the same, and one that was stopped is
    resumed. If a run fails, the others go on, and the table has its error. The figures are those of
    `keras_ae.evaluation`, of test data and of at most 10,000 samples: of the features of
    `DigitFeatures` if examples have the shape (28, 28, 1), and otherwise of up to 64 principal
    components of the training data.

    A model is also compared with what it was before its training. The column "beats untrained"
    says where its objective or the error of its reconstructions is not lower. The objective of a
    model with several players, such as a discriminator, is left out of that, because what the
    others learn changes it.

    Args:
        data: Name or path of the data: see `keras_ae.datasets.load`.
        models: List of names of models, such as ["VAE", "VQVAE"].
        seeds: List of integers of at least 0. Defaults to (0,).
        output: Folder of the report, and of all runs. Defaults to "report".
        epochs, batch_size, learning_rate: Those of every run. They default to 60, 32 and 0.001.
        arguments: Dictionary of arguments of the models' constructors as JSON values. Each goes to
            all models that have it. Those of one model are a dictionary under its name:
            {"latent_dim": 16, "BetaVAE": {"beta": 4}}. Defaults to None.
        processes: Number of runs at a time. Each takes the memory of a training. Defaults to 1.
        verbose: 1 prints a line for every run, and 0 prints nothing. Defaults to 1.

    Returns:
        `pandas.DataFrame` with a row for each model and seed, as in results.csv. The names of the
        columns have units. The folder also has report.md and report.html, with means and standard
        deviations over the seeds. The page contains its pictures.

    Raises:
        FileExistsError: If the folder holds something else than a report.
        RuntimeError: If every run failed.
        TypeError: If an argument is of the wrong type.
        ValueError: If a model, an argument or the data is unknown, a number is out of range, or a
            run in the folder was started with other settings or other data.

    Example:

        table = keras_ae.compare("small_mnist", ["VAE", "VQVAE"], seeds=[0, 1], epochs=5)
        table.groupby("model")["PSNR (dB)"].mean()
    """
    models, seeds = _check_list("models", models, str), _check_list("seeds", seeds, int)
    arguments = checks.dictionary("compare", "arguments", arguments, "{'latent_dim': 16}")
    processes = checks.integer("compare", "processes", processes)
    verbose = checks.integer("compare", "verbose", verbose, least=0, most=1)
    if not isinstance(data, (str, os.PathLike)):
        wanted, remedy = "a name or a path", "Save an array as .npy or .npz, and pass its path."
        raise checks.refusal("compare", "data", data, wanted, remedy, error=TypeError)
    data, output = str(data), pathlib.Path(output)
    given = _assign_arguments(models, arguments)
    trials = []
    for model in models:
        for seed in seeds:
            settings = runs.Settings(
                model, data, epochs, batch_size, learning_rate, seed, given[model]
            )
            trials.append(_Trial(settings, output / _RUNS / f"{to_snake_case(model)}_{seed}"))
    runs.splits(data)  # This raises an error if the data is unknown.
    _check_output(output, trials)
    _check_data(output, data)
    (output / _RUNS).mkdir(parents=True, exist_ok=True)
    errors = _run(trials, processes, print if verbose else lambda line, **_: None)
    if len(errors) == len(trials):
        raise RuntimeError(
            f"compare: every run failed. The first: {errors[trials[0]]} What the runs printed is "
            f"in {output / _RUNS}."
        )
    return _write(output, trials, errors, _describe(output, trials, arguments))


def _check_list(name, values, kind):
    """Return a list without repetitions."""
    example = "['VAE', 'VQVAE']" if kind is str else "[0, 1, 2]"
    if isinstance(values, (str, int)) or not hasattr(values, "__iter__"):
        raise checks.refusal("compare", name, values, f"a list, such as {example}", error=TypeError)
    values = list(values)
    fits = (lambda v: isinstance(v, str)) if kind is str else checks.is_integer
    if not values or not all(map(fits, values)):
        raise checks.refusal("compare", name, values, f"a list, such as {example}")
    values = values if kind is str else list(map(int, values))
    if len(set(values)) < len(values):
        raise checks.refusal("compare", name, values, "a list of different entries")
    return values


def _assign_arguments(names, arguments):
    """Return the arguments of every model: those that all share, and those under its name."""
    try:
        json.dumps(arguments)
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(
            f"compare: arguments cannot be written as JSON: {error}. Pass an object of Keras as "
            "keras.saving.serialize_keras_object(it)."
        ) from None
    classes = runs.model_classes()
    for name in names:
        if name not in classes:
            raise ValueError(
                f"the model {name!r} is unknown.{checks.did_you_mean(name, classes)} The models "
                f"are {', '.join(classes)}."
            )
    known = {n: [*configuration.constructor_parameters(classes[n]), "dtype"] for n in names}
    assigned = {name: {} for name in names}
    for argument, value in arguments.items():
        if argument in classes:
            continue
        if argument == "seed":
            raise ValueError("compare: pass seeds=[0, 1, 2] instead of the argument 'seed'.")
        takers = [name for name in names if argument in known[name]]
        if not takers:
            every = sorted(set().union(*known.values()))
            raise ValueError(
                f"compare: none of {', '.join(names)} has an argument {argument!r}."
                f"{checks.did_you_mean(argument, every)} Their arguments are {', '.join(every)}."
            )
        for name in takers:
            assigned[name][argument] = value
    for name in filter(classes.__contains__, arguments):
        if name not in names:
            raise ValueError(
                f"compare: there are arguments of {name}, which is not among the models "
                f"{', '.join(names)}."
            )
        own = checks.dictionary("compare", f"arguments[{name!r}]", arguments[name], "{'beta': 4}")
        for argument in own:
            if argument not in known[name] or argument == "seed":
                raise ValueError(
                    f"compare: {name} has no argument {argument!r} that could be set."
                    f"{checks.did_you_mean(argument, known[name])} Its arguments are "
                    f"{', '.join(known[name])}."
                )
        assigned[name] |= own
    return assigned


def _check_output(output, trials):
    """Raise unless the folder is new, or holds a report of runs with the same settings."""
    storage.refuse_home_sign(output, "compare: output")
    if output.exists() and not output.is_dir():
        raise FileExistsError(f"compare: output={str(output)!r} is a file. Pass another name.")
    if output.exists() and any(output.iterdir()) and not (output / _RUNS).is_dir():
        raise FileExistsError(
            f"compare: output={str(output)!r} is not empty and holds no report. Pass a new folder."
        )
    for trial in trials:
        if (trial.folder / "run.json").exists():
            before = to_json(*read_settings(trial.folder))
            now = to_json(trial.settings)
            for name in now:
                if before[name] != now[name]:
                    raise ValueError(
                        f"compare: the run of {trial.name} in {trial.folder} was started with "
                        f"{name}={checks.show(before[name])}, not {checks.show(now[name])}. Pass "
                        "another output, or the same settings."
                    )


def _check_data(output, data):
    """Raise if files of data have changed since the first run in the folder."""
    file, now = output / _RUNS / "data.json", _hash_files(pathlib.Path(data))
    if now is None:
        return
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        with storage.whole_file(file) as partial:
            partial.write_text(json.dumps({"sha256": now}) + "\n")
    elif read_json(file).get("sha256") != now:
        raise ValueError(
            f"compare: data={data!r} has changed since the runs in {output} were started, so that "
            "their figures are of other data. Pass another output."
        )


def _hash_files(path):
    """Compute a hash of the names and the contents of files, or None if there are none."""
    if not path.exists():
        return None
    found = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            found.update(f"{file.relative_to(path)}\0".encode(errors="surrogateescape"))
            with file.open("rb") as opened:
                found.update(hashlib.file_digest(opened, "sha256").digest())
    return found.hexdigest()


# ---------------------------------------------------------------------- processes


def _run(trials, processes, show):
    """Run all trials that are not finished, and return the errors of those that failed."""
    waiting = [trial for trial in trials if not trial.is_finished()]
    for trial in trials:
        if trial not in waiting:
            show(f"{trial.name}: finished before")
    running, errors = {}, {}
    try:
        while waiting or running:
            while waiting and len(running) < processes:
                trial = waiting.pop(0)
                running[trial] = (_start(trial), time.monotonic())
            time.sleep(0.1)
            for trial, (process, start) in list(running.items()):
                if process.poll() is None:
                    continue
                del running[trial]
                if process.returncode or not trial.is_finished():
                    errors[trial] = _read_error(trial.log, process.returncode)
                    show(f"{trial.name}: failed: {errors[trial]}", flush=True)
                else:
                    show(f"{trial.name}: {time.monotonic() - start:.0f} s", flush=True)
    finally:
        for process, _ in running.values():
            process.kill()
            process.wait()
    return errors


def _start(trial):
    words = [sys.executable, "-m", "keras_ae", "run-trial"]
    words += [json.dumps(dataclasses.asdict(trial.settings)), str(trial.folder)]
    with trial.log.open("wb") as log:
        return subprocess.Popen(
            workers.tie_to_this_process(words),
            env={**os.environ, "KERAS_BACKEND": keras.config.backend()},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def _read_error(log, status):
    """Return the line with which a process ended."""
    lines = log.read_text(errors="replace").splitlines()
    said = [line.removeprefix(_ERROR) for line in lines if line.startswith(_ERROR)]
    if said:
        return said[-1]
    if status < 0:
        return f"The process was killed by signal {-status}."
    said = [line.strip() for line in lines if line.strip()]
    return said[-1] if said else f"The process ended with status {status}."


# ---------------------------------------------------------------------- results


def _write(output, trials, errors, description):
    """Write the table and the report, and return the table."""
    import pandas

    results = []
    for trial in trials:
        figures = {}
        if trial not in errors:
            figures = read_json(trial.folder / FIGURES)
        judged = _judge(figures) if figures else None
        more = {"beats_untrained": judged, "error": errors.get(trial)}
        names = {"model": trial.settings.model, "seed": trial.settings.seed}
        results.append({**names, **figures, **more})
    table = pandas.DataFrame(report.name_columns(results))
    known = dict.fromkeys(each["versions"] for each in results if "versions" in each)
    description = {
        **description,
        "versions": "; ".join(known) or describe_versions(),
        "figures": "mean ± standard deviation over the seeds that finished; the best model of a "
        "column is in bold, and an arrow says whether more or less is better",
    }
    pictures = {}
    for trial in trials:
        if trial not in errors:
            pictures.setdefault(trial.settings.model, trial.folder)
    texts = {
        "results.csv": table.to_csv(index=False),
        "report.md": report.format_markdown(results, description),
        "report.html": report.format_page(results, description, pictures),
    }
    for name, text in texts.items():
        with storage.whole_file(output / name) as partial:
            partial.write_text(text, encoding="utf-8")
    return table


def _judge(figures):
    """Say in what a trained model beats its untrained self."""
    won = {"reconstruction": figures["mse"] < figures["untrained_mse"]}
    if not figures["has_players"]:
        won["objective"] = figures["objective"] < figures["untrained_objective"]
    lost = [name for name, yes in won.items() if not yes]
    if not lost:
        return "yes"
    return "no" if len(lost) == len(won) else f"not in {lost[0]}"


def _describe(output, trials, arguments):
    """Return what the report says about the comparison: name -> text."""
    settings = [trial.settings for trial in trials]
    first = settings[0]
    words = ["keras-ae", "compare", "--data", first.data]
    words += ["--models", *dict.fromkeys(each.model for each in settings)]
    words += ["--seeds", *dict.fromkeys(str(each.seed) for each in settings)]
    for name in ("epochs", "batch_size", "learning_rate"):
        words += [f"--{name.replace('_', '-')}", str(getattr(first, name))]
    for name, value in arguments.items():
        words += ["--set", f"{name}={json.dumps(value)}"]
    return {
        "data": first.data,
        "training": f"epochs: {first.epochs}, batch size: {first.batch_size}, learning rate: "
        f"{first.learning_rate:g}",
        "command": shlex.join([*words, "--output", str(output)]),
    }
