"""Which file of a folder of checkpoints is to be used, and where a new run may write its own."""

from __future__ import annotations

import glob
import itertools
import os
import re
from pathlib import Path

import torch
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from hybridlit.argument_types import checked
from hybridlit.resume.durable import damage, noted_step
from hybridlit.resume.lock import FolderLock

__all__ = [
    "best_checkpoint",
    "later_checkpoints",
    "newest_checkpoint",
    "own_folder",
    "remove_old_steps",
    "step_of",
    "step_to_go_on_from",
    "undamaged",
]

_STEP = re.compile(r"step(\d+)\.ckpt")


@checked
def newest_checkpoint(folder: str | os.PathLike[str]) -> Path:
    """Find the checkpoint that a run is to be resumed from, as `ckpt_path` of `Trainer.fit`.

    Args:
        folder: The folder of the checkpoints, or that of a run, with them in `checkpoints/`, or in
            `checkpoints-1/` and so on: then in the one with the highest number, which
            `HybridCheckpoint` has given to the run that began last.

    Returns:
        The undamaged `*.ckpt` file with the largest global step; of several the one written last,
        but `interrupted.ckpt` only if there is no other. A warning names newer ones that are
        damaged.

    Raises:
        FileNotFoundError: If there is no undamaged checkpoint.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     for step in (9, 10):
        ...         torch.save({"global_step": step}, f"{folder}/step{step}.ckpt")
        ...     newest_checkpoint(folder).name
        'step10.ckpt'
    """
    path, faults = _newest(Path(folder))
    if faults:
        rank_zero_warn(f"{_listed(faults)} Using {path} instead.")
    return path


def best_checkpoint(folder: str | os.PathLike[str]) -> Path:
    """Find the best checkpoint that a callback has kept; the folder is as for `newest_checkpoint`.

    Raises:
        FileNotFoundError: If there is no checkpoint, or none was the best.
    """
    newest = newest_checkpoint(folder)
    content = torch.load(newest, map_location="cpu", weights_only=True, mmap=True)
    states = [state for state in content["callbacks"].values() if isinstance(state, dict)]
    for state in states:
        # of HybridCheckpoint, the best first, and of Lightning's
        for name in [*state.get("best", {}), state.get("best_model_path", "")]:
            path = newest.parent / Path(name).name
            if path.suffix == ".ckpt" and path.is_file():
                return path
    raise FileNotFoundError(f"no checkpoint in {newest.parent} is the best: give a file")


def later_checkpoints(folder: str | os.PathLike[str], step: int) -> list[Path]:
    """Return the undamaged checkpoints of a folder, if there is one, with a larger global step."""
    return [
        path
        for path in sorted(Path(folder).glob("*.ckpt"))
        if step_of(path) > step and damage(path) is None
    ]


def step_to_go_on_from(path: str | os.PathLike[str]) -> int | None:
    """Return the global step of a checkpoint if a run can go on in its folder, or else None.

    It cannot if there are checkpoints of later steps, or while another process is writing there.
    """
    folder, step = Path(path).parent, step_of(path)
    lock = FolderLock(str(folder))
    if not lock.take():
        return None
    lock.release()
    return None if step < 0 or later_checkpoints(folder, step) else step


def undamaged(path: str | os.PathLike[str], fall_back: bool) -> Path:
    """Return a checkpoint file if it is undamaged, or else one that can take its place.

    Args:
        path: The file.
        fall_back: If it is damaged, take the newest undamaged one of its folder, with a warning
            that names both; False, or if there is none: raise a `RuntimeError`.
    """
    path = Path(path)
    fault = damage(path)
    if fault is None:
        if noted_step(path) is None:
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


