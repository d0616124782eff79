"""`hybridlit analyze`: what the parts of a trained model cost and contribute, as one report."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import torch

from hybridlit import __version__
from hybridlit.analysis.ablation.arms import ARMS
from hybridlit.analysis.ablation.kept import SUFFIX, Kept
from hybridlit.analysis.ablation.result import AblationStudy
from hybridlit.analysis.ablation.study import ablation_study
from hybridlit.analysis.chip_result import add_chip
from hybridlit.analysis.chip_study import chip_study, chip_twin_of
from hybridlit.analysis.profiling.component_profile import ComponentProfile
from hybridlit.analysis.profiling.profile import profile_components
from hybridlit.analysis.report import Report, code
from hybridlit.analysis.splits import first_batches, loader_of, prepared
from hybridlit.checks import integer
from hybridlit.cli.card import leave_verdict
from hybridlit.cli.checkpoints import checkpoint_path, recipe_of
from hybridlit.cli.loading import load_run
from hybridlit.cli.next_steps import Found, command_of_run, next_steps, verdict
from hybridlit.cli.options import command_of, options_of
from hybridlit.cli.progress import timed
from hybridlit.cli.report_sections import (
    add_contributions,
    add_costs,
    add_data,
    add_doubts,
    add_hardware,
    add_history,
    add_pictures,
    add_robustness,
    add_scores,
    time_of_step,
)
from hybridlit.components import photonic_modules
from hybridlit.photonics import Noise
from hybridlit.recipe.reading import settings_of
from hybridlit.words import plural

__all__ = ["analyze"]

_SETTINGS = (
    "gradient_clip_val",
    "gradient_clip_algorithm",
    "accumulate_grad_batches",
    "precision",
    "limit_train_batches",
    "max_steps",
)
"""Arguments of the run's Trainer that change what a model learns."""

_NO_PHOTONS = (
    "This model holds no photonic layer, so there is no photonic part whose contribution could be "
    "measured."
)


def analyze(
    ckpt: str,
    out: str | None = None,
    retrain: bool = True,
    arms: list[str] | None = None,
    seeds: int = 3,
    max_epochs: int | None = None,
    margin: float = 0.01,
    batches: int = 20,
    baselines: bool = True,
    noise: dict[str, Any] | str | None = "ascella",
    template: str | None = None,
    jobs: int | None = None,
) -> list[Path]:
    """Write a report on a trained model: what it is worth, why, and what to do next.

    Arms are trained with the settings of the run's Trainer that change what is learned (gradient
    clipping and accumulation, precision, number of batches and steps), but without its callbacks,
    which the report names. A model without photonic layers is compared with nothing.

    Finished arms are kept beside the report until it is written, as report.arms: if the command is
    killed, the same command goes on, and the numbers are the same.

    Args:
        ckpt: Checkpoint that hybridlit fit has made: a file, last or best.
        out: The report, .html for one page, .md for text with pictures beside it. Without it,
            report.html in the folder of the run.
        retrain: Train the arms of the ablation study, each with every seed; the longest part.
        arms: Retrained arms, such as linear, mlp, untrained, distinguishable; all without it.
        seeds: Number of seeds of each retrained arm, at least 2.
        max_epochs: Epochs of each retraining, at least 1; those of the run without it.
        margin: Smallest difference of the score that matters.
        batches: Number of training steps that are timed, at least 1.
        baselines: Fit classical models of scikit-learn to the same rows, for comparison.
        noise: Noise of the hardware that it would run on: ascella, belenos, demo, or fields such as
            '{transmittance: 0.3, g2: 0.01}'; none with null. It takes some 40 passes over the test
            rows, each up to some 30 times as long as without noise.
        template: Class of a checkpoint that hybridlit fit has not made, such as SequentialHybrid.
        jobs: Processes that train arms side by side, one thread each; all in this one without it.

    Returns:
        The files written, the report first; the last one, .json, is for hybridlit card.
    """
    start, given = time.perf_counter(), dict(locals())
    checkpoint = checkpoint_path(ckpt)
    recipe = recipe_of(checkpoint)
    path = recipe.with_name("report.html") if out is None else Path(out)
    if path.suffix not in (".html", ".md"):
        raise ValueError(f"out must end in .html or .md, got {path.name!r}")
    integer(batches, "batches", 1)
    Noise.of(noise)
    if arms is not None and not arms:
        raise ValueError(f"arms must name some of {list(ARMS)}, got none: or give --retrain=false")
    given["ckpt"] = str(checkpoint)  # what last and best are may be another file tomorrow
    command, options = command_of("analyze", analyze, given), options_of(analyze, given)
    del options["ckpt"]
    model, data = load_run(checkpoint, template)
    found, trainer = Found(model, data, checkpoint, recipe, options), _trainer_of(recipe)
    kept = path.with_suffix(SUFFIX)
    with prepared(data), _nothing_lost(kept if retrain else None, found):
        if photonic_modules(model):  # first, since it checks what was asked for
            found.study = ablation_study(
                model,
                data,
                retrained=(True if arms is None else arms) if retrain else False,
                seeds=seeds,
                max_epochs=trainer.get("max_epochs") if max_epochs is None else max_epochs,
                margin=margin,
                baselines=baselines,
                jobs=jobs,
                trainer_options={name: trainer[name] for name in _SETTINGS if name in trainer},
                keep=kept,
            )
        with timed("Time of a training step"):
            training = first_batches(data, "train", batches)
            profile = profile_components(model, training, batches=batches, progress=False)
        body = _body(found, profile, trainer.get("callbacks"), noise)
        report, said, why = _with_head(found, profile, body)
        report.text(_how_made(found, command, ckpt, time.perf_counter() - start))
        files = report.write(path)
    print(said.replace("**", ""))
    values = None if found.study is None else found.study.to_dict()
    left = leave_verdict(path, checkpoint, command, why, values)
    if retrain and found.study is not None and not _of_others(kept, found.study):
        kept.unlink(missing_ok=True)
    return [*files, left]


