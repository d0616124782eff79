"""One function called with many arguments, in this process or in several side by side.

Numbers do not depend on how many: each process, this one among them, computes in one thread, and
what is called seeds its own generators.
"""

from __future__ import annotations

import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from traceback import format_exception
from typing import Any, NamedTuple, NoReturn, TypeVar

import torch

from hybridlit.checks import integer
from hybridlit.undisturbed import kept_environment

__all__ = ["QUIET", "run_jobs"]

Result = TypeVar("Result")

_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""Read once by the libraries below numpy and scipy, when a process loads them."""

QUIET = "HYBRIDLIT_QUIET"
"""Environment variable of processes that need not say why they take long: another one has."""

_PATIENCE = 5.0
"""Seconds that a process has to end before it is killed."""


def run_jobs(
    function: Callable[..., Result],
    arguments: Sequence[tuple[Any, ...]],
    jobs: int | None = 1,
    on_done: Callable[[int, Result], object] | None = None,
) -> list[Result]:
    """Call a function with each of some arguments, in several processes if asked for.

    Other processes start from nothing (spawn): function, arguments and results must be picklable,
    the function by its name in a module. A script that calls this needs its
    `if __name__ == "__main__":`. Torch's default dtype is theirs too.

    Args:
        function: What is called. It must seed what it draws, for the same results in any number of
            processes; `functools.partial` holds what all calls share.
        arguments: Positional arguments, one tuple a call.
        jobs: Number of processes, at least 1; with 1 everything is called in this one. Each has one
            thread. None: in this one, with the threads that it has.
        on_done: Called in this process with the index and the result of each call, as they come.

    Returns:
        The results, in the order of `arguments`.

    Raises:
        Exception: What the first call that fails has raised; a RuntimeError with its text if it
            cannot be sent. The other processes are ended, as they are at Ctrl-C.
        RuntimeError: If a process was killed.
        TypeError: If function or arguments cannot be sent to another process.
        ValueError: If `jobs` is below 1.
    """
    if jobs is not None and integer(jobs, "jobs", 1) > 1:
        return _in_processes(function, arguments, jobs, on_done)
    results = []
    with nullcontext() if jobs is None else _one_thread():
        for index, each in enumerate(arguments):
            results.append(function(*each))
            if on_done is not None:
                on_done(index, results[-1])
    return results


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    with ExitStack() as stack:
        try:  # it comes with scikit-learn, whose models compute in numpy
            from threadpoolctl import threadpool_limits
        except ImportError:
            pass
        else:
            stack.enter_context(threadpool_limits(1))
        torch.set_num_threads(1)
        stack.callback(torch.set_num_threads, threads)
        yield


# --- several processes ----------------------------------------------------------------------------


class _Answer(NamedTuple):
    """A result, or an error with its traceback as text."""

    result: Any
    error: Exception | None = None
    trace: str = ""


class _InWorker(Exception):
    """Shows the traceback of another process as the cause of an error."""

    def __str__(self) -> str:
        return f"\n\nin another process:\n{self.args[0]}"


def _in_processes(
    function: Callable[..., Result],
    arguments: Sequence[tuple[Any, ...]],
    jobs: int,
    on_done: Callable[[int, Result], object] | None,
) -> list[Result]:
    packed = _packed(function)
    waiting = [(index, _packed(each)) for index, each in enumerate(arguments)][::-1]
    results: dict[int, Result] = {}
    workers: dict[Connection, BaseProcess] = {}
    running: dict[Connection, int] = {}
    try:
        while running or waiting:
            while waiting and len(running) < jobs:
                free = next((each for each in workers if each not in running), None)
                connection = free or _started(packed, workers)
                index, given = waiting.pop()
                running[connection] = index
                try:
                    connection.send_bytes(given)
                except ConnectionError:
                    _tell_end(workers[connection], arguments[index])
            ready = wait(list(running))
            for connection in [each for each in running if each in ready]:
                index = running.pop(connection)
                results[index] = result = _received(connection, workers, arguments[index])
                if on_done is not None:
                    on_done(index, result)
    except BaseException:
        for process in workers.values():
            process.terminate()
        raise
    finally:
        _ended(workers)
    return [results[index] for index in range(len(arguments))]


def _packed(given: object) -> bytes:
    """Pickle as files are, since multiprocessing would share the memory of tensors."""
    try:
        return pickle.dumps(given)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise TypeError(
            f"what another process needs cannot be sent to it: {error}; give functions and classes "
            "by their name in a module, or jobs=1"
        ) from error


def _started(packed: bytes, workers: dict[Connection, BaseProcess]) -> Connection:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, packed, torch.get_default_dtype()))
    with kept_environment([*_ONE_THREAD, QUIET]):
        os.environ.update(_ONE_THREAD)
        if workers:  # the first speaks for those beside it
            os.environ[QUIET] = "1"
        process.start()
    theirs.close()  # so that the end of the process is the end of the connection
    workers[ours] = process
    return ours


def _received(
    connection: Connection, workers: Mapping[Connection, BaseProcess], given: tuple[Any, ...]
) -> Any:
    try:
        answer = _Answer(*pickle.loads(connection.recv_bytes()))
    except (EOFError, ConnectionError):
        _tell_end(workers[connection], given)
    if answer.error is not None:
        raise answer.error from _InWorker(answer.trace)
    return answer.result


def _tell_end(process: BaseProcess, given: tuple[Any, ...]) -> NoReturn:
    process.join(_PATIENCE)
    code = process.exitcode or 0
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
    memory = "; if memory was short, fewer jobs need less" if code == -signal.SIGKILL else ""
    raise RuntimeError(f"the process of {given!r} {how}{memory}") from None


def _ended(workers: Mapping[Connection, BaseProcess]) -> None:
    """Wait for processes that are idle or were told to end, and kill those that do not."""
    for connection in workers:
        connection.close()
    for process in workers.values():
        process.join(_PATIENCE)
        if process.is_alive():
            process.kill()
            process.join()
        process.close()


def _work(connection: Connection, packed: bytes, dtype: torch.dtype) -> None:
    """Answer until the connection ends: in another process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process answers to Ctrl-C
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    torch.set_default_dtype(dtype)
    function = None
    while True:
        try:
            given = connection.recv_bytes()
        except EOFError:
            return
        try:
            function = function or pickle.loads(packed)
            answer = pickle.dumps(_Answer(function(*pickle.loads(given))))
        except Exception as error:
            answer = _refusal(error)
        try:
            connection.send_bytes(answer)
        except ConnectionError:  # the first process is no more
            return


def _end_with_parent() -> None:
    """Let nothing go on that nobody waits for, when the first process was killed."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _refusal(error: Exception) -> bytes:
    """Pickle an error, or its text if it cannot be pickled or read again."""
    trace = "".join(format_exception(error))
    try:
        packed = pickle.dumps(_Answer(None, error, trace))
        pickle.loads(packed)
    except Exception:
        packed = pickle.dumps(
            _Answer(None, RuntimeError(f"{type(error).__name__}: {error}"), trace)
        )
    return packed
