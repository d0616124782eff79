"""The largest batch that fits into memory, or the fastest, without running out of memory."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch
from torch import nn
from tqdm.auto import tqdm

from hybridlit.analysis.batch_size.step_memory import StepMemory, held_bytes
from hybridlit.analysis.batch_size.trial_steps import OptimizerFactory, TrialSteps, trial_steps
from hybridlit.analysis.evaluation import LossFunction
from hybridlit.argument_types import checked
from hybridlit.checks import choice, integer, number
from hybridlit.photonics.machine import available_memory
from hybridlit.words import bytes_in, in_bytes

__all__ = ["BatchSize", "find_batch_size", "predict_memory"]

_LESS = (
    "raise budget or safety, take a smaller circuit, or recompute it with checkpoint_quantum=True"
)
_CLOSE = 0.05
"""Differences of speed up to this share are not worth a larger batch."""


@dataclass(frozen=True)
class BatchSize:
    """A batch size, and why.

    Attributes:
        size: Rows of a batch.
        mode: `"memory"` for the largest that fits, `"throughput"` for the fastest that fits.
        limited_by: `"memory"`, `"max_batch"` or `"throughput"`.
        predicted_bytes: Peak of a training step at that size, with model and optimizer.
        measured_bytes: The same from a real step; None without `verify`.
        budget_bytes: What there is, before `safety`.
        safety: Share of the budget that is used at most.
        held_bytes: Part of the peak that does not depend on the batch: parameters, buffers,
            gradients, optimizer state.
        samples_per_second: Rows a second by batch size, measured with `"throughput"`.

    Example:
        >>> found = BatchSize(
        ...     size=512,
        ...     mode="memory",
        ...     limited_by="max_batch",
        ...     predicted_bytes=2**30,
        ...     measured_bytes=None,
        ...     budget_bytes=2**32,
        ...     safety=0.9,
        ...     held_bytes=2**20,
        ... )
        >>> str(found).partition(":")[0]
        'Use batches of 512'
    """

    size: int
    mode: str
    limited_by: str
    predicted_bytes: int
    measured_bytes: int | None
    budget_bytes: int
    safety: float
    held_bytes: int
    samples_per_second: dict[int, float] = field(default_factory=dict)

    def __str__(self) -> str:
        more = "more rows" if self.mode == "memory" else "the next power of two"
        reason = {
            "throughput": f"larger ones are not over {_CLOSE:.0%} faster",
            "max_batch": f"max_batch does not allow {more}, memory would",
            "memory": f"{more} would not fit",
        }[self.limited_by]
        if self.size in self.samples_per_second:
            reason += f" ({self.samples_per_second[self.size]:,.0f} rows/s)"
        measured = (
            "not measured"
            if self.measured_bytes is None
            else f"measured {in_bytes(self.measured_bytes)}"
        )
        return (
            f"Use batches of {self.size}: {reason}. A training step peaks at "
            f"{in_bytes(self.predicted_bytes)} (predicted; {measured}), of which "
            f"{in_bytes(self.held_bytes)} do not depend on the batch; {self.safety:.0%} of "
            f"{in_bytes(self.budget_bytes)} may be used."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything in a dict of strings, ints, floats, None and one dict."""
        return asdict(self)


@checked
def find_batch_size(
    model: nn.Module,
    sample: Any,
    *,
    budget: int | str | None = None,
    mode: Literal["memory", "throughput"] = "memory",
    max_batch: int = 65536,
    safety: float = 0.9,
    optimizer: str | OptimizerFactory = "adamw",
    loss: LossFunction | None = None,
    verify: bool = True,
    progress: bool = True,
) -> BatchSize:
    """Find the largest batch whose training step fits into memory, or the fastest one.

    Nothing has to run out of memory for that, so it works on the CPU, where a process that takes
    too much is killed: allocations of a step are measured at two small batches and extrapolated,
    see `StepMemory`. The model, its gradients, buffers, modes and random numbers are left as they
    were.

    Counted are a training step in the model's own precision with forward pass, loss, backward pass
    and optimizer, what the model holds, and one batch. Not counted are metrics, batches that a data
    loader has ready, and memory that an allocator holds but does not use; `safety` has to cover
    these. On the CPU with glibc, the templates' resident memory grows as predicted to within 6 % if
    large blocks go back at once (environment variable MALLOC_MMAP_THRESHOLD_=65536), and up to 12 %
    more without.

    Args:
        model: A `HybridModule`, or any module with `loss`.
        sample: A batch of at least 2 rows, as the data loader yields it; its rows are repeated to
            make larger ones.
        budget: Bytes for everything, or a string such as `"2GiB"`; None: what is free now on the
            model's device (on the CPU, also within the limits of control groups), and what the
            model holds already.
        mode: `"memory"` for the largest batch that fits. `"throughput"`: the smallest batch among
            the powers of two that fit whose training is within 5 % of the fastest; measured until
            two doublings in a row gain nothing.
        max_batch: The largest batch allowed, at least 1.
        safety: Share of the budget that may be used, in (0, 1].
        optimizer: `"adamw"`, `"adam"`, `"sgd"`, `"momentum"` (SGD with it), or a function from a
            list of parameters to an optimizer.
        loss: From (model, batch) to the mean loss of the batch, for models that are no
            `HybridModule`.
        verify: Make a real step at the answer and measure it; if it does not fit, the answer is
            lowered until a step does.
        progress: Show a progress bar.

    Returns:
        The batch size; print it for a sentence.

    Raises:
        MemoryError: If not even one row fits.
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is out of range or unknown, nothing is trainable, `sample` has
            fewer than 2 rows, or the size comes out as 1 and the model cannot train on one row.

    Example:
        >>> from hybridlit import SequentialHybrid
        >>> model = SequentialHybrid(input_dim=5, quantum_dim=2, output_dim=3)
        >>> sample = (torch.randn(4, 5), torch.tensor([0, 1, 2, 0]))
        >>> find_batch_size(model, sample, max_batch=100, progress=False).size
        100
    """
    choice(mode, "mode", ("memory", "throughput"))
    largest = integer(max_batch, "max_batch", 1)
    number(safety, "safety", above=0.0)
    if safety > 1:
        raise ValueError(f"safety must be at most 1, got {safety}")
    available = None if budget is None else _in_bytes(budget)
    with trial_steps(model, sample, optimizer, loss) as run:
        if available is None:
            available = _free(run.device) + held_bytes(model)
        with tqdm(total=0, desc="measure memory", disable=not progress, leave=False) as bar:
            return _found(run, mode, largest, available, float(safety), verify, bar)


