"""What jsonargparse says about options and settings, in pages: the one thing that is wrong."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator

from jsonargparse import ArgumentParser

from hybridlit.internals.jsonargparse import option_names
from hybridlit.words import meant

__all__ = ["cause_of", "unwrapped"]

_WRAPPERS = ("Does not validate against", "Problem with given class_path", "Parser key", "\n- Exp")
_KEY = re.compile(r'Parser key "([^"]*)":')
_ARGUMENT = re.compile(r"given class_path '([\w.]+)':\s+Option '([\w.]+)' is not accepted")
_GROUP = re.compile(r"(?:Group '([\w.]+)'|Subcommand '\w+') does not accept option '([\w.]+)'")
_SETTING = re.compile(r"Option '([\w.]+)' is not accepted")
_CLASS = re.compile(r"given class_path '([\w.]+)':\s+(No .*)")
_NO_CLASS = re.compile(r"Expected a dot import path string: (.*)")
_OTHER_CLASS = re.compile(r"not correspond to a subclass of (\w+)")
_EXPECTED = re.compile(r"Expected a (.*?)(?:\. Got value: (.*))?$", re.MULTILINE)
_MISSING = "the following arguments are required: "
_SECTIONS = ("class_path", "init_args", "dict_kwargs")


def cause_of(error: BaseException) -> BaseException:
    """Return what a constructor has raised, within the errors that jsonargparse wraps it in."""
    while error.__cause__ is not None and str(error).startswith(_WRAPPERS):
        error = error.__cause__
    return error


def unwrapped(message: str, parser: ArgumentParser | None = None) -> str:
    """Return one line for a message of jsonargparse, with names of a parser's options if given.

    Other messages stay as they are.
    """
    text, _, rest = message.partition("Given value type:")
    value = re.split(r"\n *- |\n *Given value type:", rest.partition("Given value: ")[2])[0].strip()
    keys = _KEY.findall(text)
    known = [] if parser is None else option_names(parser)
    if message.startswith("unrecognized arguments: "):
        return _option(message.split()[2], known)
    if message.startswith(_MISSING):
        names = message.removeprefix(_MISSING).split(", ")
        options = sorted(f"--{name.split('.', 1)[-1]}" for name in names)
        recipe = ", or a recipe by --config" if "--config" in known else ""
        return f"give {' and '.join(options)}{recipe}"
    if found := _ARGUMENT.search(text):
        return _argument(found[1], found[2])
    if found := _GROUP.search(text):
        return _setting(f"{found[1]}.{found[2]}" if found[1] else found[2], known)
    if found := _SETTING.search(text):
        return _setting(found[1], known)
    if found := _CLASS.search(text):
        return _class(found[1], f": {found[2]}" if found[2].startswith("No module") else "")
    if found := _NO_CLASS.search(text):
        if "\n" in value or not re.fullmatch(r"[\w.]+", found[1]):  # what is in a file, say
            return f"{keys[0]}: this names no class; give a class, and a file as its argument"
        return _class(found[1], "")
    if found := _OTHER_CLASS.search(text):
        return f"{keys[0]}: {value} is no {found[1]}" if keys else text
    if message.startswith("Unexpected config"):  # which follows, and may be somebody's data
        return "the file of --config is no recipe: it has no settings by name"
    if not keys:
        return text
    said = _below(text)
    if wanted := _EXPECTED.findall(said):
        return _value(keys[-1], wanted, value)
    return f"{keys[-1]}: {said.strip()}"


def _below(text: str) -> str:
    """Return what is said of the last key: lines that are indented more than its own."""
    *_, last = _KEY.finditer(text)
    before = text[: last.start()].rpartition("\n")[2]
    inside: list[str] = []
    first, *lines = text[last.end() :].split("\n")
    for line in lines:
        if line.strip() and len(line) - len(line.lstrip()) <= len(before) - before.count("-"):
            break
        inside.append(line)
    return "\n".join([first, *inside]).strip() or text[last.end() :]


def _option(given: str, known: list[str]) -> str:
    """What is wrong with a word of the command line that nothing takes."""
    if not given.startswith("-"):
        recipe = "--config" in known and given.endswith((".yaml", ".yml"))
        how = f"; a recipe is given by --config {given}" if recipe else ""
        return f"there is no place for the word {given!r}{how}"
    name = given.partition("=")[0]
    return f"there is no option {name}{_near(name, known)}"


def _setting(name: str, known: list[str]) -> str:
    """What is wrong with a setting in a file; its name is as that of an option, without dashes."""
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


def _argument(path: str, name: str) -> str:
    from hybridlit.templates.hyperparameters import unknown_argument

    section, dot, _ = name.partition(".")
    if section == "class_path":  # taken for an argument, since there is another word beside it
        return "beside class_path there can be nothing but init_args"
    if dot:
        return f"{path}: no setting {section!r}{meant(section, _SECTIONS)}"
    module, _, kind = path.rpartition(".")
    return str(unknown_argument(getattr(sys.modules[module], kind), [name]))


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


def _value(key: str, wanted: Iterable[tuple[str, str]], value: str) -> str:
    """What an argument must be, in the words of our own checks."""
    words: list[str] = []
    choices: list[str] = []
    for expected, got in wanted:
        value = got or value
        if expected.startswith("typing.Literal"):
            choices += ast.literal_eval(expected.removeprefix("typing.Literal"))
        else:
            words.append(expected.removeprefix("<class '").removesuffix("'>"))
    words = [{"NoneType": "null", "float": "a number"}.get(word, word) for word in words]
    if choices:
        words.insert(0, f"one of {choices}")
    said = f", got {value!r}" if 0 < len(value) <= 80 and "\n" not in value else ""
    return f"{key} must be {' or '.join(words)}{said}{meant(value, map(str, choices))}"
