"""The result of an ablation study: tables, a figure, and a conclusion in plain words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from hybridlit.analysis.ablation.conclusion import conclusion, signed
from hybridlit.analysis.ablation.posthoc import PosthocArm
from hybridlit.analysis.ablation.retrained import RetrainedArm
from hybridlit.analysis.statistics import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["AblationStudy"]

_COLORS = {"helps": "tab:green", "hurts": "tab:red", "neutral": "tab:blue", "inconclusive": "grey"}


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
        left_out: Why arms or parts are missing, by name.
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

    @property
    def conclusion(self) -> str:
        """What follows: a sentence, or several as a list in Markdown."""
        return conclusion(
            self.posthoc, self.retrained, self.margin, self.splits_vary, self.test_rows
        )

    def arm(self, name: str) -> RetrainedArm:
        """Return a retrained arm.

        Args:
            name: A key of `ARMS`.

        Returns:
            The arm.

        Raises:
            KeyError: If the study has no such arm; the message says why, if that is known.
        """
        for arm in self.retrained:
            if arm.name == name:
                return arm
        raise KeyError(f"no retrained arm {name!r}: {self.left_out.get(name, 'not asked for')}")

    def __str__(self) -> str:
        return self._report(_aligned, "", True)

    def to_markdown(self, conclusion: bool = True) -> str:
        """Return tables and conclusion in Markdown.

        Args:
            conclusion: Whether to end with the conclusion.

        Returns:
            The text, which ends with a line break.
        """
        return self._report(_piped, "### ", conclusion) + "\n"

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values.

        Returns:
            Dictionaries, lists, strings, numbers and None, as JSON has them.
        """
        found: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return found | {"conclusion": self.conclusion}

    def figure(self) -> Figure:
        """Draw the difference of every arm with its interval, against 0 and the margin.

        Returns:
            A figure of matplotlib, of no window; `figure.savefig(path)` writes it.

        Raises:
            ImportError: If matplotlib, of the extra `analysis`, is not installed.
        """
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise ImportError(
                "figure() needs matplotlib: pip install 'hybridlit[analysis]'"
            ) from error
        groups = [group for group in self._differences() if group[1]]
        heights = [len(rows) + 1.5 for _, rows in groups] or [1.0]
        figure = Figure(figsize=(8, 0.34 * sum(heights) + 1.1), layout="constrained")
        panels = figure.subplots(len(heights), squeeze=False, height_ratios=heights)[:, 0]
        for axes, (title, rows) in zip(panels, groups, strict=False):
            self._draw(axes, title, rows)
        panels[-1].set_xlabel(f"{self.metric} of the model minus {self.metric} of the arm")
        figure.suptitle(f"Ablation of {self.model}", fontsize=11)
        return figure

    # --- inside -----------------------------------------------------------------------------------

    def _differences(self) -> list[tuple[str, list[tuple[str, Interval, str]]]]:
        """Names, differences and verdicts of the arms of each kind."""
        retrained = [
            (arm.name, arm.difference, arm.verdict)
            for arm in self.retrained
            if arm.difference is not None and arm.verdict is not None
        ]
        posthoc = [
            (f"{arm.part}: {arm.replacement}", arm.difference, arm.verdict) for arm in self.posthoc
        ]
        return [
            (f"trained again, {self._effort()}", retrained),
            (f"trained model, {self.test_rows} test rows", posthoc),
        ]

    def _draw(self, axes: Axes, title: str, rows: list[tuple[str, Interval, str]]) -> None:
        axes.axvspan(-self.margin, self.margin, color="tab:blue", alpha=0.12, lw=0)
        axes.axvline(0.0, color="black", lw=0.8)
        for height, (_, found, word) in enumerate(rows):
            color = _COLORS[word]
            axes.plot([found.low, found.high], [height, height], color=color, lw=2)
            axes.plot([found.mean], [height], "o", color=color, ms=6)
            beside = (1.01, height)
            axes.annotate(
                word, beside, xycoords=axes.get_yaxis_transform(), color=color, va="center"
            )
        axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_title(title, fontsize=10, loc="left")

    def _effort(self) -> str:
        epochs = max((arm.epochs for arm in self.retrained), default=0)
        return f"{len(self.seeds)} seeds, {epochs} epoch{'s' * (epochs != 1)}"

    def _report(self, table: Any, heading: str, conclusion: bool) -> str:
        blocks = []
        if self.retrained:
            splits = "a split each" if self.splits_vary else "one split"
            blocks.append(
                f"{heading}{self.model} trained again, {self._effort()} ({splits})\n\n"
                + table(*self._retrained_table())
            )
            blocks += self._notes()
        if self.posthoc:
            blocks.append(
                f"{heading}{self.model} as trained: {self.metric} {self.score:.4f} on "
                f"{self.test_rows} test rows\n\n" + table(*self._posthoc_table())
            )
        if self.left_out:
            reasons = "\n".join(f"- {name}: {reason}" for name, reason in self.left_out.items())
            blocks.append(f"{heading}Left out\n\n{reasons}")
        if conclusion:
            blocks.append(f"{heading}Conclusion\n\n{self.conclusion}")
        return "\n\n".join(blocks)

    def _notes(self) -> list[str]:
        """What the table of the retrained arms does not say by itself."""
        notes = []
        rates = [
            f"{arm.name} in {arm.rates.count('photonic')} of {len(arm.rates)} runs"
            for arm in self.retrained
            if arm.rates and arm.best_epochs
        ]
        if rates:
            notes.append(
                "Stand-ins learned at the classical rate or at the photonic one, whichever was "
                f"better in validation. The photonic one was: {', '.join(rates)}."
            )
        if any(arm.name == "classical_only" for arm in self.retrained):
            notes.append(
                "The parameters of classical_only include those that lead to the photonic layers, "
                "which have nothing to learn from there."
            )
        return notes

    def _retrained_table(self) -> tuple[list[str], list[list[str]]]:
        head = ["arm", self.metric, "hybrid - arm", "p (Holm)", "verdict", "parameters", "seconds"]
        rows = []
        for arm in self.retrained:
            score = f"{fmean(arm.scores):.3f} ± {stdev(arm.scores):.3f}"
            parameters = f"{arm.parameters} ({arm.photonic_parameters} photonic)"
            compared = ["", "", "reference"]
            if arm.difference is not None and arm.p_value is not None and arm.verdict is not None:
                compared = [_shown(arm.difference), _chance(arm.p_value), arm.verdict]
            rows.append([arm.name, score, *compared, parameters, f"{arm.seconds:.1f}"])
        return head, rows

    def _posthoc_table(self) -> tuple[list[str], list[list[str]]]:
        head = ["part", "replaced by", self.metric, "model - arm", "p (Holm)", "verdict"]
        rows = []
        for arm in self.posthoc:
            name = arm.replacement
            if arm.permutation_p_value is not None:
                name += f" ({arm.draws} draws, p {_chance(arm.permutation_p_value)})"
            elif arm.draws > 1:
                name += f" ({arm.draws} draws)"
            shown = _shown(arm.difference)
            cells = [arm.part, name, f"{arm.score:.3f}", shown, _chance(arm.p_value), arm.verdict]
            rows.append(cells)
        return head, rows


def _shown(found: Interval) -> str:
    return f"{signed(found.mean)} ({signed(found.low)} to {signed(found.high)})"


def _chance(p: float) -> str:
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _piped(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    bars = ([cell.replace("|", "\\|") for cell in cells] for cells in lines)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in bars)


def _aligned(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, *rows]
    widths = [max(len(cells[column]) for cells in lines) for column in range(len(head))]
    padded = (
        "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        for cells in lines
    )
    return "\n".join(line.rstrip() for line in padded)
