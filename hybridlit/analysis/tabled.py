"""What results whose heart is one table have in common: text, Markdown and plain values."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from hybridlit.analysis.ablation.tables import plain_values
from hybridlit.words import aligned, piped

__all__ = ["Tabled"]


class Tabled:
    """Base class of results, which are dataclasses, with one table and perhaps words below it."""

    def __str__(self) -> str:
        return "\n\n".join([aligned(*self._table()), *self._words()])

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON has it; None where an interval has no end."""
        return plain_values(self)

    def to_markdown(self) -> str:
        """Return the table, and what it says, in Markdown."""
        return "\n\n".join([piped(*self._table()), *self._words()])

    @abstractmethod
    def _table(self) -> tuple[list[str], list[list[str]]]:
        """Return headings and rows."""

    def _words(self) -> list[str]:
        """Return what is said below the table, a paragraph each."""
        return []
