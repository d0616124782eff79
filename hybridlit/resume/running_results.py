"""What an unfinished epoch has logged so far, so that its means after a resume cover all of it.

Lightning keeps these sums in its loop and does not save them. There is no public way to them: this
file, and no other one, reads `epoch_loop._results`.
"""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from torchmetrics import Metric

from hybridlit.internals.lightning import logged_results
from hybridlit.internals.torchmetrics import set_update_count

__all__ = ["add_running_sums", "log_leftovers", "restore_metrics", "running_results"]


def running_results(trainer: Trainer, pl_module: LightningModule) -> dict[str, dict[str, Any]]:
    """Return the sums behind the training values that are logged once an epoch.

    Args:
        trainer: The Trainer in a training epoch.
        pl_module: Its model.

    Returns:
        `{"sums": {...}, "metrics": {...}}`: sums and weights of logged numbers by Lightning's key,
        and the states of logged torchmetrics by their names in the model; tensors on the CPU.
    """
    names = {id(module): name for name, module in pl_module.named_modules()}
    sums: dict[str, Any] = {}
    metrics: dict[str, Any] = {}
    for key, result in logged_results(trainer).items():
        if result.has_reset or not result.meta.on_epoch:
            continue
        if result.is_tensor:
            kind = _reduction(result.meta)
            if kind is not None:
                weight = int(result.cumulated_batch_size) if kind == "mean" else 0
                sums[key] = {
                    "name": result.meta.name,
                    "kind": kind,
                    "value": result.value.cpu(),
                    "weight": weight,
                }
        elif id(result.value) in names:
            metric: Metric = result.value
            metrics[names[id(metric)]] = {
                "name": result.meta.name,
                "count": metric.update_count,
                "state": _to(metric.metric_state, torch.device("cpu")),
            }
    return {"sums": sums, "metrics": metrics}


def restore_metrics(pl_module: LightningModule, metrics: dict[str, Any]) -> None:
    """Give the torchmetrics of a model the states they had, before the first batch.

    Args:
        pl_module: The model; metrics that it no longer has are passed over.
        metrics: The part `"metrics"` of `running_results`.
    """
    modules = dict(pl_module.named_modules())
    for name, saved in metrics.items():
        metric = modules.get(name)
        if isinstance(metric, Metric):
            for attribute, value in _to(saved["state"], metric.device).items():
                setattr(metric, attribute, value)
            set_update_count(metric, saved["count"])


def add_running_sums(trainer: Trainer, sums: dict[str, Any]) -> dict[str, Any]:
    """Add saved sums to those that a resumed epoch has logged so far.

    Args:
        trainer: The Trainer, after a training batch.
        sums: The part `"sums"` of `running_results`.

    Returns:
        The sums of values that have not been logged again yet.
    """
    results = logged_results(trainer)
    waiting = {}
    for key, saved in sums.items():
        result = results.get(key)
        if result is None or result.has_reset or _reduction(result.meta) != saved["kind"]:
            waiting[key] = saved
            continue
        value = saved["value"].to(result.value.device)
        if saved["kind"] in ("max", "min"):
            result.value = getattr(torch, f"{saved['kind']}imum")(value, result.value)
        else:
            result.value = value + result.value
        if saved["kind"] == "mean":
            result.cumulated_batch_size = result.cumulated_batch_size + saved["weight"]
    return waiting


def log_leftovers(
    pl_module: LightningModule, sums: dict[str, Any], metrics: dict[str, Any]
) -> None:
    """Log, at the end of an epoch, what has not been logged again since it was resumed.

    Args:
        pl_module: The model.
        sums: What `add_running_sums` returned last.
        metrics: The part `"metrics"` of `running_results`, if no batch followed the resume.
    """
    for saved in sums.values():
        weight = saved["weight"] or 1
        pl_module.log(
            saved["name"],
            saved["value"].to(pl_module.device) / weight,
            on_step=False,
            on_epoch=True,
            reduce_fx=saved["kind"],
            batch_size=weight,
        )
    modules = dict(pl_module.named_modules())
    for name, saved in metrics.items():
        metric = modules.get(name)
        if isinstance(metric, Metric):
            pl_module.log(saved["name"], metric, on_step=False, on_epoch=True)


def _reduction(meta: Any) -> str | None:
    kinds = ("mean", "sum", "max", "min")
    return next((kind for kind in kinds if getattr(meta, f"is_{kind}_reduction")), None)


def _to(state: Any, device: torch.device) -> Any:
    if isinstance(state, Tensor):
        return state.detach().to(device, copy=True)
    if isinstance(state, dict):
        return {name: _to(value, device) for name, value in state.items()}
    return [_to(value, device) for value in state] if isinstance(state, list) else state
