"""The result of an ablation study: tables, a figure, and a conclusion in plain words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hybridlit.analysis.ablation.baselines import Baseline
from hybridlit.analysis.ablation.conclusion import conclusion, verdict
from hybridlit.analysis.ablation.posthoc import PosthocArm
from hybridlit.analysis.ablation.retrained import RetrainedArm
from hybridlit.analysis.ablation.tables import effort, plain_values, report
from hybridlit.analysis.pictures.style import new_figure
from hybridlit.analysis.statistics import Interval
from hybridlit.words import aligned, piped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["AblationStudy"]

_COLORS = {
    "helps": "tab:green",
    "hurts": "tab:red",
    "neutral": "tab:blue",
    "inconclusive": "grey",
    # of what is no statement about the worth of a photonic part, no green
    "relies on": "tab:purple",
    "better without": "tab:red",
    "does not rely on": "tab:blue",
    "model better": "tab:purple",
    "baseline better": "tab:red",
    "alike": "tab:blue",
}


_Row = tuple[str, Interval | None, str, str]
"""Name, difference, verdict, and how that is said."""


@dataclass(frozen=True)
class AblationStudy:
    """What `ablation_study` found.

    Attributes:
        model: Class of the model.
        metric: Name of the score, of which more is better.
        margin: The smallest difference of it that matters.
        seeds: Seeds of the retrained arms.
        splits_vary: Whether each seed had a split of its own.
        score: Test score of the trained model; None without post-hoc arms.
        test_rows: Number of test rows, of the first seed where each has a split of its own.
        posthoc: The post-hoc arms.
        retrained: The retrained arms, the hybrid model first.
        left_out: Why arms, parts or baselines are missing, by name.
        baselines: Classical models of scikit-learn, beside the retrained hybrid model, or beside
            the trained one where nothing was trained again.
        constant: Score of the best constant answer: the most frequent class, or the mean, of the
            training data; None where that is not known.
        beats_constant: Whether the trained model is better, with 95 % confidence; None without
            post-hoc arms, or where that is not known.
        shared_rows: What was found about rows that are in two splits.
        earlier_runs: Number of runs that were taken over from an earlier call, as `keep` does.

    Example:
        >>> study = AblationStudy(
        ...     model="SequentialHybrid", metric="acc", margin=0.01, seeds=(), splits_vary=False,
        ...     score=None, test_rows=36, posthoc=(), retrained=(), left_out={"mlp": "no time"},
        ... )
        >>> study.arm("mlp")
        Traceback (most recent call last):
        KeyError: "no retrained arm 'mlp': no time"
    """

    model: str
    metric: str
    margin: float
    seeds: tuple[int, ...]
    splits_vary: bool
    score: float | None
    test_rows: int
    posthoc: tuple[PosthocArm, ...]
    retrained: tuple[RetrainedArm, ...]
    left_out: dict[str, str]
    baselines: tuple[Baseline, ...] = ()
    constant: float | None = None
    beats_constant: bool | None = None
    shared_rows: tuple[str, ...] = ()
    earlier_runs: int = 0

    @property
    def conclusion(self) -> str:
        """What follows: a sentence, or several as a list in Markdown."""
        return conclusion(self)

    @property
    def verdict(self) -> str:
        """Whether the photonic part was found to help, in one sentence."""
        return verdict(self)

    def arm(self, name: str) -> RetrainedArm:
        """Return a retrained arm, a key of `ARMS`.

        Raises:
            KeyError: If the study has no such arm; the message says why, if that is known.
        """
        for arm in self.retrained:
            if arm.name == name:
                return arm
        raise KeyError(f"no retrained arm {name!r}: {self.left_out.get(name, 'not asked for')}")

    def __str__(self) -> str:
        return report(self, aligned, "", True)

    def to_markdown(self, conclusion: bool = True) -> str:
        """Return tables and, unless it is not wanted, conclusion in Markdown."""
        return report(self, piped, "### ", conclusion) + "\n"

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON has it; None where an interval has no end."""
        return plain_values(self) | {"conclusion": self.conclusion}

    def figure(self) -> Figure:
        """Draw the difference of every arm with its interval, against 0 and the margin.

        Returns:
            A figure of matplotlib, of no window; `figure.savefig(path)` writes it.

        Raises:
            ImportError: If matplotlib, of the extra `plot`, is not installed.
        """
        groups = self._differences()
        heights = [len(rows) + 1.5 for _, rows in groups] or [1.0]
        figure = new_figure(8, 0.34 * sum(heights) + 1.1)
        panels = figure.subplots(len(heights), squeeze=False, height_ratios=heights)[:, 0]
        for axes, (title, rows) in zip(panels, groups, strict=False):
            self._draw(axes, title, rows)
        panels[-1].set_xlabel(f"{self.metric} of the model minus {self.metric} of the arm")
        figure.suptitle(f"Ablation of {self.model}", fontsize=11)
        return figure

    # --- inside -----------------------------------------------------------------------------------

    def _differences(self) -> list[tuple[str, list[_Row]]]:
        """Names, differences and verdicts of the arms of each kind."""
        retrained = [(a.name, a.difference, a.verdict or "", a.said) for a in self.retrained[1:]]
        baselines = [(b.name, b.difference, b.verdict, b.verdict) for b in self.baselines]
        posthoc = [
            (f"{arm.part}: {arm.replacement}", arm.difference, arm.verdict, arm.verdict)
            for arm in self.posthoc
        ]
        groups: list[tuple[str, list[_Row]]] = [
            (f"trained again, {effort(self)}", [*retrained]),
            ("classical baselines", [*baselines]),
            (f"trained model, {self.test_rows} test rows", [*posthoc]),
        ]
        return [group for group in groups if group[1]]

    def _draw(self, axes: Axes, title: str, rows: list[_Row]) -> None:
        axes.axvspan(-self.margin, self.margin, color="tab:blue", alpha=0.12, lw=0)
        axes.axvline(0.0, color="black", lw=0.8)
        for height, (_, found, word, said) in enumerate(rows):
            assert found is not None  # of the reference alone, which is no row
            color = _COLORS[word]
            axes.plot([found.low, found.high], [height, height], color=color, lw=2)
            axes.plot([found.mean], [height], "o", color=color, ms=6)
            beside = axes.get_yaxis_transform()
            axes.annotate(said, (1.01, height), xycoords=beside, color=color, va="center")
        axes.set_yticks(range(len(rows)), [name for name, *_ in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_title(title, fontsize=10, loc="left")
