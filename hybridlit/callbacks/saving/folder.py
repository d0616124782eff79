"""Which file of a folder of checkpoints is to be used, and where a new run may write its own."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

import torch
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from hybridlit.callbacks.saving.durable import damage, noted_step
from hybridlit.photonics.argument_types import checked

__all__ = [
    "free_folder",
    "later_checkpoints",
    "newest_checkpoint",
    "remove_old_steps",
    "step_name",
    "undamaged",
]

_FOLDER = re.compile(r"checkpoints(-\d+)?")
_STEP = re.compile(r"step(\d+)\.ckpt")


@checked
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


def free_folder(wanted: str, given: bool) -> str:
    """Find a folder that holds no checkpoints, so that a run overwrites none of another one.

    Args:
        wanted: The folder.
        given: Whether the user has chosen it, so that nothing else will do.

    Returns:
        The folder, or else one with a number behind its name.

    Raises:
        ValueError: If the folder that the user has chosen holds checkpoints.
    """

    def taken(folder: str) -> bool:
        return any(Path(folder).glob("*.ckpt"))

    if not taken(wanted):
        return wanted
    if given:
        raise ValueError(
            f"dirpath={wanted!r} holds checkpoints of another run, which this one would "
            "overwrite: resume that run with ckpt_path, or name another folder"
        )
    number = 1
    while taken(f"{wanted}-{number}"):
        number += 1
    return f"{wanted}-{number}"


def step_name(step: int) -> str:
    """Name a periodic checkpoint.

    Args:
        step: The global step.

    Returns:
        The name of the file.
    """
    return f"step{step:08d}.ckpt"


def remove_old_steps(folder: str | os.PathLike[str], step: int, keep: int) -> None:
    """Remove all periodic checkpoints but the newest ones.

    Args:
        folder: The folder of the checkpoints.
        step: The present step; files of later ones, from before the run was resumed, stay: they
            will be overwritten.
        keep: How many to keep.
    """
    found = {
        int(match[1]): path
        for path in Path(folder).iterdir()
        if (match := _STEP.fullmatch(path.name)) and int(match[1]) <= step
    }
    for old in sorted(found)[:-keep]:
        found[old].unlink(missing_ok=True)


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
        step = noted_step(path)
        if step is not None:
            return _Age(step, whole, written)
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        return _Age(int(content["global_step"]), whole, written)
    except Exception:  # whatever a damaged file makes torch.load say; or rotated away meanwhile
        return _Age(-1, whole, written)


def _modified(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:  # rotated away meanwhile
        return 0


def _listed(faults: dict[Path, str]) -> str:
    return " ".join(f"{path} is damaged: {fault}." for path, fault in faults.items())
