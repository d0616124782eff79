"""How well are the numbers of a chip found? Twins of several simulated chips, beside the truth.

    OMP_NUM_THREADS=1 python recipes/chip_numbers.py --modes 4 --rows 1000 --devices 20 21 22 23
    OMP_NUM_THREADS=1 python recipes/chip_numbers.py --modes 6 --rows 2000 --measured coincidences

A line for each chip and seed: how the fit has ended, and the seconds of processor time that it
took. Then, of all fits that have converged, how many numbers have the truth within their 95 %
interval.
"""

from __future__ import annotations

import argparse
import time
import warnings

from lightning.pytorch import Trainer, seed_everything

from hybridlit.analysis import chip_study
from hybridlit.analysis.silence import lightning_silenced
from hybridlit.photonics.chip_layer import MEASURED
from hybridlit.templates.chip.chip_twin import ChipTwin
from hybridlit.templates.chip.data import ChipDataModule
from hybridlit.words import piped


def main(arguments: list[str] | None = None) -> dict[str, tuple[int, int]]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--modes", type=int, default=4)
    parser.add_argument("--rows", type=int, default=1000, help="all of which are fitted")
    parser.add_argument("--devices", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of the twins")
    parser.add_argument("--measured", choices=list(MEASURED), default="intensities")
    parser.add_argument("--indistinguishability", type=float, default=0.92, help="of two photons")
    parser.add_argument("--photons", type=float, help="counts of so many a row, instead of powers")
    parser.add_argument("--epochs", type=int, default=150)
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    rows, covered = [], dict[str, tuple[int, int]]()
    for device in options.devices:
        chip = {"modes": options.modes, "seed": device, "measured": options.measured}
        if MEASURED[options.measured].lights > 1:
            chip["indistinguishability"] = options.indistinguishability
        for seed in options.seeds:
            seed_everything(seed, verbose=False)
            data = ChipDataModule(
                simulated=chip,
                rows=options.rows,
                photons=options.photons,
                seed=device,
                val_fraction=0.0,
                test_fraction=0.0,
            )
            twin = ChipTwin(
                options.modes,
                measured=options.measured,
                likelihood="poisson" if options.photons else "gaussian",
            )
            begun = time.process_time()
            with lightning_silenced():
                Trainer(
                    max_epochs=options.epochs,
                    accelerator="cpu",
                    logger=False,
                    enable_checkpointing=False,
                    enable_progress_bar=False,
                    enable_model_summary=False,
                ).fit(twin, data)
            taken = time.process_time() - begun
            study = chip_study(twin, data, unitaries=0)
            searches, misfit = int(twin.course.start) + 1, float(twin.course.misfit)
            row = [str(device), str(seed), str(searches), f"{misfit:.3f}", f"{taken:.0f}"]
            if "overlap" in study.numbers:
                row.append(f"{study.numbers['overlap'].learned.item():.4f}")
            print(*row, flush=True)
            rows.append(row)
            for each in study.numbers.values() if study.converged else ():
                inside, of = each.covered
                before = covered.get(each.name, (0, 0))
                covered[each.name] = before[0] + inside, before[1] + of
    head = ["device", "seed", "searches", "misfit", "seconds", "indistinguishability"]
    print("\n" + piped(head[: len(rows[0])], rows))
    shares = [[n, str(of), f"{inside / of:.1%}"] for n, (inside, of) in covered.items() if of]
    print("\n" + piped(["of the chip", "numbers", "truth within 95 %"], shares))
    return covered


if __name__ == "__main__":
    main()
