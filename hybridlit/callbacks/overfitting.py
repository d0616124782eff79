"""Overfitting while it happens, and which part of the model it comes from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_warn
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor

from hybridlit.analysis.evaluation import unlogged
from hybridlit.analysis.loss_change.allocation import (
    allocate_loss_change,
    modules_by,
    row_losses,
    tensors_by,
)
from hybridlit.analysis.loss_change.blame import diagnosis, guilty_parts, summed_costs
from hybridlit.analysis.loss_change.mean_replacement import losses_without
from hybridlit.analysis.untouched import random_state_kept
from hybridlit.blocks import Fusion
from hybridlit.callbacks.measuring.loggers import log_values
from hybridlit.components import part_parameters, split_parameters
from hybridlit.photonics.validation import choice, integer, number
from hybridlit.templates import HybridModule

__all__ = ["OverfittingDetector"]


class OverfittingDetector(Callback):
    """Measure the generalization gap, and name the part of the model that overfits.

    Two fixed probes are compared: the first `probe_batches` batches of training, and of the
    (first) validation data, both in evaluation mode and full precision, without autocast, since
    differences of losses would drown in bfloat16's rounding. The loss is taken as a mean over rows.
    Any LightningModule that is no `HybridModule` needs a method `probe_losses(batch)` that returns
    the loss of each row, of shape (rows,).

    At the first validation, and then at each one that comes at least `every_n_steps` optimizer
    steps after the last time, the change of both losses since then is divided among the parts of
    the model (loss change allocation, Lan et al., NeurIPS 2019; see `allocate_loss_change`):
    `A_c` is what part c did to a loss, and the parts add up to the whole change. Sums over the last
    `window` such stretches tell who overfits. **A part is blamed** if, in this window, it lowered
    the training loss and raised the validation loss by more than the share `min_cost`, with all of
    the 95 % interval over the rows of the probe, while the validation loss is at least `threshold`
    times the training loss. **Named** is the costliest of those blamed, in one warning an episode,
    which ends when the part has not been blamed for `window` measurements. A `Fusion` learns to
    trust what overfits and so shares its guilt: it is named only if nothing else is blamed. An
    allocation says what a part did on the way that training took, not what would have happened
    without it.

    While a part is blamed, the gap is measured with each part's output replaced by its mean over
    the training probe: what of the gap goes, came through this part. (Where all of the signal
    passes through a part, nothing is left but a constant, and no gap.)

    Training is the same bit for bit with and without this callback, unless it freezes. A resumed
    run logs and decides as the uninterrupted one: the checkpoint holds both probes and one copy of
    the model's parameters and persistent buffers. With several processes, the probes of the first
    one are used by all, and so are its results.

    Cost, in passes (forward only) over one probe: two a validation, `4 * parts - 4` more when the
    allocation is measured, and while a part is blamed `2 * parts + 1` more for the cross-check.

    Logged at each validation: `overfit/train` and `overfit/val`, the losses of the probes;
    `overfit/gap` = val - train; `overfit/ratio` = 1 + gap / max(abs(train), 1e-8), which is
    val / train for positive losses, and above 1 exactly if the gap is positive for any others.
    `EarlyStopping(monitor="overfit/gap")` and `ModelCheckpoint` can monitor them.

    Logged each time that a stretch ends, from the sums over the window: for each part
    `overfit/<part>_train` = A_train, `overfit/<part>_val` = A_val, `overfit/<part>_val_low`, the
    lower end of its interval (not for probes of fewer than 5 groups of rows), and
    `overfit/<part>_ogr`, the overfitting-to-generalization ratio (Wang, Tran and Feiszli, CVPR
    2020) `O / max(G, 0.01 * abs(val))` with `O = A_val - A_train` and `G = -A_val`;
    `overfit/trend`, the slope of the gap a validation over the last `window` of them; and
    `overfit/alarm`, 1 while a part is blamed, and then `overfit/<part>_gap_without`.

    Args:
        threshold: Smallest ratio val / train at which a model can be said to overfit, at least 1.
        by: Who can be blamed: `"part"` (`classical_path`, `quantum_path`, `fusion`; see
            `model_parts`), or `"component"` (`classical`, `photonic`). Parts say more: the readout
            of a photonic layer is classical, and often it is what memorizes.
        action: `"warn"`, or `"freeze"`: take the named part's gradients away before every later
            optimizer step, so that neither moments nor weight decay move it either; running
            statistics of batch normalization go on. The last part that can train is never frozen.
        every_n_steps: Optimizer steps between two allocations, at least 1; this bounds the cost.
        probe_batches: Number of batches of each probe, at least 1; fewer of training if the first
            validation comes before. Batches that are tuples of tensors go through the model as one.
        window: Number of stretches, and of validations for the trend, that are looked at
            together, at least 2.
        min_cost: Smallest cost that matters, as a share of the validation loss at the beginning of
            the window, at least 0.

    Raises:
        TypeError: If an argument has the wrong type, or when a run starts, if the loss of the
            model's rows is unknown.
        ValueError: If an argument is out of range, or when a run starts, if it has no validation
            data.
    """

    def __init__(
        self,
        threshold: float = 1.5,
        *,
        by: Literal["part", "component"] = "part",
        action: Literal["warn", "freeze"] = "warn",
        every_n_steps: int = 100,
        probe_batches: int = 2,
        window: int = 5,
        min_cost: float = 0.05,
    ) -> None:
        number(threshold, "threshold", minimum=1.0)
        choice(by, "by", ("part", "component"))
        choice(action, "action", ("warn", "freeze"))
        number(min_cost, "min_cost", minimum=0.0)
        self.threshold, self.by, self.action, self.min_cost = threshold, by, action, min_cost
        self.every_n_steps = integer(every_n_steps, "every_n_steps", 1)
        self.probe_batches = integer(probe_batches, "probe_batches", 1)
        self.window = integer(window, "window", 2)
        self._reset()

    @property
    def blamed(self) -> list[str]:
        """Parts that were named and whose episode goes on, in the order of naming."""
        return list(self._blamed)

    @property
    def frozen(self) -> list[str]:
        """Parts that have been frozen in this run."""
        return list(self._frozen)

    # --- state ------------------------------------------------------------------------------------

    def _reset(self) -> None:
        self._probes: dict[str, list[Any]] = {"train": [], "val": []}
        self._complete = False
        self._gaps: list[float] = []
        self._start: dict[str, Any] = {}  # step, tensors by name and losses of the last allocation
        self._stretches: list[dict[str, Any]] = []
        self._blamed: dict[str, int] = {}  # measurements since the last blame, by named part
        self._frozen: list[str] = []

    _STATE = ("probes", "complete", "gaps", "start", "stretches", "blamed", "frozen")

    def state_dict(self) -> dict[str, Any]:
        """Return everything that later decisions depend on, in plain types and tensors."""
        return {name: getattr(self, f"_{name}") for name in self._STATE}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the state of a checkpoint."""
        for name in self._STATE:
            setattr(self, f"_{name}", state_dict[name])

    # --- hooks ------------------------------------------------------------------------------------

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
        saved = {part for stretch in self._stretches for part in stretch["train"]}
        unknown = {*self._frozen, *saved} - set(tensors_by(pl_module, self.by))
        if unknown:
            raise ValueError(
                f"the checkpoint knows of {sorted(unknown)}, and this model has no such parts: "
                "resume with the model and the argument by= that it was saved with"
            )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse runs whose validation data are empty."""
        if trainer.val_dataloaders is not None and not sum(trainer.num_val_batches):
            raise ValueError(_NO_VALIDATION)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Keep the first training batches."""
        self._collect("train", batch, batch_idx)

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
            self._collect("val", batch, batch_idx)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure the gap; if it is time, also what the parts did, and judge."""
        if not _in_training(trainer) or not all(self._probes.values()):
            return
        if not self._complete:
            probes = {name: _merged(batches) for name, batches in self._probes.items()}
            self._probes = trainer.strategy.broadcast(probes)
            self._complete = True
        step = trainer.global_step
        due = not self._start or step - self._start["step"] >= self.every_n_steps
        measured: dict[str, Any]
        with _evaluation(trainer, pl_module):
            measured = self._allocate(step, pl_module) if due else self._losses(pl_module, groups=1)
        measured = trainer.strategy.broadcast(measured)
        train, val = (float(measured[probe].mean()) for probe in ("train", "val"))
        gap, ratio = val - train, 1 + (val - train) / max(abs(train), 1e-8)
        logged = {"train": train, "val": val, "gap": gap, "ratio": ratio}
        finite = math.isfinite(gap)  # else the next point is compared with the one before this
        if finite:
            self._gaps = [*self._gaps, gap][-self.window :]
        if finite and due:
            tensors = [t for own in tensors_by(pl_module, self.by).values() for t in own.items()]
            values = {name: tensor.detach().clone() for name, tensor in tensors}
            self._start = measured["start"] | {"values": values}
            if "stretch" in measured:
                self._stretches = [*self._stretches, measured["stretch"]][-self.window :]
                logged |= self._judge(trainer, pl_module, val, gap, ratio)
        log_values(trainer, {f"overfit/{name}": value for name, value in logged.items()})

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take away the gradients of frozen parts, before anything looks at them."""
        if self._frozen:
            owned = _parameters_by(pl_module, self.by)
            for part in self._frozen:
                for parameter in owned.get(part, {}).values():
                    parameter.grad = None

    # --- inside -----------------------------------------------------------------------------------

    def _collect(self, probe: str, batch: Any, batch_idx: int) -> None:
        kept = self._probes[probe]
        # an epoch of fewer batches must not begin again in the next one
        if not self._complete and batch_idx == len(kept) < self.probe_batches:
            kept.append(apply_to_collection(batch, Tensor, lambda t: t.detach().cpu().clone()))

    def _losses(self, model: LightningModule, groups: int = 16) -> dict[str, Tensor]:
        """Evaluate both probes; of the validation losses the spread counts as well."""
        _seed()  # what is random, such as shots, is the same on both sides of a difference
        return {
            "train": row_losses(model, self._probes["train"], groups=1),
            "val": row_losses(model, self._probes["val"], groups),
        }

    def _allocate(self, step: int, model: LightningModule) -> dict[str, Any]:
        """Evaluate both probes, and divide the change since the last time among the parts."""
        rows = 0

        def losses() -> Tensor:
            nonlocal rows
            found = self._losses(model)
            rows = len(found["train"])
            return torch.cat([found["train"], found["val"]])

        tensors, start = tensors_by(model, self.by), self._start
        measured: dict[str, Any] = {}
        if start:
            after, changes = allocate_loss_change(tensors, start["values"], losses, start["losses"])
            measured["stretch"] = {
                "steps": step - start["step"],
                "level": float(start["losses"][rows:].mean()),
                "train": {part: float(change[:rows].mean()) for part, change in changes.items()},
                "val": {part: change[rows:].clone() for part, change in changes.items()},
            }
        else:
            after = losses()
        measured["start"] = {"step": step, "losses": after}
        return measured | {"train": after[:rows], "val": after[rows:]}

    def _judge(
        self, trainer: Trainer, model: LightningModule, val: float, gap: float, ratio: float
    ) -> dict[str, float]:
        """Return what the parts did over the window, and warn of the one to blame."""
        costs = summed_costs(self._stretches)
        guilty: list[str] = []
        if ratio >= self.threshold:
            matters = self.min_cost * abs(self._stretches[0]["level"])
            guilty = [p for p in guilty_parts(costs, matters) if p not in self._frozen]
            fusions = {name for name, m in model.named_modules() if isinstance(m, Fusion)}
            guilty.sort(key=lambda part: part in fusions)  # stable: the costliest stays first
        logged = {"trend": _slope(self._gaps), "alarm": float(bool(guilty))}
        floor = max(0.01 * abs(val), 1e-8)
        for part, cost in costs.items():
            name = part or "model"
            logged[f"{name}_train"], logged[f"{name}_val"] = cost.train, cost.val.mean
            logged[f"{name}_ogr"] = cost.overfitting_ratio(floor)
            if math.isfinite(cost.val.low):
                logged[f"{name}_val_low"] = cost.val.low
        without: dict[str, float] = {}
        if guilty:
            with _evaluation(trainer, model):
                without = trainer.strategy.broadcast(self._gaps_without(model))
            logged |= {f"{part or 'model'}_gap_without": value for part, value in without.items()}
        quiet = {part: 0 if part in guilty else n + 1 for part, n in self._blamed.items()}
        self._blamed = {part: n for part, n in quiet.items() if n < self.window}
        if guilty and guilty[0] not in self._blamed:
            self._blamed[guilty[0]] = 0
            steps = sum(stretch["steps"] for stretch in self._stretches)
            found = diagnosis(guilty[0], guilty[1:], costs, steps)
            if guilty[0] in without:
                found += (
                    f", and with its output replaced by the mean the gap is "
                    f"{without[guilty[0]]:.3g}, not {gap:.3g}"
                )
            rank_zero_warn(f"{found}: {self._act(guilty[0], model)}.")
        return logged

    def _gaps_without(self, model: LightningModule) -> dict[str, float]:
        def gap() -> Tensor:
            found = self._losses(model, groups=1)
            return found["val"].mean() - found["train"].mean()

        def on_training_rows() -> None:
            _seed()
            row_losses(model, self._probes["train"], groups=1)

        found = losses_without(modules_by(model, self.by), on_training_rows, gap)
        return {part: float(value) for part, value in found.items()}

    def _act(self, named: str, model: LightningModule) -> str:
        """Freeze the named part if that is wanted and possible; say what was or can be done."""
        owned = _parameters_by(model, self.by)
        photonic = {id(p) for p in split_parameters(model)["photonic"].values()}
        if any(id(p) in photonic for p in owned.get(named, {}).values()):
            advice = "give it fewer modes, photons, features or outputs"
        else:
            advice = "raise its weight decay or dropout, or make it narrower"
        if self.action == "warn":
            return f"{advice}, or freeze it with action='freeze'"
        others = (own for part, own in owned.items() if part not in (named, *self._frozen))
        if not any(p.requires_grad for own in others for p in own.values()):
            return f"{advice} (it is not frozen, since nothing else is left to train)"
        self._frozen.append(named)
        return "it is frozen from here on"


