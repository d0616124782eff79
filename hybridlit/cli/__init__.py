"""The command line: `hybridlit fit|validate|test|predict|plan|draw|analyze`."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightning.pytorch.cli import ArgsType

__all__ = ["main"]

_COMMANDS = ("plan", "draw", "analyze")
"""Modules of this package with a function `run`; Lightning's command line does the others."""


def main(args: ArgsType = None) -> None:
    """Run the command line.

    Args:
        args: Arguments as a list of strings, or for training a nested dictionary; None: those of
            the process.
    """
    words = sys.argv[1:] if args is None else args
    if isinstance(words, list) and words and words[0] in _COMMANDS:
        # each is imported alone: plan needs no Lightning, which takes seconds to import
        import_module(f"hybridlit.cli.{words[0]}").run(words[1:])
        return
    from hybridlit.cli.training import run

    run(args)
