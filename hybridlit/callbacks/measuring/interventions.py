"""Freeze one part after the other, on copies that are trained again, and see which one mattered."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from hybridlit.analysis.loss_change.allocation import row_losses
from hybridlit.analysis.loss_change.intervention import Verdict, guilty_by_intervention
from hybridlit.analysis.loss_change.retraining import Origin, TrainedCopy, seed_everything
from hybridlit.callbacks.measuring.probes import full_precision, keep_first, merged
from hybridlit.callbacks.measuring.repeated_training import (
    adopt,
    present_moments,
    repeated_training,
)

__all__ = ["Interventions"]

_LOOKS = 8
_GROUPS = 64


class Interventions:
    """What is needed to train copies of a model again from an earlier point of its run.

    Args:
        steps: Most optimizer steps that a copy takes, at least 1.
        batches: Number of batches of training and of validation to keep, at least 1.
    """

    def __init__(self, steps: int, batches: int) -> None:
        self._most_steps, self._most_batches = steps, batches
        self._origin: Origin | None = None
        self._batches: dict[str, list[Any]] = {"train": [], "val": []}
        self._spent = 0
        self._modes: dict[str, bool] = {}

    def state_dict(self) -> dict[str, Any]:
        """Return all that later copies depend on, in plain types and tensors."""
        origin = None if self._origin is None else dict(vars(self._origin))
        return {"origin": origin, "batches": self._batches, "spent": self._spent}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from the state of a checkpoint."""
        origin = state["origin"]
        self._origin = None if origin is None else Origin(**origin)
        self._batches, self._spent = state["batches"], state["spent"]

    @property
    def begun(self) -> bool:
        """Whether copies can begin somewhere."""
        return self._origin is not None

    # --- what is kept -----------------------------------------------------------------------------

    def begin(self, trainer: Trainer, model: LightningModule, values: dict[str, Tensor]) -> None:
        """Let copies begin here, unless they begin at a point that is near enough.

        Args:
            trainer: The Trainer in a fit.
            model: The model.
            values: Its parameters and persistent buffers, by qualified name, which are kept.
        """
        step = trainer.global_step
        if self._origin is None or step > self._most_steps:
            self._origin = Origin(step, values, present_moments(trainer, model))

    def keep(self, model: LightningModule, batch: Any, batch_idx: int) -> None:
        """Keep the first training batches, and which modules are in training mode.

        Args:
            model: The model, just before it is trained on the batch.
            batch: The batch.
            batch_idx: Its number in its epoch.
        """
        keep_first(self._batches["train"], batch, batch_idx, self._most_batches)
        if batch_idx == 0 or not self._modes:
            self._modes = {name: module.training for name, module in model.named_modules()}

    def keep_validation(self, batch: Any, batch_idx: int) -> None:
        """Keep the first validation batches.

        Args:
            batch: The batch.
            batch_idx: Its number in its epoch.
        """
        keep_first(self._batches["val"], batch, batch_idx, self._most_batches)

    def keep_rates(self, optimizer: Optimizer) -> None:
        """Keep the learning rates of a step.

        Args:
            optimizer: The optimizer, just before it steps.
        """
        if self._origin is not None and len(self._origin.rates) < self._most_steps:
            self._origin.rates.append([float(group["lr"]) for group in optimizer.param_groups])

    # --- what is done -----------------------------------------------------------------------------

    def affordable(self, step: int) -> bool:
        """Tell whether the run has taken as many steps as all copies together.

        Args:
            step: Its optimizer steps.
        """
        return self._spent <= step

    def verdict(
        self,
        trainer: Trainer,
        model: LightningModule,
        parts: Mapping[str, Collection[str]],
        frozen: Collection[str],
        min_cost: float,
        last: Collection[str],
    ) -> Verdict:
        """Train copies with one part frozen each, and say who is to blame.

        Args:
            trainer: The Trainer in a fit.
            model: The model; it is not touched.
            parts: Names of the parameters of the parts that are frozen in turn.
            frozen: Names of parameters that are frozen in all copies.
            min_cost: The smallest difference of validation losses that matters, as a share of the
                lowest one that the copy with nothing frozen has had.
            last: Parts that are named only if no other is.

        Returns:
            The verdict, the same in all processes.
        """
        batches, origin = self._kept(trainer)
        rows = {probe: merged(kept) for probe, kept in batches.items()}
        arms: list[tuple[str | None, Collection[str]]] = [(None, ()), *parts.items()]
        looks = sorted({-(-self._most_steps * look // _LOOKS) for look in range(1, _LOOKS + 1)})
        val: dict[str | None, Tensor] = {}
        with full_precision(trainer, model):
            copies = {
                part: repeated_training(
                    trainer, model, origin, batches["train"], self._modes, {*frozen, *names}
                )
                for part, names in arms
            }
            lowest = float(_losses(copies[None], rows["val"]).mean())
            for steps in looks:
                for part, copied in copies.items():
                    self._spent += steps - copied.steps
                    copied.train(steps - copied.steps)
                    val[part] = _losses(copied, rows["val"])
                lowest = min(lowest, float(val[None].mean()))
                matters = min_cost * abs(lowest)
                guilty = guilty_by_intervention(val, lowest, matters, last)
                if guilty:
                    break
            train = {
                part: float(_losses(copied, rows["train"]).mean())
                for part, copied in copies.items()
            }
        named, gain = guilty or (None, None)
        return Verdict(
            named=named,
            overfits=float(val[None].mean()) - lowest > matters,
            start=origin.step,
            steps=copies[None].steps,
            train=train,
            val={part: float(losses.mean()) for part, losses in val.items()},
            gain=gain,
        )

    def go_back(
        self, trainer: Trainer, model: LightningModule, frozen: Collection[str], steps: int
    ) -> None:
        """Let the model go on from a copy that was trained with something frozen.

        Args:
            trainer: The Trainer in a fit.
            model: The model; it and its optimizer are changed.
            frozen: Names of the parameters that are frozen.
            steps: Optimizer steps that the copy takes.
        """
        batches, origin = self._kept(trainer)
        with full_precision(trainer, model):
            copied = repeated_training(
                trainer, model, origin, batches["train"], self._modes, frozen
            )
            copied.train(steps)
        self._spent += steps
        adopt(trainer, model, copied, origin.values)

    def steps_since(self, step: int) -> int:
        """Return how many steps a copy takes to be as far as the run.

        Args:
            step: The run's optimizer steps.
        """
        return 0 if self._origin is None else min(step - self._origin.step, self._most_steps)

    def _kept(self, trainer: Trainer) -> tuple[dict[str, list[Any]], Origin]:
        if self._origin is None or not all(self._batches.values()):
            raise RuntimeError("no batches have been kept")
        batches: dict[str, list[Any]] = trainer.strategy.broadcast(self._batches)
        return batches, self._origin


def _losses(copied: TrainedCopy, batches: list[Any]) -> Tensor:
    """Evaluate a copy in evaluation mode, to the losses of groups of rows."""
    seed_everything(0)
    return row_losses(copied.model.eval(), batches, groups=_GROUPS)
