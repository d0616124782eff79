"""Scratch memory of the compiled kernels between calls."""

import threading

import pytest

from hybridlit.photonics.kernels.compiled import threads
from hybridlit.photonics.kernels.compiled.threads import scratch

LARGE = 2 * threads.KEPT_SCRATCH // 8
"""Numbers of 8 bytes that are more than what is kept in any case."""


def in_a_thread_of_its_own(function):
    """Run a function where nothing is kept yet, and return its result."""
    found = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]


@pytest.mark.parametrize(("parts", "kept"), [(2 * threads.KEPT_PART, True), (2, False)])
def test_large_memory_is_kept_where_there_is_plenty(parts, kept, monkeypatch):
    monkeypatch.setattr(threads, "available_memory", lambda: parts * LARGE * 8)

    def twice():
        (first, address), (second, _) = scratch(LARGE, 8), scratch(LARGE // 4, 8)
        assert address % 64 == 0 and len(first) >= 8 * LARGE
        return second is first

    assert in_a_thread_of_its_own(twice) is kept


def test_what_is_kept_outlives_what_is_too_large(monkeypatch):
    monkeypatch.setattr(threads, "available_memory", lambda: 0)

    def beside():
        small, _ = scratch(8, 8)
        large, _ = scratch(LARGE, 8)
        return scratch(8, 8)[0] is small and scratch(LARGE, 8)[0] is not large

    assert in_a_thread_of_its_own(beside)
