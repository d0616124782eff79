"""Calls in several processes: the numbers of one, and errors that are told."""

import os
import signal
import subprocess
import sys
import time
from functools import partial

import numpy as np
import psutil
import pytest
import torch
import worker_calls

from hybridlit.workers import QUIET, run_jobs


@pytest.mark.slow
def test_the_same_numbers_in_one_process_and_in_two(monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "7")
    monkeypatch.delenv(QUIET, raising=False)
    torch.set_default_dtype(torch.float64)
    threads = torch.get_num_threads()
    try:
        here, there = [], []
        call, seeds = partial(worker_calls.drawn, rows=300), [(seed,) for seed in range(3)]
        one = run_jobs(call, seeds, 1, lambda *done: here.append(done))
        two = run_jobs(call, seeds, 2, lambda *done: there.append(done))
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.get_num_threads() == threads and os.environ["OPENBLAS_NUM_THREADS"] == "7"
    for (ours, array, *_), (theirs, other, *_) in zip(one, two, strict=True):
        assert theirs.dtype == torch.float64 and torch.equal(ours, theirs)
        assert np.array_equal(array, other)
    assert {count for *_, count, _ in [*one, *two]} == {1}
    assert {quiet for *_, quiet in one} == {False} and {quiet for *_, quiet in two} == {False, True}
    assert [index for index, _ in here] == [0, 1, 2] == sorted(index for index, _ in there)
    assert all(result is two[index] for index, result in there)


def test_no_calls_and_no_number_of_processes():
    assert run_jobs(worker_calls.fails, [], 2) == []
    with pytest.raises(ValueError, match="jobs must be at least 1, got 0"):
        run_jobs(worker_calls.fails, [(1,)], 0)


def test_what_cannot_be_sent_is_told_before_a_process_starts():
    with pytest.raises(TypeError, match="by their name in a module, or jobs=1"):
        run_jobs(lambda: 1, [()], 2)


def test_an_error_is_raised_here_with_its_traceback():
    with pytest.raises(ValueError, match="number must be another one, got 3") as caught:
        run_jobs(worker_calls.fails, [(3,)], 2)
    assert "worker_calls.py" in str(caught.value.__cause__)


@pytest.mark.slow
def test_an_error_that_cannot_be_sent_is_told_by_its_text():
    with pytest.raises(RuntimeError, match="Secretive: one and two"):
        run_jobs(worker_calls.fails, [(-1,), (-1,)], 2)


@pytest.mark.slow
def test_a_killed_process_ends_all():
    with pytest.raises(RuntimeError, match=r"process of \(3,\) was killed by SIGKILL; if memory"):
        run_jobs(worker_calls.killed, [(3,)], 2)


@pytest.mark.slow
def test_a_process_that_is_killed_while_idle_is_told_as_well():
    with pytest.raises(RuntimeError, match=r"process of \(0.2,\) was killed by SIGKILL"):
        calls = [(0.1,), (0.1,), (0.2,)]
        run_jobs(worker_calls.killed_afterwards, calls, 2, lambda *done: time.sleep(1))


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_the_first(how, tmp_path):
    """Ctrl-C reaches all processes of a terminal at once; what is killed can tell nobody."""
    files = [tmp_path / "one", tmp_path / "two"]
    first = subprocess.Popen(
        [sys.executable, worker_calls.__file__, *map(str, files)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 300  # to start is slow where much else runs
    while not all(file.exists() and file.read_text() for file in files):
        assert time.monotonic() < deadline and first.poll() is None
        time.sleep(0.1)
    others = [psutil.Process(int(file.read_text())) for file in files]
    start = time.monotonic()
    if how is signal.SIGINT:
        os.killpg(first.pid, how)
        _, shown = first.communicate(timeout=300)
        assert time.monotonic() - start < 60 and shown.count("KeyboardInterrupt") == 1
        assert not any(other.is_running() for other in others)
    else:
        first.kill()
        first.wait()
        _, alive = psutil.wait_procs(others, timeout=300)
        assert not alive
