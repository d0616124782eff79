"""What an unfinished epoch has logged so far, so that its means after a resume cover all of it.

Lightning keeps these sums in its loop (`logged_results`) and does not save them.
"""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from torchmetrics import Metric

from hybridlit.internals.lightning import logged_results
from hybridlit.internals.torchmetrics import set_update_count
from hybridlit.templates.epoch_logging import EpochLogging, EpochMean

__all__ = ["RunningResults"]


class RunningResults:
    """What a resumed epoch had logged before, until it has logged the same values again.

    Args:
        saved: What `of` returned; None: nothing.
        pl_module: The model, whose torchmetrics get the states they had; those that it no longer
            has are passed over.
    """

    def __init__(
        self, saved: dict[str, Any] | None = None, pl_module: LightningModule | None = None
    ) -> None:
        self._sums: dict[str, Any] = saved["sums"] if saved else {}
        self._metrics: dict[str, Any] = saved["metrics"] if saved else {}  # up to the first batch
        if isinstance(pl_module, EpochLogging):
            pl_module.make_means(self._metrics)
        for metric, state in self._known_metrics(pl_module):
            for attribute, value in _to(state["state"], metric.device).items():
                setattr(metric, attribute, value)
            set_update_count(metric, state["count"])

    @staticmethod
    def of(trainer: Trainer, pl_module: LightningModule) -> dict[str, dict[str, Any]]:
        """Return the sums behind the training values that are logged once an epoch.

        Returns:
            `{"sums": {...}, "metrics": {...}}`: sums and weights of logged numbers by Lightning's
            key, states of logged torchmetrics, and of those that they wrap, by their names in the
            model; tensors on the CPU.
        """
        names = {id(module): name for name, module in pl_module.named_modules()}
        sums: dict[str, Any] = {}
        metrics: dict[str, Any] = {}
        for key, result in logged_results(trainer).items():
            if result.has_reset or not result.meta.on_epoch:
                continue
            kind = _reduction(result.meta)
            if result.is_tensor and kind is not None:
                sums[key] = {
                    "name": result.meta.name,
                    "kind": kind,
                    "value": result.value.cpu(),
                    "weight": result.cumulated_batch_size.item() if kind == "mean" else 0,
                }
            elif not result.is_tensor and id(result.value) in names:
                logged = names[id(result.value)]
                for inner, module in result.value.named_modules(prefix=logged):
                    if isinstance(module, Metric):  # one that is logged may wrap others
                        name = result.meta.name if inner == logged else None
                        metrics[inner] = _state(module, name)
        return {"sums": sums, "metrics": metrics}

    def go_on(self, trainer: Trainer) -> None:
        """Add, after a training batch, the sums of what has been logged again."""
        self._metrics = {}
        results = logged_results(trainer)
        for key, saved in list(self._sums.items()):
            result = results.get(key)
            if result is None or result.has_reset or _reduction(result.meta) != saved["kind"]:
                continue
            value = self._sums.pop(key)["value"].to(result.value.device)
            if isinstance(result.value, EpochMean):  # which checkpoints of 0.1 did not know
                result.value.go_on(value, saved["weight"])
                continue
            if saved["kind"] in ("max", "min"):
                result.value = getattr(torch, f"{saved['kind']}imum")(value, result.value)
            else:
                result.value = value + result.value
            if saved["kind"] == "mean":
                result.cumulated_batch_size = result.cumulated_batch_size + saved["weight"]

    def log_rest(self, pl_module: LightningModule) -> None:
        """Log, at the end of an epoch, what has not been logged again since it was resumed."""
        for saved in self._sums.values():
            weight = saved["weight"] or 1
            pl_module.log(
                saved["name"],
                saved["value"].to(pl_module.device) / weight,
                on_step=False,
                on_epoch=True,
                reduce_fx=saved["kind"],
                batch_size=weight,
            )
        for metric, saved in self._known_metrics(pl_module):
            if saved["name"] is not None:
                pl_module.log(saved["name"], metric, on_step=False, on_epoch=True)
        self._sums, self._metrics = {}, {}

    def _known_metrics(self, pl_module: LightningModule | None) -> list[tuple[Metric, Any]]:
        modules = dict(pl_module.named_modules()) if pl_module is not None else {}
        found = [(modules.get(name), saved) for name, saved in self._metrics.items()]
        return [(metric, saved) for metric, saved in found if isinstance(metric, Metric)]


def _state(metric: Any, name: str | None) -> dict[str, Any]:
    """What a metric has added up, and the name under which it is logged, if it is."""
    state = _to(metric.metric_state, torch.device("cpu"))
    return {"name": name, "count": metric.update_count, "state": state}


def _reduction(meta: Any) -> str | None:
    kinds = ("mean", "sum", "max", "min")
    return next((kind for kind in kinds if getattr(meta, f"is_{kind}_reduction")), None)


def _to(state: Any, device: torch.device) -> Any:
    if isinstance(state, Tensor):
        return state.detach().to(device, copy=True)
    if isinstance(state, dict):
        return {name: _to(value, device) for name, value in state.items()}
    return [_to(value, device) for value in state] if isinstance(state, list) else state
