"""Overfitting while it happens, and which part of the model it comes from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn
from torch.optim import Optimizer

from hybridlit.analysis.loss_change.allocation import modules_by, tensors_by
from hybridlit.analysis.loss_change.blame import summed_costs, suspected_parts
from hybridlit.analysis.loss_change.intervention import Verdict
from hybridlit.blocks import Fusion
from hybridlit.callbacks.measuring.interventions import Interventions
from hybridlit.callbacks.measuring.loggers import log_values
from hybridlit.callbacks.measuring.probes import Probes, evaluation
from hybridlit.checks import choice, integer, number
from hybridlit.components import part_parameters, split_parameters
from hybridlit.resume.packed import packed, unpacked
from hybridlit.templates import HybridModule

__all__ = ["OverfittingDetector"]


class OverfittingDetector(Callback):
    """Measure the generalization gap, and name the part of the model that overfits.

    Two fixed probes are compared: the first `probe_batches` batches of training, and of the
    (first) validation data, both in evaluation mode and full precision, without autocast, since
    differences of losses would drown in bfloat16's rounding. The loss is taken as a mean over rows.
    Any LightningModule that is no `HybridModule` needs a method `probe_losses(batch)` that returns
    the loss of each row, of shape (rows,).

    **Suspicion.** At the first validation, and then at each one that comes at least `every_n_steps`
    optimizer steps after the last time, the change of both losses since then is divided among the
    parts of the model (loss change allocation, Lan et al., NeurIPS 2019; see
    `allocate_loss_change`): `A_c` is what part c did to a loss, and the parts add up to the whole
    change. There is an alarm while some part has, over the last `window` such stretches, lowered
    the training loss and raised the validation loss by more than the share `min_cost`, with all of
    the 95 % interval over the rows of the probe, and the validation loss is at least `threshold`
    times the training loss. An allocation says what a part did on the way that training took; in a
    chain that is often a part that only followed the one that memorized. So nobody is named for it.

    **Confirmation.** Copies of the model are trained again from the start of the run, for at most
    `replay_steps` steps, one as it is and one with each part frozen. A part is **named**, in one
    warning an episode of alarms, if the copy with this part frozen ends with a lower validation
    loss than the one with nothing frozen and than all others, by more than `min_cost` with all of
    the 95 % intervals over the rows of the first `replay_batches` validation batches, and without
    half at least of the rise. The copies are compared eight times on the way, and the first clear
    answer counts. Where the copy with nothing frozen does not overfit, which may be an accident of
    the order of rows, all are trained once more in another one. Where there is no clear answer, the
    warning says that no single part is to blame. A `Fusion` learns to trust what overfits and so
    shares its guilt: it is named only if no other part is. An episode ends when there was no alarm
    for `window` measurements.

    What is confirmed is that the model overfits less without this part's training, on these rows,
    in the training that was repeated; how much of what is worth learning goes with it is for you to
    see, from the training losses in the warning. Copies take the first `replay_batches` training
    batches in turns (shuffled if the data loader does), with the losses of a template or
    `probe_losses`, the learning rates of the run, its accumulation, clipping, stages and turns, in
    full precision; they do not run `training_step`. Once the run is longer than `replay_steps`,
    each new lowest validation loss becomes the point to begin from, so overfitting that takes
    longer to show is not confirmed. If a copy cannot be trained (manual optimization, several
    optimizers, a module that cannot be copied), the warning says why no part is named.

    Training is the same bit for bit with and without this callback, unless it freezes. A resumed
    run logs and decides as the uninterrupted one: the checkpoint holds both probes, the batches
    that are kept for copies, and two copies of the model's parameters and persistent buffers (with
    the moments of the optimizer, if the second is not that of the start). With several processes,
    the batches of the first one are used by all, and so are its results.

    Cost, in passes (forward only) over both probes together: one a validation, `2 * parts - 2` more
    when the allocation is measured, and during an alarm `parts + 1` more for the cross-check. In an
    episode, at most `2 * (parts + 1) * replay_steps` steps of training, and memory for as many
    copies of the model and its optimizer; in a later one only when the run itself has taken as many
    steps as all copies so far.

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
    `overfit/alarm`, 1 during an alarm, and then `overfit/<part>_gap_without`, the gap with each
    part's output replaced by its mean over the training probe: what of the gap goes, came through
    this part. (Where all of the signal passes through a part, nothing is left but a constant.)

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
        replay_steps: int = 200,
        replay_batches: int = 16,
    ) -> None:
        number(threshold, "threshold", minimum=1.0)
        choice(by, "by", ("part", "component"))
        choice(action, "action", ("warn", "freeze"))
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
        named = self._episode.get("named")
        return [] if named is None else [named]

    @property
    def frozen(self) -> list[str]:
        """Parts that have been frozen in this run."""
        return list(self._frozen)

    # --- state ------------------------------------------------------------------------------------

    def _reset(self) -> None:
        self._known: set[str] = set()  # names of tensors, and of those that are learned, by part
        self._owned: dict[str, list[str]] = {}
        self._probes = Probes(self.probe_batches)
        self._gaps: list[float] = []
        self._lowest = math.inf  # validation loss
        self._start: dict[str, Any] = {}  # step, tensors by name and losses of the last allocation
        self._stretches: list[dict[str, Any]] = []
        self._episode: dict[str, Any] = {}  # measurements without alarm; judged; who was named
        self._said: list[str] = []
        self._frozen: list[str] = []
        self._going_back = 0  # steps that the copy takes from which the model goes on
        self._interventions = Interventions(self.replay_steps, self.replay_batches)

    _STATE = (
        "gaps",
        "lowest",
        "start",
        "stretches",
        "episode",
        "said",
        "frozen",
        "going_back",
    )

    def state_dict(self) -> dict[str, Any]:
        """Return everything that later decisions depend on, in plain types and tensors."""
        own = {name: getattr(self, f"_{name}") for name in self._STATE}
        if self._start:
            own["start"] = self._start | {"values": packed(self._start["values"])}
        return own | self._probes.state_dict() | self._interventions.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the state of a checkpoint."""
        for name in self._STATE:
            if name in state_dict:  # not in checkpoints from before parts were confirmed
                setattr(self, f"_{name}", state_dict[name])
        if "kinds" in self._start.get("values", {}):
            self._start = self._start | {"values": unpacked(self._start["values"])}
        self._probes.load_state_dict(state_dict)
        self._interventions.load_state_dict(state_dict)

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
        """Refuse runs whose validation data are empty; copies begin here."""
        if trainer.val_dataloaders is not None and not sum(trainer.num_val_batches):
            raise ValueError(_NO_VALIDATION)
        if not self._interventions.begun:
            values = _copied(self._tensors(pl_module))
            self._interventions.begin(trainer, pl_module, values)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Keep the first training batches; go back if that is due and no step is half done."""
        self._probes.keep("train", batch, batch_idx)
        self._interventions.keep(pl_module, batch, batch_idx)
        if self._going_back and batch_idx % trainer.accumulate_grad_batches == 0:
            frozen = self._names(pl_module, self._frozen)
            try:
                self._interventions.go_back(trainer, pl_module, frozen, self._going_back)
            except Exception as error:
                rank_zero_warn(f"{self._frozen[-1]} is frozen as it is, since {_failed(error)}.")
            self._going_back, self._start, self._stretches, self._episode = 0, {}, [], {}

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
        if not _in_training(trainer) or not self._probes.ready(trainer):
            return
        step = trainer.global_step
        due = not self._start or step - self._start["step"] >= self.every_n_steps
        tensors = self._tensors(pl_module) if due else {}
        with evaluation(trainer, pl_module):
            if due:
                measured = self._probes.allocate(pl_module, tensors, self._start, step)
            else:
                measured = self._probes.losses(pl_module, groups=1)
        measured = trainer.strategy.broadcast(measured)
        train, val = (float(measured[probe].mean()) for probe in ("train", "val"))
        gap, ratio = val - train, 1 + (val - train) / max(abs(train), 1e-8)
        logged = {"train": train, "val": val, "gap": gap, "ratio": ratio}
        finite = math.isfinite(gap)  # else the next point is compared with the one before this
        if finite:
            self._gaps = [*self._gaps, gap][-self.window :]
        if finite and due:
            values = _copied(tensors)
            self._start = measured["start"] | {"values": values}
            if val < self._lowest:
                self._interventions.begin(trainer, pl_module, values)
            self._lowest = min(self._lowest, val)
            if "stretch" in measured:
                self._stretches = [*self._stretches, measured["stretch"]][-self.window :]
                logged |= self._judge(trainer, pl_module, val, ratio)
            self._interventions.forget_modes()
        log_values(trainer, {f"overfit/{name}": value for name, value in logged.items()})

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take away the gradients of frozen parts, before anything looks at them."""
        if self._frozen:
            owned = _parameters_by(pl_module, self.by)
            for part in self._frozen:
                for parameter in owned.get(part, {}).values():
                    parameter.grad = None

    # --- inside -----------------------------------------------------------------------------------

    def _tensors(self, model: LightningModule) -> dict[str, dict[str, Tensor]]:
        """Split what the model has learned; who owns what is looked up when names change."""
        found = dict(model.named_parameters()) | dict(model.named_buffers())
        if found.keys() != self._known:
            self._known = set(found)
            self._owned = {part: list(own) for part, own in tensors_by(model, self.by).items()}
        return {part: {name: found[name] for name in own} for part, own in self._owned.items()}

    def _names(self, model: LightningModule, parts: list[str]) -> set[str]:
        owned = _parameters_by(model, self.by)
        return {name for part in parts for name in owned.get(part, {})}

    def _judge(
        self, trainer: Trainer, model: LightningModule, val: float, ratio: float
    ) -> dict[str, float]:
        """Return what the parts did over the window; in an alarm, look for the one to blame."""
        costs = summed_costs(self._stretches)
        matters = self.min_cost * abs(self._stretches[0]["level"])
        suspected = set(suspected_parts(costs, matters)) - set(self._frozen)
        alarm = ratio >= self.threshold and bool(suspected)
        logged = {"trend": _slope(self._gaps), "alarm": float(alarm)}
        floor = max(0.01 * abs(val), 1e-8)
        for part, cost in costs.items():
            name = part or "model"
            logged[f"{name}_train"], logged[f"{name}_val"] = cost.train, cost.val.mean
            logged[f"{name}_ogr"] = cost.overfitting_ratio(floor)
            if math.isfinite(cost.val.low):
                logged[f"{name}_val_low"] = cost.val.low
        if not alarm:
            quiet = self._episode.get("quiet", self.window) + 1
            self._episode = self._episode | {"quiet": quiet} if quiet < self.window else {}
            return logged
        with evaluation(trainer, model):
            without = self._probes.gaps_without(model, modules_by(model, self.by))
        without = trainer.strategy.broadcast(without)
        self._episode = {"judged": False, "named": None} | self._episode | {"quiet": 0}
        if not self._episode["judged"] and self._interventions.affordable(trainer.global_step):
            self._episode["judged"] = True
            found = self._intervene(trainer, model)
            if found not in self._said:
                self._said.append(found)
                rank_zero_warn(f"{found}.")
        return logged | {f"{part or 'model'}_gap_without": gap for part, gap in without.items()}

    def _intervene(self, trainer: Trainer, model: LightningModule) -> str:
        """Freeze one part after the other on copies, act on what that shows, and say it."""
        unnamed = "the model overfits, and no part is named, since"
        owned = _parameters_by(model, self.by)
        parts = [
            part
            for part, own in owned.items()
            if part not in self._frozen and any(p.requires_grad for p in own.values())
        ]
        if self.replay_steps == 0:
            return f"{unnamed} replay_steps=0 leaves no copies to confirm one"
        if len(parts) < 2:
            return f"{unnamed} no more than one is trained: {_ADVICE}, or stop earlier"
        verdict: Verdict | str
        try:
            verdict = self._interventions.verdict(
                trainer,
                model,
                {part: list(owned[part]) for part in parts},
                self._names(model, self._frozen),
                self.min_cost,
                last=[name for name, m in model.named_modules() if isinstance(m, Fusion)],
            )
        except Exception as error:  # training itself may well go on
            verdict = f"{unnamed} {_failed(error)}"
        verdict = trainer.strategy.broadcast(verdict)
        if isinstance(verdict, str):
            return verdict
        self._interventions.agree(verdict)
        if verdict.named is None:
            return f"{verdict.sentence()}: {_ADVICE} everywhere, or stop earlier"
        self._episode["named"] = verdict.named
        return f"{verdict.sentence()}: {self._act(trainer, model, verdict.named)}"

    def _act(self, trainer: Trainer, model: LightningModule, named: str) -> str:
        """Freeze the named part if that is wanted; say what was or can be done."""
        photonic = {id(p) for p in split_parameters(model)["photonic"].values()}
        advice = f"{_ADVICE}, or make it narrower"
        if any(id(p) in photonic for p in _parameters_by(model, self.by)[named].values()):
            advice = "give it fewer modes, photons, features or outputs"
        if self.action == "warn":
            return f"{advice}, or freeze it with action='freeze'"
        self._frozen.append(named)
        self._going_back = self._interventions.steps_since(trainer.global_step)
        return "it is frozen, and the model goes on from such a copy"


_ADVICE = "raise weight decay or dropout"

_NO_VALIDATION = (
    "OverfittingDetector compares training with validation data, and this run has none: give the "
    "Trainer validation data and limit_val_batches above 0, or leave the callback out"
)


def _copied(tensors: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {n: tensor.detach().clone() for own in tensors.values() for n, tensor in own.items()}


def _failed(error: Exception) -> str:
    return f"a copy of the model could not be trained ({type(error).__name__}: {error})"


def _in_training(trainer: Trainer) -> bool:
    return trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking


def _parameters_by(model: LightningModule, by: str) -> dict[str, dict[str, nn.Parameter]]:
    return part_parameters(model) if by == "part" else split_parameters(model)


def _slope(values: list[float]) -> float:
    """Return the least-squares slope of values at 0, 1, 2, ..., and 0 for a single one."""
    center = (len(values) - 1) / 2
    spread = sum((i - center) ** 2 for i in range(len(values)))
    return sum((i - center) * v for i, v in enumerate(values)) / spread if spread else 0.0
