"""Models and data from recipes and checkpoints; a file must not decide what code is run.

Lightning's command line builds the class that a checkpoint names, and jsonargparse imports whatever
a string names for an argument that takes a class, a function or a module. So names are looked up
here, without importing anything, and must be of modules that are imported already.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
import yaml
from jsonargparse import ArgumentError, ArgumentParser
from lightning.pytorch import LightningDataModule

import hybridlit.data  # noqa: F401  # short class names work for what is imported
from hybridlit.cli.classes import importable
from hybridlit.cli.unwrapping import unwrapped
from hybridlit.internals.lightning import CLASS_PATH, INSTANTIATES
from hybridlit.templates import HybridModule

__all__ = [
    "datamodule_of_recipe",
    "load_model",
    "load_run",
    "model_of_recipe",
    "named_strings",
    "unimported_name",
]

_DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")


def model_of_recipe(config: str | Path) -> HybridModule:
    """Build the model, with fresh weights, that a recipe or the `config.yaml` of a run describes.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it describes no model, or arguments do not fit.
    """
    model: HybridModule = _section(Path(config), "model", HybridModule)
    return model


def datamodule_of_recipe(config: str | Path) -> LightningDataModule:
    """Build the data module that a recipe describes; errors are as for `model_of_recipe`."""
    data: LightningDataModule = _section(Path(config), "data", LightningDataModule)
    return data


def load_model(
    checkpoint: str | Path, template: str | None = None, **arguments: Any
) -> HybridModule:
    """Load a model on the CPU, in evaluation mode, as the class that it was.

    Args:
        checkpoint: Path of the checkpoint.
        template: Name of the class: of a template, such as `"SequentialHybrid"`, or with its
            module, such as `"mypackage.models.Mine"`. Checkpoints of `hybridlit fit` know it. With
            it, the checkpoint is trusted to name other classes, for arguments that are modules.
        **arguments: Arguments of the class that the checkpoint does not hold.

    Returns:
        The model.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the class is not known, not found, or no `HybridModule`.
    """
    path = _existing(Path(checkpoint))
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (EOFError, RuntimeError, UnpicklingError) as error:
        why = str(error).partition(".")[0]
        raise ValueError(f"{path} is no checkpoint that loads safely: {why}") from None
    if not isinstance(content, dict) or "state_dict" not in content:
        raise ValueError(f"{path} is no checkpoint of Lightning: it has no state_dict")
    kept = content.get("hyper_parameters")
    name = template or (kept.get(CLASS_PATH) if isinstance(kept, dict) else None)
    if not isinstance(name, str):
        raise ValueError(
            f"{path} does not say of which class its model is, since hybridlit fit has not made "
            "it: give template, such as 'SequentialHybrid' or 'mypackage.models.Mine'"
        )
    importable()
    foreign = unimported_name(kept, {INSTANTIATES}) if template is None else None
    if foreign is not None:
        # a file must not decide what code is run
        raise ValueError(
            f"{path} asks for the class {foreign}, which is not imported: if you trust it, give "
            f"template={name!r}"
        )
    kind = _class_of(name)
    model: HybridModule = kind.load_from_checkpoint(path, map_location="cpu", **arguments)
    return model.eval()


def load_run(
    checkpoint: str | Path, template: str | None = None
) -> tuple[HybridModule, LightningDataModule]:
    """Load a model as `load_model` does, with the data that it was trained on: see `recipe_of`."""
    from hybridlit.cli.checkpoints import recipe_of

    model = load_model(checkpoint, template)
    return model, datamodule_of_recipe(recipe_of(checkpoint))


def unimported_name(arguments: Any, trusted: Collection[str] = ()) -> str | None:
    """Return the first name among arguments of a checkpoint that would import a module, or None.

    Names that the user has given, `trusted`, may import what they will.
    """
    for name in named_strings(arguments):
        if name not in trusted and _would_import(name):
            return name
    return None


def named_strings(value: Any) -> Iterator[str]:
    """Yield all strings in a nested value that could be names of classes, also within YAML."""
    if isinstance(value, Mapping):
        for entry in value.values():
            yield from named_strings(entry)
    elif isinstance(value, (list, tuple, set)):
        for entry in value:
            yield from named_strings(entry)
    elif isinstance(value, str):
        if _DOTTED.fullmatch(value):
            yield value
            return
        try:
            read = yaml.safe_load(value)
        except yaml.YAMLError:
            return
        if read != value:
            yield from named_strings(read)


def _would_import(name: str) -> bool:
    """Say whether an import of a name finds a module that is not imported yet."""
    parts, path = name.split("."), None
    for count in range(1, len(parts) + 1):
        prefix = ".".join(parts[:count])
        module = sys.modules.get(prefix)
        if module is None:
            found = (finder.find_spec(prefix, path) for finder in sys.meta_path)
            spec = next((spec for spec in found if spec is not None), None)
            if spec is None:
                return False
            if spec.loader is not None:
                return True
            path = spec.submodule_search_locations  # a folder without code of its own
            continue
        path = getattr(module, "__path__", None)
        if path is None:
            return False  # no package: what follows are attributes
    return False


def _section(path: Path, name: str, kind: type) -> Any:
    """Build what a section of a recipe describes, a class with its arguments."""
    try:
        content = yaml.safe_load(_existing(path).read_text(encoding="utf-8"))
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{path} is no YAML file: {error}") from None
    section = content.get(name) if isinstance(content, dict) else None
    if section is None:
        raise ValueError(f"{path} has no section {name!r}")
    importable(path)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(kind, name)
    try:
        parsed = parser.parse_object({name: section})
        # its name since jsonargparse 4.49, which deprecates the other one
        instantiate = getattr(parser, "instantiate", None) or parser.instantiate_classes
        return instantiate(parsed)[name]
    except ArgumentError as error:
        raise ValueError(f"{path}: {unwrapped(str(error))}") from None


def _class_of(name: str) -> type[HybridModule]:
    importable()
    module, _, last = name.rpartition(".")
    try:
        found = getattr(import_module(module or "hybridlit.templates"), last)
    except (ImportError, AttributeError):
        raise ValueError(
            f"there is no class {name!r}: give the name of a template or package.module.Class"
        ) from None
    if not (isinstance(found, type) and issubclass(found, HybridModule)):
        raise ValueError(f"{name} is no HybridModule")
    return found


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    return path
