"""A photonic layer -> a circuit in which every phase is a symbol of its own.

Rows, circuits of a stack and shifted phases are then numbers for one and the same circuit, and the
numbers follow from the layer's parameters and features in torch.
"""

from __future__ import annotations

import math
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hybridlit.interop.circuits_out import perceval_circuit
from hybridlit.interop.experiments import with_surroundings
from hybridlit.interop.symbols import SymbolsOut
from hybridlit.photonics.base import PhotonicCircuit
from hybridlit.photonics.circuit.angles import Trainable
from hybridlit.photonics.circuit.circuit import Circuit
from hybridlit.photonics.circuit.components import FixedUnitary, PhaseShifter
from hybridlit.photonics.circuit.data_phases import tuned
from hybridlit.photonics.circuit.meshes import Interferometer
from hybridlit.photonics.superposition import Superposition

__all__ = ["PhaseCircuit"]


class PhaseCircuit:
    """The circuit of a layer, or the one that all circuits of a stack share.

    Args:
        layer: A photonic layer; its numbers are read when phases are asked for.

    Attributes:
        layer: The same.
        circuit: Light passes it as it passes the layer.
        names: The symbol of each phase: p of trainable angles, d of data, g of what given
            interferometers have on their inputs.
    """

    def __init__(self, layer: PhotonicCircuit) -> None:
        self.layer = layer
        lowering = layer.lowering
        self._encoding = lowering.encoding
        self._encoded = np.flatnonzero(self._encoding.any(axis=2))
        self.circuit = Circuit(lowering.modes)
        self.names: list[str] = []
        if layer.given and layer.experiment.superposition is not None:
            for mode in range(lowering.modes):
                self._shift("g", mode, mode)
        # of each trainable angle, counted as in the layer, and times its factor
        self._angles: list[int] = []
        self._factors: list[float] = []
        for number in range(lowering.columns + 1):
            if lowering.slots is None:
                self._add_mesh(number)
            else:
                slots = (array[number] for array in lowering.slots)
                for matrix, places, factor in zip(*slots, strict=True):
                    self._add_slot(matrix, places, factor)
            if number < lowering.columns:
                for place in self._encoded[self._encoded // lowering.modes == number]:
                    self._shift("d", int(place), int(place) % lowering.modes)
        kinds = np.array([name[0] for name in self.names])
        order = np.concatenate([np.flatnonzero(kinds == kind) for kind in "gpd"])
        self._order = torch.from_numpy(np.argsort(order))

    def phases(self, rows: Tensor) -> Tensor:
        """Return the phases of each row, differentiably in features and parameters.

        Args:
            rows: Features, shape (batch, input_size), or (count, batch, input_size) of a stack.

        Returns:
            In radians, in float64: shape (batch, phases), or (count, batch, phases).
        """
        layer = self.layer
        several = [] if layer.count is None else [layer.count]
        batch = rows.shape[-2]
        angles = layer.angles().double().flatten(len(several))
        index = torch.tensor(self._angles, dtype=torch.long, device=angles.device)
        own = angles[..., index] * angles.new_tensor(self._factors)
        parts = [own[..., None, :].expand(*several, batch, -1)]
        if self._encoded.size:
            factors = angles.new_tensor(math.pi * self._encoding).flatten(0, 1)
            factors = tuned(factors, layer.bandwidth, layer.tuned_by)
            found = rows.double() @ factors[..., torch.from_numpy(self._encoded), :].mT
            parts.append(found.expand(*several, batch, -1))
        if self.names and self.names[0][0] == "g":
            given = layer.mode_phases.double()[..., 0, :]
            parts.insert(0, given[..., None, :].expand(*several, batch, -1))
        return torch.cat(parts, -1)[..., self._order.to(rows.device)]

    def moving(self, rows: Tensor) -> list[int]:
        """Return which phases depend on what needs a gradient.

        Args:
            rows: As for `phases`.
        """
        layer = self.layer
        frozen: npt.NDArray[np.bool_] = np.zeros(0, np.bool_)
        if layer.given:
            meshes = layer.frozen.reshape(-1, layer.columns + 1).all(0).cpu().numpy()
            frozen = np.repeat(meshes, 2 * layer.phases.shape[-2])
        data = rows.requires_grad or bool(
            layer.bandwidth is not None and layer.bandwidth.requires_grad
        )
        found, angle = [], iter(self._angles)
        for place, name in enumerate(self.names):
            if name[0] == "p":
                number = next(angle)
                if layer.phases.requires_grad and not (frozen.size and frozen[number]):
                    found.append(place)
            elif name[0] == "d" and data:
                found.append(place)
        return found

    def experiment(self) -> Any:
        """Return it as a `perceval.Experiment` whose symbols have no values yet."""
        import perceval as pcvl

        made = pcvl.Experiment(perceval_circuit(self.circuit, SymbolsOut(self.circuit)))
        return with_surroundings(made, self.layer)

    def fingerprint(self) -> str:
        """Return what is the same for the same circuit, photons and detectors alone."""
        layer, found = self.layer, sha256()
        slots, state = layer.lowering.slots, layer.input_state
        entering = state.terms if isinstance(state, Superposition) else state  # to all digits
        about = (self.names, entering, layer.outcomes.rule, layer.interferes)
        found.update(repr((*about, layer.experiment.detectors)).encode())
        found.update(np.ascontiguousarray(layer.outcomes.states, dtype=np.int64).tobytes())
        for array in () if slots is None else slots:
            found.update(np.ascontiguousarray(array).tobytes())
        return found.hexdigest()

    # --- inside -----------------------------------------------------------------------------------

    def _shift(self, kind: str, number: int, mode: int) -> None:
        self.circuit.add(PhaseShifter(self._symbol(kind, number)), mode)

    def _symbol(self, kind: str, number: int) -> Trainable:
        self.names.append(f"{kind}{number}")
        return Trainable(self.names[-1])

    def _turned(self, angle: int, factor: float = 1.0) -> Trainable:
        self._angles.append(angle)
        self._factors.append(factor)
        return self._symbol("p", len(self._angles) - 1)

    def _add_mesh(self, number: int) -> None:
        lowering = self.layer.lowering
        cells = lowering.modes * (lowering.modes - 1) // 2
        first = 2 * cells * number
        angles = [[self._turned(first + 2 * c + side) for side in range(2)] for c in range(cells)]
        side = "output" if number < lowering.columns else "input"
        self.circuit.add(Interferometer(lowering.modes, "rectangular", side, angles=angles))

    def _add_slot(
        self,
        matrix: npt.NDArray[np.complex128],
        places: npt.NDArray[np.int64],
        factor: npt.NDArray[np.float64],
    ) -> None:
        if not np.array_equal(matrix, np.eye(len(matrix))):
            self.circuit.add(FixedUnitary(matrix))
        for mode in np.flatnonzero(places).tolist():
            angle = self._turned(int(places[mode]) - 1, float(factor[mode]))
            self.circuit.add(PhaseShifter(angle), mode)
