"""What jsonargparse says about options and settings, in pages: the one thing that is wrong."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterator

from jsonargparse import ArgumentParser

from hybridlit.internals.jsonargparse import (
    Complaint,
    complaint,
    option_names,
    wraps_another,
)
from hybridlit.words import meant

__all__ = ["cause_of", "unwrapped"]

_SECTIONS = ("class_path", "init_args", "dict_kwargs")


def cause_of(error: BaseException) -> BaseException:
    """Return what a constructor has raised, within the errors that jsonargparse wraps it in."""
    while wraps_another(error):
        assert error.__cause__ is not None
        error = error.__cause__
    return error


def unwrapped(message: str, parser: ArgumentParser | None = None) -> str:
    """Return one line for a message of jsonargparse, with names of a parser's options if given.

    Other messages stay as they are.
    """
    found = complaint(message)
    known = [] if parser is None else option_names(parser)
    told = _TOLD.get(found.saying)
    if told is not None:
        return told(found, known)
    return f"{found.keys[-1]}: {found.said.strip()}" if found.keys else found.said


def _option(found: Complaint, known: list[str]) -> str:
    """What is wrong with a word of the command line that nothing takes."""
    given = found.words[0]
    if not given.startswith("-"):
        recipe = "--config" in known and given.endswith((".yaml", ".yml"))
        how = f"; a recipe is given by --config {given}" if recipe else ""
        return f"there is no place for the word {given!r}{how}"
    name = given.partition("=")[0]
    return f"there is no option {name}{_near(name, known)}"


def _missing(found: Complaint, known: list[str]) -> str:
    options = sorted(f"--{name.split('.', 1)[-1]}" for name in found.words[0].split(", "))
    recipe = ", or a recipe by --config" if "--config" in known else ""
    return f"give {' and '.join(options)}{recipe}"


def _setting(found: Complaint, known: list[str]) -> str:
    """What is wrong with a setting in a file; its name is as that of an option, without dashes."""
    name = ".".join(filter(None, found.words))
    names = [each.removeprefix("--") for each in known]
    near = _near(name, names)
    if "." in name and name.partition(".")[0] not in {n.partition(".")[0] for n in names}:
        name = name.partition(".")[0]
    return f"there is no setting {name!r} in a recipe{near}"


def _near(name: str, known: list[str]) -> str:
    """The nearest of names with dots: of the first part, if that is not known."""
    firsts = {each.partition(".")[0] for each in known}
    first, _, _ = name.partition(".")
    return meant(name, known) if first in firsts else meant(first, firsts)


def _argument(found: Complaint, known: list[str]) -> str:
    from hybridlit.templates.hyperparameters import unknown_argument

    path, name = found.words
    section, dot, _ = name.partition(".")
    if section == "class_path":  # taken for an argument, since there is another word beside it
        return "beside class_path there can be nothing but init_args"
    if dot:
        return f"{path}: no setting {section!r}{meant(section, _SECTIONS)}"
    module, _, kind = path.rpartition(".")
    return str(unknown_argument(getattr(sys.modules[module], kind), [name]))


def _missing_arguments(found: Complaint, known: list[str]) -> str:
    path, names = found.words
    return f"{path} needs {names.replace(', ', ' and ')}, and null is none"


def _class_not_found(found: Complaint, known: list[str]) -> str:
    name, why = found.words
    return _class(name, f": {why}" if why.startswith("No module") else "")


def _no_class_path(found: Complaint, known: list[str]) -> str:
    if "\n" in found.value or not re.fullmatch(r"[\w.]+", found.words[0]):  # what is in a file, say
        return f"{found.keys[0]}: this names no class; give a class, and a file as its argument"
    return _class(found.words[0], "")


def _other_class(found: Complaint, known: list[str]) -> str:
    return f"{found.keys[0]}: {found.value} is no {found.words[0]}" if found.keys else found.said


def _no_settings(found: Complaint, known: list[str]) -> str:
    """What follows in the message may be somebody's data."""
    return "the file of --config is no recipe: it has no settings by name"


def _class(name: str, why: str) -> str:
    known = {each.__name__ for each in _classes()}
    near = meant(name.rpartition(".")[2], known) or (
        "; classes of your own are found by module.Class, where the module is in the working "
        "folder or beside the recipe"
    )
    return f"there is no class {name!r}{why}{near}"


def _classes() -> Iterator[type]:
    """All classes that are imported and have a short name on the command line."""
    from lightning.pytorch import Callback, LightningDataModule
    from lightning.pytorch.loggers import Logger

    from hybridlit.templates import HybridModule

    found: list[type] = [HybridModule, LightningDataModule, Callback, Logger]
    for kind in found:
        found += kind.__subclasses__()
        yield kind


def _value(found: Complaint, known: list[str]) -> str:
    """What an argument must be, in the words of our own checks."""
    key, value = found.keys[-1], found.value
    words: list[str] = []
    choices: list[str] = []
    for expected, got in found.expected:
        value = got or value
        if expected.startswith("typing.Literal"):
            choices += ast.literal_eval(expected.removeprefix("typing.Literal"))
        else:
            words.append(expected.removeprefix("<class '").removesuffix("'>"))
    ours = {"NoneType": "null", "float": "a number", "dict": "a dictionary"}
    words = list(dict.fromkeys(ours.get(word, word) for word in words))
    if choices:
        words.insert(0, f"one of {choices}")
    said = f", got {value!r}" if 0 < len(value) <= 80 and "\n" not in value else ""
    said += meant(value, map(str, choices))
    if value == "auto" and key in ("input_dim", "output_dim"):  # of a class that is not ours
        said += f": let the class say that it takes it, {key}: int | Literal['auto']"
    return f"{key} must be {' or '.join(words)}{said}"


_TOLD: dict[str, Callable[[Complaint, list[str]], str]] = {
    "unknown_option": _option,
    "missing_options": _missing,
    "unknown_argument": _argument,
    "missing_arguments": _missing_arguments,
    "unknown_in_group": _setting,
    "unknown_setting": _setting,
    "class_not_found": _class_not_found,
    "no_class_path": _no_class_path,
    "other_class": _other_class,
    "no_settings": _no_settings,
    "wrong_value": _value,
}
"""What is told of a complaint, given the names of options: a row for each of `SAYINGS`."""
