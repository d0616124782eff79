"""Circuits whose outcomes are counted in a finite number of shots."""

from __future__ import annotations

import math
from abc import abstractmethod

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hybridlit.checks import choice, integer
from hybridlit.photonics.ansatz import Ansatz
from hybridlit.photonics.circuit.data_phases import tuned
from hybridlit.photonics.feature_rows import FeatureRows
from hybridlit.photonics.fock import FockSpace
from hybridlit.photonics.kernels.choice import forward_mode, transforming
from hybridlit.photonics.noise.model import Noise
from hybridlit.photonics.noise.phases import Off, settings_of
from hybridlit.photonics.noise.program import Program
from hybridlit.photonics.noise.shifted import Shifted, ShiftRule
from hybridlit.photonics.noise.shots import SHOT_GRADIENTS, drawn_counts, frequencies
from hybridlit.photonics.noise.values import NoiseValues
from hybridlit.photonics.sizes import require_memory

__all__ = ["SampledCircuit"]


class SampledCircuit(FeatureRows):
    """What a photonic circuit says of shots, without saying what the outcomes are."""

    ansatz: Ansatz
    noise: NoiseValues | None
    _program: Program | None
    fock_space: FockSpace
    _has_expectations: bool
    _shots: int | None = None
    _shot_gradient = "exact"

    @property
    def shots(self) -> int | None:
        """How often each sample is measured; None: outputs are those of exact probabilities."""
        return self._shots

    @shots.setter
    def shots(self, given: int | None) -> None:
        if given is not None:
            integer(given, "shots", 1)
            if self._has_expectations:  # which are then means over all outcomes
                circuits, dtype = self.count or 1, self.phases.dtype
                kind = self.phases.device.type
                require_memory(self.fock_space, circuits, dtype, kind, circuits=circuits)
        self._shots = given

    @property
    def shot_gradient(self) -> str:
        """What the gradient with shots is; one of `SHOT_GRADIENTS`."""
        return self._shot_gradient

    @shot_gradient.setter
    def shot_gradient(self, given: str) -> None:
        choice(given, "shot_gradient", SHOT_GRADIENTS)
        if given == "shift":
            self._set_one_by_one()
        self._shot_gradient = given

    def _set_one_by_one(self) -> None:
        """Let every phase shifter be off by itself."""
        if self._settings_made is not None:
            return
        circuit = self.ansatz.experiment
        noise = circuit.noise if isinstance(circuit.noise, Noise) else Noise()
        components = circuit.circuit_for(self.input_size)
        with torch.device("cpu"):  # also within a block that makes layers without values
            made = settings_of(self.lowering, components, self.input_size, noise)
        self._settings_made = made
        self._set_constants()

    def _drawn(
        self, rows: Tensor, state: Tensor | None, shots: int, generator: torch.Generator | None
    ) -> Tensor:
        """Counts of outcomes (..., batch, D), given that they are kept."""
        with torch.no_grad():
            return drawn_counts(self._of_each(rows, state)[0], shots, generator)

    def _frequencies(self, rows: Tensor, state: Tensor | None) -> Tensor:
        """Frequencies of outcomes (..., batch, D) in the place of probabilities."""
        assert self._shots is not None
        if self._shot_gradient == "shift":
            return self._with_shift_rule(rows, state, self._shots)
        found = self._of_each(rows, state)[0]
        if state is None:
            return frequencies(found, self._shots, self._shot_gradient)
        norm = found.sum(-1, keepdim=True)  # squared: a state is taken as it is
        return frequencies(found / norm, self._shots, self._shot_gradient) * norm

    def _with_shift_rule(self, rows: Tensor, state: Tensor | None, shots: int) -> Tensor:
        if state is not None:
            raise ValueError(
                "state must be left out with shot_gradient='shift', which differentiates in phases "
                "alone: use 'exact' or 'score'"
            )
        wanted = torch.is_grad_enabled()
        if wanted:
            self._refuse_learned_noise()
        if wanted and (transforming() or forward_mode()):
            raise NotImplementedError(
                "shot_gradient='shift' measures at other phases in a backward pass, which "
                "torch.func and forward mode have none of: use 'exact' or 'score', or backward()"
            )
        off = self._off()
        with torch.no_grad():
            found, kept = self._of_each(rows, None, off)
        drawn = drawn_counts(found, shots).to(found.dtype) / shots
        if not wanted:
            return drawn

        def measured(shifted: Off) -> tuple[Tensor, Tensor]:
            """What frequencies of shifted circuits add to those here, and how much is kept."""
            with torch.no_grad():
                there, share = self._of_each(rows, None, shifted)
            ratio = torch.ones_like(there[..., 0])
            if share is not None and kept is not None:
                ratio = share / kept
            return drawn_counts(there, shots).to(found.dtype) / shots - found, ratio

        settings = self._set(self.angles())
        data = tuned(self.encoding, self.bandwidth, self.tuned_by) @ rows.to(self.encoding.dtype).mT
        program = self._program
        rule = ShiftRule(
            measured,
            off or Off(),
            self.fock_space.photons if program is None else program.light.most,
            self.count,
            settings.dim() - (self.count is not None),
            *self._followers(),
        )
        result: Tensor = Shifted.apply(settings, data, drawn, rule)  # type: ignore[no-untyped-call]
        return result

    def _refuse_learned_noise(self) -> None:
        learned = [] if self.noise is None else list(self.noise.parameters())
        if any(value.requires_grad for value in learned):
            raise ValueError(
                "noise must not be learned with shot_gradient='shift', which differentiates in "
                f"phases alone, got {self.noise}: use 'exact' or 'score'"
            )

    def _followers(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], frozenset[int]]:
        """Numbers of the settings that follow parameters, of phases of data, and of splitters."""
        settings = self._settings
        assert settings is not None
        if settings.places is None:
            found = np.arange(math.prod(self.lowering.phases_shape))
        else:
            found = np.flatnonzero(settings.places.cpu().numpy())
        return found, np.flatnonzero(self.lowering.encoding.any(axis=2)), settings.splitters

    def _of_each(
        self, rows: Tensor, state: Tensor | None, off: Off | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Probabilities of each row, which without features are those of one, and what is kept."""
        if self.input_size:
            return self._probabilities(rows, state, off)
        found, kept = self._probabilities(rows[..., :1, :], state, off)
        batch = rows.shape[-2]
        if found.shape[-2] != 1 or batch < 2:
            return found, kept
        kept = None if kept is None else kept.expand(*kept.shape[:-1], batch)
        return found.expand(*found.shape[:-2], batch, -1), kept

    @abstractmethod
    def _probabilities(
        self, rows: Tensor, state: Tensor | None = None, off: Off | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Probabilities (..., batch, D), and what they summed to (..., batch) if selected."""
