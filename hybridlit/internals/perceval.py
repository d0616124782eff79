"""What hybridlit uses of Perceval that is not documented. Seen in 1.3.1."""

from __future__ import annotations

from typing import Any

__all__ = ["communication_layer"]


def communication_layer(computer: Any) -> Any:
    """Return what a remote computer sends its jobs through.

    A `RemoteComputer` is constructed with it and offers no way to ask for a job by its id, so that
    one that a killed process has sent could not be found again. If it goes: whatever takes the id.

    Args:
        computer: A `perceval.RemoteComputer`.

    Returns:
        Its `perceval.CommunicationLayer`.
    """
    return computer._communication_layer
