"""What a twin has found of its chip, how sure it is of that, and what it can promise."""

from __future__ import annotations

import copy

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor, nn

from hybridlit.analysis.chip_numbers import chip_numbers, same_chip
from hybridlit.analysis.chip_result import ChipStudy, Places
from hybridlit.analysis.evaluation import to_device_of
from hybridlit.analysis.pictures.chip_circuit import places_of_splitters
from hybridlit.analysis.splits import loader_of, prepared
from hybridlit.argument_types import checked
from hybridlit.blocks.heaters import HeaterResponse
from hybridlit.checks import integer, random_seed
from hybridlit.data.splits import SPLITS
from hybridlit.photonics.chip_layer import ChipLayer
from hybridlit.templates.chip.chip_twin import ChipTwin
from hybridlit.templates.chip.fitting import fitted_priors
from hybridlit.templates.chip.intervals import standard_errors, unseen_offsets
from hybridlit.templates.chip.simulated import SimulatedChip
from hybridlit.templates.chip.steering import amplitude_fidelity
from hybridlit.undisturbed import undisturbed

__all__ = ["chip_study", "chip_twin_of"]

_AT_ONCE = 1024
"""Rows whose light is computed together."""


@checked
def chip_study(
    model: ChipTwin,
    datamodule: LightningDataModule | None = None,
    *,
    unitaries: int = 20,
    seed: int = 0,
) -> ChipStudy:
    """Say what a twin has found of its chip, how sure it is, and how well it can be programmed.

    Standard errors, gauges and the misfit are by the training rows. Where these are of a
    `SimulatedChip`, numbers are compared with its own, and programmed unitaries are tried on it;
    otherwise with the design. The model is left as it was.

    Args:
        model: A trained twin, with its chip.
        datamodule: What it was trained on; None: nothing is known of errors and misfit.
        unitaries: How many Haar-random unitaries are programmed, at least 0.
        seed: Of these, and of what standard errors of large chips are estimated by.

    Returns:
        Words, a table and pictures: print it, `to_markdown()`, `figures()`.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is out of range, or there is no chip in the model.

    Example:
        >>> from hybridlit import ChipDataModule, ChipTwin
        >>> data = ChipDataModule(simulated={"modes": 3}, rows=50)
        >>> study = chip_study(ChipTwin(3), data, unitaries=2)
        >>> study.converged, study.gauges, len(study.delivered)
        (False, 2, 2)
    """
    integer(unitaries, "unitaries", 0)
    random_seed(seed, "seed")
    if not model.fits_a_chip:
        raise ValueError(
            f"a study of a chip needs one, got a model with quantum={model.hparams['quantum']!r}"
        )
    # in float64: standard errors are by derivatives, and residuals may be small
    heaters = copy.deepcopy(model.classical_pre).double().requires_grad_(True)
    layer = copy.deepcopy(model.chip).double().requires_grad_(True)
    chip, truth = getattr(datamodule, "chip", None), None
    if isinstance(chip, SimulatedChip) and same_chip((heaters, layer), (chip.heaters, chip.layer)):
        truth = (chip.heaters, chip.layer)
    rows = {} if datamodule is None else _rows(model, datamodule)
    misfit, errors, unseen = {}, {}, None
    for split, (settings, light, measured) in rows.items():
        said = _light(heaters, layer, settings, light)
        spread = model.likelihood.spread(said, model.noise)
        left = ((measured - said) / spread)[~measured.isnan()]
        misfit[SPLITS[split]] = float(left.square().mean().sqrt())
        if split == "train":
            drawn = torch.Generator(settings.device).manual_seed(seed)
            priors = {
                name: prior for name, prior in fitted_priors(model).items() if name != "offset"
            }
            unseen = unseen_offsets(heaters, layer, settings, light)
            errors = standard_errors(
                heaters, layer, settings, light, measured, spread, priors=priors, generator=drawn
            )
    expected, delivered = _programmed(model, truth, unitaries, seed)
    blind = [] if unseen is None else (unseen.square().sum(1) > 1 - 1e-6).nonzero()[:, 0].tolist()
    return ChipStudy(
        type(model).__name__,
        chip_numbers(heaters, layer, errors, truth, unseen),
        Places(
            np.array(model.positions, dtype=np.float64),
            heaters.home.argmax(0).cpu().numpy(),
            places_of_splitters(layer),
            model.hparams["positions"] is not None,
        ),
        "design" if truth is None else "truth",
        misfit,
        {SPLITS[split]: len(settings) for split, (settings, _, _) in rows.items()},
        model.course.converged,
        0 if unseen is None else unseen.shape[1],
        blind,
        model.limits,
        expected,
        delivered,
    )


def chip_twin_of(model: nn.Module) -> ChipTwin | None:
    """Return a model if it is the twin of a chip, with its chip and no block in its place."""
    return model if isinstance(model, ChipTwin) and model.fits_a_chip else None


def _rows(
    model: ChipTwin, datamodule: LightningDataModule
) -> dict[str, tuple[Tensor, Tensor, Tensor]]:
    """Return voltages, light that enters and what was measured of training and test rows."""
    found = {}
    with undisturbed(), prepared(datamodule) as data:
        for split in ("train", "test"):
            batches = [model.unpack(to_device_of(model, each)) for each in loader_of(data, split)]
            if batches:
                inputs, measured = (torch.cat(each).double() for each in zip(*batches, strict=True))
                modes = model.chip.modes
                found[split] = inputs[:, :-modes], inputs[:, -modes:], measured
    return found


@torch.no_grad()
def _light(heaters: HeaterResponse, layer: ChipLayer, settings: Tensor, light: Tensor) -> Tensor:
    parts = zip(settings.split(_AT_ONCE), light.split(_AT_ONCE), strict=True)
    return torch.cat([layer(torch.cat([heaters(some), lit], 1)) for some, lit in parts])


def _programmed(
    model: ChipTwin, truth: tuple[HeaterResponse, ChipLayer] | None, count: int, seed: int
) -> tuple[list[float], list[float]]:
    """Program Haar-random unitaries; return what is expected of each, and what a chip does."""
    if not count:
        return [], []
    drawn = torch.Generator().manual_seed(seed)
    shape = (count, model.chip.modes, model.chip.modes)
    q, r = torch.linalg.qr(torch.randn(shape, dtype=torch.complex128, generator=drawn))
    wanted = q * r.diagonal(dim1=1, dim2=2).sgn()[:, None]  # Haar: Mezzadri, math-ph/0609050
    found = model.program(wanted)
    if truth is None:
        return found.fidelity.tolist(), []
    heaters, layer = truth
    with torch.no_grad():
        matrices = layer.matrices(heaters(found.voltages.cpu()))
    return found.fidelity.tolist(), amplitude_fidelity(matrices, wanted).tolist()
