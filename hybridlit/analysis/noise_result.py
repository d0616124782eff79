"""What was found of a model under noise: table, words and picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hybridlit.analysis.pictures.noise_picture import draw_noise_study
from hybridlit.analysis.statistics import Interval, ends, shown
from hybridlit.analysis.tabled import Tabled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["ALL", "NONE", "NoiseStudy", "UnderNoise"]

ALL, NONE = "all together", "none"
"""What the noise of all sources is called, and that of none."""

_LEGEND = (
    "Weaker and stronger: losses in decibels. A readout of outcomes keeps those that it was made "
    "for; mean photon numbers and correlations count all events."
)


@dataclass(frozen=True)
class UnderNoise:
    """What a model scores under noise.

    Attributes:
        source: Name of the field of `Noise`, `"all together"`, or `"none"`: as it was trained.
        strength: How many times the noise of the study.
        shots: Events that are kept of each row; None: infinitely many.
        score: The score, with its 95 % interval over the test rows.
        loss: How much less that is than of the model as trained, with its interval.
        kept: Share of the events that is kept, mean over rows and photonic layers.
    """

    source: str
    strength: float
    shots: int | None
    score: Interval
    loss: Interval
    kept: float


@dataclass(frozen=True)
class NoiseStudy(Tabled):
    """What a model scores as it was trained, and under noise and shots.

    Attributes:
        metric: Name of the score, of which more is better.
        rows: Number of test rows.
        noise: The noise of strength 1, as fields of `Noise` that differ from none.
        whole: Score of the model as it was trained.
        found: Each source at each strength, all of them together, and numbers of shots.
        left_out: What could not be measured, and why.

    Example:
        >>> score, loss = Interval(0.8, 0.7, 0.9), Interval(0.1, 0.02, 0.18)
        >>> under = UnderNoise("transmittance", 1.0, None, score, loss, kept=0.25)
        >>> noise, whole = {"transmittance": 0.5}, Interval(0.9, 0.8, 1.0)
        >>> study = NoiseStudy("acc", 36, noise, whole, [under], left_out={})
        >>> study.conclusion.rpartition(". ")[2]
        '1,000 events that are kept take 4,000 shots of a row and circuit.'
    """

    metric: str
    rows: int
    noise: dict[str, Any]
    whole: Interval
    found: list[UnderNoise]
    left_out: dict[str, str]

    @property
    def conclusion(self) -> str:
        """What remains under the noise as it was given, and what it takes, in words."""
        whole = [e for e in self.found if e.source == ALL and e.strength == 1 and e.shots is None]
        alone = [e for e in self.found if e.strength == 1 and e.shots is None and e.source != ALL]
        told = [
            _told(each, "all of this noise" if each.source == ALL else f"{each.source} alone")
            for each in (whole or alone[:1])
        ]
        if whole and alone:
            worst = max(alone, key=lambda each: each.loss.mean)
            most = f"{worst.source} alone, which takes the most,"
            told.append(_told(worst, most) if worst.loss.mean > 0 else "No source alone takes any.")
        for each in whole or alone[:1]:
            needed = f"{1000 / each.kept:,.0f}" if each.kept else "infinitely many"
            told.append(f"1,000 events that are kept take {needed} shots of a row and circuit.")
        return " ".join(told)

    def figure(self) -> Figure:
        """Draw the score over the strength of each source, and over the number of shots."""
        return draw_noise_study(self)

    def _words(self) -> list[str]:
        given = ", ".join(f"{name}={value}" for name, value in self.noise.items())
        words = [self.conclusion, f"Strength 1 is {given}. {_LEGEND}"]
        if self.left_out:
            words.append("\n".join(f"- Left out, {n}: {why}" for n, why in self.left_out.items()))
        return [each for each in words if each]

    def _table(self) -> tuple[list[str], list[list[str]]]:
        head = ["noise", "strength", "shots", self.metric, "lost by it", "events kept"]
        rows = [["as trained", "", "any", shown(self.whole), "", ""]]
        for each in self.found:
            strength = f"{each.strength:g}" if each.source != NONE else ""
            shots = "any" if each.shots is None else f"{each.shots:,}"
            cells = shown(each.score), shown(each.loss, "+.3f"), f"{each.kept:.3g}"
            rows.append([each.source, strength, shots, *cells])
        return head, rows


def _told(each: UnderNoise, what: str) -> str:
    lost, reach = each.loss.mean, f"{ends(each.loss, '+.3f')} lost"
    if each.loss.tells_nothing:
        reach = "of so few rows"
    surely = "" if each.loss.low > 0 or each.loss.high < 0 else ", which may be chance"
    return (
        f"Under {what} it scores {each.score.mean:.3f}, {abs(lost):.3f} "
        f"{'less' if lost >= 0 else 'more'} than as trained ({reach})"
        f"{surely}."
    )
