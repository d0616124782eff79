"""A chip that exists in numbers only, with the imperfections of one that was made."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hybridlit.argument_types import checked
from hybridlit.blocks.heaters import HeaterResponse
from hybridlit.checks import number, random_seed
from hybridlit.photonics import Circuit
from hybridlit.photonics.chip_layer import MEASURED, ChipLayer, MeasuredName
from hybridlit.templates.chip.meshes import MeshName, chip_circuit, places_of_phases

__all__ = ["SimulatedChip"]


class SimulatedChip:
    r"""A chip whose imperfections are drawn by a seed, to be measured as one in a laboratory.

    Offsets are uniform, since path lengths differ by more than a wavelength. A heater turns
    :math:`2 \pi \cdot 1.1 (1 + s z)` at its full voltage squared, z normal, and a little linearly.
    Heat leaks to a phase at a distance d (in columns and modes, at least 1) as
    :math:`c\, e^{-(d - 1) / 1.5} (1 + 0.3 z)`. All numbers are float64.

    Args:
        modes: Number of modes, at least 2.
        seed: Seed of the imperfections, from 0 to 2**32 - 1.
        mesh: As for `ChipTwin`, and so is `measured`.
        heaters: Which phase each heater is on; None: one on each.
        crosstalk: Share c of a heater's phase that a neighbour feels, at least 0.
        response: Relative spread s of the heaters' responses, at least 0.
        reflectivity: Spread of the splitters' reflectivities around 0.5, in [0, 0.1].
        loss: Largest loss of an input, and of an output, in dB, at least 0; they are uniform.
        indistinguishability: Of two photons, in [0, 1].
        full_turn: The voltage that is designed to turn a phase by 2 pi, above 0.

    Attributes:
        heaters: What voltages turn phases by.
        layer: What phases make of light.
        limits: Smallest and largest voltage.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is out of range.

    Example:
        >>> chip = SimulatedChip(4, seed=1)
        >>> settings, light = chip.settings(3)
        >>> chip.measure(settings, light).shape
        torch.Size([3, 4])
    """

    @checked
    def __init__(
        self,
        modes: int,
        seed: int = 0,
        *,
        mesh: MeshName | Circuit | Mapping[str, Any] | Sequence[Mapping[str, Any]] = "rectangular",
        heaters: Sequence[int] | None = None,
        measured: MeasuredName = "intensities",
        crosstalk: float = 0.02,
        response: float = 0.05,
        reflectivity: float = 0.02,
        loss: float = 1.0,
        indistinguishability: float = 1.0,
        full_turn: float = 1.0,
    ) -> None:
        for name, value in (("crosstalk", crosstalk), ("response", response), ("loss", loss)):
            number(value, name, minimum=0.0)
        number(reflectivity, "reflectivity", minimum=0.0, maximum=0.1)
        exact: Any = dict(dtype=torch.float64)
        generator = torch.Generator().manual_seed(random_seed(seed, "seed"))

        def uniform(*shape: int) -> Tensor:
            return torch.rand(*shape, generator=generator, **exact)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, **exact)

        layer = ChipLayer(
            chip_circuit(modes, mesh),
            measured,
            indistinguishability=indistinguishability,
            device="cpu",
            **exact,
        )
        own = HeaterResponse(layer.turned, heaters, full_turn=full_turn, **exact)
        self.layer = layer.requires_grad_(False)
        self.heaters = own.requires_grad_(False)
        self.limits = (0.0, full_turn)
        places = torch.from_numpy(places_of_phases(layer))
        with torch.no_grad():
            own.offset.copy_(2 * math.pi * uniform(own.phases))
            own.quadratic.mul_(1.1 * (1 + response * normal(own.heaters)))
            own.linear.copy_(0.1 / full_turn * normal(own.heaters))
            apart = torch.cdist(places, places)
            assert own.leak is not None
            near = apart[:, own.home.argmax(0)].clamp_min(1.0)
            spread = 1 + 0.3 * normal(*near.shape)
            own.leak.copy_(crosstalk * torch.exp(-(near - 1) / 1.5) * spread * own.away)
            reflected = 0.5 + reflectivity * normal(layer.phases.numel())
            layer.phases.copy_(2 * reflected.clamp(0.01, 0.99).sqrt().asin())
            layer.input_loss.copy_(loss * uniform(modes))
            layer.output_loss.copy_(loss * uniform(modes))
            layer.output_loss.sub_(layer.output_loss.mean())

    @property
    def true(self) -> dict[str, Tensor]:
        """Its parameters by the names that those of a `ChipTwin` have."""
        parts = {"classical_pre": self.heaters, "quantum_layer": self.layer}
        return {
            f"{part}.{name}": value.detach().clone()
            for part, module in parts.items()
            for name, value in module.named_parameters()
        }

    def settings(
        self, rows: int, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draw settings: voltages uniform within the limits, and light of power 1 in random modes.

        Args:
            rows: How many, at least 1.
            generator: What draws them; None: torch's global one.

        Returns:
            Voltages, (rows, heaters), and light, (rows, modes).
        """
        low, high = self.limits
        drawn = torch.rand(rows, self.heaters.heaters, generator=generator, dtype=torch.float64)
        order = torch.rand(rows, self.layer.modes, generator=generator).argsort(-1)
        light = (order < MEASURED[self.layer.measured].lights).double()
        return low + (high - low) * drawn, light

    def measure(
        self,
        settings: Tensor,
        light: Tensor,
        noise: float = 1e-3,
        generator: torch.Generator | None = None,
        *,
        counts: bool = False,
    ) -> Tensor:
        """Return what detectors measure.

        Args:
            settings: Voltages, (batch, heaters).
            light: Power, or number of photons, that enters each mode, (batch, modes).
            noise: Standard deviation of normal noise, at least 0.
            generator: What draws noise; None: torch's global one.
            counts: Whether photons are counted, as many as enter less those that are lost, with
                the noise that they have by themselves.

        Returns:
            Shape (batch, outputs), float64.

        Raises:
            ValueError: If an argument is out of range, or light enters in a wrong number of modes.
        """
        number(noise, "noise", minimum=0.0)
        given = torch.cat([self.heaters(settings.double()), light.double()], 1)
        exact: Tensor = self.layer(given)
        if counts:
            return torch.poisson(exact, generator)
        return exact + noise * torch.randn(exact.shape, generator=generator, dtype=exact.dtype)

    def table(
        self,
        rows: int,
        noise: float = 1e-3,
        generator: torch.Generator | None = None,
        *,
        photons: float | None = None,
    ) -> dict[str, npt.NDArray[np.float64]]:
        """Draw settings and measure them, as columns that `ChipDataModule` takes.

        Args:
            rows: How many, at least 1.
            noise: As for `measure`.
            generator: What draws both; None: torch's global one.
            photons: Photons that enter in a row, or pairs of them, above 0, to be counted; None:
                powers are measured.

        Returns:
            Columns `v0`, `v1`, ..., of voltages, `in`, or `in0` and `in1` of two photons, the modes
            that light enters, `out0`, `out1`, ..., what is measured; and `power` in each of these
            modes if photons are counted.
        """
        settings, light = self.settings(rows, generator)
        modes = light.nonzero()[:, 1].view(rows, -1)
        parts = {"v": settings, "in": modes}
        if photons is not None:
            number(photons, "photons", above=0.0)
            power = photons ** (1 / modes.shape[1])  # of pairs, the product
            light = light * power
            parts["power"] = torch.full((rows, 1), power, dtype=light.dtype)
        parts["out"] = self.measure(settings, light, noise, generator, counts=photons is not None)
        return {
            f"{name}{'' if each.shape[1] == 1 else index}": column.double().numpy()
            for name, each in parts.items()
            for index, column in enumerate(each.T)
        }
