"""Overfitting while it happens, and which part of the model it comes from."""

from __future__ import annotations

import math
from statistics import linear_regression
from typing import Any, get_args

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch.optim import Optimizer

from hybridlit.analysis.loss_change.blame import suspected_parts
from hybridlit.analysis.loss_change.owners import OWNERS, By, tensors_by
from hybridlit.callbacks.log_keys import LogKey
from hybridlit.callbacks.measuring.interventions import Interventions
from hybridlit.callbacks.measuring.naming import Action, Naming
from hybridlit.callbacks.measuring.probes import Probes, evaluation
from hybridlit.callbacks.measuring.reports import log_values
from hybridlit.callbacks.measuring.stretches import Stretches
from hybridlit.checks import choice, integer, number
from hybridlit.templates import HybridModule

__all__ = ["OverfittingDetector"]


class OverfittingDetector(Callback):
    """Measure the generalization gap, and name the part of the model that overfits.

    Two fixed probes are compared: the first `probe_batches` batches of training, and of the
    (first) validation data, both in evaluation mode and full precision, without autocast, since
    differences of losses would drown in bfloat16's rounding. The loss is taken as a mean over rows.
    Any LightningModule that is no `HybridModule` needs a method `probe_losses(batch)` that returns
    the loss of each row, of shape (rows,).

    There is an alarm while some part has, over the last `window` stretches of at least
    `every_n_steps` optimizer steps, lowered the training loss and raised the validation loss (loss
    change allocation, Lan et al., NeurIPS 2019), and the validation loss is at least `threshold`
    times the training loss. That says what a part did, not that it is to blame. So copies of the
    model are trained again, one as it is and one with each part frozen: a part is **named**, in one
    warning an episode of alarms, if its copy ends clearly better than all others. A `Fusion`, which
    learns to trust what overfits, is named only if no other part is. README.md in
    `callbacks/measuring/` says when a difference counts, what copies repeat, and what they cost.

    Training is the same bit for bit with and without this callback, unless it freezes. A resumed
    run logs and decides as the uninterrupted one.

    Logged at each validation: `overfit/train`, `overfit/val`, `overfit/gap` = val - train and
    `overfit/ratio`, which `EarlyStopping` and the like can monitor; each time that a stretch ends:
    `overfit/trend`, `overfit/alarm`, `overfit/<part>_train`, `overfit/<part>_val`,
    `overfit/<part>_val_low` (not for probes of fewer than 5 groups of rows), `overfit/<part>_ogr`
    and, during an alarm, `overfit/<part>_gap_without`. README.md in `callbacks/` defines them. What
    was found of copies stands in TensorBoard as the text `overfit`.

    Args:
        threshold: Smallest ratio val / train at which a model can be said to overfit, at least 1.
        by: Who can be named: `"part"` (`classical_path`, `quantum_path`, `fusion`; see
            `model_parts`), or `"component"` (`classical`, `photonic`). Parts say more: the readout
            of a photonic layer is classical, and often it is what memorizes.
        action: `"warn"`, or `"freeze"`: before the next training batch the model **goes back**. It
            and its optimizer take the values of a copy that was trained with the named part frozen,
            for as many steps as the run since the point to begin from, but `replay_steps` at most;
            from then on the part's gradients are taken away before every optimizer step, so that
            neither moments nor weight decay move it; running statistics of batch normalization go
            on. (Frozen where it had memorized already, it would be of no use.) The last part that
            can train is never frozen, nor is one that was not confirmed.
        every_n_steps: Optimizer steps between two allocations, at least 1; this bounds the cost.
        probe_batches: Number of batches of each probe, at least 1; fewer of training if the first
            validation comes before. Batches that are tuples of tensors go through the model as one.
        window: Number of stretches, and of validations for the trend, that are looked at
            together, at least 2.
        min_cost: Smallest cost that matters, as a share of the validation loss at the beginning of
            the window, or, among copies, of the lowest one; at least 0.
        replay_steps: Most optimizer steps that a copy takes, at least 0; 0 trains no copies, and no
            part is ever named.
        replay_batches: Number of batches of training, and of validation, that are kept for copies,
            at least 1.

    Raises:
        TypeError: If an argument has the wrong type, or when a run starts, if the loss of the
            model's rows is unknown.
        ValueError: If an argument is out of range, or when a run starts, if it has no validation
            data.

    Example:
        >>> detector = OverfittingDetector(threshold=2.0, action="freeze")
        >>> detector.blamed, detector.frozen
        ([], [])
    """

    def __init__(
        self,
        threshold: float = 1.5,
        *,
        by: By = "part",
        action: Action = "warn",
        every_n_steps: int = 100,
        probe_batches: int = 2,
        window: int = 5,
        min_cost: float = 0.05,
        replay_steps: int = 200,
        replay_batches: int = 16,
    ) -> None:
        number(threshold, "threshold", minimum=1.0)
        choice(by, "by", OWNERS)
        choice(action, "action", get_args(Action))
        number(min_cost, "min_cost", minimum=0.0)
        self.threshold, self.by, self.action, self.min_cost = threshold, by, action, min_cost
        self.every_n_steps = integer(every_n_steps, "every_n_steps", 1)
        self.probe_batches = integer(probe_batches, "probe_batches", 1)
        self.window = integer(window, "window", 2)
        self.replay_steps = integer(replay_steps, "replay_steps", 0)
        self.replay_batches = integer(replay_batches, "replay_batches", 1)
        self._reset()

    @property
    def blamed(self) -> list[str]:
        """The part that was named in the present episode, if there is one."""
        return [] if self._naming.named is None else [self._naming.named]

    @property
    def frozen(self) -> list[str]:
        """Parts that have been frozen in this run."""
        return list(self._naming.frozen)

    def _reset(self) -> None:
        self._probes = Probes(self.probe_batches)
        self._stretches = Stretches(self.by, self.every_n_steps, self.window)
        self._interventions = Interventions(self.replay_steps, self.replay_batches)
        self._naming = Naming(self.by, self.action, self._interventions, self.window, self.min_cost)
        self._gaps: list[float] = []
        self._lowest = math.inf  # validation loss

    def state_dict(self) -> dict[str, Any]:
        """Return everything that later decisions depend on, in plain types and tensors."""
        state: dict[str, Any] = {"gaps": self._gaps, "lowest": self._lowest}
        for part in (self._stretches, self._naming, self._probes, self._interventions):
            state |= part.state_dict()
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the state of a checkpoint."""
        self._gaps, self._lowest = state_dict.get("gaps", []), state_dict.get("lowest", math.inf)
        for part in (self._stretches, self._naming, self._probes, self._interventions):
            part.load_state_dict(state_dict)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget an earlier run; the state of a checkpoint is loaded after this."""
        if stage == "fit":
            self._reset()

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse runs and models that cannot be measured."""
        if not trainer.enable_validation:
            raise ValueError(_NO_VALIDATION)
        if not isinstance(pl_module, HybridModule) and not hasattr(pl_module, "probe_losses"):
            raise TypeError(
                f"{type(pl_module).__name__} is no HybridModule, so the losses of its rows are "
                "unknown: give it a method probe_losses(batch) that returns them, of shape (rows,)"
            )
        unknown = {*self.frozen, *self._stretches.parts} - set(tensors_by(pl_module, self.by))
        if unknown:
            raise ValueError(
                f"the checkpoint knows of {sorted(unknown)}, and this model has no such parts: "
                "resume with the model and the argument by= that it was saved with"
            )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse runs whose validation data are empty; copies begin here."""
        if trainer.val_dataloaders is not None and not sum(trainer.num_val_batches):
            raise ValueError(_NO_VALIDATION)
        if not self._interventions.begun:
            self._interventions.begin(trainer, self._stretches.values(pl_module))

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Keep the first training batches; go back if that is due and no step is half done."""
        self._probes.keep("train", batch, batch_idx)
        self._interventions.keep(pl_module, batch, batch_idx)
        if batch_idx % trainer.accumulate_grad_batches == 0:
            if self._naming.go_back(trainer, pl_module):
                self._stretches.forget()

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Note the learning rates, for copies."""
        self._interventions.keep_rates(optimizer)

    def on_validation_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the first validation batches."""
        if _in_training(trainer) and dataloader_idx == 0:
            self._probes.keep("val", batch, batch_idx)
            self._interventions.keep_validation(batch, batch_idx)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure the gap; if it is time, also what the parts did, and judge."""
        if not _in_training(trainer):
            return
        self._interventions.end_validation()
        if not self._probes.ready():
            return
        with evaluation(trainer, pl_module):
            measured = self._stretches.measure(pl_module, self._probes, trainer.global_step)
        measured = trainer.strategy.broadcast(measured)
        train, val = (float(measured[probe].mean()) for probe in ("train", "val"))
        gap, ratio = val - train, 1 + (val - train) / max(abs(train), 1e-8)
        logged = {
            LogKey.PROBE_TRAIN(): train,
            LogKey.PROBE_VAL(): val,
            LogKey.GAP(): gap,
            LogKey.GAP_RATIO(): ratio,
        }
        finite = math.isfinite(gap)  # else the next point is compared with the one before this
        if finite:
            self._gaps = [*self._gaps, gap][-self.window :]
        if finite and "start" in measured:
            values = self._stretches.values(pl_module)
            if val < self._lowest:
                self._interventions.begin(trainer, values)
            self._lowest = min(self._lowest, val)
            if self._stretches.end(measured, values):
                logged |= self._judge(trainer, pl_module, val, ratio)
            self._interventions.forget_modes()
        log_values(trainer, logged)

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take away the gradients of frozen parts, before anything looks at them."""
        self._naming.take_gradients(pl_module)

    def _judge(
        self, trainer: Trainer, model: LightningModule, val: float, ratio: float
    ) -> dict[str, float]:
        """Return what the parts did over the window; in an alarm, look for the one to blame."""
        costs = self._stretches.costs()
        matters = self.min_cost * abs(self._stretches.level)
        suspected = set(suspected_parts(costs, matters)) - set(self.frozen)
        alarm = ratio >= self.threshold and bool(suspected)
        logged = {LogKey.TREND(): _slope(self._gaps), LogKey.ALARM(): float(alarm)}
        floor = max(0.01 * abs(val), 1e-8)
        for part, cost in costs.items():
            name = part or "model"
            logged[LogKey.PART_TRAIN(name)] = cost.train
            logged[LogKey.PART_VAL(name)] = cost.val.mean
            logged[LogKey.PART_OGR(name)] = cost.overfitting_ratio(floor)
            if math.isfinite(cost.val.low):
                logged[LogKey.PART_VAL_LOW(name)] = cost.val.low
        if not alarm:
            self._naming.quiet()
            return logged
        with evaluation(trainer, model):
            without = self._probes.gaps_without(model, OWNERS[self.by].modules(model))
        without = trainer.strategy.broadcast(without)
        self._naming.alarm(trainer, model)
        return logged | {LogKey.GAP_WITHOUT(part or "model"): gap for part, gap in without.items()}


_NO_VALIDATION = (
    "OverfittingDetector compares training with validation data, and this run has none: give the "
    "Trainer validation data and limit_val_batches above 0, or leave the callback out"
)


def _in_training(trainer: Trainer) -> bool:
    return trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking


def _slope(values: list[float]) -> float:
    """Return the least-squares slope of values at 0, 1, 2, ..., and 0 for a single one."""
    return linear_regression(range(len(values)), values).slope if len(values) > 1 else 0.0
