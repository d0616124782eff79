"""Who is suspected of overfitting: what parts of a model did to training and validation losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from hybridlit.analysis.statistics import Interval, mean_interval

__all__ = ["PartCost", "summed_costs", "suspected_parts"]


@dataclass(frozen=True)
class PartCost:
    """Changes of training and validation loss by a part, below 0 if it lowered them."""

    train: float
    val: Interval

    def overfitting_ratio(self, floor: float) -> float:
        """Return the overfitting-to-generalization ratio (Wang, Tran and Feiszli, CVPR 2020).

        It is `O / max(G, floor)`, where `O = val - train` is by how much the gap grew, `G = -val`
        by how much the validation loss fell, and `floor` is above 0.
        """
        return (self.val.mean - self.train) / max(-self.val.mean, floor)


def summed_costs(stretches: Sequence[Mapping[str, Any]]) -> dict[str, PartCost]:
    """Sum what parts did over consecutive stretches of a run.

    Args:
        stretches: At least one mapping with `"train"`, the changes of the mean training loss by
            part, and `"val"`, the changes of the validation losses by part, of shape (groups,).

    Returns:
        The costs by part.
    """
    return {
        part: PartCost(
            sum(stretch["train"][part] for stretch in stretches),
            mean_interval(torch.stack([stretch["val"][part] for stretch in stretches]).sum(0)),
        )
        for part in stretches[-1]["train"]
    }


def suspected_parts(costs: Mapping[str, PartCost], matters: float) -> list[str]:
    """Find the parts that lowered the training loss and raised the validation loss.

    By more than `matters`, at least 0, with all of the interval; the costliest come first.
    """
    found = [part for part, cost in costs.items() if cost.train < 0 and cost.val.low > matters]
    return sorted(found, key=lambda part: -costs[part].val.mean)
