"""What a trained model loses when the output of a part is replaced, without training again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch import Tensor, nn

from hybridlit.analysis.ablation.constant import constant_predictor
from hybridlit.analysis.ablation.evidence import ScoredRows, beats
from hybridlit.analysis.ablation.measure import Measure
from hybridlit.analysis.ablation.part_means import mean_outputs, replaced_by
from hybridlit.analysis.ablation.redraw import cannot_draw, draw_anew
from hybridlit.analysis.replacement import recorded_output, replaced_output
from hybridlit.analysis.splits import batches_of
from hybridlit.analysis.statistics import Interval, holm, row_interval, verdict
from hybridlit.undisturbed import undisturbed

__all__ = ["REPLACEMENTS", "Posthoc", "PosthocArm", "posthoc_arms"]

REPLACEMENTS = {
    "zero": "output replaced by zero",
    "mean": "output replaced by its mean over the training data",
    "permutation": "outputs exchanged between the test rows at random",
    "reinitialised": "parameters drawn anew, all else as trained",
}
"""What the post-hoc arms do, by name."""

_WORDS = {"helps": "relies on", "neutral": "does not rely on", "hurts": "better without"}
"""What a trained model does with a part; whether the part helps, only training without it tells."""

Rows = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PosthocArm:
    """A trained model with one part replaced.

    Attributes:
        part: Qualified name of the part.
        replacement: A key of `REPLACEMENTS`.
        score: Test score, the mean over the draws.
        draws: Number of permutations or of draws of the parameters; 1 where nothing is drawn.
        difference: Score of the model minus this score, with an interval over the test rows.
        p_value: Of a difference of 0, corrected by Holm for the other post-hoc arms.
        verdict: What the difference means for the model as it is: `"relies on"` the part, `"does
            not rely on"` it (to within the margin), is `"better without"` it, or `"inconclusive"`.
        permutation_p_value: Of the hypothesis that it does not matter which row gets which output:
            the share of permutations that score at least as well as the model, itself included.
    """

    part: str
    replacement: str
    score: float
    draws: int
    difference: Interval
    p_value: float
    verdict: str
    permutation_p_value: float | None = None


@dataclass(frozen=True)
class Posthoc:
    """A trained model and what was replaced in it.

    Attributes:
        arms: The arms.
        left_out: Why other parts or arms are missing, by name.
        scored: Scores of the model; None if nothing was to be replaced.
        constant: Score of the best constant answer; None if that is not known.
        beats_constant: Whether the model is better, with 95 % confidence; None if not known.
    """

    arms: tuple[PosthocArm, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)
    scored: ScoredRows | None = None
    constant: float | None = None
    beats_constant: bool | None = None


def posthoc_arms(
    model: LightningModule,
    datamodule: LightningDataModule,
    measure: Measure,
    parts: Mapping[str, nn.Module],
    *,
    margin: float,
    permutations: int,
    draws: int,
    advance: Callable[[], object],
) -> Posthoc:
    """Replace the output of each part in turn, and compare the scores row by row.

    Args:
        model: The trained model; call this inside `undisturbed`.
        datamodule: A datamodule that is set up.
        measure: How a row is scored.
        parts: The parts by qualified name.
        margin: The smallest difference that matters.
        permutations: Number of permutations.
        draws: Number of draws of a part's parameters.
        advance: Called after each arm.

    Returns:
        The arms, why others were left out, and the scores of the model and of a constant.
    """
    if not parts:
        return Posthoc()
    test = batches_of(datamodule, "test")
    scored = ScoredRows(*measure(model, test))
    rows, outputs = scored.rows, scored.outputs
    assert outputs is not None
    constant = constant_predictor(model, measure, datamodule, test)
    learned = None if constant is None else beats([scored], [constant])
    means, without_mean = mean_outputs(model, datamodule, measure, parts)
    arms: list[PosthocArm] = []
    left_out: dict[str, str] = {}

    def compare(part: str, replacement: str, runs: Iterator[tuple[Rows, Tensor]]) -> None:
        scores, same = [], True
        for other, other_outputs in runs:
            scores.append(other)
            same &= torch.equal(other_outputs, outputs)
        drawn = np.stack(scores)
        found, p = _over_rows(rows, drawn, same)
        chance = None
        if replacement == "permutation":
            as_good = np.count_nonzero(drawn.mean(1) >= rows.mean() - 1e-12)
            chance = (1 + int(as_good)) / (1 + len(drawn))
        score = float(drawn.mean())
        arms.append(PosthocArm(part, replacement, score, len(drawn), found, p, "", chance))
        advance()

    for name, part in parts.items():
        if name in without_mean:
            left_out[name] = without_mean[name]
            for _ in REPLACEMENTS:
                advance()
            continue
        by_mean = replaced_by(means[name])
        compare(name, "zero", _replaced(model, measure, test, part, torch.zeros_like))
        compare(name, "mean", _replaced(model, measure, test, part, by_mean))
        compare(name, "permutation", _permuted(model, measure, test, part, permutations))
        fixed = cannot_draw(part)
        if fixed is None:
            compare(name, "reinitialised", _reinitialised(model, measure, test, part, draws))
        else:
            left_out[f"{name}: reinitialised"] = (
                f"{fixed} has parameters and no reset_parameters() to draw them"
            )
            advance()
    corrected = holm([arm.p_value for arm in arms])
    judged = []
    for arm, p in zip(arms, corrected, strict=True):
        word = verdict(arm.difference, margin, p)
        if word == "neutral" and learned is False:
            word = "inconclusive"  # a model that has learned nothing relies on nothing
        judged.append(replace(arm, p_value=p, verdict=_WORDS.get(word, word)))
    score = None if constant is None else float(constant.rows.mean())
    return Posthoc(tuple(judged), left_out, scored, score, learned)


def _over_rows(rows: Rows, drawn: Rows, same_outputs: bool) -> tuple[Interval, float]:
    """Interval and p value of the mean difference between the model and its replacements."""
    if same_outputs:  # the very same numbers: no row of any data could tell
        return Interval(0.0, 0.0, 0.0), 1.0
    shares = bool(np.isin(rows, (0, 1)).all() and np.isin(drawn, (0, 1)).all())
    return row_interval(rows - drawn.mean(0), shares)


# Nothing is yielded inside a block that must be left again: an error in whoever asks for the next
# run would leave a generator waiting in it.


def _replaced(
    model: LightningModule,
    measure: Measure,
    test: Sequence[Any],
    part: nn.Module,
    replacement: Callable[[Tensor], Tensor],
) -> Iterator[tuple[Rows, Tensor]]:
    with replaced_output(part, replacement):
        result = measure(model, test)
    yield result


def _permuted(
    model: LightningModule, measure: Measure, test: Sequence[Any], part: nn.Module, count: int
) -> Iterator[tuple[Rows, Tensor]]:
    with recorded_output(part) as recorded:
        measure.outputs(model, test)
    outputs = torch.cat(recorded)
    for _ in range(count):
        order = torch.randperm(len(outputs)).to(outputs.device)
        yield from _replaced(model, measure, test, part, _in_turn(outputs[order]))


def _in_turn(rows: Tensor) -> Callable[[Tensor], Tensor]:
    """Hand out rows batch by batch."""
    first = 0

    def replacement(output: Tensor) -> Tensor:
        nonlocal first
        first += len(output)
        return rows[first - len(output) : first]

    return replacement


def _reinitialised(
    model: LightningModule, measure: Measure, test: Sequence[Any], part: nn.Module, count: int
) -> Iterator[tuple[Rows, Tensor]]:
    for _ in range(count):
        seed = int(torch.randint(2**31, ()))  # the generator is given back, so move it here
        with undisturbed(part, whole=True):
            torch.manual_seed(seed)
            draw_anew(part)
            result = measure(model, test)
        yield result
