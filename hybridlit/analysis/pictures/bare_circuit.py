"""A circuit by itself as a picture needs it: no light has been chosen yet, and no detectors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hybridlit.analysis.pictures.elements import Element, elements_of
from hybridlit.photonics import Circuit
from hybridlit.photonics.circuit.lowering import data_places, lowering_of
from hybridlit.words import plural

__all__ = ["BareCircuit"]


@dataclass(frozen=True)
class BareCircuit:
    """A circuit whose light an experiment has still to choose.

    Args:
        circuit: Its components.
    """

    circuit: Circuit

    @property
    def inputs(self) -> list[str]:
        """Nothing enters a mode."""
        return [""] * self.circuit.n_modes

    @property
    def detectors(self) -> list[str]:
        """Nothing stands behind a mode."""
        return [""] * self.circuit.n_modes

    @property
    def reading(self) -> str:
        """Nothing is read out."""
        return ""

    @property
    def caption(self) -> str:
        """Sizes in one line, as of an experiment."""
        circuit = self.circuit.copy().in_use()
        features = circuit.input_size
        trained = len(lowering_of(circuit, features).parameters)
        turned = plural(len(data_places(circuit)), "data angle")
        data = f"{plural(features, 'feature')} as {turned}" if features else "no data"
        sizes = f"{circuit.n_modes} modes, {plural(trained, 'trainable angle')}, {data}"
        return f"{sizes}, its photons are still to be chosen"

    def elements(self, unfold: bool = False, nested: bool = True) -> Iterator[Element]:
        """Yield what is drawn of the circuit; see `elements_of`."""
        yield from elements_of(self.circuit, lambda angle, key: None, unfold, nested)
