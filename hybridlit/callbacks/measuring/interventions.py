"""What is kept of a run to train copies of its model again, each with one part frozen."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.optim import Optimizer

from hybridlit.analysis.evaluation import tensors_in
from hybridlit.analysis.loss_change.intervention import Verdict, compared_copies
from hybridlit.analysis.loss_change.retraining import Origin, TrainedCopy, batches_in_turns, in_one
from hybridlit.callbacks.measuring.probes import (
    all_of_all_processes,
    full_precision,
    keep_first,
    of_all_processes,
)
from hybridlit.callbacks.measuring.repeated_training import adopt, repeated_training
from hybridlit.ranks import alone
from hybridlit.resume.packed import packed, unpacked
from hybridlit.undisturbed import undisturbed

__all__ = ["Interventions"]


class Interventions:
    """What copies of a model begin with, are trained on and judged by.

    Args:
        steps: Most optimizer steps that a copy takes, at least 0.
        batches: Number of batches of training and of validation to keep, at least 1.

    Attributes:
        most_steps: Most optimizer steps that a copy takes.
    """

    def __init__(self, steps: int, batches: int) -> None:
        self.most_steps, self._most_batches = steps, batches
        self._origin: Origin | None = None
        self._batches: dict[str, list[Any]] = {"train": [], "val": []}
        self._shuffled = self._waiting = False
        self._spent = self._draw = 0
        self._modes: dict[str, bool] = {}
        self._saved: dict[str, Any] | None = None  # state until batches or origin change

    def state_dict(self) -> dict[str, Any]:
        """Return all that later copies depend on, in plain types and tensors."""
        if self._saved is None:
            self._saved = {
                "kept": {probe: in_one(batches) for probe, batches in self._batches.items()},
                "origin": None,
            }
            if self._origin is not None:
                saved = {"values": packed(self._origin.values), "moments": self._origin.moments}
                self._saved["origin"] = saved | {"step": self._origin.step}
        own = {"shuffled": self._shuffled, "spent": self._spent, "draw": self._draw}
        rates = [] if self._origin is None else list(self._origin.rates)
        return {"interventions": self._saved | own | {"rates": rates}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from the state of a checkpoint; those of version 0.1 know of no copies."""
        if "interventions" in state:
            own = state["interventions"]
            self._batches = {probe: _apart(*kept) for probe, kept in own["kept"].items()}
            if own["origin"] is not None:
                saved = own["origin"] | {"values": unpacked(own["origin"]["values"])}
                if "plain_moments" in saved:
                    saved["moments"] = _by_name(saved["moments"], saved.pop("plain_moments"))
                self._origin = Origin(**saved, rates=list(own["rates"]))
            self._shuffled, self._spent = own["shuffled"], own["spent"]
            self._draw = own.get("draw", 0)
            self._saved = None

    @property
    def begun(self) -> bool:
        """Whether copies can begin somewhere."""
        return self._origin is not None

    def begin(self, trainer: Trainer, values: dict[str, Tensor]) -> None:
        """Let copies begin here, with these values, unless the start of the run is near enough."""
        step = trainer.global_step
        if self._origin is None or step > self.most_steps:
            states = [optimizer.state_dict()["state"] for optimizer in trainer.optimizers]
            moments = copy.deepcopy(states[0]) if len(states) == 1 else {}
            self._origin = Origin(step, values, moments)
            self._saved = None

    def keep(self, model: LightningModule, batch: Any, batch_idx: int) -> None:
        """Keep the first training batches, whether others follow, and the modes of modules."""
        if not self._shuffled and batch_idx == 0 and self._batches["train"]:
            self._shuffled = not _same(of_all_processes(batch), self._batches["train"][0])
        self._keep("train", batch, batch_idx, together=True)
        if not self._modes:
            self._modes = {name: module.training for name, module in model.named_modules()}

    def forget_modes(self) -> None:
        """Look at the next training batch which modules are in training mode then."""
        self._modes = {}

    def keep_validation(self, batch: Any, batch_idx: int) -> None:
        """Keep the first validation batches."""
        self._waiting |= self._keep("val", batch, batch_idx)

    def end_validation(self) -> None:
        """Put together what processes have kept of a first validation."""
        if self._waiting:
            self._waiting = False
            self._batches["val"] = all_of_all_processes(self._batches["val"])

    def keep_rates(self, optimizer: Optimizer) -> None:
        """Keep the learning rates of an optimizer that is about to step."""
        if self._origin is not None and len(self._origin.rates) < self.most_steps:
            self._origin.rates.append([float(group["lr"]) for group in optimizer.param_groups])

    def affordable(self, step: int) -> bool:
        """Tell whether the run has taken as many steps as all copies together."""
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
        """Train copies with one part frozen each, and say who is to blame; see `compared_copies`.

        Where the copy with nothing frozen does not overfit as the run did, all are trained once
        more in another order of rows, if the data loader shuffles and batches are tuples of
        tensors: what died or got stuck by chance says nothing.

        Args:
            trainer: The Trainer in a fit.
            model: The model; it is not touched.
            parts: Names of the parameters of the parts that are frozen in turn.
            frozen: Names of parameters that are frozen in all copies.
            min_cost: The smallest difference that matters.
            last: Parts that are named only if no other is.
        """
        batches = self._batches
        again = self._shuffled and bool(in_one(batches["train"])[1])
        with undisturbed(), full_precision(trainer, model), alone():
            for draw in range(2 if again else 1):
                copies: dict[str | None, TrainedCopy] = {
                    part: self._copy(trainer, model, {*frozen, *names}, draw)
                    for part, names in [(None, ()), *parts.items()]
                }
                found = compared_copies(
                    copies, batches["train"], batches["val"], self.most_steps, min_cost, last
                )
                if found.named is not None or found.overfits:
                    break
        return found

    def agree(self, verdict: Verdict) -> None:
        """Count the steps of the first process's verdict, and go back to such copies if at all."""
        self._draw = verdict.draw
        self._spent += len(verdict.val) * (verdict.steps + verdict.draw * self.most_steps)

    def go_back(
        self, trainer: Trainer, model: LightningModule, frozen: Collection[str], steps: int
    ) -> None:
        """Let a model and its optimizer go on from a copy trained with something frozen."""
        with undisturbed(), full_precision(trainer, model), alone():
            copied = self._copy(trainer, model, frozen, self._draw)
            copied.train(steps)
        self._spent += steps
        adopt(trainer, model, copied)

    def steps_since(self, step: int) -> int:
        """Return how many steps a copy takes to be as far as the run."""
        return 0 if self._origin is None else min(step - self._origin.step, self.most_steps)

    def _keep(self, probe: str, batch: Any, batch_idx: int, together: bool = False) -> bool:
        most = self._most_batches
        kept = keep_first(self._batches[probe], batch, batch_idx, most, together)
        if kept:
            self._saved = None
        return kept

    def _copy(
        self,
        trainer: Trainer,
        model: LightningModule,
        frozen: Collection[str],
        draw: int,
    ) -> TrainedCopy:
        if self._origin is None or not all(self._batches.values()):
            raise RuntimeError("no batches have been kept")
        batch = batches_in_turns(self._batches["train"], self._shuffled, draw)
        moments = _by_number(self._origin.moments, trainer, model)
        origin = replace(self._origin, moments=moments)
        return repeated_training(trainer, model, origin, batch, self._modes, frozen, draw)


