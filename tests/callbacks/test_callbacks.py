"""`BackupAndRestore`: a fit that is killed at any moment resumes and ends with the same bits."""

import itertools
import os
import pathlib
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
import zoo

import keras_ae
from keras_ae.callbacks import BackupAndRestore
from keras_ae.core import storage

X = zoo.data(40)
BATCHES = 3  # The number of batches in an epoch of X.


class Stopped(BaseException):
    """Ends a fit in these tests, as a kill would."""


class StopAfter(keras.callbacks.Callback):
    def __init__(self, batches):
        super().__init__()
        self.left = batches

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if not self.left:
            raise Stopped


def made(seed=0, optimizer="adam", units=4, cls=keras_ae.VAE, **options):
    networks = {"units": (units,), "dropout": 0.2}
    model = cls(latent_dim=2, seed=seed, network_options=networks, **options)
    model.compile(optimizer, metrics=["mse"])
    return model


def trained(*callbacks, model=None, data=X, epochs=3):
    """Fit, and return the bytes of the weights and of the optimizer, and the figures per epoch."""
    model = model or made()
    size = 16 if isinstance(data, np.ndarray) else None
    history = model.fit(
        data, batch_size=size, epochs=epochs, validation_data=X, verbose=0, callbacks=callbacks
    )
    variables = [*model.variables, *model.optimizer.variables]
    return [keras.ops.convert_to_numpy(v).tobytes() for v in variables], history.history


@pytest.fixture(scope="module")
def whole():
    """What a fit ends with that nothing interrupts."""
    return trained()


def assert_goes_on(found, whole):
    """Check that the bits are the same, and so are the figures of the epochs after the resume."""
    assert found[0] == whole[0]
    for name, values in found[1].items():
        assert values == whole[1][name][-len(values) :], name


def fit_stopped(folder, batches, save_freq="epoch", **options):
    backup = BackupAndRestore(folder, save_freq, **options)
    with pytest.raises(Stopped):
        trained(backup, StopAfter(batches))
    backup.release()


# ------------------------------------------------------------------ killed at any moment

_looking = []  # These functions are called before each change of a file or folder.


def _tell(event, arguments):
    if _looking and event in ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir"):
        look = _looking.pop()
        look()
        _looking.append(look)


sys.addaudithook(_tell)


@pytest.mark.costly
@pytest.mark.parametrize("options", [{}, {"save_freq": 2, "double_checkpoint": True}])
def test_a_kill_at_any_moment_is_survived(options, tmp_path):
    """Before each change of a file, the folder is copied, as a kill would leave it, and resumed."""
    place, left, numbers = tmp_path / "place", {}, itertools.count()
    place.mkdir()

    def look():
        files = {path.relative_to(place): path for path in place.rglob("*") if path.is_file()}
        # Several moments leave the same backups. Of these, the one with the most other files is
        # tried.
        backups = tuple(
            (name, files[name].read_bytes()) for name in sorted(files) if is_whole(name)
        )
        if backups not in left or left[backups][0] < len(files):
            folder = tmp_path / f"left_{next(numbers)}"
            shutil.copytree(place, folder)
            left[backups] = len(files), folder

    def is_whole(name):
        return name.parts[:-1] == ("backup",)

    whole = trained(epochs=2)
    _looking.append(look)
    try:
        assert_goes_on(trained(BackupAndRestore(place / "backup", **options), epochs=2), whole)
    finally:
        _looking.clear()
    assert len(left) >= 3
    for files, folder in left.values():
        assert files > 1
        backup = BackupAndRestore(folder / "backup", **options)
        assert_goes_on(trained(backup, epochs=2), whole)
        assert list(folder.iterdir()) == []


@pytest.mark.costly
@pytest.mark.parametrize(
    ("save_freq", "batches"),
    [
        ("epoch", BATCHES - 1),
        ("epoch", BATCHES + 2),
        (1, BATCHES),
        (2, BATCHES + 2),
        (4, BATCHES + 2),
    ],
)
def test_a_fit_resumes_within_an_epoch(save_freq, batches, whole, tmp_path):
    fit_stopped(tmp_path / "backup", batches, save_freq)
    assert_goes_on(trained(BackupAndRestore(tmp_path / "backup", save_freq)), whole)
    assert list(tmp_path.iterdir()) == []


