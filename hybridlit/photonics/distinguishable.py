r"""The same circuits with distinguishable photons: what is left without interference between them.

A photon that entered at mode k leaves at mode j with probability :math:`|U_{jk}|^2`, whatever the
others do. So the outcome t of an input s has probability

.. math:: p(t) = \mathrm{perm}(|U[t, s]|^2) / \prod_j t_j!

where `U[t, s]` repeats row j :math:`t_j` times and column k :math:`s_k` times (Aaronson and
Arkhipov, Quantum Inf. Comput. 14, 1383 (2014)). Photons of one input mode are told apart as well,
so there is no :math:`\prod s!`. Each single photon still interferes with itself. A permanent of
non-negative numbers has no cancellation, and is easy to sample and to approximate; a circuit that
does no better than this one gains nothing from the interference of photons.

They are the photons of a source of indistinguishability 0, and computed as such: see `noise`.
"""

from __future__ import annotations

from torch import Tensor

from hybridlit.photonics.base import PhotonicCircuit
from hybridlit.photonics.layer import QuantumLayer, take_over
from hybridlit.photonics.noise.phases import Off
from hybridlit.photonics.stack import QuantumLayerStack

__all__ = ["DistinguishableLayer", "DistinguishableLayerStack"]


class _Distinguishable(PhotonicCircuit):
    """Replaces what a circuit says about its photons, and nothing else."""

    interferes = False

    def extra_repr(self) -> str:
        """Return sizes, circuit and states for `repr`."""
        without_kernel = super().extra_repr().rpartition(", kernel=")[0]
        return f"{without_kernel}, distinguishable photons"

    def _amplitudes(
        self, rows: Tensor, state: Tensor | None = None, off: Off | None = None
    ) -> tuple[Tensor, Tensor | None]:
        raise NotImplementedError(
            "photons that do not interfere have no amplitudes in common: state= and amplitudes(x) "
            "need a QuantumLayer"
        )

    def _behind(
        self, rows: Tensor, state: Tensor | None, off: Off | None
    ) -> tuple[Tensor, Tensor | None]:
        return self._amplitudes(rows, state)


class DistinguishableLayer(_Distinguishable, QuantumLayer):
    """A `QuantumLayer` whose photons do not interfere with one another.

    Arguments, parameters and outputs are those of `QuantumLayer`. With `"mode_expectations"`, and
    with one photon, both are the same.

    Example:
        >>> import torch
        >>> layer = QuantumLayer(2, 3, n_modes=4, n_photons=2)
        >>> classical = DistinguishableLayer.from_layer(layer)
        >>> x = torch.rand(5, 2)
        >>> torch.equal(classical.unitary(x), layer.unitary(x))
        True
        >>> torch.allclose(classical.probabilities(x), layer.probabilities(x))
        False
    """

    @classmethod
    def from_layer(cls, layer: QuantumLayer) -> DistinguishableLayer:
        """Copy a layer, with phases, bandwidths and readout, and take the interference away.

        Args:
            layer: The layer to copy.

        Returns:
            A layer of the same circuit, on the same device and with the same precision.
        """
        made = cls(layer.input_size, ansatz=layer.ansatz, recompute=layer.recompute)
        take_over(made, layer, layer.state_dict())
        return made


class DistinguishableLayerStack(_Distinguishable, QuantumLayerStack):
    """A `QuantumLayerStack` whose photons do not interfere with one another.

    Example:
        >>> import torch
        >>> stack = QuantumLayerStack(3, 2, 1, n_modes=4, n_photons=2)
        >>> DistinguishableLayerStack.from_stack(stack)(torch.rand(5, 2)).shape
        torch.Size([5, 3, 1])
    """

    _one = DistinguishableLayer

    @classmethod
    def from_stack(cls, stack: QuantumLayerStack) -> DistinguishableLayerStack:
        """Copy a stack, with phases, bandwidths and readouts, and take the interference away.

        Args:
            stack: The stack to copy.

        Returns:
            A stack of the same circuits, on the same device and with the same precision.
        """
        assert stack.count is not None  # a stack has one
        made = cls(stack.count, stack.input_size, ansatz=stack.ansatz, recompute=stack.recompute)
        take_over(made, stack, stack.state_dict())
        return made
