"""What the parameters of a template are trained by: optimizer, groups, schedules and stages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.plugins import MixedPrecision
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import nn
from torch.optim import LBFGS, Optimizer

from hybridlit.checks import number
from hybridlit.internals.lightning import attached_trainer
from hybridlit.optimizers import (
    LARGEST_RATE,
    component_groups,
    learning_rate,
    trainable_parameters,
)
from hybridlit.templates.training.gradient_clipping import (
    check_clipping,
    check_lbfgs,
    clip_limits,
)
from hybridlit.templates.training.optimizer_choice import (
    check_optimizers,
    make_optimizer,
    optimizers_by_group,
)
from hybridlit.templates.training.schedule import (
    PlateauWatch,
    check_schedules,
    schedule_groups,
    schedules_by_group,
)
from hybridlit.templates.training.settings import SettingsWatch, training_settings
from hybridlit.templates.training.stages import StagedTraining

__all__ = ["Optimizing"]


class Optimizing(LightningModule):
    """How a template is trained: the part of `HybridModule` that its rates and schedules decide."""

    _constructed_with: Any

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build one optimizer with a group `"classical"` and a group `"photonic"`.

        A group without trainable parameters is left out. Unless all rates are constant, one
        scheduler with a schedule per group is stepped after every optimizer step. It is a
        `ValueError` if nothing is trainable, or if a cosine or warm-up has no known end.
        """
        optimizer = self.make_optimizer()
        given = self.hparams
        if not any(schedule.changes for schedule in schedules_by_group(given).values()):
            return optimizer
        scheduler = schedule_groups(optimizer, given, self.trainer)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def configure_callbacks(self) -> list[Callback]:
        """Return the callbacks that `schedule`, `stages` and a resume need in training."""
        callbacks: list[Callback] = []
        if self.trainer.state.fn != TrainerFn.FITTING:
            return callbacks  # Lightning would announce that they replace those of the fit
        attached = [c for c in self.trainer.callbacks if isinstance(c, SettingsWatch)]  # type: ignore[attr-defined]
        for watch in attached:
            watch.of_template = self._own_optimizer
        callbacks += [] if attached else [SettingsWatch(of_template=self._own_optimizer)]
        if any(each.rule.on_plateau for each in schedules_by_group(self.hparams).values()):
            callbacks.append(PlateauWatch())
        if self.hparams["stages"] is not None:
            callbacks.append(StagedTraining(self.hparams["stages"]))
        return callbacks

    def make_optimizer(self) -> Optimizer:
        """Make the optimizer of `configure_optimizers`, with constant rates."""
        given = self.hparams
        self.check_settings(given)  # which may have been changed
        groups = component_groups(
            self,
            lr={"classical": given["classical_lr"], "photonic": given["quantum_lr"]},
            weight_decay={
                "classical": given["weight_decay"],
                "photonic": given["quantum_weight_decay"],
            },
        )
        trainer = attached_trainer(self)
        # under mixed precision Lightning clips no gradients of a fused one, scaled or not
        fused = trainer is None or not isinstance(trainer.precision_plugin, MixedPrecision)
        return make_optimizer(optimizers_by_group(given), groups, fused)

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip gradients as `gradient_clip` says, or else as the Trainer was told."""
        limits = clip_limits(self.hparams["gradient_clip"])
        if not limits:
            super().configure_gradient_clipping(
                optimizer, gradient_clip_val, gradient_clip_algorithm
            )
        for component, parameters in trainable_parameters(self).items() if limits else ():
            if component in limits:
                nn.utils.clip_grad_norm_(parameters, limits[component])

    def check_run(self) -> None:
        """Refuse a Trainer that contradicts `optimizer` or `gradient_clip`."""
        if self.hparams["gradient_clip"] is not None:
            check_clipping(self.trainer, self.automatic_optimization)
        if self._own_optimizer and any(isinstance(o, LBFGS) for o in self.trainer.optimizers):
            check_lbfgs(self.trainer)

    # --- inside -----------------------------------------------------------------------------------

    @property
    def _own_optimizer(self) -> bool:
        """Whether the optimizer is the one that `configure_optimizers` makes here."""
        return type(self).configure_optimizers is Optimizing.configure_optimizers

    def _as_used(self, arguments: Any) -> Any:
        """Replace arguments by the settings of training that were changed after construction."""
        for name, value in training_settings(self.hparams).items():
            if name in arguments and value != self._constructed_with[name]:
                arguments[name] = value
        return arguments

    @staticmethod
    def check_settings(given: Mapping[str, Any]) -> None:
        """Check the arguments of rates and schedules."""
        for name in ("classical_lr", "quantum_lr"):
            learning_rate(given[name], name)
        for name in ("weight_decay", "quantum_weight_decay"):
            number(given[name], name, minimum=0.0, below=LARGEST_RATE)
        check_optimizers(given)
        check_schedules(given)
        clip_limits(given["gradient_clip"])
