"""Voltages for wanted unitaries, judged by the chip that they are for."""

import numpy as np
import pytest
import torch
from scipy.stats import unitary_group

from hybridlit.blocks.heaters import HeaterResponse
from hybridlit.photonics.chip_matrices import matrices_and_derivatives
from hybridlit.templates.chip.programming import program
from hybridlit.templates.chip.simulated import SimulatedChip


def haar(targets, modes):
    drawn = unitary_group.rvs(modes, size=targets, random_state=0)
    return drawn.reshape(targets, modes, modes)


def fidelities(chip, voltages, wanted):
    """The formula as it is written."""
    found = chip.layer.matrices(chip.heaters(voltages)).abs().numpy()
    moduli = np.abs(wanted)
    size = np.sqrt((found**2).sum((1, 2)) * (moduli**2).sum((1, 2)))
    return (found * moduli).sum((1, 2)) / size


def without_output_phases(modes):
    """Heaters on all phases but those that only turn an output."""
    cells = [(c, j) for c in range(modes) for j in range(c % 2, modes - 1, 2)]
    last = {j: 2 * k + 1 for k, (c, j) in enumerate(cells) if c + 1 == modes or j == 0}
    ends = {last[j] for j in last if j % 2 == (modes - 1) % 2 or j == 0}
    return [phase for phase in range(modes * (modes - 1)) if phase not in ends]


@pytest.mark.parametrize("mesh", ["rectangular", "triangular", "bell_walmsley"])
def test_what_comes_out_of_the_chip_is_what_was_wanted(mesh):
    chip, wanted = SimulatedChip(4, 3, mesh=mesh), haar(20, 4)
    found = program(chip.heaters, chip.layer, wanted)
    true = fidelities(chip, found.voltages, wanted)
    assert true.mean() > 0.9999
    np.testing.assert_allclose(found.fidelity, true, atol=1e-12)
    assert 0 <= found.voltages.min() and found.voltages.max() <= 1


@pytest.mark.slow
@pytest.mark.parametrize("heaters", [132, 126])
def test_a_hundred_unitaries_of_twelve_modes(heaters):
    places = None if heaters == 132 else without_output_phases(12)
    chip, wanted = SimulatedChip(12, 0, heaters=places), haar(100, 12)
    assert chip.heaters.heaters == heaters
    found = program(chip.heaters, chip.layer, torch.from_numpy(wanted))
    true = fidelities(chip, found.voltages, wanted)
    assert true.mean() > 0.9999
    assert true.min() > 0.999


def test_phases_between_modes_are_right_as_well():
    """Moduli alone would not tell: up to phases at both ends the matrix is the wanted one."""
    chip, wanted = SimulatedChip(4, 5), haar(10, 4)
    found = program(chip.heaters, chip.layer, wanted)
    apart = chip.layer.matrices(chip.heaters(found.voltages)).numpy() * wanted.conj()
    phases = apart / np.abs(apart)
    square = phases[:, 1:, 1:] * phases[:, :1, :1] / phases[:, :1, 1:] / phases[:, 1:, :1]
    good = fidelities(chip, found.voltages, wanted) > 1 - 1e-5
    weight = np.abs(apart).min((1, 2)) > 0.02  # else a phase hardly counts
    assert (good & weight).sum() >= 3
    np.testing.assert_allclose(square[good & weight], 1, atol=0.1)


def test_voltages_are_the_least_that_do_it():
    """Without crosstalk a wider range only adds whole turns, which no heater should take."""
    chip = SimulatedChip(3, 1, crosstalk=0.0, response=0.0)
    wanted = haar(8, 3)
    narrow = program(chip.heaters, chip.layer, wanted, (0, 1))
    wide = program(chip.heaters, chip.layer, wanted, (0, 2))
    assert wide.voltages.max() < 1
    torch.testing.assert_close(wide.voltages, narrow.voltages, atol=1e-6, rtol=0)


def test_limits_are_kept_where_they_cost_fidelity():
    chip, wanted = SimulatedChip(4, 2), haar(10, 4)
    wide = program(chip.heaters, chip.layer, wanted)
    narrow = program(chip.heaters, chip.layer, wanted, (0.2, 0.7))
    assert narrow.voltages.min() >= 0.2
    assert narrow.voltages.max() <= 0.7
    assert 0.8 < narrow.fidelity.mean() < wide.fidelity.mean()


def test_derivatives_of_matrices_are_those_of_autograd():
    chip = SimulatedChip(3, 4)
    with torch.no_grad():
        chip.layer.mode_loss.copy_(torch.tensor([0.1, 0.5, 0.9]))
    phases = torch.rand(1, 6, dtype=torch.float64)
    mixing = torch.rand(6, 4, dtype=torch.float64)
    found, derivatives = matrices_and_derivatives(chip.layer, phases, mixing)
    torch.testing.assert_close(found, chip.layer.matrices(phases))

    def parts(turns):
        return torch.view_as_real(chip.layer.matrices(phases + turns @ mixing.mT)[0])

    right = torch.autograd.functional.jacobian(parts, torch.zeros(4, dtype=torch.float64))
    torch.testing.assert_close(torch.view_as_real(derivatives[0]).transpose(2, 3), right)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"unitaries": np.ones((3, 3))}, "must have shape"),
        ({"unitaries": np.ones((1, 4, 4))}, "unitary 0 must be unitary"),
        ({"limits": (1.0, 0.5)}, "0 <= least < largest"),
        ({"limits": (-1.0, 0.5)}, "0 <= least < largest"),
        ({"heaters": HeaterResponse(5)}, "12 phases"),
    ],
)
def test_what_does_not_fit_is_refused(change, words):
    chip = SimulatedChip(4)
    given = {"heaters": chip.heaters, "layer": chip.layer, "unitaries": haar(1, 4), **change}
    with pytest.raises(ValueError, match=words):
        program(**given)