_NO_VALIDATION = (
    "OverfittingDetector compares training with validation data, and this run has none: give the "
    "Trainer validation data and limit_val_batches above 0, or leave the callback out"
)


def _merged(batches: list[Any]) -> list[Any]:
    """Put batches of tensors of equal rows into one, which is faster; leave others as they are."""
    kinds = set()
    for batch in batches:
        if not isinstance(batch, (tuple, list)) or not all(isinstance(t, Tensor) for t in batch):
            return batches
        if len({t.shape[:1] for t in batch}) != 1 or batch[0].dim() == 0:
            return batches  # something in it does not belong to rows
        kinds.add(tuple((t.shape[1:], t.dtype) for t in batch))
    if len(kinds) > 1:
        return batches
    return [tuple(torch.cat(column) for column in zip(*batches, strict=True))]


def _in_training(trainer: Trainer) -> bool:
    return trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking


def _parameters_by(model: LightningModule, by: str) -> dict[str, dict[str, torch.nn.Parameter]]:
    return part_parameters(model) if by == "part" else split_parameters(model)


def _seed() -> None:
    torch.default_generator.manual_seed(0)
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(0)


@contextmanager
def _evaluation(trainer: Trainer, model: LightningModule) -> Iterator[None]:
    """Run a model in evaluation mode, in the dtype of its parameters, and leave no trace."""
    modes = {module: module.training for module in model.modules()}
    autocast = torch.autocast(model.device.type, enabled=False)
    try:
        with (
            random_state_kept(),
            unlogged(model),
            trainer.precision_plugin.forward_context(),
            autocast,
        ):
            model.eval()
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def _slope(values: list[float]) -> float:
    """Return the least-squares slope of values at 0, 1, 2, ..., and 0 for a single one."""
    center = (len(values) - 1) / 2
    spread = sum((i - center) ** 2 for i in range(len(values)))
    return sum((i - center) * v for i, v in enumerate(values)) / spread if spread else 0.0
