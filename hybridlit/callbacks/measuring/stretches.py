"""What the parts of a model did to its losses, stretch by stretch of its run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hybridlit.analysis.loss_change.allocation import allocate_loss_change
from hybridlit.analysis.loss_change.blame import PartCost, summed_costs
from hybridlit.analysis.loss_change.owners import By, tensors_by
from hybridlit.callbacks.measuring.probes import Probes
from hybridlit.resume.packed import packed, unpacked

__all__ = ["Stretches"]


class Stretches:
    """The latest stretches of a run.

    Args:
        by: Who is told apart, a name of `OWNERS`.
        every_n_steps: Fewest optimizer steps of a stretch.
        window: How many of them are looked at together.
    """

    def __init__(self, by: By, every_n_steps: int, window: int) -> None:
        self._by, self._every, self._window = by, every_n_steps, window
        self._known: set[str] = set()  # names of tensors, and of those that are learned, by part
        self._owned: dict[str, list[str]] = {}
        self._start: dict[str, Any] = {}  # step, tensors by name and losses of the last allocation
        self._ended: list[dict[str, Any]] = []

    def state_dict(self) -> dict[str, Any]:
        """Return where the present stretch began, and those that have ended."""
        start = self._start
        if start:
            start = start | {"values": packed(start["values"])}
        return {"start": start, "stretches": self._ended}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from the state of a checkpoint; in those of version 0.1 nothing is packed."""
        self._start, self._ended = state.get("start", {}), state.get("stretches", [])
        if "kinds" in self._start.get("values", {}):
            self._start = self._start | {"values": unpacked(self._start["values"])}

    @property
    def parts(self) -> set[str]:
        """The parts that something is known of."""
        return {part for stretch in self._ended for part in stretch["train"]}

    @property
    def level(self) -> float:
        """The validation loss at the beginning of the window."""
        return float(self._ended[0]["level"])

    def costs(self) -> dict[str, PartCost]:
        """Return what the parts did over the window."""
        return summed_costs(self._ended)

    def due(self, step: int) -> bool:
        """Tell whether it is time to end a stretch, or to begin the first one."""
        return not self._start or bool(step - self._start["step"] >= self._every)

    def measure(self, model: nn.Module, probes: Probes, step: int) -> dict[str, Any]:
        """Evaluate a model within `evaluation`; if due, divide the change since the last time.

        Returns:
            The losses as from `Probes.losses`; if due also `"start"`, for the stretch that begins,
            and, if there was one, `"stretch"`: what the parts did in it.
        """
        if not self.due(step):
            return dict(probes.losses(model, groups=1))
        rows = 0

        def losses() -> Tensor:
            nonlocal rows
            found = probes.losses(model)
            rows = len(found["train"])
            return torch.cat([found["train"], found["val"]])

        measured: dict[str, Any] = {}
        if not (start := self._start):
            after = losses()
        else:
            tensors, before = self.tensors(model), start["losses"]
            after, changes = allocate_loss_change(tensors, start["values"], losses, before)
            measured["stretch"] = {
                "steps": step - start["step"],
                "level": float(before[rows:].mean()),
                "train": {part: float(change[:rows].mean()) for part, change in changes.items()},
                "val": {part: change[rows:].clone() for part, change in changes.items()},
            }
        measured["start"] = {"step": step, "losses": after}
        return measured | {"train": after[:rows], "val": after[rows:]}

    def end(self, measured: Mapping[str, Any], values: Mapping[str, Tensor]) -> bool:
        """Begin a stretch where a model was measured, with its values; tell whether one ended."""
        self._start = measured["start"] | {"values": values}
        if "stretch" in measured:
            self._ended = [*self._ended, measured["stretch"]][-self._window :]
        return "stretch" in measured

    def forget(self) -> None:
        """Begin anew at the next measurement."""
        self._start, self._ended = {}, []

    def tensors(self, model: nn.Module) -> dict[str, dict[str, Tensor]]:
        """Split what a model has learned; who owns what is looked up when names change."""
        found = dict(model.named_parameters()) | dict(model.named_buffers())
        if found.keys() != self._known:
            self._known = set(found)
            self._owned = {part: list(own) for part, own in tensors_by(model, self._by).items()}
        return {part: {name: found[name] for name in own} for part, own in self._owned.items()}

    def values(self, model: nn.Module) -> dict[str, Tensor]:
        """Copy what a model has learned, by name."""
        split = self.tensors(model).values()
        return {name: tensor.detach().clone() for own in split for name, tensor in own.items()}
