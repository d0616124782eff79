"""Offsets are found without a search, far above chance, whatever is measured."""

import math

import pytest
import torch

from hybridlit import ChipTwin, SimulatedChip
from hybridlit.photonics.chip_layer import MEASURED
from hybridlit.templates.chip.first_offsets import first_offsets


@pytest.mark.parametrize("measured", MEASURED)
def test_offsets_are_found(measured):
    """Of an ideal chip; of 12 drawn at random, a fifth would be as near."""
    torch.manual_seed(0)
    ideal = dict(crosstalk=0.0, reflectivity=0.0, response=0.0, loss=0.0)
    chip = SimulatedChip(4, 1, measured=measured, **ideal)
    settings, light = chip.settings(600)
    seen = chip.measure(settings, light)
    seen[torch.rand(seen.shape) < 0.1] = math.nan  # detectors that were missing
    twin = ChipTwin(4, measured=measured).double()
    heaters, before = twin.classical_pre, twin.classical_pre.offset.detach().clone()
    found = first_offsets(heaters, twin.chip, settings, light, seen)
    assert torch.equal(heaters.offset[~found], before[~found])
    away = (heaters.offset - chip.heaters.offset).detach()[found]
    # the design's response is 10 % less than that of the chip, which offsets make up for
    away = (away - 0.1 * 2 * math.pi / 3 + math.pi).remainder(2 * math.pi) - math.pi
    assert int(found.sum()) >= 6 and away.abs().max() < 1.0, (found, away)


def test_noise_tells_few_offsets():
    """Of 30, one in 90 by chance in each round."""
    torch.manual_seed(0)
    chip = SimulatedChip(6)
    settings, light = chip.settings(200)
    twin = ChipTwin(6).double()
    found = first_offsets(twin.classical_pre, twin.chip, settings, light, torch.rand(200, 6))
    assert int(found.sum()) < 4