def _of_others(kept: Path, study: AblationStudy) -> bool:
    """Whether runs are kept that this report is not of, such as those of a longer one."""
    arms = [*(arm.name for arm in study.retrained), None]
    return bool(Kept(kept).found - set(product(study.seeds, arms)))


@contextmanager
def _nothing_lost(path: Path | None, found: Found) -> Iterator[None]:
    """Say at Ctrl-C after the study, which speaks for itself, that nothing of it is lost."""
    try:
        yield
    except KeyboardInterrupt:
        if found.study is not None and path is not None and path.exists():
            print(f"All runs are kept in {path}: the same command goes on.", file=sys.stderr)
        raise


class _ToldReport(Report):
    """A report that says on stderr which of its sections is being made."""

    @contextmanager
    def section(self, title: str) -> Iterator[None]:
        """Add a section as any report does, and say how long it took."""
        with timed(title), super().section(title):
            yield


def _with_head(found: Found, profile: ComponentProfile, body: Report) -> tuple[Report, str, str]:
    """Return the report with its head above the body, its verdict, and why that is so."""
    report = Report(f"{type(found.model).__name__}: what its parts cost and contribute")
    said = report.text(lambda: verdict(found))
    report.text(lambda: f"### What to do next\n\n{next_steps(found)}")
    why = _NO_PHOTONS if found.study is None else found.study.conclusion
    report.text(f"## What was found\n\n{why}\n\n{time_of_step(profile)}")
    report.extend(body)
    return report, said, why


def _how_made(found: Found, command: str, ckpt: str, seconds: float) -> str:
    """Return the last section: the command, with what it ran, and how the run is made again."""
    file, earlier = str(found.checkpoint), 0 if found.study is None else found.study.earlier_runs
    kept = f", without {plural(earlier, 'run')} that an interrupted one had done" * bool(earlier)
    word = "" if ckpt == file else f" {code(ckpt)} was {code(file)} then."
    return (
        f"## How this was made\n\n```\n{command}\n```\n\nhybridlit {__version__} with torch "
        f"{torch.__version__} on {torch.get_num_threads()} threads, in {seconds:.0f} s{kept}."
        f"{word} The run is made again by {code(command_of_run(found.recipe))}."
    )


def _body(
    found: Found, profile: ComponentProfile, callbacks: Any, noise: dict[str, Any] | str | None
) -> Report:
    """Return what stands below the head of the report, section by section."""
    body, model, data = _ToldReport(""), found.model, found.data
    twin, test = chip_twin_of(model), list(loader_of(data, "test"))
    add_data(body, found)
    add_history(body, found)
    if test:
        add_scores(body, found, test)
        add_doubts(body, found)
    if found.study is not None:
        add_contributions(body, found.study, callbacks)
    if test:
        add_robustness(body, model, data, found.checkpoint)
        # By default, since on digits it is a sixth of a report without retraining, 3 s; once for an
        # installation 28 s more, in which its kernels are compiled.
        if noise is not None and photonic_modules(model) and twin is None:
            add_hardware(body, found, noise)
    if twin is not None:
        with body.section("The chip"):
            add_chip(body, chip_study(twin, data))
    add_costs(body, model, profile)
    if found.study is not None and twin is None:  # which has pictures of its own
        add_pictures(body, model, test)
    return body


def _trainer_of(recipe: Path) -> dict[str, Any]:
    """Return the settings of the run's Trainer that are not left to Lightning."""
    given = settings_of(recipe).get("trainer") or {}
    return {name: value for name, value in given.items() if value is not None}
