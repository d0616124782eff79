"""What tests call in other processes, which must import it."""

import os
import signal
import sys
import threading
import time

import numpy as np
import torch

from hybridlit.workers import QUIET, run_jobs


class Secretive(Exception):
    """Cannot be read again: its constructor wants more than its text."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def drawn(seed, rows):
    """Return numbers that depend on the seed, on threads by rounding, and on the default dtype.

    Behind them are the number of threads, and whether another process has said why it takes long.
    """
    torch.manual_seed(seed)
    matrix = torch.randn(rows, 64)
    array = np.random.default_rng(seed).normal(size=(300, 300))
    return matrix @ matrix.T, array @ array, torch.get_num_threads(), QUIET in os.environ


def fails(number):
    """Fail, with an error of its own kind for a negative number."""
    if number < 0:
        raise Secretive("one", "two")
    raise ValueError(f"number must be another one, got {number}")


def killed_afterwards(seconds):
    """Return; the process is killed a little later, while nothing is asked of it."""
    threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL)).start()


def killed(number):
    """Be killed, as a process is when memory is short."""
    os.kill(os.getpid(), signal.SIGKILL)


def process(path):
    """Leave the number of the process in a file, and take long."""
    with open(path, "w") as file:
        file.write(str(os.getpid()))
    time.sleep(60)


if __name__ == "__main__":
    run_jobs(process, [(path,) for path in sys.argv[1:]], len(sys.argv) - 1)
