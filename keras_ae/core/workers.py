"""Several processes that train one model, started here or by a cluster on many machines."""

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
# This program asks the kernel to kill it when its parent ends. If the parent still lives, it then
# becomes the command.
_TIED = """import ctypes, os, signal, sys
PR_SET_PDEATHSIG = 1
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
if os.getppid() == int(sys.argv[1]):
    os.execvp(sys.argv[2], sys.argv[2:])
"""


def count():
    """Return the number of processes that train together, this one included."""
    return backend.worker_count()


def join():
    """Join the other processes of the training, before anything is computed.

    Returns:
        index: Number of this worker. Worker 0 writes the results.
        scope: Function without arguments that returns the context in which to make and train a
            model.
    """
    if _LAUNCHED in os.environ:
        threading.Thread(target=_end_with_launcher, daemon=True).start()
    return backend.join_workers() if count() > 1 else (0, contextlib.nullcontext)


def _end_with_launcher():
    """End this process when the one that launched it has ended, for whatever reason."""
    while os.read(0, 1):  # Nobody writes to this pipe, so `read` returns when it is closed.
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def launch(command, number):
    """Run a command in several processes on this machine, and tell each which worker it is.

    The first one prints to this process' output. If one of them fails, the others are killed,
    because they would wait for it. All of them end when this process ends, however it is killed. On
    Linux the kernel sees to that. On other systems the standard input of each is a pipe from this
    process, and `join` waits for the pipe to be closed.

    Args:
        command: List of strings, the command of a program that calls `join`.
        number: Number of processes, at least 2.

    Raises:
        RuntimeError: If one was killed, or ended with a status other than 0.
    """
    addresses = [f"{LOOPBACK}:{port}" for port in _free_ports(number)]
    command = tie_to_this_process(command)
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


def tie_to_this_process(command):
    """Return a command that does the same, and on Linux is killed when this process ends."""
    if sys.platform != "linux":
        return command
    return [sys.executable, "-I", "-c", _TIED, str(os.getpid()), *command]


def _free_ports(number):
    """Return ports that nobody listens on; all are held until the last is found, so they differ."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(number)]
        for probe in probes:
            probe.bind((LOOPBACK, 0))
        return [probe.getsockname()[1] for probe in probes]


def _end(status, errors):
    """Return how a process ended, and the last line that it wrote to its standard error."""
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
