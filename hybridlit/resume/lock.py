"""A folder that one run at a time writes into."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import IO

from lightning.pytorch.utilities import rank_zero_warn

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["FolderLock"]

_NAME = ".in-use"
_HELD: set[str] = set()  # by this process, which record locks do not keep from itself


class FolderLock:
    """Keeps other runs out of a folder until it is released, or its process has ended.

    It is a record lock (`fcntl`) on a file in the folder: the system gives it up when the process
    ends, however that comes about, so a kill leaves a file and no lock. Worker processes do not
    inherit it. Network file systems share it between machines if they have locks at all. Where
    there are none, as on Windows, nothing is guarded, and a warning says so.
    """

    def __init__(self, folder: str) -> None:
        self.owner: str | None = None  # who holds the folder, if this is not us
        self._path = Path(folder) / _NAME
        self._key = str(Path(folder).resolve())
        self._file: IO[str] | None = None
        self._made: list[Path] = []

    def take(self) -> bool:
        """Lock the folder, which is made if there is none, unless somebody else holds it: False."""
        if self._key in _HELD:
            self.owner = f"process {os.getpid()} on {socket.gethostname()}, this one"
            return False
        if fcntl is None:
            rank_zero_warn(_UNGUARDED.format(self._path.parent, "this system has no record locks"))
            return True
        self._made = [p for p in (self._path.parent, *self._path.parent.parents) if not p.exists()]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            file = self._path.open("a+")
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                file.seek(0)
                self.owner = file.read().strip() or "another process"
                file.close()
                if error.errno in (errno.EACCES, errno.EAGAIN):
                    return False
                rank_zero_warn(_UNGUARDED.format(self._path.parent, error.strerror))
                return True
            if self._is_in_place(file):
                break
            file.close()  # whoever had it has released it meanwhile, and removed the file
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        self._file = file
        _HELD.add(self._key)
        return True

    def release(self) -> None:
        """Let others in; a folder that was made and holds nothing goes again."""
        if self._file is None:
            return
        _HELD.discard(self._key)
        with suppress(OSError):
            self._path.unlink()
        self._file.close()
        self._file = None
        with suppress(OSError):  # not empty
            for folder in self._made:
                folder.rmdir()

    def _is_in_place(self, file: IO[str]) -> bool:
        with suppress(FileNotFoundError):
            return os.path.samestat(os.stat(self._path), os.fstat(file.fileno()))
        return False


_UNGUARDED = (
    "{} cannot be locked ({}), so that two runs which write into it at once would not be noticed."
)