def _by_name(tensors: Mapping[str, Any], plain: Sequence[Any]) -> dict[Any, dict[str, Any]]:
    """Return moments as checkpoints from before 0.2 hold them, by names of parameters."""
    moments: dict[Any, dict[str, Any]] = {}
    for path, tensor in unpacked(tensors).items():
        name, _, key = path.rpartition("/")
        moments.setdefault(name, {})[key] = tensor
    for name, key, value in plain:
        moments.setdefault(name, {})[key] = value
    return moments


def _by_number(
    moments: Mapping[Any, dict[str, Any]], trainer: Trainer, model: nn.Module
) -> dict[int, dict[str, Any]]:
    """Return moments by the numbers of parameters in the optimizer, also if they are by name."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = (group for optimizer in trainer.optimizers for group in optimizer.param_groups)
    numbered = {names.get(id(p)): i for i, p in enumerate(p for g in groups for p in g["params"])}
    return {numbered.get(key, key): state for key, state in moments.items()}


def _same(one: Any, other: Any) -> bool:
    """Tell whether the tensors of two batches are equal."""
    mine, others = [tensor.cpu() for tensor in tensors_in(one)], list(tensors_in(other))
    return len(mine) == len(others) and all(map(torch.equal, mine, others))


def _apart(batches: list[Any], rows: list[int]) -> list[Any]:
    if not rows:
        return batches
    columns = [column.split(rows) for column in batches[0]]
    return [tuple(parts) for parts in zip(*columns, strict=True)]
