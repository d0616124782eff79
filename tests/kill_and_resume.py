"""Kill a training run at random moments, resume it each time, and compare it with one left alone.

    python tests/kill_and_resume.py --kills 50 --seed 0

A process that has imported everything, and trained nothing, forks a child for each attempt, and
kills it with SIGKILL: after a random time, or as soon as a checkpoint is being written. What is
left is resumed from `newest_checkpoint`. Now and then the newest file is damaged on purpose.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import Callback, Trainer

from hybridlit import ArrayDataModule, ParallelHybrid
from hybridlit.callbacks.alternating import AlternatingTraining
from hybridlit.callbacks.gradient_imbalance import GradientImbalanceMonitor
from hybridlit.callbacks.overfitting import OverfittingDetector
from hybridlit.resume.checkpoint import HybridCheckpoint
from hybridlit.resume.durable import damage
from hybridlit.resume.exact_resume import ExactResume
from hybridlit.resume.folder import newest_checkpoint

COMPARED = ("epoch", "global_step", "state_dict", "optimizer_states", "lr_schedulers", "callbacks")


class FirstBatch(Callback):
    """Tells the parent that training has begun."""

    def __init__(self, sign):
        self.sign = sign

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.sign.touch()


class Noisy(ParallelHybrid):
    """Draws from every generator there is."""

    def training_step(self, batch, batch_idx):
        inputs, targets = batch
        noise = random.gauss(0, 0.01) + float(np.random.standard_normal()) / 100
        return super().training_step((inputs + noise, targets), batch_idx)


def train(folder: Path, workers: int, epochs: int) -> None:
    """Train to the end, from the newest checkpoint in `folder/checkpoints` if there is one."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    checkpoints = folder / "checkpoints"
    resume = newest_checkpoint(checkpoints) if any(checkpoints.glob("*.ckpt")) else None
    seed = 0 if resume is None else int(time.time())  # a resumed run must not depend on it
    torch.manual_seed(seed), random.seed(seed), np.random.seed(seed % 2**32)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(100, 6, generator=generator)
    y = (x[:, 0] * x[:, 1] > 0).long() + (x[:, 2] > 0).long()
    model = Noisy(
        input_dim=6,
        output_dim=3,
        n_modes=4,
        n_photons=2,
        dropout=0.2,
        normalization="standard",
        schedule="cosine",
        warmup_epochs=1,
    )
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        accumulate_grad_batches=2,
        gradient_clip_val=1.0,
        val_check_interval=0.5,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        callbacks=[
            AlternatingTraining(classical_steps=3, quantum_steps=1),
            GradientImbalanceMonitor(every_n_steps=3),
            OverfittingDetector(every_n_steps=9, probe_batches=1, window=2),
            FirstBatch(folder / "begun"),
            ExactResume(),
            HybridCheckpoint(every_n_steps=1, keep=4, dirpath=str(checkpoints)),
        ],
    )
    data = ArrayDataModule(x, y, batch_size=5, num_workers=workers)
    trainer.fit(model, data, ckpt_path=resume)
    trainer.save_checkpoint(folder / "final.pt")


