import errno
import os
import signal
import warnings

import pytest
import torch
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.plugins import AsyncCheckpointIO
from torch.utils.data import DataLoader

from hybridlit import SequentialHybrid
from hybridlit.resume.checkpoint import HybridCheckpoint
from hybridlit.resume.checkpoint_io import DurableCheckpointIO
from hybridlit.resume.durable import damage, save_durably


@pytest.fixture
def fit(tmp_path, data, make_model, make_trainer):
    """Train; 4 batches an epoch, with validation."""

    def fit(*callbacks, resume=None, model=None, loaders=None, **options):
        trainer = make_trainer(callbacks, enable_checkpointing=True, **options)
        trainer.fit(model or make_model(), **(loaders or dict(datamodule=data)), ckpt_path=resume)
        return trainer

    return fit


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def steps(folder):
    return {p.name: torch.load(p, weights_only=True)["global_step"] for p in folder.iterdir()}


class Scores(LightningModule):
    """Logs given validation losses, one after the other."""

    def __init__(self, scores, name="val/loss"):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.scores = list(scores)
        self.name = name

    def training_step(self, batch, batch_idx):
        loss = self.layer(batch).square().mean()
        self.log("train/loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        if batch_idx == 0 and not self.trainer.sanity_checking:
            self.log(self.name, self.scores.pop(0))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def rows(count=4):
    return DataLoader(torch.ones(count, 1))


def loaders():
    return dict(train_dataloaders=rows(), val_dataloaders=rows(1))


def test_best_and_last_are_ordinary_checkpoints(tmp_path, fit, data):
    kept = HybridCheckpoint(dirpath=str(tmp_path / "c"))
    trainer = fit(kept, max_epochs=3)
    best, last = sorted((tmp_path / "c").iterdir())
    assert best.name.startswith("best-epoch") and last.name == "last.ckpt"
    assert trainer.checkpoint_callback is kept
    assert kept.best_model_path == str(best) and kept.last_model_path == str(last)
    for path in (best, last):
        assert damage(path) is None
        SequentialHybrid.load_from_checkpoint(path)
    (tested,) = trainer.test(datamodule=data, ckpt_path="best", verbose=False)
    assert "test/loss" in tested
    (validated,) = trainer.validate(datamodule=data, ckpt_path="best", verbose=False)
    assert validated["val/loss"] == pytest.approx(kept.best_model_score.item())


@pytest.mark.parametrize(
    ("mode", "k", "scores", "epochs"),
    [
        ("min", 1, [3, 1, 2, 1], [1]),
        ("max", 1, [3, 1, 4, 1], [2]),
        ("min", 2, [3, 1, 2, 5], [1, 2]),
        ("max", 2, [3, 1, 2, 5], [0, 3]),
        ("min", 3, [float("nan"), 2, float("nan"), 1], [1, 3]),
        ("min", 1, [float("inf"), float("nan"), 7, float("inf")], [2]),
        ("min", 1, [float("nan")] * 4, []),
        ("min", 0, [1, 2, 3, 4], []),
    ],
)
def test_which_are_best(tmp_path, fit, mode, k, scores, epochs):
    kept = HybridCheckpoint(mode=mode, save_top_k=k, dirpath=str(tmp_path / "c"))
    fit(kept, model=Scores(scores), loaders=loaders(), max_epochs=4)
    best = [f"best-epoch{e:03d}-step{4 * e + 4}.ckpt" for e in epochs]
    assert names(tmp_path / "c") == [*best, "last.ckpt"]
    assert {os.path.basename(path) for path in kept.best_k_models} == set(best)
    if best:
        choose = min if mode == "min" else max
        score = choose(scores[e] for e in epochs)
        assert kept.best_model_score.item() == score
        assert kept.best_model_path.endswith(f"step{4 * scores.index(score) + 4}.ckpt")
    else:
        assert kept.best_model_path == "" and kept.best_model_score is None


def test_a_value_of_an_earlier_validation_is_not_considered_again(tmp_path, fit):
    kept = HybridCheckpoint(save_top_k=3, dirpath=str(tmp_path / "c"))
    fit(kept, model=Scores([2, 1]), loaders=loaders(), max_epochs=4, check_val_every_n_epoch=2)
    best = ["best-epoch001-step8.ckpt", "best-epoch003-step16.ckpt"]
    assert names(tmp_path / "c") == [*best, "last.ckpt"]


def test_validations_amid_the_epoch(tmp_path, fit):
    kept = HybridCheckpoint(dirpath=str(tmp_path / "c"))
    fit(kept, model=Scores([2, 3, 1, 4]), loaders=loaders(), max_epochs=2, val_check_interval=0.5)
    assert steps(tmp_path / "c") == {"best-epoch001-step6.ckpt": 6, "last.ckpt": 8}


def test_amid_an_accumulated_step_only_the_best_is_saved(tmp_path, fit):
    kept = HybridCheckpoint(on_exception=False, dirpath=str(tmp_path / "c"))
    stop = Stop("on_train_epoch_end", 2, RuntimeError())
    with pytest.raises(RuntimeError):  # validated after batch 3 of 4
        fit(stop, kept, val_check_interval=3, accumulate_grad_batches=2)
    assert steps(tmp_path / "c") == {"best-epoch000-step1.ckpt": 1}


def test_a_training_value_can_be_monitored_without_validation(tmp_path, fit):
    kept = HybridCheckpoint("train/loss", dirpath=str(tmp_path / "c"))
    fit(kept, model=Scores([]), loaders=dict(train_dataloaders=rows()), max_epochs=3)
    assert names(tmp_path / "c") == ["best-epoch002-step12.ckpt", "last.ckpt"]


def test_without_validation_the_last_one_is_kept(tmp_path, fit):
    kept = HybridCheckpoint(dirpath=str(tmp_path / "c"))
    fit(kept, model=Scores([]), loaders=dict(train_dataloaders=rows()))
    assert names(tmp_path / "c") == ["last.ckpt"] and kept.best_model_path == ""


def test_a_training_value_of_the_epoch_with_validations_amid_it(tmp_path, fit):
    kept = HybridCheckpoint("train/loss", dirpath=str(tmp_path / "c"))
    fit(kept, model=Scores([1, 2, 3, 4]), loaders=loaders(), max_epochs=2, val_check_interval=0.5)
    assert steps(tmp_path / "c") == {"best-epoch001-step8.ckpt": 8, "last.ckpt": 8}


@pytest.mark.parametrize("monitor", ["val/loss", "train/loss"])
@pytest.mark.filterwarnings("error:No best checkpoint")
def test_a_run_without_any_best_checkpoint_is_told(monitor, tmp_path, fit):
    def train(scores=(), **data):
        kept = HybridCheckpoint(monitor, dirpath=str(tmp_path / f"c{len(scores)}"))
        fit(kept, model=Scores(scores), loaders=data or loaders())

    if monitor == "val/loss":
        with pytest.raises(UserWarning, match="'val/loss' was never logged, or always NaN"):
            train(train_dataloaders=rows())
        with pytest.raises(UserWarning, match="'val/loss' was never logged, or always NaN"):
            train([float("nan")])
    else:
        train(train_dataloaders=rows())


def test_a_misspelt_monitor_is_an_error_and_the_work_is_saved(tmp_path, fit):
    kept = HybridCheckpoint("val/los", dirpath=str(tmp_path / "c"))
    with pytest.raises(ValueError, match=r"monitor='val/los' was not logged.*'val/loss'"):
        fit(kept, model=Scores([1]), loaders=loaders())
    assert steps(tmp_path / "c") == {"last.ckpt": 4}


def test_periodic_checkpoints_rotate(tmp_path, fit):
    kept = HybridCheckpoint(
        every_n_steps=3, keep=2, save_last=False, save_top_k=0, dirpath=str(tmp_path / "c")
    )
    fit(kept, max_epochs=4)
    assert steps(tmp_path / "c") == {"step00000012.ckpt": 12, "step00000015.ckpt": 15}


@pytest.mark.parametrize("accumulate", [1, 2, 3])
def test_periodic_checkpoints_count_optimizer_steps(tmp_path, fit, accumulate):
    kept = HybridCheckpoint(every_n_steps=2, keep=99, dirpath=str(tmp_path / "c"))
    trainer = fit(kept, max_epochs=3, accumulate_grad_batches=accumulate)
    written = [n for n in steps(tmp_path / "c").values() if not n % 2]
    assert trainer.global_step == 3 * -(-4 // accumulate)
    expected = list(range(2, trainer.global_step + 1, 2))
    files = [f"step{step:08d}.ckpt" for step in expected]
    assert [n for n in names(tmp_path / "c") if n.startswith("step")] == files
    assert set(expected) <= set(written)


class Stop(Callback):
    """Interrupts training after some steps."""

    def __init__(self, hook, step, error):
        self.step, self.error = step, error
        setattr(self, hook, self.stop)

    def stop(self, trainer, *_):
        if trainer.global_step == self.step and not trainer.sanity_checking:
            if isinstance(self.error, int):
                os.kill(os.getpid(), self.error)
            else:
                raise self.error


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (RuntimeError("bomb"), RuntimeError),
        (KeyboardInterrupt(), SystemExit),
        (SystemExit(3), SystemExit),
        (signal.SIGTERM, SystemExit),
    ],
)
def test_an_interrupted_run_is_saved(tmp_path, fit, error, raised):
    kept = HybridCheckpoint(dirpath=str(tmp_path / "c"))
    handler = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(raised):
            fit(Stop("on_train_batch_start", 6, error), kept, max_epochs=3)
    finally:
        signal.signal(signal.SIGINT, handler)  # Lightning leaves it ignored
    path = tmp_path / "c" / "interrupted.ckpt"
    assert kept.last_model_path == str(path)
    saved = torch.load(path, weights_only=True)["global_step"]
    assert saved == (7 if error is signal.SIGTERM else 6)  # which ends the step first
    trainer = fit(HybridCheckpoint(dirpath=str(tmp_path / "c")), resume=path, max_epochs=3)
    assert trainer.global_step == 12 and trainer.current_epoch == 3