def test_a_number_that_was_assigned_once_is_restored(tmp_path):
    class AssignOnce(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                self.model.kl_weight = 0.3

    whole = trained(AssignOnce())
    backup = BackupAndRestore(tmp_path / "backup")
    with pytest.raises(Stopped):
        trained(AssignOnce(), backup, StopAfter(2 * BATCHES + 1))
    backup.release()
    model = made()
    assert_goes_on(trained(AssignOnce(), backup, model=model), whole)
    assert model.kl_weight == pytest.approx(0.3)
    assert model.get_config()["kl_weight"] == model.kl_weight


def test_a_resume_also_skips_seen_batches_of_data_that_is_not_an_array(tmp_path):
    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return BATCHES

        def __getitem__(self, index):
            return (X[index * 13 : (index + 1) * 13],)

    whole = trained(data=Batches())
    backup = BackupAndRestore(tmp_path / "backup", 1)
    with pytest.raises(Stopped):
        trained(backup, StopAfter(BATCHES + 2), data=Batches())
    assert_goes_on(trained(BackupAndRestore(tmp_path / "backup", 1), data=Batches()), whole)


@pytest.mark.costly
@pytest.mark.parametrize("save_freq", ["epoch", 1])
def test_a_model_without_a_seed_resumes_with_the_seed_of_the_first_one(save_freq, whole, tmp_path):
    fit_stopped(tmp_path / "backup", BATCHES + 1, save_freq)
    backup = BackupAndRestore(tmp_path / "backup", save_freq)
    assert_goes_on(trained(backup, model=made(seed=None)), whole)


def test_models_of_half_precision_keep_their_bits(tmp_path):
    def half():
        return made(dtype="bfloat16")

    whole = trained(model=half())
    with pytest.raises(Stopped):
        trained(BackupAndRestore(tmp_path / "b"), StopAfter(BATCHES + 1), model=half())
    assert_goes_on(trained(BackupAndRestore(tmp_path / "b"), model=half()), whole)


@pytest.mark.costly
def test_optimizers_of_several_players_are_restored(tmp_path):
    def players():
        model = made(cls=keras_ae.FactorVAE)
        model.build((None, X.shape[1]))
        model.compile(keras_ae.optimizers_for(model, "adam", discriminator="sgd"))
        return model

    whole = trained(model=players())
    with pytest.raises(Stopped):
        trained(BackupAndRestore(tmp_path / "b"), StopAfter(BATCHES + 1), model=players())
    assert_goes_on(trained(BackupAndRestore(tmp_path / "b"), model=players()), whole)


# ------------------------------------------------------------------ before and after


def test_a_finished_training_is_not_trained_again_where_its_backup_is_kept(whole, tmp_path):
    for epochs in (3, 0):
        backup = BackupAndRestore(tmp_path / "backup", delete_checkpoint=False)
        weights, history = trained(backup)
        assert weights == whole[0] and len(history.get("loss", [])) == epochs
    assert [path.name for path in tmp_path.rglob("*")] == ["backup", "latest.npz"]


def test_a_fit_after_a_finished_one_begins_at_its_initial_epoch(tmp_path):
    fit_stopped(tmp_path / "backup", BATCHES + 1)
    model = made()
    trained(BackupAndRestore(tmp_path / "backup"), model=model)
    assert len(trained(model=model, epochs=2)[1]["loss"]) == 2


def test_an_interrupted_fit_resumes_in_the_same_process(whole, tmp_path):
    """In a notebook, for example, a variable may still hold the first callback."""
    first = BackupAndRestore(tmp_path / "backup", 1)
    with pytest.raises(Stopped):
        trained(first, StopAfter(BATCHES + 1))
    second = BackupAndRestore(tmp_path / "backup", 1)
    with pytest.raises(Stopped):
        trained(second, StopAfter(BATCHES + 2))
    assert_goes_on(trained(first), whole)


def test_other_files_in_the_folder_stay(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    trained(BackupAndRestore(tmp_path), epochs=1)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_plain_keras_model_resumes(tmp_path):
    def plain():
        keras.utils.set_random_seed(0)
        layers = [keras.Input((6,)), keras.layers.Dropout(0.2, seed=0), keras.layers.Dense(6)]
        model = keras.Sequential(layers)
        model.compile("adam", "mse")
        return model

    def run(*callbacks):
        model = plain()
        options = {"batch_size": 16, "epochs": 3, "shuffle": False, "verbose": 0}
        model.fit(X, X, callbacks=callbacks, **options)
        return [weights.tobytes() for weights in model.get_weights()]

    whole = run()
    with pytest.raises(Stopped):
        run(BackupAndRestore(tmp_path / "backup", 1), StopAfter(BATCHES + 2))
    assert run(BackupAndRestore(tmp_path / "backup", 1)) == whole


# ------------------------------------------------------------------ what is refused


@pytest.mark.costly
@pytest.mark.parametrize("damage", ["cut", "empty", "changed", "text"])
def test_a_damaged_backup_is_named_and_the_one_before_is_used_if_there_is_one(
    damage, whole, tmp_path
):
    for double in (False, True):
        folder = tmp_path / str(double)
        fit_stopped(folder, 2 * BATCHES + 1, double_checkpoint=double)
        latest = folder / "latest.npz"
        content = latest.read_bytes()
        middle = len(content) // 2
        changed = content[:middle] + bytes(256) + content[middle + 256 :]
        new = {"cut": content[:-100], "empty": b"", "changed": changed, "text": b"PK junk"}
        latest.write_bytes(new[damage])
        if double:
            assert_goes_on(trained(BackupAndRestore(folder, double_checkpoint=True)), whole)
        else:
            with pytest.raises(ValueError, match="latest.npz is not a complete backup") as caught:
                trained(BackupAndRestore(folder))
            assert str(latest) in str(caught.value) and "remove it" in str(caught.value)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"units": 5}, "its weights differ"),
        ({"cls": keras_ae.BetaVAE}, "its model is VAE, not BetaVAE"),
        ({"optimizer": "sgd"}, "its optimizer is Adam, not SGD"),
    ],
)
def test_a_backup_of_another_model_is_refused(other, message, tmp_path):
    fit_stopped(tmp_path / "backup", BATCHES + 1)
    before = (tmp_path / "backup" / "latest.npz").read_bytes()
    with pytest.raises(ValueError, match=message):
        trained(BackupAndRestore(tmp_path / "backup"), model=made(**other))
    assert (tmp_path / "backup" / "latest.npz").read_bytes() == before


