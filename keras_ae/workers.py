"""Several processes that train one model: started here, or by a cluster on many machines."""

import contextlib
import os
import socket
import subprocess
import tempfile
import time

from keras_ae import backend

LOOPBACK = "127.0.0.1"


def count():
    """How many processes this one was started to train with, itself included."""
    return backend.worker_count()


def join():
    """Enter the training that this process was started for, before anything is computed.

    Returns:
        index: Number of this worker; 0 writes what they all have learned.
        scope: Function without arguments: the context in which a model is made and trained.
    """
    return backend.join_workers() if count() > 1 else (0, contextlib.nullcontext)


def launch(command, number):
    """Run a command in several processes on this machine, each told which worker it is.

    The first one's output is this process' own. If one of them ends in any way but well, the
    others, which would wait for it, are killed.

    Args:
        command: List of strings.
        number: How many processes, at least 2.

    Raises:
        RuntimeError: If one was killed or ended with another status than 0.
    """
    addresses = [f"{LOOPBACK}:{port}" for port in _free_ports(number)]
    with contextlib.ExitStack() as stack:
        errors = [None, *(stack.enter_context(tempfile.TemporaryFile()) for _ in range(1, number))]
        processes = []
        stack.callback(_kill, processes)
        for index in range(number):
            processes.append(
                subprocess.Popen(
                    command,
                    env={**os.environ, **backend.worker_environment(addresses, index)},
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
