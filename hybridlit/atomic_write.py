"""Files that are written as a whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

__all__ = ["UNFINISHED", "atomic_write"]

UNFINISHED = ".unfinished"
"""Ends the names of files that are being written, which a killed process may leave."""


@contextlib.contextmanager
def atomic_write(path: Path, synced: bool = False) -> Iterator[Path]:
    """Give the name of a file to write, which takes its place at `path` once it is on the disk.

    Whoever kills the process, at `path` is either what was there before or the whole new file.
    After an error the unfinished file is removed. Missing folders are made. Who writes a file that
    is `synced` has brought it to the disk already.
    """
    unfinished = path.with_name(f".{path.name}.{uuid4().hex[:8]}{UNFINISHED}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield unfinished
        if not synced:
            with unfinished.open("r+b") as file:
                os.fsync(file.fileno())
        os.replace(unfinished, path)
    except BaseException:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Bring the rename to the disk where a folder can be opened; the file is whole in any case."""
    if os.name != "nt":
        with contextlib.suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
