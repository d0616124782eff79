"""Names of a space against the constructors that get them, before anything is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import fields, replace
from importlib import import_module
from inspect import signature
from typing import Any

from lightning.pytorch import LightningDataModule, Trainer

from hybridlit.argument_types import check_arguments
from hybridlit.constructors import taken_arguments
from hybridlit.photonics import Experiment
from hybridlit.recipe import changed
from hybridlit.recipe.reading import Settings
from hybridlit.search.space import Dimension, Space
from hybridlit.templates import HybridModule
from hybridlit.templates.hyperparameters import RENAMED, unknown_argument
from hybridlit.templates.quantum import CIRCUIT_ARGUMENTS
from hybridlit.words import meant

__all__ = ["applied", "bound_to_constructors", "class_of", "left_out"]

_KINDS: dict[str, type] = {"model": HybridModule, "data": LightningDataModule}
_ROWS = {"class_path", "seed", "test_seed", "val_fraction", "test_fraction", "calibration_fraction"}
_ROWS |= {"arrays", "dataset", "group", "missing", "path", "split", "target"}
"""What says which rows are for what, and what they are to be told."""

_CLASS = "class_path"


def bound_to_constructors(space: Space, settings: Mapping[str, Any]) -> Space:
    """Check the names and values of a space against the constructors of the recipe's classes.

    Args:
        space: The space.
        settings: The recipe.

    Returns:
        The space, with arguments that only some of the classes take drawn for these only, and
        ranges of whole numbers as ranges of numbers where the argument is no integer.

    Raises:
        TypeError: If a name or a type is wrong; the message has class, argument and nearest name.
        ValueError: If a value is none of the words allowed, or a name is not for a search.
    """
    kinds = {name: _classes(name, space, settings) for name in _KINDS}
    return Space(tuple(_bound(each, kinds, settings) for each in space.dimensions))


def applied(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> Settings:
    """Return a recipe with the changes of a trial.

    Where these choose another class, arguments that the recipe has for its own class and that the
    other one does not take are left out: `left_out` names them.
    """
    found = changed(settings, {})
    path = changes.get(f"model.{_CLASS}")
    for name in [] if path is None else left_out(settings, path):
        del found["model"]["init_args"][name]
    return changed(found, changes)


def left_out(settings: Mapping[str, Any], path: str) -> list[str]:
    """Name the arguments of the model of a recipe that the template of a path does not take."""
    given = settings["model"].get("init_args") or {}
    return [name for name in given if name not in taken_arguments(class_of(path))]


def class_of(name: str, section: str = "model") -> type:
    """Return the class that a `class_path` of a section names, by its name or `module.Class`."""
    kind = _KINDS[section]
    module, _, last = name.rpartition(".")
    found: Any = None
    if module:
        with suppress(ImportError):
            found = getattr(import_module(module), last, None)
    else:
        found = next((each for each in _below(kind) if each.__name__ == name), None)
    if not (isinstance(found, type) and issubclass(found, kind)):
        near = meant(last, (each.__name__ for each in _below(kind)))
        raise ValueError(f"{section}.{_CLASS}: there is no {kind.__name__} {name!r}{near}")
    return found


def _classes(section: str, space: Space, settings: Mapping[str, Any]) -> dict[str, type]:
    named = f"{section}.{_CLASS}"
    dimension = next((each for each in space.dimensions if each.name == named), None)
    if dimension is not None and not dimension.choices:
        raise ValueError(f"{named} must be choices, names of classes")
    paths = dimension.choices if dimension else (settings[section][_CLASS],)
    return {path: class_of(path, section) for path in paths}


def _bound(
    dimension: Dimension, kinds: Mapping[str, Mapping[str, type]], settings: Mapping[str, Any]
) -> Dimension:
    section, _, rest = dimension.name.partition(".")
    argument, _, deeper = rest.partition(".")
    if section == "trainer":
        return _bound_to_trainer(dimension, argument, deeper)
    if section not in kinds:
        known = ("model", "data", "trainer")
        raise ValueError(
            f"space has {dimension.name}, and a search changes {', '.join(known)} only"
            f"{meant(section, known)}"
        )
    _refuse(dimension.name, section, argument, deeper, settings)
    if rest == _CLASS:
        return dimension
    classes = kinds[section]
    takers = {p: taken_arguments(k)[argument] for p, k in classes.items() if _takes(k, argument)}
    if not takers:
        error = unknown_argument(next(iter(classes.values())), [argument])
        raise TypeError(f"space has {dimension.name}: {error}")
    for path in dimension.when.get(f"{section}.{_CLASS}", ()):
        if path not in takers:
            error = unknown_argument(classes[path], [argument])
            raise TypeError(f"space has {dimension.name} for {path}: {error}")
    if not deeper:
        dimension = _typed(dimension, argument, takers.values())
    if len(takers) < len(classes) and f"{section}.{_CLASS}" not in dimension.when:
        dimension = replace(
            dimension, when={f"{section}.{_CLASS}": tuple(takers), **dimension.when}
        )
    return dimension


def _bound_to_trainer(dimension: Dimension, argument: str, deeper: str) -> Dimension:
    known = list(signature(Trainer.__init__).parameters)[1:]
    if argument not in known:
        raise TypeError(
            f"space has {dimension.name}: Trainer has no argument {argument!r}"
            f"{meant(argument, known)}"
        )
    return dimension if deeper else _typed(dimension, argument, [Trainer.__init__])


def _takes(kind: type, argument: str) -> bool:
    return argument in taken_arguments(kind)


def _refuse(
    name: str, section: str, argument: str, deeper: str, settings: Mapping[str, Any]
) -> None:
    """Refuse what is no matter of a search, and fields of an experiment that there are not."""
    if section == "data" and argument in _ROWS:
        raise ValueError(
            f"space has {name}, and all trials must be judged on the same rows: leave it out"
        )
    if section != "model":
        return
    if argument == "quantum":
        raise ValueError(
            f"space has {name}, and a search compares both anyway, with as many trials of each"
        )
    if argument in RENAMED:
        raise ValueError(f"space has {name}, which is called model.{RENAMED[argument]} now")
    whole = bool((settings["model"].get("init_args") or {}).get("experiment"))
    if whole and argument in CIRCUIT_ARGUMENTS:
        raise ValueError(
            f"space has {name}, and the recipe has its circuit in experiment: name "
            f"model.experiment.{argument}"
        )
    if argument == "experiment" and deeper:
        field, known = deeper.partition(".")[0], [each.name for each in fields(Experiment)]
        if field not in known:
            raise TypeError(
                f"space has {name}: Experiment has no argument {field!r}{meant(field, known)}; it "
                f"has {known}"
            )
        if not whole and field in CIRCUIT_ARGUMENTS:
            raise ValueError(
                f"space has {name}, and the recipe has no experiment: name model.{field}"
            )


def _typed(dimension: Dimension, argument: str, functions: Any) -> Dimension:
    """Check values against annotations; ranges are of integers only where these ask for them."""
    for function in functions:
        if dimension.is_of_integers and dimension.step is None and _is_number(function, argument):
            dimension = replace(dimension, low=float(dimension.low), high=float(dimension.high))
        for value in dimension.examples:
            try:
                check_arguments(function, {argument: value})
            except (TypeError, ValueError) as error:
                raise type(error)(f"space has {dimension.name}: {error}") from None
    return dimension


def _is_number(function: Callable[..., None], argument: str) -> bool:
    """Whether an argument may be any number; one without an annotation is not known to."""

    def fits(value: object) -> bool:
        try:
            check_arguments(function, {argument: value})
        except (TypeError, ValueError):
            return False
        return True

    return fits(0.5) and not fits(object())


def _below(kind: type) -> list[type]:
    found = [kind]
    for each in found:
        found += each.__subclasses__()
    return found[1:]
