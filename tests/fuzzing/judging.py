"""What became of a case: right, refused as it should be, or one of the faults that must not be."""

from __future__ import annotations

import re
import signal
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

__all__ = ["FAULTS", "OK", "REFUSED", "Case", "DroppedFeature", "SilentlyWrong", "judged"]

OK, REFUSED = "ok", "refused"
WRONG, HANGS, DROPPED, OTHER = "silently wrong", "hangs", "dropped features", "other exceptions"
FAULTS = (WRONG, HANGS, DROPPED, OTHER)

REFUSALS = (ValueError, TypeError, MemoryError, OSError)
ALWAYS_NAMED = ("x", "input", "inputs", "targets")
TIME_LIMIT = 20.0  # seconds


class SilentlyWrong(Exception):
    """A result that must not be."""


class DroppedFeature(Exception):
    """A feature that no output depends on."""


class Case(NamedTuple):
    """Something to try.

    Attributes:
        kind: What is tried, in a word.
        arguments: What is given, by name.
        parameters: Names of all that could be given: a refusal must have one of them.
        call: Does it. Whatever it raises is an answer of the package.
        check: Looks at what `call` returned; raises `SilentlyWrong` or `DroppedFeature`.
        must_refuse: What must be refused, if anything.
    """

    kind: str
    arguments: dict[str, Any]
    parameters: Collection[str]
    call: Callable[[], Any]
    check: Callable[[Any], None] = lambda result: None
    must_refuse: str | None = None

    def __str__(self) -> str:
        given = ", ".join(f"{name}={value!r:.300}" for name, value in self.arguments.items())
        return f"{self.kind}({given})"


class Outcome(NamedTuple):
    """What became of a case: `OK`, `REFUSED` or one of `FAULTS`, and more about it."""

    word: str
    remark: str = ""


class _TooLong(BaseException):
    """Nothing in the package may catch it."""


def judged(case: Case) -> Outcome:
    """Try a case for 20 seconds at most."""
    try:
        with _time_limit(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                result = case.call()
            except REFUSALS as error:
                return _refused(case, error)
            if case.must_refuse is not None:
                return Outcome(WRONG, f"{case.must_refuse} was accepted")
            case.check(result)
    except SilentlyWrong as fault:
        return Outcome(WRONG, str(fault))
    except DroppedFeature as fault:
        return Outcome(DROPPED, str(fault))
    except _TooLong:
        return Outcome(HANGS, f"more than {TIME_LIMIT:g} s")
    except Exception as error:
        return Outcome(OTHER, f"{type(error).__name__}: {error}")
    return Outcome(OK)


def _refused(case: Case, error: Exception) -> Outcome:
    words = set(re.findall(r"\w+", str(error)))
    if words & {*case.arguments, *case.parameters, *ALWAYS_NAMED}:
        return Outcome(REFUSED, f"{type(error).__name__}: {error}")
    return Outcome(OTHER, f"{type(error).__name__} that names no argument: {error}")


@contextmanager
def _time_limit() -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise _TooLong

    if not hasattr(signal, "SIGALRM"):  # Windows: a hang hangs
        yield
        return
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, TIME_LIMIT)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
