"""Files and folders appear whole, whatever is killed, and have one writer at a time."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
import zoo

from keras_ae.cli import main as cli
from keras_ae.cli import runs
from keras_ae.core import storage

pytestmark = pytest.mark.backend_free

# The processes load only the file of `storage`, which takes a twentieth of the time.
ALONE = f"""
import importlib.util, json, os, pathlib, signal, sys
spec = importlib.util.spec_from_file_location("storage", {storage.__file__!r})
storage = importlib.util.module_from_spec(spec)
spec.loader.exec_module(storage)
"""


def start(code, *arguments):
    command = [sys.executable, "-c", ALONE + code, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def run(code, *arguments):
    process = start(code, *arguments)
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return printed


HOLDING = """
with storage.whole_folder(sys.argv[1]) as partial:
    (partial / "part").write_text("half of it")
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the folder `model`."""
    process = start(HOLDING, tmp_path / "model")
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def names(folder):
    return sorted(os.listdir(folder))


# ------------------------------------------------------------------ one at a time


def test_another_process_is_named(holder, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    for path in (tmp_path / "model", tmp_path / "link" / "model", tmp_path / "x/../model"):
        with pytest.raises(BlockingIOError, match=f"model is being .* process {holder.pid} on "):
            with storage.exclusive(path):
                raise AssertionError
        with pytest.raises(BlockingIOError, match="Wait until it has ended, or use another path"):
            with storage.whole_folder(path):
                raise AssertionError
    with storage.whole_file(tmp_path / "other") as partial:
        partial.write_text("of another name")
    assert names(tmp_path / ".model.keras_ae") == ["new", "owner"]
    holder.communicate("\n", timeout=60)
    assert holder.returncode == 0
    assert (tmp_path / "model" / "part").read_text() == "half of it"
    assert names(tmp_path) == ["link", "model", "other"]


def test_another_thread_is_named(tmp_path):
    with storage.exclusive(tmp_path / "model"):
        found = []

        def second():
            try:
                with storage.exclusive(tmp_path / "model"):
                    pass
            except BlockingIOError as error:
                found.append(str(error))

        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert "another thread of this process" in found[0] and str(tmp_path / "model") in found[0]
    with storage.exclusive(tmp_path / "model"):
        pass
    assert names(tmp_path) == []


def test_a_writer_that_has_only_just_started_is_named(tmp_path, monkeypatch):
    """Another writer asks in the moment after the lock and before the number is written."""
    found, write = [], os.write

    def second():
        with pytest.raises(BlockingIOError) as caught:
            with storage.exclusive(tmp_path / "model"):
                pass
        found.append(str(caught.value))

    thread = threading.Thread(target=second)

    def late(*arguments):
        thread.start()
        thread.join(0.2)
        return write(*arguments)

    monkeypatch.setattr(os, "write", late)
    with storage.exclusive(tmp_path / "model"):
        thread.join()
    assert f"another thread of this process ({os.getpid()})" in found[0]


CONTENDING = """
path = pathlib.Path(sys.argv[1])
written = 0
for _ in range(100):
    try:
        with storage.exclusive(path):
            mine = os.open(path, os.O_CREAT | os.O_EXCL)  # Fails if two are in here.
            os.close(mine)
            os.unlink(path)
            written += 1
    except BlockingIOError:
        pass
