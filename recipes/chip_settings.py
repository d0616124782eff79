"""How many settings a twin of a chip needs, beside black boxes and a model of an ideal chip.

    OMP_NUM_THREADS=1 python recipes/chip_settings.py --modes 6 --rows 250 500 1000 2000
    python recipes/chip_settings.py --modes 12 --rows 5000 --boxes 0  # the twin, the ideal alone

A simulated chip with unknown offsets, responses, crosstalk, reflectivities and losses is measured
at random settings with noise. Then light at unseen settings is predicted: by a `ChipTwin`; by one
that knows no crosstalk and only 50:50 splitters ("ideal"); by the best of networks with as many
parameters as the twin and with ten times as many, of two learning rates each, on voltages, sines
and cosines of the phases that they are designed to turn, and the input ("network"). The share of
the settings that choose among networks is also what the twin leaves out. "programmed" is the mean
amplitude fidelity of Haar-random unitaries that come out of the chip at the voltages that a model
finds.
"""

from __future__ import annotations

import argparse
import itertools
import math
import warnings
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import Trainer, seed_everything
from scipy.stats import unitary_group
from torch import Tensor, nn

from hybridlit.analysis.silence import lightning_silenced
from hybridlit.templates.chip.chip_twin import ChipTwin
from hybridlit.templates.chip.data import ChipDataModule
from hybridlit.templates.chip.metrics import AmplitudeFidelity, TotalVariation
from hybridlit.templates.chip.programming import program
from hybridlit.templates.chip.simulated import SimulatedChip
from hybridlit.templates.chip.steering import amplitude_fidelity
from hybridlit.words import piped

_NOISE = 1e-3
_VALIDATION = 0.1
_BATCHES = 2000


def main(arguments: list[str] | None = None) -> list[dict[str, object]]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--modes", type=int, default=4)
    parser.add_argument("--rows", type=int, nargs="+", default=[250, 500, 1000])
    parser.add_argument("--seeds", type=int, default=1, help="chips, from seed 0")
    parser.add_argument("--targets", type=int, default=20, help="unitaries to program")
    parser.add_argument("--batches", type=int, default=_BATCHES, help="of a search or a network")
    parser.add_argument("--boxes", type=int, default=2, help="sizes of networks, 0 to 2")
    parser.add_argument("--picture", type=Path, help="a file for matplotlib, such as twin.png")
    options = parser.parse_args(arguments)
    found: list[dict[str, object]] = []
    for seed, rows in itertools.product(range(options.seeds), options.rows):
        for scores in compared(options, seed, rows):
            found.append({"seed": seed, "rows": rows, **scores})
            print(" ".join(f"{name} {value}" for name, value in found[-1].items()), flush=True)
    header = list(found[0])
    print("\n" + piped(header, [[str(row.get(name, "")) for name in header] for row in found]))
    if options.picture:
        draw(found, options.picture)
    return found


def compared(options: argparse.Namespace, seed: int, rows: int) -> list[dict[str, object]]:
    """Return the scores of each model that is trained on so many settings of one chip."""
    chip = SimulatedChip(options.modes, seed)
    draws = torch.Generator().manual_seed(seed)
    data = ChipDataModule(
        chip.table(rows, _NOISE, draws), val_fraction=_VALIDATION, test_fraction=0.0, seed=seed
    )
    settings, light = chip.settings(1000, draws)
    unseen = torch.cat([settings, light], 1).float(), chip.measure(settings, light, noise=0.0)
    found = []
    for name in ("twin", "ideal"):
        model = twin(data, options.batches, seed, ideal=name == "ideal")
        scores = predicted(model, unseen)
        found.append({"model": name, **scores, "programmed": programmed(model, chip, options)})
    sizes = [size for size in (1, 10)[: options.boxes]]
    parameters = sum(p.numel() for p in model.parameters()) + chip.heaters.home.numel()
    for size in sizes:
        box = network(data, size * parameters, options.batches, seed)
        found.append({"model": f"network x{size}", **predicted(box, unseen), "programmed": ""})
    return found


