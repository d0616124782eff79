"""What `hybridlit/internals/lightning.py` takes for granted of Lightning, in runs of two epochs."""

import copy
from types import SimpleNamespace

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.trainer.states import RunningStage
from torch import nn
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from hybridlit.internals import lightning as internals


class Model(pl.LightningModule):
    def __init__(self, scheduler=None):
        super().__init__()
        self.layer = nn.Linear(2, 1)
        self.scheduler = scheduler

    def training_step(self, batch, batch_idx):
        loss = self.layer(batch[0]).square().mean()
        self.log("loss", loss, on_step=False, on_epoch=True, batch_size=2)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val", self.layer(batch[0]).mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Notes(Callback):
    """Calls functions in hooks, and keeps what they return."""

    def __init__(self, **hooks):
        self.found = []
        for name, function in hooks.items():
            setattr(self, name, lambda trainer, *_, f=function: self.found.append(f(trainer)))


def loader(batches=4):
    return DataLoader(TensorDataset(torch.arange(4.0 * batches).view(-1, 2)), batch_size=2)


def fit(tmp_path, *callbacks, model=None, ckpt_path=None, data=None, **settings):
    trainer = pl.Trainer(
        **{"max_epochs": 2, "num_sanity_val_steps": 0, **settings},
        callbacks=list(callbacks),
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        default_root_dir=tmp_path,
    )
    val = None if isinstance(data, pl.LightningDataModule) else loader(1)
    trainer.fit(model or Model(), data or loader(), val, ckpt_path=ckpt_path)
    return trainer


def saved(tmp_path, hook, occasion=0, **settings):
    """A checkpoint that was saved in the n-th call of a hook, and its counters."""
    path = tmp_path / "saved.ckpt"
    calls = []

    def save(trainer):
        if len(calls) == occasion:
            trainer.save_checkpoint(path)
        calls.append(None)

    fit(tmp_path, Notes(**{hook: save}), **settings)
    content = torch.load(path, weights_only=True)
    return content, internals.fit_loop_of(content)


# --- loops ----------------------------------------------------------------------------------------


def test_batches_are_counted_in_the_epoch_and_in_the_run(tmp_path):
    def both(trainer):
        return internals.batch_index(trainer), internals.total_batch_index(trainer)

    notes = Notes(on_train_start=both, on_train_batch_end=both)
    fit(tmp_path, notes)
    assert notes.found == [(-1, -1), *[(i, i) for i in range(4)], *[(i, i + 4) for i in range(4)]]


def test_epochs_that_are_through(tmp_path):
    notes = Notes(
        on_train_start=internals.epochs_done,
        on_train_batch_end=internals.epochs_done,
        on_fit_end=internals.epochs_done,
    )
    fit(tmp_path, notes)
    assert notes.found == [(0, False), *[(0, True)] * 4, *[(1, True)] * 4, (2, False)]


@pytest.mark.parametrize(("interval", "batches"), [(0.5, 2), (3, 3), (1.0, 4), ({"days": 1}, None)])
def test_batches_until_validation(tmp_path, interval, batches):
    notes = Notes(on_train_start=internals.batches_until_validation)
    fit(tmp_path, notes, val_check_interval=interval, max_epochs=1)
    assert notes.found == [batches]


def test_training_data_can_be_loaded_before_the_run(tmp_path):
    class Early(Callback):
        def setup(self, trainer, pl_module, stage):
            self.before = trainer.train_dataloader

        def on_fit_start(self, trainer, pl_module):
            internals.load_training_data(trainer)
            self.loader = trainer.train_dataloader

        def on_train_start(self, trainer, pl_module):
            assert trainer.train_dataloader is self.loader

    early = Early()
    fit(tmp_path, early)
    assert early.before is None
    assert len(early.loader) == 4


def test_logged_results_are_sums_with_weights(tmp_path):
    def look(trainer):
        (result,) = internals.logged_results(trainer).values()
        assert result.meta.name == "loss"
        assert result.meta.on_epoch and result.meta.is_mean_reduction and result.is_tensor
        assert not result.has_reset
        return result.value.item(), int(result.cumulated_batch_size)

    notes = Notes(on_train_batch_end=look)
    trainer = fit(tmp_path, notes, max_epochs=1)
    assert [weight for _, weight in notes.found] == [2, 4, 6, 8]
    value, weight = notes.found[-1]
    assert trainer.callback_metrics["loss"].item() == pytest.approx(value / weight)


def test_what_an_epoch_has_logged_before(tmp_path):
    class Asking(Model):
        def training_step(self, batch, batch_idx):
            before = internals.has_logged(self, "loss")
            loss = super().training_step(batch, batch_idx)
            asked.append((before, internals.has_logged(self, "loss")))
            return loss

    asked = []
    fit(tmp_path, model=Asking())
    assert asked == [(False, True), *[(True, True)] * 3] * 2
    assert not internals.has_logged(Model(), "loss")


