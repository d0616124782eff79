"""Who is to blame for overfitting: the part without whose training a model would not overfit.

An allocation of loss changes says what a part did on the way that training took. In a chain that
can be the wrong one: parts that only follow the one that memorizes carry the loss as well. What a
part is to blame for shows when it is frozen and everything else trains on as before.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from hybridlit.analysis.loss_change.allocation import merged, row_losses
from hybridlit.analysis.loss_change.retraining import TrainedCopy, seed_torch
from hybridlit.analysis.statistics import Interval, mean_interval

__all__ = ["Verdict", "compared_copies", "guilty_by_intervention"]

_LOOKS = 8
_GROUPS = 64


@dataclass(frozen=True)
class Verdict:
    """What copies of a model showed that were trained again, each with one part frozen.

    Attributes:
        named: The part that overfits, or None if the copies do not show that it is one alone.
        overfits: Whether the copy with nothing frozen overfits as the model does.
        start: Optimizer step of the run at which the copies begin.
        steps: Optimizer steps that each of them took.
        train: Mean training losses at the end, by frozen part; None: nothing frozen.
        val: Mean validation losses, likewise.
        gain: By how much the validation loss is lower with the named part frozen.
        draw: In which order of rows, the first being 0, this was.
    """

    named: str | None
    overfits: bool
    start: int
    steps: int
    train: dict[str | None, float]
    val: dict[str | None, float]
    gain: Interval | None
    draw: int = 0

    def sentence(self) -> str:
        """Say it in plain words, without a full stop."""
        again = f"trained again from step {self.start} on for {self.steps} steps"
        if self.draw:
            again += ", in a second order of rows since nothing showed in the first"
        others = ", ".join(
            f"{value:.3g} with {part} frozen"
            for part, value in self.val.items()
            if part not in (None, self.named)
        )
        if self.named is not None and self.gain is not None:
            return (
                f"{self.named} overfits: {again}, a copy ends with a validation loss of "
                f"{self.val[self.named]:.3g} if {self.named} is frozen, not {self.val[None]:.3g} "
                f"(difference {self.gain.mean:.3g}, 95 % interval {self.gain.low:.3g} to "
                f"{self.gain.high:.3g}; training loss {self.train[self.named]:.3g}, not "
                f"{self.train[None]:.3g}), and of {others}"
            )
        if not self.overfits:
            return (
                f"the model overfits, and no part can be named: {again}, a copy does not overfit "
                f"(its validation loss ends at {self.val[None]:.3g})"
            )
        return (
            f"the model overfits, and no single part is to blame: {again}, copies end with "
            f"validation losses of {self.val[None]:.3g} with nothing frozen, {others}"
        )


def guilty_by_intervention(
    losses: Mapping[str | None, Tensor], lowest: float, matters: float, last: Collection[str] = ()
) -> tuple[str, Interval] | None:
    """Find the one part without whose training a model would not overfit.

    With nothing frozen the validation loss must have risen by more than `matters`: early in
    training a model may be better off without some part, and does not overfit. Freezing the part
    must lower the loss, by more than `matters` with all of the 95 % interval over rows, and by half
    at least of the rise; and by more than freezing any other part does, again by more than
    `matters` with all of the interval.

    Args:
        losses: Validation losses of shape (groups,) of copies that were trained for as long, by
            what was frozen; None: nothing.
        lowest: The lowest mean validation loss before overfitting began.
        matters: The smallest difference that matters, at least 0.
        last: Parts that share the guilt of the others: they are named only if none of these is, and
            only if freezing them helps more than freezing any other part.

    Returns:
        The part, and by how much freezing it lowers the loss; None if there is no such part.
    """
    alone = losses[None]
    rise = float(alone.mean()) - lowest
    if rise <= matters:
        return None
    parts = [part for part in losses if part is not None]
    first = [part for part in parts if part not in last]
    for candidates, rivals in ((first, first), (parts, parts)):
        for part in candidates:
            gain = mean_interval(alone - losses[part])
            if not (gain.low > matters and gain.mean >= rise / 2):
                continue
            others = (losses[other] - losses[part] for other in rivals if other != part)
            if all(mean_interval(other).low > matters for other in others):
                return part, gain
    return None


def compared_copies(
    copies: Mapping[str | None, TrainedCopy],
    train: list[Any],
    val: list[Any],
    steps: int,
    min_cost: float,
    last: Collection[str] = (),
) -> Verdict:
    """Train copies of a model side by side, until a look at them shows who is to blame.

    Args:
        copies: Copies from the same origin, by what is frozen; None: nothing.
        train: Batches whose losses are reported.
        val: Batches that they are judged by, eight times on the way.
        steps: Most optimizer steps of each.
        min_cost: The smallest difference of validation losses that matters, as a share of the
            lowest one that the copy with nothing frozen has had.
        last: As for `guilty_by_intervention`.
    """
    train, val = merged(train), merged(val)
    alone = copies[None]
    lowest = float(_losses(alone, val).mean())
    losses: dict[str | None, Tensor] = {}
    guilty: tuple[str, Interval] | None = None
    for look in sorted({-(-steps * look // _LOOKS) for look in range(1, _LOOKS + 1)}):
        for part, copied in copies.items():
            copied.train(look - copied.steps)
            losses[part] = _losses(copied, val)
        lowest = min(lowest, float(losses[None].mean()))
        matters = min_cost * abs(lowest)
        guilty = guilty_by_intervention(losses, lowest, matters, last)
        if guilty is not None:
            break
    named, gain = guilty or (None, None)
    return Verdict(
        named=named,
        overfits=float(losses[None].mean()) - lowest > matters,
        start=alone.origin.step,
        steps=alone.steps,
        train={part: float(_losses(c, train).mean()) for part, c in copies.items()},
        val={part: float(several.mean()) for part, several in losses.items()},
        gain=gain,
        draw=alone.draw,
    )


def _losses(copied: TrainedCopy, batches: list[Any]) -> Tensor:
    """Evaluate a copy in evaluation mode, to the losses of groups of rows."""
    seed_torch(0)
    return row_losses(copied.model.eval(), batches, groups=_GROUPS)
