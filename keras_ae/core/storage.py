"""Files and folders that appear whole or not at all, each written by one process at a time.

A process that writes `model` works in a hidden folder next to it, the workspace:

.model.keras_ae/
  owner    the number and the machine of the process, which keeps this file locked while it lives
  new      what is being written; after an exchange, what was at the path before
  old      what was at the path before, where the system cannot exchange two paths in one step

The kernel releases the lock of a process that dies. The next process that gets the lock therefore
knows that what it finds in the workspace belongs to nobody, and removes it.
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
# File systems take names of 255 bytes, and the name of a workspace is a little longer than the
# path's.
_LONGEST = 240


@contextlib.contextmanager
def exclusive(path):
    """Hold a path, which no other thread or process can write in the meantime.

    Args:
        path: The file or folder, which need not exist. Folders above it are made. Its own folder
            must be writable.

    Yields:
        `pathlib.Path` of the workspace, a hidden folder next to the path with nothing but the lock.

    Raises:
        BlockingIOError: If another thread or process holds the path; the message says which.
        FileExistsError: If something else is at the workspace's path, or in the workspace.
        OSError: If the workspace cannot be made.

    Example:

    >>> import pathlib, tempfile
    >>> from keras_ae.core import storage
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "results"
    >>> with storage.exclusive(path):
    ...     path.mkdir()
    """
    path = real(path)
    workspace = _workspace(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = _acquire(workspace, path)
    except OSError as error:
        if error.errno is None:  # The messages of this package name the path already.
            raise
        # The folder of the path is a file.
        number = errno.ENOTDIR if error.errno == errno.EEXIST else error.errno
        raise OSError(number, os.strerror(number), str(path)) from error
    try:
        _clean(workspace, path)
        yield workspace
    finally:
        if lock in _held:  # A process that was forked in the meantime does not hold it.
            with contextlib.suppress(OSError):
                _clean(workspace, path)
            _release(workspace, lock)


def reserve(path, size):
    """Raise OSError unless a file of so many bytes fits at the path. No file is left there."""
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        with open(path, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        # Some file systems cannot reserve space, and this says nothing about how much there is.
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise
    finally:
        pathlib.Path(path).unlink(missing_ok=True)


@contextlib.contextmanager
def _name_path_in_errors(path, workspace):
    """Let errors of the system name the path, not the place in the workspace."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise OSError(f"{path} could not be written: {error}") from error
        # The error of a full disk has no file name, and others have one that the user never gave.
        if error.filename is None or str(workspace) in os.fsdecode(error.filename):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise OSError(error.errno, error.strerror, error.filename) from error


def refuse_existing(path):
    """Raise FileExistsError if anything is at the path, even a broken link."""
    if os.path.lexists(path):
        raise FileExistsError(f"{path} exists. Choose another path.")


@contextlib.contextmanager
def whole_file(path, check=lambda path: None):
    """A place to write a file that appears at `path` when it is whole, or not at all.

    Args:
        path: The file.
        check: Function of the path that raises unless the file there may be replaced, such as
            `refuse_existing`. It is called before anything is written, and again before anything
            is replaced. By default, any file may be replaced.

    Yields:
        `pathlib.Path` to write to, with the same file name.

    Raises:
        BlockingIOError: If another thread or process is writing this file.
        OSError: What the system raises during the writing, with the name of this file.

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
        with _name_path_in_errors(path, workspace):
            yield partial
            _sync(partial)
        check(path)
        with _name_path_in_errors(path, workspace):
            os.replace(partial, path)
        _sync_folder(path.parent)


@contextlib.contextmanager
def whole_folder(path, check=refuse_existing):
    """A place to fill a folder that appears at `path` when it is whole, or not at all.

    The folder that was there before stays at the path until then, and is deleted afterwards. Some
    systems cannot exchange two folders in one step; there, nothing is at the path for a moment.
    After a kill in this moment, `rescue` finds the old folder, and the next process that holds the
    path restores it.

    Args:
        path: The folder.
        check: Function of the path that raises unless the folder there may be deleted. It is called
            before anything is made, and again before anything is replaced. By default, it raises if
            anything is there.

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
    """Return where the old folder of a path is, if a kill left it moved aside, or None."""
    path = real(path)
    old, new = _workspace(path) / "old", _workspace(path) / "new"
    return old if old.exists() and new.exists() and not os.path.lexists(path) else None


def remove_leftovers(folder):
    """Remove the workspaces in a folder whose processes have died, and no others."""
    for workspace in pathlib.Path(folder).glob(f".*{SUFFIX}"):
        # The workspace of a very long name has a hash as its name. The path is not known then, and
        # the workspace stays.
        path = workspace.with_name(workspace.name[1 : -len(SUFFIX)])
        with contextlib.suppress(BlockingIOError, FileExistsError):
            with exclusive(path):
                pass


