"""What is logged once an epoch: added up where the values are, and shown to Lightning once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torchmetrics import Metric

from hybridlit.internals.lightning import has_logged

__all__ = ["EpochLogging", "EpochMean"]

_PLACE = "epoch_means."


class EpochMean(Metric):
    """A weighted mean over an epoch and all processes, in float32 or more."""

    total: Tensor
    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("weight", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, value: Tensor, weight: Tensor | float) -> None:
        """Add a value of shape (); its weight is the number of rows that it is the mean of."""
        # not in place: a sum that `Trainer.validate` leaves is of inference mode, and it may widen
        self.total = self.total + value.to(torch.promote_types(value.dtype, torch.float32)) * weight
        self.weight = self.weight + weight

    def go_on(self, total: Tensor, weight: float) -> None:
        """Add what was added up elsewhere."""
        self.total, self.weight = self.total + total, self.weight + weight

    def compute(self) -> Tensor:
        """Return the mean, of shape ()."""
        return self.total / self.weight


class EpochLogging(LightningModule):
    """Logs means and metrics of an epoch: `log`, called with each batch, would cost half a step.

    Lightning holds on to a metric that it has been shown, and computes and resets it when the epoch
    ends; `ExactResume` finds it there as well.
    """

    epoch_means: nn.ModuleDict

    def begin_logging(self) -> None:
        """Log no means yet."""
        self.epoch_means = nn.ModuleDict()

    def log_mean(
        self,
        name: str,
        value: Tensor,
        weight: Tensor | float,
        *,
        prog_bar: bool = False,
        logged_as: str | None = None,
    ) -> None:
        """Add a number to the mean that is logged at the end of the epoch.

        Args:
            name: Of the mean, without a dot.
            value: What a batch has given, of shape ().
            weight: What the batch counts for, such as its number of rows.
            prog_bar: Whether the progress bar shows the mean.
            logged_as: Key under which it is logged; None: `name`.
        """
        mean = self.epoch_mean(name)
        mean.update(value.detach(), weight)
        self.log_metric(logged_as or name, mean, prog_bar=prog_bar, attribute=_PLACE + name)

    def epoch_mean(self, name: str) -> EpochMean:
        """Return the mean of a name, a new one if there is none."""
        if name not in self.epoch_means:
            self.epoch_means[name] = EpochMean().to(self.device)
        return cast(EpochMean, self.epoch_means[name])

    def make_means(self, places: Iterable[str]) -> None:
        """Make those means that are in the same places in another process, before it goes on."""
        for place in places:
            if place.startswith(_PLACE):
                self.epoch_mean(place.removeprefix(_PLACE))

    def log_metric(
        self, name: str, metric: Metric, *, prog_bar: bool = False, attribute: str | None = None
    ) -> None:
        """Log a metric that has been updated, unless this epoch has logged it before.

        Args:
            name: Key under which it is logged.
            metric: A module of this one.
            prog_bar: Whether the progress bar shows it.
            attribute: Its name in this module, if it may have come after Lightning first looked.
        """
        if not has_logged(self, name):
            self.log(
                name,
                metric,
                metric_attribute=attribute,
                prog_bar=prog_bar,
                on_step=False,
                on_epoch=True,
                add_dataloader_idx=False,
            )
