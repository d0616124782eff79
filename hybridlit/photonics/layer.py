"""The photonic layer as an ordinary ``nn.Module``."""

from __future__ import annotations

from torch import Tensor

from hybridlit.checks import enum_member, integer
from hybridlit.photonics.circuit import PhotonicCircuit
from hybridlit.photonics.experiment import Ansatz, AnsatzFactory, Experiment
from hybridlit.photonics.readouts.table import OutputMappingStrategy

__all__ = ["QuantumLayer", "resolved_ansatz"]


class QuantumLayer(PhotonicCircuit):
    r"""Features -> phases of an interferometer -> photon statistics -> outputs.

    Simulates the circuit :math:`U_L \Phi_L(x) \dots \Phi_1(x) U_0` on a Fock state exactly.
    Features are expected in [0, 1], where they give phases of 0 to pi for a factor of 1; others are
    legal, since phases are periodic, and never clamped.

    The layer is a precision island: it computes in float32, or in float64 after ``.double()``,
    whatever the precision around it, and its parameters are real. Outside autocast the outputs have
    the dtype of ``x``.

    NaN or infinite features raise on the CPU, and so do samples whose unbunched outcomes are too
    rare to be told from rounding errors, even in float64, which takes over where float32 fails. On
    other devices such checks would cost a synchronisation each step, so there they become NaN
    outputs of their samples.

    Args:
        input_size: number of features.
        output_size: number of outputs; see :class:`~hybridlit.photonics.experiment.Ansatz`.
        ansatz: what :meth:`AnsatzFactory.create` made; its sizes and mapping hold.
        experiment: the circuit, instead of an ansatz.
        output_mapping_strategy: how photon statistics become outputs.
        recompute: simulate again for the gradient instead of keeping intermediate states: less
            memory, up to a third more time. None keeps them up to 5 MiB, while that is faster.

    Attributes:
        phases: (a, b) of each cell of each interferometer in radians, shape
            (columns + 1, cells, 2); a buffer in reservoir mode.
        bandwidth: factor of each encoded phase, initially 1, shape (encoded phases,); None without
            bandwidth tuning.
        readout: module from probabilities to outputs.
        input_state: photons in each input mode.
        fock_space: the outcomes, a sequence of occupation tuples.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if an argument is out of range or contradicts the ansatz.

    Example:
        >>> import torch
        >>> layer = QuantumLayer(3, 4, experiment=Experiment("series", n_modes=4, n_photons=2))
        >>> layer(torch.rand(8, 3)).shape
        torch.Size([8, 4])
    """

    def __init__(
        self,
        input_size: int,
        output_size: int | None = None,
        *,
        ansatz: Ansatz | None = None,
        experiment: Experiment | None = None,
        output_mapping_strategy: OutputMappingStrategy | str = OutputMappingStrategy.LINEAR,
        recompute: bool | None = None,
    ) -> None:
        chosen = resolved_ansatz(
            input_size, output_size, ansatz, experiment, output_mapping_strategy
        )
        super().__init__(chosen, count=None, recompute=recompute)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs.

        Args:
            x: features, shape (..., input_size), real floating.

        Returns:
            Shape (..., output_size).

        Raises:
            TypeError: if ``x`` is no floating tensor, or float64 in a float32 layer.
            ValueError: if its width is wrong or, on the CPU, if a feature is not finite or a sample
                has next to no unbunched outcome.
        """
        self._check(x, (self.input_size,))
        return self._island(x, self._outputs)

    def probabilities(self, x: Tensor) -> Tensor:
        """Return the probabilities of all outcomes, in the order of ``fock_space.states``.

        Args:
            x: features, shape (..., input_size), real floating.

        Returns:
            Shape (..., D); each row sums to 1.
        """
        self._check(x, (self.input_size,))
        return self._island(x, lambda rows: self._probabilities(rows)[0])

    def success_probability(self, x: Tensor) -> Tensor:
        """Return the probability that an outcome is in ``fock_space`` at all.

        Args:
            x: features, shape (..., input_size), real floating.

        Returns:
            Shape (...): 1 in the full Fock space; if unbunched, the share of outcomes with at most
            one photon a mode, which post-selection keeps.
        """
        self._check(x, (self.input_size,))

        def kept(rows: Tensor) -> Tensor:
            mass = self._probabilities(rows)[1]
            return rows.new_ones(len(rows)) if mass is None else mass

        return self._island(x, kept)

    def unitary(self, x: Tensor) -> Tensor:
        """Return the unitary ``[out, in]`` of the whole circuit.

        Args:
            x: features, shape (..., input_size), real floating.

        Returns:
            Shape (..., modes, modes), complex64 or complex128 as the layer computes.
        """
        self._check(x, (self.input_size,))

        def whole(rows: Tensor) -> Tensor:
            modes = range(self.experiment.n_modes)
            return self._columns(rows, modes).movedim(-1, 0)

        return self._island(x, whole)

    def _outputs(self, rows: Tensor) -> Tensor:
        if self._has_expectations:
            return self._expectations(rows)
        outputs: Tensor = self.readout(self._probabilities(rows)[0])
        return outputs


def resolved_ansatz(
    input_size: int,
    output_size: int | None,
    ansatz: Ansatz | None,
    experiment: Experiment | None,
    output_mapping_strategy: OutputMappingStrategy | str,
) -> Ansatz:
    """Return the ansatz that a layer's arguments mean, whether given whole or in parts.

    Args:
        input_size: as for :class:`QuantumLayer`.
        output_size: as for :class:`QuantumLayer`.
        ansatz: as for :class:`QuantumLayer`.
        experiment: as for :class:`QuantumLayer`.
        output_mapping_strategy: as for :class:`QuantumLayer`.

    Returns:
        The ansatz.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if an argument is out of range or contradicts the ansatz.
    """
    features = integer(input_size, "input_size", 1)
    strategy = enum_member(
        OutputMappingStrategy, output_mapping_strategy, "output_mapping_strategy"
    )
    if (ansatz is None) == (experiment is None):
        given = "neither" if ansatz is None else "both"
        raise ValueError(f"give exactly one of ansatz and experiment, got {given}")
    if experiment is not None:
        return AnsatzFactory.create(experiment, features, output_size, strategy)
    if not isinstance(ansatz, Ansatz):
        raise TypeError(
            f"ansatz must be what AnsatzFactory.create returns, got {type(ansatz).__name__}"
        )
    wanted: dict[str, object] = {"input_size": features}
    if output_size is not None:
        wanted["output_size"] = output_size
    if strategy is not OutputMappingStrategy.LINEAR:
        wanted["output_mapping_strategy"] = strategy
    for name, value in wanted.items():
        made = getattr(ansatz, name)
        if value != made:
            raise ValueError(f"{name} must be {made!r} as in the ansatz, got {value!r}")
    return ansatz
