"""Names that carry everything that depends on them: the base of the enums of this room."""

from __future__ import annotations

from enum import Enum
from typing import Any

from typing_extensions import Self

__all__ = ["Vocabulary"]


class Vocabulary(str, Enum):
    """An enum of strings, each with a row: `NAME = "name", row`.

    Attributes:
        row: What depends on the name.
    """

    row: Any

    def __new__(cls, value: str, *row: object) -> Self:
        """Make a member; one without a row is an error."""
        member = str.__new__(cls, value)
        member._value_ = value
        (member.row,) = row
        return member
