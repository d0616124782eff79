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
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.fabric.utilities.types import _PATH
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from typing_extensions import Self

try:
    import fcntl
except ImportError:  # Windows, where a file in use cannot be removed anyway
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "DurableCheckpointIO",
    "damage",
    "later_checkpoints",
    "newest_checkpoint",
    "remove_leftovers",
    "save_durably",
    "undamaged",
]

_UNFINISHED = ".unfinished"
_NOTE = re.compile(rb"hybridlit sha256 ([0-9a-f]{64}) step (0|-?[1-9]\d*)\Z")
_FOLDER = re.compile(r"checkpoints(-\d+)?")
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
    unfinished = path.with_name(f".{path.name}.{uuid4().hex[:8]}{_UNFINISHED}")
    step = content.get("global_step", -1) if isinstance(content, dict) else -1
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _Writer(unfinished) as writer:
            try:
                torch.save(content, writer)  # type: ignore[arg-type]  # it needs write and flush
            except RuntimeError as error:
                raise writer.failure or error from None
            writer.finish(step)
        fault = damage(unfinished)
        if fault is not None:
            raise OSError(f"what was written does not read back: {fault}")
        os.replace(unfinished, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        kept = "; the file from before is untouched" if os.path.exists(path) else ""
        reason = f"cannot save {path}: {error.strerror or error}{kept}"
        raise OSError(error.errno or errno.EIO, reason) from error
    except BaseException:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise
    _sync_folder(path.parent)


def damage(path: str | os.PathLike[str]) -> str | None:
    """Say what is wrong with a checkpoint file, without unpickling anything.

    Args:
        path: The file.

    Returns:
        None if the file is as it was written; else what is wrong with it. Files without our
        checksum are checked by the checksums (CRC-32) that zip archives have for their members,
        which `torch.load` does not look at.
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


def newest_checkpoint(folder: str | os.PathLike[str]) -> Path:
    """Find the checkpoint that a run is to be resumed from.

    Args:
        folder: The folder of the checkpoints, or that of a run, with them in `checkpoints/`, or in
            `checkpoints-1/` and so on: then in the one that was written to last.

    Returns:
        The undamaged `*.ckpt` file with the largest global step; of several the one written last,
        but `interrupted.ckpt` only if there is no other. A warning names newer ones that are
        damaged.

    Raises:
        FileNotFoundError: If there is no undamaged checkpoint.

    Example:
        ```
        trainer.fit(model, data, ckpt_path=newest_checkpoint("runs/digits/version_3"))
        ```
    """
    path, faults = _newest(Path(folder))
    if faults:
        rank_zero_warn(f"{_listed(faults)} Using {path} instead.")
    return path


def later_checkpoints(folder: str | os.PathLike[str], step: int) -> list[Path]:
    """Find the undamaged checkpoints of a folder that are of later steps.

    Args:
        folder: The folder of the checkpoints; it need not exist.
        step: The global step.

    Returns:
        The `*.ckpt` files with a larger global step, by name.
    """
    found = sorted(Path(folder).glob("*.ckpt"))
    return [path for path in found if _age(path).step > step and damage(path) is None]


def undamaged(path: str | os.PathLike[str], fall_back: bool) -> Path:
    """Return a checkpoint file if it is undamaged, or else one that can take its place.

    Args:
        path: The file.
        fall_back: If it is damaged, take the newest undamaged one of its folder, with a warning
            that names both; False: raise.

    Returns:
        The file to load.

    Raises:
        RuntimeError: If it is damaged and no other one is to be used, or there is none.
    """
    path = Path(path)
    fault = damage(path)
    if fault is None:
        if _note(path) is None:
            rank_zero_info(f"{path} has no checksum of hybridlit; its archive is intact.")
        return path
    if not fall_back:
        raise RuntimeError(f"the checkpoint {path} is damaged: {fault}")
    try:
        other, _ = _newest(path.parent)
    except FileNotFoundError as error:
        raise RuntimeError(
            f"the checkpoint {path} is damaged: {fault}; and {error} Start anew, without "
            "ckpt_path, or give another checkpoint"
        ) from error
    rank_zero_warn(f"The checkpoint {path} is damaged: {fault}. Resuming from {other} instead.")
    return other


def remove_leftovers(folder: str | os.PathLike[str]) -> None:
    """Remove the unfinished files of processes that were killed while they were saving.

    Args:
        folder: The folder of the checkpoints; what another living process is writing stays.
    """
    for path in Path(folder).glob(f".*{_UNFINISHED}"):
        try:
            with path.open("rb") as file:
                if fcntl is not None:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
        except OSError:
            continue


class DurableCheckpointIO(TorchCheckpointIO):
    """Makes `Trainer.save_checkpoint` durable and `ckpt_path` safe against damaged files.

    `HybridCheckpoint` puts it in place; `Trainer(plugins=[DurableCheckpointIO()])` does for any
    other checkpoint callback. Remote paths are left to Lightning.

    Args:
        fall_back: Load the newest undamaged checkpoint of the folder if the one asked for is
            damaged, with a warning that names both; False: raise. To be true in `Trainer.fit` only.
    """

    def __init__(self, fall_back: bool = True) -> None:
        super().__init__()
        self.fall_back = fall_back

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: _PATH, storage_options: Any | None = None
    ) -> None:
        """Save a checkpoint; see `save_durably`."""
        if _is_remote(path) or storage_options is not None:
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        save_durably(checkpoint, path)

    def load_checkpoint(
        self,
        path: _PATH,
        map_location: Callable[..., Any] | None = lambda storage, location: storage,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Load a checkpoint after a look at its checksum.

        Raises:
            FileNotFoundError: If there is no such file.
            RuntimeError: If it is damaged and no other one is to be used.
        """
        if not _is_remote(path) and Path(path).is_file():
            path = undamaged(path, self.fall_back)
        loaded: dict[str, Any] = super().load_checkpoint(path, map_location, weights_only)
        return loaded


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
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                pass  # some network file systems have no locks

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
    """What the comment of a file of ours says."""

    digest: str
    step: int
    start: int


class _Age(NamedTuple):
    """What makes one checkpoint newer than another, in this order."""

    step: int
    whole: bool  # not what an interruption left
    written: int


def _newest(folder: Path) -> tuple[Path, dict[Path, str]]:
    """Return the newest undamaged checkpoint, and what is wrong with the newer ones."""
    if not any(folder.glob("*.ckpt")):
        inside = [
            path
            for path in folder.glob("checkpoints*/*.ckpt")
            if _FOLDER.fullmatch(path.parent.name)
        ]
        folder = max(inside, key=_modified).parent if inside else folder
    faults: dict[Path, str] = {}
    for path in sorted(folder.glob("*.ckpt"), key=_age, reverse=True):
        fault = damage(path)
        if fault is None and _age(path).step >= 0:
            return path, faults
        faults[path] = fault or "it has no global step"
    if faults:
        raise FileNotFoundError(f"no checkpoint in {folder} can be used: {_listed(faults)}")
    raise FileNotFoundError(
        f"there is no checkpoint (*.ckpt) in {folder}, nor in a folder checkpoints/ there."
    )


def _age(path: Path) -> _Age:
    """Order checkpoints by global step, then by time; -1 where the step cannot be read."""
    whole, written = path.name != "interrupted.ckpt", _modified(path)
    try:
        note = _note(path)
        if note is not None:
            return _Age(note.step, whole, written)
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        return _Age(int(content["global_step"]), whole, written)
    except Exception:  # whatever a damaged file makes torch.load say; or rotated away meanwhile
        return _Age(-1, whole, written)


def _modified(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:  # rotated away meanwhile
        return 0


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


def _sync_folder(folder: Path) -> None:
    """Bring the rename to the disk, on systems where folders can be opened."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_remote(path: _PATH) -> bool:
    return "://" in str(path)


def _listed(faults: dict[Path, str]) -> str:
    return " ".join(f"{path} is damaged: {fault}." for path, fault in faults.items())
