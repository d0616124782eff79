"""What a search supports, in plain words, and what it does not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from hybridlit.analysis.ablation.conclusion import signed
from hybridlit.analysis.ablation.retrained import ARM_IMPROVING, MODEL_IMPROVING, REASONS
from hybridlit.analysis.statistics import ends
from hybridlit.search.outcomes import Outcome, found_late
from hybridlit.search.settings import ARMS
from hybridlit.words import plural

if TYPE_CHECKING:
    from hybridlit.search.finals import Finals
    from hybridlit.search.summary import SearchSummary

__all__ = ["conclusion"]

_OPEN = {
    ARM_IMPROVING: "the classical model was still improving when its training ended",
    MODEL_IMPROVING: "the hybrid model was still improving when its training ended",
}
"""Why a winner is not named, in words of a search."""

_FEW = 10
"""Trials of an arm below which its best is much a matter of luck."""


def conclusion(found: SearchSummary) -> str:
    """Say what follows from a search, as a list in Markdown: who has won comes first."""
    finals = found.finals
    if finals is None:
        sentences = [f"Nothing is decided: {found.why_no_finals}."]
    else:
        sentences = [_verdict(finals), *_baselines(finals)]
        if finals.classical.reason in _OPEN:
            sentences.append("Raise trainer.max_epochs for a comparison of what both can reach.")
    sentences += [_effort(found.trials), *_doubts(found.trials), *_front(found)]
    if finals is not None:
        sentences.append(_scope(finals))
    return "\n".join(f"- {sentence}" for sentence in sentences)


def _verdict(finals: Finals) -> str:
    hybrid, classical = (fmean(arm.scores) for arm in finals.arms)
    found = finals.classical.difference
    assert found is not None  # of the hybrid arm alone
    counts = [f"{arm.parameters:,}" for arm in finals.arms]
    scores = (
        f"{finals.metric} {hybrid:.3f} of the best hybrid and {classical:.3f} of the best "
        f"classical model ({counts[0]} and {counts[1]} parameters), "
        f"{plural(len(finals.seeds), 'seed')}, "
        f"{plural(finals.test_rows, 'test row')} (hybrid minus classical {signed(found.mean)}, "
        f"{ends(found, '+.3f')})"
    )
    word, reason = finals.classical.verdict, finals.classical.reason
    if word == "hurts":
        return f"The classical arm wins: {scores}. This search gives no reason to use photons here."
    if word == "neutral":
        return (
            "The classical arm wins, since it is simpler and does as well to within "
            f"{finals.margin:g}: {scores}. No photons are needed here."
        )
    rivals = [each for each in finals.baselines if each.verdict != "model better"]
    # one that surely does as well counts before one that may do better
    decided = [each for each in rivals if each.verdict != "inconclusive"]
    rival = min(decided or rivals, key=lambda each: each.difference.mean, default=None)
    if rival is not None and rival.verdict != "inconclusive":
        how = (
            "better"
            if rival.verdict == "baseline better"
            else f"as well to within {finals.margin:g}"
        )
        return (
            f"Classical models win, since {rival.name} of scikit-learn does {how}: {scores}. No "
            "photons are needed here."
        )
    if word == "helps":
        but = "" if rival is None else f", though {rival.name} cannot be told from it"
        return f"The hybrid arm wins{but}: {scores}."
    if reason is None:
        return f"Whether photons help is open, the two arms cannot be told apart: {scores}."
    why = _OPEN.get(reason, f"the classical model {REASONS[reason]}")
    return f"Whether photons help is open, since {why}: {scores}."


def _baselines(finals: Finals) -> list[str]:
    if not finals.baselines:
        reasons = [f"{name}: {reason}" for name, reason in finals.left_out.items()]
        return [f"No model of scikit-learn stands beside them ({'; '.join(reasons)})."] * bool(
            reasons
        )
    words = {
        "model better": "is beaten by the best hybrid model",
        "alike": f"does as well as the best hybrid model to within {finals.margin:g}",
        "baseline better": "does better than the best hybrid model",
        "inconclusive": "cannot be told from the best hybrid model",
    }
    best = min(finals.baselines, key=lambda each: each.difference.mean)
    found = best.difference
    return [
        f"Beside them, {best.name}, the best of {len(finals.baselines)} classical models of "
        f"scikit-learn tuned on the same rows, {words[best.verdict]} ({fmean(best.scores):.3f}; "
        f"hybrid minus it {signed(found.mean)}, {ends(found, '+.3f')}; p "
        f"{best.p_value:.2g}, corrected for {plural(len(finals.baselines), 'comparison')})."
    ]


def _effort(trials: Sequence[Outcome]) -> str:
    """Say how many trials there were of each arm, and what became of them."""
    counts = Counter((each.arm, each.outcome) for each in trials)
    of_arm = {
        arm: sum(counts[arm, outcome] for outcome in ("complete", "pruned", "failed"))
        for arm in ARMS
    }
    pruned = [counts[arm, "pruned"] for arm in of_arm]
    text = f"Of {plural(sum(of_arm.values()), 'trial')}, {of_arm['hybrid']} were hybrid and "
    text += f"{of_arm['classical']} classical"
    if any(pruned):
        text += (
            f"; {pruned[0]} and {pruned[1]} of them were pruned, among which may be slow learners"
        )
    refused = sum(counts[arm, "refused"] for arm in of_arm)
    if refused:
        text += f"; {plural(refused, 'draw')} {'was' if refused == 1 else 'were'} refused before "
        text += "anything was built, and drawn again"
    return f"{text}."


def _doubts(trials: Sequence[Outcome]) -> list[str]:
    """Say what more trials might change."""
    sentences = []
    of_arm = {arm: [t for t in trials if t.arm == arm and t.outcome != "refused"] for arm in ARMS}
    counts = {arm: len(own) for arm, own in of_arm.items()}
    if min(counts.values()) != max(counts.values()):
        sentences.append("The arms had different numbers of trials: the one with more is favoured.")
    if min(counts.values()) < _FEW:
        sentences.append(
            f"Fewer than {_FEW} trials of an arm see little of a space: the best of either may be "
            "luck."
        )
    late = [arm for arm, own in of_arm.items() if found_late(own)]
    if late:
        sentences.append(
            f"The best {' and the best '.join(late)} trial "
            f"{'each ' * (len(late) > 1)}came among the last fifth of its arm: "
            "more trials may find better ones."
        )
    failed = [t for t in trials if t.outcome == "failed"]
    if failed:
        sentences.append(
            f"{plural(len(failed), 'trial')} failed ({failed[0].reason}), and say nothing of their "
            "settings."
        )
    return sentences


def _front(found: SearchSummary) -> list[str]:
    if len(found.objectives) < 2:
        return []
    front = [t for t in found.trials if t.on_front]
    classical = sum(t.arm == "classical" for t in front)
    return [
        f"The Pareto front of {' and '.join(found.objectives)} has "
        f"{plural(len(front), 'trial')}, {classical} classical, by one training each: "
        "validation scores, without intervals."
    ]


def _scope(finals: Finals) -> str:
    if finals.same_rows:
        return (
            "No trial and no training saw the test rows. Intervals cover other initial weights, "
            "another choice of validation rows, and other test rows; other training rows in part "
            "only, since the runs share most of theirs. A further search that is chosen by these "
            "scores has no test rows left."
        )
    return (
        "Each seed has test rows of its own, some of which trials may have been trained on, since "
        "the data module has no test_seed: all scores may be too good."
    )
