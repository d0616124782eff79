# mypy: allow-untyped-calls
"""Typed decorators for the three kinds of compiled functions, and machine code of entry points."""

from __future__ import annotations

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

    A first parameter ``like`` is not passed but fixed when the function is compiled.
    """
    return function


def compiled(function: F) -> F:
    """Compile a function that only compiled functions call, into each of them."""
    return cast(F, njit(nogil=True)(function))


def operation(implementation: Callable[..., Any]) -> Any:
    """Make a numba intrinsic, which compiled functions call with one argument less."""
    return intrinsic(implementation)


def object_code(function: Callable[..., Any], itemsize: int, symbol: str) -> tuple[int, bytes]:
    """Compile an entry point to an object file that needs neither numba nor the interpreter.

    Args:
        function: the entry point.
        itemsize: bytes of a number, which ``like`` stands for.
        symbol: name for the function ``int64_t symbol(const int64_t *arguments)``. It returns -1
            if the entry point raised an exception, 0 if it returns nothing.

    Returns:
        The number of arguments, and the file.
    """
    return numba.object_code(function, LIKE[itemsize], symbol)
