"""What the arms of an ablation study mean, in plain words."""

from __future__ import annotations

from collections.abc import Sequence

from hybridlit.analysis.ablation.posthoc import PosthocArm
from hybridlit.analysis.ablation.retrained import RetrainedArm

__all__ = ["conclusion", "signed"]

_QUESTIONS = {
    "the photonic nonlinearity": ("linear", "mlp", "random_features"),
    "training the photonic parameters": ("untrained",),
    "interference between photons": ("distinguishable", "single_photon"),
    "the photonic part beside the classical one": ("classical_only",),
}
"""What comparisons with retrained arms decide about."""

_DIFFERS_TOO = {
    "linear": "another number of parameters, too",
    "single_photon": "fewer outcomes to read, too",
}
"""What else is not as in the model, in arms that differ from it in more than the question."""

_OFTEN = 0.25
"""Share of runs whose last epoch was the best from which on the training was too short."""


def conclusion(
    posthoc: Sequence[PosthocArm],
    retrained: Sequence[RetrainedArm],
    margin: float,
    splits_vary: bool,
    test_rows: int,
) -> str:
    """Say what follows from an ablation study, and what does not.

    Args:
        posthoc: The post-hoc arms.
        retrained: The retrained arms.
        margin: The smallest difference that matters.
        splits_vary: Whether each seed had a split of its own.
        test_rows: Number of test rows of a seed.

    Returns:
        A sentence, or several as a list in Markdown, what is decided first.
    """
    arms = [arm for arm in retrained if arm.verdict is not None]
    sentences = []
    if arms and all(arm.verdict == "inconclusive" for arm in arms):
        sentences.append(_nothing_decided(arms, margin, test_rows))
    elif arms:
        sentences += _answers(arms, margin)
    if arms:
        sentences += _reservations(retrained)
        sentences.append(
            "Intervals cover other initial weights and other splits of these data."
            if splits_vary
            else "Intervals cover other initial weights and test rows, but not other training rows."
        )
    sentences += _reliance(posthoc, margin)
    if len(sentences) > 1:
        return "\n".join(f"- {sentence}" for sentence in sentences)
    return sentences[0] if sentences else "Nothing was compared."


def signed(value: float, digits: int = 3) -> str:
    """Write a difference with its sign; what rounds to 0 is +0.

    Args:
        value: The difference.
        digits: Digits after the point.

    Returns:
        Such as `+0.012`.
    """
    return f"{round(value, digits) + 0.0:+.{digits}f}"  # -0.0 + 0.0 is 0.0


def _nothing_decided(arms: Sequence[RetrainedArm], margin: float, test_rows: int) -> str:
    found = [arm.difference for arm in arms if arm.difference is not None]
    narrowest = min((each.high - each.low) / 2 for each in found)
    epochs = max(arm.epochs for arm in arms)
    return (
        f"These runs ({len(arms[0].scores)} seeds, {test_rows} test rows, "
        f"{epochs} epoch{'s' * (epochs != 1)}) decide nothing: no arm can be told from the model; "
        f"the narrowest interval is ±{narrowest:.3f}, the margin {margin:g}. "
        "More seeds or test rows would narrow them."
    )


def _answers(arms: Sequence[RetrainedArm], margin: float) -> list[str]:
    """One sentence a question, those that are decided first."""
    of_name = {arm.name: arm for arm in arms}
    decided, undecided = [], []
    for question, names in _QUESTIONS.items():
        asked = [of_name[name] for name in names if name in of_name]
        if any(arm.verdict in ("neutral", "hurts") for arm in asked) or (
            asked and all(arm.verdict == "helps" for arm in asked)
        ):
            decided.append(_decided(question, asked, margin))
        elif asked:
            undecided.append(_open(question, asked))
    if any(arm.verdict == "inconclusive" for arm in arms):
        undecided.append("To tell what these runs cannot takes more seeds or test rows.")
    return decided + undecided


def _decided(question: str, arms: list[RetrainedArm], margin: float) -> str:
    equal, better, beaten, unknown = (
        [arm for arm in arms if arm.verdict == word]
        for word in ("neutral", "hurts", "helps", "inconclusive")
    )
    if len(beaten) == len(arms):
        subject = question[0].upper() + question[1:]
        surely = any(arm.name not in _DIFFERS_TOO for arm in arms)
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
    if unknown:
        words.append(f"{_listed(unknown)} cannot be told from the model")
    return f"No need for {question} was found: {'; '.join(words)}."


def _open(question: str, arms: list[RetrainedArm]) -> str:
    beaten = [arm for arm in arms if arm.verdict == "helps"]
    unknown = [arm for arm in arms if arm.verdict == "inconclusive"]
    known = f", though it is better than {_listed(beaten)}" if beaten else ""
    return (
        f"Whether {question} helps is open: the model cannot be told from "
        f"{_listed(unknown)}{known}."
    )


def _reservations(arms: Sequence[RetrainedArm]) -> list[str]:
    """Say where the trainings may not have been fair."""
    sentences = []
    last = [epoch >= arm.epochs for arm in arms for epoch in arm.best_epochs]
    if last and sum(last) >= _OFTEN * len(last):
        sentences.append(
            f"In {sum(last)} of {len(last)} runs the last epoch was the best: these are "
            "differences of speed; raise max_epochs."
        )
    if any(arm.rates and not arm.best_epochs for arm in arms):
        sentences.append(
            "Without validation data to choose a learning rate by, what stands in for the photonic "
            "layers learned at the classical rate only."
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
        sentences.append(
            {
                "helps": f"The trained model relies on {arm.part} ({change}), which does not say "
                "that one trained without it would lack anything.",
                "hurts": f"The trained model is better off without {arm.part} ({change}).",
                "neutral": f"The trained model does not rely on what {arm.part} says about a row "
                f"({change}, and surely by less than {margin:g}).",
                "inconclusive": f"Whether the trained model relies on {arm.part} is open "
                f"({change}, between {signed(-found.high)} and {signed(-found.low)}).",
            }[arm.verdict]
        )
    return sentences


def _listed(arms: Sequence[RetrainedArm]) -> str:
    named = []
    for arm in arms:
        assert arm.difference is not None
        more = f"; {_DIFFERS_TOO[arm.name]}" if _confounded(arm) else ""
        named.append(f"{arm.name} ({signed(arm.difference.mean)}{more})")
    return named[0] if len(named) == 1 else f"{', '.join(named[:-1])} and {named[-1]}"


def _confounded(arm: RetrainedArm) -> bool:
    return arm.verdict == "helps" and arm.name in _DIFFERS_TOO


def _do(arms: Sequence[RetrainedArm]) -> str:
    return "does" if len(arms) == 1 else "do"
