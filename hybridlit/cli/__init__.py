"""The command line: what verbs there are, and the way to each.

Nothing heavy is imported here: help on all verbs, the version and an unknown verb are answered at
once.
"""

from __future__ import annotations

import sys
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from hybridlit import __version__
from hybridlit.cli.importing import unsearched
from hybridlit.words import meant

if TYPE_CHECKING:
    from lightning.pytorch.cli import ArgsType

__all__ = ["VERBS", "Verb", "main"]


class Verb(NamedTuple):
    """A verb of the command line.

    `hybridlit/cli/<verb>.py` has a function of the verb's name, unless Lightning does it; hyphens
    are underscores there.
    """

    line: str
    """What it does, in a line of help."""

    lightning: bool = False
    """Lightning does it, with a Trainer: see `training.py`."""

    own_with: tuple[str, ...] = ()
    """Options that Lightning does not know: with one, the module here does it all the same."""


VERBS: dict[str, Verb] = {
    "fit": Verb("train a model from a recipe, then test the best checkpoint", lightning=True),
    "validate": Verb("validation loss and metrics of a checkpoint", lightning=True),
    "test": Verb("test loss and metrics of a checkpoint", lightning=True),
    "predict": Verb(
        "predictions for the rows of a file, with names and ids, as a table",
        lightning=True,
        own_with=("--input", "--output"),
    ),
    "analyze": Verb("report on a trained model: what its parts cost and contribute"),
    "calibrate": Verb("probabilities and held-out rows of a checkpoint, for predict --coverage"),
    "card": Verb("model card: data, scores with intervals, limits"),
    "compare": Verb("recipes against their twins without photons, over seeds: does a layer help?"),
    "draw": Verb("the circuit of a recipe or a checkpoint, as text or a figure"),
    "export": Verb("a model as a file for programs without hybridlit: pt2, ONNX, state, Perceval"),
    "federate": Verb("several clients train one model together, each on rows of its own"),
    "init": Verb("a first recipe for a table or a folder of images"),
    "lr-find": Verb("a learning rate for each component, by short trainings of copies"),
    "plan": Verb("states, memory and time of a circuit before it is built"),
    "program": Verb("voltages at which a chip does what is wanted, through its trained twin"),
    "recipes": Verb("recipes that come with hybridlit: list them, or copy one to change it"),
    "run-on": Verb("predictions with the circuits run on a simulator or a quantum processor"),
    "search": Verb("the best settings of a recipe: many trials, hybrid and classical ones"),
}

_USAGE = """\
usage: hybridlit VERB [options]

Hybrid classical and photonic-quantum models, from a recipe to a prediction.

{verbs}

hybridlit VERB --help lists the options of a verb. Errors are one line; --traceback shows the rest.
"""


def main(args: ArgsType = None) -> None:
    """Run the command line.

    Args:
        args: Arguments as a list of strings, or for training a nested dictionary; None: those of
            the process.
    """
    words, own = sys.argv[1:] if args is None else args, args is None
    if not isinstance(words, list):
        _train(words, "", False, own)
        return
    traceback = "--traceback" in words
    words = [word for word in words if word != "--traceback"]
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    first = words[0] if words else "--help"
    if first in ("-h", "--help"):
        width = max(map(len, VERBS))
        lines = (f"  {name.ljust(width)}  {verb.line}" for name, verb in VERBS.items())
        print(_USAGE.format(verbs="\n".join(lines)), end="")
    elif first == "--version":
        print(f"hybridlit {__version__}")
    elif first.startswith("-"):  # settings of several verbs in one file
        _train(words, "", traceback, own)
    elif first in VERBS:
        if VERBS[first].lightning and not _is_own(VERBS[first].own_with, words[1:]):
            _train(words, first, traceback, own)
        else:
            from hybridlit.cli.options import run_function

            run_function(first, words[1:], traceback, own)
    else:
        known = f"{meant(first, VERBS)}; hybridlit --help lists all verbs"
        print(f"hybridlit: there is no verb {first!r}{known}", file=sys.stderr)
        raise SystemExit(2)


def _is_own(options: tuple[str, ...], words: list[str]) -> bool:
    """Whether one of the options is given, perhaps misspelt, or nothing but help is asked for."""
    names = {word.partition("=")[0] for word in words if word.startswith("-")}
    bare = [option.strip("-") for option in options]
    near = any(get_close_matches(name.strip("-"), bare, 1, 0.75) for name in names)
    return near or bool(options and names <= {"-h", "--help"})


def _train(args: Any, verb: str, traceback: bool, own_process: bool) -> None:
    # imported for these verbs alone: Lightning takes seconds
    from hybridlit.cli.errors import in_one_line

    with in_one_line(verb, traceback):
        with unsearched(own_process):
            training = import_module("hybridlit.cli.training")
        training.run(args)
