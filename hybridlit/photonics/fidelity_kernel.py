r"""The fidelity of the states that a circuit makes of two samples, as a kernel.

.. math:: k(x_1, x_2) = |\langle s| U(x_2)^\dagger U(x_1) |s\rangle|^2
          = \Big|\sum_t a_t(x_2)^*\, a_t(x_1)\Big|^2

with the amplitudes a(x) of the circuit's outcomes for its input state s: one simulation a row, and
a product of amplitudes for all pairs (Havlicek et al., Nature 567, 209 (2019)). The order matters:
what stands behind the data in :math:`U(x)` cancels, what stands in front of it does not. As a Schur
product of a Gram matrix with its conjugate the matrix is positive semidefinite.
"""

from __future__ import annotations

from typing import Any, overload

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hybridlit.argument_types import checked
from hybridlit.photonics.amplitudes import squared
from hybridlit.photonics.layer import QuantumLayer
from hybridlit.photonics.pure_light import require_amplitudes

__all__ = ["FidelityKernel"]

_MOST_NUMBERS = 2**17
"""Complex numbers at a time beside amplitudes and Gram matrix: 1 MiB in complex64."""


class FidelityKernel(nn.Module):
    """The fidelities of the states that a layer makes of samples: a kernel.

    Trains as any module, for its Gram matrix is differentiable in the layer's parameters and in
    the samples; with numpy arrays scikit-learn can call it, as in `SVC(kernel=kernel)`.

    Args:
        layer: The circuit; its readout does not matter. Its unbunched states are conditional on
            post-selection, and have fidelity 1 with themselves.

    Attributes:
        input_size: Number of features.

    Raises:
        TypeError: If `layer` is no `QuantumLayer`, or its photons do not interfere.
        ValueError: If it has no features, or noise or detectors.

    Example:
        >>> kernel = FidelityKernel(QuantumLayer(2, 1, n_modes=4, n_photons=2))
        >>> x = torch.rand(5, 2)
        >>> kernel(x).shape, kernel(x, x[:3]).shape
        (torch.Size([5, 5]), torch.Size([5, 3]))
    """

    @checked
    def __init__(self, layer: QuantumLayer) -> None:
        super().__init__()
        require_amplitudes(layer, "layer")
        if not layer.input_size:
            raise ValueError("layer must have features, got one of input_size=0")
        self.layer = layer
        self.input_size = layer.input_size

    @overload
    def forward(self, first: Tensor, second: Tensor | None = None) -> Tensor: ...

    @overload
    def forward(
        self, first: npt.NDArray[Any], second: npt.NDArray[Any] | None = None
    ) -> npt.NDArray[np.float64]: ...

    def forward(self, first: Any, second: Any = None) -> Any:
        """Return the fidelities of all pairs of rows.

        Args:
            first: Features, shape (rows, input_size): a real floating tensor, or an array.
            second: Others; None: the same.

        Returns:
            Shape (rows, rows of `second`), entries in [0, 1] up to rounding. Of tensors a tensor,
            differentiable; of arrays a float64 array, computed as precisely as the layer does.

        Raises:
            TypeError: As the layer.
            ValueError: As the layer, or if the shapes are others.
        """
        if not isinstance(first, Tensor):
            with torch.no_grad():
                rows = self._rows(first, "first")
                others = None if second is None or second is first else self._rows(second, "second")
                return self.forward(rows, others).double().cpu().numpy()
        a = self._amplitudes(first, "first")
        b = a if second is None or second is first else self._amplitudes(second, "second")
        return _fidelities(a, b).to(torch.promote_types(first.dtype, torch.float32))

    def _rows(self, given: Any, name: str) -> Tensor:
        array = np.asarray(given)
        if array.dtype.kind not in "fiub":
            raise TypeError(f"{name} must be an array of real numbers, got {array.dtype}")
        phases = self.layer.phases
        return torch.tensor(array, dtype=phases.dtype, device=phases.device)

    def _amplitudes(self, x: Tensor, name: str) -> Tensor:
        """Amplitudes (rows, D); some rows at a time where nothing is kept for a gradient."""
        if not isinstance(x, Tensor) or x.dim() != 2:
            got = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise ValueError(f"{name} must have shape (rows, {self.input_size}), got {got}")
        step = max(1, _MOST_NUMBERS // self.layer.outcomes.size)
        if torch.is_grad_enabled() or len(x) <= step:
            return self.layer.amplitudes(x)
        found = None
        for start in range(0, len(x), step):
            part = self.layer.amplitudes(x[start : start + step])
            if found is None:
                found = part.new_empty(len(x), part.shape[1])
            found[start : start + step] = part
        assert found is not None
        return found


def _fidelities(a: Tensor, b: Tensor) -> Tensor:
    """Squares of overlaps of rows, by parts of the first such that only their squares stay."""
    step = max(1, _MOST_NUMBERS // max(1, len(b)))
    if len(a) <= step:
        return _squares(a, b)
    parts = a.split(step)
    if torch.is_grad_enabled() and (a.requires_grad or b.requires_grad):
        return torch.cat([checkpoint(_squares, part, b, use_reentrant=False) for part in parts])
    found = a.new_empty(len(a), len(b), dtype=a.real.dtype)
    for part, rows in zip(parts, found.split(step), strict=True):
        rows.copy_(_squares(part, b))
    return found


def _squares(a: Tensor, b: Tensor) -> Tensor:
    return squared(a.conj() @ b.mT)
