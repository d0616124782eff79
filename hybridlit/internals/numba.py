# mypy: allow-untyped-calls
"""What hybridlit uses of numba and llvmlite beyond their documented parts. Seen in numba 0.68.

Imported only where the machine code of the CPU kernel is not at hand yet.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.core.compiler import Flags, compile_extra
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target
from numba.core.typing.templates import AbstractTemplate, infer_global, signature

__all__ = [
    "INNER",
    "AbstractTemplate",
    "infer_global",
    "insert_function",
    "object_code",
    "signature",
]

INNER: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
"""Options of `njit` for functions that only compiled ones call: without a way in from Python, which
takes time to compile, and so never to be called from there. If they go: none."""

# `signature`, `AbstractTemplate` and `infer_global`: types of an intrinsic and of an operator. If
# they move: `numba.core.typing.signature`, `numba.extending.type_callable`.


def insert_function(module: ir.Module, kind: ir.FunctionType, name: str) -> Any:
    """Return a function of a module of LLVM, declared there if it is not yet.

    If it goes: `module.globals.get(name) or ir.Function(module, kind, name)`.
    """
    return cgutils.get_or_insert_function(module, kind, name)


def object_code(
    function: Callable[..., Any], like: tuple[Any, float], symbol: str
) -> tuple[int, bytes]:
    """Compile a function to an object file that needs neither numba nor the interpreter.

    If this goes: numba's `pycc` or its successor; without one, `numba.cfunc` in every process.

    Args:
        function: Takes integers and returns at most one. A first parameter `like` is not passed.
        like: Type and value of the parameter `like`.
        symbol: Name for the function `int64_t symbol(const int64_t *arguments)`. It returns -1
            if the function raised an exception, 0 if it returns nothing.

    Returns:
        The number of arguments, and the file.

    Raises:
        RuntimeError: If the machine code would need numba or the interpreter after all.
    """
    parameters = list(inspect.signature(function).parameters)
    scalar, value = like
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
    """Return a module with the function `symbol` that calls the compiled one."""
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
