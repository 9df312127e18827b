"""Several processes that train one model: started here, or by a cluster on many machines."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from keras_ae.core import backend

LOOPBACK = "127.0.0.1"
_LAUNCHED = "KERAS_AE_LAUNCHED"
# Has the kernel kill this process with its parent, if that is still there, and becomes the command.
_TIED = """import ctypes, os, signal, sys
PR_SET_PDEATHSIG = 1
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
if os.getppid() == int(sys.argv[1]):
    os.execvp(sys.argv[2], sys.argv[2:])
"""


def count():
    """How many processes this one was started to train with, itself included."""
    return backend.worker_count()


def join():
    """Enter the training that this process was started for, before anything is computed.

    Returns:
        index: Number of this worker; 0 writes what they all have learned.
        scope: Function without arguments: the context in which a model is made and trained.
    """
    if _LAUNCHED in os.environ:
        threading.Thread(target=_end_with_launcher, daemon=True).start()
    return backend.join_workers() if count() > 1 else (0, contextlib.nullcontext)


def _end_with_launcher():
    """End this process when the one that launched it has ended, in whatever way that did."""
    while os.read(0, 1):  # Nothing is ever written: it returns when the other end is closed.
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def launch(command, number):
    """Run a command in several processes on this machine, each told which worker it is.

    The first one's output is this process' own. If one of them ends in any way but well, the
    others, which would wait for it, are killed. All of them end when this process does, however
    it is killed: Linux sees to that, and elsewhere the standard input of each is a pipe from here,
    whose end `join` waits for.

    Args:
        command: List of strings, of a program that calls `join`.
        number: How many processes, at least 2.

    Raises:
        RuntimeError: If one was killed or ended with another status than 0.
    """
    addresses = [f"{LOOPBACK}:{port}" for port in _free_ports(number)]
    if sys.platform == "linux":
        command = [sys.executable, "-I", "-c", _TIED, str(os.getpid()), *command]
    with contextlib.ExitStack() as stack:
        errors = [None, *(stack.enter_context(tempfile.TemporaryFile()) for _ in range(1, number))]
        processes = []
        stack.callback(_kill, processes)
        for index in range(number):
            processes.append(
                subprocess.Popen(
                    command,
                    env={
                        **os.environ,
                        **backend.worker_environment(addresses, index),
                        _LAUNCHED: "1",
                    },
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL if index else None,
                    stderr=errors[index],
                )
            )
        statuses = [None] * number
        while None in statuses:
            time.sleep(0.05)
            statuses = [process.poll() for process in processes]
            for index, status in enumerate(statuses):
                if status not in (None, 0):
                    raise RuntimeError(
                        f"worker {index} of {number} {_end(status, errors[index])} The others were "
                        "stopped."
                    )


def _free_ports(number):
    """Ports that nobody listens on, held until the last one is known, so that they differ."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(number)]
        for probe in probes:
            probe.bind((LOOPBACK, 0))
        return [probe.getsockname()[1] for probe in probes]


def _end(status, errors):
    """How a process ended, and the last line that it wrote of it."""
    how = f"was killed by signal {-status}." if status < 0 else f"ended with status {status}."
    if errors is None:
        return how
    errors.seek(0)
    lines = errors.read().decode(errors="replace").split("\n")
    said = [line for line in lines if line.strip()][-1:]
    return " ".join([how, *said])


def _kill(processes):
    for process in processes:
        process.kill()
        process.wait()
        process.stdin.close()
