"""Checks of the arguments of a call against the annotations of what is called.

One place instead of a line for every argument: a flag that is `"false"`, which is true in Python, a
number where a list is meant, a list where one of some words is. Ranges are checked where the
arguments are used. Annotations that say nothing at run time (protocols, type variables, names that
are imported for type checkers only) let everything through.
"""

from __future__ import annotations

import collections.abc
import inspect
import types
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from functools import cache, wraps
from numbers import Integral, Real
from typing import Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin

from typing_extensions import is_protocol

__all__ = ["check_arguments", "checked"]

P = ParamSpec("P")
R = TypeVar("R")

_WORDS: dict[Any, str] = {
    bool: "True or False",
    int: "an integer",
    float: "a number",
    str: "a string",
    type(None): "None",
    collections.abc.Callable: "a function",
    Any: "anything",
}
_SEVERAL: dict[Any, str] = {int: "integers", float: "numbers", str: "strings"}
_LISTS = (list, tuple, collections.abc.Sequence)
_ITERABLES = (collections.abc.Collection, collections.abc.Iterable)


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function or a constructor check the types of its arguments at every call.

    Signature and documentation are kept. Not for constructors that `save_hyperparameters` looks
    at: it finds their arguments in the frames of the calls, where this would stand in between.
    """
    signature = inspect.signature(function)

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError:  # too many, too few or unknown: Python says so better
            return function(*args, **kwargs)
        check_arguments(function, given)
        return function(*args, **kwargs)

    return call


def check_arguments(function: Callable[..., Any], given: Mapping[str, Any]) -> None:
    """Check arguments against the annotations of a function's parameters.

    A parameter also takes its default. Integers may be of any integral type and numbers of any
    real one, those of numpy included, but neither is a bool; a flag is True or False. Where a list
    or a tuple is meant, both will do, but no string, array or tensor.

    Args:
        function: What is called.
        given: Arguments by name; names that are no annotated parameters are not looked at.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If it is none of the words allowed, or has the wrong number of entries.
    """
    for name, (annotation, default) in _parameters(function).items():
        if name in given and given[name] is not default:
            error = _mismatch(given[name], annotation, name)
            if error is not None:
                raise error


@cache
def _parameters(function: Callable[..., Any]) -> dict[str, tuple[Any, Any]]:
    """Return annotations and defaults of the parameters that can be checked."""
    names = inspect.unwrap(function).__globals__
    found = {}
    for parameter in inspect.signature(function).parameters.values():
        annotation = parameter.annotation
        if isinstance(annotation, str):
            try:
                annotation = eval(annotation, names)
            except NameError:  # imported for type checkers only
                continue
        if annotation is not parameter.empty and "VAR_" not in parameter.kind.name:
            found[parameter.name] = (annotation, parameter.default)
    return found


def _mismatch(value: Any, annotation: Any, name: str) -> TypeError | ValueError | None:
    """Return the error that a value deserves, or None if it fits."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        if Any in arguments:  # the text of a large table would be made for nothing
            return None
        errors = [_mismatch(value, each, name) for each in arguments]
        if None in errors:
            return None
        inner = [e for e in errors if e is not None and not str(e).startswith(f"{name} must")]
        return inner[0] if inner else _error(value, annotation, name)
    if origin is Literal:
        return None if _is_choice(value, arguments) else _error(value, annotation, name)
    if origin is tuple and arguments[-1] is not Ellipsis:
        if _is_list(value) and len(value) == len(arguments):
            return _first(
                _mismatch(entry, each, f"{name}[{i}]")
                for i, (entry, each) in enumerate(zip(value, arguments, strict=True))
            )
        return _error(value, annotation, name)
    if origin in _LISTS:
        if not _is_list(value):
            return _error(value, annotation, name)
        entries = enumerate(value)
        return _first(_mismatch(entry, arguments[0], f"{name}[{i}]") for i, entry in entries)
    if origin in _ITERABLES:  # a look at the entries could use them up
        fits = isinstance(value, collections.abc.Iterable) and not isinstance(value, (str, bytes))
        return None if fits else _error(value, annotation, name)
    if origin in (dict, collections.abc.Mapping):
        if not isinstance(value, Mapping):
            return _error(value, annotation, name)
        keys = (_mismatch(key, arguments[0], f"each key of {name}") for key in value)
        values = (_mismatch(v, arguments[1], f"{name}[{key!r}]") for key, v in value.items())
        return _first(keys) or _first(values)
    return None if _is_plainly(value, origin or annotation) else _error(value, annotation, name)


