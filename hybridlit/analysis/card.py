"""The model card: what a trained model is, what it was trained on, what it scores, its limits."""

from __future__ import annotations

import inspect
import os
import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningDataModule

from hybridlit import __version__
from hybridlit.analysis.chip_study import chip_study, chip_twin_of
from hybridlit.analysis.facts import data_tables, listed, score_table, short_table
from hybridlit.analysis.pictures.evaluation_pictures import add_evaluation
from hybridlit.analysis.pictures.optical_circuit import optical_circuit
from hybridlit.analysis.report import Report, code
from hybridlit.analysis.scores import scores
from hybridlit.analysis.splits import batches_of, prepared
from hybridlit.analysis.uncertain_rows import uncertainty
from hybridlit.argument_types import checked
from hybridlit.components import layer_in_words, photonic_modules, split_parameters
from hybridlit.photonics import PhotonicCircuit
from hybridlit.templates import HybridModule
from hybridlit.templates.tasks import NoScoreError
from hybridlit.words import in_bytes, in_digits, plural

__all__ = ["given_settings", "model_card"]


@checked
def model_card(
    model: HybridModule,
    datamodule: LightningDataModule | None = None,
    *,
    checkpoint: str | os.PathLike[str] | None = None,
    training: dict[str, Any] | None = None,
    ablation: str | None = None,
    without_data: str = "not measured: no data module was given",
) -> Report:
    """Write a model card: data, model, training, scores with intervals, limits, versions.

    What is not known is said to be so. The model is left as it was.

    Args:
        model: A trained model.
        datamodule: The data that it was trained on, for its scores on the test rows.
        checkpoint: File that the model was loaded from, for its size.
        training: What is to be said of the training, by name.
        ablation: What was found about the worth of the photonic part, in Markdown.
        without_data: What is said of the scores if there is no data module.

    Returns:
        The card: `card.write("card.md")` or `card.write("card.html")`, and `print(card)`.

    Example:
        >>> from hybridlit import SequentialHybrid, SklearnDataModule
        >>> model = SequentialHybrid(input_dim=4, quantum_dim=3, output_dim=3)
        >>> card = model_card(model, SklearnDataModule("iris"))
        >>> "| `accuracy` |" in str(card)
        True
    """
    report = Report(f"{type(model).__name__}: model card")
    pictures = Report("")
    twin = chip_twin_of(model)
    if datamodule is None:
        data, found, doubts = data_tables(model, None), without_data, without_data
    else:
        with prepared(datamodule):
            doubts = _doubts(model, datamodule)
            data, found = data_tables(model, datamodule), _scores(model, datamodule, pictures)
    report.text(f"## What it is for\n\n{_purpose(model)}")
    report.text("## Data\n\n" + "\n\n".join(data))
    report.text(f"## Model\n\n{_model(model, checkpoint)}")
    told = "nothing is known of it" if not training else listed(training)
    report.text(f"## Training\n\n{told}")
    report.text(f"## Scores on the test rows\n\n{found}")
    report.extend(pictures)
    report.text(f"## When to trust it\n\n{doubts}")
    if twin is not None:
        study = chip_study(twin, datamodule).to_markdown()
        report.text(f"## The chip\n\n{study}\n\nPictures of it: `hybridlit analyze`.")
    if photonic_modules(model):
        report.text(f"## Worth of the photonic part\n\n{ablation or 'not measured'}")
    report.text("## Limits\n\n" + "\n".join(f"- {limit}" for limit in _limits(model)))
    packages = ("torch", "lightning")
    versions = {"hybridlit": __version__, **{name: version(name) for name in packages}}
    versions["python"] = platform.python_version()
    made = ", ".join(f"{name} {number}" for name, number in versions.items())
    report.text(f"## Versions\n\nThis card was made with {made}.")
    return report


def _purpose(model: HybridModule) -> str:
    words = "one of several classes" if model.task.one_class else "values"
    if model.task.classifies and not model.task.one_class:
        words = "several labels, each with its probability,"
    known = model.preprocessing
    if known is None:
        return (
            f"It returns {words} ({model.task.name}) of rows that are prepared as in its training, "
            "which it does not know: it was trained on data of another kind than those of "
            "hybridlit, or by an older version."
        )
    targets = ", ".join(code(name) for name in known.targets.names)
    if model.task.classifies and not model.task.one_class:
        return f"It predicts {targets}, each yes or no, of raw rows."
    if known.targets.classes is None:
        return f"It predicts the value of {targets}, in the units of the data, of raw rows."
    count = f"{len(known.targets.classes):,} classes"
    return f"It predicts {targets}, one of {count}, of raw rows."