def test_an_epoch_with_other_batches_is_not_resumed(tmp_path):
    fit_stopped(tmp_path / "backup", 3, 2)
    with pytest.raises(ValueError, match="after 2 of 3 batches"):
        trained(BackupAndRestore(tmp_path / "backup"))
    with pytest.raises(ValueError, match="an epoch has 5 batches"):
        trained(BackupAndRestore(tmp_path / "backup", 1), data=zoo.data(80))


@pytest.mark.parametrize(
    "name", ["latest.weights.h5", "latest.weights.h5.bkp", "training_metadata.json"]
)
def test_a_backup_of_keras_own_is_refused(name, tmp_path):
    """A kill between Keras' two files leaves only one of them, which is refused as well."""
    (tmp_path / name).write_text("anything")
    with pytest.raises(ValueError, match=r"holds .* of keras\.callbacks\.BackupAndRestore"):
        trained(BackupAndRestore(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_model_without_weights_is_refused(tmp_path):
    backup = BackupAndRestore(tmp_path / "backup")
    with pytest.raises(ValueError, match="VAE has no weights yet"):
        backup.restore(made())


@pytest.mark.parametrize("save_freq", [0, -1, True, False, 1.5, "batch", None])
def test_save_freq_is_checked(save_freq, tmp_path):
    with pytest.raises(ValueError, match="save_freq="):
        BackupAndRestore(tmp_path, save_freq)


def test_a_folder_is_needed():
    with pytest.raises(ValueError, match="backup_dir=''"):
        BackupAndRestore("")


def test_a_folder_of_another_process_is_refused(tmp_path):
    code = f"""
import sys
from keras_ae.core import storage
with storage.exclusive({str(tmp_path / "backup" / "training")!r}):
    print("held", flush=True)
    sys.stdin.read()
"""
    environment = {**os.environ, "PYTHONPATH": str(pathlib.Path(storage.__file__).parents[2])}
    words = [sys.executable, "-c", code]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(words, env=environment, **pipes) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(BlockingIOError, match=f"process {other.pid}"):
            trained(BackupAndRestore(tmp_path / "backup"))
        other.stdin.close()
    trained(BackupAndRestore(tmp_path / "backup"), epochs=1)


def test_a_folder_of_another_thread_is_refused(tmp_path):
    in_training, other_was_tried = threading.Event(), threading.Event()

    def wait(epoch, logs):
        in_training.set()
        assert other_was_tried.wait(60)

    waiting = keras.callbacks.LambdaCallback(on_epoch_begin=wait)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(trained, BackupAndRestore(tmp_path / "backup"), waiting, epochs=1)
        assert in_training.wait(60)
        try:
            with pytest.raises(BlockingIOError, match="another thread"):
                trained(BackupAndRestore(tmp_path / "backup"), epochs=1)
        finally:
            other_was_tried.set()
        first.result()
    assert list(tmp_path.iterdir()) == []


def test_a_backup_needs_no_more_than_its_own_folder(tmp_path):
    """The user may not be able to write into the folder above, so nothing is written there."""

    class Folders(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            assert [path.name for path in tmp_path.iterdir()] == ["backup"]

    trained(BackupAndRestore(tmp_path / "backup"), Folders(), epochs=1)


def test_a_path_that_is_no_folder_is_refused_before_training(tmp_path):
    (tmp_path / "backup").write_text("a user's")
    model = made()
    model.build((None, *X.shape[1:]))
    before = zoo.weights(model)
    with pytest.raises(OSError, match="backup"):
        trained(BackupAndRestore(tmp_path / "backup"), model=model)
    for values, expected in zip(zoo.weights(model), before, strict=True):
        np.testing.assert_array_equal(values, expected)
