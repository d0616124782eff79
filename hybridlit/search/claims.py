"""Who does what: workers of one study, in any number of processes and machines.

Everything is said in a second study beside the first, on the same storage, to which records are
only ever appended. The storage numbers them, whichever it is: of two workers who claim the same
trial, the one with the lower number has it. What a worker has drawn for its trial stands there too,
so that whoever takes the trial over from a dead one does the same trial.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any
from uuid import uuid4

import optuna
import psutil
from optuna.trial import TrialState, create_trial
from typing_extensions import Self

__all__ = ["Claims", "name_of_claims"]

_BEAT = 10.0
"""Seconds between two signs of life."""

_SILENCE = 60.0
"""Seconds without a sign of life after which a worker elsewhere is taken for dead."""

_LONG_SILENCE = 600.0
"""The same of one here whose number a process has: by now it may be another process."""

_HERE: set[str] = set()
"""The workers of this process that are at work."""


def name_of_claims(study: str) -> str:
    """Return the name of the study that holds the claims of another one."""
    return f"{study} (claims)"


class Claims:
    """A worker, and what all workers of a study have claimed.

    Used as a context manager: within it the worker shows that it lives.

    Args:
        study: Name of the study.
        storage: Where it is.
    """

    def __init__(self, study: str, storage: optuna.storages.BaseStorage) -> None:
        self._log = optuna.create_study(
            storage=storage, study_name=name_of_claims(study), load_if_exists=True
        )
        self.worker = f"{_machine()}/{os.getpid()}/{uuid4().hex[:8]}"
        self._heard: dict[str, tuple[Any, float]] = {}  # last sign of life, and when it was new
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Begin to show that the worker lives."""
        _HERE.add(self.worker)
        self._beat()
        self._thread = threading.Thread(target=self._beat_on, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give up what is claimed and not done."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        _HERE.discard(self.worker)
        with suppress(Exception):  # whoever cannot say so is found out
            self._log.set_user_attr(self.worker, None)

    def take(self, indices: Iterable[int]) -> int | None:
        """Claim the first of some trials that nobody has, or a dead worker; None: others have all.

        Args:
            indices: Numbers of trials, from 0.
        """
        owners = self.owners()
        for index in indices:
            owner = owners.get(index)
            if owner == self.worker:
                return index
            if owner is None or self.is_dead(owner):
                self._append({"claims": index, "after": owner, "worker": self.worker})
                if self.owners()[index] == self.worker:
                    return index
        return None

    def owners(self) -> dict[int, str]:
        """Return the worker of each trial: the last of those who took it from one another."""
        heirs: dict[int, dict[str | None, str]] = {}
        for record in self._records("claims"):
            heirs.setdefault(record["claims"], {}).setdefault(record["after"], record["worker"])
        found = {}
        for index, own in heirs.items():
            owner: str | None = None
            while owner in own:
                owner = own[owner]
            if owner is not None:
                found[index] = owner
        return found

    def is_dead(self, worker: str) -> bool:
        """Say whether a worker has ended.

        Of one on this machine the system knows. Of others it is supposed when they have given no
        sign of life for a minute, by the clock of this machine; of one here whose number another
        process may have by now, after ten minutes.
        """
        beat, now, patience = self._log.user_attrs.get(worker), time.monotonic(), _SILENCE
        if beat is None:  # it has said so
            return True
        machine, process, _ = worker.rsplit("/", 2)
        if machine == _machine():
            if int(process) == os.getpid():
                return worker not in _HERE
            if not _runs(int(process)):
                return True
            patience = _LONG_SILENCE
        known, since = self._heard.setdefault(worker, (beat, now))
        if beat != known:
            self._heard[worker] = (beat, now)
            return False
        return now - since > patience

    def drawn(self) -> dict[int, dict[str, Any]]:
        """Return what was drawn for each trial, as far as that was noted."""
        found: dict[int, dict[str, Any]] = {}
        for record in self._records("draws"):
            found.setdefault(record["draws"], record["draw"])
        return found

    def note(self, index: int, draw: Mapping[str, Any]) -> None:
        """Note what has been drawn for a trial; the first note stays."""
        self._append({"draws": index, "draw": dict(draw)})

    def _records(self, key: str) -> list[dict[str, Any]]:
        trials = self._log.get_trials(deepcopy=False)
        return [trial.user_attrs for trial in trials if key in trial.user_attrs]

    def _append(self, record: dict[str, Any]) -> None:
        self._log.add_trial(create_trial(state=TrialState.FAIL, user_attrs=record))

    def _beat_on(self) -> None:
        while not self._ended.wait(_BEAT):
            with suppress(Exception):  # the storage was busy: there is a next time
                self._beat()

    def _beat(self) -> None:
        self._log.set_user_attr(self.worker, time.time())


def _runs(process: int) -> bool:
    try:
        return bool(psutil.Process(process).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _machine() -> str:
    """Name this machine; containers count their processes by themselves, and are machines."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{socket.gethostname()}-{boot}-{os.readlink('/proc/self/ns/pid')}"
    return socket.gethostname()
