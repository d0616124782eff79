"""Machine code of the compiled kernels: from a file if there is one, else from numba.

Importing numba and letting it find its own cached code takes several times as long as everything
else that a first call does. The entry points want integers only, so their machine code runs without
numba: it is compiled once, kept as an object file, and loaded with llvmlite alone.

A file belongs to one entry point, precision, version of the source and of the tools, and processor,
all in its name; it starts with a checksum over these and its content, so that a damaged or foreign
file is compiled again. Files are replaced whole, so processes may share a folder. Folders are, in
this order: `HYBRIDLIT_CACHE_DIR` and no other, if set; `__pycache__` beside this module; the
user's cache folder. Only files and folders that nobody but the user and root can write to are used,
see `private_folder`. If there is no such folder, every process compiles for itself, and says
so.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import struct
import sys
import threading
import time
import warnings
from collections.abc import Callable
from functools import cache
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from hybridlit.photonics.kernels.compiled import private_folder
from hybridlit.workers import QUIET

__all__ = ["CACHE_VARIABLE", "address_of", "entry_point", "folders"]

#: Environment variable with the only folder to keep machine code in.
CACHE_VARIABLE = "HYBRIDLIT_CACHE_DIR"

_SOURCE = Path(__file__).parent
_COMPILER = _SOURCE.parents[2] / "internals" / "numba.py"
_DIGEST = hashlib.sha256().digest_size
_COUNT = struct.Struct("<q")
_Native = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_char_p)  # gives the GIL away while it runs

_loaded: dict[tuple[str, int], Callable[..., int]] = {}
_addresses: dict[tuple[str, int], int] = {}
_engines: list[Any] = []  # own the memory of what is loaded
_lock = threading.Lock()


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def entry_point(name: str, itemsize: int = 8) -> Callable[..., int]:
    """Return a compiled entry point, which takes integers and gives the GIL away.

    `name` is that of its module in `source`, a dot, and that of the function; `itemsize` says how
    many bytes a number has, 4 or 8.
    """
    found = _loaded.get((name, itemsize))
    if found is None:
        with _lock:
            found = _loaded.get((name, itemsize))
            if found is None:
                found = _loaded[name, itemsize] = _callable(name, itemsize)
    return found


def address_of(name: str, itemsize: int = 8) -> int:
    """Return where the machine code of an entry point is, for machine code to call.

    It is an `int64_t (const int64_t *arguments)` and returns -1 if it failed.
    """
    entry_point(name, itemsize)
    return _addresses[name, itemsize]


def _callable(name: str, itemsize: int) -> Callable[..., int]:
    symbol = f"hybridlit_{name.replace('.', '_')}_{itemsize}"
    identity = f"{symbol} {_surroundings()}".encode()
    file = f"{symbol}-{hashlib.sha256(identity).hexdigest()[:16]}.o"
    content = next(filter(None, (_read(folder, file, identity) for folder in folders())), None)
    if content is None:
        content = _compile(name, itemsize, symbol)
        _keep(file, hashlib.sha256(identity + content).digest() + content)
    address = _addresses[name, itemsize] = _load(content[_COUNT.size :], symbol)
    native = _Native(address)
    pack = struct.Struct(f"{_COUNT.unpack_from(content)[0]}q").pack

    # One packed argument costs a third of what ctypes takes to convert twenty integers.
    def call(*numbers: int) -> int:
        result: int = native(pack(*numbers))
        if result < 0:
            raise RuntimeError(f"{name} failed")
        return result

    return call


def _compile(name: str, itemsize: int, symbol: str) -> bytes:
    """Return the number of arguments and the object file of an entry point."""
    module, function = name.split(".")
    begin = time.perf_counter()
    timer = threading.Timer(1.0, _announce)
    timer.daemon = True
    timer.start()
    try:
        jit = import_module(f"{__package__}.source.jit")
        source = import_module(f"{__package__}.source.{module}")
        count, code = jit.object_code(getattr(source, function), itemsize, symbol)
    finally:
        timer.cancel()
    if _announced and (seconds := time.perf_counter() - begin) > 1:
        _say(f"{function} is compiled, {seconds:.0f} s")
    return _COUNT.pack(count) + bytes(code)


def _load(code: bytes, symbol: str) -> int:
    """Return the address of the function in an object file."""
    from llvmlite import binding  # not needed by those who only import the package

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    target = binding.Target.from_default_triple().create_target_machine()
    # Each file gets an engine of its own, so that equal names in two files do not meet.
    engine = binding.create_mcjit_compiler(binding.parse_assembly(""), target)
    engine.add_object_file(binding.ObjectFileRef.from_data(code))
    engine.finalize_object()
    address: int = engine.get_function_address(symbol)
    if not address:
        raise RuntimeError(f"{symbol} is missing in its own machine code")
    _engines.append(engine)
    return address


@cache
def _surroundings() -> str:
    """Return what machine code depends on besides the entry point and the precision."""
    from llvmlite import __version__, binding

    source = hashlib.sha256()
    for path in [*sorted(_SOURCE.rglob("*.py")), _COMPILER]:
        source.update(path.read_bytes())
    settings = [f"{k}={os.environ.get(k)}" for k in ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES")]
    features = binding.get_host_cpu_features().flatten()
    versions = [sys.version, metadata.version("numba"), __version__]
    processor = [binding.get_process_triple(), binding.get_host_cpu_name(), features]
    return "\n".join([source.hexdigest(), *versions, *processor, *settings])


def folders() -> list[Path]:
    """Return where machine code is looked for and kept, best first."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return [Path(chosen)]
    home = Path(os.path.expanduser("~"))
    if sys.platform == "win32":
        user = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        user = home / "Library" / "Caches"
    else:
        user = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    found = [_SOURCE / "__pycache__"]
    return [*found, user / "hybridlit"] if user.is_absolute() else found  # some have no home


