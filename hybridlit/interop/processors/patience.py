"""Calls that may fail for a while: tried again, with longer and longer waits."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from socket import gaierror
from typing import Any, TypeVar

__all__ = ["JobFailedError", "LostAnswerError", "Patience", "short"]


class JobFailedError(OSError):
    """A job came to an end without results."""


class LostAnswerError(ConnectionError):
    """A job that was sent may have arrived, or not."""


_Result = TypeVar("_Result")

_PASSING = {408, 421, 423, 425, 429}
"""HTTP codes of requests that another time may be answered, beside all from 500 on."""


class Patience:
    """Tries again what fails for lack of a connection.

    Args:
        name: Of the processor.
        retries: How often a call is tried again, at least 0.
        first: Seconds before it is first; each further wait is twice as long, up to a minute.
    """

    def __init__(self, name: str, retries: int, first: float = 1.0) -> None:
        self.name, self.retries, self.first = name, retries, first

    def __call__(
        self, call: Callable[..., _Result], *arguments: Any, sends: bool = False
    ) -> _Result:
        """Call a function until it answers.

        Args:
            call: The function.
            *arguments: Its arguments.
            sends: Whether it sends a job, which nobody may do twice: it is not tried again if it
                may have arrived.

        Raises:
            ConnectionError: If it is refused, or fails to the last.
            LostAnswerError: If a job may have arrived.
        """
        for attempt in range(self.retries + 1):
            try:
                return call(*arguments)
            except OSError as error:  # that of requests, and Python's own
                code = _code(error)
                if code is not None and code < 500 and code not in _PASSING:
                    raise ConnectionError(f"{self.name} refuses: {short(error)}") from None
                if sends and not _never_arrived(error):
                    raise LostAnswerError(
                        f"{self.name} did not answer to a job ({short(error)})"
                    ) from None
                if attempt == self.retries:
                    tries = f"{attempt + 1} tries" if attempt else "one try"
                    raise ConnectionError(
                        f"the connection to {self.name} is lost after {tries} ({short(error)})"
                    ) from None
            self.wait(attempt)
        raise AssertionError  # the last attempt returns or raises

    def wait(self, attempt: int) -> None:
        """Wait as long as behind so many attempts in a row.

        Args:
            attempt: At least 0.
        """
        time.sleep(min(60.0, self.first * 2.0**attempt))


def short(error: Exception) -> str:
    """Return the first line of an error, no longer than one on a screen.

    Args:
        error: Any.
    """
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return line if len(line) <= 120 else f"{line[:119]}…"


def _code(error: OSError) -> int | None:
    """The HTTP code of an error; Perceval has some in the text alone."""
    code = getattr(getattr(error, "response", None), "status_code", None)
    if code is None:
        found = re.search(r"status code (\d{3})\b", str(error))
        code = found and found[1]
    return None if code is None else int(code)


def _never_arrived(error: OSError) -> bool:
    """Whether it is certain that a request was not taken, rather than that its answer is lost."""
    from requests.exceptions import ConnectTimeout

    if isinstance(error, (ConnectTimeout, ConnectionRefusedError, gaierror)):
        return True
    unreached = re.search("NewConnectionError|NameResolutionError", repr(error))
    return bool(unreached) or _code(error) in _PASSING | {503}