def test_the_hook_under_way_is_noted_as_an_attribute(tmp_path):
    class Noting(Model):
        def __setattr__(self, name, value):
            noted.append((name, value))
            super().__setattr__(name, value)

        def on_train_batch_end(self, *_):
            seen.append(getattr(self, internals.HOOK_NAME))

    noted, seen = [], []
    fit(tmp_path, model=Noting(), max_epochs=1)
    assert seen == ["on_train_batch_end"] * 4
    assert noted.count((internals.HOOK_NAME, "training_step")) == 4


def test_a_hook_that_cannot_be_called_is_passed_over(tmp_path):
    notes = Notes(on_train_batch_end=lambda _: 1, on_before_zero_grad=lambda _: 2)
    own = notes.on_before_zero_grad
    internals.call_again(notes, "on_before_zero_grad")  # nothing has been passed over
    assert notes.on_before_zero_grad is own
    internals.pass_over(notes, "on_before_zero_grad")
    fit(tmp_path, notes, max_epochs=1)
    assert notes.found == [1] * 4
    internals.call_again(notes, "on_before_zero_grad")
    assert notes.on_before_zero_grad.__func__ is Callback.on_before_zero_grad


def test_log_now_reaches_loggers_at_once(tmp_path):
    rows = []

    class Logger(pl.loggers.logger.DummyLogger):
        def log_metrics(self, metrics, step=None):
            rows.append((dict(metrics), step))

    def log(trainer):
        before = len(rows)
        internals.log_now(trainer, {"ours": torch.tensor(2.0)})
        assert len(rows) == before + 1
        return rows[-1]

    notes = Notes(on_train_batch_end=log)
    trainer = pl.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=Logger(),
        callbacks=[notes],
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    trainer.fit(Model(), loader(2))
    # `log_metrics` comes at the number of batches that stepped, this one not among them
    assert [(row["ours"], row["epoch"], step) for row, step in notes.found] == [
        (2, 0, 0),
        (2, 0, 1),
    ]


def test_attached_trainer(tmp_path):
    model = Model()
    assert internals.attached_trainer(model) is None
    trainer = fit(tmp_path, model=model)
    assert internals.attached_trainer(model) is trainer
    assert internals.attached_trainer(copy.deepcopy(model)) is None


def test_gets_weights_alone():
    options = dict(accelerator="cpu", devices=2, logger=False, enable_checkpointing=False)
    for strategy, expected in (("ddp_spawn", True), ("ddp", False)):
        trainer = pl.Trainer(strategy=strategy, **options)
        assert internals.gets_weights_alone(trainer) is expected
    assert not internals.gets_weights_alone(pl.Trainer(**options | {"devices": 1}))


def test_attached_data(tmp_path):
    found = []

    class Asks(Model):
        def configure_callbacks(self):
            found.append(internals.attached_data(self.trainer))
            return []

    module = pl.LightningDataModule()
    module.train_dataloader = loader
    one, model = loader(), Asks()
    trainer = fit(tmp_path, model=model, data=one, max_epochs=0)
    model.test_step = model.validation_step
    model.predict_step = lambda batch, batch_idx: batch[0]
    trainer.test(model, one, verbose=False)
    trainer.predict(model, one)
    fit(tmp_path, model=model, data=module, max_epochs=0)
    assert found[:3] == [one, one, one] and found[3] is module


def test_noted_arguments():
    noted = internals.noted_arguments()
    assert noted.get() is None
    token = noted.set({"given": 3, internals.CLASS_PATH: "a.B"})

    class Keeps(pl.LightningModule):
        def __init__(self, given):
            super().__init__()
            self.save_hyperparameters()

    try:
        assert Keeps(4).hparams[internals.CLASS_PATH] == "a.B"
    finally:
        noted.reset(token)
    assert dict(Keeps(4).hparams) == {"given": 4}


# --- counters and restarts ------------------------------------------------------------------------


def test_counters_say_where_a_checkpoint_was_saved(tmp_path):
    _, loops = saved(tmp_path, "on_train_start")
    assert not internals.has_begun(loops)
    assert not internals.epoch_ended(loops)
    _, loops = saved(tmp_path, "on_train_batch_end", 1)
    assert internals.has_begun(loops)
    assert internals.batch_ended(loops)
    assert not internals.epoch_ended(loops)
    _, loops = saved(tmp_path, "on_before_zero_grad", 1)
    assert not internals.batch_ended(loops)
    _, loops = saved(tmp_path, "on_train_epoch_end")
    assert internals.epoch_ended(loops)


def resumed_batches(tmp_path, content, **settings):
    """Numbers of the epoch and of the batch that a resumed run computes."""
    path = tmp_path / "changed.ckpt"
    torch.save(content, path)
    notes = Notes(on_train_batch_start=lambda t: (t.current_epoch, internals.batch_index(t)))
    fit(tmp_path, notes, ckpt_path=path, **settings)
    return notes.found


def test_stand_after_makes_a_run_go_on_behind_a_batch(tmp_path):
    content, loops = saved(tmp_path, "on_before_zero_grad", 3)
    internals.stand_after(loops, 2)
    left = [(0, 2), (0, 3), *[(1, i) for i in range(4)]]
    assert resumed_batches(tmp_path, content) == left


