# mypy: allow-untyped-calls, allow-untyped-decorators
"""Fixed-width SIMD values for the compiled photonic kernels.

A `Lanes` value holds one real number for each of `count` neighbouring samples of
the batch: 16 in float32, 8 in float64, that is 64 bytes or one AVX-512 register.
Spelling the vectors out keeps the accumulators of the photon recursion in registers
whatever the auto-vectoriser decides, and makes compilation several times shorter.
Machines with narrower registers run the same code: LLVM splits each value.

Memory is reached through plain pointers made from integer addresses, because an integer
argument costs a jitted call a fraction of what an array argument does.  Offsets count
scalars, never bytes.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from llvmlite import ir
from numba import types
from numba.extending import models, register_model

from hybridlit.internals.numba import insert_function, signature
from hybridlit.photonics.kernels.compiled.source.jit import operation

#: What compiled functions take and return, for readers: numba infers the actual types.
Pointer: TypeAlias = Any
Vector: TypeAlias = Any

REGISTER_BITS = 512


class Lanes(types.Type):
    """The numba type of one vector of `count` scalars."""

    def __init__(self, scalar: types.Float, count: int) -> None:
        self.scalar = scalar
        self.count = count
        super().__init__(name=f"Lanes({scalar}, {count})")


def lanes_of(scalar: types.Float) -> Lanes:
    """Return the register-wide vector type of a float type."""
    return Lanes(scalar, REGISTER_BITS // scalar.bitwidth)


def llvm_vector(kind: Lanes) -> ir.VectorType:
    """Return the LLVM type of a vector."""
    element = ir.FloatType() if kind.scalar == types.float32 else ir.DoubleType()
    return ir.VectorType(element, kind.count)


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Lanes) -> None:
        super().__init__(dmm, fe_type, llvm_vector(fe_type))


def suffix(vector: ir.VectorType) -> str:
    """Return how LLVM names intrinsics for vectors of this type."""
    return f"v{vector.count}f{32 if isinstance(vector.element, ir.FloatType) else 64}"


def llvm_call(builder: Any, name: str, result: Any, args: list[Any], **flags: Any) -> Any:
    """Emit a call of the LLVM intrinsic `name`."""
    signature_ = ir.FunctionType(result, [a.type for a in args])
    function = insert_function(builder.module, signature_, name)
    return builder.call(function, args, **flags)


def splat_value(builder: Any, vector: ir.VectorType, scalar: Any) -> Any:
    """Emit a vector with one scalar in all lanes."""
    first = builder.insert_element(
        ir.Constant(vector, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0)
    )
    mask = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [0] * vector.count)
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), mask)


def element_bytes(vector: ir.VectorType) -> int:
    """Return the bytes of one lane."""
    return 4 if isinstance(vector.element, ir.FloatType) else 8


def _alignment(vector: ir.VectorType) -> ir.Constant:
    return ir.Constant(ir.IntType(32), element_bytes(vector))


def vector_pointer(builder: Any, pointer: Any, offset: Any, vector: ir.VectorType) -> Any:
    """Emit the address of the vector that starts `offset` scalars behind `pointer`."""
    return builder.bitcast(builder.gep(pointer, [offset]), vector.as_pointer())


def _head_mask(builder: Any, vector: ir.VectorType, count: Any) -> Any:
    """Return the vector mask that is true in the first `count` lanes."""
    ints = ir.VectorType(ir.IntType(32), vector.count)
    wanted = splat_value(builder, ints, builder.trunc(count, ir.IntType(32)))
    return builder.icmp_signed("<", ir.Constant(ints, list(range(vector.count))), wanted)


# --- pointers and scalars -------------------------------------------------------------------------


@operation
def pointer(address: Any, like: Any) -> Any:
    """Return the int64 `address` as a pointer to scalars of the type of `like`."""
    integer = isinstance(like, types.Integer)
    element = ir.IntType(like.bitwidth) if integer else llvm_vector(lanes_of(like)).element
    kind = signature(types.CPointer(like), types.int64, like)
    return kind, lambda builder, at, _: builder.inttoptr(at, element.as_pointer())


@operation
def load(source: Any, offset: Any) -> Any:
    """Return the scalar `source[offset]`."""
    kind = signature(source.dtype, source, types.intp)
    return kind, lambda builder, place, at: builder.load(builder.gep(place, [at]))


@operation
def store(target: Any, offset: Any, value: Any) -> Any:
    """Write the scalar `value` to `target[offset]`."""

    def emit(builder: Any, place: Any, at: Any, scalar: Any) -> None:
        builder.store(scalar, builder.gep(place, [at]))

    return signature(types.void, target, types.intp, target.dtype), emit


@operation
def shift(source: Any, offset: Any) -> Any:
    """Return `source + offset` (in scalars)."""
    return signature(source, source, types.intp), lambda builder, at, by: builder.gep(at, [by])


@operation
def lane_count(source: Any) -> Any:
    """Return how many lanes a vector loaded from the pointer `source` has."""
    count = ir.Constant(ir.IntType(64), lanes_of(source.dtype).count)
    return signature(types.int64, source), lambda builder, place: count


# --- vector load, store ---------------------------------------------------------------------------


@operation
def vload(source: Any, offset: Any) -> Any:
    """Load the vector that starts at `source[offset]` (any alignment)."""
    kind = lanes_of(source.dtype)
    vector = llvm_vector(kind)

    def emit(builder: Any, place: Any, at: Any) -> Any:
        return builder.load(vector_pointer(builder, place, at, vector), align=element_bytes(vector))

    return signature(kind, source, types.intp), emit


@operation
def vstore(target: Any, offset: Any, value: Any) -> Any:
    """Write a vector to `target[offset:]` (any alignment)."""
    vector = llvm_vector(value)

    def emit(builder: Any, place: Any, at: Any, lanes: Any) -> None:
        goal = vector_pointer(builder, place, at, vector)
        builder.store(lanes, goal, align=element_bytes(vector))

    return signature(types.void, target, types.intp, value), emit


@operation
def vload_head(source: Any, offset: Any, count: Any) -> Any:
    """Load the first `count` lanes from `source[offset:]`, zeros in the others."""
    kind = lanes_of(source.dtype)
    vector = llvm_vector(kind)

    def emit(builder: Any, place: Any, at: Any, lanes: Any) -> Any:
        goal = vector_pointer(builder, place, at, vector)
        rest = ir.Constant(vector, None)
        operands = [goal, _alignment(vector), _head_mask(builder, vector, lanes), rest]
        return llvm_call(builder, f"llvm.masked.load.{suffix(vector)}.p0", vector, operands)

    return signature(kind, source, types.intp, types.intp), emit


@operation
def vstore_head(target: Any, offset: Any, value: Any, count: Any) -> Any:
    """Write the first `count` lanes of `value` to `target[offset:]`."""
    vector = llvm_vector(value)

    def emit(builder: Any, place: Any, at: Any, lanes: Any, wanted: Any) -> None:
        goal = vector_pointer(builder, place, at, vector)
        operands = [lanes, goal, _alignment(vector), _head_mask(builder, vector, wanted)]
        name = f"llvm.masked.store.{suffix(vector)}.p0"
        llvm_call(builder, name, ir.VoidType(), operands)

    return signature(types.void, target, types.intp, value, types.intp), emit
