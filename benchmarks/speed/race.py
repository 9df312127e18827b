"""Let contenders take turns; each is a process of its own, started once and warmed up.

Because they take turns, a machine whose speed drifts treats all of them alike. The report has each
contender's median over the rounds, and the median of the first contender's ratios to it, each ratio
within one round.
"""

import argparse
import contextlib
import importlib.util
import os
import statistics
import subprocess
import sys

ROUNDS = 5


def main(parser, contenders, describe, applies=lambda name, arguments: True, usual=None):
    """Parse the command line, then run the race, or be one of its contenders.

    Args:
        parser: `argparse.ArgumentParser` with the script's own options.
        contenders: Name -> (package that the contender needs, function of the parsed options). The
            function returns another, which does the work of one round and returns how much work it
            did per second. A name that ends in "_jax" or "_torch" runs on that backend of Keras.
        describe: Function of the parsed options that returns the first line to print.
        applies: Function of a name and the parsed options that says whether the contender can do
            what the options ask.
        usual: Names of the contenders that race unless others are given. Defaults to all.
    """
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument(
        "--contenders", nargs="+", choices=contenders, default=usual or list(contenders)
    )
    parser.add_argument("--worker", choices=contenders, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        _work(contenders[arguments.worker][1], arguments)
        return
    here = [
        name
        for name in arguments.contenders
        if importlib.util.find_spec(contenders[name][0]) and applies(name, arguments)
    ]
    for missing in sorted(set(arguments.contenders) - set(here)):
        print(f"{missing}: not installed, or cannot do this")
    _report(_race(here, arguments.rounds), describe(arguments), arguments.rounds)


def _work(contender, arguments):
    """Answer every line of standard input with the speed of one round."""
    answers = os.fdopen(os.dup(1), "w")
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
        one_round = contender(arguments)
        for _ in range(2):
            one_round()
        answers.write("ready\n")
        answers.flush()
        for _ in sys.stdin:
            answers.write(f"{one_round()}\n")
            answers.flush()


def _start(name):
    suffix = name.rpartition("_")[2]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment["KERAS_BACKEND"] = suffix if suffix in ("jax", "torch") else "tensorflow"
    command = [sys.executable, *sys.orig_argv[1:], "--worker", name]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
    )
    if process.stdout.readline().strip() != "ready":
        raise SystemExit(f"{name} did not start; run: {' '.join(command)}")
    return process


def _race(names, rounds):
    """Return name -> list of the contender's speeds, one per round."""
    with contextlib.ExitStack() as stack:
        processes = {}
        for name in names:
            processes[name] = _start(name)
            stack.callback(processes[name].terminate)
        rates = {name: [] for name in names}
        for _ in range(rounds):
            for name, process in processes.items():
                process.stdin.write("go\n")
                process.stdin.flush()
                rates[name].append(float(process.stdout.readline()))
    return rates


def _report(rates, description, rounds):
    first = next(iter(rates))
    print(f"{description}; {rounds} rounds, {os.cpu_count()} cores")
    print(f"{'':16} per second (min-max)      {first} is ... times as fast")
    for name, values in rates.items():
        ratios = [a / b for a, b in zip(rates[first], values, strict=True)]
        print(
            f"{name:16} {statistics.median(values):9,.0f} ({min(values):,.0f}-{max(values):,.0f})"
            f"   {statistics.median(ratios):.2f}"
        )
