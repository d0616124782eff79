"""The command line: `hybridlit fit|validate|test|predict|plan`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightning.pytorch.cli import ArgsType

__all__ = ["main"]


def main(args: ArgsType = None) -> None:
    """Run the command line.

    Args:
        args: Arguments as a list of strings, or for training a nested dictionary; None: those of
            the process.
    """
    words = sys.argv[1:] if args is None else args
    if isinstance(words, list) and words and words[0] == "plan":
        from hybridlit.cli.plan import run  # needs no Lightning, which takes seconds to import

        run(words[1:])
        return
    from hybridlit.cli.training import run as train

    train(args)