def twin(data: ChipDataModule, batches: int, seed: int, *, ideal: bool) -> ChipTwin:
    """Fit a twin; an ideal one by its search alone."""
    seed_everything(seed, verbose=False)
    epochs = math.ceil(batches * data.batch_size / len(data.train[0]))
    crosstalk = "none" if ideal else "dense"
    model = ChipTwin(data.modes, crosstalk=crosstalk, noise=_NOISE, find_epochs=epochs)
    with lightning_silenced(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = Trainer(
            accelerator="cpu", max_epochs=epochs if ideal else 3 * epochs + 90, logger=False,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        trainer.fit(model, data)
    return model.eval()


class Network(nn.Module):
    """Voltages and light -> light, with nothing known of chips but what heaters are built for."""

    def __init__(self, heaters: int, modes: int, parameters: int) -> None:
        super().__init__()
        self.heaters, inputs = heaters, 3 * heaters + modes
        linear = inputs + modes + 1  # of width**2 + linear * width parameters
        width = max(8, round((math.sqrt(linear**2 + 4 * parameters) - linear) / 2))
        self.layers = nn.Sequential(
            nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(),
            nn.Linear(width, modes), nn.Softplus(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Return powers, (batch, modes)."""
        turned = 2 * math.pi * x[:, : self.heaters] ** 2
        found: Tensor = self.layers(torch.cat([x, turned.sin(), turned.cos()], 1))
        return found


def network(data: ChipDataModule, parameters: int, batches: int, seed: int) -> Network:
    """Train networks with two learning rates, and return the best state of both by validation."""
    assert data.train is not None and data.val is not None
    (x, y), (held, truth) = data.train, data.val
    best, kept, chosen = math.inf, {}, Network(data.heaters, data.modes, parameters)
    for rate in (1e-3, 4e-3):
        torch.manual_seed(seed)
        model = Network(data.heaters, data.modes, parameters)
        optimizer = torch.optim.AdamW(model.parameters(), rate, weight_decay=1e-3)
        course = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, batches)
        for step in range(batches):
            picked = torch.randint(len(x), (128,))
            loss = (model(x[picked]) - y[picked]).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            course.step()
            if step % 50 == 49:
                with torch.no_grad():
                    now = float((model(held) - truth).square().mean())
                if now < best:
                    best, kept = now, {k: v.clone() for k, v in model.state_dict().items()}
    chosen.load_state_dict(kept)
    return chosen.eval()


@torch.no_grad()
def predicted(model: nn.Module, unseen: tuple[Tensor, Tensor]) -> dict[str, object]:
    """Return how near predictions for unseen settings are to the chip's light without noise."""
    inputs, truth = unseen
    light = model(inputs)
    found: dict[str, object] = {}
    for name, metric in (
        ("total variation", TotalVariation()),
        ("amplitude fidelity", AmplitudeFidelity()),
    ):
        metric.update(light, truth)
        found[name] = f"{float(metric.compute()):.5f}"
    return found


@torch.no_grad()
def programmed(model: ChipTwin, chip: SimulatedChip, options: argparse.Namespace) -> str:
    """Return the mean fidelity of unitaries that come out of the chip as a model programs it."""
    wanted = unitary_group.rvs(options.modes, size=options.targets, random_state=0)
    wanted = np.reshape(wanted, (options.targets, options.modes, options.modes))
    assert isinstance(model.classical_pre, nn.Module)
    found = program(model.classical_pre, model.quantum_layer, wanted, model.limits)
    true = chip.layer.matrices(chip.heaters(found.voltages))
    return f"{float(amplitude_fidelity(true, torch.from_numpy(wanted)).mean()):.5f}"


def draw(found: list[dict[str, object]], path: Path) -> None:
    """Write total variation over the number of settings, a line for each model."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name in dict.fromkeys(row["model"] for row in found):
        of_model = [row for row in found if row["model"] == name]
        numbers = sorted({int(str(row["rows"])) for row in of_model})
        means = [
            np.mean([float(str(r["total variation"])) for r in of_model if r["rows"] == number])
            for number in numbers
        ]
        axes.loglog(numbers, means, "o-", label=str(name))
    axes.set(xlabel="settings measured", ylabel="total variation at unseen settings")
    axes.legend()
    figure.savefig(path)


if __name__ == "__main__":
    main()
