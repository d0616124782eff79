"""What a recipe says, and the same with changes."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from hybridlit.recipe.classes import importable
from hybridlit.recipe_files import recipe_file
from hybridlit.words import meant

__all__ = ["OTHER_SECTIONS", "SECTIONS", "Settings", "changed", "read_recipe", "settings_of"]

Settings = dict[str, Any]
"""What a recipe says: plain values by section."""

SECTIONS = ("model", "data", "trainer", "seed_everything")
"""What every recipe is made of; changes of the first two are of the arguments of their class."""

OTHER_SECTIONS = ("search", "federated")
"""What a recipe may have beside them, for verbs of these names; one training ignores it."""


def settings_of(recipe: str | Path) -> Any:
    """Return what a recipe, by file or name, or the `config.yaml` of a run, says.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     _ = Path(folder, "small.yaml").write_text("model: {class_path: SequentialHybrid}")
        ...     settings_of(f"{folder}/small.yaml")
        {'model': {'class_path': 'SequentialHybrid'}}
    """
    path = recipe_file(recipe)
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{path} is no YAML file: {error}") from None


def read_recipe(path: str | Path) -> Settings:
    """Return what a recipe says, whose classes of the user can be imported from then on.

    Args:
        path: A YAML file with the sections `model` and `data`, or the name of a recipe that comes
            with hybridlit, such as `"iris_sequential"`.

    Raises:
        FileNotFoundError: If there is no such file and no such recipe.
        ValueError: If it is no YAML file, or lacks one of the two sections.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     _ = Path(folder, "small.yaml").write_text("{model: SequentialHybrid, data: Mine}")
        ...     read_recipe(f"{folder}/small.yaml")["data"]
        'Mine'
    """
    path = recipe_file(path)
    content = settings_of(path)
    for section in ("model", "data"):
        if not isinstance(content, dict) or content.get(section) is None:
            raise ValueError(f"{path} has no section {section!r}")
    importable(path)
    return dict(content)


def changed(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> Settings:
    """Return settings with changes, for instance with `{"model.n_photons": 3}`.

    Args:
        settings: What a recipe says; it stays as it is.
        changes: New values by dotted name. `model.x` and `data.x` are arguments of the class of
            that section (`model.init_args.x` says the same), `model.class_path` is the class
            itself, `model.experiment.x` a field of an argument, and `trainer.x` an argument of the
            Trainer. Whether a class takes such an argument is seen when it is built.

    Raises:
        ValueError: If a name begins with no section, or leads into what has no fields.

    Example:
        >>> changed({"model": "SequentialHybrid"}, {"model.n_photons": 3})["model"]
        {'class_path': 'SequentialHybrid', 'init_args': {'n_photons': 3}}
    """
    result = copy.deepcopy(dict(settings))
    for name, value in changes.items():
        keys = name.split(".")
        if keys[0] not in SECTIONS:
            raise ValueError(f"{name!r} begins with no section{meant(keys[0], SECTIONS)}")
        place = result
        for depth in range(1, len(keys)):
            place = _fields(place, keys[:depth], keys[depth], name)
        place[keys[-1]] = copy.deepcopy(value)
    return result


def _fields(place: Settings, path: list[str], following: str, name: str) -> Settings:
    """Return what holds the fields of the last of a path, which of a class are its arguments."""
    key, is_class = path[-1], path in (["model"], ["data"])
    if place.get(key) is None:
        place[key] = {}
    elif is_class and isinstance(place[key], str):  # a class without arguments
        place[key] = {"class_path": place[key]}
    value = place[key]
    if not isinstance(value, dict):
        raise ValueError(f"{name!r}: {'.'.join(path)} is {value!r}, which has no fields")
    is_class = is_class or "class_path" in value
    if is_class and following not in ("class_path", "init_args", "dict_kwargs"):
        if value.get("init_args") is None:
            value["init_args"] = {}
        value = value["init_args"]
    fields: Settings = value
    return fields
