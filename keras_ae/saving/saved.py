"""The part of `keras_ae.Autoencoder` that writes files, and finds pretrained ones."""

from typing import Any, Self

import keras

from keras_ae.core import inputs
from keras_ae.core.types import Path
from keras_ae.saving import collection, export, keras_files, load


class Saved:
    """Methods that write files and folders, each of which appears whole or not at all."""

    presets = collection.Presets()
    _endpoints = export.endpoints_of
    load_weights = keras_files.load_weights

    @classmethod
    def from_preset(cls, name: str, **kwargs: Any) -> Self:
        """Load a pretrained model of this class.

        Args:
            name: Name of a pretrained model, such as "vae_mnist", or the path of a folder or file.
            **kwargs: See `keras_ae.load`.

        Returns:
            The model, ready for `fit`.

        Raises:
            ValueError: If the model is of another class, or its files are damaged.
            FileNotFoundError: If there is no such model.
        """
        return load.load_as(cls, name, **kwargs)

    def save(
        self, filepath: Path, overwrite: bool = True, zipped: bool | None = None, **kwargs: Any
    ) -> None:
        """Write the model to a `.keras` file.

        Args:
            filepath: Path of the file, whose name ends in `.keras`; with `zipped=False` that of a
                new or empty folder.
            overwrite, zipped, **kwargs: As in Keras. It asks before it overwrites if told not to.

        Raises:
            ValueError: If the name is wrong, or the model holds what is not registered.
            OSError: If a folder is in the way, or the file cannot be written.
        """
        keras_files.save(self, super().save, filepath, overwrite, zipped, **kwargs)

    def save_weights(
        self, filepath: Path, overwrite: bool = True, max_shard_size: float | None = None
    ) -> None:
        """Write the weights alone to a `.weights.h5` file.

        Args:
            filepath: Path of the file, whose name ends in `.weights.h5`; that of several files
                ends in `.weights.json`.
            overwrite, max_shard_size: As in Keras.

        Raises:
            ValueError: If the name ends otherwise. Nothing is written then.
            OSError: If the file cannot be written.
        """
        keras_files.save_weights(self, super().save_weights, filepath, overwrite, max_shard_size)

    def export(
        self,
        filepath: Path,
        format: str = "tf_saved_model",
        *,
        endpoint: str | None = None,
        card: dict[str, Any] | None = None,
        overwrite: bool = False,
        **kwargs: Any,
    ) -> None:
        """Write a folder that TensorFlow serves without this package, and `keras_ae.load` trains.

        In the other formats, this writes a file with one of the model's functions. The file is run
        on a small batch, and appears only if it computes what the model computes.

        Args:
            filepath: Folder to make, or for another format, file.
            format: "tf_saved_model", "onnx", "litert", "openvino" or "torch". The documentation of
                the formats says which backend writes which, and what must be installed.
            endpoint: For the other formats, the function in the file: "encode", "decode", "sample",
                which takes random numbers as inputs, or "reconstruct", as for None, the default.
            card: Dictionary of facts for the folder's `card.json`, such as data and figures.
            overwrite: Whether an artifact, or a file of another format, may be replaced.
            **kwargs: For the other formats.

        Raises:
            OSError: If the path is taken and may not be replaced, or cannot be written.
            ValueError: If the model is not built or cannot be loaded again, or a name is unknown.
            ImportError: If a package that writes or runs the format is not installed.
            NotImplementedError: If the backend or the format lacks what the model computes.
        """
        inputs.require_built(self, "export")
        export.check_arguments(filepath, card)
        if format == "tf_saved_model":
            export.refuse_endpoint(endpoint)
            export.write(self, filepath, card or {}, overwrite, **kwargs)
        else:
            write = keras.Model.export
            export.write_other(self, write, filepath, format, endpoint, overwrite, **kwargs)
