"""`hybridlit analyze`: what the parts of a trained model cost and contribute, as one report."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch import nn

from hybridlit import __version__
from hybridlit.analysis.ablation.arms import ARMS
from hybridlit.analysis.ablation.result import AblationStudy
from hybridlit.analysis.ablation.study import ablation_study
from hybridlit.analysis.chip_result import add_chip
from hybridlit.analysis.chip_study import chip_study, chip_twin_of
from hybridlit.analysis.evaluation import collect
from hybridlit.analysis.noise_study import noise_study
from hybridlit.analysis.pictures.circuit_text import summarize_circuit
from hybridlit.analysis.pictures.drawing import draw_circuit
from hybridlit.analysis.pictures.evaluation_pictures import add_evaluation
from hybridlit.analysis.pictures.layer_pictures import layer_pictures
from hybridlit.analysis.pictures.samples import group_samples, rows_of_calls
from hybridlit.analysis.profiling.component_profile import ComponentProfile
from hybridlit.analysis.profiling.profile import profile_components
from hybridlit.analysis.recording import copied, recorded
from hybridlit.analysis.report import Report, code
from hybridlit.analysis.robustness import robustness
from hybridlit.analysis.splits import first_batches, loader_of, prepared
from hybridlit.analysis.uncertain_rows import uncertainty
from hybridlit.checks import integer
from hybridlit.cli.card import leave_verdict
from hybridlit.cli.checkpoints import checkpoint_path, recipe_of
from hybridlit.cli.loading import load_run
from hybridlit.cli.options import command_of
from hybridlit.components import layer_in_words, photonic_modules, split_parameters
from hybridlit.photonics import Noise, PhotonicCircuit
from hybridlit.photonics.chip_layer import ChipLayer
from hybridlit.recipe.reading import settings_of
from hybridlit.resume.durable import damage
from hybridlit.resume.folder import step_of
from hybridlit.templates import HybridModule, HybridNetwork
from hybridlit.templates.base import CLASS_KEY
from hybridlit.templates.loading import read_checkpoint
from hybridlit.templates.tasks import NoScoreError
from hybridlit.undisturbed import undisturbed
from hybridlit.words import piped

__all__ = ["analyze"]

_CAPTIONS = {
    "outcomes": "Mean probability of each outcome of the photon counters, by class.",
    "modes": "Mean number of photons in each output mode, by class.",
    "output": "Mean output, by class.",
    "interferometers": "Magnitudes of the interferometers: light of each mode into each mode.",
    "phases": "Phases of each cell of each interferometer, or trainable angles.",
    "readout": "Weights of the linear readout of the outcomes.",
}

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
    "measured; this report is of its cost only."
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
    """Write a report on a trained model: what its parts cost and contribute, what its photons do.

    Arms are trained with the settings of the run's Trainer that change what is learned (gradient
    clipping and accumulation, precision, number of batches and steps), but without its callbacks,
    which the report names. Of a model without photonic layers there is only the cost to report.

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
    start = time.perf_counter()
    command = command_of("analyze", analyze, dict(locals()))
    checkpoint = checkpoint_path(ckpt)
    recipe = recipe_of(checkpoint)
    path = recipe.with_name("report.html") if out is None else Path(out)
    if path.suffix not in (".html", ".md"):
        raise ValueError(f"out must end in .html or .md, got {path.name!r}")
    integer(batches, "batches", 1)
    Noise.of(noise)
    if arms is not None and not arms:
        raise ValueError(f"arms must name some of {list(ARMS)}, got none: or give --retrain=false")
    model, data = load_run(checkpoint, template)
    trainer, twin = _trainer_of(recipe), chip_twin_of(model)
    report = Report(f"{type(model).__name__}: what its parts cost and contribute")
    with prepared(data):
        study = None
        if photonic_modules(model):  # first, since it checks what was asked for
            study = ablation_study(
                model,
                data,
                retrained=(True if arms is None else arms) if retrain else False,
                seeds=seeds,
                max_epochs=trainer.get("max_epochs") if max_epochs is None else max_epochs,
                margin=margin,
                baselines=baselines,
                jobs=jobs,
                trainer_options={name: trainer[name] for name in _SETTINGS if name in trainer},
            )
        training = first_batches(data, "train", batches)
        profile = profile_components(model, training, batches=batches)
        found = _NO_PHOTONS if study is None else study.conclusion
        report.text(f"## In short\n\n{found}\n\n{_time(profile)}")
        test = list(loader_of(data, "test"))
        if test:
            report.text("## How well it predicts")
            add_evaluation(report, model, test, "test rows")
            _add_doubts(report, model, data)
            _add_robustness(report, model, data, checkpoint)
            # By default, since on digits it is a sixth of a report without retraining, 3 s; once
            # for an installation 28 s more, in which its kernels are compiled.
            if noise is not None and photonic_modules(model) and twin is None:
                _add_hardware(report, model, data, noise)
        if twin is not None:
            add_chip(report, chip_study(twin, data))
        _add_costs(report, model, profile)
        if study is not None:
            _add_contributions(report, study, trainer.get("callbacks"))
            if twin is None:  # which has pictures of its own
                _add_pictures(report, model, test)
    seconds = time.perf_counter() - start
    report.text(
        f"## How this was made\n\n```\n{command}\n```\n\nhybridlit {__version__} with torch "
        f"{torch.__version__} on {torch.get_num_threads()} threads, in {seconds:.0f} s."
    )
    files = report.write(path)
    values = None if study is None else study.to_dict()
    return [*files, leave_verdict(path, checkpoint, command, found, values)]


