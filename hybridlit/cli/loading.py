"""Models and data from recipes and checkpoints."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser
from lightning.pytorch import LightningDataModule

import hybridlit.data  # noqa: F401  # short class names work for what is imported
from hybridlit.cli.checkpoints import recipe_of, refuse_foreign, settings_of
from hybridlit.cli.classes import importable
from hybridlit.cli.unwrapping import unwrapped
from hybridlit.internals.lightning import INSTANTIATES
from hybridlit.templates import HybridModule
from hybridlit.templates.foreign_names import unimported_name
from hybridlit.templates.loading import class_name_of, load, load_as, read_checkpoint

__all__ = [
    "datamodule_of_recipe",
    "datamodule_of_run",
    "load_model",
    "load_run",
    "model_of_recipe",
]


def model_of_recipe(config: str | Path) -> HybridModule:
    """Build the model, with fresh weights, that a recipe or the `config.yaml` of a run describes.

    If sizes are `auto`, that is for the data that it describes.
    """
    model: HybridModule = _section(Path(config), "model", HybridModule)
    return model if isinstance(model, HybridModule) else model.build(datamodule_of_recipe(config))


def datamodule_of_recipe(config: str | Path) -> LightningDataModule:
    """Build the data module that a recipe describes."""
    data: LightningDataModule = _section(Path(config), "data", LightningDataModule)
    return data


def load_model(
    checkpoint: str | Path, template: str | None = None, **arguments: Any
) -> HybridModule:
    """Load a model as `hybridlit.load` does.

    Args:
        checkpoint: Path of the checkpoint.
        template: Name of the class: of a template, such as `"SequentialHybrid"`, or with its
            module, such as `"mypackage.models.Mine"`. Only classes that are not of hybridlit, and
            checkpoints that tell none, need it. With it, the checkpoint is trusted to name other
            classes, for arguments that are modules.
        **arguments: Arguments of the class that the checkpoint does not hold.
    """
    if template is not None:
        return load_as(_class_of(template), checkpoint, arguments)
    content = read_checkpoint(checkpoint)
    name = class_name_of(content)
    if name is None:
        raise ValueError(
            f"{checkpoint} does not say of which class its model is: give template, such as "
            "'SequentialHybrid' or 'mypackage.models.Mine'"
        )
    importable()
    foreign = unimported_name([content.get("hyper_parameters"), name], {INSTANTIATES})
    if foreign is not None:
        raise ValueError(
            f"{checkpoint} asks for the class {foreign}, which is not imported: if you trust it, "
            f"give template={name!r}"
        )
    return load(checkpoint, [name], **arguments)


def load_run(
    checkpoint: str | Path, template: str | None = None
) -> tuple[HybridModule, LightningDataModule]:
    """Load a model as `load_model` does, with the data that it was trained on: see `recipe_of`."""
    model = load_model(checkpoint, template)
    return model, datamodule_of_run(checkpoint, template)


def datamodule_of_run(checkpoint: str | Path, template: str | None = None) -> LightningDataModule:
    """Build the data of a run; one of elsewhere imports nothing, unless a template is given."""
    recipe = recipe_of(checkpoint)
    if template is None:
        settings = settings_of(recipe)
        data = settings.get("data") if isinstance(settings, dict) else None
        refuse_foreign(Path(checkpoint), recipe, data, "give template, the class of the model")
    return datamodule_of_recipe(recipe)


def _section(path: Path, name: str, kind: type) -> Any:
    """Build what a section of a recipe describes, a class with its arguments."""
    content = settings_of(path)
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