def _found(
    run: TrialSteps, mode: str, largest: int, available: int, safety: float, verify: bool, bar: Any
) -> BatchSize:
    usable = int(safety * available)
    memory = run.memory(usable)
    size = _largest(memory, largest, usable)
    limit = "memory" if size < largest else "max_batch"
    speeds: dict[int, float] = {}
    if mode == "throughput":
        bar.set_description(f"measure speed up to {size}")
        fastest, speeds = _fastest(run, size)
        size, limit = fastest, limit if 2 * fastest > size else "throughput"
    measured = None
    if verify:
        bar.set_description(f"verify {size}")
        size, measured, lowered = _verified(run, memory, size, usable)
        limit = "memory" if lowered else limit
    return BatchSize(
        size=size,
        mode=mode,
        limited_by=limit,
        predicted_bytes=memory.peak(size),
        measured_bytes=measured,
        budget_bytes=available,
        safety=safety,
        held_bytes=memory.held,
        samples_per_second=speeds,
    )


@checked
def predict_memory(
    model: nn.Module,
    sample: Any,
    *,
    optimizer: str | OptimizerFactory = "adamw",
    loss: LossFunction | None = None,
) -> StepMemory:
    """Predict the memory of a training step for any batch; the model is left as it was.

    Args:
        model: As for `find_batch_size`, and so are the others.
        sample: A batch of at least 2 rows.
        optimizer: Name or function.
        loss: From (model, batch) to the mean loss.

    Returns:
        The memory as a function of the batch.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is unknown, or `sample` has fewer than 2 rows.

    Example:
        >>> from hybridlit import SequentialHybrid
        >>> model = SequentialHybrid(input_dim=5, quantum_dim=2, output_dim=3)
        >>> memory = predict_memory(model, (torch.randn(4, 5), torch.tensor([0, 1, 2, 0])))
        >>> memory.held < memory.peak(64) < memory.peak(1024)
        True
    """
    with trial_steps(model, sample, optimizer, loss) as run:
        return run.memory(_free(run.device) + held_bytes(model))


# --- search ---------------------------------------------------------------------------------------


def _largest(memory: StepMemory, most: int, usable: int) -> int:
    """The largest number of rows up to `most` whose predicted peak is usable, by bisection."""
    if memory.peak(1) > usable:
        raise MemoryError(
            f"a training step of one row takes about {in_bytes(memory.peak(1))}, "
            f"{in_bytes(memory.held)} of it for parameters, gradients and optimizer, and "
            f"{in_bytes(usable)} may be used: {_LESS}"
        )
    if memory.peak(most) <= usable:
        return most
    # the peak grows with the rows
    return bisect_right(range(most), usable, lo=1, key=memory.peak) - 1


def _fastest(run: TrialSteps, most: int) -> tuple[int, dict[int, float]]:
    """The smallest power of two up to `most` that is about as fast as the fastest; all speeds."""
    speeds: dict[int, float] = {}
    rows, best, idle = (2 if most > 1 else 1), 0.0, 0
    while rows <= most and idle < 2:
        speeds[rows] = rows / run.seconds(rows)
        idle = 0 if speeds[rows] > (1 + _CLOSE) * best else idle + 1
        best = max(best, speeds[rows])
        rows *= 2
    return min(rows for rows, speed in speeds.items() if speed >= (1 - _CLOSE) * best), speeds


def _verified(run: TrialSteps, memory: StepMemory, size: int, usable: int) -> tuple[int, int, bool]:
    """Lower a size until a real step fits; its peak, and whether it had to be lowered."""
    lowered = False
    while True:
        try:
            measured = run.peak(memory, size)
        except (torch.OutOfMemoryError, MemoryError):
            if size == 1:
                raise
            run.optimizer.zero_grad()
            if run.device.type == "cuda":
                torch.cuda.empty_cache()
            measured = 2 * usable
        if measured <= usable:
            return size, measured, lowered
        if size == 1:
            raise MemoryError(
                f"a training step of one row took {in_bytes(measured)}, and {in_bytes(usable)} may "
                f"be used: {_LESS}"
            )
        size = max(1, min(size - 1, int(size * usable / measured)))
        lowered = True


# --- memory ---------------------------------------------------------------------------------------


def _in_bytes(budget: int | str) -> int:
    """Turn a number of bytes, or a string such as "2GiB" or "500 MB", into bytes."""
    if not isinstance(budget, str):
        return integer(budget, "budget", 1)
    found = bytes_in(budget)
    if found is None:
        raise ValueError(f"budget must be bytes or a string such as '2GiB', got {budget!r}")
    return found


def _free(device: torch.device) -> int:
    """Bytes that a process may still take on a device."""
    if device.type != "cuda":
        return available_memory()
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0]) + unused
