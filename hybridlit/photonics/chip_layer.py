"""A chip as it is measured: phases, and the light that enters -> the light that detectors see."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from hybridlit.argument_types import checked
from hybridlit.checks import choice, number, precision
from hybridlit.photonics.chip_amplitudes import amplitudes_of_light, propagated
from hybridlit.photonics.circuit.circuit import Circuit
from hybridlit.photonics.circuit.lowering import lowering_of
from hybridlit.photonics.finite import can_look_at
from hybridlit.photonics.parameters import CircuitParameters

__all__ = ["MEASURED", "ChipLayer", "MeasuredName", "decibels", "pairs_of"]


def decibels(loss: Tensor) -> Tensor:
    """Return the transmittance of a loss in dB: :math:`10^{-L / 10}`."""
    return torch.exp(loss * (-math.log(10) / 10))


def _intensities(amplitudes: Tensor, overlap: Tensor) -> Tensor:
    """Power at each output, shape (batch, modes)."""
    return (amplitudes.real.square() + amplitudes.imag.square())[:, 0].mT


def pairs_of(modes: int, bunched: bool) -> Tensor:
    """Return pairs of modes i < j in their order; with bunched ones i <= j; shape (2, pairs)."""
    return torch.triu_indices(modes, modes, 0 if bunched else 1)


def _of_two(amplitudes: Tensor, overlap: Tensor, bunched: bool) -> Tensor:
    r"""Probability that both photons are seen, in modes i and j, shape (batch, pairs).

    With amplitudes a and b of the two photons and the indistinguishability I,
    :math:`|a_i b_j|^2 + |a_j b_i|^2 + 2 I \mathrm{Re}(a_i b_j a_j^* b_i^*)`, half of it if i = j.
    """
    first, second = amplitudes.movedim(-1, 0).unbind(-1)
    one, other = pairs_of(first.shape[-1], bunched).to(first.device)
    straight = first[:, one] * second[:, other]
    crossed = first[:, other] * second[:, one]
    alone = straight.real.square() + straight.imag.square()
    alone = alone + crossed.real.square() + crossed.imag.square()
    found = alone + 2 * overlap * (straight * crossed.conj()).real
    return torch.where(one == other, found / 2, found) if bunched else found


def _coincidences(amplitudes: Tensor, overlap: Tensor) -> Tensor:
    """Both photons in modes i < j."""
    return _of_two(amplitudes, overlap, bunched=False)


def _full_counts(amplitudes: Tensor, overlap: Tensor) -> Tensor:
    """Both photons, also in the same mode."""
    return _of_two(amplitudes, overlap, bunched=True)


@dataclass(frozen=True)
class _Measured:
    """What is measured: how many lights enter together, and what is seen of them."""

    lights: int
    size: Callable[[int], int]
    seen: Callable[[Tensor, Tensor], Tensor]


MEASURED: dict[str, _Measured] = {
    "intensities": _Measured(1, lambda modes: modes, _intensities),
    "coincidences": _Measured(2, lambda modes: modes * (modes - 1) // 2, _coincidences),
    "full_counts": _Measured(2, lambda modes: modes * (modes + 1) // 2, _full_counts),
}
"""What detectors measure, by name: powers of one input's light, or two photons: in two modes, or
wherever they are, by detectors that resolve photon numbers."""

if TYPE_CHECKING:
    MeasuredName: TypeAlias = str
else:
    MeasuredName = Literal[tuple(MEASURED)]


class ChipLayer(CircuitParameters):
    r"""Phases of a chip and the light that enters it -> what detectors measure.

    Every phase that a setting turns is a data angle of the circuit, one feature each, in radians;
    splitters whose reflectance is not known are trainable angles. Light is lost at each input, on
    its way along each mode and at each output:

    .. math:: p_j = \eta^{out}_j \left|\sum_k A_{jk} \sqrt{\eta^{in}_k P_k}\right|^2

    with :math:`A = U_L D \Phi_L \dots D \Phi_1 U_0` and the losses along the modes in D, in equal
    parts behind each of the L columns of phases. Nothing in it needs a Fock space.

    Only the product of losses counts, so that those of the modes and outputs are relative to their
    mean, and that of the inputs holds what all light loses.

    Args:
        circuit: The chip; features are its phases.
        measured: `"intensities"`: power at each output, of light of power P in one mode;
            `"coincidences"`: probabilities of finding one photon in mode i and one in mode j, for
            all i < j, of two photons in two modes; `"full_counts"`: those for all i <= j, where
            both are in one mode if i = j.
        indistinguishability: Of two photons, in [0, 1], to begin with.
        device: Where parameters and buffers are; None: torch's default.
        dtype: `torch.float32` or `torch.float64`; None: torch's default.

    Attributes:
        phases: The trainable angles of the circuit, (parameters,), in radians.
        input_loss: dB, (modes,).
        mode_loss: dB, (modes,).
        output_loss: dB, (modes,).
        overlap: The indistinguishability, a number.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If the circuit has no data angle, or an argument is not one of those allowed.
    """

    @checked
    def __init__(
        self,
        circuit: Circuit,
        measured: MeasuredName = "intensities",
        *,
        indistinguishability: float = 1.0,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        choice(measured, "measured", MEASURED)
        number(indistinguishability, "indistinguishability", minimum=0.0, maximum=1.0)
        if not circuit.input_size:
            raise ValueError("circuit must have angles that data turn, got none")
        place = torch.empty(0, device=device).device
        kind = precision(dtype or torch.get_default_dtype(), "dtype")
        chip = circuit.in_use()
        lowering = lowering_of(chip, chip.input_size)
        super().__init__(lowering, None, True, False, place, kind)
        self.circuit, self.measured = chip, measured
        self.indistinguishability = float(indistinguishability)
        self.modes = circuit.n_modes
        self.turned = circuit.input_size
        self.input_size = self.turned + self.modes
        self.output_size = MEASURED[measured].size(self.modes)
        like: dict[str, Any] = dict(device=place, dtype=kind)
        self.input_loss = nn.Parameter(torch.zeros(self.modes, **like))
        self.mode_loss = nn.Parameter(torch.zeros(self.modes, **like))
        self.output_loss = nn.Parameter(torch.zeros(self.modes, **like))
        self.overlap = nn.Parameter(torch.tensor(float(indistinguishability), **like))
        self.reset_phases()

    def extra_repr(self) -> str:
        """Return sizes and what is measured for `repr`."""
        return f"modes={self.modes}, turned={self.turned}, measured={self.measured}"

    def forward(self, x: Tensor) -> Tensor:
        """Return what detectors measure.

        Args:
            x: Phases in radians, then the power, or the number of photons, that enters each mode,
                shape (batch, phases + modes).

        Returns:
            Shape (batch, modes); of coincidences (batch, modes (modes - 1) / 2), of full counts
            (batch, modes (modes + 1) / 2).

        Raises:
            ValueError: On the CPU, if some row has light in another number of modes than one
                (two, of two photons), or if something is not finite.
        """
        phases, light = x.split([self.turned, self.modes], -1)
        what = MEASURED[self.measured]
        places, entering = self.entering(light.to(self.encoding.dtype))
        amplitudes = self._at(phases, (), amplitudes_of_light, places, self.kept())
        leaving = self.leaving()[:, None, None]
        return what.seen(amplitudes * entering.mT * leaving, self.overlap).to(x.dtype)

    def matrices(self, phases: Tensor) -> Tensor:
        """Return the matrix `[out, in]` between the ends of the chip, without losses there.

        Args:
            phases: In radians, shape (batch, phases).

        Returns:
            Shape (batch, modes, modes), complex; unitary but for losses along the modes.
        """
        dtype = self.encoding.dtype.to_complex()
        every = torch.eye(self.modes, dtype=dtype, device=self.encoding.device)
        entering = every[..., None].expand(-1, -1, len(phases))
        return self._at(phases, (), propagated, entering, self.kept()).movedim(-1, 0)

    def kept(self) -> Tensor:
        """Return the amplitude that each mode keeps behind each column of phases, (modes,)."""
        return _amplitude((self.mode_loss - self.mode_loss.mean()) / self.columns)

    def leaving(self) -> Tensor:
        """Return the amplitude that each output lets out, (modes,)."""
        return _amplitude(self.output_loss - self.output_loss.mean())

    def entering(self, light: Tensor) -> tuple[Tensor, Tensor]:
        """Return where light enters, and the amplitude behind the losses there.

        Args:
            light: Powers, or numbers of photons, shape (batch, modes).

        Returns:
            Modes in ascending order, (batch, lights), and amplitudes of the same shape.

        Raises:
            ValueError: On the CPU, if some row has light in another number of modes.
        """
        lights = MEASURED[self.measured].lights
        places = light.topk(lights, -1).indices.sort(-1).values
        power = light.gather(-1, places)
        if can_look_at(light):
            right = (power > 0).all(-1) & ((light != 0).sum(-1) == lights)
            if not bool(right.all()):
                row = int((~right).nonzero()[0])
                words = "one mode" if lights == 1 else f"{lights} modes"
                raise ValueError(
                    f"light must enter in exactly {words} for measured={self.measured!r}, got "
                    f"{light[row].tolist()} in row {row}"
                )
        return places, power.sqrt() * _amplitude(self.input_loss)[places]


def _amplitude(loss: Tensor) -> Tensor:
    return decibels(loss).sqrt()
