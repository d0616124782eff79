"""How many settings a twin of a chip needs, beside black boxes and a model of an ideal chip.

    OMP_NUM_THREADS=1 python recipes/chip_settings.py --modes 6 --rows 250 500 1000 2000
    python recipes/chip_settings.py --modes 12 --rows 5000 --models twin ideal

A simulated chip with unknown offsets, responses, crosstalk, reflectivities and losses is measured
at random settings with noise. Then light at unseen settings is predicted: by a `ChipTwin`; by one
that knows no crosstalk and only 50:50 splitters ("ideal"); by networks with as many parameters as
the twin, and with ten times as many ("network"). Their depth, learning rate and inputs (voltages;
or sines and cosines of the phases that these are designed to turn, too) are the best of a grid, by
settings held out; so is the step at which training ends; and what the grid chooses is trained ten
times as long once more. What is held out is also what the twin leaves out. "programmed" is the mean
amplitude fidelity of Haar-random unitaries that come out of the chip at the voltages that a model
finds. With `--out` each model is a line of that file as soon as it is trained, and one that is
there is not trained again, so that a run that was ended goes on.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import time
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

_MODELS = ("twin", "ideal", "network")
_NOISE = 1e-3
_VALIDATION = 0.1
_BATCHES = 2000
_LONGER = 10
"""Times as many batches for the network that the grid chooses."""
_GRID = tuple(itertools.product((1, 2, 3), (1e-3, 5e-3), (False, True)))
"""Hidden layers, learning rates, and whether a network has sines and cosines."""


def main(arguments: list[str] | None = None) -> list[dict[str, object]]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--modes", type=int, default=4)
    parser.add_argument("--rows", type=int, nargs="+", default=[250, 500, 1000])
    parser.add_argument("--devices", type=int, nargs="+", default=[0], help="seeds of chips")
    parser.add_argument("--models", nargs="+", choices=_MODELS, default=[*_MODELS])
    parser.add_argument("--targets", type=int, default=20, help="unitaries to program")
    parser.add_argument("--batches", type=int, default=_BATCHES, help="of a search or a network")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 10], help="of networks")
    parser.add_argument("--out", type=Path, help="a file of a line for each model, to go on with")
    parser.add_argument("--picture", type=Path, help="a file for matplotlib, such as twin.png")
    options = parser.parse_args(arguments)
    found = []
    for device, rows in itertools.product(options.devices, options.rows):
        found += compared(options, device, rows)
    header = list(dict.fromkeys(itertools.chain(*found)))
    print("\n" + piped(header, [[str(row.get(name, "")) for name in header] for row in found]))
    if options.picture:
        draw(found, options.picture)
    return found


def compared(options: argparse.Namespace, device: int, rows: int) -> list[dict[str, object]]:
    """Return the scores of each model that is trained on so many settings of one chip."""
    chip = SimulatedChip(options.modes, device)
    draws = torch.Generator().manual_seed(device)
    data = ChipDataModule(
        chip.table(rows, _NOISE, draws), val_fraction=_VALIDATION, test_fraction=0.0, seed=device
    )
    settings, light = chip.settings(1000, draws)
    unseen = torch.cat([settings, light], 1).float(), chip.measure(settings, light, noise=0.0)
    parameters = sum(p.numel() for p in ChipTwin(options.modes).parameters())
    sizes = options.sizes if "network" in options.models else []
    found = []
    for name in [n for n in options.models if n != "network"] + [f"network x{n}" for n in sizes]:
        key = {
            "modes": options.modes, "device": device, "rows": rows, "model": name,
            "batches": options.batches, "targets": options.targets,
        }  # fmt: skip
        row = known(options.out, key)
        if row is None:
            began, about = time.process_time(), {}
            model: ChipTwin | Network
            if name.startswith("network"):
                size = int(name.removeprefix("network x"))
                model, about["chosen"] = network(data, size * parameters, options.batches, device)
            else:
                model = own = twin(data, options.batches, device, ideal=name == "ideal")
                about["programmed"] = programmed(own, chip, options)
            about["seconds"] = f"{time.process_time() - began:.0f}"
            row = key | predicted(model, unseen) | about
            print(" ".join(f"{name} {value}" for name, value in row.items()), flush=True)
            if options.out:
                with options.out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
        found.append(row)
    return found


def known(path: Path | None, key: dict[str, object]) -> dict[str, object] | None:
    """Return the line of a file that is of this model, or None."""
    if path is None or not path.exists():
        return None
    lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return next((line for line in lines if key.items() <= line.items()), None)


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

    def __init__(
        self, heaters: int, modes: int, parameters: int, hidden: int, circular: bool
    ) -> None:
        super().__init__()
        self.heaters, self.circular = heaters, circular
        inputs = (3 if circular else 1) * heaters + modes
        # parameters = square * width**2 + linear * width + modes
        square, linear = hidden - 1, inputs + hidden + modes
        root = math.sqrt(linear**2 + 4 * square * (parameters - modes))
        exact = (root - linear) / (2 * square) if square else (parameters - modes) / linear
        widths = [inputs] + [max(1, round(exact))] * hidden
        layers: list[nn.Module] = []
        for one, other in itertools.pairwise(widths):
            layers += [nn.Linear(one, other), nn.SiLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], modes), nn.Softplus())

    def forward(self, x: Tensor) -> Tensor:
        """Return powers, (batch, modes)."""
        turned = 2 * math.pi * x[:, : self.heaters] ** 2
        inputs = [x, turned.sin(), turned.cos()] if self.circular else [x]
        found: Tensor = self.layers(torch.cat(inputs, 1))
        return found


def network(data: ChipDataModule, parameters: int, batches: int, seed: int) -> tuple[Network, str]:
    """Return the best of a grid by the settings held out, trained long, and its setting."""
    sizes = data.heaters, data.modes, parameters
    tried = {}
    for hidden, rate, circular in _GRID:
        torch.manual_seed(seed)
        model = Network(*sizes, hidden, circular)
        tried[hidden, rate, circular] = trained(model, data, rate, batches), model
    setting = min(tried, key=lambda each: tried[each][0])
    lowest, best = tried[setting]
    hidden, rate, circular = setting
    torch.manual_seed(seed)
    again = Network(*sizes, hidden, circular)
    if trained(again, data, rate, _LONGER * batches) < lowest:
        best = again
    return best.eval(), f"{hidden} hidden, rate {rate:g}{', circular' * circular}"


def trained(model: Network, data: ChipDataModule, rate: float, batches: int) -> float:
    """Train a network, leave it at its best, and return its error of the settings held out."""
    assert data.train is not None and data.val is not None
    (x, y), (held, truth) = data.train, data.val
    best, kept = math.inf, {}
    optimizer = torch.optim.AdamW(model.parameters(), rate, weight_decay=1e-3, fused=True)
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
    model.load_state_dict(kept)
    return best


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
    found = program(model.classical_pre, model.chip, wanted, model.limits)
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
