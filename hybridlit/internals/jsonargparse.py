"""What hybridlit uses of jsonargparse that it does not document. Seen in 4.52 and 4.53."""

from __future__ import annotations

from jsonargparse import ArgumentParser

__all__ = ["option_names"]


def option_names(parser: ArgumentParser) -> list[str]:
    """Return all options of a parser and its verbs, such as `--trainer.max_epochs`.

    If it goes: an empty list, and no nearest name is told.
    """
    names = list(parser._option_string_actions)
    verbs = parser._subcommands_action
    for inner in {} if verbs is None else verbs._name_parser_map.values():
        names += option_names(inner)
    return names
