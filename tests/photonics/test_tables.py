"""Tests of constant tables on a device."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from hybridlit.photonics import tables
from hybridlit.photonics.tables import of_modes, on_device

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    monkeypatch.setattr(tables, "_kept", type(tables._kept)())


def test_what_a_step_needs_is_kept_while_others_come_and_go():
    """A table made first is not the first to go: a recorded step could not make it again."""
    made = []

    def make():
        made.append(1)
        return [np.arange(3)]

    for other in range(tables._MOST + 2):
        on_device(("used", 3), make, CPU)
        on_device(("other", other), lambda: [np.arange(1)], CPU)
    assert len(made) == 1
    assert len(tables._kept) == tables._MOST


def test_what_nobody_asks_for_goes():
    first = on_device(("other", -1), lambda: [np.arange(1)], CPU)[0]
    for other in range(tables._MOST):
        on_device(("other", other), lambda: [np.arange(1)], CPU)
    assert on_device(("other", -1), lambda: [np.arange(1)], CPU)[0] is not first


def test_columns_are_those_of_the_modes():
    columns = torch.arange(8.0).view(2, 4)
    assert of_modes(columns, [3, 1]).tolist() == [[3.0, 1.0], [7.0, 5.0]]
    assert of_modes(columns, range(4)) is columns


def test_threads_that_ask_at_once_have_one_table(monkeypatch):
    """Made once, while tables of all of them come and go."""
    monkeypatch.setattr(tables, "_MOST", 4)
    made, start = [], threading.Barrier(4)

    def make():
        made.append(1)
        time.sleep(0.02)  # the others ask meanwhile
        return [np.arange(3)]

    def ask(thread):
        start.wait()
        found = on_device(("slow", 3), make, CPU)[0]
        start.wait()
        for turn in range(1, 200):
            on_device(("other", turn * thread % 7), lambda: [np.arange(1)], CPU)
        return found

    with ThreadPoolExecutor(4) as pool:
        first, *others = pool.map(ask, range(1, 5))
    assert len(made) == 1 and all(other is first for other in others)
    assert len(tables._kept) == 4
