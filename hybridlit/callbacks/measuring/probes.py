"""Fixed batches that a model is looked at with in the middle of its training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor, nn

from hybridlit.analysis.loss_change.allocation import losses_of_both, merged, row_losses
from hybridlit.analysis.loss_change.retraining import seed_torch
from hybridlit.analysis.replacement import losses_without
from hybridlit.ranks import every_rank, in_turns
from hybridlit.undisturbed import undisturbed

__all__ = ["Probes", "evaluation", "full_precision", "keep_first"]


class Probes:
    """The first batches of training and validation, `most` of each, for looks all through a run."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._batches: dict[str, list[Any]] = {"train": [], "val": []}
        self._complete = False

    def state_dict(self) -> dict[str, Any]:
        """Return the batches, in plain types and tensors."""
        return {"probes": self._batches, "complete": self._complete}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take the batches of a checkpoint."""
        self._batches, self._complete = state["probes"], state["complete"]

    def keep(self, probe: str, batch: Any, batch_idx: int) -> None:
        """Keep a batch of `"train"` or `"val"` if it is one of the first, before `ready`."""
        if not self._complete:
            keep_first(self._batches[probe], batch, batch_idx, self._most, probe == "train")

    def ready(self) -> bool:
        """Take no more batches if there are some of both, and tell if so; after a validation."""
        if not self._complete and all(self._batches.values()):
            self._batches["val"] = all_of_all_processes(self._batches["val"])
            self._batches = {name: merged(batches) for name, batches in self._batches.items()}
            self._complete = True
        return self._complete

    def losses(self, model: nn.Module, groups: int = 16) -> dict[str, Tensor]:
        """Evaluate both, within `evaluation`, to losses of groups of rows, of shape (groups,)."""
        seed_torch(0)  # what is random, such as shots, is the same on both sides
        both = losses_of_both(model, self._batches["train"], self._batches["val"], groups)
        return dict(zip(("train", "val"), both, strict=True))

    def gaps_without(
        self, model: nn.Module, modules: Mapping[str, Sequence[nn.Module]]
    ) -> dict[str, float]:
        """Measure val - train, by part, with the part's outputs replaced by their training mean."""

        def gap() -> Tensor:
            found = self.losses(model, groups=1)
            return found["val"].mean() - found["train"].mean()

        def on_training_rows() -> None:
            seed_torch(0)
            row_losses(model, self._batches["train"], groups=1)

        found = losses_without(modules, on_training_rows, gap)
        return {part: float(value) for part, value in found.items()}


def of_all_processes(share: Any) -> Any:
    """Put together what processes have of a batch, rows in turns, as one process would have it.

    Each must ask, one that has no share with None. Batches that are no tensors of rows cannot be
    put together: the first one's is that of all.
    """
    shares = every_rank(share)
    there = [each for each in shares if each is not None]
    whole = merged(there)
    if len(there) == 1 or len(whole) > 1:
        return there[0]
    nothing = [column[:0] for column in there[0]]
    rows = [nothing if each is None else each for each in shares]
    in_order = [in_turns(column) for column in zip(*rows, strict=True)]
    return whole[0] if any(column is None for column in in_order) else tuple(in_order)


def all_of_all_processes(kept: list[Any]) -> list[Any]:
    """Put together several batches, of which a process may have one less than others."""
    most = max(every_rank(len(kept)))
    return [of_all_processes(kept[i] if i < len(kept) else None) for i in range(most)]


def keep_first(
    kept: list[Any], batch: Any, batch_idx: int, most: int, together: bool = False
) -> bool:
    """Copy a batch to the CPU if it is one of the first of the first epoch; tell whether it is.

    Args:
        kept: Those kept so far; it grows.
        batch: The batch.
        batch_idx: Its number in its epoch.
        most: How many to keep.
        together: Whether to keep what all processes have of it.
    """
    # an epoch of fewer batches must not begin again in the next one
    if not batch_idx == len(kept) < most:
        return False
    own = apply_to_collection(batch, Tensor, lambda t: t.detach().cpu().clone())
    kept.append(of_all_processes(own) if together else own)
    return True


@contextmanager
def full_precision(trainer: Trainer, model: LightningModule) -> Iterator[None]:
    """Compute in the dtype of a model's parameters, even if the Trainer's precision autocasts."""
    autocast = torch.autocast(model.device.type, enabled=False)
    with trainer.precision_plugin.forward_context(), autocast:
        yield


@contextmanager
def evaluation(trainer: Trainer, model: LightningModule) -> Iterator[None]:
    """Run a model in evaluation mode and full precision, and leave no trace."""
    with undisturbed(model, evaluation=True, silent=True), full_precision(trainer, model):
        yield