def start(folder: Path, workers: int, epochs: int) -> int:
    """Train in a forked child, a process group of its own, and return its id."""
    (folder / "begun").unlink(missing_ok=True)
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        os.setpgid(0, 0)
        train(folder, workers, epochs)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def ended(child: int) -> int | None:
    """Return the exit status of a child that has ended."""
    done, status = os.waitpid(child, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if done else None


def wait(child: int, until, seconds: float) -> int | None:
    """Wait for something to become true; return the exit status if the child ends before."""
    deadline = time.monotonic() + seconds
    while not until():
        status = ended(child)
        if status is not None:
            return status
        if time.monotonic() > deadline:
            return None
        time.sleep(0.0002)
    return None


def unfinished(folder: Path) -> list[Path]:
    """Return the files that were being written."""
    return [path for path in folder.glob("checkpoints/.*") if path.name.endswith(".unfinished")]


def kill(child: int, folder: Path, dice: random.Random) -> int | None:
    """Kill a child at a random moment; return its exit status if it has ended before."""
    status = wait(child, (folder / "begun").exists, 120)
    pause = dice.uniform(0.0, 1.0)
    if status is None:
        status = wait(child, lambda: False, pause)
    if status is None and dice.random() < 0.6:  # while it is saving
        status = wait(child, lambda: unfinished(folder), 10)
        time.sleep(dice.choice((0.0, 0.0, 0.0005, 0.002)))
    if status is None:
        status = ended(child)
    if status is None:
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return status


def spoil(path: Path, dice: random.Random) -> str:
    """Damage a file as a failing disk would."""
    content = bytearray(path.read_bytes())
    how = dice.choice(("truncated", "flipped", "emptied"))
    if how == "truncated":
        content = content[: dice.randrange(1, len(content))]
    elif how == "flipped":
        content[dice.randrange(len(content) // 2)] ^= 1 << dice.randrange(8)
    else:
        content = bytearray()
    path.write_bytes(content)
    return how


def stamp(path: Path) -> tuple[str, int]:
    """Tell a file from another one of the same name."""
    return path.name, path.stat().st_mtime_ns


def differences(one, other, where: str = "") -> list[str]:
    """Name what is not the same, bit for bit."""
    if type(one) is not type(other):
        return [f"{where}: {type(one).__name__} and {type(other).__name__}"]
    if isinstance(one, torch.Tensor):
        same = one.dtype == other.dtype and one.shape == other.shape
        same = same and one.numpy().tobytes() == other.numpy().tobytes()
        return [] if same else [where]
    if isinstance(one, dict):
        keys = [f"{where}/{key}: in one only" for key in one.keys() ^ other.keys()]
        common = [key for key in one if key in other]
        return keys + [d for k in common for d in differences(one[k], other[k], f"{where}/{k}")]
    if isinstance(one, (list, tuple)):
        if len(one) != len(other):
            return [f"{where}: lengths {len(one)} and {len(other)}"]
        pairs = enumerate(zip(one, other, strict=True))
        return [d for i, (a, b) in pairs for d in differences(a, b, f"{where}/{i}")]
    return [] if repr(one) == repr(other) else [f"{where}: {one!r} and {other!r}"]


def final(folder: Path) -> dict:
    """Load what a finished run has saved."""
    content = torch.load(folder / "final.pt", weights_only=True)
    return {name: content[name] for name in COMPARED}


def alone(folder: Path, workers: int, epochs: int) -> dict:
    """Train without an interruption."""
    folder.mkdir(parents=True)
    child = start(folder, workers, epochs)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status:
        raise SystemExit(f"the uninterrupted run failed with status {status}")
    return final(folder)


def main() -> None:
    """Run the experiment and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message=".*is damaged.*")  # that is the point
    dice, began = random.Random(given.seed), time.monotonic()
    root = Path(tempfile.mkdtemp(prefix="kill_and_resume"))
    kills = saving = before_first = runs = 0
    spoiled: list[str] = []
    faults: list[str] = []
    try:
        expected = alone(root / "alone", given.workers[0], given.epochs)
        steps = expected["global_step"]
        while kills < given.kills:
            folder = root / f"run{runs}"
            folder.mkdir()
            own, damaged = 0, set()
            while True:
                # the attempts of a run take turns in loading data with and without workers
                child = start(folder, given.workers[own % len(given.workers)], given.epochs)
                if kills < given.kills:
                    status = kill(child, folder, dice)
                else:
                    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                if status is not None:
                    if status:
                        faults.append(f"run {runs}: attempt {own + 1} failed with status {status}")
                    break
                kills, own = kills + 1, own + 1
                saving += bool(unfinished(folder))
                files = sorted(folder.glob("checkpoints/*.ckpt"))
                broken = [p for p in files if damage(p) and stamp(p) not in damaged]
                faults += [f"run {runs}: {p.name}: {damage(p)}" for p in broken]
                if not files:
                    before_first += 1
                    continue
                chosen = newest_checkpoint(folder)
                if len(files) > 2 and dice.random() < 0.2:
                    spoiled.append(spoil(chosen, dice))
                    damaged.add(stamp(chosen))
                    other = newest_checkpoint(folder)
                    if other == chosen or damage(other):
                        faults.append(f"run {runs}: a damaged file was chosen: {other}")
            runs += 1
            if (folder / "final.pt").exists():
                found = differences(expected, final(folder))
                faults += [f"run {runs - 1}: differs in {where}" for where in found[:5]]
            print(f"run {runs - 1}: {own} kills, {len(faults)} faults", flush=True)
            shutil.rmtree(folder)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    print(
        f"{kills} kills in {runs} runs of {steps} optimizer steps: {saving} while a checkpoint was "
        f"being written, {before_first} before the first one; newest file damaged on purpose "
        f"{len(spoiled)} times {dict(Counter(spoiled))}; {time.monotonic() - began:.0f} s"
    )
    for fault in faults:
        print("FAULT:", fault)
    if faults:
        raise SystemExit(1)
    print(
        "Every resume succeeded; weights, optimizer, schedules and callbacks of all runs end equal "
        "to the uninterrupted run bit for bit."
    )


if __name__ == "__main__":
    main()
