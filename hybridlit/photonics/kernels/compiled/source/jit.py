# mypy: allow-untyped-calls
"""Typed decorators for the three kinds of compiled functions, and machine code of entry points."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit, types
from numba.extending import intrinsic

from hybridlit.internals import numba

F = TypeVar("F", bound=Callable[..., Any])

#: The least positive number that a precision still divides by, which also stands for its type.
LIKE = {4: (types.float32, 1e-30), 8: (types.float64, 1e-300)}


def entry_point(function: F) -> F:
    """Mark a function that Python calls, as machine code: integers in, at most an integer out.

    A first parameter `like` is not passed but fixed when the function is compiled.
    """
    return function


def compiled(function: F) -> F:
    """Compile a function that only compiled functions call, into each of them."""
    return cast(F, njit(nogil=True, **numba.INNER)(function))


def operation(typed: Callable[..., tuple[Any, Callable[..., Any]]]) -> Any:
    """Make an intrinsic of compiled functions.

    From the types of its arguments the function makes a signature, and another function, which
    emits its code from a builder and the values of the arguments.
    """

    def typing(typingctx: Any, *kinds: Any) -> Any:
        signature, emit = typed(*kinds)

        def codegen(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
            result = emit(builder, *values)
            return context.get_dummy_value() if result is None else result

        return signature, codegen

    typing.__name__, typing.__doc__ = typed.__name__, typed.__doc__
    parameters = inspect.signature(typed).parameters.values()
    context = inspect.Parameter("typingctx", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    typing.__signature__ = inspect.Signature([context, *parameters])  # type: ignore[attr-defined]
    return intrinsic(typing)


def object_code(function: Callable[..., Any], itemsize: int, symbol: str) -> tuple[int, bytes]:
    """Compile an entry point, whose `like` is a number of so many bytes, as `numba.object_code`."""
    return numba.object_code(function, LIKE[itemsize], symbol)
