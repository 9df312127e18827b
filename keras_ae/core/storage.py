"""Files and folders that appear whole or not at all, each written by one process at a time.

Whoever writes `model` works in a hidden folder beside it, its workspace:

.model.keras_ae/
  owner    locked while its process lives, whose number and machine it holds
  new      what is being written; after an exchange, what was there before
  old      what stepped aside where the system cannot exchange two paths in one step

The kernel releases the lock of a process that dies. What is found in the workspace by the next one
that holds the lock is therefore nobody's any more, and is removed.
"""

import contextlib
import ctypes
import errno
import hashlib
import os
import pathlib
import shutil
import socket
import stat
import time

try:
    import fcntl
except ImportError:  # Windows.
    fcntl = None
    import msvcrt

SUFFIX = ".keras_ae"
_HEADER = b"keras_ae "
_LONGEST = 240  # Bytes of a name; with what a workspace adds, file systems take 255.


@contextlib.contextmanager
def exclusive(path):
    """Hold a path that no other thread or process may write as long.

    Args:
        path: The file or folder, which need not exist. Folders above it are made. Its own folder
            must be writable.

    Yields:
        `pathlib.Path` of its workspace, a hidden folder beside it that is empty but for the lock.

    Raises:
        BlockingIOError: If another thread or process holds the path; the message says which.
        FileExistsError: If something else is where the workspace would be, or in it.
        OSError: If the workspace cannot be made.

    Example:

    >>> import pathlib, tempfile
    >>> from keras_ae.core import storage
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "results"
    >>> with storage.exclusive(path):
    ...     path.mkdir()
    """
    path = real(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    workspace = _workspace(path)
    lock = _acquire(workspace, path)
    try:
        _clean(workspace, path)
        yield workspace
    finally:
        if lock in _held:  # Not in a process that was forked meanwhile.
            with contextlib.suppress(OSError):
                _clean(workspace, path)
            _release(workspace, lock)


def reserve(path, size):
    """Raise OSError unless a file of so many bytes fits where the path is; none is left there."""
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        with open(path, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):  # Some file systems cannot.
            raise
    finally:
        pathlib.Path(path).unlink(missing_ok=True)


@contextlib.contextmanager
def _naming(path, workspace):
    """Let errors of the system name the path, and not where it is written."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise OSError(f"{path} could not be written: {error}") from error
        # A full disk says no name, and other errors one that users have not given.
        if error.filename is None or str(workspace) in os.fsdecode(error.filename):
            error.filename = str(path)
        raise


def refuse_existing(path):
    """Raise FileExistsError if anything is at the path, be it a link that leads nowhere."""
    if os.path.lexists(path):
        raise FileExistsError(f"{path} exists. Choose another path.")


@contextlib.contextmanager
def whole_file(path, check=lambda path: None):
    """A place to write a file that appears at `path` when it is whole, or not at all.

    Args:
        path: The file.
        check: Function of the path that raises unless what is there may be replaced, such as
            `refuse_existing`. It is called before anything is written, and again before anything
            is replaced. By default any file may be.

    Yields:
        `pathlib.Path` of the same name, to write to.

    Raises:
        BlockingIOError: If another thread or process is writing this file.
        OSError: Whatever the system raises while it is written, with the name of this file.

    Example:

    >>> import pathlib, tempfile
    >>> from keras_ae.core import storage
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "results.txt"
    >>> with storage.whole_file(path) as partial:
    ...     _ = partial.write_text("all of it")
    >>> path.read_text()
    'all of it'
    """
    path = real(path)
    with exclusive(path) as workspace:
        check(path)
        partial = workspace / "new" / path.name
        partial.parent.mkdir()
        with _naming(path, workspace):
            yield partial
            _sync(partial)
        check(path)
        with _naming(path, workspace):
            os.replace(partial, path)
        _sync_folder(path.parent)


@contextlib.contextmanager
def whole_folder(path, check=refuse_existing):
    """A place to fill a folder that appears at `path` when it is whole, or not at all.

    What was there before is at the path until then, and is deleted afterwards. Where the system
    cannot exchange two folders in one step, there is a moment in between: after a kill in that
    moment `rescue` finds the one before, and the next to hold the path restores it.

    Args:
        path: The folder.
        check: Function of the path that raises unless what is there may be deleted. It is called
            before anything is made, and again before anything is replaced. By default nothing
            may be there.

    Yields:
        `pathlib.Path` of an empty folder to fill.

    Raises:
        BlockingIOError: If another thread or process is writing this folder.

    Example:

    >>> import pathlib, tempfile
    >>> from keras_ae.core import storage
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "results"
    >>> with storage.whole_folder(path) as partial:
    ...     _ = (partial / "a.txt").write_text("all of it")
    >>> [file.name for file in path.iterdir()]
    ['a.txt']
    """
    path = real(path)
    check(path)
    with exclusive(path) as workspace:
        check(path)
        new = workspace / "new"
        new.mkdir()
        yield new
        for folder, _, files in os.walk(new):
            for file in files:
                _sync(os.path.join(folder, file))
            _sync_folder(folder)
        check(path)
        _put(new, path, workspace / "old")
        _sync_folder(path.parent)


def rescue(path):
    """What was at a path from which a kill left it moved aside, or None."""
    path = real(path)
    old, new = _workspace(path) / "old", _workspace(path) / "new"
    return old if old.exists() and new.exists() and not os.path.lexists(path) else None


def remove_leftovers(folder):
    """Remove the workspaces in a folder whose processes have died, and no others."""
    for workspace in pathlib.Path(folder).glob(f".*{SUFFIX}"):
        # A name too long to be part of its workspace's is not known: that one stays.
        path = workspace.with_name(workspace.name[1 : -len(SUFFIX)])
        with contextlib.suppress(BlockingIOError, FileExistsError):
            with exclusive(path):
                pass


def real(path):
    """A path with every link above its last part followed, and no "." or ".." left.

    Raises:
        FileExistsError: If it is the root of the file system.
    """
    path = pathlib.Path(path)
    found = path.resolve() if path.name in ("", "..") else path.parent.resolve() / path.name
    if not found.name:
        raise FileExistsError(f"{found} is the root of the file system. Choose a path in it.")
    return found


# ---------------------------------------------------------------------- the workspace


def _workspace(path):
    name = path.name
    if len(os.fsencode(name)) > _LONGEST:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    return path.with_name(f".{name}{SUFFIX}")


def _acquire(workspace, path):
    """The locked descriptor of a workspace's owner file."""
    while True:
        try:
            workspace.mkdir()
            made = True
        except FileExistsError:
            made = False
        try:
            if not _may_be_ours(workspace):
                raise FileExistsError(_in_the_way(workspace))
            # No link is followed.
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
            lock = os.open(workspace / "owner", flags, 0o666)
        except FileNotFoundError:
            continue  # The one before has just removed its workspace.
        _held.add(lock)
        held = _lock(lock)
        if held is False or (held is None and not made):
            _close(lock)
            raise BlockingIOError(_who(workspace, path, certain=held is False))
        if not _same(lock, workspace / "owner"):
            _close(lock)
            continue  # The one before has removed the file: nobody else would see this lock.
        os.lseek(lock, 0, os.SEEK_SET)
        before = os.read(lock, len(_HEADER))
        if before != _HEADER and (before or os.listdir(workspace) != ["owner"]):
            _close(lock)
            raise FileExistsError(_in_the_way(workspace))
        text = _HEADER + f"{os.getpid()} {socket.gethostname()}\n".encode()
        try:
            os.lseek(lock, 0, os.SEEK_SET)
            os.write(lock, text)
            os.ftruncate(lock, len(text))  # Afterwards: empty, it would not be known as ours.
        except OSError:
            _release(workspace, lock)
            raise
        return lock


def _lock(lock):
    """True if the lock was got, False if another has it, None where there are no locks."""
    try:
        if fcntl:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            # Behind the text, for on Windows others cannot read what is locked.
            os.lseek(lock, 2**20, os.SEEK_SET)
            msvcrt.locking(lock, msvcrt.LK_NBLCK, 1)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # Some network file systems.
        return None
    return True


def _release(workspace, lock):
    if not fcntl:
        _close(lock)  # Windows removes no open file.
    with contextlib.suppress(OSError):
        if os.listdir(workspace) == ["owner"]:
            (workspace / "owner").unlink()
    if fcntl:
        _close(lock)
    with contextlib.suppress(OSError):  # It is somebody's again, or holds an only copy.
        workspace.rmdir()


_held = set()  # Descriptors of this process.


def _close(lock):
    _held.discard(lock)
    os.close(lock)


def _close_inherited():
    """A forked process, which may outlive the one that holds a path, does not hold it."""
    while _held:
        os.close(_held.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_inherited)


def _same(descriptor, path):
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False


def _who(workspace, path, certain):
    """The message of a path that is held."""
    process = host = None
    for _ in range(100):
        try:
            _, process, host = (workspace / "owner").read_text().split()
        except FileNotFoundError:
            pass  # It has ended by now.
        except ValueError:
            time.sleep(0.01)  # It has just got the lock, and not yet written who it is.
            continue
        break
    who = f"process {process} on {host}" if process else "another process"
    if (process, host) == (str(os.getpid()), socket.gethostname()):
        who = f"another thread of this process ({process})"
    if certain:
        return f"{path} is being written by {who}. Wait until it has ended, or use another path."
    return (
        f"{path} is being written by {who}, or was when that was killed; this file system has no "
        f"locks that would tell. If it has ended, remove {workspace}; or use another path."
    )


def _may_be_ours(workspace):
    """Whether nothing is in a folder of a workspace's name but what a workspace has."""
    if not stat.S_ISDIR(os.lstat(workspace).st_mode):
        return False
    names = set(os.listdir(workspace))
    if names and "owner" not in names or names - {"owner", "new", "old"}:
        return False
    return not names or stat.S_ISREG(os.lstat(workspace / "owner").st_mode)


def _in_the_way(workspace):
    return (
        f"{workspace} is in the way: it has the name of a folder in which keras_ae writes, and is "
        "something else. Move it away, or use another path."
    )


def _clean(workspace, path):
    """Remove what a workspace holds, but for the lock and for an only copy."""
    old, new = workspace / "old", workspace / "new"
    if old.exists() and new.exists():  # Killed between the two renames: `old` was at the path.
        if os.path.lexists(path):
            raise FileExistsError(
                f"{old} was at {path} when its replacement was killed, and now something else is. "
                "Move one of them away, or use another path."
            )
        os.rename(old, path)
    for left in (new, old):
        if os.path.lexists(left):
            shutil.rmtree(left)


# ---------------------------------------------------------------------- moving into place


def _put(new, path, old):
    """Move a folder to a path; what was there is at `new` or `old` afterwards."""
    if not os.path.lexists(path):
        os.rename(new, path)  # Fails if a folder has appeared, unless it is empty.
        return
    if _exchange(new, path):
        return
    os.rename(path, old)
    try:
        os.rename(new, path)
    except OSError:
        os.rename(old, path)
        raise


def _exchange(first, second):
    """Exchange two paths in one step; False where the system or its file system cannot."""
    if os.name != "posix":
        return False
    library = ctypes.CDLL(None, use_errno=True)
    first, second, swap = os.fsencode(first), os.fsencode(second), 2
    if hasattr(library, "renameat2"):  # Linux.
        here = -100  # Paths are absolute, or relative to the working directory.
        return library.renameat2(here, first, here, second, swap) == 0
    if hasattr(library, "renamex_np"):  # macOS.
        return library.renamex_np(first, second, swap) == 0
    return False


def _sync(file):
    """Bring a file's content to the disk, which may turn out to be full only now."""
    with open(file, "r+b") as opened:
        os.fsync(opened.fileno())


def _sync_folder(folder):
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            with contextlib.suppress(OSError):  # Not every file system can.
                os.fsync(descriptor)
        finally:
            os.close(descriptor)


def check_suffix(path, argument="save"):
    """Raise unless the name of a file for a whole model ends in the only way that is read."""
    if not str(path).endswith(".keras"):
        raise ValueError(
            f"{argument}: the name of {str(path)!r} must end in .keras: nothing loads a whole "
            "model from another file that Keras writes. For weights alone `save_weights`, or a "
            "ModelCheckpoint with save_weights_only=True, takes a name that ends in .weights.h5; "
            "`export` writes a SavedModel."
        )
