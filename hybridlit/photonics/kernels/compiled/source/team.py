# mypy: allow-untyped-calls, allow-untyped-decorators
"""Several threads that share the tasks of one entry point."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from hybridlit.internals.numba import signature
from hybridlit.photonics.kernels.compiled.layout import (
    ARGUMENTS,
    ARGUMENTS_FROM,
    CUT_FIELDS,
    CUTS,
    ENTRY,
    FAILED,
    FOUND,
    TASKS,
    TASKS_TAKEN,
    TEAM_GAP,
    WORKERS_SEEN,
)
from hybridlit.photonics.kernels.compiled.source.jit import entry_point, operation
from hybridlit.photonics.kernels.compiled.source.lanes import load, pointer, shift, store


@operation
def _take(source: Any, offset: Any) -> Any:
    """Return `source[offset]` and add 1 to it, without another thread in between."""

    def emit(builder: Any, place: Any, at: Any) -> Any:
        one = ir.Constant(ir.IntType(64), 1)
        return builder.atomic_rmw("add", builder.gep(place, [at]), one, "seq_cst")

    return signature(types.int64, source, types.intp), emit


@operation
def _call(address: Any, arguments: Any) -> Any:
    """Call the machine code of an entry point at `address`."""
    integer = ir.IntType(64)
    kind = ir.FunctionType(integer, [integer.as_pointer()]).as_pointer()

    def emit(builder: Any, at: Any, given: Any) -> Any:
        return builder.call(builder.inttoptr(at, kind), [given])

    return signature(types.int64, types.int64, arguments), emit


@entry_point
def share(team_at: int) -> None:
    """Do tasks of the team at an address until none is left.

    Its memory is described in `layout`. Each thread of the team calls this once.
    """
    team = pointer(team_at, types.int64(0))
    worker = _take(team, WORKERS_SEEN)
    count, cuts = load(team, ARGUMENTS), load(team, CUTS)
    given = shift(team, ARGUMENTS_FROM)
    changes = shift(given, count)
    own = shift(changes, cuts * CUT_FIELDS + TEAM_GAP + worker * (count + TEAM_GAP))
    for i in range(count):
        store(own, i, load(given, i))
    task = _take(team, TASKS_TAKEN)
    while task < load(team, TASKS):
        for i in range(0, cuts * CUT_FIELDS, CUT_FIELDS):
            place = load(changes, i)
            value = load(given, place) + task * load(changes, i + 1)
            value = min(value + worker * load(changes, i + 2), load(changes, i + 3))
            store(own, place, value)
        found = _call(load(team, ENTRY), own)
        if found < 0:
            store(team, FAILED, 1)
        elif found > 0:
            store(team, FOUND, 1)
        task = _take(team, TASKS_TAKEN)