def _trainer_of(recipe: Path) -> dict[str, Any]:
    """Return the settings of the run's Trainer that are not left to Lightning."""
    given = settings_of(recipe).get("trainer") or {}
    return {name: value for name, value in given.items() if value is not None}


def _left_out(callbacks: list[dict[str, Any]] | dict[str, Any]) -> str:
    given = callbacks if isinstance(callbacks, list) else [callbacks]
    names = ", ".join(code(str(each["class_path"]).rpartition(".")[2]) for each in given)
    return (
        f"Callbacks of the run took no part in these trainings: {names}. Where one of them changes "
        "what is learned, these are not the run's numbers; `ablation_study` takes callbacks in "
        "`trainer_options`."
    )


def _time(profile: ComponentProfile) -> str:
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


def _add_costs(report: Report, model: nn.Module, profile: ComponentProfile) -> None:
    report.text(f"## The model\n\n{_parameters(model)}")
    for name, module in photonic_modules(model).items():
        report.text(f"### {code(name or type(model).__name__)}")
        if isinstance(module, (PhotonicCircuit, ChipLayer)):
            report.figure(draw_circuit(module), "Light runs from left to right; a line is a mode.")
        if isinstance(module, PhotonicCircuit):
            sizes, _, _ = summarize_circuit(module, profile.rows or 1).partition("\n\n")
            report.text(sizes)  # which data phase encodes what is in the drawing
        else:
            report.text(f"{layer_in_words(module)}.")
    report.text(f"## What it costs\n\n{profile.to_markdown()}")
    report.figure(profile.figure(), "Time of each part in a training step.")


def _add_contributions(report: Report, study: AblationStudy, callbacks: Any) -> None:
    report.text(f"## What it contributes\n\n{study.to_markdown(conclusion=False)}")
    report.figure(study.figure(), "What the model scores above each arm, with 95 % intervals.")
    if study.retrained and callbacks:
        report.text(_left_out(callbacks))


def _add_robustness(
    report: Report, model: HybridModule, data: LightningDataModule, checkpoint: Path
) -> None:
    """Add what the model scores while a path fails; late is the newest earlier checkpoint."""
    if not isinstance(model, HybridNetwork) or model.paths is None:
        return
    report.text("## When a path fails")
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
        late = f"late: its outputs are those that it had at step {steps[earlier]:,}, not at step "
        late += f"{step:,}"
    report.text(
        f"{found.to_markdown()}\n\nlost: the mean of its outputs over training rows stands in; "
        "noise: it is of so many times the standard deviation of each output over the "
        f"{found.rows:,} test rows; {late}."
    )
    report.figure(found.figure(), "Score while a path fails, with 95 % intervals.")


def _add_hardware(
    report: Report, model: HybridModule, data: LightningDataModule, noise: dict[str, Any] | str
) -> None:
    """Add what the model scores under the noise of hardware, and with few shots."""
    report.text("## What remains on hardware")
    try:
        found = noise_study(model, data, noise)
    except (NoScoreError, TypeError) as error:  # layers of another library, for instance
        report.text(f"Not measured: {error}")
        return
    report.text(found.to_markdown())
    report.figure(found.figure(), "Score under noise and under few shots, with 95 % intervals.")


def _same_model(one: Path, other: Path) -> bool:
    """Tell whether two checkpoints are of one class with the same arguments."""
    found = [read_checkpoint(each) for each in (one, other)]
    first, second = ((each.get(CLASS_KEY), each.get("hyper_parameters")) for each in found)
    return first == second


def _add_doubts(report: Report, model: HybridModule, data: LightningDataModule) -> None:
    report.text("## When to trust it")
    try:
        found = uncertainty(model, data)
    except NoScoreError as error:  # outputs that are not finite, or targets of one value
        report.text(f"Not measured: {error}")
        return
    report.text(found.to_markdown())
    if found.measured:
        report.figure(
            found.figure(), "Where the doubted rows are wrong, the risk falls to the left."
        )


def _add_pictures(report: Report, model: HybridModule, batches: list[Any]) -> None:
    """Add everything that there is to see of the photonic modules."""
    report.text("## What the photons do\n\nThese pictures are of the test data.")
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
