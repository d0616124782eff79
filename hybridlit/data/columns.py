"""Tables with names of columns, as those of pandas: matched by name, whatever their order."""

from __future__ import annotations

from typing import Any

__all__ = ["column_names", "in_order"]


def column_names(table: Any) -> list[Any] | None:
    """Return the names of the columns of a table.

    Args:
        table: A table of any library, with an attribute `columns`, or an array or tensor.

    Returns:
        The names in order; None for what has none.
    """
    columns = getattr(table, "columns", None)
    return None if columns is None else list(columns)


def in_order(table: Any, names: list[Any] | None, argument: str) -> Any:
    """Bring the columns of a table into the order of the training inputs.

    Args:
        table: What the user gave.
        names: The names of the training inputs in order, or None.
        argument: What the table is, for the message.

    Returns:
        The table with the columns in this order. What has no names is taken as it is.

    Raises:
        ValueError: If there are other columns, or names occur twice in another order.
    """
    given = column_names(table)
    if given is None or names is None or given == names:
        return table
    if len(set(given)) < len(given) or set(given) != set(names):
        missing = [name for name in names if name not in given]
        unknown = [name for name in given if name not in names]
        raise ValueError(
            f"{argument} must have the columns of the training inputs, {names}, got {given}: "
            f"missing {missing}, unknown {unknown}"
        )
    return table[names]