def _read(folder: Path, file: str, identity: bytes) -> bytes | None:
    """Return the content of a file of this identity, None if there is no sound one."""
    try:
        stored = private_folder.read(folder, file)
    except private_folder.UntrustedError as error:
        if error.path.name == file:  # else the folder, which another one may stand in for
            _warn(f"{error.path} is not run, since {error.reason}; it is compiled again")
        return None
    except OSError:
        return None
    content = stored[_DIGEST:]
    sound = stored[:_DIGEST] == hashlib.sha256(identity + content).digest()
    return content if sound else None


def _keep(file: str, stored: bytes) -> None:
    """Write a file to the first folder that takes it."""
    reasons = []
    for folder in folders():
        try:
            return private_folder.write(folder, file, stored)
        except private_folder.UntrustedError as error:
            reasons.append(f"not in {folder}, since {error.reason}")
        except OSError as error:
            reasons.append(f"not in {folder}: {error.strerror}")
    _warn(
        "the CPU kernel is compiled in this process and every other, since its machine code can be "
        f"kept {'; '.join(reasons)}. Set {CACHE_VARIABLE} to a folder that only you can write to, "
        "such as one made by mkdir -m 700"
    )


_warned = False


def _warn(message: str) -> None:
    """Warn once a process: the other entry points would say the same."""
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(f"hybridlit: {message}", stacklevel=2)


_announced = False


def _announce() -> None:
    """Say why a call takes so long, once for this process and those that it starts."""
    global _announced
    if QUIET not in os.environ:
        os.environ[QUIET] = "1"  # not that of the shell, whose next command says it again
        _announced = True
        _say(
            "compiling what is used of the CPU kernel, once, to keep it (10 s to a minute; "
            'hybridlit.use_kernel("torch") does without) ...'
        )


def _say(message: str) -> None:
    print(f"hybridlit: {message}", file=sys.stderr, flush=True)
