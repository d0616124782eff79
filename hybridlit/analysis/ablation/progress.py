"""How far a study is, while it runs."""

from __future__ import annotations

import sys
from collections.abc import Callable

from tqdm import tqdm
from typing_extensions import Self

__all__ = ["Progress"]

_BAR = "{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"


class Progress:
    """Tells how far a study is, on stderr.

    In a terminal that is a bar that names what is running. Elsewhere, as in a log file, nothing is
    drawn twice: there is a line for each run that is done.

    Args:
        wanted: Whether to tell; or what is called with each line instead.
    """

    def __init__(self, wanted: bool | Callable[[str], object]) -> None:
        hidden = wanted is not True or not sys.stderr.isatty()
        self._bar = tqdm(desc="ablation", bar_format=_BAR, dynamic_ncols=True, disable=hidden)
        self._tell = wanted if callable(wanted) else _write if wanted else None

    def expect(self, models: int) -> None:
        """Say how many models there are to train, fit or change, those that are done included."""
        self._bar.reset(total=models)

    def running(self, what: str) -> None:
        """Say what is running now."""
        self._bar.set_description_str(what)

    def done(self, models: int, line: str | None = None) -> None:
        """Count models that are done, and say what was found of them where there is no bar."""
        self._bar.update(models)
        if self._bar.disable:
            self.say(line)

    def skip(self, models: int) -> None:
        """Count models that an earlier call has done: they say nothing about the time left."""
        if not self._bar.disable:
            self._bar.initial += models
            self._bar.n += models

    def say(self, line: str | None) -> None:
        """Say something once, above the bar if there is one; None: nothing."""
        if line is not None and self._tell is not None:
            self._tell(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()


def _write(line: str) -> None:
    tqdm.write(line, file=sys.stderr)
    sys.stderr.flush()
