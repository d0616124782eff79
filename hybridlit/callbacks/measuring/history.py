"""What a run has logged: how it learned, in words and pictures, for TensorBoard and for reports."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hybridlit.analysis.pictures.curves import Curve, curves_figure
from hybridlit.callbacks.log_keys import LogKey
from hybridlit.internals.tensorboard import read_log

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["HISTORY_PICTURES", "History"]

HISTORY_PICTURES = {
    "curves": "The score over the epochs; the line marks the epoch of the lowest validation "
    "loss, dashes what a constant answer scores on the validation rows.",
    "loss": "Training and validation loss over the epochs.",
    "gradients": "Gradients of the photonic parameters over those of the classical ones, root mean "
    "squares, as measured and smoothed.",
    "overfitting": "What each part did to the validation loss over the latest window of steps: "
    "above 0 it raised it.",
}
"""What each picture of a run shows, by name."""


class History:
    """What a run has logged, over its epochs.

    Args:
        scalars: Steps and values by tag.
        texts: Texts by tag.
        metrics: Names of metrics, the main one first.
    """

    def __init__(
        self,
        scalars: Mapping[str, Sequence[tuple[int, float]]],
        texts: Mapping[str, Sequence[str]],
        metrics: Sequence[str],
    ) -> None:
        self._scalars, self._texts = scalars, texts
        logged = [n for n in metrics if {f"val/{n}", f"train/{n}"} & scalars.keys()]
        self._metric = logged[0] if logged else None
        ends: dict[float, int] = {}
        for step, epoch in scalars.get(LogKey.EPOCH(), ()):
            ends[epoch] = max(step, ends.get(epoch, 0))
        self._steps = [-1, *sorted(ends.values())]
        self._done = [0.0, *(epoch + 1 for epoch in sorted(ends))]

    @classmethod
    def read(cls, folder: Path, metrics: Sequence[str]) -> History:
        """Read the event files in the folder of a run; there may be none."""
        return cls(*read_log(folder), metrics)

    @property
    def best_epoch(self) -> int | None:
        """Number of epochs until the lowest validation loss, from 1; None without validations."""
        found = self._curve(LogKey.LOSS("val"))
        if found is None or not np.isfinite(found.values).any():
            return None
        return max(1, round(float(found.epochs[np.nanargmin(found.values)])))

    @property
    def epochs(self) -> int:
        """Number of epochs that were validated, or else trained."""
        for stage in ("val", "train"):
            if (found := self._curve(LogKey.LOSS(stage))) is not None:
                return round(float(found.epochs[-1]))
        return 0

    @property
    def risen(self) -> float:
        """How many times its lowest value the validation loss was at the end; NaN if unknown."""
        found = self._curve(LogKey.LOSS("val"))
        lowest = math.nan if found is None else float(np.nanmin(found.values))
        return self._last(LogKey.LOSS("val")) / lowest if lowest > 0 else math.nan

    def words(self) -> list[str]:
        """Say how the run learned, a sentence for each thing that was logged."""
        found = [
            self._of_score(),
            self._of_loss(),
            self._of_gradients(),
            self._of_overfitting(),
        ]
        return [each for each in found if each] + self.said()

    def said(self) -> list[str]:
        """What `OverfittingDetector` has found, once an episode."""
        return list(dict.fromkeys(self._texts.get(LogKey.FOUND(), ())))

    def pictures(self) -> dict[str, Callable[[], Figure]]:
        """Return what draws each picture of `HISTORY_PICTURES` that something was logged for."""
        found: dict[str, Callable[[], Figure]] = {}
        best = self.best_epoch
        if self._metric is not None:
            of_metric = self._stages(self._metric)
            title = self._metric
            levels, ends = {}, of_metric.get("validation")
            if ends is not None:
                title = f"{self._metric} {ends.values[-1]:.3f} on validation rows at the end"
            for stage, what in (("constant", "a constant answer"), ("test", "test rows")):
                if (level := self._curve(LogKey.FIRST_SCORE(self._metric, stage))) is not None:
                    levels[f"{what} {level.values[-1]:.3f}"] = float(level.values[-1])
            found["curves"] = partial(
                curves_figure, of_metric, title, self._metric, levels=levels, at=best
            )
        if of_loss := self._stages("loss"):
            title = "loss" if best is None else f"lowest validation loss after epoch {best}"
            found["loss"] = partial(curves_figure, of_loss, title, "loss", at=best)
        ratios = {"measured": LogKey.RATIO, "smoothed": LogKey.RATIO_SMOOTH}
        if of_ratio := self._curves({label: key() for label, key in ratios.items()}):
            title = f"gradients: photonic {self._last(LogKey.RATIO_SMOOTH()):.2g} x classical"
            words, levels = (title, "photonic / classical"), {"equal": 1.0}
            found["gradients"] = partial(curves_figure, of_ratio, *words, levels=levels, log=True)
        if parts := self._parts():
            title = f"{self._worst()[0]} raised the validation loss most"
            if self._worst()[1] <= 0:
                title = "no part raises the validation loss"
            found["overfitting"] = partial(
                curves_figure, parts, title, "change of validation loss", levels={"none": 0}
            )
        return found

    # --- inside -----------------------------------------------------------------------------------

    def _curve(self, tag: str) -> Curve | None:
        points = self._scalars.get(tag)
        if not points:
            return None
        steps, values = np.asarray(points, dtype=np.float64).T
        return Curve(np.interp(steps, self._steps, self._done), values)

    def _curves(self, tags: Mapping[str, str]) -> dict[str, Curve]:
        found = {label: self._curve(tag) for label, tag in tags.items()}
        return {label: curve for label, curve in found.items() if curve is not None}

    def _stages(self, name: str) -> dict[str, Curve]:
        return self._curves({"training": f"train/{name}", "validation": f"val/{name}"})

    def _last(self, tag: str) -> float:
        found = self._curve(tag)
        return math.nan if found is None else float(found.values[-1])

    def _parts(self) -> dict[str, Curve]:
        """What each part did to the validation loss."""
        pattern = re.compile(LogKey.PART_VAL.pattern)
        tags = sorted(tag for tag in self._scalars if pattern.fullmatch(tag))
        return self._curves({tag.partition("/")[2].removesuffix("_val"): tag for tag in tags})

    def _worst(self) -> tuple[str, float]:
        """The part that raised the validation loss most in the latest window, and by how much."""
        latest = {part: float(curve.values[-1]) for part, curve in self._parts().items()}
        return max(latest.items(), key=lambda each: each[1])

    def _of_score(self) -> str:
        if self._metric is None:
            return ""
        found = self._last(f"val/{self._metric}")
        if math.isnan(found):
            return ""
        constant = self._last(LogKey.FIRST_SCORE(self._metric, "constant"))
        beside = "" if math.isnan(constant) else f"; a constant answer scores {constant:.3f}"
        return f"{self._metric} was {found:.3f} on the validation rows at the end{beside}."

    def _of_loss(self) -> str:
        best, curve = self.best_epoch, self._curve(LogKey.LOSS("val"))
        if best is None or curve is None:
            return ""
        lowest, last = float(np.nanmin(curve.values)), float(curve.values[-1])
        words = f"The validation loss was lowest, {lowest:.3g}, after epoch {best} of {self.epochs}"
        if best == self.epochs:
            return f"{words}: it may not have ended falling."
        return f"{words}, and {last:.3g} at the end."

    def _of_gradients(self) -> str:
        ratio = self._curve(LogKey.RATIO_SMOOTH())
        if ratio is None:
            return ""
        low, high, last = ratio.values.min(), ratio.values.max(), ratio.values[-1]
        words = (
            f"Gradients of the photonic parameters were {last:.2g} times those of the classical "
            f"ones at the end (root mean squares, smoothed; {low:.2g} to {high:.2g} in the run)"
        )
        steps = [self._last(LogKey.UPDATE(each)) for each in ("classical", "photonic")]
        if not any(map(math.isnan, steps)):
            words += (
                f"; a step changed the classical weights by {steps[0]:.2g} of their size and the "
                f"phases by {steps[1]:.2g} of a turn"
            )
        return f"{words}."

    def _of_overfitting(self) -> str:
        ratio = self._last(LogKey.GAP_RATIO())
        if math.isnan(ratio):
            return ""
        words = f"On the probes the validation loss was {ratio:.3g} times the training loss"
        if self._parts():
            part, most = self._worst()
            did = "no part raised the validation loss"
            if most > 0:
                did = f"{part} raised the validation loss most, by {most:.2g}"
            words += f"; over the latest window of steps {did}"
        alarms = self._curve(LogKey.ALARM())
        if alarms is not None:
            count = int((alarms.values > 0).sum())
            words += f"; {count} of {len(alarms.values)} measurements were alarms"
        return f"{words}."