print(written)
"""


def test_no_two_processes_hold_a_path_at_once(tmp_path):
    """A process that opened the file which another one is removing does not take it for a lock."""
    processes = [start(CONTENDING, tmp_path / "model") for _ in range(4)]
    counts = [int(process.communicate(timeout=120)[0]) for process in processes]
    assert all(process.returncode == 0 for process in processes) and min(counts) > 0
    assert names(tmp_path) == []


def test_a_killed_process_holds_nothing(holder, tmp_path):
    holder.kill()
    holder.wait()
    assert names(tmp_path) == [".model.keras_ae"]
    with storage.whole_folder(tmp_path / "model") as partial:
        (partial / "all").write_text("all of it")
    assert names(tmp_path) == ["model"] and names(tmp_path / "model") == ["all"]


# The child prints "held", because until it runs it holds what its parent held.
FORKING = """
with storage.exclusive(sys.argv[1]):
    child = os.fork()
    if not child:
        print("held", flush=True)
        sys.stdin.readline()
        raise SystemExit  # Through the end of the block, which is not the child's.
    os.waitpid(child, 0)
    print("ended", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.parametrize("killed", [True, False])
def test_a_forked_process_holds_nothing(killed, tmp_path):
    with start(FORKING, tmp_path / "model") as process:
        assert process.stdout.readline() == "held\n"
        if killed:
            process.kill()
            process.wait()
            with storage.exclusive(tmp_path / "model"):  # The forked child is still alive.
                pass
        else:
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline() == "ended\n"
            assert names(tmp_path / ".model.keras_ae") == ["owner"]
        process.communicate("\n", timeout=60)
    assert names(tmp_path) == []


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    """The process that makes the workspace holds it; an older workspace may be in use."""

    def none(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(storage.fcntl, "flock", none)
    with storage.exclusive(tmp_path / "model") as workspace:
        with pytest.raises(BlockingIOError, match="If it has ended, remove"):
            with storage.exclusive(tmp_path / "model"):
                pass
        assert workspace.is_dir()
    assert names(tmp_path) == []


# ------------------------------------------------------------------ whole or not at all


# The program forks a child that is killed at the n-th line of storage.py, for every n, and prints
# what is left each time.
KILLED = """
os.fsync = lambda descriptor: None  # It takes most of the time, and does not help against kills.

def tracer(number):
    left = [number]
    def trace(frame, event, argument):
        if frame.f_code.co_filename != storage.__file__:
            return None
        if event == "line":
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace
    return trace

def write_folder(path, text):
    with storage.whole_folder(path, check=lambda path: None) as partial:
        for name in "ab":
            (partial / name).write_text(text)

def write_file(path, text):
    with storage.whole_file(path) as partial:
        partial.write_text(text + text)

def read(path):
    # Return the text of the file, or of all files in the folder, at the path.
    if path.is_dir():
        return "".join((path / name).read_text() for name in sorted(os.listdir(path)))
    return path.read_text() if path.exists() else ""

place, kind, exchange = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "True"
write = {"folder": write_folder, "file": write_file}[kind]
if not exchange:
    storage._exchange = lambda *_: False
seen = []
while True:
    number, folder = len(seen), place / str(len(seen))
    folder.mkdir()
    path = folder / "model"
    write(path, "0")
    child = os.fork()
    if not child:
        sys.settrace(tracer(number))
        write(path, "1")
        os._exit(0)
    killed = os.WIFSIGNALED(os.waitpid(child, 0)[1])
    rescue = storage.rescue(path)
    then = {"left": read(path), "rescue": read(rescue) if rescue else "",
            "hidden": len(os.listdir(folder)) - path.exists()}
    with storage.exclusive(path):
        then["next"] = read(path)
    then["hidden after"] = len(os.listdir(folder)) - 1
    seen.append(then)
    if not killed:
        break
print(json.dumps(seen))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.parametrize(
    ("kind", "exchange"), [("folder", True), ("folder", False), ("file", True)]
)
def test_a_kill_at_any_line_leaves_the_old_or_the_new(kind, exchange, tmp_path):
    seen = json.loads(run(KILLED, tmp_path, kind, exchange))
    assert len(seen) > 50
    for then in seen:
        assert then["next"] in ("00", "11") and then["hidden after"] == 0, then
        if exchange:
            assert then["left"] == then["next"], then
        else:  # In the moment when nothing is at the path, `rescue` finds the old one.
            assert (then["left"] or then["rescue"]) == then["next"], then
    assert {"00", "11"} == {then["next"] for then in seen}
    assert any(then["rescue"] for then in seen) == (not exchange)
    assert seen[-1]["left"] == "11" and seen[-1]["hidden"] == 0


@pytest.mark.parametrize("exchange", [True, False])
def test_a_failed_folder_leaves_the_old_one(exchange, tmp_path, monkeypatch):
    if not exchange:
        monkeypatch.setattr(storage, "_exchange", lambda *_: False)

    def write(text, fail=False):
        with storage.whole_folder(tmp_path / "model", check=lambda path: None) as partial:
            (partial / "a").write_text(text)
            assert not fail

    write("before")
    with pytest.raises(AssertionError):
        write("after", fail=True)
    rename = os.rename

    def refuse(source, target):
        if os.path.basename(source) == "new":
            raise OSError(errno.ENOSPC, "No space left on device")
        rename(source, target)

    if not exchange:
        with monkeypatch.context() as patch:
            patch.setattr(os, "rename", refuse)
            with pytest.raises(OSError, match="No space"):
                write("after")
    assert names(tmp_path) == ["model"] and (tmp_path / "model" / "a").read_text() == "before"
    write("after")
    assert names(tmp_path) == ["model"] and (tmp_path / "model" / "a").read_text() == "after"


def test_a_failed_file_leaves_the_old_one(tmp_path):
    (tmp_path / "a.json").write_text("before")
    with pytest.raises(ZeroDivisionError):
        with storage.whole_file(tmp_path / "a.json") as partial:
            partial.write_text("after")
            raise ZeroDivisionError
    assert names(tmp_path) == ["a.json"]
    assert (tmp_path / "a.json").read_text() == "before"


def test_a_file_that_appears_in_the_meantime_stays(tmp_path):
    with pytest.raises(FileExistsError, match="exists"):
        with storage.whole_folder(tmp_path / "model") as partial:
            (partial / "a").write_text("new")
            (tmp_path / "model").mkdir()
            (tmp_path / "model" / "mine").write_text("mine")
    assert names(tmp_path) == ["model"] and names(tmp_path / "model") == ["mine"]


def test_the_command_line_replaces_nothing_that_appears_in_the_meantime(tmp_path, monkeypatch):
    output = tmp_path / "codes.npy"

    def write(function, data, partial, verbose, model):
        for path in (partial, output):
            path.write_text("new" if path == partial else "mine")
        return (1, 2)

    monkeypatch.setattr(runs, "write_over_all", write)
    with pytest.raises(FileExistsError, match="codes.npy exists"):
        cli._write_over_all(None, None, None, output)
    with pytest.raises(FileExistsError, match="codes.npy exists"):
        cli._write(output, np.zeros(3), None)
    assert names(tmp_path) == ["codes.npy"] and output.read_text() == "mine"


# ------------------------------------------------------------------ only what is ours


@pytest.mark.parametrize("made", ["new/mine", "owner/mine", "owner", "mine", "link", ""])
def test_a_users_file_with_the_name_of_a_workspace_stays(made, tmp_path):
    """A folder of that name with other files, a file and a link all belong to the user."""
    workspace = tmp_path / ".model.keras_ae"
    if made == "link":
        (tmp_path / "elsewhere").mkdir()
        workspace.symlink_to(tmp_path / "elsewhere")
    elif made:
        (workspace / made).parent.mkdir(parents=True)
        (workspace / made).write_text("mine")
    else:
        workspace.write_text("mine")
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    storage.remove_leftovers(tmp_path)
    with pytest.raises(FileExistsError, match="is in the way.*Move it away"):
        with storage.whole_file(tmp_path / "model") as partial:
            partial.write_text("new")
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before


def test_an_only_copy_stays(tmp_path):
    """A kill left the old folder aside, and then something else appeared at its path."""
    workspace = tmp_path / ".model.keras_ae"
    for name in ("old", "new"):
        (workspace / name).mkdir(parents=True)
        (workspace / name / "a").write_text(name)
    (workspace / "owner").write_text("keras_ae 1 elsewhere\n")
    assert storage.rescue(tmp_path / "model") == workspace / "old"
    (tmp_path / "model").mkdir()
    assert storage.rescue(tmp_path / "model") is None
    storage.remove_leftovers(tmp_path)
    with pytest.raises(FileExistsError, match=f"{workspace / 'old'} was at .*Move one of them"):
        with storage.whole_folder(tmp_path / "model", check=lambda path: None):
            pass
    assert (workspace / "old" / "a").read_text() == "old"
    (tmp_path / "model").rmdir()
    # The old folder is back at its path.
    with pytest.raises(FileExistsError, match="model exists"):
        with storage.whole_folder(tmp_path / "model"):
            pass
    assert names(tmp_path) == ["model"] and (tmp_path / "model" / "a").read_text() == "old"


def test_only_leftovers_of_dead_processes_are_removed(holder, tmp_path):
    dead = start(HOLDING, tmp_path / "dead")
    dead.stdout.readline()
    dead.send_signal(signal.SIGKILL)
    dead.communicate()
    assert names(tmp_path) == [".dead.keras_ae", ".model.keras_ae"]
    storage.remove_leftovers(tmp_path)
    assert names(tmp_path) == [".model.keras_ae"]
    assert names(tmp_path / ".model.keras_ae") == ["new", "owner"]


def test_paths_of_every_form(tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path / "folder")
    for path in ("a.txt", "./a.txt", "../folder/a.txt", tmp_path / "folder" / "b" / ".." / "a.txt"):
        with storage.whole_file(path) as partial:
            assert partial.name == "a.txt"
            partial.write_text(str(path))
        assert names(".") == ["a.txt"] and (tmp_path / "folder/a.txt").read_text() == str(path)
    assert storage.real(".") == storage.real("") == storage.real("x/..") == tmp_path / "folder"
    long = "é" * 125 + ".txt"  # This name has 254 bytes.
    with storage.whole_file(long) as partial:
        partial.write_text("long")
    assert names(".") == ["a.txt", long]
    with pytest.raises(FileExistsError, match="root of the file system"):
        with storage.exclusive("/"):
            pass


@pytest.mark.parametrize("method", ["save", "save_weights"])
def test_a_model_is_saved_whole_or_not_at_all(method, tmp_path):
    """A limit of 1,000 bytes stands for a full disk, on which HDF5 would crash the process."""
    resource = pytest.importorskip("resource", reason="no such limits on Windows")
    model = zoo.fitted("AE")
    path = tmp_path / {"save": "a.keras", "save_weights": "a.weights.h5"}[method]
    getattr(model, method)(path)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match=path.name):
            getattr(model, method)(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [path.name]
    link = tmp_path / f"link_{path.name}"
    link.symlink_to(path)
    getattr(model, method)(str(link))
    assert link.is_symlink() and len(os.listdir(tmp_path)) == 2
