"""Models on processors: their photonic layers measured, the rest computed as ever."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from hybridlit.argument_types import checked
from hybridlit.atomic_write import atomic_write
from hybridlit.interop.processors.circuit import PhaseCircuit
from hybridlit.interop.processors.estimate import Estimate, Settings
from hybridlit.interop.processors.measuring import Measuring, measured_outputs
from hybridlit.photonics.adaptive import AdaptiveCircuit
from hybridlit.photonics.base import PhotonicCircuit
from hybridlit.photonics.fidelity_kernel import FidelityKernel
from hybridlit.undisturbed import undisturbed

__all__ = ["Evaluation", "OnProcessor", "evaluate", "on_processor"]


class Evaluation(NamedTuple):
    """A model on a processor.

    Attributes:
        outputs: Of the model, or the layer, shape (rows, ...).
        counts: How often each outcome of each photonic layer was seen, or probabilities without
            shots, by name of the layer (`""` is the model itself): shape (rows, D), of a stack
            (rows, count, D), float64.
        estimate: What was asked for.
    """

    outputs: Tensor
    counts: dict[str, Tensor]
    estimate: Estimate


class OnProcessor:
    """A model whose photonic layers are measured within `on_processor`.

    Attributes:
        counts: Of each layer, a tensor for each call.
    """

    def __init__(self, layers: dict[str, PhotonicCircuit], measuring: Measuring) -> None:
        self._layers, self._measuring = layers, measuring
        self.counts: dict[str, list[Tensor]] = {}

    def estimate(self, compute: Callable[[], Any]) -> Estimate:
        """Return what a computation would ask of the processor, and send nothing.

        Layers see uniform outcomes meanwhile: of layers behind others, results that are known may
        be counted as missing.

        Args:
            compute: The computation, such as `lambda: model.predict(rows)`.

        Raises:
            ValueError: If the processor cannot take a circuit.
        """
        total = [Estimate(self._measuring.target.name)]

        def counted(name: str, circuit: PhaseCircuit, phases: Tensor) -> Tensor:
            total[0] += self._measuring.estimate(circuit, phases)
            size = circuit.layer.outcomes.size
            return torch.full((len(phases), size), 1 / size, dtype=torch.float64)

        with self._measured_by(counted):
            compute()
        return total[0]

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Measure the layers whenever the model computes."""
        self.counts = {name: [] for name in self._layers}
        with self._measured_by(self._seen):
            yield

    def write(self, path: Path) -> Path:
        """Write what was measured last, as an .npz file.

        Args:
            path: Where. It holds for each layer NAME `NAME counts`, shape (rows, D), of a stack
                (rows, count, D), and `NAME outcomes`, photons in each mode, shape (D, modes).

        Returns:
            The same.
        """
        found: dict[str, Any] = {}
        for name, layer in self._layers.items():
            if self.counts.get(name):
                found[f"{name} counts".strip()] = torch.cat(self.counts[name]).numpy()
                found[f"{name} outcomes".strip()] = layer.outcomes.states
        with atomic_write(path) as unfinished, unfinished.open("wb") as file:
            np.savez_compressed(file, **found)
        return path

    def _seen(self, name: str, circuit: PhaseCircuit, phases: Tensor) -> Tensor:
        seen = self._measuring.seen(circuit, phases)
        self._measuring.forget()
        several = circuit.layer.count
        counts = seen.counts
        if several is not None:
            counts = counts.view(several, -1, counts.shape[-1]).transpose(0, 1)
        self.counts[name].append(counts)
        return seen.frequencies

    @contextmanager
    def _measured_by(
        self, frequencies: Callable[[str, PhaseCircuit, Tensor], Tensor]
    ) -> Iterator[None]:
        with ExitStack() as stack:
            for name, layer in self._layers.items():
                found = partial(frequencies, name)
                stack.enter_context(_reading(layer, found))
            yield


@contextmanager
def _reading(
    layer: PhotonicCircuit, frequencies: Callable[[PhaseCircuit, Tensor], Tensor]
) -> Iterator[None]:
    """Let a layer read measured frequencies."""

    def outputs(rows: Tensor, state: Tensor | None = None) -> Tensor:
        with torch.no_grad():
            return measured_outputs(layer, rows, state, frequencies)

    layer._outputs = outputs  # type: ignore[method-assign]  # before that of its class
    try:
        yield
    finally:
        del layer._outputs


