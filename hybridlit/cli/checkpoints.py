"""Checkpoints by path, or as `last` or `best`, and the settings of the runs that made them."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from hybridlit.recipe.classes import class_paths, importable
from hybridlit.recipe.reading import settings_of
from hybridlit.recipe_files import recipe_file
from hybridlit.resume.folder import best_checkpoint, newest_checkpoint, undamaged
from hybridlit.templates.foreign_names import unimported_name

__all__ = [
    "CONFIG",
    "RUNS",
    "SETTINGS",
    "SOURCE",
    "VERSION",
    "checkpoint_path",
    "folder_for",
    "is_remote",
    "newest_run",
    "noted_recipes",
    "recipe_of",
    "refuse_foreign",
    "run_of",
    "values_of",
    "with_recipes",
    "with_settings",
]

RUNS = Path("runs")
"""Where runs of the command line are, in the working folder."""

_EXAMPLE = "such as runs/NAME/version_0/checkpoints/last.ckpt"

VERSION = re.compile(r"version_(\d+)")
"""Names of the folders of runs."""

CONFIG = re.compile(r"config(-\d+)?\.yaml")
"""Names of the files with the settings of a run."""

SOURCE = "recipe: "
"""Begins the line of comment in a `config.yaml` that names the recipe: classes are beside it."""

SETTINGS = ("--config", "-c")
"""Options that give the settings of a run."""

_SOURCE = re.compile(rf"^# {SOURCE}(.*)$", re.MULTILINE)


def checkpoint_path(given: str, runs: Path | None = None, resume: bool = False) -> Path:
    """Return the undamaged file that a user means by a checkpoint, as every verb takes it.

    Classes that a run of this working folder names are imported: they are the user's own.

    Args:
        given: A file, or `last` or `best`: of the run that was written to last.
        runs: Where to look for runs, all or those of one name; None: all under `runs/`.
        resume: Take a folder as well (its newest undamaged checkpoint), and instead of a damaged
            file the newest undamaged one beside it.
    """
    path = Path(given)
    try:
        if given in ("last", "best") and not path.exists():
            run = newest_run(runs or RUNS)
            path = newest_checkpoint(run) if given == "last" else best_checkpoint(run)
        elif path.is_dir():
            if not resume:
                files = sorted(str(each.relative_to(path)) for each in path.rglob("*.ckpt"))
                which = f", of {files}" if files else "; it has no checkpoint (*.ckpt)"
                raise FileNotFoundError(f"{path} is a folder: give a file in it{which}")
            path = newest_checkpoint(path)
        elif not path.is_file():
            raise FileNotFoundError(f"no file {path}; give a checkpoint, {_EXAMPLE}")
        path = undamaged(path, fall_back=resume)
    except (RuntimeError, UnpicklingError) as error:
        raise ValueError(str(error)) from None
    _import_own(path)
    return path


def is_remote(given: str) -> bool:
    """Whether it is for Lightning to find the checkpoint that a user means."""
    return "://" in given or given == "hpc" or given.startswith("registry")


def run_of(checkpoint: str | Path) -> Path:
    """Return the folder of the run that a checkpoint is of: `<run>/checkpoints/*.ckpt`."""
    return Path(checkpoint).parent.parent


def recipe_of(checkpoint: str | Path) -> Path:
    """Return the settings that `hybridlit fit` has written for `<run>/checkpoints/*`.

    That is `<run>/config.yaml`, or the last `config-<n>.yaml` of a run that was resumed with
    others.
    """
    run = run_of(checkpoint)
    found = [path for path in run.glob("config*.yaml") if CONFIG.fullmatch(path.name)]
    if not found:
        raise FileNotFoundError(
            f"no {run / 'config.yaml'}: the settings of {checkpoint} are not known, since "
            "hybridlit fit has not made it, or they were moved"
        )
    return max(found, key=lambda path: int(path.stem.partition("-")[2] or 0))


def folder_for(checkpoint: Path) -> Path:
    """Return where what is made of a checkpoint goes: the folder of its run, or else its own."""
    try:
        return recipe_of(checkpoint).parent
    except FileNotFoundError:  # hybridlit fit has not made it
        return checkpoint.parent


def noted_recipes(settings: str | Path) -> list[str]:
    """Return the recipes that the settings of a run say they come from."""
    return _SOURCE.findall(Path(settings).read_text(encoding="utf-8"))


def newest_run(folder: Path) -> Path:
    """Return the run with the checkpoint that was written last, under a folder of runs."""
    found = {
        file.stat().st_mtime_ns: file.parent.parent
        for pattern in ("version_*", "*/version_*")
        for file in folder.glob(f"{pattern}/checkpoints*/*.ckpt")
        if VERSION.fullmatch(file.parent.parent.name)
    }
    if not found:
        raise FileNotFoundError(
            f"there is no run with a checkpoint under {folder} in {Path.cwd()}: go to the folder "
            f"in which hybridlit fit was called, or give a checkpoint, {_EXAMPLE}"
        )
    return found[max(found)]


def values_of(words: Sequence[str], options: Sequence[str]) -> list[str]:
    """Return what an option is given, by any of its names, each time that it is."""
    found = []
    for word, following in zip(words, [*words, ""][1:], strict=True):
        name, equals, value = word.partition("=")
        if name in options:
            found.append(value if equals else following)
    return found


def with_recipes(words: Sequence[str]) -> list[str]:
    """Put the file of a recipe in the place of its name, wherever words give one as settings.

    Settings may also be given as a text of YAML, which stays.
    """
    found, of_option = list[str](), False
    for word in words:
        option, equals, value = word.partition("=")
        if equals and option in SETTINGS and _names_file(value):
            word = f"{option}={recipe_file(value)}"
        elif of_option and _names_file(word):
            word = str(recipe_file(word))
        found.append(word)
        of_option = word in SETTINGS
    return found


def _names_file(value: str) -> bool:
    return value != "-" and not any(mark in value for mark in "{\n:")


def with_settings(words: Sequence[str]) -> list[str]:
    """Add the settings of the run to the words of a verb that name a checkpoint and no settings.

    The words, the verb first, get `--config` where a checkpoint is named by `--ckpt` but neither
    `--config` nor `--model` is given, and then the file that `last` or `best` stands for.
    """
    verb, *rest = words
    given = values_of(rest, ("--ckpt", "--ckpt_path"))
    if (
        not given
        or not given[-1]
        or is_remote(given[-1])
        or values_of(rest, (*SETTINGS, "--model"))
    ):
        return [*words]
    path = checkpoint_path(given[-1], resume=verb == "fit")
    try:
        recipe = recipe_of(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}: give --config") from None
    refuse_foreign(path, recipe, settings_of(recipe), f"give --config {recipe}")
    return [verb, "--config", str(recipe), *rest, f"--ckpt={path}"]


def refuse_foreign(checkpoint: Path, recipe: Path, settings: Any, remedy: str) -> None:
    """Refuse settings of a run of elsewhere that would import what is not imported.

    Args:
        checkpoint: The checkpoint.
        recipe: Settings of its run.
        settings: What is to be built of them.
        remedy: What helps whoever trusts them.
    """
    if _is_own(checkpoint):
        return
    unknown = [n for n in class_paths(settings) if n.rpartition(".")[0] not in sys.modules]
    name = unknown[0] if unknown else unimported_name(settings)
    if name is not None:
        raise ValueError(
            f"{recipe} asks for {name}, whose module is not imported, and is of no run under "
            f"{RUNS}/ here: if you trust it, {remedy}"
        )


def _is_own(path: Path) -> bool:
    """Whether a checkpoint is of a run that this working folder has made, as far as one can see."""
    return RUNS.resolve() in path.resolve().parents


def _import_own(path: Path) -> None:
    """Import the classes that a run of this working folder names: checkpoints import nothing."""
    if not _is_own(path):
        return
    try:
        recipe = recipe_of(path)
    except FileNotFoundError:
        return
    importable(*noted_recipes(recipe))
    for name in class_paths(settings_of(recipe)):
        with suppress(ImportError):  # whoever needs it says what is missing
            import_module(name.rpartition(".")[0])
