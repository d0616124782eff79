"""What is known before a fit: a chip of another day that has drifted, and parameters that stay."""

import pytest
import torch
from lightning.pytorch import Callback

from hybridlit import ChipDataModule, ChipTwin, SimulatedChip
from hybridlit.callbacks import ExactResume, HybridCheckpoint, WarmStart, export_component
from hybridlit.templates.chip.metrics import TotalVariation

ROWS = 6  # of 3 modes; from scratch it takes 60 for the same distance


def distance(twin, chip):
    settings, light = chip.settings(300, torch.Generator().manual_seed(5))
    metric = TotalVariation()
    metric.update(
        twin(torch.cat([settings, light], 1).float()), chip.measure(settings, light, noise=0.0)
    )
    return float(metric.compute())


@pytest.fixture
def drifted(tmp_path):
    """A chip whose offsets have drifted by 0.1 rad, and the callback that begins with it before."""
    chip, twin = SimulatedChip(3, seed=1), ChipTwin(3)
    twin.load_state_dict(chip.true, strict=False)
    parts = {part: str(tmp_path / f"{part}.pt") for part in ("classical_pre", "quantum_layer")}
    for part, path in parts.items():
        export_component(twin, part, path)
    draws = torch.Generator().manual_seed(2)
    chip.heaters.offset.add_(0.1 * torch.randn(6, generator=draws, dtype=torch.float64))
    assert distance(twin, chip) > 0.01
    table = chip.table(ROWS, 1e-3, draws)
    return chip, ChipDataModule(table, val_fraction=0, test_fraction=0), WarmStart(parts)


def test_a_chip_that_has_drifted_takes_few_settings_and_no_search(drifted, make_trainer):
    chip, data, warm = drifted
    twin = ChipTwin(3)
    trainer = make_trainer([warm], max_epochs=20)
    trainer.fit(twin, data)
    assert trainer.current_epoch < 8 and not int(twin.course.start) and twin.course.converged
    assert distance(twin, chip) < 0.003
    alone = ChipTwin(3, starts=1, find_epochs=20)  # the same settings from scratch
    make_trainer(max_epochs=24).fit(alone, data)
    assert distance(alone, chip) > 0.01


def test_a_chip_that_is_another_one_is_searched_for(drifted, make_trainer):
    *_, warm = drifted
    twin = ChipTwin(3, find_epochs=2)
    make_trainer([warm], max_epochs=1).fit(twin, ChipDataModule(simulated={"modes": 3}, rows=40))
    assert twin.course.finding(1) and twin.course.before is None


class Stop(Callback):
    """Ends a run after its second epoch."""

    def on_train_epoch_end(self, trainer, pl_module):
        trainer.should_stop |= trainer.current_epoch == 1


def test_it_stays_near_the_other_day_where_it_goes_on(drifted, make_trainer, tmp_path):
    _, data, warm = drifted
    folder, found = HybridCheckpoint(dirpath=tmp_path / "run", save_last=True), []
    for more, path in (([], None), ([folder, Stop()], None), ([], tmp_path / "run" / "last.ckpt")):
        twin = ChipTwin(3)
        trainer = make_trainer(
            [warm, ExactResume(), *more], max_epochs=4, enable_checkpointing=True
        )
        trainer.fit(twin, data, ckpt_path=path)
        found.append(twin.state_dict())
    whole, _, resumed = found
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_what_is_frozen_stays(make_trainer):
    """Splitters and losses that are known, say; or photonic parameters in an ablation."""
    twin = ChipTwin(3, find_epochs=1)
    twin.quantum_layer.requires_grad_(False)
    before = {name: each.clone() for name, each in twin.quantum_layer.named_parameters()}
    data = ChipDataModule(simulated={"modes": 3}, rows=40)
    make_trainer(max_epochs=3).fit(twin, data)
    assert int(twin.course.steps) == 2
    for name, each in twin.quantum_layer.named_parameters():
        assert torch.equal(each, before[name]) and not each.requires_grad, name
    assert all(each.requires_grad for each in twin.classical_pre.parameters())
