"""The one circuit that all simulators are compared on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from hybridlit.photonics import Experiment, QuantumLayer
from hybridlit.photonics.interferometer import cells

SEED = 7


@dataclass(frozen=True)
class Point:
    """Sizes of one comparison.

    Args:
        modes: number of modes m.
        photons: number of photons n.
        batch: number of samples.
        space: ``"fock"`` or ``"unbunched"``.
    """

    modes: int
    photons: int
    batch: int
    space: str = "fock"

    @classmethod
    def parse(cls, text: str) -> Point:
        """Read ``"6,3,64"`` or ``"8,4,64,unbunched"``."""
        modes, photons, batch, *space = text.split(",")
        return cls(int(modes), int(photons), int(batch), *space)

    def __str__(self) -> str:
        space = "" if self.space == "fock" else f" {self.space}"
        return f"({self.modes}, {self.photons}, {self.batch}){space}"


class Task(NamedTuple):
    """What every simulator computes: probabilities of ``layer`` at ``x``, and a loss' gradients.

    The loss is ``(probabilities * weights).sum()``, its gradients are those of ``x`` and of all
    phases of the interferometers.
    """

    layer: QuantumLayer
    x: Tensor
    weights: Tensor


def task(point: Point) -> Task:
    """Return a SERIES circuit with ``modes - 1`` random features and Haar-random interferometers.

    Args:
        point: its sizes.
    """
    torch.manual_seed(SEED)
    experiment = Experiment(
        "series", n_modes=point.modes, n_photons=point.photons, computation_space=point.space
    )
    layer = QuantumLayer(
        point.modes - 1, None, experiment=experiment, output_mapping_strategy="none"
    )
    return Task(layer, torch.rand(point.batch, point.modes - 1), torch.rand(layer.output_size))


class Element(NamedTuple):
    """An optical element of the circuit.

    ``"splitter"``: 50:50 beam splitter on ``mode`` and ``mode + 1``; ``"phase"``: phase shifter
    with angle ``layer.phases.flatten()[index]``; ``"data"``: phase shifter with pi ``x[index]``.
    """

    kind: Literal["splitter", "phase", "data"]
    mode: int
    index: int = -1


def elements(modes: int) -> Iterator[Element]:
    """Yield the elements of the circuit in the order in which light meets them.

    Args:
        modes: number of modes m.
    """
    yield from _mesh(modes, 0)
    for feature in range(modes - 1):
        yield Element("data", feature, feature)
    yield from _mesh(modes, 1)


def phase_order(modes: int) -> list[int]:
    """Return the places in ``layer.phases.flatten()`` of the phases as light meets them."""
    return [element.index for element in elements(modes) if element.kind == "phase"]


def _mesh(modes: int, mesh: int) -> Iterator[Element]:
    """Cells of splitter, phase a, splitter; phase b is behind them, in the last mesh before."""
    for cell, (_, mode) in enumerate(cells(modes).tolist()):
        a = 2 * (mesh * math.comb(modes, 2) + cell)
        inner = [Element("splitter", mode), Element("phase", mode, a), Element("splitter", mode)]
        outer = Element("phase", mode, a + 1)
        yield from [*inner, outer] if mesh == 0 else [outer, *inner]
