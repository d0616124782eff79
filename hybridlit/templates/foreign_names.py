"""Names in a checkpoint or a recipe that would import code; a file must not decide what is run.

Lightning builds the class that a checkpoint names, and jsonargparse imports whatever a string names
for an argument that takes a class, a function or a module. So names are looked up here, without
importing anything, and must be of modules that are imported already.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

__all__ = ["name_of", "named_strings", "unimported_name", "within"]

_LONG = 100_000
"""Letters of a text that is no recipe: YAML would take minutes over a table."""

_DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")


def name_of(kind: type) -> str:
    """Return the name by which a class is imported; of a template, the one that stays."""
    module = kind.__module__
    return f"{'hybridlit' if module.startswith('hybridlit.') else module}.{kind.__qualname__}"


def unimported_name(arguments: Any, trusted: Collection[str] = ()) -> str | None:
    """Return the first name among arguments of a checkpoint that would import a module, or None.

    Names that the user has given, `trusted`, and what is within them, may import what they will.
    """
    for name in named_strings(arguments):
        if not within(name, trusted) and _would_import(name):
            return name
    return None


def within(name: str, trusted: Collection[str]) -> bool:
    """Say whether a name is one of some, or in a module of one of them."""
    return any(name == each or name.startswith(f"{each}.") for each in trusted)


def named_strings(value: Any) -> Iterator[str]:
    """Yield all strings in a nested value that could be names of classes, also within YAML.

    A file that a string names is read, as jsonargparse would read it.
    """
    if isinstance(value, Mapping):
        for entry in value.values():
            yield from named_strings(entry)
    elif isinstance(value, (list, tuple, set)):
        for entry in value:
            yield from named_strings(entry)
    elif isinstance(value, str):
        with suppress(OSError, ValueError):  # no name of a file, or no text in it
            if Path(value).is_file():
                value = Path(value).read_text(encoding="utf-8")
        if _DOTTED.fullmatch(value):
            yield value
            return
        if len(value) > _LONG:
            yield from {found[0] for found in _DOTTED.finditer(value)}
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
