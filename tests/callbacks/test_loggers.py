"""What callbacks log arrives at its step, in every logger, unchanged."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hybridlit import SequentialHybrid
from hybridlit.callbacks.measuring.reports import log_values, show_picture


def sequential():
    torch.manual_seed(0)
    return SequentialHybrid(input_dim=5, quantum_dim=2, output_dim=3, n_modes=4, n_photons=2)


class Counts(Callback):
    """Logs the number of each step, and of each validation, beside what the model logs."""

    def __init__(self):
        self.validations = 0
        self.monitored = []

    def on_train_batch_end(self, trainer, *_):
        log_values(trainer, {"count/step": float(trainer.global_step)})

    def on_validation_epoch_end(self, trainer, *_):
        if not trainer.sanity_checking:
            self.validations += 1
            log_values(trainer, {"count/validation": float(self.validations), "count/half": 0.5})

    def on_validation_end(self, trainer, *_):
        self.monitored.append(trainer.callback_metrics.get("count/validation", torch.zeros(())))


def test_values_stand_where_the_model_logs_its_own(tmp_path, data, make_trainer):
    board, table = TensorBoardLogger(tmp_path, name="board"), CSVLogger(tmp_path, name="table")
    counts = Counts()
    make_trainer([counts], logger=[board, table], max_epochs=3).fit(sequential(), data)
    events = EventAccumulator(board.log_dir, size_guidance={"scalars": 0})
    events.Reload()
    points = {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in ("val/loss", "count/validation", "count/step", "count/half")
    }
    at = [step for step, _ in points["val/loss"]]
    assert points["count/validation"] == list(zip(at, [1.0, 2.0, 3.0], strict=True))
    assert points["count/half"] == [(step, 0.5) for step in at]
    assert points["count/step"] == [(step - 1, step) for step in range(1, at[-1] + 2)]
    rows = list(csv.DictReader((Path(table.log_dir) / "metrics.csv").open()))
    found = [(int(r["step"]), float(r["count/validation"])) for r in rows if r["count/validation"]]
    assert found == points["count/validation"]
    assert [float(r["epoch"]) for r in rows if r["count/validation"]] == [0.0, 1.0, 2.0]
    # as EarlyStopping and checkpoints see them, which come after
    assert [value.item() for value in counts.monitored[-3:]] == [1.0, 2.0, 3.0]


def test_what_a_killed_run_has_logged_is_in_its_file(tmp_path, data, make_trainer):
    table = CSVLogger(tmp_path, name="table", flush_logs_every_n_steps=1000)
    found = []

    class Killed(Callback):
        def on_train_batch_start(self, trainer, model, batch, batch_idx):
            if batch_idx == 3:
                found.extend(csv.DictReader((Path(table.log_dir) / "metrics.csv").open()))

    make_trainer([Counts(), Killed()], logger=table).fit(sequential(), data)
    assert [float(row["count/step"]) for row in found] == [1.0, 2.0, 3.0]


def test_other_callbacks_can_monitor_a_value(data, make_trainer):
    stop = EarlyStopping("count/half", patience=2)  # it never improves
    trainer = make_trainer([Counts(), stop], max_epochs=10)
    trainer.fit(sequential(), data)
    assert trainer.current_epoch == 3


@pytest.mark.parametrize("shape", [(1, 1, 3), (40, 70, 3)])
def test_a_picture_arrives_unchanged(tmp_path, shape):
    picture = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    board = TensorBoardLogger(tmp_path)
    show_picture(board, "some/picture", picture, 7)
    board.finalize("success")
    events = EventAccumulator(board.log_dir, size_guidance={"images": 0})
    events.Reload()
    (event,) = events.Images("some/picture")
    assert (event.step, event.height, event.width) == (7, *shape[:2])
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(event.encoded_image_string))), picture)
