"""How much memory a training step takes at its peak, for any batch, from two small batches.

Every allocation and release of a step is recorded, in order, at two small batches. Each is linear
in the number of rows, and so is the memory in use after each of them: extrapolated one by one,
their maximum is the peak, whatever moment of a large step it comes at. That holds for the buffers
of the backward pass as well as for what the forward pass keeps.

Two things follow from the circuits instead. The compiled kernel keeps intermediate states only up
to a limit, so the small steps are made to keep none; and its working memory and tables are not
torch's, so they are not recorded.
"""

from __future__ import annotations

import gc
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.optim import Optimizer
from torch.profiler import ProfilerActivity, profile, record_function

from hybridlit.analysis.evaluation import tensors_in
from hybridlit.analysis.recording import recorded
from hybridlit.photonics import PhotonicCircuit
from hybridlit.photonics.step_sizes import Step

__all__ = ["Bytes", "StepMemory", "bytes_in_use", "called_circuits", "held_bytes", "nothing_kept"]

Bytes = npt.NDArray[np.int64]

_MARK = "hybridlit step"
_DEVICE_TYPES = {"cpu": 0, "cuda": 1}  # as a trace numbers them


@dataclass(frozen=True)
class _Circuit:
    """A photonic layer, and what it simulates in a step of some rows."""

    layer: PhotonicCircuit
    step: Step
    rows: int

    def kept(self, rows: int) -> int:
        step, samples = self.step, self.step.samples
        if step.kernel == "torch":  # what it keeps are tensors, which are recorded
            return 0
        if samples > step.circuits:  # else all rows have the same
            samples = round(samples * rows / self.rows)
        return replace(step, samples=samples, recompute=self.layer.recompute).kept


@dataclass(frozen=True)
class StepMemory:
    """Memory of a training step as a function of the batch.

    Attributes:
        held: Bytes of parameters, buffers, gradients, optimizer state and the kernel's tables.
        rows: The two batches measured.
        in_use: Bytes in use after each allocation and release beyond what was in use before the
            step, for each of them.
        circuits: The photonic layers.
        threads: Threads of the compiled kernel.
    """

    held: int
    rows: tuple[int, int]
    in_use: tuple[Bytes, Bytes]
    circuits: tuple[_Circuit, ...]
    threads: int

    def peak(self, rows: int) -> int:
        """Predict the peak of a training step with a number of rows.

        Returns:
            Bytes, with what is held between steps and with the batch itself.
        """
        (first, second), (few, more) = self.rows, self.in_use
        if not np.array_equal(np.sign(np.diff(few)), np.sign(np.diff(more))):
            # the two steps took different ways: only their peaks compare
            few, more = few.max(keepdims=True), more.max(keepdims=True)
        slope = (more - few) / (second - first)
        step = int((few + slope * (rows - first)).max())
        kept = sum(circuit.kept(rows) for circuit in self.circuits)
        return self.held + step + kept + self.working

    @property
    def working(self) -> int:
        """Working memory of the compiled kernel; layers run one after another."""
        return self.threads * max((circuit.step.scratch for circuit in self.circuits), default=0)


def held_bytes(model: nn.Module, optimizer: Optimizer | None = None) -> int:
    """Return the bytes of a model between two steps, as it is now.

    These are parameters, buffers, gradients and, with an optimizer, its state.
    """
    tensors = [*model.parameters(), *model.buffers()]
    tensors += [p.grad for p in model.parameters() if p.grad is not None]
    if optimizer is not None:
        tensors += tensors_in(dict(optimizer.state))
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    return sum(storages.values())


def bytes_in_use(step: Callable[[], Any], device: torch.device) -> Bytes:
    """Record how much memory of a device is in use during a training step that follows another.

    The step is made twice, since the release of memory can be recorded only where its allocation
    was. No parameter may have a gradient before.

    Returns:
        Bytes in use after each allocation and release of the second step, beyond those before it.

    Raises:
        ValueError: If the device is of another type.
    """
    if device.type not in _DEVICE_TYPES:
        raise ValueError(f"memory can be measured on cpu and cuda, got {device.type}")
    with _undisturbed(), tempfile.TemporaryDirectory() as folder:
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
            step()
            with record_function(_MARK):
                step()
        path = Path(folder) / "trace.json"
        recorded.export_chrome_trace(str(path))
        events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    begin = next(event["ts"] for event in events if event.get("name") == _MARK)
    changes = [
        (event["ts"], event["args"]["Bytes"])
        for event in events
        if event.get("name") == "[memory]"
        and event["args"]["Device Type"] == _DEVICE_TYPES[device.type]
        and event["ts"] >= begin
    ]
    changes.sort(key=lambda change: change[0])
    return np.cumsum([0, *(size for _, size in changes)], dtype=np.int64)


def called_circuits(
    model: nn.Module, forward: Callable[[], Any], rows: int
) -> tuple[_Circuit, ...]:
    """Return the photonic layers that simulate outcomes in a forward pass, one entry a call."""
    layers = _layers(model)
    with recorded(dict(enumerate(layers)), lambda call: (call.args, call.kwargs)) as calls:
        forward()
    found = [
        (layer, Step.of_call(layer, *call))
        for layer, own in zip(layers, calls.values(), strict=True)
        for call in own
    ]
    return tuple(_Circuit(layer, step, rows) for layer, step in found if step is not None)


def _layers(model: nn.Module) -> list[PhotonicCircuit]:
    return [module for module in model.modules() if isinstance(module, PhotonicCircuit)]


@contextmanager
def nothing_kept(model: nn.Module) -> Iterator[None]:
    """Let photonic layers keep no intermediate states."""
    layers = _layers(model)
    before = [layer.recompute for layer in layers]
    try:
        for layer in layers:
            layer.recompute = True
        yield
    finally:
        for layer, recompute in zip(layers, before, strict=True):
            layer.recompute = recompute


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Keep Python from collecting cycles, which could release memory at any time.

    The profiler's own messages, when it starts and stops, stay off the terminal.
    """
    name, enabled = "KINETO_LOG_LEVEL", gc.isenabled()
    given = os.environ.get(name)
    os.environ.setdefault(name, "6")
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
        if given is None:
            os.environ.pop(name, None)
