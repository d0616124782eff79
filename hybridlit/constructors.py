"""What the constructors of an object were called with, read from the frames of their calls.

Where `save_hyperparameters` reads the same frames, nothing may stand in between; so these
constructors are not decorated with `checked`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from enum import Enum
from types import FrameType
from typing import Any, NamedTuple

import numpy as np

from hybridlit.argument_types import check_arguments

__all__ = ["ConstructorCall", "check_constructors", "plain"]


class ConstructorCall(NamedTuple):
    """A constructor that is running."""

    function: Callable[..., None] | None  # None if the class of the object does not have it
    arguments: dict[str, Any]

    @property
    def is_ours(self) -> bool:
        """Whether the constructor is one of this package, not of a subclass of the user."""
        return self.function is not None and self.function.__module__.startswith("hybridlit.")


def check_constructors(obj: object, frame: FrameType | None) -> list[ConstructorCall]:
    """Collect the arguments of the constructors that are running for an object, and check them.

    Those of other packages, subclasses of the user for instance, check their own.

    Args:
        obj: The object under construction.
        frame: The frame of the innermost `__init__`.

    Returns:
        From the innermost (the base class) to the outermost (the class that was called). Values in
        `*args` get the names of the parameters of the next constructor, in order, since passing
        them on is what they are for.

    Raises:
        TypeError, ValueError: As `check_arguments`.
    """
    inits = [vars(kind)["__init__"] for kind in type(obj).__mro__ if "__init__" in vars(kind)]
    functions = {init.__code__: init for init in inits if hasattr(init, "__code__")}
    calls: list[ConstructorCall] = []
    inner_positional: list[str] = []
    while frame is not None and frame.f_code.co_name == "__init__":
        arguments = inspect.getargvalues(frame)
        if not arguments.args or arguments.locals[arguments.args[0]] is not obj:
            break
        code = frame.f_code
        count = code.co_argcount + code.co_kwonlyargcount
        call = {name: arguments.locals[name] for name in code.co_varnames[1:count]}
        if arguments.varargs is not None:
            call.update(zip(inner_positional, arguments.locals[arguments.varargs], strict=False))
        if arguments.keywords is not None:
            call.update(arguments.locals[arguments.keywords])
        calls.append(ConstructorCall(functions.get(code), call))
        inner_positional = list(code.co_varnames[1 : code.co_argcount])
        frame = frame.f_back
    for found in reversed(calls):
        if found.is_ours and found.function is not None:
            check_arguments(found.function, found.arguments)
    return calls


def plain(value: Any) -> Any:
    """Turn enum members and numpy scalars, in lists and dictionaries too, into plain values.

    A checkpoint can hold those safely; other values stay as they are.
    """
    if isinstance(value, Enum):
        return plain(value.value)
    if type(value) in (list, tuple):
        return type(value)(plain(entry) for entry in value)
    if type(value) is dict:
        return {plain(key): plain(entry) for key, entry in value.items()}
    return value.item() if isinstance(value, np.generic) else value
