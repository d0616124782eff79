"""Which learning rate suits each component: many short trainings of copies of a model."""

from __future__ import annotations

import copy
import math
from dataclasses import asdict, dataclass
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from lightning.pytorch import LightningDataModule, Trainer
from torch import Tensor
from torch.optim import LBFGS

from hybridlit.analysis.loss_change.allocation import row_losses
from hybridlit.analysis.loss_change.retraining import (
    Origin,
    TrainedCopy,
    batches_in_turns,
)
from hybridlit.analysis.pictures.style import COMPONENT_COLOURS, FAINT, new_figure, tidy
from hybridlit.analysis.silence import lightning_silenced
from hybridlit.analysis.splits import first_batches, loader_of, prepared
from hybridlit.argument_types import checked
from hybridlit.blocks.residual_gate import GradualGate
from hybridlit.checks import integer
from hybridlit.components import COMPONENTS, split_parameters
from hybridlit.optimizers import learning_rate, trainable_parameters
from hybridlit.templates import HybridModule
from hybridlit.templates.class_weights import BALANCED, counted_weights
from hybridlit.undisturbed import undisturbed
from hybridlit.words import aligned

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["LearningRates", "RateCurve", "find_learning_rates", "suggested_rate"]

ARGUMENTS = {"classical": "classical_lr", "photonic": "quantum_lr"}
"""The argument of a template that is the learning rate of a component."""

_MOST = 0.9
"""Share of the largest fall of the loss that a good rate reaches."""

_LEAST = 1e-3
"""Share of the loss by which it must fall at all."""

_CONSTANT = {
    "schedule": "constant",
    "warmup_epochs": 0.0,
    "quantum_schedule": None,
    "quantum_warmup_epochs": None,
    "stages": None,
}
"""Settings of the copies: a learning rate stays what it is, and a component is trained or not."""


@dataclass(frozen=True)
class RateCurve:
    """The loss after a few steps of one component, by its learning rate.

    Attributes:
        component: `"classical"` or `"photonic"`.
        given: The learning rate that the model has.
        before: Steps that both components were trained before, at the rates given: 0, or as many
            as were tried where the component alone had no gradient at the start.
        start: Mean loss of the training batches before the component was trained.
        rates: The learning rates that were tried, rising.
        losses: The loss after the steps at each; infinite where the training failed.
        suggestion: The learning rate to take; None if none lowered the loss by a thousandth.
    """

    component: str
    given: float
    before: int
    start: float
    rates: list[float]
    losses: list[float]
    suggestion: float | None


