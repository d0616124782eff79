"""Does the chip in a twin help? An ablation study for each of several simulated chips.

    OMP_NUM_THREADS=1 python recipes/chip_ablation.py --modes 3 --devices 1 2 3 4 5

Each chip is measured once. The twin is fitted anew with each seed, and so are models with something
else behind the same heaters: a linear layer, a classical block of as many parameters, a chip whose
splitters and losses stay as designed. The score is the mean amplitude fidelity of settings that
were not fitted; a difference below `--margin` does not matter.
"""

from __future__ import annotations

import argparse
import warnings
from statistics import mean

from lightning.pytorch import seed_everything

from hybridlit.analysis import ablation_study
from hybridlit.templates.chip.chip_twin import ChipTwin
from hybridlit.templates.chip.data import ChipDataModule
from hybridlit.words import piped


def main(arguments: list[str] | None = None) -> list[list[str]]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--modes", type=int, default=3)
    parser.add_argument("--rows", type=int, default=250, help="three fifths of them are fitted")
    parser.add_argument("--devices", type=int, nargs="+", default=[1], help="seeds of chips")
    parser.add_argument("--seeds", type=int, default=5, help="trainings of each arm")
    parser.add_argument("--arms", nargs="+", default=["linear", "mlp", "untrained"])
    parser.add_argument("--epochs", type=int, default=150)
    parser.add_argument("--margin", type=float, default=0.001)
    parser.add_argument("--baselines", action="store_true", help="models of scikit-learn, too")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    rows = []
    for device in options.devices:
        seed_everything(0, verbose=False)
        chip = {"modes": options.modes, "seed": device}
        data = ChipDataModule(simulated=chip, rows=options.rows, batch_size=64)
        study = ablation_study(
            ChipTwin(
                options.modes, find_epochs=30, classical_lr=0.02, quantum_lr=0.02, schedule="cosine"
            ),
            data,
            retrained=options.arms,
            posthoc=False,
            seeds=options.seeds,
            max_epochs=options.epochs,
            margin=options.margin,
            baselines=options.baselines,
            progress=lambda line: print(line, flush=True),
        )
        print(study, flush=True)
        for arm in study.retrained:
            score = f"{mean(arm.scores):.4f}, lowest {min(arm.scores):.4f}"
            rows.append([str(device), arm.name, score, str(arm.parameters), arm.said])
    print("\n" + piped(["device", "arm", study.metric, "parameters", "the chip beside it"], rows))
    return rows


if __name__ == "__main__":
    main()
