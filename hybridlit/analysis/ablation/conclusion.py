"""What the arms of an ablation study mean, in plain words."""

from __future__ import annotations

from collections.abc import Sequence

from hybridlit.analysis.ablation.posthoc import PosthocArm
from hybridlit.analysis.ablation.retrained import RetrainedArm

__all__ = ["conclusion"]

_QUESTIONS = {
    "the photonic nonlinearity": ("linear", "mlp", "random_features"),
    "training the photonic parameters": ("untrained",),
    "interference between photons": ("distinguishable", "single_photon"),
    "the photonic part beside the classical one": ("classical_only",),
}
"""What comparisons with retrained arms decide about."""


def conclusion(
    posthoc: Sequence[PosthocArm],
    retrained: Sequence[RetrainedArm],
    margin: float,
    splits_vary: bool,
) -> str:
    """Say what follows from an ablation study, and what does not.

    Args:
        posthoc: The post-hoc arms.
        retrained: The retrained arms.
        margin: The smallest difference that matters.
        splits_vary: Whether each seed had a split of its own.

    Returns:
        A few sentences.
    """
    arms = {arm.name: arm for arm in retrained if arm.verdict is not None}
    sentences = []
    for question, names in _QUESTIONS.items():
        asked = [arms[name] for name in names if name in arms]
        if asked:
            sentences.append(_answer(question, asked, margin))
    if arms:
        sentences.append(
            "Intervals cover other initial weights and other splits of these data."
            if splits_vary
            else "Intervals cover other initial weights and test rows, but not other training rows."
        )
    sentences += _reliance(posthoc, margin)
    return " ".join(sentences) or "Nothing was compared."


def _answer(question: str, arms: list[RetrainedArm], margin: float) -> str:
    verdicts = {arm.name: arm.verdict for arm in arms}
    subject = question[0].upper() + question[1:]
    if set(verdicts.values()) == {"helps"}:
        return f"{subject} helps: the model is better than {_listed(arms)}."
    as_good = [arm for arm in arms if arm.verdict in ("neutral", "hurts")]
    beaten = [arm for arm in arms if arm.verdict == "helps"]
    unknown = [arm for arm in arms if arm.verdict == "inconclusive"]
    if not as_good:
        known = f", though it is better than {_listed(beaten)}" if beaten else ""
        return (
            f"Whether {question} helps is open: the runs cannot tell the model from "
            f"{_listed(unknown)}{known}; {_seeds(unknown)}."
        )
    words = []
    equal = [arm for arm in as_good if arm.verdict == "neutral"]
    better = [arm for arm in as_good if arm.verdict == "hurts"]
    if equal:
        words.append(f"{_listed(equal)} {_do(equal)} as well to within {margin:g}")
    if better:
        words.append(f"{_listed(better)} {_do(better)} better")
    if beaten:
        words.append(f"only {_listed(beaten)} {_do(beaten)} worse")
    if unknown:
        words.append(f"{_listed(unknown)} cannot be told from the model ({_seeds(unknown)})")
    if verdicts.get("linear") == "helps":
        return f"A nonlinearity helps, but it need not be photonic: {'; '.join(words)}."
    if verdicts.get("single_photon") == "helps":
        return f"More than one photon helps, but not their interference: {'; '.join(words)}."
    return f"No need for {question} was found: {'; '.join(words)}."


def _reliance(arms: Sequence[PosthocArm], margin: float) -> list[str]:
    """Say what the trained model does without the information in each part, one sentence a part."""
    sentences = []
    for arm in arms:
        if arm.replacement != "mean":
            continue
        found = arm.difference
        change = f"its mean output changes the score by {-found.mean:+.3f}"
        sentences.append(
            {
                "helps": f"The trained model relies on {arm.part} ({change}), which does not say "
                "that one trained without it would lack anything.",
                "hurts": f"The trained model is better off without {arm.part} ({change}).",
                "neutral": f"The trained model does not rely on what {arm.part} says about a row "
                f"({change}, and surely by less than {margin:g}).",
                "inconclusive": f"Whether the trained model relies on {arm.part} is open "
                f"({change}, between {-found.high:+.3f} and {-found.low:+.3f}).",
            }[arm.verdict]
        )
    return sentences


def _listed(arms: Sequence[RetrainedArm]) -> str:
    named = [
        f"{arm.name} ({arm.difference.mean:+.3f})" for arm in arms if arm.difference is not None
    ]
    return named[0] if len(named) == 1 else f"{', '.join(named[:-1])} and {named[-1]}"


def _do(arms: Sequence[RetrainedArm]) -> str:
    return "does" if len(arms) == 1 else "do"


def _seeds(arms: Sequence[RetrainedArm]) -> str:
    needed = [arm.seeds_needed for arm in arms]
    if None in needed:
        return "that takes more data, not more seeds"
    return f"that takes about {max(number for number in needed if number is not None)} seeds"
