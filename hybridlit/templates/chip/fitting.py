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
from hybridlit.templates.chip.fitted import Fitted
from hybridlit.templates.chip.gauss_newton import GaussNewton
from hybridlit.templates.chip.priors import Prior, leak_around, priors_around, priors_of

if TYPE_CHECKING:
    from hybridlit.templates.chip.chip_twin import ChipTwin

__all__ = ["Rows", "begin_fit", "fit_step", "fitted_priors", "training_rows"]

_AT_ONCE = 1024
"""Rows whose light is computed together."""

_IN_REACH = 0.5
"""Largest part of the measured light, as roots of mean squares, that parameters of another day may
leave unexplained: steps alone get there from that."""


class Rows(NamedTuple):
    """Voltages (rows, heaters), light that enters (rows, modes), and what was measured."""

    settings: Tensor
    light: Tensor
    measured: Tensor

    def first_guess(self, heaters: HeaterResponse, layer: ChipLayer) -> None:
        """Set losses and offsets, if they are fitted, to what the rows tell without a search."""
        if layer.input_loss.requires_grad and layer.output_loss.requires_grad:
            first_losses(layer, self.light, self.measured)
        if heaters.offset.requires_grad:
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
def begin_fit(model: ChipTwin, rows: Rows) -> None:
    """Begin with a search; or with steps, if a model has parameters that explain the rows nearly.

    Parameters that were found on another day, that is: of one as it is drawn, responses are those
    of the design.
    """
    heaters, course = model.classical_pre, model.course
    course.begin(0, 0)
    if bool((heaters.quadratic != 2 * math.pi / heaters.full_turn**2).any()):
        left = _unexplained(model, rows)
        if left <= _IN_REACH:
            rank_zero_info(f"ChipTwin: no search, {1 - left:.0%} of the light are explained")
            there = Fitted(heaters, model.chip).tensors
            course.follow({name: each.detach().clone() for name, each in there.items()})
            return
        rank_zero_info(f"ChipTwin: a search, {left:.0%} of the light are not explained")
    rows.first_guess(heaters, model.chip)


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
    course.stepped(found.misfit, _unexplained(model, rows), solver.damping)
    rank_zero_info(
        f"ChipTwin: step {int(course.steps)}{' by distance' if near else ''}, residuals "
        f"{found.misfit:.3g} times the noise ({found.iterations} iterations)"
    )


def _unexplained(model: ChipTwin, rows: Rows) -> float:
    """Return the root mean square of the residuals by that of the measured light."""
    there = ~torch.isnan(rows.measured)
    left = (light_of(model, rows) - rows.measured)[there].double().square().mean()
    return float((left / rows.measured[there].double().square().mean()).sqrt())


@torch.no_grad()
def fitted_priors(model: ChipTwin) -> dict[str, Prior]:
    """Return the priors of a model's last steps.

    Those are around what was found on another day, if the fit began with that; otherwise around
    the design, and dense crosstalk around that of its distance.
    """
    heaters, before = model.classical_pre, model.course.before
    design = priors_of(heaters, model.chip)
    if before is not None:
        return priors_around(design, before)
    if heaters.crosstalk == "dense":
        mean = _by_distance(heaters, model.positions)
        found = heaters.mixing() - heaters.home
        stepped = int(model.course.steps) > model.course.near
        design["leak"] = leak_around(mean.mixing() - mean.home, found if stepped else None)
    return design


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
