"""What the targets of a class weigh in the loss: as given, or counted when a fit begins.

Counted weights are scikit-learn's: rows / (classes * rows of the class), over the training rows.
A checkpoint keeps them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch.utils.data import DataLoader, IterableDataset

from hybridlit.undisturbed import undisturbed

if TYPE_CHECKING:
    from hybridlit.templates.steps import Steps

__all__ = ["BALANCED", "CLASS_WEIGHTS_KEY", "BalancedName", "counted_weights"]

CLASS_WEIGHTS_KEY = "hybridlit_class_weights"
"""Key of a checkpoint: what classes weigh, if they were counted."""

BalancedName: TypeAlias = Literal["balanced"]
BALANCED: BalancedName = "balanced"


def counted_weights(model: Steps, loader: Any) -> list[float]:
    """Return the weights that give every class of the training rows the same say.

    All rows of the loader's data set are read once, in order; the loader itself, whose place a
    resumed run goes on from, is not touched, nor are generators.
    """
    data = getattr(loader, "dataset", None)
    if not isinstance(loader, DataLoader) or isinstance(data, IterableDataset):
        raise RuntimeError(
            f"class_weights={BALANCED!r} needs one training DataLoader with rows by index, got "
            f"{type(loader).__name__}: give weights as numbers"
        )
    whole = loader.batch_sampler is None  # what the data set gives are batches
    size = None if whole else loader.batch_size or 1024
    rows = DataLoader(loader.dataset, size, collate_fn=loader.collate_fn)
    task, counts = model.task, torch.zeros(())
    with undisturbed():
        for batch in rows:
            targets = model.unpack(batch)[1]
            outputs = torch.zeros(len(targets), task.output_dim)
            counts = counts + task.class_counts(model.prepare_targets(outputs, targets))
    weights = task.balanced(counts)
    rank_zero_info(f"Counted class weights: {', '.join(f'{each:.4g}' for each in weights)}")
    return weights
