"""The score of a model over the strength of noise, and over the number of shots."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

from hybridlit.analysis.pictures.style import FAINT, colours, new_figure, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hybridlit.analysis.noise_result import NoiseStudy, UnderNoise

__all__ = ["draw_noise_study"]


def draw_noise_study(study: NoiseStudy) -> Figure:
    """Draw scores with their intervals, and that of the model as trained as a line.

    Args:
        study: What was measured.

    Returns:
        A panel for strengths, and one for shots if there are any.
    """
    strong = [each for each in study.found if each.shots is None]
    counted = [each for each in study.found if each.shots is not None]
    panels = [each for each in (strong, counted) if each]
    figure = new_figure(4.2 * max(1, len(panels)) + 1.6, 3.6)
    names = list(dict.fromkeys(each.source for each in study.found))
    colour = dict(zip(names, colours(len(names)), strict=True))
    several = figure.subplots(1, max(1, len(panels)), sharey=True, squeeze=False)[0]
    for axes, found in zip(several, panels, strict=False):
        shots = found is counted
        for place, name in enumerate(names):
            own = [each for each in found if each.source == name]
            if own:
                _draw(axes, own, 1 + 0.03 * (place - (len(names) - 1) / 2), colour[name])
        axes.axhline(study.whole.mean, color=FAINT, linestyle="--", zorder=3)
        axes.set_xscale("log")
        ticks = sorted({_place(each) for each in found})
        axes.set_xticks(ticks, [f"{tick:,.12g}" for tick in ticks])
        axes.minorticks_off()
        what = "Events kept of each row" if shots else "Strength of the noise"
        tidy(axes, "Score under few shots" if shots else "Score under noise", what, study.metric)
    handles = [_line(name, colour[name]) for name in names]
    handles.append(_line("as trained", FAINT, "--"))
    several[-1].legend(
        handles=handles, title="Noise", title_fontsize=8, fontsize=8, frameon=False,
        bbox_to_anchor=(1, 1), loc="upper left", alignment="left",
    )  # fmt: skip
    return figure


def _draw(axes: Any, found: Iterable[UnderNoise], aside: float, colour: Any) -> None:
    """Draw the scores of one source, a little aside from those of others."""
    own = sorted(found, key=_place)
    at = [aside * _place(each) for each in own]
    means = [each.score.mean for each in own]
    below = [each.score.mean - each.score.low for each in own]
    above = [each.score.high - each.score.mean for each in own]
    axes.errorbar(at, means, [below, above], color=colour, marker="o", markersize=4, capsize=2)


def _place(found: UnderNoise) -> float:
    """Where it stands: at its shots, or at the strength of its noise."""
    return float(found.shots or found.strength)


def _line(name: str, colour: Any, style: Literal["-", "--"] = "-") -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, linestyle=style, label=name.replace("_", " "))
