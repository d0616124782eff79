"""What was measured, kept as it comes: a row that a folder knows is not measured again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from hybridlit.atomic_write import atomic_write

__all__ = ["Measured", "Results"]


class Measured(NamedTuple):
    """What a processor showed of one circuit with its phases.

    Attributes:
        counts: How often each outcome was seen, or its probability, by photons in each mode.
        share: How much of all light is kept, as the processor tells it; None: it does not.
    """

    counts: dict[tuple[int, ...], float]
    share: float | None


class Results:
    """Results by the key of their row, and jobs that are under way, in a folder.

    Each job is a file, `job-<...>.json`, which is written before it is sent, then with its id, then
    with its results: whenever the process is killed, no row is sent twice.

    Args:
        folder: Made when there is something to keep; None: all is forgotten.

    Raises:
        ValueError: If the folder holds a file that is none of these, or a job of which nobody knows
            whether it was sent.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.known: dict[str, Measured] = {}
        self.sent: dict[str, list[str]] = {}
        for path in sorted(folder.glob("job-*.json")) if folder is not None else ():
            self._read(path)

    def keep_sending(self, keys: list[str]) -> None:
        """Keep that a job is about to be sent.

        Args:
            keys: Of its rows.
        """
        self._write(None, keys, None)

    def keep_sent(self, job: str, keys: list[str]) -> None:
        """Keep that a job was sent.

        Args:
            job: Its id.
            keys: Of its rows.
        """
        self.sent[job] = keys
        self._write(job, keys, None)

    def keep(self, job: str, keys: list[str], found: list[Measured]) -> None:
        """Keep the results of a job.

        Args:
            job: Its id.
            keys: Of its rows.
            found: What was measured of each.
        """
        self.sent.pop(job, None)
        self.known.update(zip(keys, found, strict=True))
        self._write(job, keys, found)

    def forget(self, keys: list[str], job: str | None = None) -> None:
        """Forget a job that has failed or was not taken, so that its rows are sent again.

        Args:
            keys: Of its rows.
            job: Its id, if it has one.
        """
        if job is not None:
            self.sent.pop(job)
        if self.folder is not None:
            self._path(keys).unlink(missing_ok=True)

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Return which of these rows are neither known nor under way.

        Args:
            keys: Of rows.
        """
        under_way = {key for keys in self.sent.values() for key in keys}
        return [key for key in keys if key not in self.known and key not in under_way]

    def _path(self, keys: list[str]) -> Path:
        assert self.folder is not None
        return self.folder / f"job-{keys[0]}.json"

    def _write(self, job: str | None, keys: list[str], found: list[Measured] | None) -> None:
        if self.folder is None:
            return
        rows = None if found is None else [_plain(each) for each in found]
        content = {"job": job, "keys": keys, "rows": rows}
        with atomic_write(self._path(keys)) as path:
            path.write_text(json.dumps(content), encoding="utf-8")

    def _read(self, path: Path) -> None:
        lost = False
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            job, keys, rows = content["job"], content["keys"], content["rows"]
            found = None if rows is None else [_measured(row) for row in rows]
            if job is None:
                lost = True
            elif found is None:
                self.sent[job] = keys
            else:
                self.known.update(zip(keys, found, strict=True))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path} holds no results of a processor ({error}): remove it, or give another "
                "folder"
            ) from None
        if lost:
            raise ValueError(
                f"a job of {len(keys)} rows may have been sent or not, since the process ended "
                f"just then, or the answer was lost: look at the provider's list of jobs, and "
                f"remove {path} to send these rows again"
            )


def _plain(found: Measured) -> dict[str, Any]:
    counts = {",".join(map(str, state)): count for state, count in found.counts.items()}
    return {"counts": counts, "share": found.share}


def _measured(row: Mapping[str, Any]) -> Measured:
    counts = {tuple(map(int, state.split(","))): n for state, n in row["counts"].items()}
    return Measured(counts, row["share"])
