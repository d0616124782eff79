"""A photonic layer on a processor, and its exact gradient from values at other phases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Self

from hybridlit.argument_types import checked
from hybridlit.interop.processors.circuit import PhaseCircuit
from hybridlit.interop.processors.estimate import Settings
from hybridlit.interop.processors.measuring import Measuring, measured_outputs
from hybridlit.photonics.ansatz import Ansatz
from hybridlit.photonics.experiment import Experiment
from hybridlit.photonics.layer import QuantumLayer, take_over
from hybridlit.photonics.noise.model import Noise
from hybridlit.photonics.readouts.table import OutputMappingStrategy
from hybridlit.photonics.shift_rule import shifts

__all__ = ["HardwareLayer"]


class HardwareLayer(QuantumLayer):
    r"""A `QuantumLayer` whose outputs are measured on a processor, in training as well.

    Forward, the outputs are read of measured frequencies. Backward, derivatives follow from more
    measurements by the shift rule: for n photons 2 n other values of each phase, of trainable ones
    and of those of the data (where they, or a bandwidth, need a gradient). They are exact for
    `shots=None`, else unbiased in the frequencies. A training step of B rows takes
    B (1 + 2 n P) circuits for P phases, twice as many where the source emits second photons, as far
    as it is simulated here: slow, but real. Parameters and state dict are those of the
    `QuantumLayer`, so that a layer can be trained in simulation first; `probabilities` and the like
    are still simulated.

    Args:
        input_size: As for `QuantumLayer`, and so are those that are not named here.
        output_size: Number of outputs.
        processor: A local simulator such as `"SLOS"`, a platform of the cloud such as `"sim:slos"`,
            or a computer of Perceval.
        shots: Kept events of each circuit; None: exact probabilities, of local simulators.
        max_shots: The most that a remote processor spends on a circuit; None: twice what it is
            estimated to need.
        rows_per_job: Circuits of a job.
        retries: How often a call is tried again where the connection fails.
        token: Of the cloud; None: that which Perceval knows.
        ansatz: What `AnsatzFactory.create` made.
        experiment: The circuit, instead of an ansatz.
        output_mapping_strategy: How photon statistics become outputs.
        device: Where parameters and buffers are.
        dtype: `torch.float32` or `torch.float64`.
        **circuit: The fields of an `Experiment`.

    Raises:
        ConnectionError: If a platform needs a token, or does not answer.
        ImportError: If Perceval is missing.
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is out of range, or the processor cannot do this.

    Example:
        >>> layer = HardwareLayer(2, 3, n_modes=3, n_photons=2)  # doctest: +SKIP
        >>> layer(torch.rand(4, 2)).sum().backward()  # doctest: +SKIP
    """

    @checked
    def __init__(
        self,
        input_size: int,
        output_size: int | None = None,
        *,
        processor: Any = "SLOS",
        shots: int | None = None,
        max_shots: int | None = None,
        rows_per_job: int = 100,
        retries: int = 5,
        token: str | None = None,
        ansatz: Ansatz | None = None,
        experiment: Experiment | None = None,
        output_mapping_strategy: OutputMappingStrategy | str | None = None,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
        **circuit: Any,
    ) -> None:
        super().__init__(
            input_size,
            output_size,
            ansatz=ansatz,
            experiment=experiment,
            output_mapping_strategy=output_mapping_strategy,
            shots=shots,
            shot_gradient="shift",
            device=device,
            dtype=dtype,
            **circuit,
        )
        settings = Settings(shots, max_shots, rows_per_job, retries, progress=False)
        self._measuring = Measuring(processor, settings, token=token)
        self._measuring.target.experiment(PhaseCircuit(self))  # or it refuses

    @classmethod
    def from_layer(cls, layer: QuantumLayer, **options: Any) -> Self:
        """Copy a layer, with its parameters, onto a processor.

        Args:
            layer: A `QuantumLayer`, such as `super().build_quantum()` of a template.
            **options: `processor`, `shots` (those of the layer without) and the others of this
                class.

        Returns:
            A layer of the same circuit, readout, device and precision.

        Raises:
            TypeError: If it is another module.
        """
        if not isinstance(layer, QuantumLayer) or not layer.interferes:
            raise TypeError(f"layer must be a QuantumLayer, got {type(layer).__name__}")
        shots = options.pop("shots", layer.shots)
        given = dict(ansatz=layer.ansatz, dtype=layer.phases.dtype, shots=shots, **options)
        made = cls(layer.input_size, **given)
        take_over(made, layer, layer.state_dict())
        made.shots, made.shot_gradient = shots, "shift"
        return made

    def with_noise(self, noise: Noise | Mapping[str, Any] | str | None, **detection: Any) -> Self:
        """Return a copy under other noise, on the same processor: see `QuantumLayer.with_noise`.

        Raises:
            ValueError: If the noise is that of the processor.
        """
        target = self._measuring.target
        if target.noisy:
            raise ValueError(
                f"noise is that of {target.name}, whatever the layer has, got {noise!r}: take a "
                "QuantumLayer, or a local simulator without noise of its own"
            )
        made = super().with_noise(noise, **detection)
        made._measuring = self._measuring
        return made

    def extra_repr(self) -> str:
        """Return sizes, circuit and the processor for `repr`."""
        return f"{super().extra_repr()}, processor={self._measuring.target.name!r}"

    def _outputs(self, rows: Tensor, state: Tensor | None = None) -> Tensor:
        measuring = self._measuring
        measuring.ask_for(self.shots)
        if torch.is_grad_enabled():
            self._refuse_learned_noise()

        def frequencies(circuit: PhaseCircuit, phases: Tensor) -> Tensor:
            moving = circuit.moving(rows) if torch.is_grad_enabled() else []
            found: Tensor = _Frequencies.apply(  # type: ignore[no-untyped-call]
                phases, circuit, measuring, moving
            )
            return found

        return measured_outputs(self, rows, state, frequencies)


class _Frequencies(torch.autograd.Function):
    """Phases (batch, phases) -> frequencies of outcomes (batch, D), both in float64."""

    @staticmethod
    def forward(
        ctx: Any, phases: Tensor, circuit: PhaseCircuit, measuring: Measuring, moving: list[int]
    ) -> Tensor:
        seen = measuring.seen(circuit, phases)
        measuring.forget()
        ctx.circuit, ctx.measuring, ctx.moving = circuit, measuring, moving
        ctx.save_for_backward(phases, seen.frequencies, seen.shares)
        return seen.frequencies.to(phases.device)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        phases, frequencies, shares = ctx.saved_tensors
        photons = ctx.measuring.most_photons(ctx.circuit)
        angles, weights = (torch.from_numpy(each) for each in shifts(photons))
        total = torch.zeros_like(phases, device="cpu")
        # all at once, so that jobs are full: (moved phase, batch, shift, phase)
        moved = phases.detach().cpu()[:, None].repeat(len(ctx.moving), 1, len(angles), 1)
        for number, place in enumerate(ctx.moving):
            moved[number, ..., place] += angles
        seen = ctx.measuring.seen(ctx.circuit, moved.flatten(0, 2))
        ctx.measuring.forget()
        if ctx.measuring.settings.shots is not None and bool((shares < 1).any()):
            # the gradient knows those that were seen: others are unbiased
            again = ctx.measuring.seen(ctx.circuit, phases)
            ctx.measuring.forget()
            frequencies, shares = again.frequencies, again.shares
        values = seen.frequencies.view(*moved.shape[:3], -1)
        slopes = torch.einsum("k,pbkd->pbd", weights, values)
        kept = torch.cat([shares, seen.shares])
        if kept.isfinite().all():
            # f = q / s of what is kept: q and s are trigonometric polynomials, f is none
            parts = seen.shares.view(moved.shape[:3])
            slopes = torch.einsum("k,pbk,pbkd->pbd", weights, parts, values)
            slopes = (slopes - frequencies * (parts @ weights)[..., None]) / shares[:, None]
        elif ctx.circuit.layer.outcomes.selected:
            raise ValueError(
                f"the shift rule needs to know how much is kept, which "
                f"{ctx.measuring.target.name} does not tell: leave out post-selection"
            )
        total[:, ctx.moving] = torch.einsum("bd,pbd->bp", gradient.cpu().double(), slopes)
        return total.to(phases.device), None, None, None
