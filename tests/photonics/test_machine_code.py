import math
import os
import struct
import subprocess
import sys

import numpy as np
import pytest

from hybridlit.photonics.kernels.compiled import machine_code
from hybridlit.photonics.kernels.compiled.machine_code import CACHE_VARIABLE, folders

SMALLEST = "tables.factorial_products"
USE = """
import sys, numpy as np
from hybridlit.photonics.kernels.compiled.machine_code import entry_point
factorials, out, work = np.array([1.0, 1, 2, 6]), np.zeros(10), np.zeros(4, dtype=np.int64)
entry_point("tables.factorial_products")(
    3, 3, 10, factorials.ctypes.data, out.ctypes.data, work.ctypes.data
)
assert out.tolist() == [6, 2, 2, 2, 1, 2, 6, 2, 2, 6], out
print("numba" in sys.modules)
"""
FIRST_CALL = """
import sys, torch
from hybridlit import photonics
assert "numba" not in sys.modules and "llvmlite" not in sys.modules
layer = photonics.QuantumLayer(1, 1, experiment=photonics.Experiment("series", 2, 1))
layer(torch.rand(3, 1)).sum().backward()
print("numba" in sys.modules)
"""


def python(code, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ends(process):
    """Whether the process, which has to succeed, imported numba."""
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return out.strip() == "True"


@pytest.fixture
def compilations(monkeypatch):
    """The entry points compiled since."""
    compiled, compile_ = [], machine_code._compile

    def counted(name, itemsize, symbol):
        compiled.append(name)
        return compile_(name, itemsize, symbol)

    monkeypatch.setattr(machine_code, "_compile", counted)
    return compiled


def use(name=SMALLEST):
    """Load afresh, as a new process would, and call."""
    factorials = np.array([float(math.factorial(k)) for k in range(3)])
    out, work = np.zeros(3), np.zeros(3, dtype=np.int64)
    addresses = factorials.ctypes.data, out.ctypes.data, work.ctypes.data
    machine_code._callable(name, 8)(2, 2, 3, *addresses)
    assert out.tolist() == [2, 1, 2]


def test_one_compilation_serves_every_later_use(monkeypatch, tmp_path, compilations):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "new" / "folder"))
    use()
    use()
    assert compilations == [SMALLEST]
    assert len(list((tmp_path / "new" / "folder").iterdir())) == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: whole[:20],
        lambda whole: whole[:-1],
        lambda whole: whole[:500] + bytes([whole[500] ^ 1]) + whole[501:],
        lambda whole: b"something else entirely" * 100,
    ],
    ids=["empty", "shorter than the checksum", "truncated", "one bit", "foreign"],
)
def test_a_damaged_file_is_compiled_again(monkeypatch, tmp_path, compilations, damage):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    use()
    (file,) = tmp_path.iterdir()
    sound = file.read_bytes()
    file.write_bytes(damage(sound))
    use()
    assert compilations == [SMALLEST] * 2
    use()
    assert compilations == [SMALLEST] * 2
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_of_another_version_is_not_used(monkeypatch, tmp_path, compilations):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    use()
    (file,) = tmp_path.iterdir()
    monkeypatch.setattr(machine_code, "_surroundings", lambda: "another processor")
    use()
    (other,) = set(tmp_path.iterdir()) - {file}
    other.write_bytes(file.read_bytes())  # sound in itself, but under a name that is not its own
    use()
    assert compilations == [SMALLEST] * 3


def test_processes_that_start_on_an_empty_folder_together(tmp_path):
    started = [python(USE, **{CACHE_VARIABLE: str(tmp_path)}) for _ in range(2)]
    assert any([ends(process) for process in started])
    assert len(list(tmp_path.iterdir())) == 1
    assert not ends(python(USE, **{CACHE_VARIABLE: str(tmp_path)}))


def test_a_package_that_cannot_be_written_leaves_it_to_the_users_cache(
    monkeypatch, tmp_path, compilations
):
    blocked = tmp_path / "a file, no folder"
    blocked.write_text("")
    package, user = folders_without_variable(monkeypatch, tmp_path)
    monkeypatch.setattr(machine_code, "folders", lambda: [blocked / package.name, user])
    use()
    use()
    assert compilations == [SMALLEST]
    assert len(list(user.iterdir())) == 1


def test_where_nothing_can_be_written_code_is_compiled_and_used(
    monkeypatch, tmp_path, compilations
):
    blocked = tmp_path / "a file, no folder"
    blocked.write_text("")
    monkeypatch.setenv(CACHE_VARIABLE, str(blocked / "cache"))
    use()
    use()
    assert compilations == [SMALLEST] * 2


def folders_without_variable(monkeypatch, home):
    monkeypatch.delenv(CACHE_VARIABLE, raising=False)
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA", "HOME"):
        monkeypatch.setenv(name, str(home))
    return folders()


def test_folders(monkeypatch, tmp_path):
    package, user = folders_without_variable(monkeypatch, tmp_path)
    assert package.name == "__pycache__" and package.parent.name == "compiled"
    assert user.is_relative_to(tmp_path) and user.name == "hybridlit"
    monkeypatch.setenv(CACHE_VARIABLE, "/elsewhere")
    assert [str(folder) for folder in folders()] == [os.path.normpath("/elsewhere")]


def test_a_warm_start_does_without_numba():
    ends(python(FIRST_CALL))  # compiles if need be
    assert not ends(python(FIRST_CALL))


def test_wrong_numbers_of_arguments_are_refused():
    with pytest.raises(struct.error):
        machine_code.entry_point(SMALLEST)(1, 2, 3)


def test_exceptions_and_results_come_back(monkeypatch, tmp_path):
    from hybridlit.photonics.kernels.compiled.source.jit import object_code

    def below_ten(like: float, number: int) -> bool:
        if number < 0:
            raise ValueError
        return number + like < 10

    def compile_below_ten(name, itemsize, symbol):
        count, code = object_code(below_ten, itemsize, symbol)
        return struct.pack("<q", count) + code

    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setattr(machine_code, "_compile", compile_below_ten)
    for itemsize in (4, 8):
        call = machine_code._callable("test.below_ten", itemsize)
        assert call(9) == 1 and call(2**40) == 0
        with pytest.raises(RuntimeError, match="below_ten"):
            call(-1)


def test_code_that_would_need_numba_is_refused():
    from hybridlit.photonics.kernels.compiled.source.jit import object_code

    def prints(number: int) -> None:
        print(number)

    with pytest.raises(RuntimeError, match="needs"):
        object_code(prints, 8, "prints")
