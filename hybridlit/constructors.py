"""What the constructors of an object were called with, read from the frames of their calls.

Where `save_hyperparameters` reads the same frames, nothing may stand in between; so these
constructors are not decorated with `checked`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from enum import Enum
from importlib import import_module
from types import FrameType
from typing import Any, NamedTuple

import numpy as np

from hybridlit.argument_types import check_arguments

__all__ = [
    "ConstructorCall",
    "check_constructors",
    "constructor_calls",
    "given_arguments",
    "named",
    "plain",
    "raised_in",
    "taken_arguments",
]


class ConstructorCall(NamedTuple):
    """A constructor that is running."""

    function: Callable[..., None] | None  # None if the class of the object does not have it
    arguments: dict[str, Any]

    @property
    def is_ours(self) -> bool:
        """Whether the constructor is one of this package, not of a subclass of the user."""
        return self.function is not None and self.function.__module__.startswith("hybridlit.")


def constructor_calls(obj: object, frame: FrameType | None) -> list[ConstructorCall]:
    """Collect the arguments of the constructors that are running for an object.

    Args:
        obj: The object under construction.
        frame: The frame of the innermost `__init__`.

    Returns:
        One call per constructor, from the innermost (the base class) to the outermost (the class
        that was called). Values in `*args` get the names of the parameters of the next constructor,
        in order, since passing them on is what they are for.
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
    return calls


def check_constructors(obj: object, frame: FrameType | None) -> list[ConstructorCall]:
    """Check the arguments of all constructors of this package that are running for an object.

    Those of other packages, subclasses of the user for instance, check their own.

    Args:
        obj: The object under construction.
        frame: The frame of the innermost `__init__`.

    Returns:
        What `constructor_calls` returns.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If it is none of the words allowed, or has the wrong number of entries.
    """
    calls = constructor_calls(obj, frame)
    for call in reversed(calls):
        if call.is_ours and call.function is not None:
            check_arguments(call.function, call.arguments)
    return calls


def given_arguments(calls: list[ConstructorCall], names: Collection[str]) -> dict[str, Any]:
    """Return the arguments of running constructors that are not what they are by default.

    Args:
        calls: What `constructor_calls` returns.
        names: The arguments to look at; their values can be compared.

    Returns:
        Values by name. The outermost constructor that has a parameter decides about its default.
    """
    decided: dict[str, bool] = {}
    for call in reversed(calls):
        parameters = {} if call.function is None else inspect.signature(call.function).parameters
        for name in names:
            if name in parameters and name in call.arguments and name not in decided:
                decided[name] = call.arguments[name] != parameters[name].default
    return {name: calls[0].arguments[name] for name, given in decided.items() if given}


def taken_arguments(kind: type) -> dict[str, Callable[..., None]]:
    """Return the arguments that a class takes by name, each with the constructor that has it.

    Those of a base class as well, as far as its constructors pass others on in `**kwargs`.
    """
    found: dict[str, Callable[..., None]] = {}
    for each in kind.__mro__:
        function = vars(each).get("__init__")
        if function is None or each is object:
            continue
        parameters = list(inspect.signature(function).parameters.values())[1:]
        for parameter in parameters:
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                found.setdefault(parameter.name, function)
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            break
    return found


def raised_in(error: BaseException) -> str:
    """Return the name of the module whose code has raised an error."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else str(trace.tb_frame.f_globals.get("__name__", ""))


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


def named(given: Mapping[str, Any], argument: str) -> tuple[Any, dict[str, Any]]:
    """Import what `{class_path: module.Name, init_args: {...}}` names, and return its arguments.

    Args:
        given: The two, as in YAML; `init_args` may be left out.
        argument: Name of the argument that was given them, for messages.

    Raises:
        TypeError: If they have another form.
        ValueError: If there is nothing of that name.
    """
    path, arguments = given.get("class_path"), given.get("init_args") or {}
    others = [key for key in given if key not in ("class_path", "init_args")]
    if others or not isinstance(path, str) or not isinstance(arguments, Mapping):
        raise TypeError(
            f"{argument} must hold a class_path, and arguments by name in init_args, got "
            + (f"{others[0]!r} beside them" if others else repr(dict(given)))
        )
    module, _, name = path.rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"{argument} must name what can be imported as module.Name, got class_path={path!r}: "
            f"{error}"
        ) from None
    return found, dict(arguments)
