import math
import os
import stat
import struct
import subprocess
import sys

import numpy as np
import pytest

from hybridlit.photonics.kernels.compiled import machine_code
from hybridlit.photonics.kernels.compiled.machine_code import CACHE_VARIABLE, folders
from hybridlit.workers import QUIET

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
    out, errors = process.communicate(timeout=300)
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


@pytest.fixture
def refusals(monkeypatch, recwarn):
    """What was said about files and folders that are not used."""
    monkeypatch.setattr(machine_code, "_warned", False)
    return lambda: (
        [str(w.message) for w in recwarn if "CACHE" in str(w.message)]
        + [str(w.message) for w in recwarn if "is not run" in str(w.message)]
    )


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


@pytest.mark.slow
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
    monkeypatch, tmp_path, compilations, refusals
):
    blocked = tmp_path / "a file, no folder"
    blocked.write_text("")
    monkeypatch.setenv(CACHE_VARIABLE, str(blocked / "cache"))
    use()
    use()
    assert compilations == [SMALLEST] * 2
    (said,) = refusals()
    assert "Not a directory" in said and CACHE_VARIABLE in said


def give_away(path, monkeypatch):
    """Let a file or folder belong to another user."""
    if os.geteuid() == 0:
        os.chown(path, 12345, -1)
    else:
        owner = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: owner + 1)


posix = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="Windows has no owners like these")


def open_to_all(path, monkeypatch):
    path.chmod(0o777)


def open_to_a_group(path, monkeypatch):
    path.chmod(0o770)


@posix
@pytest.mark.parametrize(
    "expose,reason",
    [
        (give_away, "belongs to another user"),
        (open_to_all, "other users can write to it"),
        (open_to_a_group, "other users can write to it"),
    ],
)
def test_a_folder_that_others_can_write_to_is_not_used(
    monkeypatch, tmp_path, compilations, refusals, expose, reason
):
    """The file in it is sound, as a forged one would be."""
    folder = tmp_path / "cache"
    monkeypatch.setenv(CACHE_VARIABLE, str(folder))
    use()
    expose(folder, monkeypatch)
    (file,) = folder.iterdir()
    kept = file.stat()
    use()
    use()
    assert compilations == [SMALLEST] * 3
    assert [*folder.iterdir()] == [file] and file.stat() == kept
    (said,) = refusals()
    assert reason in said and str(folder) in said and CACHE_VARIABLE in said


@posix
@pytest.mark.parametrize(
    "expose,reason",
    [
        (give_away, "belongs to another user"),
        (open_to_all, "other users can write to it"),
        (open_to_a_group, "other users can write to it"),
    ],
)
def test_a_file_that_others_could_have_written_is_compiled_again(
    monkeypatch, tmp_path, compilations, refusals, expose, reason
):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    use()
    (file,) = tmp_path.iterdir()
    expose(file, monkeypatch)
    use()
    assert compilations == [SMALLEST] * 2
    assert any(reason in said for said in refusals())
    if os.geteuid() == file.stat().st_uid:  # the new one is the user's own
        use()
        assert compilations == [SMALLEST] * 2


@posix
def test_links_are_not_followed(monkeypatch, tmp_path, compilations, refusals):
    cache = tmp_path / "cache"
    monkeypatch.setenv(CACHE_VARIABLE, str(cache))
    use()
    (file,) = cache.iterdir()
    elsewhere = file.rename(tmp_path / "elsewhere")
    file.symlink_to(elsewhere)
    use()
    assert compilations == [SMALLEST] * 2
    assert "symbolic link" in refusals()[0]
    assert not file.is_symlink() and elsewhere.exists()


@pytest.mark.slow
@posix
def test_a_pipe_does_not_block(monkeypatch, tmp_path):
    """In a process of its own, which would wait for ever."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    use()
    (file,) = tmp_path.iterdir()
    file.unlink()
    os.mkfifo(file, 0o600)
    assert ends(python(USE, **{CACHE_VARIABLE: str(tmp_path)}))
    assert file.is_file()


@posix
def test_a_folder_that_others_can_replace_is_not_used(
    monkeypatch, tmp_path, compilations, refusals
):
    parent = tmp_path / "open"
    monkeypatch.setenv(CACHE_VARIABLE, str(parent / "cache"))
    use()
    parent.chmod(0o777)
    use()
    assert compilations == [SMALLEST] * 2
    assert str(parent) in refusals()[0]
    parent.chmod(0o1777)  # as /tmp: only its owner can replace what is in it
    use()
    assert compilations == [SMALLEST] * 2


@posix
def test_new_folders_and_files_are_the_users_own_whatever_the_umask(monkeypatch, tmp_path):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    before = os.umask(0)
    try:
        use()
    finally:
        os.umask(before)
    (file,) = (tmp_path / "cache").iterdir()
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(file.stat().st_mode) == 0o644


@posix
def test_another_folder_stands_in_for_one_of_another_user_without_a_word(
    monkeypatch, tmp_path, compilations, refusals
):
    package, user = tmp_path / "package", tmp_path / "user"
    package.mkdir(), package.chmod(0o777)
    monkeypatch.setattr(machine_code, "folders", lambda: [package, user])
    use()
    use()
    assert compilations == [SMALLEST] and not refusals()
    assert not list(package.iterdir()) and len(list(user.iterdir())) == 1


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


@pytest.mark.slow
def test_a_warm_start_does_without_numba():
    ends(python(FIRST_CALL))  # compiles if need be
    assert not ends(python(FIRST_CALL))


def test_that_it_is_compiling_is_said_once(monkeypatch, capsys):
    """Processes that are started from then on have the variable as well."""
    monkeypatch.setattr(os, "environ", {})
    monkeypatch.setattr(machine_code, "_announced", False)
    machine_code._announce(), machine_code._announce()
    assert capsys.readouterr().err.count("compiling") == 1 and QUIET in os.environ


@pytest.mark.parametrize("announced", [False, True])
def test_that_it_is_compiled_is_said_where_it_took_long(announced, monkeypatch, capsys):
    clock = iter([0.0, 6.4])
    monkeypatch.setattr(machine_code, "_announced", announced)
    monkeypatch.setattr(machine_code.time, "perf_counter", lambda: next(clock))
    machine_code._compile(SMALLEST, 8, "hybridlit_said")
    said = "hybridlit: " + SMALLEST.partition(".")[2] + " is compiled, 6 s\n"
    assert capsys.readouterr().err == said * announced


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
