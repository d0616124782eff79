"""Validations and ends of optimizer steps are foreseen after each training batch."""

import pytest
from lightning.pytorch import Callback

from hybridlit.resume.boundaries import accumulating, validation_follows


class Watch(Callback):
    """What was foreseen after each training batch, and what came."""

    def __init__(self):
        self.foreseen, self.came, self.waiting, self.stepped = [], [], [], []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.foreseen.append(validation_follows(trainer))
        self.came.append(False)
        self.waiting.append(accumulating(trainer))
        self.stepped.append(trainer.global_step)

    def on_validation_start(self, trainer, pl_module):
        if not trainer.sanity_checking:
            self.came[-1] = True


@pytest.mark.parametrize(
    ("options", "validations"),
    [
        ({}, 4),
        ({"check_val_every_n_epoch": 2}, 2),
        ({"check_val_every_n_epoch": 3}, 1),
        ({"val_check_interval": 2}, 8),
        ({"val_check_interval": 0.75}, 4),
        ({"val_check_interval": 2, "check_val_every_n_epoch": 2}, 4),
        ({"val_check_interval": 3, "check_val_every_n_epoch": None}, 5),
        ({"limit_val_batches": 0}, 0),
    ],
)
def test_validations_are_foreseen(options, validations, data, make_model, make_trainer):
    """An epoch has 4 batches."""
    watch = Watch()
    make_trainer([watch], max_epochs=4, **options).fit(make_model(), data)
    assert sum(watch.came) == validations
    assert watch.foreseen == watch.came


@pytest.mark.parametrize("accumulated", [1, 2, 3])
def test_gradients_that_wait_are_told(accumulated, data, make_model, make_trainer):
    watch = Watch()
    trainer = make_trainer([watch], max_epochs=2, accumulate_grad_batches=accumulated)
    trainer.fit(make_model(), data)
    before = [0, *watch.stepped[:-1]]
    steps = [after - first for first, after in zip(before, watch.stepped, strict=True)]
    assert watch.waiting == [not step for step in steps]
