"""How many settings does it take to follow a chip that has drifted, and how many from scratch?

    OMP_NUM_THREADS=1 python recipes/chip_drift.py --rows 6 12 24 60 120

Offsets of a simulated chip drift; a twin that knew the chip is fitted to a few new settings, and
another one from scratch to the same. The table has the total variation of unseen settings.
"""

from __future__ import annotations

import argparse
import warnings

import torch
from lightning.pytorch import Trainer, seed_everything

from hybridlit.analysis.silence import lightning_silenced
from hybridlit.templates.chip.chip_twin import ChipTwin
from hybridlit.templates.chip.data import ChipDataModule
from hybridlit.templates.chip.metrics import TotalVariation
from hybridlit.templates.chip.simulated import SimulatedChip
from hybridlit.words import piped

UNSEEN = 1000


@torch.no_grad()
def distance(twin: ChipTwin, chip: SimulatedChip) -> str:
    """Return the total variation of unseen settings."""
    settings, light = chip.settings(UNSEEN, torch.Generator().manual_seed(5))
    metric = TotalVariation()
    inputs = torch.cat([settings, light], 1).to(twin.dtype)
    metric.update(twin(inputs), chip.measure(settings, light, noise=0.0))
    return f"{metric.compute():.4f}"


def fitted(twin: ChipTwin, data: ChipDataModule, epochs: int) -> ChipTwin:
    with lightning_silenced():
        Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        ).fit(twin, data)
    return twin


def main(arguments: list[str] | None = None) -> list[list[str]]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--modes", type=int, default=3)
    parser.add_argument("--rows", type=int, nargs="+", default=[6, 12, 24, 60, 120])
    parser.add_argument("--drift", type=float, default=0.1, help="of offsets, in radians")
    parser.add_argument("--drifts", type=int, nargs="+", default=[2, 3], help="seeds of drifts")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    table = []
    for rows in options.rows:
        for seed in options.drifts:
            chip, known = SimulatedChip(options.modes, seed=1), ChipTwin(options.modes)
            known.load_state_dict(chip.true, strict=False)
            draws = torch.Generator().manual_seed(seed)
            offset = chip.heaters.offset
            offset.add_(options.drift * torch.randn(offset.shape, generator=draws).double())
            before = distance(known, chip)
            new = chip.table(rows, 1e-3, draws)
            data = ChipDataModule(new, val_fraction=0.0, test_fraction=0.0)
            seed_everything(seed, verbose=False)
            followed, anew = fitted(known, data, 20), fitted(ChipTwin(options.modes), data, 2000)
            row = [str(rows), str(seed), before, distance(followed, chip), distance(anew, chip)]
            print(*row, flush=True)
            table.append(row)
    print("\n" + piped(["settings", "drift", "before", "followed", "from scratch"], table))
    return table


if __name__ == "__main__":
    main()
