"""Arguments that a constructor needs and is not given: what they are, and a call that has them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any

from hybridlit.constructors import taken_arguments
from hybridlit.data.scaling import AUTO
from hybridlit.words import meant

__all__ = ["require_arguments"]

_SIZES = {"input_dim": 10, "output_dim": 3}
"""Arguments that may be left to the data, each with a number to show."""

_NUMBER = 4


def require_arguments(kind: type, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Refuse a call of a constructor that lacks arguments: Python would give their names alone.

    Args:
        kind: The class. If its constructor is not of hybridlit, Python refuses the call.
        args: Arguments by position, without the object.
        kwargs: Arguments by name.

    Raises:
        TypeError: With what each missing argument is, as the class says it, and an example.
    """
    function: Any = next(vars(c)["__init__"] for c in kind.__mro__ if "__init__" in vars(c))
    if not function.__module__.startswith("hybridlit."):
        return
    parameters = list(inspect.signature(function).parameters.values())[1:]
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    needed = [p.name for p in named if p.default is p.empty]
    by_position = [p.name for p in named if p.kind is not p.KEYWORD_ONLY][: len(args)]
    missing = [name for name in needed if name not in by_position and name not in kwargs]
    if not missing:
        return
    numbers = ", ".join(f"{name}={_SIZES.get(name, _NUMBER)}" for name in needed)
    left = ", ".join(f"{name}={AUTO if name in _SIZES else _NUMBER!r}" for name in needed)
    example = f"{kind.__name__}({numbers})"
    if left != numbers:
        example += f", or {kind.__name__}({left}) for the sizes of the data"
    known = taken_arguments(kind)
    wrong = "".join(
        f"; it has no {name}{meant(name, known)}" for name in kwargs if name not in known
    )
    raise TypeError(
        f"{kind.__name__} is missing {' and '.join(_described(kind, name) for name in missing)}: "
        f"give for instance {example}{wrong}"
    )


def _described(kind: type, name: str) -> str:
    """Return an argument with what its class, or a base of it, says first about it."""
    for each in kind.__mro__:
        found = re.search(rf"^ +{name}: (.+?)[.;]\s", vars(each).get("__doc__") or "", re.M | re.S)
        if found and not found[1].startswith("As for"):
            text = " ".join(found[1].split())
            return f"{name} ({text[0].lower()}{text[1:]})"
    return name
