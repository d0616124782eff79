"""The sections of the report of `hybridlit analyze`, one function each.

What fails in one is said in its place, and what does not apply is not there.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningDataModule
from torch import nn

from hybridlit.analysis.ablation.result import AblationStudy
from hybridlit.analysis.evaluation import collect
from hybridlit.analysis.facts import data_tables, score_table
from hybridlit.analysis.noise_study import noise_study
from hybridlit.analysis.pictures.circuit_text import summarize_circuit
from hybridlit.analysis.pictures.drawing import draw_circuit
from hybridlit.analysis.pictures.evaluation_pictures import add_evaluation
from hybridlit.analysis.pictures.layer_pictures import layer_pictures
from hybridlit.analysis.pictures.samples import group_samples, rows_of_calls
from hybridlit.analysis.profiling.component_profile import ComponentProfile
from hybridlit.analysis.recording import copied, recorded
from hybridlit.analysis.report import Report, code
from hybridlit.analysis.robustness import robustness
from hybridlit.analysis.scores import class_shares, scores
from hybridlit.analysis.uncertain_rows import uncertainty
from hybridlit.callbacks.measuring.history import HISTORY_PICTURES, History
from hybridlit.cli.next_steps import Found
from hybridlit.components import layer_in_words, photonic_modules, split_parameters
from hybridlit.photonics import PhotonicCircuit
from hybridlit.photonics.chip_layer import ChipLayer
from hybridlit.resume.durable import damage
from hybridlit.resume.folder import step_of
from hybridlit.templates import HybridModule, HybridNetwork
from hybridlit.templates.base import CLASS_KEY
from hybridlit.templates.loading import read_checkpoint
from hybridlit.templates.predictions.predicting import class_labels
from hybridlit.templates.tasks import NoScoreError
from hybridlit.undisturbed import undisturbed
from hybridlit.words import piped

__all__ = [
    "add_contributions",
    "add_costs",
    "add_data",
    "add_doubts",
    "add_hardware",
    "add_history",
    "add_pictures",
    "add_robustness",
    "add_scores",
    "time_of_step",
]

_CAPTIONS = {
    "outcomes": "Mean probability of each outcome of the photon counters, by class.",
    "modes": "Mean number of photons in each output mode, by class.",
    "output": "Mean output, by class.",
    "interferometers": "Magnitudes of the interferometers: light of each mode into each mode.",
    "phases": "Phases of each cell of each interferometer, or trainable angles.",
    "readout": "Weights of the linear readout of the outcomes.",
}

_COLUMNS = 16
"""Columns and classes of the data that are listed at most; a model card has more of them."""


def add_data(report: Report, found: Found) -> None:
    """Add where the rows are from, how many there are, and of which classes."""
    with report.section("The data"):
        report.text("\n\n".join(data_tables(found.model, found.data, _COLUMNS)))
        if found.model.task.one_class:
            names = map(str, class_labels(found.model))
            shares = class_shares(found.model, found.data)
            found.shares = dict(zip(names, shares, strict=True))


def add_history(report: Report, found: Found) -> None:
    """Add how the run learned, as far as it has logged that."""
    with report.section("How it learned"):
        history = History.read(found.recipe.parent, [*found.model.build_metrics()])
        found.history = history
        if words := history.words():
            report.text("\n".join(f"- {sentence}" for sentence in words))
        for name, draw in history.pictures().items():
            report.figure(draw, HISTORY_PICTURES[name])


def add_scores(report: Report, found: Found, test: list[Any]) -> None:
    """Add what the model scores on test rows, and how it errs."""
    with report.section("How well it predicts"):
        try:
            found.scores = scores(found.model, found.data)
            report.text(score_table(found.model, found.data, found.scores))
        except NoScoreError as error:
            found.unscored = str(error)
            report.text(f"Not measured: {error}")
        add_evaluation(report, found.model, test, "test rows")


def add_doubts(report: Report, found: Found) -> None:
    """Add how honest its probabilities are, and which of its predictions it doubts."""
    with report.section("When to trust it"):
        try:
            doubts = uncertainty(found.model, found.data)
        except NoScoreError as error:  # outputs that are not finite, or targets of one value
            report.text(f"Not measured: {error}")
            return
        found.doubts = doubts
        report.text(doubts.to_markdown())
        if doubts.measured:
            report.figure(
                doubts.figure, "Where the doubted rows are wrong, the risk falls to the left."
            )


def add_contributions(report: Report, study: AblationStudy, callbacks: Any) -> None:
    """Add what the model scores beside those that were trained without its photonic part."""
    with report.section("What it contributes"):
        report.text(study.to_markdown(conclusion=False))
        report.figure(study.figure, "What the model scores above each arm, with 95 % intervals.")
        if study.retrained and callbacks:
            report.text(_left_out(callbacks))


def _left_out(callbacks: list[dict[str, Any]] | dict[str, Any]) -> str:
    given = callbacks if isinstance(callbacks, list) else [callbacks]
    names = ", ".join(code(str(each["class_path"]).rpartition(".")[2]) for each in given)
    return (
        f"Callbacks of the run took no part in these trainings: {names}. Where one of them changes "
        "what is learned, these are not the run's numbers; `ablation_study` takes callbacks in "
        "`trainer_options`."
    )


def add_robustness(
    report: Report, model: HybridModule, data: LightningDataModule, checkpoint: Path
) -> None:
    """Add what the model scores while a path fails; late is the newest earlier checkpoint."""
    if not isinstance(model, HybridNetwork) or model.paths is None:
        return
    with report.section("When a path fails"):
        if not model.paths.seen:
            report.text(
                "Not known: the checkpoint has no mean outputs of its paths, as one of a version "
                "before they were kept, or of a model that no training step has run."
            )
            return
        step = step_of(checkpoint)
        steps = {each: step_of(each) for each in checkpoint.parent.glob("*.ckpt")}
        before = [e for e in steps if 0 <= steps[e] < step and damage(e) is None]
        of_run = [e for e in before if _same_model(e, checkpoint)]
        earlier = max(of_run, key=steps.__getitem__, default=None)
        found = robustness(model, data, earlier=earlier)
        late = "no earlier checkpoint lies beside this one, so that no path was late"
        if earlier is not None:
            late = f"late: its outputs are those that it had at step {steps[earlier]:,}, not at "
            late += f"step {step:,}"
        report.text(
            f"{found.to_markdown()}\n\nlost: the mean of its outputs over training rows stands in; "
            "noise: it is of so many times the standard deviation of each output over the "
            f"{found.rows:,} test rows; {late}."
        )
        report.figure(found.figure, "Score while a path fails, with 95 % intervals.")


def _same_model(one: Path, other: Path) -> bool:
    """Tell whether two checkpoints are of one class with the same arguments."""
    found = [read_checkpoint(each) for each in (one, other)]
    first, second = ((each.get(CLASS_KEY), each.get("hyper_parameters")) for each in found)
    return first == second


def add_hardware(report: Report, found: Found, noise: dict[str, Any] | str) -> None:
    """Add what the model scores under the noise of hardware, and with few shots."""
    with report.section("What remains on hardware"):
        try:
            study = noise_study(found.model, found.data, noise)
        except (NoScoreError, TypeError) as error:  # layers of another library, for instance
            report.text(f"Not measured: {error}")
            return
        found.noise = study
        report.text(study.to_markdown())
        report.figure(study.figure, "Score under noise and under few shots, with 95 % intervals.")


def add_costs(report: Report, model: nn.Module, profile: ComponentProfile) -> None:
    """Add parameters, circuits with their states and memory, and the time of each part."""
    with report.section("The model"):
        report.text(_parameters(model))
        for name, module in photonic_modules(model).items():
            report.text(f"### {code(name or type(model).__name__)}")
            if isinstance(module, (PhotonicCircuit, ChipLayer)):
                caption = "Light runs from left to right; a line is a mode."
                report.figure(partial(draw_circuit, module), caption)
            if isinstance(module, PhotonicCircuit):
                sizes, _, _ = summarize_circuit(module, profile.rows or 1).partition("\n\n")
                report.text(sizes)  # which data phase encodes what is in the drawing
            else:
                report.text(f"{layer_in_words(module)}.")
    with report.section("What it costs"):
        report.text(profile.to_markdown())
        report.figure(profile.figure, "Time of each part in a training step.")


def time_of_step(profile: ComponentProfile) -> str:
    """Say how long a training step takes, and what takes it."""
    shares = ", ".join(f"{share:.0%} {name}" for name, share in profile.shares.items())
    found = f"A training step of {profile.rows} rows takes {profile.step} ms: {shares}."
    if profile.busy:
        found += " The machine was busy with other things, so that this is too long."
    return found


def _parameters(model: nn.Module) -> str:
    rows = [
        (
            component,
            f"{sum(p.numel() for p in parameters.values()):,}",
            f"{sum(p.numel() for p in parameters.values() if p.requires_grad):,}",
        )
        for component, parameters in split_parameters(model).items()
    ]
    return piped(("component", "parameters", "of these trained"), rows)


def add_pictures(report: Report, model: HybridModule, batches: list[Any]) -> None:
    """Add everything that there is to see of the photonic modules."""
    with report.section("What the photons do"):
        report.text("These pictures are of the test data.")
        modules = photonic_modules(model)
        with undisturbed(model, whole=True), recorded(modules, copied) as calls:
            model.eval()
            _, targets = collect(model, batches)
        groups = group_samples(targets)
        for name, module in modules.items():
            rows = rows_of_calls(module, calls[name], groups)
            samples = f"{len(targets)} test samples"
            for what, picture in layer_pictures(module, rows, None, name or "model", samples):
                report.picture(picture, _CAPTIONS[what.rpartition("/")[2]])
