"""One run at a time writes into a folder, and a killed one keeps nobody out."""

import os
import signal
import subprocess
import sys
import time

import pytest

from hybridlit import SequentialHybrid, SklearnDataModule
from hybridlit.resume import lock as module
from hybridlit.resume.checkpoint import HybridCheckpoint
from hybridlit.resume.folder import own_folder
from hybridlit.resume.lock import FolderLock

pytestmark = pytest.mark.skipif(module.fcntl is None, reason="needs record locks")

HOLD = """
import sys, time
from hybridlit.resume.lock import FolderLock
lock = FolderLock(sys.argv[1])
assert lock.take()
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def other():
    """Let another process hold a folder; what is returned kills it."""
    started = []

    def hold(folder):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout.readline() == "held\n"

        def end():
            process.send_signal(signal.SIGKILL)
            process.wait()

        return end

    yield hold
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_a_folder_is_held_until_it_is_released_or_its_process_is_killed(tmp_path, other):
    folder = tmp_path / "a" / "c"
    kill = other(folder)
    mine = FolderLock(str(folder))
    assert not mine.take() and "process" in mine.owner
    kill()
    assert mine.take() and list(folder.iterdir()) == [folder / ".in-use"]
    again = FolderLock(str(tmp_path / "a" / ".." / "a" / "c"))
    assert not again.take() and "this one" in again.owner
    mine.release()
    assert again.take()
    again.release()
    assert list(folder.iterdir()) == []  # made by the other one


def test_what_was_made_for_the_lock_alone_goes_again(tmp_path):
    lock = FolderLock(str(tmp_path / "a" / "b"))
    assert lock.take()
    lock.release()
    assert list(tmp_path.iterdir()) == []
    assert lock.take()
    (tmp_path / "a" / "file").touch()
    lock.release()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["file"]


def test_where_there_are_no_locks_a_warning_says_so(tmp_path, monkeypatch):
    def unsupported(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(module.fcntl, "lockf", unsupported)
    with pytest.warns(UserWarning, match=r"cannot be locked \(No locks available\)"):
        assert FolderLock(str(tmp_path)).take()
    monkeypatch.setattr(module, "fcntl", None)
    with pytest.warns(UserWarning, match=r"cannot be locked \(this system has no"):
        assert FolderLock(str(tmp_path)).take()


@pytest.mark.slow
def test_a_folder_that_somebody_is_writing_into(tmp_path, other):
    wanted = str(tmp_path / "checkpoints")
    kill = other(wanted)
    with pytest.raises(
        ValueError, match=r"in use by another run \(process \d+ on .*another folder"
    ):
        own_folder(wanted, given=True, resumed=False)
    with pytest.raises(ValueError, match="in use by another run"):
        own_folder(wanted, given=True, resumed=True)
    for resumed in (False, True):
        folder, lock = own_folder(wanted, given=False, resumed=resumed)
        assert folder == f"{wanted}-1"
        lock.release()
    kill()
    folder, lock = own_folder(wanted, given=True, resumed=False)
    assert folder == wanted
    lock.release()


def test_a_run_that_goes_on_in_an_earlier_folder_takes_the_next_number(tmp_path):
    wanted = tmp_path / "checkpoints"
    for name in ("checkpoints", "checkpoints-3"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.ckpt").touch()
    for resumed in (False, True):
        folder, lock = own_folder(str(wanted), given=False, resumed=resumed)
        assert folder == f"{wanted}-4"
        lock.release()
    assert not (tmp_path / "checkpoints-4").exists()
    (tmp_path / "checkpoints-3" / "a.ckpt").unlink()
    folder, lock = own_folder(str(wanted), given=False, resumed=True)
    assert folder == str(wanted)
    lock.release()


TRAIN = """
import sys, time
from lightning.pytorch import Callback, Trainer
from hybridlit import HybridCheckpoint, SequentialHybrid, SklearnDataModule
from pathlib import Path

class Wait(Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == 1:
            Path(sys.argv[2]).touch()
            time.sleep(60)

given = {"dirpath": sys.argv[1]} if sys.argv[3] == "given" else {}
trainer = Trainer(
    max_epochs=1, accelerator="cpu", logger=False, enable_progress_bar=False,
    default_root_dir=str(Path(sys.argv[1]).parent),
    callbacks=[Wait(), HybridCheckpoint(every_n_steps=1, **given)],
)
model = SequentialHybrid(input_dim=4, output_dim=3, quantum_dim=2, n_modes=4, n_photons=2)
trainer.fit(model, SklearnDataModule("iris"))
"""


@pytest.mark.slow
@pytest.mark.parametrize("given", [True, False])
def test_the_second_of_two_runs_at_once(given, tmp_path, make_trainer):
    data = SklearnDataModule("iris")

    def make_model():
        return SequentialHybrid(input_dim=4, output_dim=3, quantum_dim=2, n_modes=4, n_photons=2)

    folder, sign = tmp_path / "checkpoints", tmp_path / "begun"
    words = [str(folder), str(sign), "given" if given else "not"]
    first = subprocess.Popen([sys.executable, "-c", TRAIN, *words])
    deadline = time.monotonic() + 300
    while not sign.exists() and time.monotonic() < deadline:
        assert first.poll() is None
        time.sleep(0.05)
    try:
        kept = HybridCheckpoint(dirpath=str(folder) if given else None)
        trainer = make_trainer([kept], enable_checkpointing=True)
        for resume in (None, folder / "step00000001.ckpt"):
            if given:
                with pytest.raises(ValueError, match="is in use by another run"):
                    trainer.fit(make_model(), data, ckpt_path=resume)
            elif resume is None:
                trainer.fit(make_model(), data)
                assert kept.dirpath == f"{folder}-1"
        assert sorted(os.listdir(folder)) == [".in-use", "step00000001.ckpt"]
    finally:
        first.kill()
        first.wait()
    last = make_trainer([HybridCheckpoint(dirpath=str(folder))], enable_checkpointing=True)
    last.fit(make_model(), data, ckpt_path=folder / "step00000001.ckpt")
    assert ".in-use" not in os.listdir(folder) and "last.ckpt" in os.listdir(folder)
