"""Checkpoint files that survive a kill, a full disk and a flipped bit, or are known not to have.

A file is written beside its final place, brought to the disk, read back and only then put in place
by an atomic rename: whoever kills the process, under the final name stands either the old file or
the new one. The file is an ordinary Lightning checkpoint. Its checksum is in the comment that ends
every zip archive, and torch's files are zip archives: no second file can be missing or stale.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import struct
import sys
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
from typing_extensions import Self

from hybridlit.atomic_write import UNFINISHED, atomic_write

try:
    import fcntl
except ImportError:  # Windows, where a file in use cannot be removed anyway
    fcntl = None  # type: ignore[assignment]

__all__ = ["damage", "noted_step", "remove_leftovers", "save_durably"]

_NOTE = re.compile(rb"hybridlit sha256 ([0-9a-f]{64}) step (0|-?[1-9]\d*)\Z")
_BLOCK = 1 << 20


def save_durably(content: Any, path: str | os.PathLike[str]) -> None:
    """Write a file with `torch.save` so that no interruption destroys what stood there before.

    Args:
        content: What to save; the checksum's note keeps the `"global_step"` of a dictionary.
        path: Where to save it; missing folders are made.

    Raises:
        OSError: If the file cannot be written, or reads back differently. What stood at `path`
            before stands there still.
    """
    path = Path(path)
    step = content.get("global_step", -1) if isinstance(content, dict) else -1
    try:
        with atomic_write(path, synced=True) as unfinished:
            with _Writer(unfinished) as writer:
                outside = sys.exc_info()[1]
                try:
                    torch.save(content, writer)  # type: ignore[arg-type]  # needs write and flush
                except RuntimeError as error:
                    before = error.__context__  # as of a signal that came on the way into `write`
                    raise (
                        writer.failure or (before if before is not outside else None) or error
                    ) from None
                writer.finish(step)
            fault = damage(unfinished)
            if fault is not None:
                raise OSError(f"what was written does not read back: {fault}")
    except OSError as error:
        kept = "; the file from before is untouched" if os.path.exists(path) else ""
        reason = f"cannot save {path}: {error.strerror or error}{kept}"
        raise OSError(error.errno or errno.EIO, reason) from error


def damage(path: str | os.PathLike[str]) -> str | None:
    """Say what is wrong with a checkpoint file, without unpickling anything.

    Returns:
        None if it is as it was written; else what is wrong with it. Files without our checksum are
        checked by those that zip archives have for their members (CRC-32), which `torch.load` does
        not look at.
    """
    path = Path(path)
    try:
        if path.stat().st_size == 0:
            return "the file is empty"
        note = _note(path)
        if note is not None:
            return None if _digest(path, note) == note.digest else "its checksum differs"
        with zipfile.ZipFile(path) as archive:
            if archive.comment:
                return "its checksum is damaged"
            member = archive.testzip()
            return None if member is None else f"the checksum of its member {member} differs"
    except zipfile.BadZipFile as error:
        return f"the file is truncated or no checkpoint ({error})"
    except (OSError, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        return f"the file cannot be read ({error})"


def noted_step(path: str | os.PathLike[str]) -> int | None:
    """Return which step a file is of: -1 for content that has none; None without our checksum."""
    note = _note(Path(path))
    return None if note is None else note.step


def remove_leftovers(folder: str | os.PathLike[str]) -> None:
    """Remove the unfinished files of processes that were killed while they were saving.

    What another living process is writing stays.
    """
    for path in Path(folder).glob(f".*{UNFINISHED}"):
        with contextlib.suppress(OSError), path.open("rb") as file:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


class _Writer:
    """A new file that hashes what is written to it; locked, so that it is known to be in use.

    After a failure, and after the end, what torch still writes is passed over: torch ends its
    archive in any case, reports an error of its own in place of the failure, and aborts the process
    if an error meets it when its writer is deleted.
    """

    def __init__(self, path: Path) -> None:
        self.failure: BaseException | None = None
        self._file = path.open("xb")
        self._hash = hashlib.sha256()
        self._held = b""  # the last two bytes: the length of the comment, which will change
        if fcntl is not None:
            with contextlib.suppress(OSError):  # some network file systems have no locks
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def write(self, data: Any) -> int:
        if self.failure is None and not self._file.closed:
            try:
                self._add(memoryview(data).cast("B"))
            except BaseException as failure:
                self.failure = failure
                raise
        return len(data)

    def _add(self, view: memoryview) -> None:
        if len(view) < 2:
            view = memoryview(self._held + bytes(view))
            self._held = b""
        for block in (self._held, view[:-2]):
            self._hash.update(block)
            self._file.write(block)
        self._held = bytes(view[-2:])

    def flush(self) -> None:
        self._file.flush()

    def finish(self, step: int) -> None:
        """Write the checksum and bring everything to the disk."""
        if self._held != b"\0\0":
            raise OSError("torch.save did not end in a zip archive without a comment")
        self._hash.update(str(step).encode())
        note = f"hybridlit sha256 {self._hash.hexdigest()} step {step}".encode()
        self._file.write(struct.pack("<H", len(note)) + note)
        self._file.flush()
        os.fsync(self._file.fileno())
        if hasattr(os, "posix_fadvise"):  # so that reading back reads the disk where it can
            os.posix_fadvise(self._file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


class _Note(NamedTuple):
    digest: str
    step: int
    start: int


def _note(path: Path) -> _Note | None:
    """Read the comment at the end of a file; None if it is not ours, or not as it was written."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 200))
        end = file.read()
    match = _NOTE.search(end)
    if match is None or end[: match.start()][-2:] != struct.pack("<H", len(match[0])):
        return None
    return _Note(match[1].decode(), int(match[2]), size - len(match[0]))


def _digest(path: Path, note: _Note) -> str:
    """Hash what the checksum covers: everything before the comment and its length, and the step."""
    digest = hashlib.sha256()
    left = note.start - 2
    with path.open("rb") as file:
        while left > 0 and (block := file.read(min(left, _BLOCK))):
            digest.update(block)
            left -= len(block)
    digest.update(str(note.step).encode())
    return digest.hexdigest()
