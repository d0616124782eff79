"""Photonic processors that circuits may be meant for: nominal sizes, which devices change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

__all__ = ["DEVICES", "Device", "DeviceName"]


class Device(NamedTuple):
    """A processor as its maker describes it; ask the maker for what it can do today.

    Attributes:
        modes: Most modes of a circuit.
        photons: Most photons of an input.
        in_a_mode: Most photons of an input mode.
        source: Where these numbers are from.
    """

    modes: int
    photons: int
    in_a_mode: int
    source: str


DEVICES: dict[str, Device] = {
    "ascella": Device(12, 6, 1, "Maring et al., Nat. Photon. 18, 603 (2024)"),
    "belenos": Device(24, 12, 1, "Perceval's documentation: constraints of sim:belenos"),
}
"""Processors of Quandela by name, nominal."""

if TYPE_CHECKING:
    DeviceName: TypeAlias = str
else:
    DeviceName = Literal[tuple(DEVICES)]