@checked
def on_processor(
    model: nn.Module,
    processor: Any = "SLOS",
    shots: int | None = None,
    *,
    folder: str | Path | None = None,
    rows_per_job: int = 100,
    max_shots: int | None = None,
    retries: int = 5,
    token: str | None = None,
    progress: bool = True,
) -> OnProcessor:
    """Return a handle to a model whose photonic layers are measured on a processor for a time.

    Args:
        model: A model with photonic layers, or one of these.
        processor: As for `evaluate`, and so are the others.
        shots: Kept events of each row.
        folder: Where results are kept.
        rows_per_job: Rows of a job.
        max_shots: The most that a remote processor spends on a row.
        retries: How often a call is tried again.
        token: Of the cloud.
        progress: Whether to show a bar.

    Returns:
        What estimates and measures: within `handle.measured()`, `model(x)` and
        `model.predict(rows)` run on the processor.

    Raises:
        ConnectionError: If a platform needs a token, or does not answer.
        ImportError: If Perceval is missing.
        TypeError: If an argument has the wrong type.
        ValueError: If the model has no photonic layer, or one that runs in simulation alone.

    Example:
        >>> from hybridlit import SequentialHybrid
        >>> model = SequentialHybrid(4, 2, 3, n_modes=4, n_photons=2).eval()
        >>> handle = on_processor(model, "SLOS", shots=1000)  # doctest: +SKIP
        >>> with handle.measured():  # doctest: +SKIP
        ...     model(torch.rand(2, 4)).shape
        torch.Size([2, 3])
    """
    layers = {}
    for name, module in model.named_modules():
        if isinstance(module, (AdaptiveCircuit, FidelityKernel)):
            raise ValueError(
                f"a {type(module).__name__} runs in simulation alone, got {name or 'one'}: "
                "processors take QuantumLayer and QuantumLayerStack"
            )
        if isinstance(module, PhotonicCircuit):
            layers[name] = module
    if not layers:
        raise ValueError(
            f"model must have a photonic layer of hybridlit, {type(model).__name__} has none"
        )
    settings = Settings(shots, max_shots, rows_per_job, retries, progress)
    # of its own, since predictions leave torch's random numbers as they were
    generator = torch.Generator().manual_seed(int(torch.randint(2**62, ()).item()))
    return OnProcessor(layers, Measuring(processor, settings, folder, token, generator))


@checked
def evaluate(
    model: nn.Module,
    rows: Tensor,
    processor: Any = "SLOS",
    shots: int | None = None,
    *,
    folder: str | Path | None = None,
    rows_per_job: int = 100,
    max_shots: int | None = None,
    retries: int = 5,
    token: str | None = None,
    progress: bool = True,
    told: Callable[[Estimate], object] | None = None,
) -> Evaluation:
    """Evaluate a model, or a photonic layer, with its circuits run on a processor.

    What enters the photonic layers is computed by the model, and the rest of the model runs on
    measured frequencies. The processor's own noise counts if it has any, else that of the layer.

    Args:
        model: A model with photonic layers, or one of these; it computes in evaluation mode.
        rows: What its `forward` takes, shape (rows, ...).
        processor: Name of a local simulator, such as `"SLOS"`; of a platform of Quandela's cloud,
            such as `"sim:slos"` or `"qpu:belenos"`; or any computer of Perceval.
        shots: Kept events of each row: outcomes of the layer that are counted, at least 1. None:
            exact probabilities, of local simulators.
        folder: Where results are kept as they come: an evaluation that was killed, started again,
            sends no row twice. None: nowhere.
        rows_per_job: Rows of a job, at least 1.
        max_shots: The most that a remote processor spends on a row, kept or not, at least `shots`;
            None: twice what Perceval estimates that they take.
        retries: How often a call is tried again where the connection fails, with waits of 1, 2, 4
            ... seconds in between, at least 0.
        token: Of the cloud; None: that which Perceval knows.
        progress: Whether to show a bar.
        told: Called with the estimate before anything is sent: whoever raises stops it.

    Returns:
        Outputs, counts, and what was asked for.

    Raises:
        ConnectionError: If a platform needs a token, or the connection is lost.
        ImportError: If Perceval is missing.
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is out of range, or the processor cannot take a circuit.

    Example:
        >>> import hybridlit as ML
        >>> from hybridlit.interop.perceval import evaluate  # doctest: +SKIP
        >>> layer = ML.QuantumLayer(2, 3, n_modes=4, n_photons=2)
        >>> found = evaluate(layer, torch.rand(5, 2), "SLOS", shots=1000)  # doctest: +SKIP
        >>> found.counts[""].sum(1).tolist()  # doctest: +SKIP
        [1000.0, 1000.0, 1000.0, 1000.0, 1000.0]
    """
    handle = on_processor(
        model, processor, shots, folder=folder, rows_per_job=rows_per_job, max_shots=max_shots,
        retries=retries, token=token, progress=progress,
    )  # fmt: skip
    with undisturbed(model, evaluation=True), torch.no_grad():
        estimate = handle.estimate(lambda: model(rows))
        if told is not None:
            told(estimate)
        with handle.measured():
            outputs: Tensor = model(rows)
    counts = {name: torch.cat(found) for name, found in handle.counts.items() if found}
    return Evaluation(outputs, counts, estimate)
