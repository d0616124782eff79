"""A Ctrl-C that waits until nothing is half done."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

__all__ = ["Patience"]

_SAID = b"\nInterrupted: what is under way is finished first; Ctrl-C again stops at once.\n"


class Patience:
    """Lets the first Ctrl-C wait for a moment at which nothing is half done; the second never.

    Python raises KeyboardInterrupt between any two instructions: amid an optimizer's step, between
    a file's bytes, or while a logger holds the lock of its queue, which then is never free again.
    """

    def __init__(self) -> None:
        self.asked = False  # whether a Ctrl-C waits
        self._waits = False

    def begin(self, waits: bool = True) -> None:
        """Take over Ctrl-C, in the main thread and if it does what Python makes it do by default.

        It waits for `stop_if_asked`; if not `waits`, for the end of `held` alone.
        """
        self.asked, self._waits = False, waits
        usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if usual and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self._handle)

    def end(self) -> None:
        """Give Ctrl-C back, unless somebody else has taken it over; forget one that waits."""
        self.asked = False
        if signal.getsignal(signal.SIGINT) == self._handle:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def stop_if_asked(self) -> None:
        """Raise `KeyboardInterrupt`, here where nothing is half done, if a Ctrl-C waits."""
        if self.asked:
            self.end()
            raise KeyboardInterrupt

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let a Ctrl-C wait for the end of the block, even one that would not wait outside."""
        waits, self._waits = self._waits, True
        try:
            yield
        finally:
            self._waits = waits
        if not waits:
            self.stop_if_asked()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.asked or not self._waits:
            self.end()
            signal.default_int_handler(number, frame)
        self.asked = True
        with suppress(OSError):  # standard error may be closed
            os.write(2, _SAID)  # print and logging may be what was interrupted