def test_reopen_epoch_and_complete_epoch(tmp_path):
    content, loops = saved(tmp_path, "on_train_epoch_end", max_steps=2, max_epochs=-1)
    assert internals.epoch_ended(loops)
    internals.reopen_epoch(loops)
    assert not internals.epoch_ended(loops)
    assert resumed_batches(tmp_path, content)[:2] == [(0, 2), (0, 3)]
    _, loops = saved(tmp_path, "on_train_epoch_end")
    assert loops["epoch_progress"]["current"]["completed"] == 0
    internals.complete_epoch(loops)
    assert loops["epoch_progress"]["current"]["completed"] == 1
    assert internals.epoch_ended(loops)


def test_validate_anew_lets_a_validation_begin_with_its_first_batch(tmp_path):
    content, loops = saved(tmp_path, "on_validation_batch_end", val_check_interval=2)
    internals.validate_anew(loops)
    seen = Notes(on_validation_batch_start=lambda t: internals.batch_index(t))
    path = tmp_path / "changed.ckpt"
    torch.save(content, path)
    fit(tmp_path, seen, ckpt_path=path, val_check_interval=2)
    assert len(seen.found) == 4  # none is left out


def test_states_of_loaders_that_have_one(tmp_path):
    class Counting(DataLoader):
        def state_dict(self):
            return {"position": 7}

        def load_state_dict(self, state):
            self.loaded = state

    data = Counting(loader().dataset, batch_size=2)
    content, loops = saved(tmp_path, "on_train_batch_end", 1, data=data)
    assert internals.loader_states(loops) == [{"position": 7}]
    path = tmp_path / "changed.ckpt"
    torch.save(content, path)
    again = Counting(loader().dataset, batch_size=2)
    fit(tmp_path, data=again, ckpt_path=path)
    assert again.loaded == {"position": 7}
    assert internals.loader_states(saved(tmp_path, "on_train_batch_end", 1)[1]) == []


def test_resumed_behind_batch_until_the_restart_ends(tmp_path):
    saved(tmp_path, "on_train_batch_end", 1)

    def end(trainer):
        before = internals.resumed_behind_batch(trainer)
        internals.end_restart(trainer)
        return before, trainer.fit_loop.restarting

    notes = Notes(on_train_start=internals.resumed_behind_batch, on_train_batch_end=end)
    fit(tmp_path, notes, ckpt_path=tmp_path / "saved.ckpt")
    assert notes.found[0] is True
    assert all(restarting is False for _, restarting in notes.found[1:])


def test_runs_and_epochs_can_begin_anew(tmp_path):
    saved(tmp_path, "on_train_batch_end", 1)

    def begin(trainer):
        loop = trainer.fit_loop
        before = loop.restarting, loop.epoch_loop.restarting
        internals.begin_epoch_anew(trainer)
        between = loop.restarting, loop.epoch_loop.restarting
        internals.begin_run_anew(trainer)
        return before, between, (loop.restarting, loop.epoch_loop.restarting)

    notes = Notes(on_train_start=begin)
    fit(tmp_path, notes, ckpt_path=tmp_path / "saved.ckpt")
    assert notes.found == [((True, True), (True, False), (False, False))]


def test_a_scheduler_step_is_counted(tmp_path):
    def count(trainer):
        internals.count_scheduler_step(trainer)
        progress = trainer.fit_loop.epoch_loop.scheduler_progress.total
        return progress.ready, progress.completed

    notes = Notes(on_train_start=count)
    fit(tmp_path, notes)
    assert notes.found == [(1, 1)]


@pytest.mark.parametrize("rows", [2, 27, 28, 31])
def test_samplers_of_an_evaluation_repeat_no_row(rows):
    def sampled(rank, mode, own=False):
        class Connector:
            def _prepare_dataloader(self, loader, shuffle, mode):
                return loader if own else DataLoader(loader.dataset, 4, sampler=sampler)

        sampler = DistributedSampler(range(rows), num_replicas=3, rank=rank, shuffle=False)
        trainer = SimpleNamespace(_data_connector=Connector(), train_dataloader=None)
        internals.evaluate_rows_once(trainer)
        internals.evaluate_rows_once(trainer)  # as for a second fit
        given = DataLoader(range(rows), 4, sampler=sampler if own else None)
        found = trainer._data_connector._prepare_dataloader(given, False, mode)
        return [row for batch in found for row in batch.tolist()]

    def of_all(mode, own=False):
        return sorted(row for rank in range(3) for row in sampled(rank, mode, own))

    padded = sorted([*range(rows), *range(-rows % 3)])
    for mode in (RunningStage.VALIDATING, RunningStage.SANITY_CHECKING, RunningStage.TESTING):
        assert of_all(mode) == (list(range(rows)) if rows >= 3 else padded)
        assert of_all(mode, own=True) == padded  # a sampler of the user is his
    assert of_all(RunningStage.TRAINING) == padded
