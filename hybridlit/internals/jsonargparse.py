"""What hybridlit uses of jsonargparse that it does not document. Seen in 4.52 and 4.53."""

from __future__ import annotations

import re
from typing import NamedTuple

from jsonargparse import ArgumentParser

__all__ = ["SAYINGS", "Complaint", "complaint", "option_names", "wraps_another"]

_WRAPPERS = ("Does not validate against", "Problem with given class_path", "Parser key", "\n- Exp")
_KEY = re.compile(r'Parser key "([^"]*)":')
_EXPECTED = re.compile(r"Expected a (.*?)(?:\. Got value: (.*))?$", re.MULTILINE)

SAYINGS: dict[str, re.Pattern[str]] = {
    "unknown_option": re.compile(r"\Aunrecognized arguments: (\S+)"),
    "missing_options": re.compile(r"\Athe following arguments are required: (.*)"),
    "unknown_argument": re.compile(
        r"given class_path '([\w.]+)':\s+Option '([\w.]+)' is not accepted"
    ),
    "missing_arguments": re.compile(
        r"given class_path '([\w.]+)':\s+the following arguments are required: (.*)"
    ),
    "unknown_in_group": re.compile(
        r"(?:Group '([\w.]+)'|Subcommand '\w+') does not accept option '([\w.]+)'"
    ),
    "unknown_setting": re.compile(r"Option '([\w.]+)' is not accepted"),
    "class_not_found": re.compile(r"given class_path '([\w.]+)':\s+(No .*)"),
    "no_class_path": re.compile(r"Expected a dot import path string: (.*)"),
    "other_class": re.compile(r"not correspond to a subclass of (\w+)"),
    "no_settings": re.compile(r"\A(Unexpected config)"),
}
"""What a message says is wrong, by name, in the order in which they are looked for.

If one goes: the message is passed on as it is.
"""


def option_names(parser: ArgumentParser) -> list[str]:
    """Return all options of a parser and its verbs, such as `--trainer.max_epochs`.

    If it goes: an empty list, and no nearest name is told.
    """
    names = list(parser._option_string_actions)
    verbs = parser._subcommands_action
    for inner in {} if verbs is None else verbs._name_parser_map.values():
        names += option_names(inner)
    return names


def wraps_another(error: BaseException) -> bool:
    """Tell whether an error is there to say where its cause has come up.

    If it goes: False, and errors of constructors are told with all that is around them.
    """
    return error.__cause__ is not None and str(error).startswith(_WRAPPERS)


class Complaint(NamedTuple):
    """What a message says.

    Attributes:
        saying: One of `SAYINGS`; `"wrong_value"`, or `"other"`.
        words: What the message puts into this saying.
        keys: Names of the settings that it is about, each within the one before.
        value: What was given.
        said: What it says of the last key, or the whole message without a key.
        expected: What the last key may be, and what it got, for each of several kinds.
    """

    saying: str
    words: tuple[str, ...]
    keys: list[str]
    value: str
    said: str
    expected: list[tuple[str, str]]


def complaint(message: str) -> Complaint:
    """Take a message of a parser apart.

    If it goes: a `Complaint` of the saying `"other"`, with the message.
    """
    text, _, rest = message.partition("Given value type:")
    value = re.split(r"\n *- |\n *Given value type:", rest.partition("Given value: ")[2])[0].strip()
    keys = _KEY.findall(text)
    said = _below(text) if keys else text
    expected = _EXPECTED.findall(said) if keys else []
    for name, pattern in SAYINGS.items():
        if found := pattern.search(text):
            return Complaint(name, found.groups(""), keys, value, said, expected)
    return Complaint("wrong_value" if expected else "other", (), keys, value, said, expected)


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
