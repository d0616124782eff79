"""The steps of Gauss and Newton of a twin, and the rows that they are for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torch.utils.data import DataLoader

from hybridlit.blocks.heaters import HeaterResponse
from hybridlit.photonics.chip_layer import ChipLayer
from hybridlit.templates.chip.first_guess import first_losses
from hybridlit.templates.chip.first_offsets import first_offsets
from hybridlit.templates.chip.gauss_newton import GaussNewton
from hybridlit.templates.chip.priors import Prior, leak_around, priors_of

if TYPE_CHECKING:
    from hybridlit.templates.chip.chip_twin import ChipTwin

__all__ = ["Rows", "fit_step", "fitted_priors", "training_rows"]

_AT_ONCE = 1024
"""Rows whose light is computed together."""


class Rows(NamedTuple):
    """Voltages (rows, heaters), light that enters (rows, modes), and what was measured."""

    settings: Tensor
    light: Tensor
    measured: Tensor

    def first_guess(self, heaters: HeaterResponse, layer: ChipLayer) -> None:
        """Set losses and offsets of a chip as designed to what the rows tell without a search."""
        first_losses(layer, self.light, self.measured)
        first_offsets(heaters, layer, *self)


def training_rows(model: ChipTwin) -> Rows:
    """Return all training rows of the Trainer of a model, on its device, in their own order."""
    loader = model.trainer.train_dataloader
    if not isinstance(loader, DataLoader) or not hasattr(loader.dataset, "__len__"):
        raise TypeError(
            "ChipTwin is fitted to the rows of one training DataLoader with a length, got "
            f"{type(loader).__name__}: give ChipDataModule, or a DataLoader of a TensorDataset"
        )
    whole: DataLoader[object] = DataLoader(
        loader.dataset,
        _AT_ONCE,
        collate_fn=loader.collate_fn,
        generator=torch.Generator(),  # iterating leaves the global one alone
    )
    batches = [model.trainer.strategy.batch_to_device(batch) for batch in whole]
    if any(model.weights(batch) is not None for batch in batches):
        raise ValueError(
            "ChipTwin is fitted to rows that count alike, got batches with weights: leave these out"
        )
    pairs = [model.unpack(batch) for batch in batches]
    inputs, measured = (torch.cat(parts).to(model.dtype) for parts in zip(*pairs, strict=True))
    model.likelihood.check(measured)
    settings, light = inputs.split([model.classical_pre.heaters, model.hparams["modes"]], 1)
    return Rows(settings, light, measured)


@torch.no_grad()
def fit_step(model: ChipTwin, rows: Rows) -> None:
    """Make a step for all parameters of a model, and note in its course what is left."""
    course, own = model.course, model.classical_pre
    near = course.by_distance
    heaters = _by_distance(own, model.positions) if near else own
    priors = priors_of(heaters, model.chip) if near else fitted_priors(model)
    # nothing tells some offsets, such as those of phases behind the last splitters: they stay
    priors["offset"] = Prior(heaters.offset.detach().clone(), 2 * math.pi)
    solver = GaussNewton(heaters, model.chip, priors)
    if torch.isfinite(course.damping):
        solver.damping = float(course.damping)
    found = solver.step(*rows, model.likelihood.spread(light_of(model, rows), model.noise))
    if near:
        _take_over(own, heaters)
    there = ~torch.isnan(rows.measured)
    left = (light_of(model, rows) - rows.measured)[there].double().square().mean()
    unexplained = (left / rows.measured[there].double().square().mean()).sqrt()
    course.stepped(found.misfit, float(unexplained), solver.damping)
    rank_zero_info(
        f"ChipTwin: step {int(course.steps)}{' by distance' if near else ''}, residuals "
        f"{found.misfit:.3g} times the noise ({found.iterations} iterations)"
    )


@torch.no_grad()
def fitted_priors(model: ChipTwin) -> dict[str, Prior]:
    """Return the priors of a model's last steps: dense crosstalk is near that of its distance."""
    heaters = model.classical_pre
    priors = priors_of(heaters, model.chip)
    if heaters.crosstalk == "dense":
        mean = _by_distance(heaters, model.positions)
        found = heaters.mixing() - heaters.home
        stepped = int(model.course.steps) > model.course.near
        priors["leak"] = leak_around(mean.mixing() - mean.home, found if stepped else None)
    return priors


def light_of(model: ChipTwin, rows: Rows) -> Tensor:
    """Return what a model says that detectors measure, (rows, outputs)."""
    inputs = torch.cat(rows[:2], 1)
    return torch.cat([model(some) for some in inputs.split(_AT_ONCE)])


def _by_distance(heaters: HeaterResponse, positions: list[list[float]]) -> HeaterResponse:
    """Return the heaters with the mean crosstalk at each distance in the place of their own."""
    near = HeaterResponse(
        heaters.phases,
        heaters.home.argmax(0).tolist(),
        crosstalk="distance",
        positions=positions,
        full_turn=heaters.full_turn,
        dtype=heaters.offset.dtype,
    ).to(heaters.offset.device)
    assert near.leak is not None and near.apart is not None and heaters.leak is not None
    for name in ("offset", "linear", "quadratic"):
        getattr(near, name).copy_(getattr(heaters, name))
    kinds, away = near.apart.flatten(), heaters.away.flatten()
    sums = torch.zeros_like(near.leak).index_add_(0, kinds, heaters.leak.flatten() * away)
    counts = torch.zeros_like(near.leak).index_add_(0, kinds, away)
    near.leak.copy_(sums / counts.clamp_min(1))
    return near


def _take_over(heaters: HeaterResponse, near: HeaterResponse) -> None:
    """Give heaters the numbers of those with crosstalk by distance."""
    assert heaters.leak is not None
    for name in ("offset", "linear", "quadratic"):
        getattr(heaters, name).copy_(getattr(near, name))
    heaters.leak.copy_(near.mixing() - near.home)
