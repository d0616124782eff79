"""What a trained model loses when the output of a part is replaced, without training again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from hybridlit.analysis.ablation.arms import DoesNotApply
from hybridlit.analysis.ablation.evidence import Evidence, beats, judged, row_evidence
from hybridlit.analysis.ablation.measure import Bench, ScoredRows
from hybridlit.analysis.ablation.parts import cannot_draw, draw_anew, part_means
from hybridlit.analysis.ablation.progress import Progress
from hybridlit.analysis.recording import copied, recorded
from hybridlit.analysis.replacement import replaced
from hybridlit.analysis.statistics import Interval
from hybridlit.undisturbed import undisturbed

__all__ = ["REPLACEMENTS", "Posthoc", "PosthocArm", "Trained", "posthoc_arms"]

_WORDS = {"helps": "relies on", "neutral": "does not rely on", "hurts": "better without"}
"""What a trained model does with a part; whether the part helps, only training without it tells."""


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


class Posthoc(NamedTuple):
    """The arms of a trained model, why others are missing, and fields of `AblationStudy`.

    `scored` is of the model as it is; None if nothing was to be replaced.
    """

    arms: tuple[PosthocArm, ...] = ()
    left_out: Mapping[str, str] = {}
    scored: ScoredRows | None = None
    constant: float | None = None
    beats_constant: bool | None = None


@dataclass(frozen=True)
class Trained:
    """A trained model, within `undisturbed`, and how often outputs and parameters are drawn."""

    model: LightningModule
    bench: Bench
    permutations: int
    draws: int

    def with_output(self, part: nn.Module, by: Tensor | Callable[[Tensor], Tensor]) -> ScoredRows:
        """Score the model with the output of a part replaced."""
        with replaced(part, by):
            return self.bench.scored(self.model)


def posthoc_arms(
    trained: Trained, parts: Mapping[str, nn.Module], margin: float, progress: Progress
) -> Posthoc:
    """Replace the output of each part in turn, by name, and compare the scores row by row.

    Differences within `margin` do not matter; `progress` is told of each arm.
    """
    if not parts:
        return Posthoc()
    model, bench = trained.model, trained.bench
    own, constant = bench.scored(model), bench.constant(model)
    learned = None if constant is None else beats([own], [constant])
    progress.done(0, f"as trained: {bench.measure.name} {own.mean:.4f}")
    means, left_out = part_means(model, bench, parts)
    arm: dict[str, Any]
    found: list[tuple[dict[str, Any], Evidence]] = []
    for name, part in parts.items():
        for kind, replacement in REPLACEMENTS.items():
            progress.running(f"as trained  {name}: {kind}")
            if name in means:
                try:
                    runs = [
                        own if run.same_outputs(own) else ScoredRows(run.rows)  # to save memory
                        for run in replacement.runs(trained, part, means[name])
                    ]
                except DoesNotApply as reason:
                    left_out[f"{name}: {kind}"] = str(reason)
                else:
                    arm = {"part": name, "replacement": kind}
                    arm |= _scores(own, runs, replacement.tests)
                    found.append((arm, row_evidence([own], runs)))
            progress.done(1)
    # a model that has learned nothing relies on nothing
    words = _WORDS | ({"neutral": "inconclusive"} if learned is False else {})
    judgements = judged([proof for _, proof in found], margin, words)
    arms = [PosthocArm(**arm, **each) for (arm, _), each in zip(found, judgements, strict=True)]
    score = None if constant is None else constant.mean
    return Posthoc(tuple(arms), left_out, own, score, learned)


def _scores(own: ScoredRows, runs: Sequence[ScoredRows], tests: bool) -> dict[str, Any]:
    drawn = np.stack([run.rows for run in runs])
    found: dict[str, Any] = {"score": float(drawn.mean()), "draws": len(runs)}
    if tests:
        as_good = np.count_nonzero(drawn.mean(1) >= own.rows.mean() - 1e-12)
        found["permutation_p_value"] = (1 + int(as_good)) / (1 + len(drawn))
    return found


# --- replacements ---------------------------------------------------------------------------------
# Nothing is yielded inside a block that must be left again: an error in whoever asks for the next
# run would leave a generator waiting in it.


def _zero(trained: Trained, part: nn.Module, mean: Tensor) -> Iterator[ScoredRows]:
    yield trained.with_output(part, torch.zeros_like)


def _mean(trained: Trained, part: nn.Module, mean: Tensor) -> Iterator[ScoredRows]:
    yield trained.with_output(part, mean)


def _permutation(trained: Trained, part: nn.Module, mean: Tensor) -> Iterator[ScoredRows]:
    with recorded({"": part}, lambda call: copied(call.output)) as calls:
        trained.bench.measure.outputs(trained.model, trained.bench.test)
    outputs = torch.cat(calls[""])
    for _ in range(trained.permutations):
        order = torch.randperm(len(outputs)).to(outputs.device)
        yield trained.with_output(part, _in_turn(outputs[order]))


def _in_turn(rows: Tensor) -> Callable[[Tensor], Tensor]:
    """Hand out rows batch by batch."""
    first = 0

    def replacement(output: Tensor) -> Tensor:
        nonlocal first
        first += len(output)
        return rows[first - len(output) : first]

    return replacement


def _reinitialised(trained: Trained, part: nn.Module, mean: Tensor) -> Iterator[ScoredRows]:
    fixed = cannot_draw(part)
    if fixed is not None:
        raise DoesNotApply(f"{fixed} has parameters and no reset_parameters() to draw them")
    for _ in range(trained.draws):
        seed = int(torch.randint(2**31, ()))  # the generator is given back, so move it here
        with undisturbed(part, whole=True):
            torch.manual_seed(seed)
            draw_anew(part)
            scored = trained.bench.scored(trained.model)
        yield scored


class _Replacement(NamedTuple):
    """What it is; runs by model, part and mean output; and whether they test a hypothesis."""

    words: str
    runs: Callable[[Trained, nn.Module, Tensor], Iterator[ScoredRows]]
    tests: bool = False


REPLACEMENTS = {
    "zero": _Replacement("output replaced by zero", _zero),
    "mean": _Replacement("output replaced by its mean over the training data", _mean),
    "permutation": _Replacement(
        "outputs exchanged between the test rows at random", _permutation, tests=True
    ),
    "reinitialised": _Replacement("parameters drawn anew, all else as trained", _reinitialised),
}
"""The post-hoc arms, by name."""
