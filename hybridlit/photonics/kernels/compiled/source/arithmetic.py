# mypy: allow-untyped-calls, allow-untyped-decorators
"""Arithmetic on ``Lanes``: operators, sums, transposition, and phase factors."""

from __future__ import annotations

import operator
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
    """Let ``function`` (of module operator) act on two equal vector types."""

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
def splat(typingctx: Any, scalar: Any, like: Any) -> Any:
    """Return a vector of the type of ``like`` (vector or pointer) filled with ``scalar``."""
    kind = like if isinstance(like, Lanes) else lanes_of(like.dtype)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return splat_value(builder, llvm_vector(kind), args[0])

    return signature(kind, kind.scalar, like), codegen


def _multiply_add(kind: Any, negate: bool) -> Any:
    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = args[0].type
        operands = [builder.fneg(args[0]) if negate else args[0], *args[1:]]
        return llvm_call(builder, f"llvm.fmuladd.{suffix(vector)}", vector, operands)

    return signature(kind, kind, kind, kind), codegen


@operation
def fma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """Return ``a * b + c``, fused where the machine can."""
    return _multiply_add(a, negate=False)


@operation
def fnma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """Return ``c - a * b``, fused where the machine can."""
    return _multiply_add(a, negate=True)


def _define_unary(name: str, doc: str) -> Any:
    def unary(typingctx: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            vector = args[0].type
            return llvm_call(builder, f"llvm.{name}.{suffix(vector)}", vector, list(args))

        return signature(value, value), codegen

    unary.__name__ = name
    unary.__doc__ = doc
    return operation(unary)


rint = _define_unary("rint", "Round every lane to the nearest integer.")
floor = _define_unary("floor", "Round every lane down.")


@operation
def lane_sum(typingctx: Any, value: Any) -> Any:
    """Return the sum of all lanes."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = args[0].type
        return llvm_call(
            builder,
            f"llvm.vector.reduce.fadd.{suffix(vector)}",
            vector.element,
            [ir.Constant(vector.element, -0.0), args[0]],
            fastmath=("reassoc",),
        )

    return signature(value.scalar, value), codegen


@operation
def any_unusable(typingctx: Any, value: Any, bound: Any) -> Any:
    """Return whether a lane is NaN, infinite or at least ``bound`` in size."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = args[0].type
        size = llvm_call(builder, f"llvm.fabs.{suffix(vector)}", vector, [args[0]])
        bad = builder.fcmp_unordered(">=", size, splat_value(builder, vector, args[1]))
        packed = builder.bitcast(bad, ir.IntType(vector.count))
        return builder.icmp_unsigned("!=", packed, ir.Constant(packed.type, 0))

    return signature(types.boolean, value, value.scalar), codegen


@operation
def reciprocal_above(typingctx: Any, value: Any, bound: Any) -> Any:
    """Return ``1 / value`` in lanes with ``value >= bound`` and 0 in the others."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = args[0].type
        one = ir.Constant(vector, [1.0] * vector.count)
        kept = builder.fcmp_unordered(">=", args[0], splat_value(builder, vector, args[1]))
        return builder.select(kept, builder.fdiv(one, args[0]), ir.Constant(vector, None))

    return signature(value, value, value.scalar), codegen


def _converted(kind: Lanes, instruction: str) -> Any:
    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        target = llvm_vector(kind)
        same = args[0].type == target
        return args[0] if same else getattr(builder, instruction)(args[0], target)

    return codegen


@operation
def widen(typingctx: Any, value: Any) -> Any:
    """Return the same lanes in float64."""
    kind = Lanes(types.float64, value.count)
    return signature(kind, value), _converted(kind, "fpext")


@operation
def narrow(typingctx: Any, value: Any, like: Any) -> Any:
    """Return float64 lanes rounded to the type of ``like``."""
    return signature(like, value, like), _converted(like, "fptrunc")


@operation
def transpose_square(typingctx: Any, target: Any) -> Any:
    """Transpose, in place, the (lanes, lanes) block of scalars at ``target``."""
    kind = lanes_of(target.dtype)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = llvm_vector(kind)
        count, size = kind.count, element_bytes(vector)
        places = [
            vector_pointer(builder, args[0], ir.Constant(ir.IntType(64), i * count), vector)
            for i in range(count)
        ]
        rows = [builder.load(place, align=size) for place in places]
        # Swap ever larger off-diagonal blocks: step s exchanges bit s of row and column.
        step = 1
        while step < count:
            low = [i if not i & step else count + i - step for i in range(count)]
            high = [i + step if not i & step else count + i for i in range(count)]
            masks = [
                ir.Constant(ir.VectorType(ir.IntType(32), count), mask) for mask in (low, high)
            ]
            for i in range(count):
                if not i & step:
                    a, b = rows[i], rows[i + step]
                    rows[i] = builder.shuffle_vector(a, b, masks[0])
                    rows[i + step] = builder.shuffle_vector(a, b, masks[1])
            step *= 2
        for row, place in zip(rows, places, strict=True):
            builder.store(row, place, align=size)
        return context.get_dummy_value()

    return signature(types.void, target), codegen


# ----------------------------------------------------------------------- complex numbers


@compiled
def cload(source: Pointer, offset: int, step: int) -> tuple[Vector, Vector]:
    """Return complex lanes whose imaginary parts lie ``step`` scalars behind the real ones."""
    return vload(source, offset), vload(source, offset + step)


@compiled
def cstore(target: Pointer, offset: int, step: int, re: Vector, im: Vector) -> None:
    """Write complex lanes, the imaginary parts ``step`` scalars behind the real ones."""
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
