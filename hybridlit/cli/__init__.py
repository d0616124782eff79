"""The command line: `hybridlit fit|validate|test|predict|plan|draw|analyze`."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser

if TYPE_CHECKING:
    from lightning.pytorch.cli import ArgsType

__all__ = ["main"]

_COMMANDS = ("plan", "draw", "analyze", "export")
"""Modules of this package, each with a function of its name; Lightning does the other words."""


def main(args: ArgsType = None) -> None:
    """Run the command line.

    Args:
        args: Arguments as a list of strings, or for training a nested dictionary; None: those of
            the process.
    """
    words = sys.argv[1:] if args is None else args
    if isinstance(words, list) and words and words[0] in _COMMANDS:
        # each is imported alone: plan needs no Lightning, which takes seconds to import
        command = import_module(f"hybridlit.cli.{words[0]}")
        _run(getattr(command, words[0]), words[1:])
        return
    from hybridlit.cli.training import run

    run(args)


def _run(function: Callable[..., Any], arguments: list[str]) -> None:
    """Run a function whose arguments are options, and print the files that it returns.

    Its docstring is the help; what is False by default is a flag without a value.
    """
    text, name = inspect.getdoc(function) or "", f"hybridlit {function.__name__}"
    parser = ArgumentParser(prog=name, description=text.partition("\n")[0])
    parameters = inspect.signature(function).parameters
    flags: set[Any] = {flag for flag, each in parameters.items() if each.default is False}
    parser.add_function_arguments(function, as_group=False, skip=flags)
    for flag in flags:
        described = re.search(rf"^ +{flag}: (.*)", text, re.MULTILINE)
        parser.add_argument(f"--{flag}", action="store_true", help=described and described[1])
    try:
        for path in function(**parser.parse_args(arguments).as_dict()) or ():
            print(path)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        raise SystemExit(130) from None
    except (ImportError, OSError, TypeError, ValueError) as error:
        raise SystemExit(f"{name}: {error}") from None
