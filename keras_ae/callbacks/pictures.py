"""Pictures of what a model has learned, drawn while it is trained."""

import importlib.util
import io
import pathlib
import time

import keras
import numpy as np

from keras_ae.core import arguments, backend, conversion, examples, storage
from keras_ae.core.inputs import take_apart
from keras_ae.core.types import Data, Path

_SAMPLES = 36
_RECONSTRUCTIONS = 20
_ROWS, _STEPS = 8, 7  # A traversal has so many dimensions, and so many values of each.


class Pictures(keras.callbacks.Callback):
    """Draws samples, reconstructions and a traversal of the code after some of the epochs.

    All pictures are drawn with the same seed and the same examples, so that they show how the
    model changes. They do not change the training. Samples are left out as long as the sampler of
    the model is not ready, such as the prior of a `VQVAE`, which is trained after the model. Models
    whose codes are integers have no traversals. See `keras_ae.plots` for the pictures.

    Args:
        x: Some examples, as `encode` takes them: a few dozen, or some hundred for a better order of
            the dimensions in the traversals. The first 20 are reconstructed. With named inputs this
            is a dictionary, such as `{"x": x, "label": y}`.
        folder: Folder of the files, which is made if necessary, such as
            `samples_epoch_0005.png`. Defaults to None, no files.
        logdir: Folder of logs, where TensorBoard finds the pictures. Defaults to None, no logs.
        every: Number of epochs from one drawing to the next, a positive integer. Defaults to 1.
        seed: Integer, the seed of the samples. Defaults to 0.

    Raises:
        ValueError: If there is neither a folder nor a logdir, or an argument is out of range; in
            `fit`, if the data cannot be drawn, or several processes train the model.
        ImportError: If logs are wanted, and the package tensorboard is not installed.

    Example:

    >>> import numpy as np, os, tempfile, keras_ae
    >>> x = np.random.default_rng(0).integers(0, 2, (64, 8, 8, 1)).astype("float32")
    >>> model = keras_ae.VAE(latent_dim=2, network_options={"filters": (4,)}, seed=0)
    >>> model.compile("adam")
    >>> folder = tempfile.mkdtemp()
    >>> history = model.fit(x, callbacks=[keras_ae.callbacks.Pictures(x, folder)], verbose=0)
    >>> for name in sorted(os.listdir(folder)):
    ...     print(name)
    reconstructions_epoch_0001.png
    samples_epoch_0001.png
    traversal_epoch_0001.png
    """

    def __init__(
        self,
        x: Data,
        folder: Path | None = None,
        logdir: Path | None = None,
        every: int = 1,
        seed: int = 0,
    ):
        super().__init__()
        if not conversion.holds_arrays(x):
            wanted = "an array of some examples, or a dictionary of arrays"
            raise arguments.refusal("Pictures", "x", x, wanted, error=TypeError)
        if folder is None and logdir is None:
            raise ValueError(
                "Pictures: folder=None and logdir=None leave no place for pictures. Pass a folder "
                "for files, or a logdir for TensorBoard."
            )
        if logdir is not None and importlib.util.find_spec("tensorboard") is None:
            raise ImportError(
                f"Pictures: logdir={str(logdir)!r} needs TensorBoard: pip install tensorboard"
            )
        self.x, self.seed = x, seed
        self.every = arguments.integer("Pictures", "every", every)
        self.folder = None if folder is None else pathlib.Path(folder)
        self.logdir = None if logdir is None else pathlib.Path(logdir)
        self._logs = None

    def on_train_begin(self, logs=None):
        if backend.worker_count() > 1:
            raise ValueError(
                "Pictures: several processes train the model, and one alone cannot draw. Leave "
                "this callback out, and draw with keras_ae.plots after the training."
            )
        if not can_draw(self.model):
            raise ValueError(
                f"Pictures: data of shape {self.model._target_shape} cannot be drawn. Pass data of "
                "vectors or of pictures with 1, 3 or 4 channels, or leave this callback out."
            )

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self.every == 0:
            for name, figure in self._draw().items():
                self._write(name, epoch + 1, figure)

    def on_train_end(self, logs=None):
        if self._logs is not None:
            self._logs.close()
            self._logs = None

    def _draw(self):
        """Return a dictionary from the name of each picture to its figure."""
        from keras_ae import plots  # Matplotlib takes long to import.

        model = self.model
        x, inputs = take_apart(model, self.x, "x")
        first = examples.map_leaves(lambda v: v[:_RECONSTRUCTIONS], examples.join(model, x, inputs))
        copies = model.reconstruct(first, verbose=0)
        originals = examples.split(model, first)[0]
        figures = {"reconstructions": plots.reconstructions(originals, copies)}
        if model.sampler is not None and model.sampler.ready():
            taken = examples.taken_by_sample(model)
            given = {name: _repeat(inputs[name]) for name in taken if name in inputs}
            samples = model.sample(_SAMPLES, seed=self.seed, verbose=0, **given)
            figures["samples"] = plots.image_grid(samples)
        if model._code_dtype == "float32" and len(model.code_shape) == 1:
            figures["traversal"] = plots.traversal(model, self.x, number=_ROWS, steps=_STEPS)
        return figures

    def _write(self, name, epoch, figure):
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            with storage.whole_file(self.folder / f"{name}_epoch_{epoch:04d}.png") as partial:
                figure.savefig(partial)
        if self.logdir is not None:
            if self._logs is None:
                self._logs = _open_logs(self.logdir / "pictures")
            _add_picture(self._logs, name, epoch, figure)


def can_draw(model):
    """Tell whether the data that a model reconstructs can be drawn."""
    from keras_ae import plots

    if model._modalities:
        return False
    shape = tuple(size or 1 for size in model._target_shape)  # A series may have any length.
    return plots.can_draw(np.broadcast_to(0.0, (1, *shape)))


def _repeat(values):
    """Return as many rows of a named input as there are samples."""
    return np.asarray(values)[np.arange(_SAMPLES) % len(values)]


# The logs are written without TensorFlow's `tf.summary`, because it takes long to import where
# another backend trains.


def _open_logs(folder):
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    folder.mkdir(parents=True, exist_ok=True)
    return EventFileWriter(str(folder))


def _add_picture(logs, name, epoch, figure):
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    width, height = (round(size * figure.dpi) for size in figure.get_size_inches())
    image = Summary.Image(
        width=width, height=height, colorspace=4, encoded_image_string=buffer.getvalue()
    )
    summary = Summary(value=[Summary.Value(tag=name, image=image)])
    logs.add_event(Event(wall_time=time.time(), step=epoch, summary=summary))
    logs.flush()
