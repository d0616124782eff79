"""Models and data from checkpoints."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningDataModule

from hybridlit.cli.checkpoints import recipe_of, refuse_foreign
from hybridlit.internals.lightning import INSTANTIATES
from hybridlit.recipe.building import datamodule_of_recipe
from hybridlit.recipe.classes import importable
from hybridlit.recipe.reading import settings_of
from hybridlit.templates import HybridModule
from hybridlit.templates.foreign_names import unimported_name
from hybridlit.templates.loading import class_name_of, load_as, load_content, read_checkpoint

__all__ = [
    "datamodule_of_run",
    "load_model",
    "load_run",
]


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
    return load_content(content, checkpoint, [name], arguments)


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
