"""Lightning's parser, with short errors, and settings that are checked once."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.cli import LightningArgumentParser

from hybridlit.cli.errors import OneLineParser

__all__ = ["TrainingParser"]

_CHECKED = {"skip_validation": True}


class TrainingParser(OneLineParser, LightningArgumentParser):
    """Writes settings without checking them again: that takes as long as reading them."""

    def dump(self, *args: Any, **options: Any) -> str:
        """Return settings that have been checked as text."""
        text: str = super().dump(*args, **_CHECKED | options)
        return text

    def save(self, *args: Any, **options: Any) -> None:
        """Write settings that have been checked to a file."""
        super().save(*args, **_CHECKED | options)
