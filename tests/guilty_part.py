"""Who is named for overfitting, over many seeds, and what freezing the named part is worth.

    python tests/guilty_part.py --seeds 10
    python tests/guilty_part.py --seeds 10 --first 300   # seeds that the rule was not tuned on

In the chain a front of 128 units memorizes 60 rows with a quarter of the labels flipped. Frozen
from the start it cannot; the photonic layer frozen instead, the model memorizes all the same.
"""

from __future__ import annotations

import argparse
import logging
import time
import warnings
from collections import Counter

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn

from hybridlit import ArrayDataModule, ParallelHybrid, SequentialHybrid, SklearnDataModule
from hybridlit.callbacks.overfitting import OverfittingDetector

LOSS = nn.functional.cross_entropy


class ValidationLoss(Callback):
    """The validation loss after the last epoch."""

    last = float("nan")

    def on_validation_end(self, trainer, pl_module):
        self.last = trainer.callback_metrics.get("val/loss", torch.tensor(torch.nan)).item()


class Twins(LightningModule):
    """Two equal branches, added: either memorizes alone, so neither is to blame."""

    def __init__(self):
        super().__init__()
        self.left, self.right = self.branch(), self.branch()

    @staticmethod
    def branch():
        return nn.Sequential(nn.Linear(6, 256), nn.ReLU(), nn.Linear(256, 2))

    def probe_losses(self, batch):
        return LOSS(self.left(batch[0]) + self.right(batch[0]), batch[1], reduction="none")

    def training_step(self, batch, batch_idx):
        return self.probe_losses(batch).mean()

    def validation_step(self, batch, batch_idx):
        pass

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def rows(seed, features, train, val, batch_size, learnable=False):
    """Labels that have little to do with the features, or everything if they are learnable."""
    generator = torch.Generator().manual_seed(seed + 1000)
    x = torch.randn(train + val, features, generator=generator)
    y = (x[:, 0] * x[:, 1] + x[:, 2] / 2 > 0).long()
    if not learnable:
        flipped = torch.rand(train + val, generator=generator) < 0.25
        y = torch.where(flipped, 1 - y, y)
    return ArrayDataModule(
        x[:train],
        y[:train],
        val=(x[train:], y[train:]),
        test_fraction=0.0,
        batch_size=batch_size,
        scaling=None,
    )


def noise(seed, features):
    generator = torch.Generator().manual_seed(seed + 100)
    x = torch.randn(240, features, generator=generator)
    y = torch.randint(2, (240,), generator=generator)
    return ArrayDataModule(
        x[:40], y[:40], val=(x[40:], y[40:]), test_fraction=0.0, batch_size=200, scaling=None
    )


def chain(seed):
    return SequentialHybrid(8, 4, 2, hidden_dim=128, head_dim=4, n_modes=5, n_photons=2), rows(
        seed, 8, train=60, val=400, batch_size=20
    )


def healthy_chain(seed):
    return chain(seed)[0], rows(seed, 8, train=2000, val=400, batch_size=64, learnable=True)


def classical_branch(seed):
    model = ParallelHybrid(
        6,
        2,
        hidden_dims=[512, 512, 8],
        circuit_type="series",
        n_modes=4,
        n_photons=2,
        quantum_output_dim=4,
    )
    return model, noise(seed, 6)


def photonic_branch(seed):
    model = ParallelHybrid(
        8,
        2,
        hidden_dims=[2],
        circuit_type="parallel_columns",
        n_modes=8,
        n_photons=4,
        quantum_output_dim=32,
        quantum_lr=3e-2,
        fusion_dim=4,
    )
    return model, noise(seed, 8)


def twins(seed):
    return Twins(), noise(seed, 6)


def digits(seed):
    model = SequentialHybrid(
        64,
        7,
        10,
        n_modes=8,
        n_photons=3,
        quantum_output_dim=32,
        hidden_dim=64,
        head_dim=64,
        classical_lr=0.01,
        quantum_lr=0.03,
        weight_decay=0.3,
        schedule="cosine",
    )
    return model, SklearnDataModule("digits", batch_size=64)


def healthy_parallel(seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(1500, 6, generator=generator)
    data = ArrayDataModule(x, (x[:, 0] * x[:, 1] + x[:, 2] > 0).long(), batch_size=64)
    return ParallelHybrid(6, 2, circuit_type="series", hidden_dims=[16]), data


# what: (case, who is to be named, every_n_steps, epochs)
CASES = {
    "chain": (chain, "classical_pre", 30, 120),
    "classical branch": (classical_branch, "classical_path", 5, 60),
    "photonic branch": (photonic_branch, "quantum_path", 5, 60),
    "twins": (twins, "nobody", 5, 60),
    "healthy chain": (healthy_chain, "silent", 30, 20),
    "healthy digits": (digits, "silent", 34, 20),
    "healthy parallel": (healthy_parallel, "silent", 30, 12),
}


def fit(case, seed, epochs, detector=None, frozen=None):
    """Train; return the warnings, the last validation loss, and the seconds of the processor."""
    torch.manual_seed(seed)
    model, data = case(seed)
    if frozen is not None:
        getattr(model, frozen).requires_grad_(False)
    loss = ValidationLoss()
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[loss, *([] if detector is None else [detector])],
    )
    began = time.process_time()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.fit(model, data)
    said = [str(w.message) for w in caught if "overfits" in str(w.message)]
    return said, loss.last, time.process_time() - began


def named_in(said):
    """Return who was named, "nobody" if it was said that no single part is to blame, or silent."""
    names = [s.split(" overfits: ")[0] for s in said if " overfits: " in s]
    return " and ".join(names) or ("nobody" if said else "silent")


def who_is_named(what, seeds):
    """Count who was named."""
    case, _, every, epochs = CASES[what]
    return Counter(
        named_in(fit(case, seed, epochs, OverfittingDetector(every_n_steps=every))[0])
        for seed in seeds
    )


def frozen_late_and_early(seed):
    """Return last validation losses of the chain: as it is, freezing, frozen from the start."""
    detector = OverfittingDetector(every_n_steps=30, action="freeze")
    _, freezing, _ = fit(chain, seed, 120, detector)
    others = [
        fit(chain, seed, 120, frozen=part)[1] for part in (None, "classical_pre", "quantum_layer")
    ]
    return detector.frozen, freezing, *others


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=0, help="the first of the seeds")
    parser.add_argument("--cases", nargs="*", choices=[*CASES, "freeze"])
    given = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    seeds = range(given.first, given.first + given.seeds)
    print("| case | expected | named |\n|---|---|---|")
    for what, (_, expected, *_) in CASES.items():
        if not given.cases or what in given.cases:
            found = who_is_named(what, seeds)
            names = ", ".join(f"{name} {n}" for name, n in found.most_common())
            print(f"| {what} | {expected} {given.seeds} | {names} |", flush=True)
    if given.cases and "freeze" not in given.cases:
        return
    print("\nlast validation loss of the chain\n")
    print(
        "| seed | frozen | freeze | front frozen from the start | ratio | photonic layer frozen | "
        "nothing frozen |\n|---|---|---|---|---|---|---|"
    )
    for seed in seeds:
        frozen, late, nothing, front, photonic = frozen_late_and_early(seed)
        print(
            f"| {seed} | {', '.join(frozen) or 'none'} | {late:.3f} | {front:.3f} | "
            f"{late / front:.2f} | {photonic:.3f} | {nothing:.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
