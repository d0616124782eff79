"""Worker processes outlive a SIGTERM that all processes of a job get at once."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from hybridlit.data.resumable import EndedByParentOnly, ResumableLoader

pytestmark = pytest.mark.skipif(
    not hasattr(signal, "sigwaitinfo"), reason="the system does not tell who sends a signal"
)


class Processes(Dataset):
    """Its items are the process that reads them."""

    def __len__(self):
        return 40

    def __getitem__(self, index):
        return os.getpid()


def terminate(process):
    """Send SIGTERM from another process, as a job manager does."""
    subprocess.run(["kill", "-TERM", "--", str(process)], check=True)


def note(worker):
    torch.manual_seed(100 + worker)


@pytest.mark.parametrize("kind", [ResumableLoader, DataLoader])
def test_workers_end_if_their_parent_says_so(kind):
    started = {} if kind is ResumableLoader else {"worker_init_fn": EndedByParentOnly()}
    batches = iter(kind(Processes(), batch_size=1, num_workers=1, **started))
    worker = int(next(batches))
    assert worker != os.getpid()
    terminate(worker)
    time.sleep(0.2)
    assert [int(next(batches)) for _ in range(20)] == [worker] * 20
    os.kill(worker, signal.SIGTERM)
    deadline = time.monotonic() + 300
    while multiprocessing.active_children() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert multiprocessing.active_children() == []


def test_what_the_user_does_at_the_start_of_a_worker_is_done():
    class Drawn(Processes):
        def __getitem__(self, index):
            return torch.initial_seed()

    loader = DataLoader(Drawn(), num_workers=1, worker_init_fn=EndedByParentOnly(note))
    assert int(next(iter(loader))) == 100


RUN = """
import sys, time, torch
from pathlib import Path
from lightning.pytorch import Callback, Trainer
from hybridlit import ArrayDataModule, ExactResume, HybridCheckpoint, SequentialHybrid

class Slow(Callback):
    def on_after_backward(self, trainer, pl_module):
        if trainer.global_step == 3:
            Path(sys.argv[1], "begun").touch()
            end = time.monotonic() + 300
            # the signal comes in the midst of a step
            while not Path(sys.argv[1], "sent").exists() and time.monotonic() < end:
                time.sleep(0.05)

x = torch.randn(600, 5)
trainer = Trainer(
    max_epochs=9, accelerator="cpu", logger=False, enable_progress_bar=False,
    default_root_dir=sys.argv[1], callbacks=[Slow(), ExactResume(), HybridCheckpoint()],
)
model = SequentialHybrid(input_dim=5, output_dim=2, quantum_dim=2, n_modes=4, n_photons=2)
data = ArrayDataModule(x, (x[:, 0] > 0).long(), batch_size=6, num_workers=2)
trainer.fit(model, data)
print("ran to the end")
"""


@pytest.mark.slow
def test_sigterm_to_all_processes_lets_the_step_be_finished(tmp_path):
    command = [sys.executable, "-c", RUN, str(tmp_path)]
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process = subprocess.Popen(command, start_new_session=True, **pipes)
    try:
        deadline = time.monotonic() + 300
        while not (tmp_path / "begun").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        terminate(-process.pid)
        (tmp_path / "sent").touch()
        out, err = process.communicate(timeout=300)
    finally:
        process.kill()
    assert "DataLoader worker" not in err and "Traceback" not in err, err
    assert "ran to the end" not in out
    saved = torch.load(tmp_path / "checkpoints" / "interrupted.ckpt", weights_only=True)
    assert saved["global_step"] == 4
