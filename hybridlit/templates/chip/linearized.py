"""A chip and its heaters around what is known of them: light as a linear map of parameters."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from hybridlit.blocks.heaters import HeaterResponse
from hybridlit.photonics.chip_jacobian import OWN, chip_jacobian
from hybridlit.photonics.chip_layer import ChipLayer
from hybridlit.templates.chip.fitted import Fitted

__all__ = ["Linearized"]

_NUMBERS = 2**22
"""Of the Jacobian that are there together."""


class Linearized:
    r"""Changes of the fitted parameters -> changes of weighted light, and its transpose.

    The Jacobian itself, a number for each of all parameters, is only there for some rows at a time:
    that of the chip in its phases is, and from there the crosstalk is a product of matrices.

    Args:
        heaters: Voltages to phases.
        layer: Phases to light.
        settings: Voltages, shape (rows, heaters).
        light: What enters each mode, (rows, modes).
        weights: Of what is measured, 1 / sigma, or 0 where nothing is, (rows, outputs).
        dtype: To compute in.

    Attributes:
        fitted: The parameters.
        voltages: As computed with.
        turned: Derivatives of weighted light in the phases, (rows, outputs, phases).
        own: In those of the layer's parameters that are fitted, (rows, outputs, parameters).
        response: What each heater turns its own phase by, (rows, heaters).
    """

    def __init__(
        self,
        heaters: HeaterResponse,
        layer: ChipLayer,
        settings: Tensor,
        light: Tensor,
        weights: Tensor,
        dtype: torch.dtype,
    ) -> None:
        self.fitted = Fitted(heaters, layer)
        self.heaters = heaters
        with torch.no_grad():
            phases = heaters(settings.to(heaters.offset.dtype))
            self.voltages = settings.to(dtype)
            self.response = heaters.turned(settings.to(heaters.offset.dtype)).to(dtype)
            self.mixing = heaters.mixing().to(dtype)
        self.away = heaters.away.to(dtype)
        chip = layer if layer.encoding.dtype == dtype else copy.deepcopy(layer).to(dtype)
        found = chip_jacobian(chip, phases.to(dtype), light.to(dtype))
        weights = weights.to(dtype)[..., None]
        self.turned = found.turned.mul_(weights)
        sizes = [getattr(layer, name).numel() for name in OWN]
        kept = [
            part
            for name, part in zip(OWN, found.own.split(sizes, -1), strict=True)
            if name in self.fitted.tensors
        ]
        self.own = torch.cat(kept, -1) * weights if kept else found.own[..., :0]

    def forward(self, changes: Tensor) -> Tensor:
        """Return changes of weighted light, (vectors, rows, outputs), of (vectors, size)."""
        parts = self.fitted.parts(changes)
        v = self.voltages
        phases = changes.new_zeros(1, 1, 1)
        if "offset" in parts:
            phases = phases + parts["offset"][:, None]
        if "linear" in parts:
            phases = phases + (parts["linear"][:, None] * v) @ self.mixing.mT
        if "quadratic" in parts:
            phases = phases + (parts["quadratic"][:, None] * v**2) @ self.mixing.mT
        if "leak" in parts:
            apart = self.heaters.apart
            leak = parts["leak"] if apart is None else parts["leak"][:, apart]
            phases = phases + self.response @ (self.away * leak).mT
        shape = len(changes), len(v), self.turned.shape[-1]
        own = changes[:, self.fitted.size - self.own.shape[-1] :]
        light = torch.einsum("bop,kbp->kbo", self.turned, phases.expand(shape))
        return light + torch.einsum("bos,ks->kbo", self.own, own)

    def backward(self, light: Tensor) -> Tensor:
        """Return the transpose of `forward`, (vectors, size), of (vectors, rows, outputs)."""
        v = self.voltages
        parts = {}
        phases = torch.einsum("bop,kbo->kbp", self.turned, light)
        names = self.fitted.tensors
        if "offset" in names:
            parts["offset"] = phases.sum(1)
        if "linear" in names or "quadratic" in names:
            response = phases @ self.mixing
            parts["linear"] = (response * v).sum(1)
            parts["quadratic"] = (response * v**2).sum(1)
        if "leak" in names:
            leak = (phases.mT @ self.response) * self.away
            parts["leak"] = self.tied(leak)
        own = torch.einsum("bos,kbo->ks", self.own, light)
        heat = [parts[name].flatten(1) for name in names if name in parts]
        return torch.cat([*heat, own], 1)

    def jacobian(self, rows: slice) -> Tensor:
        """Return the derivatives of weighted light of some rows, (rows, outputs, size)."""
        turned, v, names = self.turned[rows], self.voltages[rows, None], self.fitted.tensors
        heated = turned @ self.mixing  # in what each heater turns its own phase by
        columns = {"offset": turned, "linear": heated * v, "quadratic": heated * v**2}
        if "leak" in names:
            apart, leaks = self.heaters.apart, self.response[rows, None] * self.away
            if apart is None:
                columns["leak"] = (turned[..., None] * leaks[:, None]).flatten(2)
            else:
                kinds = leaks.new_zeros(*leaks.shape[:2], len(names["leak"]))
                columns["leak"] = turned @ kinds.scatter_add_(2, apart.expand(leaks.shape), leaks)
        heat = [columns[name] for name in names if name in columns]
        return torch.cat([*heat, self.own[rows]], -1)

    def matrix(self) -> Tensor:
        """Return the normal matrix without priors, (size, size), float64, for few parameters."""
        size, (rows, outputs, _) = self.fitted.size, self.turned.shape
        found = self.turned.new_zeros(size, size, dtype=torch.float64)
        together = max(1, _NUMBERS // (outputs * size))
        for first in range(0, rows, together):
            some = self.jacobian(slice(first, first + together)).flatten(0, 1)
            found += some.mT @ some
        return found

    def tied(self, leak: Tensor) -> Tensor:
        """Return sums over what shares one number of crosstalk, from (vectors, phases, heaters)."""
        apart, kinds = self.heaters.apart, self.fitted.tensors["leak"]
        if apart is None:
            return leak
        empty = leak.new_zeros(len(leak), len(kinds))
        return empty.index_add_(1, apart.flatten(), leak.flatten(1))

    def phase_information(self) -> Tensor:
        """Return the squares of the derivatives in each phase over outputs, (rows, phases)."""
        return self.turned.square().sum(1)

    def diagonal(self) -> Tensor:
        """Return the diagonal of the normal matrix, (size,), each heater on its own phase alone."""
        seen = self.phase_information()
        home = seen @ self.heaters.home.to(seen.dtype)
        own = self.own.square().sum((0, 1))
        found = {
            "offset": seen.sum(0),
            "linear": (home * self.voltages**2).sum(0),
            "quadratic": (home * self.voltages**4).sum(0),
        }
        if "leak" in self.fitted.tensors:
            found["leak"] = self.tied((seen.mT @ self.response**2 * self.away)[None])[0]
        heat = [found[name].flatten() for name in self.fitted.tensors if name in found]
        return torch.cat([*heat, own])