@dataclass(frozen=True)
class LearningRates:
    """A curve and a suggestion for each component that has something to train.

    Attributes:
        steps: Optimizer steps of each training.
        curves: What was found, by component.

    Example:
        >>> curve = RateCurve("photonic", 0.01, 0, 1.1, [0.01, 0.1, 1.0], [0.9, 0.4, 0.8], 0.1)
        >>> LearningRates(steps=50, curves={"photonic": curve}).suggestions
        {'quantum_lr': 0.1}
    """

    steps: int
    curves: dict[str, RateCurve]

    @property
    def suggestions(self) -> dict[str, float]:
        """The suggestions by argument, `classical_lr` and `quantum_lr`, of those that there are."""
        found = {ARGUMENTS[name]: curve.suggestion for name, curve in self.curves.items()}
        return {name: rate for name, rate in found.items() if rate is not None}

    def __str__(self) -> str:
        """Return a table of the suggestions."""
        rows = []
        for name, curve in self.curves.items():
            best = min(curve.losses)
            rate = "none" if curve.suggestion is None else f"{curve.suggestion:.2g}"
            row = [ARGUMENTS[name], f"{curve.given:g}", rate, f"{curve.start:.4g}", f"{best:.4g}"]
            rows.append(row)
        lines = [aligned(["", "given", "suggested", "loss before", "at best after"], rows, 1)]
        for name, curve in self.curves.items():
            low, high = curve.rates[0], curve.rates[-1]
            best = curve.losses.index(min(curve.losses))
            if curve.before:
                lines.append(
                    f"The {name} parameters had no gradient at the start, so both components were "
                    f"trained for {curve.before} steps before."
                )
            if curve.suggestion is None:
                lines.append(
                    f"Trained alone, the {name} parameters lower the loss by a thousandth at no "
                    f"rate from {low:g} to {high:g}."
                )
            elif best in (0, len(curve.rates) - 1):
                lines.append(
                    f"Of the rates for the {name} parameters, from {low:g} to {high:g}, the "
                    f"{'highest' if best else 'lowest'} is the best: try others beyond it."
                )
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return everything in plain types."""
        return asdict(self)

    def figure(self) -> Figure:
        """Draw the loss by learning rate, a panel for each component.

        Returns:
            A figure, which belongs to no window.

        Raises:
            ImportError: If matplotlib, of the extra `plot`, is not installed.
        """
        figure = new_figure(5 * len(self.curves), 3.6)
        every = figure.subplots(1, len(self.curves), squeeze=False)[0]
        for axes, curve in zip(every, self.curves.values(), strict=True):
            axes.axhline(curve.start, color=FAINT, linestyle=":", label="before")
            finite = [loss if math.isfinite(loss) else math.nan for loss in curve.losses]
            colour = COMPONENT_COLOURS[curve.component]
            axes.plot(curve.rates, finite, "o-", color=colour, label=f"after {self.steps} steps")
            axes.axvline(curve.given, color=FAINT, linestyle="--", label=f"given: {curve.given:g}")
            if curve.suggestion is not None:
                label = f"suggested: {curve.suggestion:.2g}"
                axes.axvline(curve.suggestion, color=colour, label=label)
            axes.set_xscale("log")
            low = min(curve.start, *curve.losses)
            room = 0.1 * (curve.start - low) or 1.0
            axes.set_ylim(low - room, curve.start + 5 * room)  # failures are far above
            axes.legend(frameon=False, fontsize=8)
            name = ARGUMENTS[curve.component]
            tidy(axes, f"{curve.component} parameters alone", name, "training loss")
        return figure


@checked
def find_learning_rates(
    model: HybridModule,
    datamodule: LightningDataModule,
    *,
    low: float = 1e-5,
    high: float = 1.0,
    points: int = 16,
    steps: int = 50,
) -> LearningRates:
    """Find the learning rate of each component of a template by short trainings.

    For each of `points` rates, evenly from `low` to `high` by their logarithms, a copy of the model
    as it is is trained for `steps` steps: one component at that rate, the other frozen, with the
    model's own optimizer, always on the same batches with the same random numbers. The loss of
    these batches in evaluation mode makes the curve. Rates that rise within one training, as in the
    test of Smith (2017), would be cheaper; but the loss of a hybrid model falls by the other
    component alone, and the curve would show that.

    Suggested is the middle, by logarithms, of the range around the best rate whose rates reach nine
    tenths of its effect, of a curve that is smoothed over neighbours. A short training favours
    large rates: without a schedule that lowers them later, take less.

    The model, its gradients and random numbers stay as they are, and so do the data. On the copy, a
    `standard` normalization that has seen no data is fitted, balanced class weights are counted,
    and a gate that opens gradually (`gate_epochs`) is open.

    Args:
        model: A template, trained or not, on any device.
        datamodule: The data that it is trained on.
        low: Smallest rate, above 0.
        high: Largest rate, above `low`.
        points: Number of rates, at least 3.
        steps: Steps of each training, at least 1.

    Returns:
        The curves, with a table (`print`), a figure and the suggestions.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is out of range, nothing is trainable, the optimizer is LBFGS, or
            `configure_optimizers` is the model's own.

    Example:
        >>> from hybridlit import SequentialHybrid, SklearnDataModule
        >>> model = SequentialHybrid(input_dim=4, quantum_dim=2, output_dim=3)
        >>> found = find_learning_rates(model, SklearnDataModule("iris"), points=3, steps=1)
        >>> len(found.curves["photonic"].losses)
        3
    """
    learning_rate(low, "low")
    learning_rate(high, "high")
    if not high > low:
        raise ValueError(f"high must be above low={low}, got {high}")
    integer(points, "points", 3)
    integer(steps, "steps", 1)
    if type(model).configure_optimizers is not HybridModule.configure_optimizers:
        raise ValueError(
            f"model must be trained by the optimizer of the templates, got {type(model).__name__}, "
            "which has a configure_optimizers of its own"
        )
    ratio = (high / low) ** (1 / (points - 1))
    rates = [low * ratio**index for index in range(points)]
    with undisturbed(model), prepared(datamodule):
        trials = _Trials(model, datamodule, steps)
        curves = {c: trials.curve(c, rates) for c in COMPONENTS if trials.trains(c)}
    return LearningRates(steps, curves)


def suggested_rate(rates: list[float], losses: list[float], start: float) -> float | None:
    """Return the middle of the range around the best rate in which the loss falls nearly as far.

    Of each rate's loss the mean with its neighbours' counts, so that no lucky rate is taken and
    none beside a failure. Where the range ends between two rates, the loss is interpolated over the
    logarithm of the rate.

    Example:
        >>> round(suggested_rate([1e-4, 1e-3, 1e-2, 0.1, 1], [8, 5, 2, 5, 8], start=8), 9)
        0.01
    """
    near = [losses[max(index - 1, 0) : index + 2] for index in range(len(losses))]
    falls = [start - sum(several) / len(several) for several in near]
    best = max(range(len(falls)), key=falls.__getitem__)
    wanted = _MOST * falls[best]
    if not falls[best] > _LEAST * abs(start):
        return None

    def end(step: int) -> float:
        inside = best
        while 0 <= inside + step < len(falls) and falls[inside + step] >= wanted:
            inside += step
        outside = inside + step
        if not 0 <= outside < len(falls) or not math.isfinite(falls[outside]):
            return math.log(rates[inside])
        share = (falls[inside] - wanted) / (falls[inside] - falls[outside])
        return math.log(rates[inside]) + share * math.log(rates[outside] / rates[inside])

    return math.exp((end(-1) + end(1)) / 2)


class _Trials:
    """Trainings of one copy of a model, each from the same start on the same batches."""

    def __init__(self, model: HybridModule, datamodule: LightningDataModule, steps: int) -> None:
        self._model, self._steps = _copied(model, datamodule), steps
        self._optimizer = self._model.make_optimizer()
        if isinstance(self._optimizer, LBFGS):
            raise ValueError(
                "model must have an optimizer that takes one gradient a step, got LBFGS: with a "
                "line search, its learning rate is 1"
            )
        self._moments = self._optimizer.state_dict()["state"]  # some begin with one
        self._batches = first_batches(datamodule, "train", steps)
        if not self._batches:
            raise ValueError(f"datamodule must have training batches, got none of {datamodule!r}")
        self._batch = batches_in_turns(self._batches, shuffled=True)
        self._names = {c: set(own) for c, own in split_parameters(self._model).items()}
        self._given = {c: float(self._model.hparams[name]) for c, name in ARGUMENTS.items()}
        self._origin = self._values()

    def trains(self, component: str) -> bool:
        """Whether a component has something to train."""
        return bool(trainable_parameters(self._model)[component])

    def curve(self, component: str, rates: list[float]) -> RateCurve:
        """Train a component alone at each rate; both of them before, if it has no gradient."""
        origin, before = self._origin, 0
        losses = self._losses(component, rates, origin)
        if all(loss == losses[0] for loss in losses):
            self._train(origin, self._given, frozen=set())
            origin, before = self._values(), self._steps
            losses = self._losses(component, rates, origin)
        start, *losses = losses
        suggestion = suggested_rate(rates, losses, start)
        given = self._given[component]
        return RateCurve(component, given, before, start, rates, losses, suggestion)

    def _losses(self, component: str, rates: list[float], origin: dict[str, Tensor]) -> list[float]:
        """Return the loss with both components frozen, and with one trained at each rate."""
        everything = self._names["classical"] | self._names["photonic"]
        losses = [self._train(origin, self._given, everything)]
        for rate in rates:
            frozen = everything - self._names[component]
            losses.append(self._train(origin, self._given | {component: rate}, frozen))
        return losses

    def _train(self, origin: dict[str, Tensor], rates: dict[str, float], frozen: set[str]) -> float:
        """Train from an origin, and return the mean loss, infinite if it is not finite."""
        model = self._model
        own = [rates[group["name"]] for group in self._optimizer.param_groups]
        start = Origin(0, origin, self._moments, [own])
        trained = TrainedCopy(model, self._optimizer, start, self._batch, frozen=frozen)
        if model.hparams["gradient_clip"] is not None:
            trained.clip = model.configure_gradient_clipping
        trained.train(self._steps)
        model.eval()
        loss = float(row_losses(model, self._batches, groups=1).mean())
        return loss if math.isfinite(loss) else math.inf

    def _values(self) -> dict[str, Tensor]:
        named = [*self._model.named_parameters(), *self._model.named_buffers()]
        return {name: tensor.detach().clone() for name, tensor in named}


def _copied(model: HybridModule, datamodule: LightningDataModule) -> HybridModule:
    """Copy a model, and do what is done at the start of a fit; a gradual gate is open at once."""
    activations: dict[int, Any] = {
        id(value): value.detach().clone()
        for module in model.modules()
        for value in vars(module).values()
        if isinstance(value, Tensor) and not value.is_leaf
    }
    copied = copy.deepcopy(model, activations)
    copied.hparams.update(_CONSTANT)
    with TemporaryDirectory() as folder, lightning_silenced():
        Trainer(
            max_epochs=0,
            accelerator="cpu",
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            default_root_dir=folder,
        ).fit(copied, datamodule)
    for module in copied.modules():
        if isinstance(module, GradualGate):
            module.open_to(math.inf)
    if copied.hparams["class_weights"] == BALANCED:
        copied.weigh_classes(counted_weights(copied, loader_of(datamodule, "train")))
    return copied.to(model.device)
