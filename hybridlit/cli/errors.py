"""Errors of whoever types a command: one line each, and exit code 2."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from traceback import print_exception
from typing import Any, NoReturn

from jsonargparse import ArgumentError, ArgumentParser

from hybridlit.constructors import raised_in
from hybridlit.unwrapping import cause_of, unwrapped

__all__ = ["OneLineParser", "Refusal", "in_one_line"]

_USUAL = (ImportError, OSError, TypeError, ValueError, MemoryError, ArgumentError)


class Refusal(SystemExit):
    """Ends the process with exit code 2; the line has been printed."""

    def __init__(self, line: str) -> None:
        super().__init__(line)
        self.code = 2


class OneLineParser(ArgumentParser):
    """Takes options by their whole names only, and says in one line what is wrong with them."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **options})

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise what `in_one_line` prints; a nested parser's goes to the parser around it."""
        if not self.exit_on_error:
            super().error(message, ex)
        raise ArgumentError(None, unwrapped(message, self)) from ex


@contextmanager
def in_one_line(verb: str, traceback: bool) -> Iterator[None]:
    """Turn the usual errors into a line that begins with the verb, and Ctrl-C into a word."""
    try:
        yield
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        raise SystemExit(130) from None
    except _USUAL as error:
        if traceback:
            print_exception(error)
        line = f"{f'hybridlit {verb}'.strip()}: {_line(error)}"
        print(line, file=sys.stderr)
        raise Refusal(line) from None


def _line(error: Exception) -> str:
    cause = cause_of(error)
    said = " ".join(unwrapped(str(cause)).split()) or type(cause).__name__
    ours = raised_in(cause).partition(".")[0] == "hybridlit"  # whose text says what to do
    if ours or isinstance(error, ArgumentError) or isinstance(cause, OSError):
        return said
    return f"{said} ({type(cause).__name__}; --traceback shows where)"
