"""Finished runs of a study in a file, so that the same study goes on where it was killed."""

from __future__ import annotations

import hashlib
import inspect
import os
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from uuid import uuid4

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from hybridlit import __version__
from hybridlit.analysis.ablation.baselines import BaselineRun, Beside
from hybridlit.analysis.ablation.measure import ScoredRows
from hybridlit.analysis.ablation.retraining import Recipe, Run
from hybridlit.analysis.evaluation import tensors_in
from hybridlit.analysis.splits import loader_of
from hybridlit.analysis.trainings import Training
from hybridlit.data.splits import SPLITS
from hybridlit.resume.durable import save_durably
from hybridlit.templates.hyperparameters import PlainHyperparameters

__all__ = ["Kept", "Key", "decided_by"]

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

    Raises:
        ValueError: If there is a file already that is something else.
    """

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        self.path = None if path is None else Path(path)
        self.runs: dict[Key, Run | Beside] = {}
        self._decided_by: Mapping[str, str] = {}
        self._found: dict[str, Any] = {}
        self._warned = False
        if self.path is not None and self.path.exists():
            self._found = _read(self.path)

    def go_on(self, decided_by: Mapping[str, str]) -> str | None:
        """Take over the runs of the file if all that decides their numbers is as it was.

        Args:
            decided_by: As from the function of that name.

        Returns:
            What to say if they are of something else and the study begins anew. Then the file
            stays as it is until the first run is done.
        """
        self._decided_by = dict(decided_by)
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
        if self.path is None or self._warned:
            return
        runs = [(*name, _plain(each)) for name, each in self.runs.items()]
        try:
            save_durably({_DECIDED_BY: self._decided_by, _RUNS: runs}, self.path)
        except OSError as error:
            self._warned = True
            rank_zero_warn(f"runs of the study are not kept: {error}")


def decided_by(
    recipe: Recipe,
    functions: Sequence[Callable[..., Any] | None],
    data: LightningDataModule,
    split: int | None,
    baselines: Sequence[str],
    jobs: int | None,
) -> dict[str, str]:
    """Return what decides the numbers of a run besides seed and arm, by what it is if it changes.

    Args:
        recipe: How models are made and trained.
        functions: Those of the user that models are made, run and scored with.
        data: The data of the first seed, set up. They are read once.
        split: Seed of the one split; None: each seed has its own.
        baselines: Names of the baselines.
        jobs: Number of processes; None: this one, with its threads.
    """
    model, threads = recipe.model, torch.get_num_threads() if jobs is None else 1
    arguments = model.own_arguments if isinstance(model, PlainHyperparameters) else None
    state = [each for each in model.state_dict().values() if isinstance(each, Tensor)]
    settings = recipe.max_epochs, recipe.monitor, recipe.options, functions, split, [*baselines]
    kinds = [kind for module in model.modules() for kind in type(module).__mro__]
    return {
        "another model": _digest(state, _saved((type(model).__qualname__, arguments))),
        "other data": _digest_of_data(data),
        "other settings": _digest((), _saved((settings, str(torch.get_default_dtype())))),
        "other code": _digest((), *_sources([*kinds, *functions, *map(type, functions)])),
        "other versions": f"hybridlit {__version__}, torch {torch.__version__}",
        "another machine or number of threads": f"{platform.machine()}, {threads} threads, "
        f"{torch.cuda.device_count()} GPUs",
    }


# --- digests --------------------------------------------------------------------------------------


def _digest(tensors: Iterable[Tensor], *more: bytes) -> str:
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        values = tensor.detach().cpu().contiguous().flatten()
        found.update(values.view(torch.uint8).numpy().tobytes())
    for each in more:
        found.update(hashlib.sha256(each).digest())
    return found.hexdigest()


def _digest_of_data(data: LightningDataModule) -> str:
    """Of all batches in their order, so that another size of batches is other data."""
    batches = (_digest(tensors_in(b)).encode() for split in SPLITS for b in loader_of(data, split))
    return _digest((), *batches)


def _saved(settings: Any) -> bytes:
    """Bytes that are the same in another process; those of pickle alone hold addresses."""
    file = BytesIO()
    try:
        torch.save(settings, file)
    except Exception as error:  # of pickling, of any class
        rank_zero_warn(
            f"if the study is killed, it will begin anew, since it cannot be told whether another "
            f"is the same: {error}; give functions and classes by their name in a module"
        )
        return uuid4().bytes
    return file.getvalue()


def _sources(things: Iterable[Any]) -> list[bytes]:
    """The files that define classes and functions, as far as there are any."""
    files = set[Path]()
    for each in {id(each): each for each in things}.values():
        with suppress(TypeError, OSError):  # built-in, or typed into an interpreter
            files.add(Path(inspect.getsourcefile(each) or ""))
    return [file.read_bytes() for file in sorted(files) if file.is_file()]


# --- runs as plain values, which load with weights_only=True --------------------------------------


def _read(path: Path) -> dict[str, Any]:
    wanted = "keep must be a new file, or one of kept runs"
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, UnpicklingError) as error:
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
