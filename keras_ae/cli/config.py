"""The option `--config`, a TOML file with options of a command."""

import json
import pathlib
import tomllib
from typing import Annotated

import typer


def read_config(context: typer.Context, path: pathlib.Path | None):
    """Read the options in a TOML file. Options on the command line take precedence.

    Args:
        context: Context of the command.
        path: Path of the file, or None.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is not TOML, or if an option is unknown or has a value of a wrong kind.
    """
    if path is None or context.resilient_parsing:
        return
    known = {_name_of(each): each for each in context.command.params}
    del known["config"]
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"--config {path} is not a TOML file: {error}.") from None
    found = {}
    for name, value in values.items():
        option = known.get(name.replace("_", "-"))
        if option is None:
            raise ValueError(
                f"--config {path}: {context.info_name} has no option {name!r}. Its options are "
                f"{', '.join(known)}."
            )
        if option.name in found:
            raise ValueError(f"--config {path}: {name} is given twice.")
        found[option.name] = _to_words(value, option, f"--config {path}: {name}")
    context.default_map = found


def add_to_config(context: typer.Context, option: typer.CallbackParam, words: list[str]):
    """Complete the NAME=VALUE words of the command line by those in the `--config` file."""
    names = {word.partition("=")[0] for word in words or []}
    stored = (context.default_map or {}).get(option.name, [])
    return [word for word in stored if word.partition("=")[0] not in names] + list(words or [])


def takes_pairs(option):
    """Tell whether the values of an option that may be repeated are NAME=VALUE."""
    return option.metavar == "NAME=VALUE"


Config = Annotated[
    pathlib.Path | None,
    typer.Option(
        callback=read_config,
        is_eager=True,
        expose_value=False,
        metavar="FILE",
        help="TOML file that gives any of these by name, without the dashes. The command line "
        "takes precedence.",
    ),
]


def _name_of(option):
    """Return the name of an option without its dashes. An argument, such as MODEL, has none."""
    return option.opts[0].lstrip("-")


def _to_words(value, option, where):
    """Return a value of the file as the command line would have it."""
    if getattr(option, "is_flag", False):
        if isinstance(value, bool):
            return value
        raise ValueError(f"{where} = {_shorten(value)} must be true or false.")
    if option.multiple and not takes_pairs(option):
        if isinstance(value, list) and value and all(map(_is_word, value)):
            return list(map(str, value))
        raise ValueError(
            f"{where} = {_shorten(value)} must be a list of numbers or strings, such as "
            f'{where.split()[-1]} = ["a", "b"].'
        )
    if option.multiple:
        if not isinstance(value, dict):
            raise ValueError(
                f"{where} = {_shorten(value)} must be a table, such as {where.split()[-1]} = "
                "{name = 3}."
            )
        try:
            return [f"{key}={json.dumps(each)}" for key, each in value.items()]
        except (TypeError, RecursionError) as error:
            raise ValueError(f"{where} cannot be written as JSON: {error}.") from None
    if not _is_word(value):
        raise ValueError(f"{where} = {_shorten(value)} must be a number or a string.")
    return str(value)


def _is_word(value):
    return isinstance(value, (str, int, float)) and not isinstance(value, bool)


def _shorten(value):
    text = repr(value)
    return text if len(text) < 100 else f"{text[:90]} [...]"