def _is_plainly(value: Any, kind: Any) -> bool:
    """Say whether a value is of a type without arguments; True for what cannot be checked."""
    if kind is bool:
        return isinstance(value, bool)
    if kind is int or kind is float:
        return not isinstance(value, bool) and isinstance(value, Integral if kind is int else Real)
    if kind is None:
        return value is None
    if kind is collections.abc.Callable:
        return callable(value)
    if not isinstance(kind, type) or kind in (Any, object, type):
        return True
    if is_protocol(kind) or kind.__module__.startswith("torch.utils.data"):
        return True  # anything with the right methods will do
    # the value of a member of an enum stands for it
    return isinstance(value, (kind, str) if issubclass(kind, Enum) else kind)


def _is_choice(value: Any, allowed: tuple[Any, ...]) -> bool:
    # members of an enum stand for their values, and in any case: the enums themselves do so
    value = value.value if isinstance(value, Enum) else value
    if isinstance(value, str):
        return value in allowed or value.lower() in allowed
    return any(value is each for each in allowed)


def _is_list(value: Any) -> bool:
    return isinstance(value, collections.abc.Sequence) and not isinstance(value, (str, bytes))


def _first(errors: Iterable[TypeError | ValueError | None]) -> TypeError | ValueError | None:
    return next((error for error in errors if error is not None), None)


def _error(value: Any, annotation: Any, name: str) -> TypeError | ValueError:
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and shape:  # an array or a table, whose cells no message shows
        text = f"of shape {tuple(shape)}"
    else:
        text = " ".join(repr(value).split())
    text = text if len(text) <= 60 else f"{text[:57]}..."
    must = f"{name} must be {_describe(annotation)}, got"
    if _is_of_value(value, annotation):
        return ValueError(f"{must} {text}")
    return TypeError(f"{must} {type(value).__name__} {text}")


def _is_of_value(value: Any, annotation: Any) -> bool:
    """Say whether the value is to blame and not its type: another word, another length."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        words = isinstance(value, (str, Enum))  # beside a number, no other number is a word
        given = [each for each in arguments if words or get_origin(each) is not Literal]
        alone = len({*arguments} - {type(None)}) == 1
        return any(_is_of_value(value, each) for each in (arguments if alone else given))
    if origin is Literal:
        return True
    return origin is tuple and _is_list(value)


def _describe(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_describe(each) for each in arguments))
    if origin is Literal:
        return f"one of {list(arguments)}" if len(arguments) > 1 else repr(arguments[0])
    if origin is tuple and arguments[-1] is not Ellipsis:
        return "a pair" if len(arguments) == 2 else f"a list of {len(arguments)} entries"
    if origin in (*_LISTS, *_ITERABLES):
        entry = _describe(arguments[0])
        several = _SEVERAL.get(arguments[0], f"entries that are {entry}")
        return "a list" if entry == "anything" else f"a list of {several}"
    if origin in (dict, collections.abc.Mapping):
        return "a dictionary"
    kind = origin or annotation
    if kind in _WORDS or not isinstance(kind, type):
        return _WORDS.get(kind, "anything")
    return f"{'an' if kind.__name__[0] in 'AEIOU' else 'a'} {kind.__name__}"
