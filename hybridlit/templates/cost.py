"""What a training step of a model costs, found without a number being computed.

A step is run on torch's meta device, where tensors have shapes and no memory, and each operation is
counted with what it allocates. Photonic circuits are not simulated there either: their memory and
time follow from numbers of modes and photons. So a model that would fill a machine is looked at in
a tenth of a second, as long as it was made on the meta device as well.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer

from hybridlit.checks import integer
from hybridlit.components import split_parameters
from hybridlit.internals.torch_operations import CountedOperations
from hybridlit.photonics import QuantumLayer, QuantumLayerStack
from hybridlit.photonics.speed import speed
from hybridlit.photonics.step_sizes import Step
from hybridlit.undisturbed import undisturbed
from hybridlit.words import in_bytes, in_digits, in_seconds

if TYPE_CHECKING:
    from hybridlit.templates.base import HybridModule

__all__ = ["ModelCost", "cost_of"]


@dataclass(frozen=True)
class ModelCost:
    """What a model and a training step of it take: forward, loss, backward and optimizer.

    Numbers of parameters and states are exact. Memory is estimated to 20 % from 20 MiB on, below
    that up to a third too low; time to a factor of 2, most often too short for whole models.
    `python recipes/benchmarks/claims.py cost largest` measures both.

    Attributes:
        parameters: Number of parameters that train.
        photonic_parameters: Those of them that are photonic.
        states: Outcomes whose probabilities are simulated for each row, of all circuits; 0 where
            no amplitudes are needed.
        peak_bytes: Memory at the peak of a step, of the model, its gradients, the optimizer and one
            batch; beside what the process takes without them, for Python, torch and the data.
        seconds: Time of a step on one thread, or None if it cannot be told: where the compiled
            kernel does not serve, and for LBFGS. What a Trainer does besides (metrics, logging,
            callbacks) is not in it.
        batch_size: Rows of a batch.

    Example:
        >>> sizes = {"parameters": 150, "photonic_parameters": 30, "states": 56}
        >>> print(ModelCost(**sizes, peak_bytes=2**20, seconds=None, batch_size=64))
        parameters         150, 30 photonic
        states             56
        peak memory        1 MiB, estimated for a training step of 64 rows
        time of a step     not known, estimated for one thread
    """

    parameters: int
    photonic_parameters: int
    states: int
    peak_bytes: int
    seconds: float | None
    batch_size: int

    def __str__(self) -> str:
        taken = "not known" if self.seconds is None else in_seconds(self.seconds)
        return (
            f"parameters         {self.parameters:,}, {self.photonic_parameters:,} photonic\n"
            f"states             {in_digits(self.states)}\n"
            f"peak memory        {in_bytes(self.peak_bytes)}, estimated for a training step of "
            f"{self.batch_size} rows\n"
            f"time of a step     {taken}, estimated for one thread"
        )

    def to_dict(self) -> dict[str, int | float | None]:
        """Return everything as plain values."""
        return asdict(self)


def cost_of(model: HybridModule, batch_size: int = 64, sample: Any = None) -> ModelCost:
    """Return what a model costs: see `HybridModule.cost`."""
    rows = integer(batch_size, "batch_size", 1)
    with undisturbed(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        empty = _without_numbers(model)
        try:
            return _cost(empty, rows, sample)
        except (NotImplementedError, RuntimeError) as error:
            raise ValueError(
                f"the cost of {type(model).__name__} cannot be told, since a training step on the "
                f"meta device, where there are no numbers, fails: {error}"
            ) from error


def _cost(model: HybridModule, rows: int, sample: Any) -> ModelCost:
    groups = split_parameters(model)
    counts = {
        name: sum(each.numel() for each in group.values() if each.requires_grad)
        for name, group in groups.items()
    }
    optimizer = model.make_optimizer()
    model.train()
    _step(model, optimizer, rows, sample, [])  # makes what optimizers and caches keep
    calls: list[Step] = []
    with CountedOperations() as counted, _noted(model, calls):
        forward = _step(model, optimizer, rows, sample, calls)
    kept = [*model.parameters(), *model.buffers()]
    kept += [t for state in optimizer.state.values() for t in state.values() if torch.is_tensor(t)]
    held = sum(tensor.nbytes for tensor in kept)
    own = speed(torch.promote_types(model.dtype, torch.float32))  # type: ignore[arg-type]
    times: list[float | None] = [own.of_operations(counted.count, counted.flops, counted.written)]
    # a call in the backward pass is one that is made again, without a gradient of its own
    taken = [each.seconds(speed(each.dtype)) for each in calls]
    times += taken[:forward] + [None if each is None else each / 3 for each in taken[forward:]]
    if isinstance(optimizer, LBFGS):  # steps and differences of gradients, and some vectors
        [group] = optimizer.param_groups
        held += (2 * group["history_size"] + 4) * sum(p.nbytes for p in group["params"])
        times.append(None)
    tables: dict[Hashable, int] = {}
    for each in calls:
        tables |= each.tables
    return ModelCost(
        parameters=sum(counts.values()),
        photonic_parameters=counts["photonic"],
        states=sum(each.circuits * each.states for each in calls[:forward]),
        peak_bytes=held
        + counted.peak
        + sum(tables.values())
        + sum(_hidden(each) for each in calls[:forward]),
        seconds=None if None in times else sum(filter(None, times)),
        batch_size=rows,
    )


def _hidden(step: Step) -> int:
    """Bytes of a circuit beside its tables and the tensors that are counted."""
    return step.peak - step.tensors - sum(step.tables.values())


def _step(
    model: HybridModule, optimizer: Optimizer, rows: int, sample: Any, calls: Sequence[Step]
) -> int:
    """Make a training step without numbers, and return how many calls its forward pass has made."""
    model.zero_grad()
    loss = _loss(model, rows, sample)
    forward = len(calls)
    loss.backward()
    if not isinstance(optimizer, LBFGS):
        del loss
        optimizer.step()
    return forward


def _loss(model: HybridModule, rows: int, sample: Any) -> Tensor:
    """Run the forward pass of a batch without numbers."""
    batch = (
        _batch(model, rows) if sample is None else apply_to_collection(sample, Tensor, _of, rows)
    )
    inputs, targets = model.unpack(batch)
    outputs = model(inputs)
    return model.loss_of(batch, outputs, model.prepare_targets(outputs, targets))


def _batch(model: HybridModule, rows: int) -> tuple[Tensor, Tensor]:
    given = model.hparams
    width = given.get("input_dim")
    if width is None:
        raise ValueError(
            f"{type(model).__name__} has no argument input_dim, which tells what its inputs are: "
            "give a sample, a batch of its data"
        )
    meta: Any = dict(dtype=model.dtype, device="meta")
    inputs = torch.empty(rows, width, **meta)
    if given["task"] == "multiclass":
        return inputs, inputs.new_empty(rows, dtype=torch.long)
    return inputs, inputs.new_empty(rows, given["output_dim"])


def _of(tensor: Tensor, rows: int) -> Tensor:
    """Return as many rows as are wanted of a tensor of a sample, without numbers."""
    return torch.empty(rows, *tensor.shape[1:], dtype=tensor.dtype, device="meta")


@contextmanager
def _noted(model: HybridModule, calls: list[Step]) -> Iterator[None]:
    """Note each call of a photonic layer that simulates probabilities."""

    def note(layer: Any, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        step = Step.of_call(layer, given, named)
        if step is not None:
            calls.append(step)

    hooks = [
        module.register_forward_pre_hook(note, with_kwargs=True)
        for module in model.modules()
        if isinstance(module, (QuantumLayer, QuantumLayerStack))
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _without_numbers(model: HybridModule) -> HybridModule:
    """Return a copy on the meta device, made without copying a number."""
    known: dict[int, Any] = {}
    for tensor in (*model.parameters(), *model.buffers()):
        empty: Any = torch.empty_like(tensor, device="meta")
        if isinstance(tensor, nn.Parameter):
            empty = nn.Parameter(empty, tensor.requires_grad)
        known[id(tensor)] = empty
    return copy.deepcopy(model, known).to("meta")