def real(path):
    """Return the path with all links above its last part followed, and without "." and "..".

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
    """Lock the owner file of a workspace, and return its descriptor."""
    while True:
        try:
            workspace.mkdir()
            made = True
        except FileExistsError:
            made = False
        try:
            if not _may_be_ours(workspace):
                raise FileExistsError(_describe_obstacle(workspace))
            # A link at this name could lead to any file, so no link is followed.
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
            lock = os.open(workspace / "owner", flags, 0o666)
        except FileNotFoundError:
            continue  # The process before has just removed the workspace.
        _held.add(lock)
        held = _lock(lock)
        if held is False or (held is None and not made):
            _close(lock)
            raise BlockingIOError(_describe_holder(workspace, path, certain=held is False))
        if not _same(lock, workspace / "owner"):
            _close(lock)
            continue  # The process before has removed the file, so nobody else would see this lock.
        os.lseek(lock, 0, os.SEEK_SET)
        before = os.read(lock, len(_HEADER))
        if before != _HEADER and (before or os.listdir(workspace) != ["owner"]):
            _close(lock)
            raise FileExistsError(_describe_obstacle(workspace))
        text = _HEADER + f"{os.getpid()} {socket.gethostname()}\n".encode()
        try:
            os.lseek(lock, 0, os.SEEK_SET)
            os.write(lock, text)
            os.ftruncate(lock, len(text))  # Not before: an empty file would not be known as ours.
        except OSError:
            _release(workspace, lock)
            raise
        return lock


def _lock(lock):
    """Return True if the file is locked now, False if another has the lock, None without locks."""
    try:
        if fcntl:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            # The lock lies behind the text, because on Windows others cannot read locked bytes.
            os.lseek(lock, 2**20, os.SEEK_SET)
            msvcrt.locking(lock, msvcrt.LK_NBLCK, 1)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # Some network file systems have no locks.
        return None
    return True


def _release(workspace, lock):
    if not fcntl:
        _close(lock)  # Windows does not remove an open file.
    with contextlib.suppress(OSError):
        if os.listdir(workspace) == ["owner"]:
            (workspace / "owner").unlink()
    if fcntl:
        _close(lock)
    # Removal fails if another process holds the workspace again, or if it has the only copy.
    with contextlib.suppress(OSError):
        workspace.rmdir()


_held = set()  # The descriptors of the locks that this process holds.


def _close(lock):
    _held.discard(lock)
    os.close(lock)


def _close_inherited():
    """Close the locks in a forked process, which may outlive the process that holds the paths."""
    while _held:
        os.close(_held.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_inherited)


def _same(descriptor, path):
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False


def _describe_holder(workspace, path, certain):
    """Return the message that says who holds a path."""
    process = host = None
    for _ in range(100):
        try:
            _, process, host = (workspace / "owner").read_text().split()
        except FileNotFoundError:
            pass  # The other process has ended in the meantime.
        except ValueError:
            time.sleep(0.01)  # The other process has the lock, and has not yet written its number.
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
    """Whether this is a folder in which nothing is but what a workspace has."""
    if not stat.S_ISDIR(os.lstat(workspace).st_mode):
        return False
    names = set(os.listdir(workspace))
    if names and "owner" not in names or names - {"owner", "new", "old"}:
        return False
    return not names or stat.S_ISREG(os.lstat(workspace / "owner").st_mode)


def _describe_obstacle(workspace):
    """Return the message about a path that is not a workspace, but has the name of one."""
    return (
        f"{workspace} is in the way: it has the name of a folder in which keras_ae writes, and is "
        "something else. Move it away, or use another path."
    )


def _clean(workspace, path):
    """Remove what a workspace holds, except for the lock; put an old folder back if need be."""
    old, new = workspace / "old", workspace / "new"
    # If both exist, a kill came between the two renames, and `old` was at the path.
    if old.exists() and new.exists():
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
    """Move a folder to a path; what was at the path is at `new` or `old` afterwards."""
    if not os.path.lexists(path):
        os.rename(new, path)  # This fails if a folder has appeared there, unless it is empty.
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
    """Exchange two paths in one step; return False if the system or file system cannot."""
    if os.name != "posix":
        return False
    library = ctypes.CDLL(None, use_errno=True)
    first, second, swap = os.fsencode(first), os.fsencode(second), 2
    if hasattr(library, "renameat2"):  # Linux.
        here = -100  # AT_FDCWD: relative paths are relative to the working directory.
        return library.renameat2(here, first, here, second, swap) == 0
    if hasattr(library, "renamex_np"):  # macOS.
        return library.renamex_np(first, second, swap) == 0
    return False


def _sync(file):
    """Write a file's content to the disk now; only then does a full disk raise its error."""
    with open(file, "r+b") as opened:
        os.fsync(opened.fileno())


def _sync_folder(folder):
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            with contextlib.suppress(OSError):  # Not every file system can sync a folder.
                os.fsync(descriptor)
        finally:
            os.close(descriptor)


def check_path(path, call):
    """Raise unless a path is text or a path object, and may be the name of a file.

    Args:
        path: What the user passed.
        call: Name of the called function in errors.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(
            f"{call}: the path must be text or a pathlib.Path, and not a {type(path).__name__}."
        )
    text = os.fspath(path)
    if not text or "\0" in text:
        what = "contains a zero byte" if text else "is empty"
        raise ValueError(f"{call}: the path {text!r} {what}. Choose another path.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(
            f"{call}: the path {text!r} contains characters that UTF-8 cannot encode. Choose "
            "another path."
        ) from None


def refuse_home_sign(path, argument):
    """Raise if a path begins with a ~ that stands for a home folder.

    Args:
        path: Text or a path object.
        argument: What errors name before the path.
    """
    home = os.path.expanduser(path)
    if home != os.fspath(path):
        raise ValueError(
            f"{argument}: {os.fspath(path)!r} begins with ~, which a shell replaces by the home "
            f"folder but Python does not. Pass {home!r}."
        )


def check_suffix(path, argument="save"):
    """Raise unless a file for a whole model has a name that can be loaded: it ends in .keras."""
    if not str(path).endswith(".keras"):
        raise ValueError(
            f"{argument}: the name of {str(path)!r} must end in .keras: nothing loads a whole "
            "model from another file that Keras writes. For weights alone `save_weights`, or a "
            "ModelCheckpoint with save_weights_only=True, takes a name that ends in .weights.h5; "
            "`export` writes a SavedModel."
        )
