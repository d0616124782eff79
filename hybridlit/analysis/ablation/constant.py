"""The score of a model that has learned nothing: the same answer for every row."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch import Tensor

from hybridlit.analysis.ablation.evidence import ScoredRows
from hybridlit.analysis.ablation.measure import Measure
from hybridlit.analysis.splits import loader_of
from hybridlit.templates import HybridModule

__all__ = ["constant_predictor", "prepared_targets"]


def constant_predictor(
    model: LightningModule,
    measure: Measure,
    datamodule: LightningDataModule,
    test: Iterable[Any],
) -> ScoredRows | None:
    """Score the best constant: the most frequent class, or the mean, of the training data.

    Its outputs are the class frequencies as logits, so that other scores than the accuracy can be
    taken of it as well.

    Args:
        model: The model, for its task.
        measure: How a row is scored.
        datamodule: A datamodule that is set up.
        test: The test batches.

    Returns:
        The scores of the test rows; None for a model that is no template or is run by a function of
        the user's, since what its outputs mean is not known.
    """
    if not isinstance(model, HybridModule) or measure.forward is not None:
        return None
    targets = prepared_targets(model, loader_of(datamodule, "train"))
    answer = model.task.constant(targets)
    wanted = prepared_targets(model, test)
    outputs = answer.to(torch.get_default_dtype()).expand(len(wanted), -1)
    return ScoredRows(measure.rows(model, outputs, wanted))


def prepared_targets(model: HybridModule, batches: Iterable[Any]) -> Tensor:
    """Return the targets of batches as the loss of a template takes them.

    Args:
        model: The model.
        batches: At least one batch.

    Returns:
        Shape (rows,) or (rows, output_dim), on the CPU.
    """
    found = []
    for batch in batches:
        given = model.unpack(batch)[1]
        outputs = torch.zeros(len(given), model.hparams["output_dim"])
        found.append(model.prepare_targets(outputs, given.cpu()))
    return torch.cat(found)
