"""What `hybridlit analyze` has found of a model: the verdict in a sentence, and what to do next."""

from __future__ import annotations

import math
import shlex
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lightning.pytorch import LightningDataModule

from hybridlit.analysis.ablation.open_arms import remedy
from hybridlit.analysis.ablation.result import AblationStudy
from hybridlit.analysis.ablation.retrained import RetrainedArm
from hybridlit.analysis.noise_result import ALL, NoiseStudy
from hybridlit.analysis.report import code
from hybridlit.analysis.scores import Score
from hybridlit.analysis.statistics import ends
from hybridlit.analysis.uncertain_rows import Uncertainty
from hybridlit.callbacks.measuring.history import History
from hybridlit.templates import HybridModule
from hybridlit.templates.loading import read_checkpoint
from hybridlit.words import plural, quoted, written

__all__ = ["Found", "command_of_run", "next_steps", "verdict"]

_RARE = 0.25
"""A class is rare whose share of the training rows is below this part of an equal share."""

_DISHONEST = 0.05
"""Expected calibration error from which on probabilities should not be taken at their word."""

_BY_CHANCE = 1.2
"""Times the root of the number of rows, what nine of ten honest models stay below in 15 bins."""

_RISEN = 1.1
"""How many times the lowest validation loss the last one is where training went on too long."""


@dataclass
class Found:
    """A trained model, and what the sections of its report have found, as far as they could.

    Attributes:
        model: The model.
        data: The data of its run, set up.
        checkpoint: What it was loaded from.
        recipe: The settings of its run.
        options: What `hybridlit analyze` was given besides, word by word, by name.
        study: What its photonic part is worth; None without one.
        scores: Scores of the test rows, the main one first.
        shares: Share of the training rows by class.
        doubts: How far it can be trusted.
        noise: What remains of it on hardware.
        history: How it learned.
        unscored: Why there are no scores, if there are none.
    """

    model: HybridModule
    data: LightningDataModule
    checkpoint: Path
    recipe: Path
    options: Mapping[str, str] = field(default_factory=dict)
    study: AblationStudy | None = None
    scores: list[Score] = field(default_factory=list)
    shares: dict[str, float] = field(default_factory=dict)
    doubts: Uncertainty | None = None
    noise: NoiseStudy | None = None
    history: History | None = None
    unscored: str = "there are no test rows"


def verdict(found: Found) -> str:
    """Say what the model scores, and whether its photonic part was found to help."""
    told = [f"It was not scored: {found.unscored}."]
    if found.scores:
        main = found.scores[0]
        told = [
            f"**{main.name} {written(main.found.mean, '.3f')}** on "
            f"{plural(main.rows, 'test row')}{_how_sure(main)}."
        ]
    if found.study is not None:
        told.append(f"**{found.study.verdict}**")
    return " ".join(told)


def _how_sure(score: Score) -> str:
    """Say how far a score can be relied on, and what a constant answer scores, if that is known."""
    beside = ""
    if score.constant is not None:
        beside = f"; a constant answer scores {written(score.constant, '.3f')}"
    if score.found.tells_nothing:
        return f", so few that they tell nothing{beside}"
    if score.beats_constant is False:
        beside += ", and these rows do not show that the model is better"
    return f" (95 % interval {ends(score.found)}){beside}"


def next_steps(found: Found) -> str:
    """Return what to do next, what matters most first, as a list in Markdown."""
    steps = [*_of_learning(found), *_of_study(found), *_of_use(found)]
    return "\n".join(f"- {step}" for step in steps)


def command_of_run(recipe: Path, *options: str) -> str:
    """Return the command that makes a run again, with options."""
    return shlex.join(["hybridlit", "fit", f"--config={recipe}", *options])


