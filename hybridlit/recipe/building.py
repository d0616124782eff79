"""Model, data and Trainer of a recipe, in Python and without a word."""

# Without postponed annotations, which pdoc cannot read in a named tuple.

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from jsonargparse import ArgumentError, ArgumentParser
from lightning.pytorch import Callback, LightningDataModule, Trainer, seed_everything
from lightning.pytorch.callbacks import Checkpoint, LearningRateMonitor

import hybridlit.data  # noqa: F401  # short class names work for what is imported
from hybridlit.analysis.silence import lightning_silenced
from hybridlit.callbacks import (
    ComponentProfiler,
    EvaluationPictures,
    PhotonicInspector,
    TensorBoardLayout,
)
from hybridlit.recipe.classes import importable
from hybridlit.recipe.reading import settings_of
from hybridlit.recipe_files import recipe_file
from hybridlit.resume.exact_resume import ExactResume
from hybridlit.templates import HybridModule
from hybridlit.templates.sizes import Sizes
from hybridlit.unwrapping import cause_of, unwrapped

__all__ = [
    "Built",
    "Parsed",
    "build",
    "build_data",
    "datamodule_of_recipe",
    "model_of_recipe",
    "model_of_section",
    "trainer_arguments",
]

_QUIET: dict[str, Any] = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "devices": 1,
    "num_nodes": 1,
    "strategy": "auto",
}
"""Options of a Trainer that writes nothing, says nothing and has one process."""

_OF_A_RUN = (
    Checkpoint,
    ComponentProfiler,
    EvaluationPictures,
    ExactResume,
    LearningRateMonitor,
    PhotonicInspector,
    TensorBoardLayout,
)
"""Callbacks of a recipe that write files, or have nothing to do without a logger."""


class Built(NamedTuple):
    """What a recipe describes.

    Example:
        >>> Built._fields
        ('model', 'data', 'trainer')
    """

    model: HybridModule
    data: LightningDataModule
    trainer: Trainer


def build(
    settings: Mapping[str, Any],
    seed: int | None = None,
    *,
    callbacks: Iterable[Callback] = (),
    **options: Any,
) -> Built:
    """Build model, data and Trainer of a recipe, without running them.

    They are those that `hybridlit fit` would train, but the Trainer has one process, writes
    nothing and says nothing unless `options` ask for it, and the callbacks of the recipe that write
    checkpoints, pictures and profiles, or for a logger, are left out: none of them trains anything.

    Args:
        settings: What a recipe says, of `read_recipe`, perhaps `changed`.
        seed: Decides initial weights, splits (where the data have an argument `seed`) and batches;
            None: as the recipe says, or else 0.
        callbacks: Further ones.
        **options: Arguments of the Trainer that differ from the recipe's.

    Returns:
        Model, data and Trainer.

    Raises:
        ValueError: If the settings name what is not there, with the argument and what is meant.

    Example:
        >>> settings = {
        ...     "model": {
        ...         "class_path": "SequentialHybrid",
        ...         "init_args": {"input_dim": 4, "quantum_dim": 2, "output_dim": 3},
        ...     },
        ...     "data": {"class_path": "SklearnDataModule", "init_args": {"dataset": "iris"}},
        ... }
        >>> model, data, trainer = build(settings, seed=1, max_epochs=2)
        >>> model(data.train[0][:5]).shape, trainer.max_epochs
        (torch.Size([5, 3]), 2)
    """
    return Parsed(settings, **options).build(seed, callbacks)


def build_data(settings: Mapping[str, Any], seed: int | None = None) -> LightningDataModule:
    """Build the data of a recipe alone, those that `build` makes with the same seed.

    Example:
        >>> data = {"class_path": "SklearnDataModule", "init_args": {"dataset": "iris"}}
        >>> build_data({"data": data}).num_classes
        3
    """
    data: LightningDataModule = Parsed(settings, ("data",)).made(seed)["data"]
    return data


def trainer_arguments(settings: Mapping[str, Any], **options: Any) -> dict[str, Any]:
    """Return the arguments, callbacks among them, of the Trainer that `build` makes."""
    found: dict[str, Any] = Parsed(settings, ("trainer",), **options).made()["trainer"]
    return found


