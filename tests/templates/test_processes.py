"""What a template needs of the processes of a run."""

from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.strategies import SingleDeviceStrategy

from hybridlit.templates.training.processes import SHARDING, draw_apart, prepare_processes


@pytest.mark.parametrize("name", SHARDING)
def test_strategies_that_shard_parameters_are_refused_by_name(name, make_model, make_trainer):
    kind = SHARDING[name]
    trainer = make_trainer()
    trainer.strategy.__class__ = type("Own", (kind,), {})
    model = make_model()
    model.trainer = trainer
    with pytest.raises(ValueError, match=rf"strategy='{name}' .*choose strategy='ddp'"):
        model.setup("fit")


def test_others_are_not():
    prepare_processes(SimpleNamespace(strategy=SingleDeviceStrategy(), world_size=1))


def test_processes_draw_other_numbers_and_the_first_its_own():
    drawn = []
    for number in (0, 1, 2, 1):
        torch.manual_seed(4)
        draw_apart(SimpleNamespace(global_rank=number))
        drawn.append(torch.rand(3))
    torch.manual_seed(4)
    assert torch.equal(drawn[0], torch.rand(3)) and torch.equal(drawn[1], drawn[3])
    assert not any(torch.equal(drawn[0], other) for other in drawn[1:])
    assert not torch.equal(drawn[1], drawn[2])
