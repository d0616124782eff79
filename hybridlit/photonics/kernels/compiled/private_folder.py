"""Files that nobody but this user and root can have written, since what is in them will be run.

What is checked is what was opened, not a path that may lead elsewhere a moment later: the folder
once it is open, and each file in it, opened relative to it, without following links, and without
waiting for the other end of a pipe. Windows has none of this; there, folders are the user's own by
default.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

__all__ = ["UntrustedError", "read", "write"]

_CAN_CHECK = hasattr(os, "geteuid") and os.open in os.supports_dir_fd
_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


class UntrustedError(OSError):
    """Somebody else may have written `path`, a folder or file, for a `reason`."""

    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(errno.EPERM, reason, str(path))
        self.path, self.reason = Path(path), reason


def read(folder: Path, name: str) -> bytes:
    """Return the content of a file of that name in a folder.

    Raises:
        UntrustedError: If the folder or the file could have been written by others.
        OSError: If there is none, or it cannot be read.
    """
    with _opened(folder) as place:
        nonblocking = getattr(os, "O_NONBLOCK", 0)  # a pipe would wait for somebody to write
        try:
            descriptor = _open(folder, name, os.O_RDONLY | nonblocking, place)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.EMLINK):  # the latter on FreeBSD
                raise UntrustedError(folder / name, "it is a symbolic link") from None
            raise
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise UntrustedError(folder / name, "it is no regular file")
            if place is not None:
                _require_trust(status, folder / name)
            return file.read()


def write(folder: Path, name: str, content: bytes) -> None:
    """Write a file whole, in the place of another of its name, and make its folder if need be.

    Raises:
        UntrustedError: If others can write to the folder.
        OSError: If it cannot be written.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _opened(folder) as place:
        temporary = f"{name}.{uuid4().hex}"
        where = folder if place is None else Path()
        try:
            descriptor = _open(folder, temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, place)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            os.replace(where / temporary, where / name, src_dir_fd=place, dst_dir_fd=place)
        except OSError:
            with suppress(OSError):
                os.unlink(where / temporary, dir_fd=place)
            raise


@contextmanager
def _opened(folder: Path) -> Iterator[int | None]:
    """Open a folder that only this user and root can write to; None where that means nothing."""
    if not _CAN_CHECK:
        yield None
        return
    path = os.path.realpath(folder)
    for parent in Path(path).parents:
        mode = parent.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise UntrustedError(path, f"everybody can replace it, who may write to {parent}")
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | _FLAGS)
    try:
        _require_trust(os.fstat(descriptor), path)
        yield descriptor
    finally:
        os.close(descriptor)


def _open(folder: Path, name: str, flags: int, place: int | None) -> int:
    # Readable by all, so that one installation can serve many users; writable by its owner alone.
    return os.open(folder / name if place is None else name, flags | _FLAGS, 0o644, dir_fd=place)


def _require_trust(status: os.stat_result, path: str | Path) -> None:
    if status.st_uid not in (0, os.geteuid()):
        raise UntrustedError(path, f"it belongs to another user, number {status.st_uid}")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise UntrustedError(path, "other users can write to it")
