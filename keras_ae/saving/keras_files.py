"""Keras' own files, which are written completely or not at all."""

import functools
import os
from typing import Any

import keras
from keras.src.legacy.saving import legacy_h5_format

from keras_ae.core import inputs, memory, storage
from keras_ae.core.training import Loops
from keras_ae.core.types import Path
from keras_ae.saving import objects


def save(model, write, path, overwrite, zipped, **options):
    """Write a whole model: see `keras_ae.Autoencoder.save`.

    Args:
        model: The model.
        write: Keras' method `save` of the model.
        path, overwrite, zipped, **options: The arguments of the call.
    """
    storage.check_path(path, "save")
    zipped = not str(path).startswith("hf://") if zipped is None else zipped
    if zipped:
        storage.check_suffix(path)
    objects.refuse_unloadable(model, "save")
    held = sorted(os.listdir(path)) if os.path.isdir(path) else None
    # In a folder that it wrote before, Keras fails halfway, and the weights in the folder are lost.
    if held or (zipped and held is not None):
        raise FileExistsError(
            f"save: {path} is a folder{f' that holds {held[0]}' if held else ''}. Choose another "
            "path."
        )
    if not zipped or not _is_ours_to_write(path, overwrite):
        return write(path, overwrite=overwrite, zipped=zipped, **options)
    with storage.whole_file(os.path.realpath(path)) as partial:
        write(partial, zipped=True, **options)


def save_weights(model, write, path, overwrite, max_shard_size):
    """Write a model's weights: see `keras_ae.Autoencoder.save_weights`.

    Args:
        model: The model.
        write: Keras' method `save_weights` of the model.
        path, overwrite, max_shard_size: The arguments of the call.
    """
    storage.check_path(path, "save_weights")
    inputs.require_built(model, "save_weights")
    # With shards, Keras accepts names that lack the first dot, but cannot read such files.
    if not str(path).endswith((".weights.h5", ".weights.json")):
        raise ValueError(
            f"save_weights: the name of {str(path)!r} must end in .weights.h5, or with "
            "max_shard_size in .weights.json. `save` takes a .keras file for the whole model."
        )
    if max_shard_size is not None or not _is_ours_to_write(path, overwrite):
        return write(path, overwrite, max_shard_size)
    with storage.whole_file(os.path.realpath(path)) as partial:
        optimizer = getattr(model, "optimizer", None)  # Before `compile`, a model has none.
        variables = [*model.variables, *(optimizer.variables if optimizer else ())]
        # The space is reserved first, because HDF5 ends the process if the disk gets full.
        storage.reserve(partial, 2**20 + memory.size_of(variables))
        write(partial)


def load_weights(
    model: keras.Model, filepath: Path, skip_mismatch: bool = False, **kwargs: Any
) -> None:
    """Read the weights that `save_weights` wrote, as in Keras. The model must be built.

    Args:
        filepath: Path of the file.
        skip_mismatch, **kwargs: As in Keras.

    Raises:
        FileNotFoundError: If there is no such file.
        OSError: If it is a folder, a pipe or a device.
        ValueError: If it does not hold the weights of such a model, or is damaged.
    """
    path, read = filepath, functools.partial(keras.Model.load_weights, model)
    storage.check_path(path, "load_weights")
    inputs.require_built(model, "load_weights")
    if "://" in str(path):  # Keras reads remote files.
        return read(path, skip_mismatch=skip_mismatch, **kwargs)
    if not os.path.exists(path):
        raise FileNotFoundError(f"load_weights: there is no file {str(path)!r}.")
    if not os.path.isfile(path):  # Reading a pipe would never end.
        raise OSError(f"load_weights: {path} is not a file. Pass one that save_weights wrote.")
    try:
        return read(path, skip_mismatch=skip_mismatch, **kwargs)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().partition("\n")[0][:200]
        raise ValueError(
            f"load_weights: {path} does not hold the weights of this {type(model).__name__}, or "
            f"is damaged ({reason}). Pass a file that save_weights wrote for an equal model."
        ) from error


def _is_ours_to_write(path, overwrite):
    """Tell whether we write the file.

    Keras itself writes remote files, and it asks the user before it replaces a file.
    """
    return "://" not in str(path) and (overwrite or not os.path.lexists(path))


_save_hdf5 = legacy_h5_format.save_model_to_hdf5


@functools.wraps(_save_hdf5)
def _refuse_hdf5(model, filepath, *args, **kwargs):
    if isinstance(model, Loops):
        storage.check_suffix(filepath)
    return _save_hdf5(model, filepath, *args, **kwargs)


# keras.saving.save_model writes an .h5 file without calling the model's `save`, and nothing could
# read this file.
legacy_h5_format.save_model_to_hdf5 = _refuse_hdf5
