"""What the arms of an ablation study mean, in plain words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hybridlit.analysis.ablation.arms import ARMS, Question
from hybridlit.analysis.ablation.baselines import Baseline
from hybridlit.analysis.ablation.open_arms import remedy
from hybridlit.analysis.ablation.posthoc import PosthocArm
from hybridlit.analysis.ablation.retrained import (
    ARM_IMPROVING,
    MODEL_IMPROVING,
    REASONS,
    RetrainedArm,
)
from hybridlit.analysis.statistics import Interval, ends
from hybridlit.words import plural, written

if TYPE_CHECKING:
    from hybridlit.analysis.ablation.result import AblationStudy

__all__ = ["conclusion", "signed", "verdict"]

_OF_THE_WHOLE = Question.NONLINEARITY, Question.BESIDE
"""What is asked of the photonic part as a whole, and not of one of its properties."""

_OFTEN = 0.25
"""Share of runs whose last epoch was the best from which on the training was too short."""


def conclusion(study: AblationStudy) -> str:
    """Say what follows from an ablation study, and what does not.

    That is a sentence, or several as a list in Markdown: what speaks against the study first, then
    what is decided.
    """
    arms = [arm for arm in study.retrained if arm.verdict is not None]
    sentences = [f"Beware: {found}." for found in study.shared_rows]
    score = (
        f" ({study.metric} {written(study.constant, '.3f')})" if study.constant is not None else ""
    )
    nothing = bool(arms) and all(arm.beats_constant is False for arm in study.retrained)
    if nothing:
        sentences.append(
            f"No arm is surely better than a constant answer{score}, so that these runs say "
            "nothing about their parts."
        )
    sentences += _too_short(arms)
    rivals = [each for each in study.baselines if each.verdict != "model better"]
    beside = _baselines(study, rivals)
    prominent = any(arm.verdict == "helps" for arm in arms) and bool(rivals)
    sentences += beside * prominent
    if arms and all(arm.verdict == "inconclusive" and arm.reason is None for arm in arms):
        sentences.append(_nothing_decided(arms, study))
    elif not nothing:
        sentences += _answers(arms, study)
    if study.retrained and not arms:
        sentences.append(_unasked(study))
    sentences += beside * (not prominent)
    if arms:
        sentences += _reservations(study.retrained)
        sentences.append(
            "Intervals cover other initial weights and other splits of these data."
            if study.splits_vary
            else "Intervals cover other initial weights and test rows, but not other training rows."
        )
    if study.beats_constant is False:
        sentences.append(
            f"The trained model itself is not surely better than a constant answer{score}."
        )
    sentences += _reliance(study.posthoc, study.margin)
    if len(sentences) > 1:
        return "\n".join(f"- {sentence}" for sentence in sentences)
    return sentences[0] if sentences else "Nothing was compared."


def verdict(study: AblationStudy) -> str:
    """Say in one sentence whether the photonic part was found to help, the conclusion has why."""
    arms = [arm for arm in study.retrained if arm.verdict is not None]
    asked = [arm for arm in arms if ARMS[arm.name].question in _OF_THE_WHOLE]
    if not asked:
        return _unasked(study)
    if all(arm.beats_constant is False for arm in study.retrained):
        return (
            "Nothing can be said of the photonic part: no model that was trained again is surely "
            "better than a constant answer."
        )
    needless = [arm.name for arm in asked if arm.verdict in ("neutral", "hurts")]
    if needless:
        return f"No need for the photonic part was found: {_and(needless)} did no worse without it."
    if not all(arm.verdict == "helps" for arm in asked):
        return "Whether the photonic part helps is open: these runs cannot tell."
    rivals = [each.name for each in study.baselines if each.verdict != "model better"]
    beaten = f"The photonic part helps: the model is better than {_and([a.name for a in asked])}"
    return f"{beaten}{f', but not surely than {_and(rivals)}' if rivals else ''}."


def signed(value: float) -> str:
    """Write a difference with its sign, such as `+0.012`; what rounds to 0 is +0."""
    return written(value, "+.3f")


def _unasked(study: AblationStudy) -> str:
    """Say why nothing was trained without the photonic part."""
    missing = [
        f"{name} was left out ({study.left_out[name]})"
        for name, arm in ARMS.items()
        if name in study.left_out and arm.question in _OF_THE_WHOLE
    ]
    if not missing:
        return "Whether the photonic part helps was not asked: nothing was trained without it."
    return (
        "Whether the photonic part helps is not known, since nothing was trained without it: "
        f"{_and(missing)}."
    )


def _too_short(arms: Sequence[RetrainedArm]) -> list[str]:
    """Say which verdicts were held back since a training was too short."""
    sentences = []
    for arm in arms:
        if arm.reason == ARM_IMPROVING:
            assert arm.difference is not None
            sentences.append(
                f"{arm.name} was still improving when its training ended, in {sum(arm.improving)} "
                f"of {len(arm.improving)} runs: that the model is better "
                f"({signed(arm.difference.mean)}) may be no more than speed; raise max_epochs."
            )
    slow = [arm.name for arm in arms if arm.reason == MODEL_IMPROVING]
    if slow:
        sentences.append(
            f"The model was still improving when its training ended: that {_and(slow)} "
            f"{'is' if len(slow) == 1 else 'are'} better may be no more than speed; raise "
            "max_epochs."
        )
    return sentences


def _baselines(study: AblationStudy, rivals: Sequence[Baseline]) -> list[str]:
    """Say how the model stands beside classical models out of the box, unbeaten ones first."""
    if not study.baselines:
        return []
    if not rivals:
        return [f"The model is better than {_and([each.name for each in study.baselines])}."]
    best = min(rivals, key=lambda each: each.difference.mean)
    found = best.difference
    how = {
        "baseline better": "does better than the model",
        "alike": f"does as well as the model to within {study.margin:g}",
        "inconclusive": "cannot be told from the model",
    }[best.verdict]
    needless = ": whatever a part is worth to this model, the task does not need the model"
    return [
        f"{best.name}, out of the box and tuned a little, {how} (model minus it: "
        f"{signed(found.mean)}, {ends(found, '+.3f')})"
        f"{needless * (best.verdict != 'inconclusive')}."
    ]


def _nothing_decided(arms: Sequence[RetrainedArm], study: AblationStudy) -> str:
    found = [arm.difference for arm in arms if arm.difference is not None]
    narrowest = min((each.high - each.low) / 2 for each in found)
    width = f"the narrowest interval is ±{narrowest:.3f}, the margin {study.margin:g}"
    if math.isinf(narrowest):
        width = "intervals of so few rows have no end"
    epochs = plural(max(arm.epochs for arm in arms), "epoch")
    more = _more(arms, study, " would narrow them")
    return (
        f"These runs ({len(arms[0].scores)} seeds, {study.test_rows} test rows, {epochs}) decide "
        f"nothing: no arm can be told from the model; {width}. {more[0].upper()}{more[1:]}"
    )


def _more(arms: Sequence[RetrainedArm], study: AblationStudy, does: str = "") -> str:
    """Say what there should be more of, seeds or test rows, and why."""
    found = remedy(study, arms)
    return f"{found.words(study.splits_vary)}{does}{f': {found.why}' * bool(found.rows)}."


def _answers(arms: Sequence[RetrainedArm], study: AblationStudy) -> list[str]:
    """One sentence a question, those that are decided first."""
    decided, undecided = [], []
    for question in Question:
        asked = [arm for arm in arms if ARMS[arm.name].question is question]
        if any(arm.verdict in ("neutral", "hurts") for arm in asked) or (
            asked and all(arm.verdict == "helps" for arm in asked)
        ):
            decided.append(_decided(question.value, asked, study.margin))
        elif asked:
            undecided.append(_open(question.value, asked))
    if still := [arm for arm in arms if arm.verdict == "inconclusive" and arm.reason is None]:
        undecided.append(f"To tell what these runs cannot takes {_more(still, study)}")
    return decided + undecided


def _decided(question: str, arms: list[RetrainedArm], margin: float) -> str:
    equal, better, beaten = (
        [arm for arm in arms if arm.verdict == word] for word in ("neutral", "hurts", "helps")
    )
    if len(beaten) == len(arms):
        subject = question[0].upper() + question[1:]
        surely = any(not ARMS[arm.name].differs_too for arm in arms)
        return (
            f"{subject} {'helps' if surely else 'may help'}: the model is better than "
            f"{_listed(arms)}."
        )
    words = []
    if equal:
        words.append(f"{_listed(equal)} {_do(equal)} as well to within {margin:g}")
    if better:
        words.append(f"{_listed(better)} {_do(better)} better")
    if beaten:
        words.append(f"only {_listed(beaten)} {_do(beaten)} worse")
    words += _unknown(arms)
    return f"No need for {question} was found: {'; '.join(words)}."


def _open(question: str, arms: list[RetrainedArm]) -> str:
    beaten = [arm for arm in arms if arm.verdict == "helps"]
    known = f", though the model is better than {_listed(beaten)}" if beaten else ""
    return f"Whether {question} helps is open: {'; '.join(_unknown(arms))}{known}."


def _unknown(arms: Sequence[RetrainedArm]) -> list[str]:
    """What is not known of arms, those whose verdict was held back by reason."""
    unknown = [arm for arm in arms if arm.verdict == "inconclusive"]
    words = []
    for reason in dict.fromkeys(arm.reason for arm in unknown):
        alike = [arm for arm in unknown if arm.reason == reason]
        words.append(f"{_listed(alike)} {REASONS[reason]}")
    return words


def _reservations(arms: Sequence[RetrainedArm]) -> list[str]:
    """Say where the trainings may not have been fair."""
    sentences = []
    last = [epoch >= arm.epochs for arm in arms for epoch in arm.best_epochs]
    if last and sum(last) >= _OFTEN * len(last):
        sentences.append(
            f"In {sum(last)} of {len(last)} runs the last epoch was the best: these are "
            "differences of speed; raise max_epochs."
        )
    if any(not arm.best_epochs for arm in arms):
        sentences.append(
            "Without validations to choose optimizer settings by, and to see whether an arm had "
            "finished, nothing is said to help or to hurt."
        )
    return sentences


def _reliance(arms: Sequence[PosthocArm], margin: float) -> list[str]:
    """Say what the trained model does without the information in each part, one sentence a part."""
    sentences = []
    for arm in arms:
        if arm.replacement != "mean":
            continue
        found = arm.difference
        change = f"its mean output changes the score by {signed(-found.mean)}"
        reach = ends(Interval(-found.mean, -found.high, -found.low), "+.3f")
        sentences.append(
            {
                "relies on": f"The trained model relies on {arm.part} ({change}), which does not "
                "say that one trained without it would lack anything.",
                "better without": f"The trained model is better off without {arm.part} ({change}).",
                "does not rely on": f"The trained model does not rely on what {arm.part} says "
                f"about a row ({change}, and surely by less than {margin:g}).",
                "inconclusive": f"Whether the trained model relies on {arm.part} is open "
                f"({change}; {reach}).",
            }[arm.verdict]
        )
    return sentences


def _listed(arms: Sequence[RetrainedArm]) -> str:
    named = []
    for arm in arms:
        assert arm.difference is not None
        differs = ARMS[arm.name].differs_too
        more = f"; {differs}" if differs and arm.verdict == "helps" else ""
        named.append(f"{arm.name} ({signed(arm.difference.mean)}{more})")
    return _and(named)


def _and(named: Sequence[str]) -> str:
    return named[0] if len(named) == 1 else f"{', '.join(named[:-1])} and {named[-1]}"


def _do(arms: Sequence[RetrainedArm]) -> str:
    return "does" if len(arms) == 1 else "do"
