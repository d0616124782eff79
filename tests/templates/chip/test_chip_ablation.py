"""Analyses judge a twin by how alike distributions are, of the detectors that were there."""

import numpy as np
import pytest
import torch

from hybridlit import ChipDataModule, ChipTwin, SimulatedChip
from hybridlit.analysis import ablation_study
from hybridlit.analysis.scores import scores
from hybridlit.templates.chip.light_task import Light
from hybridlit.templates.tasks import NoScoreError


def known(chip):
    """A twin that has been fitted to a chip before."""
    twin = ChipTwin(3, classical_lr=0.02, quantum_lr=0.02, schedule="cosine")
    twin.load_state_dict(chip.true, strict=False)
    return twin


@pytest.mark.slow
def test_a_chip_helps():
    """Beside a classical block of its size, both behind heaters that are known."""
    torch.manual_seed(0)
    chip = SimulatedChip(3, seed=1)
    table = chip.table(100, 1e-3, torch.Generator().manual_seed(2))
    table["out1"][::7] = np.nan
    data, twin = ChipDataModule(table), known(chip)
    study = ablation_study(
        twin, data, retrained=["mlp"], posthoc=False, seeds=2, max_epochs=25, baselines=False,
        margin=0.001, build=lambda: known(chip), progress=False,
    )  # fmt: skip
    assert study.metric == "amplitude_fidelity"
    hybrid, block = study.retrained
    assert block.verdict == "helps" and hybrid.beats_constant and min(hybrid.scores) > 0.9999
    assert hybrid.epochs < 10 and block.photonic_parameters == 0
    first, *errors = scores(twin, data)
    assert first.name == "amplitude fidelity" and first.found.mean > 0.9999
    assert [each.rows for each in errors] == [20, int((~data.test[1][:, 1].isnan()).sum()), 20]
    assert max(each.found.mean for each in errors) < 0.002


def test_a_row_scores_by_what_was_measured_of_it():
    nan = torch.nan
    seen = torch.tensor([[0.5, 0.5, nan], [1.0, 0.0, 0.0], [-0.1, nan, 0.0], [0.2, 0.2, 0.6]])
    said = torch.tensor([[0.2, 0.2, 0.9], [0.25, 0.75, 0.0], [1.0, 0.0, 0.0], [0.1, 0.1, 0.3]])
    task = Light(3)
    found = task.row_scores(said, seen)
    exact = torch.tensor([1.0, 0.5, 2.5 / 3, 1.0])  # the third was dark: the mean of the others
    assert torch.allclose(found.float(), exact)
    assert torch.allclose(task.constant(seen).float(), torch.tensor([0.4, 0.7 / 3, 0.2]))
    with pytest.raises(NoScoreError, match="needs light in some test row"):
        task.row_scores(said[2:3], seen[2:3])
