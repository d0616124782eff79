"""What a twin says of its chip: words, a table and pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hybridlit.analysis.chip_numbers import ChipNumbers
from hybridlit.analysis.pictures.chip_pictures import (
    crosstalk_figure,
    heater_figure,
    learned_figure,
    loss_figure,
    splitter_figure,
)
from hybridlit.analysis.report import Report
from hybridlit.analysis.tabled import Tabled
from hybridlit.words import plural

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["CHIP_PICTURES", "ChipStudy", "Places", "add_chip"]

CHIP_PICTURES = {
    "heaters": "Where each heater is: its phase at no voltage, and what it turns.",
    "crosstalk": "Which phases each heater's heat leaks to, and how far it reaches.",
    "splitters": "Reflectivity of each splitter, by where it is, with 95 % intervals.",
    "losses": "Losses of each mode, with 95 % intervals.",
    "learned": "What was found against what is true, or designed; of few, with 95 % intervals.",
}
"""What each picture shows, by name."""

_FEW = 6


@dataclass(frozen=True)
class Places:
    """Where things are on a chip.

    Attributes:
        phases: Column and mode of each phase, or where they were said to be, (phases, 2).
        heaters: Which phase each heater is on, (heaters,).
        splitters: Column and mode of each splitter, halfway between its two, (splitters, 2).
        said: Whether it was said where phases are.
    """

    phases: npt.NDArray[np.float64]
    heaters: npt.NDArray[np.int64]
    splitters: npt.NDArray[np.float64]
    said: bool = False


@dataclass(frozen=True)
class ChipStudy(Tabled):
    """What a twin has found of its chip, how sure it is, and what it promises.

    Attributes:
        model: Class of the model.
        numbers: What it has found, by the name of the parameter.
        places: Where it is.
        compared_with: What `reference` of the numbers is, `"truth"` of a simulated chip or
            `"design"`.
        misfit: Root mean square of the residuals of each split, in standard deviations of the
            noise.
        rows: How many rows there are of each.
        converged: Whether its fit has.
        gauges: Directions of phases at no voltage that change nothing that was measured.
        blind: Phases that change nothing at all, by their numbers.
        limits: The least and the largest voltage of `expected`.
        expected: Amplitude fidelity that the twin expects of each Haar-random unitary.
        delivered: What a simulated chip does at the same voltages; empty of others.

    Example:
        >>> phases, splitters = np.array([[0.0, 0.0]]), np.array([[0.5, 0.5]])
        >>> study = ChipStudy(
        ...     model="ChipTwin", numbers={}, places=Places(phases, np.array([0]), splitters),
        ...     compared_with="design", misfit={"test": 1.02}, rows={"test": 50}, converged=True,
        ...     gauges=2, blind=[], limits=(0.0, 10.0), expected=[], delivered=[],
        ... )
        >>> study.conclusion.partition(": ")[2]
        'residuals are 1.02 on the 50 test rows, in standard deviations of the noise.'
    """

    model: str
    numbers: dict[str, ChipNumbers]
    places: Places
    compared_with: str
    misfit: dict[str, float]
    rows: dict[str, int]
    converged: bool
    gauges: int
    blind: list[int]
    limits: tuple[float, float]
    expected: list[float]
    delivered: list[float]

    @property
    def conclusion(self) -> str:
        """How well the chip is known, in words."""
        told = " and ".join(
            f"{misfit:.3g} on the {plural(self.rows[split], f'{split} row')}"
            for split, misfit in self.misfit.items()
        )
        words = "The fit has converged" if self.converged else "**The fit has not converged**"
        told = f"{words}: residuals are {told}, in standard deviations of the noise."
        if self.expected:
            told += f" {self._programmed()}"
        return told

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON has it; None where a number is not known."""
        numbers = {
            name: {
                "name": each.name,
                "unit": each.unit,
                **{what: _plain(getattr(each, what)) for what in ("learned", "error", "reference")},
            }
            for name, each in self.numbers.items()
        }
        places = {name: np.array(each).tolist() for name, each in vars(self.places).items()}
        return {**vars(self), "limits": list(self.limits), "numbers": numbers, "places": places}

    def figures(self) -> dict[str, Callable[[], Figure]]:
        """Return what draws each picture, by its name in `CHIP_PICTURES`, as far as they exist.

        Those that need matplotlib raise an ImportError where it is missing.
        """
        drawn: dict[str, Callable[[ChipStudy], Figure]] = {"heaters": heater_figure}
        if "leak" in self.numbers:
            drawn["crosstalk"] = crosstalk_figure
        if "phases" in self.numbers:
            drawn["splitters"] = splitter_figure
        drawn |= {"losses": loss_figure, "learned": learned_figure}
        return {name: partial(draw, self) for name, draw in drawn.items()}

    def _programmed(self) -> str:
        low, high = self.limits
        words = (
            f"Of Haar-random unitaries ({len(self.expected)} drawn) the twin expects a mean "
            f"amplitude fidelity of {np.mean(self.expected):.5f}, and {min(self.expected):.5f} at "
            f"least, by voltages from {low:g} to {high:g}"
        )
        if not self.delivered:
            return f"{words}."
        return (
            f"{words}; the simulated chip itself comes to {np.mean(self.delivered):.5f}, and to "
            f"{min(self.delivered):.5f} at least."
        )

    def _words(self) -> list[str]:
        words = [self.conclusion]
        if self.gauges:
            words.append(
                f"{plural(self.gauges, 'direction')} of phases at no voltage change nothing that "
                "was measured: phases behind the last splitters, for instance, or one in front of "
                "all light. They are where the search has left them, and phases are compared "
                "without them."
            )
        if self.blind:
            shown = [f"{phase}" for phase in self.blind[:_FEW]]
            more = f" and {len(self.blind) - _FEW} more" * (len(self.blind) > _FEW)
            words.append(f"No light tells the phases {', '.join(shown)}{more}.")
        words.append(
            "Standard errors are by Fisher's information at the solution, and by the priors of the "
            "design: what no light tells has the prior's."
        )
        return words

    def _table(self) -> tuple[list[str], list[list[str]]]:
        true = self.compared_with == "truth"
        head = [
            "of the chip",
            "numbers",
            "found",
            "standard error",
            f"rms off the {self.compared_with}",
        ]
        rows = []
        for each in self.numbers.values():
            found = each.learned[np.isfinite(each.learned)]
            error = each.error[np.isfinite(each.error)]
            off = (each.learned - each.reference)[np.isfinite(each.learned - each.reference)]
            unit = f" {each.unit}" * bool(each.unit)
            cells = [each.name, f"{found.size:,}", _span(found) + unit]
            cells.append(f"{np.median(error):.2g}" if error.size else "")
            cells.append(f"{np.sqrt(np.square(off).mean()):.2g}" if off.size else "")
            if true:
                inside, of = each.covered
                cells.append(f"{inside:,} of {of:,}" if of else "")
            rows.append(cells)
        return head + ["truth within 95 %"] * true, rows


def add_chip(report: Report, study: ChipStudy) -> None:
    """Add what a study says to a report, and its pictures."""
    report.text(study.to_markdown())
    for name, draw in study.figures().items():
        report.figure(draw, CHIP_PICTURES[name])


def _span(values: npt.NDArray[np.float64]) -> str:
    low, high = values.min(), values.max()
    return f"{low:.4g}" if values.size == 1 else f"{low:.3g} to {high:.3g}"


def _plain(values: npt.NDArray[np.float64]) -> Any:
    kept = values.astype(object)
    kept[~np.isfinite(values)] = None
    return kept.tolist()
