"""Fixed-width SIMD values for the compiled photonic kernels.

A ``Lanes`` value holds one real number for each of ``count`` neighbouring samples of
the batch: 16 in float32, 8 in float64, that is 64 bytes or one AVX-512 register.
Spelling the vectors out keeps the accumulators of the photon recursion in registers
whatever the auto-vectoriser decides, and makes compilation several times shorter.
Machines with narrower registers run the same code: LLVM splits each value.

Memory is reached through plain pointers made from integer addresses, because an integer
argument costs a jitted call a fraction of what an array argument does.  Offsets count
scalars, never bytes.
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

REGISTER_BITS = 512


class Lanes(types.Type):
    """The numba type of one vector of ``count`` scalars."""

    def __init__(self, scalar: types.Float, count: int) -> None:
        self.scalar = scalar
        self.count = count
        super().__init__(name=f"Lanes({scalar}, {count})")


def lanes_of(scalar: types.Float) -> Lanes:
    """Return the register-wide vector type of a float type."""
    return Lanes(scalar, REGISTER_BITS // scalar.bitwidth)


def _llvm_vector(kind: Lanes) -> ir.VectorType:
    element = ir.FloatType() if kind.scalar == types.float32 else ir.DoubleType()
    return ir.VectorType(element, kind.count)


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Lanes) -> None:
        super().__init__(dmm, fe_type, _llvm_vector(fe_type))


def _suffix(vector: ir.VectorType) -> str:
    return f"v{vector.count}f{32 if isinstance(vector.element, ir.FloatType) else 64}"


def _llvm_call(builder: Any, name: str, result: Any, args: list[Any], **flags: Any) -> Any:
    """Emit a call of the LLVM intrinsic ``name``."""
    signature_ = ir.FunctionType(result, [a.type for a in args])
    function = cgutils.get_or_insert_function(builder.module, signature_, name)
    return builder.call(function, args, **flags)


def _splat(builder: Any, vector: ir.VectorType, scalar: Any) -> Any:
    first = builder.insert_element(
        ir.Constant(vector, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0)
    )
    mask = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [0] * vector.count)
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), mask)


def _element_bytes(vector: ir.VectorType) -> int:
    return 4 if isinstance(vector.element, ir.FloatType) else 8


def _vector_pointer(builder: Any, pointer: Any, offset: Any, vector: ir.VectorType) -> Any:
    return builder.bitcast(builder.gep(pointer, [offset]), vector.as_pointer())


def _head_mask(builder: Any, vector: ir.VectorType, count: Any) -> Any:
    """Return the vector mask that is true in the first ``count`` lanes."""
    ints = ir.VectorType(ir.IntType(32), vector.count)
    wanted = _splat(builder, ints, builder.trunc(count, ir.IntType(32)))
    return builder.icmp_signed("<", ir.Constant(ints, list(range(vector.count))), wanted)


# ---------------------------------------------------------------- pointers and scalars


@intrinsic
def pointer(typingctx, address, like):
    """Return the int64 ``address`` as a pointer to scalars of the type of ``like``."""

    def codegen(context, builder, sig, args):
        return builder.inttoptr(args[0], context.get_value_type(sig.return_type))

    return signature(types.CPointer(like), types.int64, like), codegen


@intrinsic
def load(typingctx, source, offset):
    """Return the scalar ``source[offset]``."""

    def codegen(context, builder, sig, args):
        return builder.load(builder.gep(args[0], [args[1]]))

    return signature(source.dtype, source, types.intp), codegen


@intrinsic
def store(typingctx, target, offset, value):
    """Write the scalar ``value`` to ``target[offset]``."""

    def codegen(context, builder, sig, args):
        builder.store(args[2], builder.gep(args[0], [args[1]]))
        return context.get_dummy_value()

    return signature(types.void, target, types.intp, target.dtype), codegen


@intrinsic
def shift(typingctx, source, offset):
    """Return ``source + offset`` (in scalars)."""

    def codegen(context, builder, sig, args):
        return builder.gep(args[0], [args[1]])

    return signature(source, source, types.intp), codegen


@intrinsic
def lane_count(typingctx, source):
    """Return how many lanes a vector loaded from the pointer ``source`` has."""
    count = lanes_of(source.dtype).count

    def codegen(context, builder, sig, args):
        return ir.Constant(ir.IntType(64), count)

    return signature(types.int64, source), codegen


# ------------------------------------------------------------------ vector load, store


@intrinsic
def vload(typingctx, source, offset):
    """Load the vector that starts at ``source[offset]`` (any alignment)."""
    kind = lanes_of(source.dtype)

    def codegen(context, builder, sig, args):
        vector = _llvm_vector(kind)
        place = _vector_pointer(builder, args[0], args[1], vector)
        return builder.load(place, align=_element_bytes(vector))

    return signature(kind, source, types.intp), codegen


@intrinsic
def vstore(typingctx, target, offset, value):
    """Write a vector to ``target[offset:]`` (any alignment)."""

    def codegen(context, builder, sig, args):
        vector = args[2].type
        place = _vector_pointer(builder, args[0], args[1], vector)
        builder.store(args[2], place, align=_element_bytes(vector))
        return context.get_dummy_value()

    return signature(types.void, target, types.intp, value), codegen


@intrinsic
def vload_head(typingctx, source, offset, count):
    """Load the first ``count`` lanes from ``source[offset:]``, zeros in the others."""
    kind = lanes_of(source.dtype)

    def codegen(context, builder, sig, args):
        vector = _llvm_vector(kind)
        place = _vector_pointer(builder, args[0], args[1], vector)
        operands = [
            place,
            ir.Constant(ir.IntType(32), _element_bytes(vector)),
            _head_mask(builder, vector, args[2]),
            ir.Constant(vector, None),
        ]
        return _llvm_call(builder, f"llvm.masked.load.{_suffix(vector)}.p0", vector, operands)

    return signature(kind, source, types.intp, types.intp), codegen


@intrinsic
def vstore_head(typingctx, target, offset, value, count):
    """Write the first ``count`` lanes of ``value`` to ``target[offset:]``."""

    def codegen(context, builder, sig, args):
        vector = args[2].type
        place = _vector_pointer(builder, args[0], args[1], vector)
        operands = [
            args[2],
            place,
            ir.Constant(ir.IntType(32), _element_bytes(vector)),
            _head_mask(builder, vector, args[3]),
        ]
        name = f"llvm.masked.store.{_suffix(vector)}.p0"
        _llvm_call(builder, name, ir.VoidType(), operands)
        return context.get_dummy_value()

    return signature(types.void, target, types.intp, value, types.intp), codegen


# ------------------------------------------------------------------- vector arithmetic


def _define_operator(function: Any, instruction: str) -> None:
    """Let ``function`` (of module operator) act on two equal vector types."""

    @infer_global(function)
    class _Typing(AbstractTemplate):
        def generic(self, args, kws):
            if len(args) == 2 and isinstance(args[0], Lanes) and args[0] == args[1]:
                return signature(args[0], *args)
            return None

    @lower_builtin(function, Lanes, Lanes)
    def _lower(context, builder, sig, args):
        return getattr(builder, instruction)(*args)


for _function, _instruction in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _define_operator(_function, _instruction)


@intrinsic
def splat(typingctx, scalar, like):
    """Return a vector of the type of ``like`` (vector or pointer) filled with ``scalar``."""
    kind = like if isinstance(like, Lanes) else lanes_of(like.dtype)

    def codegen(context, builder, sig, args):
        return _splat(builder, _llvm_vector(kind), args[0])

    return signature(kind, kind.scalar, like), codegen


@intrinsic
def fma(typingctx, a, b, c):
    """Return ``a * b + c``, fused where the machine can."""

    def codegen(context, builder, sig, args):
        vector = args[0].type
        return _llvm_call(builder, f"llvm.fmuladd.{_suffix(vector)}", vector, list(args))

    return signature(a, a, a, a), codegen


@intrinsic
def fnma(typingctx, a, b, c):
    """Return ``c - a * b``, fused where the machine can."""

    def codegen(context, builder, sig, args):
        vector = args[0].type
        operands = [builder.fneg(args[0]), args[1], args[2]]
        return _llvm_call(builder, f"llvm.fmuladd.{_suffix(vector)}", vector, operands)

    return signature(a, a, a, a), codegen


def _define_unary(name: str, doc: str) -> Any:
    def unary(typingctx, value):
        def codegen(context, builder, sig, args):
            vector = args[0].type
            return _llvm_call(builder, f"llvm.{name}.{_suffix(vector)}", vector, list(args))

        return signature(value, value), codegen

    unary.__name__ = name
    unary.__doc__ = doc
    return intrinsic(unary)


rint = _define_unary("rint", "Round every lane to the nearest integer.")
floor = _define_unary("floor", "Round every lane down.")


@intrinsic
def lane_sum(typingctx, value):
    """Return the sum of all lanes."""

    def codegen(context, builder, sig, args):
        vector = args[0].type
        return _llvm_call(
            builder,
            f"llvm.vector.reduce.fadd.{_suffix(vector)}",
            vector.element,
            [ir.Constant(vector.element, -0.0), args[0]],
            fastmath=("reassoc",),
        )

    return signature(value.scalar, value), codegen


@intrinsic
def any_unusable(typingctx, value, bound):
    """Return whether a lane is NaN, infinite or at least ``bound`` in size."""

    def codegen(context, builder, sig, args):
        vector = args[0].type
        size = _llvm_call(builder, f"llvm.fabs.{_suffix(vector)}", vector, [args[0]])
        bad = builder.fcmp_unordered(">=", size, _splat(builder, vector, args[1]))
        packed = builder.bitcast(bad, ir.IntType(vector.count))
        return builder.icmp_unsigned("!=", packed, ir.Constant(packed.type, 0))

    return signature(types.boolean, value, value.scalar), codegen


@intrinsic
def reciprocal_above(typingctx, value, bound):
    """Return ``1 / value`` in lanes with ``value >= bound`` and 0 in the others."""

    def codegen(context, builder, sig, args):
        vector = args[0].type
        one = ir.Constant(vector, [1.0] * vector.count)
        kept = builder.fcmp_unordered(">=", args[0], _splat(builder, vector, args[1]))
        return builder.select(kept, builder.fdiv(one, args[0]), ir.Constant(vector, None))

    return signature(value, value, value.scalar), codegen


@intrinsic
def widen(typingctx, value):
    """Return the same lanes in float64."""
    kind = Lanes(types.float64, value.count)

    def codegen(context, builder, sig, args):
        target = _llvm_vector(kind)
        return args[0] if args[0].type == target else builder.fpext(args[0], target)

    return signature(kind, value), codegen


@intrinsic
def narrow(typingctx, value, like):
    """Return float64 lanes rounded to the type of ``like``."""

    def codegen(context, builder, sig, args):
        target = _llvm_vector(like)
        return args[0] if args[0].type == target else builder.fptrunc(args[0], target)

    return signature(like, value, like), codegen


@intrinsic
def transpose_square(typingctx, target):
    """Transpose, in place, the (lanes, lanes) block of scalars at ``target``."""
    kind = lanes_of(target.dtype)

    def codegen(context, builder, sig, args):
        vector = _llvm_vector(kind)
        count, size = kind.count, _element_bytes(vector)
        places = [
            _vector_pointer(builder, args[0], ir.Constant(ir.IntType(64), i * count), vector)
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


# ------------------------------------------------------------------------ phase factors

_INVERSE_PI = 0.31830988618379067
_PI_HIGH = 3.141592653589793
_PI_LOW = 1.2246467991473532e-16


@njit(nogil=True)
def cis(angle):
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
