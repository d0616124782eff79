# mypy: allow-untyped-calls
"""Typed decorators for the three kinds of compiled functions, and machine code of entry points."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

from llvmlite import binding, ir
from numba import njit, types
from numba.core.compiler import Flags, compile_extra
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target
from numba.extending import intrinsic

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
    parameters = list(inspect.signature(function).parameters)
    scalar, value = LIKE[itemsize]
    fixed = [scalar] if parameters[0] == "like" else []
    count = len(parameters) - len(fixed)
    flags: Any = Flags()
    flags.no_cpython_wrapper = flags.no_cfunc_wrapper = flags.no_compile = True
    with global_compiler_lock:
        found = compile_extra(
            cpu_target.typing_context, cpu_target.target_context, function,
            (*fixed, *[types.int64] * count), None, flags, {},
        )  # fmt: skip
        found.library.add_ir_module(_c_function(found, [value] * len(fixed), count, symbol))
        found.library.finalize()
        module = binding.parse_assembly(found.library.get_llvm_str())
        code: bytes = found.library._get_compiled_object()
    symbols = (*module.functions, *module.global_variables)
    missing = [symbol.name for symbol in symbols if symbol.is_declaration]
    foreign = [name for name in missing if name.startswith(("numba", "NRT_", "Py", "_Py"))]
    if foreign:  # loading it would end the process
        raise RuntimeError(f"the machine code of {function.__name__} needs {foreign}")
    return count, code


def _c_function(found: Any, fixed: list[float], count: int, symbol: str) -> ir.Module:
    """Return a module with the function ``symbol`` that calls the compiled one."""
    context, description = found.target_context, found.fndesc
    restype, argtypes = description.restype, description.argtypes
    module = context.create_module(symbol)
    integer = ir.IntType(64)
    native = ir.Function(
        module, context.call_conv.get_function_type(restype, argtypes), description.llvm_func_name
    )
    outer = ir.Function(module, ir.FunctionType(integer, [integer.as_pointer()]), symbol)
    builder = ir.IRBuilder(outer.append_basic_block())
    arguments = [
        context.get_constant(kind, value) for kind, value in zip(argtypes, fixed, strict=False)
    ]
    for index in range(count):
        arguments.append(builder.load(builder.gep(outer.args[0], [ir.Constant(integer, index)])))
    status, result = context.call_conv.call_function(
        builder, native, restype, argtypes, arguments, attrs=("noinline",)
    )
    if restype == types.none:
        result = ir.Constant(integer, 0)
    elif result.type != integer:
        result = builder.zext(result, integer)
    builder.ret(builder.select(status.is_error, ir.Constant(integer, -1), result))
    return module