def _model(model: HybridModule, checkpoint: str | os.PathLike[str] | None) -> str:
    kind = type(model)
    told = {"class": code(f"{kind.__module__}.{kind.__qualname__}"), "task": model.task.name}
    for name, module in photonic_modules(model).items():
        told[f"circuit {code(name or 'model')}"] = _circuit(module)
    for component, parameters in split_parameters(model).items():
        count = sum(each.numel() for each in parameters.values())
        trained = sum(each.numel() for each in parameters.values() if each.requires_grad)
        fixed = "" if trained == count else f", {trained:,} of them trained"
        told[f"{component} parameters"] = f"{count:,}{fixed}"
    weights = sum(each.nbytes for each in model.state_dict().values())
    told["size of the weights"] = in_bytes(weights)
    if checkpoint is not None:
        path = Path(checkpoint)
        told["checkpoint"] = f"{code(path.name)}, {in_bytes(path.stat().st_size)} on disk"
    given = given_settings(type(model), model.own_arguments)
    changed = [(code(name), code(value)) for name, value in given.items()]
    settings = short_table(("setting that is not as by default", "value"), changed)
    return listed(told) + (f"\n\n{settings}" if changed else "")


def _circuit(module: Any) -> str:
    if not isinstance(module, PhotonicCircuit):
        return layer_in_words(module)
    drawn = optical_circuit(module)
    states = in_digits(drawn.experiment.fock_space.size)
    several = "" if drawn.count is None else f"{plural(drawn.count, 'circuit')} of "
    return f"{several}{drawn.caption}; {states} states; {drawn.reading}"


def given_settings(kind: type, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a class that are not those that it would have without being told."""
    defaults: dict[str, Any] = {}
    for base in kind.__mro__:
        if "__init__" in vars(base):
            for name, parameter in inspect.signature(base).parameters.items():
                defaults.setdefault(name, parameter.default)
    given = {n: list(v) if isinstance(v, tuple) else v for n, v in arguments.items()}
    defaults = {n: list(v) if isinstance(v, tuple) else v for n, v in defaults.items()}
    return {name: value for name, value in given.items() if value != defaults.get(name)}


def _scores(model: HybridModule, datamodule: LightningDataModule, pictures: Report) -> str:
    try:
        found = scores(model, datamodule)
    except NoScoreError as error:
        return f"not measured: {error}"
    add_evaluation(pictures, model, batches_of(datamodule, "test"), "test rows")
    return score_table(model, datamodule, found)


def _doubts(model: HybridModule, datamodule: LightningDataModule) -> str:
    try:
        return uncertainty(model, datamodule).to_markdown()
    except NoScoreError as error:  # no test rows, or outputs that are not finite
        return f"not measured: {error}"


def _limits(model: HybridModule) -> Iterable[str]:
    photonic = list(photonic_modules(model).values())
    if chip_twin_of(model) is not None:
        yield (
            "Photonic part: one chip as it was when it was measured. Heaters and couplings drift, "
            "and the warmth around them does as well: compare it with new measurements before it "
            "is relied on."
        )
    elif photonic:
        yield (
            "Photonic part: simulated, ideal. No photon is lost, all are alike, and outcomes are "
            "exact probabilities instead of counts; what a device would return is not known."
        )
    if model.preprocessing is None:
        yield "Ranges and categories of the training data are not known to the model."
    else:
        yield (
            "It interpolates: of rows unlike the training rows, outside the ranges and categories "
            "above for instance, nothing is known. Predictions flag values far outside and "
            "categories that were never seen."
        )
    if model.task.classifies:
        words = "Each label is decided for itself, at 0.5."
        if model.task.one_class:
            words = "It always names one of its classes, also for a row of none of them."
        found = model.calibration
        honest = found is not None and found.temperature is not None
        yield words + ("" if honest else " Its probabilities were not calibrated.")
    elif model.calibration is None:
        yield "A predicted value comes without an error of its own; the errors above are averages."
    yield (
        "Nothing is known of fairness between groups of people, of causes, or of data that drift "
        "after the training: measure them before a decision rests on this model."
    )
