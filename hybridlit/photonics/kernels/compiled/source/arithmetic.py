# mypy: allow-untyped-calls, allow-untyped-decorators
"""Arithmetic on `Lanes`: operators, sums, transposition, phase factors, and rows of numbers."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import lower_builtin

from hybridlit.internals.numba import AbstractTemplate, infer_global, signature
from hybridlit.photonics.kernels.compiled.source.jit import compiled, operation
from hybridlit.photonics.kernels.compiled.source.lanes import (
    Lanes,
    Pointer,
    Vector,
    element_bytes,
    lane_count,
    lanes_of,
    llvm_call,
    llvm_vector,
    load,
    splat_value,
    suffix,
    vector_pointer,
    vload,
    vstore,
)


def _define_operator(function: Any, instruction: str) -> None:
    """Let `function` (of module operator) act on two equal vector types."""

    @infer_global(function)
    class _Typing(AbstractTemplate):
        def generic(self, args: Any, kws: Any) -> Any:
            if len(args) == 2 and isinstance(args[0], Lanes) and args[0] == args[1]:
                return signature(args[0], *args)
            return None

    @lower_builtin(function, Lanes, Lanes)
    def _lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return getattr(builder, instruction)(*args)


for _function, _instruction in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _define_operator(_function, _instruction)


@operation
def splat(scalar: Any, like: Any) -> Any:
    """Return a vector of the type of `like` (vector or pointer) filled with `scalar`."""
    kind = like if isinstance(like, Lanes) else lanes_of(like.dtype)
    vector = llvm_vector(kind)
    of_types = signature(kind, kind.scalar, like)
    return of_types, lambda builder, number, _: splat_value(builder, vector, number)


def _calling(name: str, kind: Any) -> Callable[..., Any]:
    """What emits a call of an intrinsic of LLVM from vectors of one type to another."""
    vector = llvm_vector(kind)
    whole = f"llvm.{name}.{suffix(vector)}"
    return lambda builder, *operands: llvm_call(builder, whole, vector, list(operands))


@operation
def fma(a: Any, b: Any, c: Any) -> Any:
    """Return `a * b + c`, fused where the machine can."""
    return signature(a, a, a, a), _calling("fmuladd", a)


@operation
def fnma(a: Any, b: Any, c: Any) -> Any:
    """Return `c - a * b`, fused where the machine can."""
    call = _calling("fmuladd", a)
    return signature(a, a, a, a), lambda builder, x, *others: call(
        builder, builder.fneg(x), *others
    )


@operation
def rint(value: Any) -> Any:
    """Round every lane to the nearest integer."""
    return signature(value, value), _calling("rint", value)


@operation
def floor(value: Any) -> Any:
    """Round every lane down."""
    return signature(value, value), _calling("floor", value)


@operation
def lane_sum(value: Any) -> Any:
    """Return the sum of all lanes."""
    vector = llvm_vector(value)
    name = f"llvm.vector.reduce.fadd.{suffix(vector)}"
    start = ir.Constant(vector.element, -0.0)

    def emit(builder: Any, lanes: Any) -> Any:
        return llvm_call(builder, name, vector.element, [start, lanes], fastmath=("reassoc",))

    return signature(value.scalar, value), emit


@operation
def any_unusable(value: Any, bound: Any) -> Any:
    """Return whether a lane is NaN, infinite or at least `bound` in size."""
    vector, size = llvm_vector(value), _calling("fabs", value)
    packed = ir.IntType(value.count)

    def emit(builder: Any, lanes: Any, most: Any) -> Any:
        bad = builder.fcmp_unordered(">=", size(builder, lanes), splat_value(builder, vector, most))
        return builder.icmp_unsigned("!=", builder.bitcast(bad, packed), ir.Constant(packed, 0))

    return signature(types.boolean, value, value.scalar), emit


@operation
def reciprocal_above(value: Any, bound: Any) -> Any:
    """Return `1 / value` in lanes with `value >= bound` and 0 in the others."""
    vector = llvm_vector(value)
    one = ir.Constant(vector, [1.0] * vector.count)

    def emit(builder: Any, lanes: Any, least: Any) -> Any:
        kept = builder.fcmp_unordered(">=", lanes, splat_value(builder, vector, least))
        return builder.select(kept, builder.fdiv(one, lanes), ir.Constant(vector, None))

    return signature(value, value, value.scalar), emit


def _converted(kind: Lanes, instruction: str) -> Callable[..., Any]:
    target = llvm_vector(kind)

    def emit(builder: Any, lanes: Any, *_: Any) -> Any:
        return lanes if lanes.type == target else getattr(builder, instruction)(lanes, target)

    return emit


@operation
def widen(value: Any) -> Any:
    """Return the same lanes in float64."""
    kind = Lanes(types.float64, value.count)
    return signature(kind, value), _converted(kind, "fpext")


@operation
def narrow(value: Any, like: Any) -> Any:
    """Return float64 lanes rounded to the type of `like`."""
    return signature(like, value, like), _converted(like, "fptrunc")


@operation
def transpose_square(target: Any) -> Any:
    """Transpose, in place, the (lanes, lanes) block of scalars at `target`."""
    vector = llvm_vector(lanes_of(target.dtype))
    count, size = vector.count, element_bytes(vector)
    masks = ir.VectorType(ir.IntType(32), count)

    def emit(builder: Any, block: Any) -> None:
        places = [
            vector_pointer(builder, block, ir.Constant(ir.IntType(64), i * count), vector)
            for i in range(count)
        ]
        rows = [builder.load(place, align=size) for place in places]
        # Swap ever larger off-diagonal blocks: step s exchanges bit s of row and column.
        step = 1
        while step < count:
            low = [i if not i & step else count + i - step for i in range(count)]
            high = [i + step if not i & step else count + i for i in range(count)]
            for i in range(count):
                if not i & step:
                    a, b = rows[i], rows[i + step]
                    rows[i] = builder.shuffle_vector(a, b, ir.Constant(masks, low))
                    rows[i + step] = builder.shuffle_vector(a, b, ir.Constant(masks, high))
            step *= 2
        for row, place in zip(rows, places, strict=True):
            builder.store(row, place, align=size)

    return signature(types.void, target), emit


# ----------------------------------------------------------------------- complex numbers


@compiled
def cload(source: Pointer, offset: int, step: int) -> tuple[Vector, Vector]:
    """Return complex lanes whose imaginary parts lie `step` scalars behind the real ones."""
    return vload(source, offset), vload(source, offset + step)


@compiled
def cstore(target: Pointer, offset: int, step: int, re: Vector, im: Vector) -> None:
    """Write complex lanes, the imaginary parts `step` scalars behind the real ones."""
    vstore(target, offset, re)
    vstore(target, offset + step, im)


@compiled
def csplat(source: Pointer, offset: int, step: int) -> tuple[Vector, Vector]:
    """Return one complex number of memory in all lanes."""
    return splat(load(source, offset), source), splat(load(source, offset + step), source)


# ------------------------------------------------------------------------ phase factors

_INVERSE_PI = 0.31830988618379067
_PI_HIGH = 3.141592653589793
_PI_LOW = 1.2246467991473532e-16


@compiled
def cis(angle: Vector) -> tuple[Vector, Vector]:
    """Return (cos, sin) of a vector of angles, to 3e-16 in float64 for |angle| < 2**50.

    The angle is reduced to [-pi/2, pi/2] in float64; there Taylor series of 11 terms do.
    """
    x = widen(angle)
    turns = rint(x * splat(_INVERSE_PI, x))
    r = fma(turns, splat(-_PI_HIGH, x), x)
    r = fma(turns, splat(-_PI_LOW, x), r)
    odd = turns - splat(2.0, x) * floor(turns * splat(0.5, x))
    sign = narrow(splat(1.0, x) - splat(2.0, x) * odd, angle)
    r = narrow(r, angle)
    z = r * r
    c = fma(z, splat(4.110317623312165e-19, r), splat(-1.5619206968586225e-16, r))
    c = fma(z, c, splat(4.779477332387385e-14, r))
    c = fma(z, c, splat(-1.1470745597729725e-11, r))
    c = fma(z, c, splat(2.08767569878681e-09, r))
    c = fma(z, c, splat(-2.755731922398589e-07, r))
    c = fma(z, c, splat(2.48015873015873e-05, r))
    c = fma(z, c, splat(-0.001388888888888889, r))
    c = fma(z, c, splat(0.041666666666666664, r))
    c = fma(z, c, splat(-0.5, r))
    c = fma(z, c, splat(1.0, r))
    s = fma(z, splat(1.9572941063391263e-20, r), splat(-8.22063524662433e-18, r))
    s = fma(z, s, splat(2.8114572543455206e-15, r))
    s = fma(z, s, splat(-7.647163731819816e-13, r))
    s = fma(z, s, splat(1.6059043836821613e-10, r))
    s = fma(z, s, splat(-2.505210838544172e-08, r))
    s = fma(z, s, splat(2.7557319223985893e-06, r))
    s = fma(z, s, splat(-0.0001984126984126984, r))
    s = fma(z, s, splat(0.008333333333333333, r))
    s = fma(z, s, splat(-0.16666666666666666, r))
    s = fma(z, s, splat(1.0, r)) * r
    return sign * c, sign * s


# --- rows of numbers ------------------------------------------------------------------------------


@compiled
def clear(target: Pointer, size: int) -> Pointer:
    """Make so many numbers zero; return where they are."""
    for i in range(0, size, lane_count(target)):
        vstore(target, i, splat(0.0, target))
    return target


@compiled
def add_rows(target: Pointer, source: Pointer, size: int) -> None:
    """Add so many numbers of `source` to those of `target`."""
    for i in range(0, size, lane_count(target)):
        vstore(target, i, vload(target, i) + vload(source, i))
