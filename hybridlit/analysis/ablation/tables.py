"""The tables of an ablation study, and what they do not say by themselves."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from hybridlit.analysis.ablation.arms import ARMS
from hybridlit.analysis.ablation.posthoc import REPLACEMENTS
from hybridlit.analysis.statistics import shown
from hybridlit.words import plural

if TYPE_CHECKING:
    from hybridlit.analysis.ablation.result import AblationStudy
    from hybridlit.analysis.ablation.retrained import RetrainedArm

__all__ = ["Table", "effort", "plain_values", "report", "summary"]

Table = Callable[[Sequence[str], Sequence[Sequence[str]]], str]
"""From headings and rows to text."""


def report(study: AblationStudy, table: Table, heading: str, conclusion: bool) -> str:
    """Return everything that a study found as text, headings with `heading` before them."""
    blocks = []
    if study.retrained:
        splits = "a split each" if study.splits_vary else "one split"
        blocks.append(
            f"{heading}{study.model} trained again, {effort(study)} ({splits})\n\n"
            + table(*_retrained_table(study))
        )
        blocks += _notes(study)
    if study.baselines or study.constant is not None:
        blocks.append(
            f"{heading}Beside the model: classical baselines\n\n" + table(*_baseline_table(study))
        )
    if study.posthoc:
        blocks.append(
            f"{heading}{study.model} as trained: {study.metric} {study.score:.4f} on "
            f"{study.test_rows} test rows\n\n" + table(*_posthoc_table(study))
        )
        kinds = dict.fromkeys(arm.replacement for arm in study.posthoc)
        blocks.append(_legend({kind: REPLACEMENTS[kind].words for kind in kinds}))
    if study.left_out:
        reasons = "\n".join(f"- {name}: {reason}" for name, reason in study.left_out.items())
        blocks.append(f"{heading}Left out\n\n{reasons}")
    if conclusion:
        blocks.append(f"{heading}Conclusion\n\n{study.conclusion}")
    return "\n\n".join(blocks)


def effort(study: AblationStudy) -> str:
    """Return how long was trained, such as 5 seeds, 40 epochs."""
    epochs = max((arm.epochs for arm in study.retrained), default=0)
    return f"{len(study.seeds)} seeds, {plural(epochs, 'epoch')}"


def plain_values(record: Any) -> dict[str, Any]:
    """Return a dataclass as JSON has it: None for numbers that are not finite."""
    written = json.dumps(asdict(record))
    found: dict[str, Any] = json.loads(written, parse_constant=lambda _: None)
    return found


def summary(studies: Mapping[str, AblationStudy], table: Table) -> str:
    """Return a row for each study with retrained arms, by name: scores, differences, verdicts.

    Of the baselines a row has the best, if there are any; parameters and seconds are in the order
    of the arms.
    """
    names = [arm for arm in ARMS if any(arm in _arms(each) for each in studies.values())]
    others = names[1:]
    beside = ["best baseline"] * any(each.baselines for each in studies.values())
    head = ["recipe", "score", *names, *beside, *(f"hybrid - {name}" for name in others)]
    rows = []
    for name, study in studies.items():
        arms = _arms(study)
        best = max(study.baselines, key=lambda each: fmean(each.scores), default=None)
        cells = [_spread(arms[arm].scores) if arm in arms else "" for arm in names]
        if beside:
            found = f"{best.name} {_spread(best.scores)}: {best.verdict}" if best else ""
            cells.append(found)
        for arm in others:
            gap = arms[arm].difference if arm in arms else None
            cells.append("" if gap is None else f"{shown(gap, '+.3f')}: {arms[arm].said}")
        parameters = " / ".join(str(arm.parameters) for arm in arms.values())
        seconds = " / ".join(f"{arm.seconds:.1f}" for arm in arms.values())
        score = f"{study.metric}, {len(study.seeds)} seeds"
        rows.append([name, score, *cells, parameters, seconds])
    return table([*head, "parameters", "seconds a run"], rows)


def _arms(study: AblationStudy) -> dict[str, RetrainedArm]:
    return {arm.name: arm for arm in study.retrained}


def _notes(study: AblationStudy) -> list[str]:
    """What the table of the retrained arms does not say by itself."""
    notes = [_legend({arm.name: ARMS[arm.name].words for arm in study.retrained})]
    chosen = [
        f"{arm.name} {_most_of(arm.rates)}"
        for arm in study.retrained
        if arm.rates and arm.best_epochs
    ]
    if chosen:
        notes.append(
            "Every arm was trained with the model's optimizer settings (own), with those of its "
            "classical parameters for all (classical), and with those of its photonic ones for all "
            f"(photonic); validation chose: {', '.join(chosen)}."
        )
    nothing = [arm.name for arm in study.retrained if arm.beats_constant is False]
    if nothing:
        notes.append(f"Not surely better than a constant answer: {', '.join(nothing)}.")
    return notes + [note for arm in study.retrained if (note := ARMS[arm.name].note)]


def _legend(words: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {meaning}" for name, meaning in words.items()) + "."


def _retrained_table(study: AblationStudy) -> tuple[list[str], list[list[str]]]:
    head = ["arm", study.metric, "hybrid - arm", "p (Holm)", "verdict", "parameters", "seconds"]
    rows = []
    for arm in study.retrained:
        parameters = f"{arm.parameters} ({arm.photonic_parameters} photonic)"
        compared = ["", "", "reference"]
        if arm.difference is not None and arm.p_value is not None and arm.verdict is not None:
            compared = [shown(arm.difference, "+.3f"), _chance(arm.p_value), arm.said]
        rows.append([arm.name, _spread(arm.scores), *compared, parameters, f"{arm.seconds:.1f}"])
    return head, rows


def _baseline_table(study: AblationStudy) -> tuple[list[str], list[list[str]]]:
    head = ["baseline", study.metric, "model - it", "p (Holm)", "verdict", "chosen", "seconds"]
    rows = []
    for each in study.baselines:
        found = shown(each.difference, "+.3f"), _chance(each.p_value), each.verdict
        search = _most_of(each.settings), f"{each.seconds:.1f}"
        rows.append([each.name, _spread(each.scores), *found, *search])
    if study.constant is not None:
        rows.append(["constant answer", f"{study.constant:.3f}", *[""] * 5])
    return head, rows


def _posthoc_table(study: AblationStudy) -> tuple[list[str], list[list[str]]]:
    head = ["part", "replaced by", study.metric, "model - arm", "p (Holm)", "verdict"]
    rows = []
    for arm in study.posthoc:
        name = arm.replacement
        if arm.permutation_p_value is not None:
            name += f" ({arm.draws} draws, p {_chance(arm.permutation_p_value)})"
        elif arm.draws > 1:
            name += f" ({arm.draws} draws)"
        found = shown(arm.difference, "+.3f"), _chance(arm.p_value), arm.verdict
        rows.append([arm.part, name, f"{arm.score:.3f}", *found])
    return head, rows


def _spread(scores: Sequence[float]) -> str:
    if len(scores) == 1:
        return f"{scores[0]:.3f}"
    return f"{fmean(scores):.3f} ± {stdev(scores):.3f}"


def _most_of(settings: Sequence[str]) -> str:
    """The most frequent setting, and how frequent it is."""
    (name, count), *_ = Counter(settings).most_common(1)
    return f"{name} ({count} of {len(settings)})" if len(settings) > 1 else name


def _chance(p: float) -> str:
    return "<0.001" if p < 0.001 else f"{p:.3f}"
