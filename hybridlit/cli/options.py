"""Verbs that are functions: their arguments are options, their docstring is the help."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from typing import Any

from hybridlit.cli.errors import OneLineParser, in_one_line

__all__ = ["run_function"]


def run_function(verb: str, arguments: list[str], traceback: bool = False) -> None:
    """Run the function of a verb, and print the files that it returns.

    What is False by default is a flag without a value; what is positional only has no option.
    Function and module have the name of the verb.
    """
    with in_one_line(verb, traceback):
        function = getattr(import_module(f"hybridlit.cli.{verb}"), verb)
        text = inspect.getdoc(function) or ""
        parser = OneLineParser(prog=f"hybridlit {verb}", description=text.partition("\n")[0])
        parameters = inspect.signature(function).parameters
        placed = [name for name, each in parameters.items() if each.kind is each.POSITIONAL_ONLY]
        flags: set[Any] = {flag for flag, each in parameters.items() if each.default is False}
        parser.add_function_arguments(function, as_group=False, skip={*flags, *placed})
        for name in [*placed, *flags]:
            described = re.search(rf"^ +{name}: (.*)", text, re.MULTILINE)
            options: dict[str, Any] = {"action": "store_true"} if name in flags else {}
            option = f"--{name}" if name in flags else name
            parser.add_argument(option, help=described and described[1], **options)
        given = parser.parse_args(arguments).as_dict()
        by_position = [given.pop(name) for name in placed]
        for path in function(*by_position, **given) or ():
            print(path)
