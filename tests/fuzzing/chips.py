"""Cases of twins of chips: arguments, settings and light, against matrices of the circuit."""

from __future__ import annotations

from random import Random

import numpy as np
import torch
from torch import Tensor

from fuzzing.judging import Case
from fuzzing.oracles import (
    check_close,
    check_finite,
    check_gradients,
    check_state_dict,
    in_float64,
    require,
)
from fuzzing.values import Values, drawn, one_of, or_none, real, whole
from hybridlit import ChipTwin
from hybridlit.blocks.heaters import CROSSTALK
from hybridlit.photonics.chip_layer import MEASURED
from hybridlit.templates.chip.likelihoods import LIKELIHOODS
from hybridlit.templates.chip.meshes import MESHES

__all__ = ["KINDS"]

OWN = {
    "modes": whole(2, 4, least=2),
    "heaters": or_none(Values(lambda rng: [1, 0], ([], [0, 0], [-1], [99], ["0"], [0.5], 3, "0"))),
    "mesh": one_of(*MESHES),
    "crosstalk": one_of(*CROSSTALK),
    "measured": one_of(*MEASURED),
    "likelihood": one_of(*LIKELIHOODS),
    "noise": real(1e-4, 0.1, (0.0, -1.0)),
    "limits": or_none(Values(lambda rng: [0.5, 2.0], ([], [1.0], [1.0, 0.5], [-1.0, 1.0], 3, "1"))),
    "full_turn": real(0.5, 5.0, (0.0, -1.0)),
    "indistinguishability": real(0.0, 1.0, (-0.1, 1.1)),
    "find_epochs": or_none(whole(1, 5, least=1)),
    "find_lr": real(1e-3, 0.5, (0.0, -1.0)),
    "starts": whole(1, 4, least=1),
}
_OF_TWO = [name for name, what in MEASURED.items() if what.lights == 2]


def chip_twin(rng: Random) -> Case:
    """A twin with numbers of its own: light of a batch, the loss of some of it, its state dict."""
    given, wrong = drawn(rng, OWN, ("modes",), 0.2, 0.4)
    modes = int(given["modes"]) if wrong != "modes" else 2
    lights = 2 if given.get("measured") in _OF_TWO else 1
    rows = rng.randint(1, 4)
    order = torch.rand(rows, modes).argsort(1)
    light = (order < lights).float() * rng.uniform(0.5, 2.0)
    fault = None
    if wrong is None and rng.random() < 0.1:
        light, fault = torch.ones(rows, modes + 1), "width of x"

    def fresh() -> ChipTwin:
        twin = ChipTwin(**given)
        with torch.no_grad():
            for name, parameter in twin.named_parameters():
                if not name.endswith("overlap"):
                    parameter.add_(0.1 * torch.rand(parameter.shape))
        return twin

    def call() -> tuple[ChipTwin, Tensor, Tensor]:
        twin = fresh()
        x = torch.cat([2 * torch.rand(rows, twin.classical_pre.heaters), light], 1)
        outputs = twin(x)
        measured = outputs.detach().clone()
        measured[0, 0] = torch.nan
        twin.loss(outputs, measured + 0.1).backward()
        return twin, x, outputs.detach()

    def check(result: tuple[ChipTwin, Tensor, Tensor]) -> None:
        twin, x, outputs = result
        require(outputs.shape == (rows, twin.hparams["output_dim"]), "shape of the outputs")
        check_finite(outputs, "outputs")
        check_gradients(twin)
        exact = in_float64(twin)
        with torch.no_grad():
            check_close(outputs, exact(x.double()), 2e-3, "outputs and those in float64")
            expected = by_matrices(exact, x.double().numpy())
            check_close(exact(x.double()), torch.from_numpy(expected), 1e-9, "light by matrices")
        check_state_dict(twin, fresh, lambda module: module(x))

    return Case(
        "ChipTwin", {**given, "light": light}, (*OWN, "x", "light"), call, check, wrong or fault
    )


def by_matrices(twin: ChipTwin, x: np.ndarray) -> np.ndarray:
    """Return the light of each row by the formulas of the docstrings, one after the other."""
    heaters, chip = twin.classical_pre, twin.chip
    own = [*heaters.named_parameters(), *chip.named_parameters()]
    values = {name: parameter.detach().numpy() for name, parameter in own}
    mixing = heaters.mixing().detach().numpy()
    kept = [10 ** (-loss / 10) for loss in (
        values["input_loss"], values["output_loss"] - values["output_loss"].mean(),
    )]  # fmt: skip
    found = []
    for row in x:
        volts, power = row[: heaters.heaters], row[heaters.heaters :]
        turns = values["linear"] * volts + values["quadratic"] * volts**2
        phases = torch.from_numpy(values["offset"] + mixing @ turns)
        matrix = chip.matrices(phases[None])[0].detach().numpy()
        ends = np.sqrt(kept[1])[:, None] * matrix * np.sqrt(kept[0] * power)
        lit = np.flatnonzero(power)
        if len(lit) == 1:
            found.append(np.abs(ends[:, lit[0]]) ** 2)
            continue
        a, b = ends[:, lit[0]], ends[:, lit[1]]
        least = 0 if chip.measured == "full_counts" else 1
        pairs = [(i, j) for i in range(len(a)) for j in range(i + least, len(a))]
        found.append(np.array([
            (abs(a[i] * b[j]) ** 2 + abs(a[j] * b[i]) ** 2
             + 2 * values["overlap"] * (a[i] * b[j] * np.conj(a[j] * b[i])).real)
            / (2 if i == j else 1)
            for i, j in pairs
        ]))  # fmt: skip
    return np.stack(found)


KINDS = {chip_twin: 4}
"""Random twins, plausible ones, edges and wrong ones, and what must hold of each."""
