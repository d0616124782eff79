"""Finished runs of a study in a file, so that the same study goes on where it was killed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from hybridlit.analysis.ablation.baselines import BaselineRun, Beside
from hybridlit.analysis.ablation.decided import can_be_compared
from hybridlit.analysis.ablation.measure import ScoredRows
from hybridlit.analysis.ablation.retraining import Run
from hybridlit.analysis.trainings import Training
from hybridlit.resume.durable import save_durably

__all__ = ["SUFFIX", "Kept", "Key"]

SUFFIX = ".arms"
"""Ends the name of a file of kept runs, beside what is made of them."""

Key = tuple[int, str | None]
"""Seed and arm of a run; None: what is done once for a split."""

_DECIDED_BY, _RUNS = "hybridlit_runs_decided_by", "runs"
"""Keys of the file."""


class Kept:
    """The finished runs of a study, by seed and arm.

    Args:
        path: File that has them, written as a whole after each run; None: they are in memory only.

    Attributes:
        runs: The runs that the study need not do again.
        path: The file.
        lasting: Whether another study will find them: the file can be written and compared.

    Raises:
        ValueError: If there is a file already that is something else.
    """

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        self.path = None if path is None else Path(path)
        self.runs: dict[Key, Run | Beside] = {}
        self._decided_by: Mapping[str, str] = {}
        self._found: dict[str, Any] = {}
        self.lasting = self.path is not None
        if self.path is not None and self.path.exists():
            self._found = _read(self.path)

    @property
    def found(self) -> set[Key]:
        """Seed and arm of the runs that the file had."""
        return {(seed, arm) for seed, arm, _ in self._found.get(_RUNS, ())}

    def go_on(self, decided_by: Mapping[str, str]) -> str | None:
        """Take over the runs of the file if all that decides their numbers is as it was.

        Args:
            decided_by: What `decided.decided_by` returns.

        Returns:
            What to say if they are of something else and the study begins anew. Then the file
            stays as it is until the first run is done.
        """
        self._decided_by = dict(decided_by)
        self.lasting = self.lasting and can_be_compared(decided_by.values())
        before = self._found.get(_DECIDED_BY, decided_by)
        other = [name for name, value in decided_by.items() if before.get(name) != value]
        if other:
            return f"{self.path} has runs of {' and '.join(other)}: the study begins anew"
        for seed, arm, run in self._found.get(_RUNS, ()):
            self.runs[seed, arm] = _beside(*run) if arm is None else _run(*run)
        return None

    def add(self, key: Key, run: Run | Beside) -> None:
        """Keep a run. A file that cannot be written is warned of, and ends nothing."""
        self.runs[key] = run
        if self.path is None or not self.lasting:
            return
        runs = [(*name, _plain(each)) for name, each in self.runs.items()]
        try:
            save_durably({_DECIDED_BY: self._decided_by, _RUNS: runs}, self.path)
        except OSError as error:
            self.lasting = False
            rank_zero_warn(f"runs of the study are not kept: {error}")


# --- runs as plain values, which load with weights_only=True --------------------------------------


def _read(path: Path) -> dict[str, Any]:
    wanted = "keep must be a new file, or one of kept runs"
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of any class: it may be any file
        why = str(error).partition("\n")[0]
        raise ValueError(
            f"{wanted}, got {path}, which cannot be read ({why}): remove it, or name another"
        ) from None
    if not isinstance(content, dict) or _DECIDED_BY not in content:
        raise ValueError(f"{wanted}, got {path}, which is something else: name another")
    return content


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value)
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    return value


def _scored(rows: Tensor, outputs: Tensor | None) -> ScoredRows:
    return ScoredRows(rows.numpy(), outputs)


def _run(scored: tuple[Any, ...], training: tuple[Any, ...], *more: Any) -> Run:
    return Run(_scored(*scored), Training(*training), *more)


def _beside(
    baselines: Mapping[str, tuple[Any, ...]],
    left_out: Mapping[str, str],
    constant: tuple[Any, ...] | None,
    test_per_train: float,
) -> Beside:
    runs = {name: BaselineRun(_scored(*own), *more) for name, (own, *more) in baselines.items()}
    return Beside(runs, left_out, None if constant is None else _scored(*constant), test_per_train)
