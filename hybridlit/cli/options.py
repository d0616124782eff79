"""Verbs that are functions: their arguments are options, their docstring is the help."""

from __future__ import annotations

import inspect
import json
import re
import shlex
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from hybridlit.cli.errors import OneLineParser, in_one_line
from hybridlit.cli.importing import unsearched

__all__ = ["command_of", "options_of", "run_function"]


def run_function(
    verb: str, arguments: list[str], traceback: bool = False, own_process: bool = False
) -> None:
    """Run the function of a verb, and print the files that it returns.

    What is False by default is a flag without a value; what is positional only has no option.
    Function and module have the name of the verb, with underscores for hyphens.
    """
    with in_one_line(verb, traceback):
        name = verb.replace("-", "_")
        with unsearched(own_process):
            function = getattr(import_module(f"hybridlit.cli.{name}"), name)
        text = inspect.getdoc(function) or ""
        parser = OneLineParser(prog=f"hybridlit {verb}", description=text.partition("\n")[0])
        parameters = inspect.signature(function).parameters
        placed = [name for name, each in parameters.items() if each.kind is each.POSITIONAL_ONLY]
        flags: set[Any] = {flag for flag, each in parameters.items() if each.default is False}
        parser.add_function_arguments(function, as_group=False, skip={*flags, *placed})
        for each in [*placed, *flags]:
            described = re.search(rf"^ +{each}: (.*)", text, re.MULTILINE)
            options: dict[str, Any] = {"action": "store_true"} if each in flags else {}
            if str(parameters[each].annotation).startswith("list"):
                options["nargs"] = "+"
            elif each in placed and parameters[each].default is not inspect.Parameter.empty:
                options |= {"nargs": "?", "default": parameters[each].default}
            option = f"--{each}" if each in flags else each
            parser.add_argument(option, help=described and described[1], **options)
        given = parser.parse_args(arguments).as_dict()
        by_position = [given.pop(name) for name in placed]
        for path in function(*by_position, **given) or ():
            print(path)


def command_of(verb: str, function: Callable[..., Any], given: Mapping[str, Any]) -> str:
    """Return the command line with every argument of a verb that is not left as it is by default.

    Args:
        verb: The verb.
        function: Its function.
        given: The value of each argument, by name.
    """
    return shlex.join(["hybridlit", verb, *options_of(function, given).values()])


def options_of(function: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, str]:
    """Return the words that give arguments of a verb, by name, but for what is so by default."""
    words = {}
    for name, parameter in inspect.signature(function).parameters.items():
        value = given[name]
        if value != parameter.default:
            plain = value if isinstance(value, str) else json.dumps(value)
            words[name] = f"--{name}" if parameter.default is False else f"--{name}={plain}"
    return words