def test_nothing_is_saved_twice_or_before_the_first_step(tmp_path, fit):
    kept = HybridCheckpoint(dirpath=str(tmp_path / "c"))
    with pytest.raises(RuntimeError):
        fit(Stop("on_train_batch_start", 0, RuntimeError()), kept)
    assert not (tmp_path / "c").exists()
    with pytest.raises(RuntimeError):
        fit(Stop("on_train_epoch_start", 4, RuntimeError()), kept, max_epochs=2)
    assert "interrupted.ckpt" not in names(tmp_path / "c")


def test_an_ended_fit_leaves_no_validation_behind(tmp_path, fit):
    class Fails(Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            raise OSError("after the validation, before it is looked at")

    kept = HybridCheckpoint(dirpath=str(tmp_path / "c"), on_exception=False)
    with pytest.raises(OSError, match="before it is looked at"):
        fit(Fails(), kept, model=Scores([1.0]), loaders=loaders(), max_epochs=1)
    fit(kept, model=Scores([]), loaders=dict(train_dataloaders=rows()), max_epochs=1)
    assert names(tmp_path / "c") == ["last.ckpt"]


def test_an_interruption_without_a_new_step_saves_nothing(tmp_path, fit):
    for number, hook in enumerate(("on_train_batch_start", "on_after_backward")):
        kept = HybridCheckpoint(last_share=None, dirpath=str(tmp_path / f"c{number}"))
        with pytest.raises(RuntimeError):  # in the first batch after last.ckpt
            fit(Stop(hook, 4, RuntimeError()), kept, max_epochs=2)
        assert "interrupted.ckpt" not in names(tmp_path / f"c{number}")


def test_a_best_one_amid_an_accumulated_step_is_not_all(tmp_path, fit):
    kept = HybridCheckpoint(dirpath=str(tmp_path / "c"))
    with pytest.raises(RuntimeError):  # in batch 4, which would have completed the second step
        fit(AfterValidation(), kept, val_check_interval=3, accumulate_grad_batches=2)
    assert steps(tmp_path / "c") == {"best-epoch000-step1.ckpt": 1, "interrupted.ckpt": 1}


class AfterValidation(Callback):
    """Interrupts the first batch after a validation."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if batch_idx == 3:
            raise RuntimeError


def test_no_run_is_resumed_unasked(tmp_path, fit):
    with pytest.raises(RuntimeError):
        fit(Stop("on_train_batch_start", 2, RuntimeError()), HybridCheckpoint())
    assert (tmp_path / "checkpoints" / "interrupted.ckpt").exists()
    trainer = fit(HybridCheckpoint())
    assert trainer.global_step == 4


def test_on_exception_can_be_switched_off(tmp_path, fit):
    kept = HybridCheckpoint(on_exception=False, dirpath=str(tmp_path / "c"))
    with pytest.raises(RuntimeError):
        fit(Stop("on_train_batch_start", 2, RuntimeError()), kept)
    assert not (tmp_path / "c").exists()


def test_a_full_disk_stops_the_run_and_keeps_what_there_is(tmp_path, fit, monkeypatch):
    kept = HybridCheckpoint(dirpath=str(tmp_path / "c"))
    fit(kept, max_epochs=1)
    before = {path: path.read_bytes() for path in (tmp_path / "c").iterdir()}

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    again = HybridCheckpoint(dirpath=str(tmp_path / "c"))
    with (
        pytest.raises(OSError, match=r"cannot save .*: No space left on device"),
        pytest.warns(UserWarning, match="interrupted state could not be saved: .*No space left"),
    ):
        fit(again, resume=tmp_path / "c" / "last.ckpt", max_epochs=2)
    assert {path: path.read_bytes() for path in (tmp_path / "c").iterdir()} == before
    assert again.best_model_path in map(str, before)


def test_a_new_run_never_touches_the_files_of_another(tmp_path, fit):
    folder = str(tmp_path / "c")
    fit(HybridCheckpoint(dirpath=folder))
    before = {path: path.read_bytes() for path in (tmp_path / "c").iterdir()}
    with pytest.raises(ValueError, match="holds checkpoints of another run"):
        fit(HybridCheckpoint(dirpath=folder))
    fit(HybridCheckpoint(dirpath=str(tmp_path / "d")))
    with pytest.raises(ValueError, match="holds checkpoints of another run"):
        fit(HybridCheckpoint(dirpath=folder), resume=tmp_path / "d" / "last.ckpt", max_epochs=2)
    assert {path: path.read_bytes() for path in (tmp_path / "c").iterdir()} == before


def test_going_back_in_the_same_folder_is_told(tmp_path, fit):
    def train(resume=None, epochs=3):
        kept = HybridCheckpoint(every_n_steps=4, dirpath=str(tmp_path / "c"))
        fit(kept, resume=resume and tmp_path / "c" / resume, max_epochs=epochs)

    train()
    message = r"begins with step 4, and .*c holds checkpoints of later ones: .*step00000012.ckpt"
    with pytest.warns(UserWarning, match=message):
        train("step00000004.ckpt")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*of later ones.*")
        train("last.ckpt", epochs=4)


def test_folders_that_nobody_has_named_are_new(tmp_path, fit, caplog):
    for folder in ("checkpoints", "checkpoints-1", "checkpoints-2"):
        kept = HybridCheckpoint()
        fit(kept)
        assert kept.dirpath == str(tmp_path / folder) and "last.ckpt" in names(tmp_path / folder)
        assert (f"saving to {tmp_path / folder}" in caplog.text) == (folder != "checkpoints")
    logger = CSVLogger(tmp_path, name="run")
    fit(HybridCheckpoint(), logger=logger)
    assert "last.ckpt" in names(tmp_path / "run" / "version_0" / "checkpoints")


def test_a_second_fit_of_the_same_trainer_goes_on_in_its_folder(
    tmp_path, data, make_model, make_trainer
):
    kept = HybridCheckpoint(dirpath=str(tmp_path / "c"))
    trainer = make_trainer([kept], enable_checkpointing=True)
    model = make_model()
    trainer.fit(model, data)
    trainer.fit_loop.max_epochs = 2
    trainer.fit(model, data)
    assert steps(tmp_path / "c")["last.ckpt"] == 8


def test_another_trainer_is_another_run(tmp_path, fit):
    kept = HybridCheckpoint(save_top_k=2)
    before = {}
    for number, scores in enumerate(([1, 2], [4, 3])):
        logger = CSVLogger(tmp_path, name="run")
        fit(kept, model=Scores(scores), loaders=loaders(), max_epochs=2, logger=logger)
        folder = tmp_path / "run" / f"version_{number}" / "checkpoints"
        assert kept.best_model_score.item() == min(scores) and len(names(folder)) == 3
        assert {os.path.dirname(path) for path in kept.best_k_models} == {str(folder)}
        assert {path: path.read_bytes() for path in before} == before
        before = {path: path.read_bytes() for path in folder.iterdir()}


def test_another_trainer_does_not_overwrite_a_given_folder(tmp_path, fit):
    kept = HybridCheckpoint(dirpath=str(tmp_path / "c"))
    fit(kept)
    with pytest.raises(ValueError, match="holds checkpoints of another run"):
        fit(kept)


def test_resuming_elsewhere_keeps_the_best_of_before(tmp_path, fit):
    fit(
        HybridCheckpoint(dirpath=str(tmp_path / "a")),
        model=Scores([2, 1]),
        loaders=loaders(),
        max_epochs=2,
    )
    kept = HybridCheckpoint(dirpath=str(tmp_path / "b"))
    last = tmp_path / "a" / "last.ckpt"
    fit(kept, resume=last, model=Scores([3]), loaders=loaders(), max_epochs=3)
    assert kept.best_model_path == str(tmp_path / "a" / "best-epoch001-step8.ckpt")
    assert kept.best_model_score.item() == 1 and names(tmp_path / "b") == ["last.ckpt"]
    further = HybridCheckpoint(dirpath=str(tmp_path / "c"))
    last = tmp_path / "b" / "last.ckpt"
    fit(further, resume=last, model=Scores([0]), loaders=loaders(), max_epochs=4)
    assert names(tmp_path / "a") == ["best-epoch001-step8.ckpt", "last.ckpt"]
    assert names(tmp_path / "c") == ["best-epoch003-step16.ckpt", "last.ckpt"]


def test_a_best_checkpoint_that_is_gone_is_told(tmp_path, fit):
    kept = HybridCheckpoint(dirpath=str(tmp_path / "a"))
    fit(kept)
    os.remove(kept.best_model_path)
    again = HybridCheckpoint(dirpath=str(tmp_path / "a"))
    with pytest.warns(UserWarning, match=r"no longer there: best-epoch000-step4.ckpt"):
        fit(again, resume=tmp_path / "a" / "last.ckpt", max_epochs=2)


@pytest.mark.parametrize("how", ["flipped", "truncated", "empty"])
def test_a_damaged_checkpoint_is_replaced_by_the_newest_good_one(tmp_path, fit, how):
    folder = tmp_path / "c"
    fit(HybridCheckpoint(every_n_steps=3, keep=9, dirpath=str(folder)), max_epochs=2)
    for path in folder.glob("*step8.ckpt"):
        path.unlink()
    content = bytearray((folder / "last.ckpt").read_bytes())
    content[9000] ^= 1
    cut = {"flipped": len(content), "truncated": 20000, "empty": 0}[how]
    (folder / "last.ckpt").write_bytes(content[:cut])
    kept = HybridCheckpoint(dirpath=str(folder))
    with pytest.warns(UserWarning, match=r"last.ckpt is damaged.*Resuming from .*step00000006"):
        trainer = fit(kept, resume=folder / "last.ckpt", max_epochs=3)
    assert trainer.global_step == 12


def test_a_test_never_uses_another_file(tmp_path, fit, data, make_model):
    kept = HybridCheckpoint(dirpath=str(tmp_path / "c"))
    trainer = fit(kept)
    content = bytearray((tmp_path / "c" / "last.ckpt").read_bytes())
    content[9000] ^= 1
    (tmp_path / "c" / "last.ckpt").write_bytes(content)
    with pytest.raises(RuntimeError, match=r"last.ckpt is damaged: its checksum differs"):
        trainer.test(make_model(), data, ckpt_path=tmp_path / "c" / "last.ckpt")


def test_if_no_checkpoint_is_good_the_error_says_so(tmp_path, fit):
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "last.ckpt").touch()
    kept = HybridCheckpoint(dirpath=str(tmp_path / "c"))
    with pytest.raises(RuntimeError, match=r"is damaged: the file is empty; and .*Start anew"):
        fit(kept, resume=tmp_path / "c" / "last.ckpt")


def test_last_means_the_last_one_of_the_folder(tmp_path, fit):
    folder = str(tmp_path / "c")
    fit(HybridCheckpoint(dirpath=folder))
    trainer = fit(HybridCheckpoint(dirpath=folder), resume="last", max_epochs=2)
    assert trainer.global_step == 8


def test_leftovers_of_killed_runs_are_removed(tmp_path, fit):
    left = tmp_path / "c" / ".last.ckpt.0123abcd.unfinished"
    left.parent.mkdir()
    left.write_bytes(b"half")
    fit(HybridCheckpoint(dirpath=str(tmp_path / "c")))
    assert not left.exists()


def test_an_ordinary_lightning_checkpoint_still_loads(
    tmp_path, fit, data, make_model, make_trainer
):
    trainer = make_trainer()
    trainer.fit(make_model(), data)
    trainer.save_checkpoint(tmp_path / "old.ckpt")
    again = fit(
        HybridCheckpoint(dirpath=str(tmp_path / "c")), resume=tmp_path / "old.ckpt", max_epochs=2
    )
    assert again.global_step == 8


def test_another_writer_is_left_in_place_and_told(tmp_path, fit):
    kept = HybridCheckpoint(dirpath=str(tmp_path / "c"))
    with pytest.warns(UserWarning, match="written by AsyncCheckpointIO, so HybridCheckpoint"):
        fit(kept, plugins=[AsyncCheckpointIO()])


def test_a_trial_run_saves_nothing(tmp_path, fit):
    fit(HybridCheckpoint(every_n_steps=1, dirpath=str(tmp_path / "c")), fast_dev_run=True)
    assert not (tmp_path / "c").exists()


def test_the_state_is_plain(tmp_path, fit):
    fit(HybridCheckpoint(dirpath=str(tmp_path / "c")))
    state = torch.load(tmp_path / "c" / "last.ckpt", weights_only=True)["callbacks"]
    (name,) = (path.name for path in (tmp_path / "c").glob("best*"))
    assert list(state["HybridCheckpoint"]["best"]) == [name]


@pytest.mark.parametrize(
    ("share", "saved"), [(None, [4, 8, 12, 16]), (0.0, [4, 16]), (0.999, [4, 8, 12, 16])]
)
def test_the_last_one_is_not_saved_too_often_and_always_at_the_end(
    tmp_path, fit, monkeypatch, share, saved
):
    found = []
    original = DurableCheckpointIO.save_checkpoint

    def note(self, checkpoint, path, storage_options=None):
        found.append(checkpoint["global_step"])
        original(self, checkpoint, path, storage_options)

    monkeypatch.setattr(DurableCheckpointIO, "save_checkpoint", note)
    fit(HybridCheckpoint(save_top_k=0, last_share=share, dirpath=str(tmp_path / "c")), max_epochs=4)
    assert found == saved
    assert steps(tmp_path / "c") == {"last.ckpt": 16}


def test_the_last_one_is_of_the_end_where_a_run_stops_early(tmp_path, fit):
    kept = HybridCheckpoint(save_top_k=0, last_share=0.0, dirpath=str(tmp_path / "c"))
    stop = EarlyStopping("train/loss", stopping_threshold=9.0)
    trainer = fit(stop, kept, max_epochs=9)
    assert trainer.current_epoch < 9
    assert steps(tmp_path / "c") == {"last.ckpt": trainer.global_step}
    kept = HybridCheckpoint(save_top_k=0, last_share=0.0, dirpath=str(tmp_path / "d"))
    trainer = fit(kept, max_epochs=9, max_steps=10)
    assert steps(tmp_path / "d") == {"last.ckpt": 10}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (dict(last_share=1.0), ValueError, "last_share must be at least 0 and below 1"),
        (dict(last_share="x"), TypeError, "last_share must be a number"),
        (dict(mode="least"), ValueError, "mode must be one of"),
        (dict(save_top_k=-1), ValueError, "save_top_k must be at least 0"),
        (dict(every_n_steps=0), ValueError, "every_n_steps must be at least 1"),
        (dict(keep=0), ValueError, "keep must be at least 1"),
        (dict(keep=1.5), TypeError, "keep must be an integer"),
        (dict(save_last="yes"), TypeError, "save_last must be True or False"),
        (dict(on_exception=1), TypeError, "on_exception must be True or False"),
        (dict(monitor=None), TypeError, "monitor must be a string"),
        (dict(save_top_k=0, save_last=False, on_exception=False), ValueError, "save nothing"),
    ],
)
def test_bad_arguments(options, error, message):
    with pytest.raises(error, match=message):
        HybridCheckpoint(**options)


def test_remote_folders_are_refused(fit):
    with pytest.raises(ValueError, match="needs a local folder, got 'memory://c'"):
        fit(HybridCheckpoint(dirpath="memory://c"))


def test_a_leftover_of_another_kind_is_no_checkpoint(tmp_path, fit):
    save_durably({"state_dict": {}}, tmp_path / "c" / "photonic.pt")
    fit(HybridCheckpoint(dirpath=str(tmp_path / "c")))
    assert "photonic.pt" in names(tmp_path / "c")
