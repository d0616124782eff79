"""Names of the vocabularies of this room, for the annotations of arguments and for YAML."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from hybridlit.photonics.circuit.builders import CircuitType
from hybridlit.photonics.fock import ComputationSpace
from hybridlit.photonics.readouts.table import OutputMappingStrategy
from hybridlit.photonics.states import StatePattern

__all__ = ["CircuitTypeName", "ReadoutName", "SpaceName", "StatePatternName"]

if TYPE_CHECKING:
    CircuitTypeName: TypeAlias = str
    ReadoutName: TypeAlias = str
    SpaceName: TypeAlias = str
    StatePatternName: TypeAlias = str
else:
    CircuitTypeName, ReadoutName, SpaceName, StatePatternName = (
        Literal[tuple(member.value for member in kind)]
        for kind in (CircuitType, OutputMappingStrategy, ComputationSpace, StatePattern)
    )