def own_folder(wanted: str, given: bool, resumed: bool) -> tuple[str, FolderLock]:
    """Find and lock a folder for a run, so that it overwrites nothing of another one.

    Args:
        wanted: The folder.
        given: Whether the user has chosen it, so that nothing else will do. Else, if it is that of
            another run, or if a run has begun in a later one meanwhile, the next one is taken: the
            folder with the highest number is the newest.
        resumed: Whether the checkpoints in it are those of this run.

    Returns:
        The folder, and the lock to be released at the end.

    Raises:
        ValueError: If the folder that the user has chosen holds checkpoints of another run, or
            another run is writing into it.
        OSError: If the folder cannot be written to.
    """
    lock = FolderLock(wanted)
    if given:
        if not lock.take():
            raise ValueError(
                f"dirpath={wanted!r} is in use by another run ({lock.owner}): wait for its end, or "
                "name another folder"
            )
        if not resumed and _taken(Path(wanted)):
            lock.release()
            raise ValueError(
                f"dirpath={wanted!r} holds checkpoints of another run, which this one would "
                "overwrite: resume that run with ckpt_path, or name another folder"
            )
        return wanted, lock
    later = max(map(_number, _numbered(Path(wanted))), default=-1)
    if later < 0 or (resumed and later == 0):
        if lock.take() and (resumed or not _taken(Path(wanted))):
            return wanted, lock
        lock.release()
    for number in itertools.count(max(later, 0) + 1):
        lock = FolderLock(f"{wanted}-{number}")
        if lock.take() and not _taken(Path(f"{wanted}-{number}")):
            break
        lock.release()
    return f"{wanted}-{number}", lock


def _taken(folder: Path) -> bool:
    return any(folder.glob("*.ckpt"))


def _numbered(wanted: Path) -> list[Path]:
    """Return those of a folder and its numbered successors that hold checkpoints."""
    name = re.compile(re.escape(wanted.name) + r"(-\d+)?")
    found = wanted.parent.glob(f"{glob.escape(wanted.name)}*")
    return [path for path in found if name.fullmatch(path.name) and _taken(path)]


def _number(folder: Path) -> int:
    """Return the number behind the name of a folder; 0 without one."""
    name, _, number = folder.name.rpartition("-")
    return int(number) if name and number.isdecimal() else 0


def remove_old_steps(folder: str | os.PathLike[str], step: int, keep: int) -> None:
    """Remove all periodic checkpoints up to a step but the newest ones.

    Files of later steps, from before the run was resumed, will be overwritten.
    """
    found = {
        int(match[1]): path
        for path in Path(folder).iterdir()
        if (match := _STEP.fullmatch(path.name)) and int(match[1]) <= step
    }
    for old in sorted(found)[:-keep]:
        found[old].unlink(missing_ok=True)


def _newest(folder: Path) -> tuple[Path, dict[Path, str]]:
    """Return the newest undamaged checkpoint, and what is wrong with the newer ones."""
    if not any(folder.glob("*.ckpt")):
        # by number, since clocks are set back; runs take folders in this order
        folder = max(_numbered(folder / "checkpoints"), key=_number, default=folder)
    faults: dict[Path, str] = {}
    for path in sorted(folder.glob("*.ckpt"), key=_age, reverse=True):
        fault = damage(path)
        if fault is None and step_of(path) >= 0:
            return path, faults
        faults[path] = fault or "it has no global step"
    if faults:
        raise FileNotFoundError(f"no checkpoint in {folder} can be used: {_listed(faults)}")
    raise FileNotFoundError(
        f"there is no checkpoint (*.ckpt) in {folder}, nor in a folder checkpoints/ there."
    )


def _age(path: Path) -> tuple[int, bool, int]:
    """Order checkpoints by global step, then those of an interruption first, then by time."""
    try:
        written = path.stat().st_mtime_ns
    except OSError:  # rotated away meanwhile, or a link that leads nowhere
        written = 0
    return step_of(path), path.name != "interrupted.ckpt", written


def step_of(path: str | os.PathLike[str]) -> int:
    """Return the global step of a checkpoint; -1 where it cannot be read."""
    try:
        step = noted_step(Path(path))
        if step is None:
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            step = int(content["global_step"])
        return step
    except Exception:  # whatever a damaged file makes torch.load say; or rotated away meanwhile
        return -1


def _listed(faults: dict[Path, str]) -> str:
    return " ".join(f"{path} is damaged: {fault}." for path, fault in faults.items())