class Parsed:
    """Settings that are read and checked once, to be built many times; that takes half the time.

    Args:
        settings: As of `build`.
        sections: What is wanted of them: of `"model"`, `"data"` and `"trainer"`.
        **options: As of `build`.

    Raises:
        ValueError: As of `build`.

    Example:
        >>> data = {"class_path": "SklearnDataModule", "init_args": {"dataset": "iris"}}
        >>> parsed = Parsed({"data": data}, sections=["data"])
        >>> [parsed.made(seed)["data"].hparams.seed for seed in (1, 2)]
        [1, 2]
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        sections: Iterable[str] = ("model", "data", "trainer"),
        **options: Any,
    ) -> None:
        given = {name: settings.get(name) for name in sections}
        for name in ("model", "data"):
            if name in given and given[name] is None:
                raise ValueError(f"the settings have no section {name!r}")
        if "trainer" in given:
            trainer = {**(given["trainer"] or {}), **_QUIET}
            given["trainer"] = {k: value for k, value in trainer.items() if k not in options}
        with _one_cause():
            self._parsed = _parser().parse_object(given)
        self._sections, self._options = set(given), options
        own = settings.get("seed_everything", 0)
        self._seed = own if type(own) is int else 0

    def build(self, seed: int | None = None, callbacks: Iterable[Callback] = ()) -> Built:
        """Build what `build` does."""
        made = self.made(seed)
        model, data, arguments = made["model"], made["data"], made["trainer"]
        if not isinstance(model, HybridModule):
            model = model.build(data)
        arguments["callbacks"] += callbacks
        with lightning_silenced():
            return Built(model, data, Trainer(**arguments))

    def made(self, seed: int | None = None) -> dict[str, Any]:
        """Return what the sections describe; of the Trainer, its arguments."""
        parsed = self._parsed.clone()
        if seed is not None and "data" in self._sections:
            arguments = parsed["data"].get("init_args", {})
            if "seed" in arguments:
                arguments["seed"] = seed
        seed_everything(self._seed if seed is None else seed, workers=True, verbose=False)
        with _one_cause():
            made: dict[str, Any] = _parser().instantiate(parsed).as_dict()
        if "trainer" in self._sections:
            of_recipe = made["trainer"].pop("callbacks", None) or []
            of_recipe = list(of_recipe) if isinstance(of_recipe, (list, tuple)) else [of_recipe]
            kept = [each for each in of_recipe if not isinstance(each, _OF_A_RUN)]
            made["trainer"] |= {**self._options, "callbacks": kept}
        return made


def model_of_section(section: Any, sizes: Sizes) -> HybridModule:
    """Build what a section `model` describes, for data of such sizes if some are `auto`."""
    with _one_cause():
        parsed = _parser().parse_object({"model": section})
        model: HybridModule = _parser().instantiate(parsed)["model"]
    return model.build(sizes)


def model_of_recipe(config: str | Path) -> HybridModule:
    """Build the model, with fresh weights, that a recipe or the `config.yaml` of a run describes.

    If sizes are `auto`, that is for the data that it describes.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     recipe = Path(folder, "small.yaml")
        ...     _ = recipe.write_text(
        ...         "model: {class_path: ResidualHybrid, init_args: {input_dim: 4, output_dim: 3}}"
        ...     )
        ...     model_of_recipe(recipe).hparams.output_dim
        3
    """
    model: HybridModule = _section(Path(config), "model")
    return model if isinstance(model, HybridModule) else model.build(datamodule_of_recipe(config))


def datamodule_of_recipe(config: str | Path) -> LightningDataModule:
    """Build the data module that a recipe describes.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     recipe = Path(folder, "iris.yaml")
        ...     _ = recipe.write_text(
        ...         "data: {class_path: SklearnDataModule, init_args: {dataset: iris}}"
        ...     )
        ...     datamodule_of_recipe(recipe).num_features
        4
    """
    data: LightningDataModule = _section(Path(config), "data")
    return data


@contextmanager
def _one_cause() -> Iterator[None]:
    """Raise what is wrong with settings without the pages that jsonargparse wraps it in."""
    try:
        yield
    except ArgumentError as error:
        raise ValueError(unwrapped(str(error), _parser())) from None
    except (TypeError, ValueError) as error:
        raise cause_of(error) from None


@cache
def _parser() -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(HybridModule, "model")
    parser.add_subclass_arguments(LightningDataModule, "data")
    untyped: dict[str, Any] = dict(fail_untyped=False, instantiate=False, sub_configs=True)
    parser.add_class_arguments(Trainer, "trainer", **untyped)
    return parser


def _section(path: Path, name: str) -> Any:
    """Build what a section of a recipe describes, a class with its arguments."""
    path = recipe_file(path)
    content = settings_of(path)
    section = content.get(name) if isinstance(content, dict) else None
    if section is None:
        raise ValueError(f"{path} has no section {name!r}")
    importable(path)
    try:
        return _parser().instantiate(_parser().parse_object({name: section}))[name]
    except ArgumentError as error:
        raise ValueError(f"{path}: {unwrapped(str(error))}") from None
