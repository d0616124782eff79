"""Interferometers that are given as matrices: exactly, to begin with or to stay."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hybridlit.checks import boolean, integer
from hybridlit.photonics.circuit.components import as_unitary
from hybridlit.photonics.circuit.decomposition import decomposed
from hybridlit.photonics.parameters import CircuitParameters

__all__ = ["GivenInterferometers"]


class GivenInterferometers(CircuitParameters):
    """Circuits between whole meshes, which can be set to given unitaries.

    A mesh is a unitary up to phases on single modes. Those in the middle commute with the data
    phases and go into the mesh before; those at both ends change no photon count of a Fock state.

    Attributes:
        given: Whether any was given; if so there are these buffers:
        frozen: Whether an interferometer stays as it was given, shape (columns + 1,) behind
            `count`.
        frozen_phases: What the frozen ones have for `phases`, of the same shape.
        mode_phases: What meshes M lack of the interferometers, phases p on single modes in radians,
            shape (columns + 2, modes) behind `count`: interferometer l is
            `diag(exp(-i p[l + 1])) M diag(exp(i p[l]))`.
    """

    frozen: Tensor
    frozen_phases: Tensor
    mode_phases: Tensor

    def set_unitary(
        self, index: int, unitary: npt.ArrayLike | Tensor, trainable: bool = True
    ) -> None:
        """Set an interferometer between the data phases to a given unitary.

        `layer.unitary(x)` and `layer.interferometers()` have exactly it from then on, and state
        dicts keep it.

        Args:
            index: From 0, the one that light passes first, to `columns`, the one behind all data.
            unitary: `[out, in]`, shape (modes, modes); for a stack also one for each of its
                circuits, shape (count, modes, modes).
            trainable: Whether it goes on from there; else it stays, whatever optimizers do with
                `phases`.

        Raises:
            TypeError: If an argument has the wrong type.
            ValueError: If the index is out of range, the matrix not unitary or of another size, or
                if the circuit is one of components, which has `FixedUnitary` for this.

        Example:
            >>> from hybridlit import QuantumLayer
            >>> layer = QuantumLayer(2, 3, n_modes=3, n_photons=2)
            >>> layer.set_unitary(0, torch.eye(3), trainable=False)
            >>> layer.interferometers()[0].real.round().abs().tolist()
            [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
        """
        index = integer(index, "index", 0, self.columns)
        boolean(trainable, "trainable")
        if self.lowering.slots is not None:
            raise ValueError(
                "set_unitary needs whole interferometers between the data, as circuit types have "
                "them: put FixedUnitary(unitary) into the circuit, or the angles of "
                "phases_from_unitary(unitary) into an Interferometer"
            )
        if self.phases.is_meta:
            raise ValueError(
                "set_unitary needs a layer that has numbers, got one on the meta device: "
                "call it after to_empty(device=...) and reset_parameters(), or load a state dict"
            )
        given = self._unitaries(unitary)
        if not self.given:
            self._set_given(True)
        exact = copy.deepcopy(self).to("cpu", torch.float64)
        with torch.no_grad():
            found = exact.interferometers(), exact.angles(), exact.mode_phases
            several = found if self.count is not None else [each[None] for each in found]
            arrays = [each.clone().numpy() for each in several]
            for own, *others in zip(given, *arrays, strict=True):
                others[0][index] = own
                _set(index, *others)
            phases = torch.from_numpy(arrays[1]).view_as(self.phases)
            self.phases.copy_(phases)
            self.frozen_phases.copy_(phases)
            self.mode_phases.copy_(torch.from_numpy(arrays[2]).view_as(self.mode_phases))
            self.frozen[..., index] = not trainable

    def _matrices(self, settings: Tensor) -> Tensor:
        meshes = super()._matrices(settings)
        if not self.given:
            return meshes
        turned = self.mode_phases.to(meshes.dtype.to_real())
        factors = torch.polar(torch.ones_like(turned), turned)
        return factors[..., 1:, :, None].conj() * meshes * factors[..., :-1, None, :]

    def _with_frozen(self, phases: Tensor) -> Tensor:
        frozen = self.frozen[..., None, None]
        return torch.where(frozen, self.frozen_phases.to(phases.dtype), phases)

    def _unitaries(self, given: Any) -> npt.NDArray[np.complex128]:
        """Return a unitary for each circuit."""
        if self.count is None:
            found = as_unitary(given, "unitary")[None]
        else:
            several = given if np.ndim(given) == 3 else [given] * self.count
            found = np.array([as_unitary(each, "unitary") for each in several])
        wanted = (self.count or 1, self._modes, self._modes)
        if found.shape != wanted:
            stack = "" if self.count is None else f" or {wanted}"
            raise ValueError(f"unitary must have shape {wanted[1:]}{stack}, got {np.shape(given)}")
        return found

    def _set_given(self, there: bool) -> None:
        """Make the buffers of given interferometers, or take them away."""
        self.given = there
        if not there:
            for name in ("frozen", "frozen_phases", "mode_phases"):
                delattr(self, name)
            return
        *stack, meshes, _, _ = self.phases.shape
        with torch.inference_mode(False):
            zeros = torch.zeros_like(self.phases, requires_grad=False)
            on_modes = zeros.new_zeros(*stack, meshes + 1, self._modes)
            self.register_buffer("frozen", zeros.new_zeros(*stack, meshes, dtype=torch.bool))
            self.register_buffer("frozen_phases", zeros)
            self.register_buffer("mode_phases", on_modes)

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, *others: Any
    ) -> None:
        there = f"{prefix}frozen" in state_dict
        if there != self.given and f"{prefix}phases" in state_dict:
            self._set_given(there)
        super()._load_from_state_dict(state_dict, prefix, *others)


def _set(
    index: int,
    wanted: npt.NDArray[np.complex128],
    phases: npt.NDArray[np.float64],
    on_modes: npt.NDArray[np.float64],
) -> None:
    """Set the mesh of an index, and those before, which get the phases that it leaves over.

    Args:
        index: Which of them is another one.
        wanted: All interferometers, shape (columns + 1, modes, modes).
        phases: Of the meshes, shape (columns + 1, cells, 2).
        on_modes: The `mode_phases`.
    """
    if index == len(wanted) - 1:
        phases[index], left = decomposed(wanted[index], "rectangular", "input")
        on_modes[index + 1] = -left
        return
    for place in range(index, -1, -1):
        turned = np.exp(1j * on_modes[place + 1])[:, None] * wanted[place]
        phases[place], on_modes[place] = decomposed(turned, "rectangular", "output")