def _of_learning(found: Found) -> Iterator[str]:
    for shared in [] if found.study is None else found.study.shared_rows:
        yield f"Draw other splits: {shared}."
    history = found.history
    best = None if history is None else history.best_epoch
    if history is not None and best is not None and best == history.epochs:
        longer = command_of_run(found.recipe, f"--trainer.max_epochs={2 * best}")
        yield f"Train longer, the validation loss was lowest at the end: {code(longer)}"
    elif found.scores and found.scores[0].found.tells_nothing:
        yield f"Get more test rows: {found.scores[0].rows} are too few to score a model on."
    elif found.scores and found.scores[0].beats_constant is False:
        yield (
            "It is not surely better than a constant answer: look for other learning rates, with "
            f"{_command('lr-find', found)}, more training rows or other inputs."
        )
    if history is not None and best is not None and history.risen > _RISEN:
        done = read_checkpoint(found.checkpoint).get("epoch", -1) + 1
        if done > best:
            words = ["hybridlit", "analyze", "--ckpt=best", *found.options.values()]
            yield (
                f"Take the checkpoint of epoch {best}: since then the validation loss has risen to "
                f"{history.risen:.3g} times its lowest, and this one is of epoch {done}. "
                f"{code(shlex.join(words))} is of the best one of the newest run."
            )
    yield from history.said() if history is not None else ()
    rarest = min(found.shares, key=found.shares.__getitem__, default="")
    if rarest and found.shares[rarest] < _RARE / len(found.shares):
        weighed = found.model.hparams.get("class_weights") is not None
        how = "look at its own score below"
        if not weighed:
            again = command_of_run(found.recipe, "--model.class_weights=balanced")
            how = f"give every class the same say, {code(again)}"
        yield f"Only {found.shares[rarest]:.1%} of the rows are of {code(rarest)}: {how}."


def _of_study(found: Found) -> Iterator[str]:
    study = found.study
    if study is None:
        return
    arms = [arm for arm in study.retrained if arm.verdict is not None]
    still = [arm for arm in arms if arm.verdict == "inconclusive" and arm.reason is None]
    if not arms:
        yield (
            "To learn whether the photonic part helps, train without it as well: "
            f"{_again(found, without=('retrain', 'arms'))}"  # whose arms there were none of
        )
    elif any(any(arm.improving) for arm in study.retrained):
        epochs = 2 * max(arm.epochs for arm in study.retrained)
        yield (
            "Compare longer trainings, some were still improving: "
            f"{_again(found, max_epochs=epochs)}"
        )
    else:
        yield from _of_open(found, study, still)
    rivals = [each for each in study.baselines if each.verdict in ("baseline better", "alike")]
    if rivals:
        best = min(rivals, key=lambda each: each.difference.mean)
        yield f"Take {best.name} for this task, or a task that needs the model: it does no worse."


def _of_open(found: Found, study: AblationStudy, arms: list[RetrainedArm]) -> Iterator[str]:
    """Say what may tell arms from the model: more seeds, unless the test rows are too few."""
    takes = remedy(study, arms)
    if takes.seeds:
        yield (
            f"Compare more seeds, to decide what is open of {quoted(takes.seeds, quote=False)}: "
            f"{_again(found, seeds=max(5, 2 * len(study.seeds)))}"
        )
    if takes.rows:
        yield (
            f"Get more test rows, to decide what is open of {quoted(takes.rows, quote=False)}: "
            f"{takes.why}. Where they are drawn from all rows, each draw brings others: "
            f"{code(_on_other_splits(found))}"
        )


def _on_other_splits(found: Found) -> str:
    """Return the command that compares the recipe on a split for each seed, asked as here."""
    names = ("arms", "max_epochs", "margin", "baselines", "jobs")
    kept = [found.options[name] for name in names if name in found.options]
    kept = [word.replace("--max_epochs", "--epochs") for word in kept]
    return shlex.join(["hybridlit", "compare", f"{found.recipe}", *kept])


def _of_use(found: Found) -> Iterator[str]:
    doubts, noise = found.doubts, found.noise
    if doubts is not None and doubts.calibration_error is not None:
        before, after = doubts.calibration_error
        chance = _BY_CHANCE / math.sqrt(found.scores[0].rows) if found.scores else 0.0
        if before == after and after > max(_DISHONEST, chance):
            yield (
                f"Calibrate its probabilities, which are {after:.3f} off in the mean: "
                f"{_command('calibrate', found)}"
            )
    lost = [
        each.loss.low
        for each in ([] if noise is None else noise.found)
        if each.source == ALL and each.strength == 1 and each.shots is None
    ]
    if lost and lost[0] > 0:
        yield "Train under noise, by which it surely loses: give its `experiment` a `noise`."
    yield f"Use it: {_command('predict', found, '--input=rows.csv')}"
    yield f"Tell others what it is: {_command('card', found)}"


def _again(found: Found, without: Collection[str] = (), **changes: object) -> str:
    """Return the command that analyzes it once more, as before but for some options."""
    words = {**found.options, **{name: f"--{name}={value}" for name, value in changes.items()}}
    kept = [word for name, word in words.items() if name not in without]
    return _command("analyze", found, *kept)


def _command(verb: str, found: Found, *options: str) -> str:
    return code(shlex.join(["hybridlit", verb, f"--ckpt={found.checkpoint}", *options]))
