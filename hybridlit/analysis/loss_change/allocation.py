"""Which part of a model changed its losses, and how sure that is: loss change allocation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hybridlit.analysis.evaluation import to_device_of
from hybridlit.templates import HybridModule

__all__ = ["allocate_loss_change", "losses_of_both", "merged", "row_losses"]


def row_losses(model: nn.Module, batches: Iterable[Any], groups: int = 16) -> Tensor:
    """Evaluate a model on batches, without gradients, and keep the losses of their rows apart.

    Args:
        model: A `HybridModule`, in the mode it is to be run in, or any module with a method
            `probe_losses(batch)` that returns the loss of each row, of shape (rows,).
        batches: Batches as its data loader yields them.
        groups: Into how many groups the rows of a batch are split, at least 1, where only means
            over rows are known: for a `HybridModule` without that method.

    Returns:
        Losses of shape (groups of all batches,) or (rows,), float64, on the CPU. Groups are
        weighted by their rows, or what these weigh, so that their mean is that over all rows.

    Raises:
        TypeError: If the losses of this model are unknown.
        ValueError: If `probe_losses` returns another shape, or there are no rows.
    """
    losses, sizes = [], list[float]()
    with torch.no_grad():
        for batch in batches:
            found, rows = _group_losses(model, _on_device_of(model, batch), groups)
            losses.append(found.double().cpu())
            sizes += rows
    return _weighted(losses, sizes)


def losses_of_both(
    model: nn.Module, first: list[Any], second: list[Any], groups: int = 16
) -> tuple[Tensor, Tensor]:
    """Return `row_losses` of two sets of batches, in one pass where that is possible.

    The model must be in evaluation mode, in which rows of a batch do not depend on each other. The
    rows of `first` are one group for each batch, unless `probe_losses` keeps them apart.
    """
    if len(first) != 1 or len(second) != 1 or len(both := merged([*first, *second])) != 1:
        return row_losses(model, first, groups=1), row_losses(model, second, groups)
    rows = len(first[0][0])
    with torch.no_grad():
        found, sizes = _group_losses(model, _on_device_of(model, both[0]), groups, apart=rows)
    found = found.double().cpu()
    at = rows if callable(getattr(model, "probe_losses", None)) else 1
    return _weighted([found[:at]], sizes[:at]), _weighted([found[at:]], sizes[at:])


def merged(batches: list[Any]) -> list[Any]:
    """Put batches of tensors of equal rows into one, which is faster; leave others as they are."""
    kinds = set()
    for batch in batches:
        if not isinstance(batch, (tuple, list)) or not all(isinstance(t, Tensor) for t in batch):
            return batches
        if len({t.shape[:1] for t in batch}) != 1 or batch[0].dim() == 0:
            return batches  # something in it does not belong to rows
        kinds.add(tuple((t.shape[1:], t.dtype) for t in batch))
    if len(kinds) != 1:  # of different kinds, or none at all
        return batches
    return [tuple(torch.cat(column) for column in zip(*batches, strict=True))]


def allocate_loss_change(
    tensors: Mapping[str, Mapping[str, Tensor]],
    start: Mapping[str, Tensor],
    losses: Callable[[], Tensor],
    before: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Divide the change of losses between two points of a training run among parts of the model.

    Loss change allocation (Lan et al., NeurIPS 2019) integrates the gradient along the path of the
    parameters, `A_c = ∫ ∇_c L · dθ_c`, and its trapezoid rule is good for single steps. Over a
    stretch of many steps this function moves one part after the other from its earlier to its
    present values, notes by how much each move changes the losses, and takes the mean over this
    order and its reverse. Where third derivatives do not matter both agree. Here the changes of the
    parts add up to the whole change at any distance, buffers such as the running statistics of
    batch normalization are included, every row has changes of its own, and nothing but forward
    passes is needed: twice the number of parts that moved, less one.

    The model is as it was when the function returns or raises.

    Args:
        tensors: The model's own tensors by qualified name, by part, as from `owners.tensors_by`.
        start: Their earlier values by qualified name.
        losses: Evaluates the model as it is, to losses of shape (groups,).
        before: The losses at `start`, if they are known.

    Returns:
        The losses now, and by part the changes, of shape (groups,); those of a part that has not
        moved are 0.
    """
    own = {
        part: [(tensor, start[name].to(tensor.device)) for name, tensor in named.items()]
        for part, named in tensors.items()
    }
    moved = [part for part, pairs in own.items() if any(not torch.equal(*pair) for pair in pairs)]
    now = {part: [tensor.detach().clone() for tensor, _ in own[part]] for part in moved}

    def put(part: str, earlier: bool) -> None:
        for (tensor, value), present in zip(own[part], now[part], strict=True):
            # .data: the value will be the old one again, and a graph somewhere may count on it
            tensor.data.copy_(value if earlier else present)

    after = losses()
    changes = {part: torch.zeros_like(after) for part in own}
    try:
        for order in (moved, moved[::-1]):
            for part in order:
                put(part, earlier=True)
            if before is None:
                before = losses()
            last = before
            for part in order:
                put(part, earlier=False)
                current = after if part == order[-1] else losses()
                changes[part] += (current - last) / 2
                last = current
    finally:
        for part in moved:
            put(part, earlier=False)
    return after, changes


def _on_device_of(model: nn.Module, batch: Any) -> Any:
    """Move a batch to the device of a model; a look at each tensor is all if it is there."""
    device = getattr(model, "device", None)  # as a LightningModule has
    if isinstance(batch, tuple) and all(
        isinstance(tensor, Tensor) and tensor.device == device for tensor in batch
    ):
        return batch
    return to_device_of(model, batch)


def _weighted(losses: list[Tensor], sizes: list[float]) -> Tensor:
    """Weight the losses of groups by their rows, so that their mean is the mean over all rows."""
    if not sizes:
        raise ValueError("batches must hold at least one row, got none")
    weights = torch.tensor(sizes, dtype=torch.float64)
    return torch.cat(losses) * weights * (len(sizes) / weights.sum())


def _group_losses(
    model: nn.Module, batch: Any, groups: int, apart: int = 0
) -> tuple[Tensor, list[float]]:
    """Return the mean losses of groups of rows, and what these weigh, 1 each by default.

    The first rows, `apart` in number, are a group of their own if losses of rows are unknown.
    """
    if callable(of_rows := getattr(model, "probe_losses", None)):
        found = of_rows(batch)
        if not isinstance(found, Tensor) or found.dim() != 1:
            got = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise ValueError(
                "probe_losses(batch) must return the loss of each row, a tensor of shape (rows,), "
                f"got {got}"
            )
        return found, [1.0] * len(found)
    if not isinstance(model, HybridModule):
        raise TypeError(
            f"{type(model).__name__} is no HybridModule, so its loss is unknown: give it a method "
            "probe_losses(batch) that returns the loss of each row, of shape (rows,)"
        )
    inputs, given = model.unpack(batch)
    outputs = model(inputs)
    targets = model.prepare_targets(outputs, given)
    weights = model.weights(batch)
    parts = (outputs, targets) if weights is None else (outputs, targets, weights)
    split = [tuple(part[:apart] for part in parts)] if apart else []
    groups = min(groups, len(outputs) - apart)
    split += zip(*(part[apart:].tensor_split(groups) for part in parts), strict=True)
    sizes = [float(model.total_weight(*each)) for each in split]
    return torch.stack([model.loss(*each) for each in split]), sizes
