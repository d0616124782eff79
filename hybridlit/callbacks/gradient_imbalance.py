"""Watch the sizes of gradients and steps of the two components, and say when they part."""

from __future__ import annotations

import math
from typing import Any, Literal

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import nn
from torch.optim import Optimizer

from hybridlit.callbacks.measuring.loggers import log_values
from hybridlit.callbacks.measuring.scaled_rates import ScaledRates
from hybridlit.callbacks.measuring.step_sizes import (
    StepUnderWay,
    gradient_scaler,
    remaining_scale,
    step_sizes,
)
from hybridlit.checks import choice, integer, number
from hybridlit.components import split_parameters
from hybridlit.optimizers import only_optimizer

__all__ = ["GradientImbalanceMonitor"]

_COMPONENTS = ("classical", "photonic")

# powers of the rebalancing factor by which learning rates are multiplied
_POWERS = {"classical": -0.5, "photonic": 0.5}

_ADVICE = (
    "If both steps have a sound size (about 1e-4 to 1e-2), leave it: Adam, AdamW and their like "
    "divide gradients by their own size, so a constant factor hardly changes their steps, and "
    "matters to gradient clipping only. If not, change the learning rate of one group "
    "(classical_lr and quantum_lr of the templates), or use action='rebalance'. If the gradients "
    "got small in the course of the run, look for what shuts the component off: a saturated "
    "normalization, a gate or a fusion weight near zero."
)


class GradientImbalanceMonitor(Callback):
    """Warn when the gradients of one component are far smaller than those of the other.

    Every `every_n_steps` optimizer steps it measures, for classical and photonic parameters, the
    root mean square of the gradient, `norm / sqrt(number of parameters)`, so that ten phases can be
    compared with ten thousand weights: after gradients were accumulated, reduced over processes and
    unscaled, and before they are clipped. The logarithm of the ratio photonic / classical is
    smoothed by an exponential moving average (bias-corrected), and after `patience` smoothed ratios
    in a row outside of [`low`, `high`] there is one warning. There can be another one after the
    ratio has come back inside by a factor of 2.

    The ratio need not be 1. In seven of the eight recipes the smoothed ratio stays between 0.2 and
    13 throughout; in `digits_rows_gru` it falls to 0.003, since the learned gate of the fusion
    shuts the photonic path off. The ratio tells which component gets the smaller gradients, not
    which one is at fault. A factor above 1 that goes to photonic parameters and to classical ones
    before them alike hardly shows.

    **Gradients are not steps.** With SGD a gradient a thousand times too small is a step a thousand
    times too small; Adam and its like divide by the size of the gradient, and a constant factor
    hardly changes their steps. So the steps that the optimizer took are measured too: the change of
    the classical weights relative to their size, `norm(step) / norm(weights)` (Bernstein et al.
    2020, arXiv:2002.03432), and that of the photonic parameters, which are phases and have no size,
    in turns, `RMS(step) / 2 pi`. In the recipes, all of them with AdamW, the second is 0.01 to 0.1
    of the first.

    With `action="rebalance"` the learning rates are corrected while an imbalance lasts, so that the
    smoothed ratio of the steps, photonic / classical, comes into [`update_low`, `update_high`]: the
    photonic learning rates are multiplied by sqrt(f) and the classical ones divided by it, where f
    is at most `max_rebalance` and at least its inverse. The optimizer's groups have their own
    learning rates again as soon as it has stepped, so schedulers, checkpoints and
    `LearningRateMonitor` see those. Where Adam keeps the steps in range, f is 1.

    A component without gradients (frozen, a reservoir, or idle in `AlternatingTraining` or a stage)
    is no imbalance and changes nothing. If the components take turns, a ratio is that of their
    latest measurements, as soon as both are newer than the last ratio. Gradients that exist and are
    exactly 0 are different: after `patience` measurements in a row there is a warning that the
    component is dead. Steps with infinite or NaN gradients are left out; unless a gradient scaler
    skips such steps by design (precision 16-mixed), the first one is warned about.

    Optimization must be automatic, with one optimizer that is not LBFGS. With sharded parameters
    (FSDP, DeepSpeed) a process would measure its own share only.

    Logged every `log_every_n_steps` of the Trainer, the latest values since the last time:
    `grad/classical_norm`, `grad/photonic_norm`, `grad/classical_rms`, `grad/photonic_rms`;
    `grad/ratio` and `grad/ratio_smooth` (photonic / classical); `update/classical` (relative) and
    `update/photonic` (turns) of the steps taken; `update/ratio_smooth` (photonic / classical, what
    it would be without rebalancing); with `action="rebalance"` also `update/rebalance`, the f of
    the step.

    Args:
        high: Largest smoothed ratio without a warning; more than 4 times `low`.
        low: Smallest smoothed ratio without a warning, above 0.
        every_n_steps: Optimizer steps from one measurement to the next, at least 1.
        smoothing: Weight of the past in the moving averages, in [0, 1).
        patience: Smoothed ratios outside, in a row, before a warning, at least 1.
        action: `"warn"`, or `"rebalance"` to correct learning rates as well.
        max_rebalance: Largest change of the ratio of the learning rates, above 1.
        update_low: Smallest ratio of the steps that rebalancing leaves as it is, above 0.
        update_high: Largest one, above `update_low`.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is out of range. At the start of a fit, if optimization is
            manual, there is not one optimizer or it is LBFGS, or a group that should be rebalanced
            holds parameters of both components.

    Example:
        >>> monitor = GradientImbalanceMonitor(every_n_steps=5, action="rebalance")
        >>> monitor.imbalance, monitor.rebalance_factor
        (None, 1.0)
    """

    def __init__(
        self,
        high: float = 100.0,
        low: float = 0.02,
        every_n_steps: int = 20,
        smoothing: float = 0.9,
        patience: int = 5,
        action: Literal["warn", "rebalance"] = "warn",
        max_rebalance: float = 10.0,
        update_low: float = 0.003,
        update_high: float = 0.3,
    ) -> None:
        number(low, "low", above=0.0)
        number(high, "high", above=4 * low)
        number(smoothing, "smoothing", minimum=0.0, below=1.0)
        choice(action, "action", ("warn", "rebalance"))
        number(max_rebalance, "max_rebalance", above=1.0)
        number(update_low, "update_low", above=0.0)
        number(update_high, "update_high", above=update_low)
        self.high, self.low = float(high), float(low)
        self.every_n_steps = integer(every_n_steps, "every_n_steps", 1)
        self.smoothing = float(smoothing)
        self.patience = integer(patience, "patience", 1)
        self.action = action
        self.max_rebalance = float(max_rebalance)
        self.update_low, self.update_high = float(update_low), float(update_high)
        self._component: dict[nn.Parameter, str] = {}
        self._under_way: dict[str, StepUnderWay] = {}
        self._rates: ScaledRates | None = None
        self._reset()

    def _reset(self) -> None:
        self._next = dict.fromkeys(_COMPONENTS, 0)  # the step from which on a measurement is due
        self._unpaired: dict[str, list[float]] = {}  # newer than the last ratio: [rms, update]
        self._gradient_ratio = _LogAverage()
        self._update_ratio = _LogAverage()  # of what the steps would be without rebalancing
        self._outside = 0  # ratios in a row above `high`, or minus those below `low`
        self._imbalance: str | None = None
        self._zeros = dict.fromkeys(_COMPONENTS, 0)  # measurements in a row with a gradient of 0
        self._nonfinite = 0  # steps so far with infinite or NaN gradients
        self._values: dict[str, float] = {}  # measured and not logged yet

    @property
    def imbalance(self) -> str | None:
        """The component with the far smaller gradients, while an imbalance lasts; else None."""
        return self._imbalance

    @property
    def ratio(self) -> float | None:
        """The smoothed ratio of RMS gradients, photonic / classical; None before the first one."""
        return self._gradient_ratio.mean

    @property
    def rebalance_factor(self) -> float:
        """The factor f of the ratio of learning rates, photonic / classical, in the next step."""
        ratio = self._update_ratio.mean
        if self.action != "rebalance" or self._imbalance is None or ratio is None:
            return 1.0
        wanted = min(max(ratio, self.update_low), self.update_high) / ratio
        return min(max(wanted, 1 / self.max_rebalance), self.max_rebalance)

    # --- Lightning --------------------------------------------------------------------------------

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse optimizers that cannot be watched, or not be rebalanced."""
        optimizer = only_optimizer(trainer, pl_module, "GradientImbalanceMonitor")
        self._component = {
            parameter: component
            for component, parameters in split_parameters(pl_module).items()
            for parameter in parameters.values()
        }
        if "photonic" not in self._component.values():
            rank_zero_warn(
                f"GradientImbalanceMonitor compares nothing: {type(pl_module).__name__} has no "
                "photonic parameters; layers of other libraries go through mark_photonic"
            )
        if self.action == "rebalance":
            for group in optimizer.param_groups:
                self._component_of(group)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin anew, unless the run goes on."""
        if trainer.global_step == 0:
            self._reset()
        if self.action == "rebalance":
            self._rates = ScaledRates(trainer.optimizers[0], self._multiplier)

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Measure the gradients of the components whose turn it is; keep what is to be updated."""
        self._under_way.clear()
        step = trainer.global_step
        due: dict[str, list[nn.Parameter]] = {
            component: [] for component in _COMPONENTS if step >= self._next[component]
        }
        if not due:
            return
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                component = self._component.get(parameter)
                if component in due and parameter.grad is not None:
                    due[component].append(parameter)
        scale = remaining_scale(trainer, optimizer)
        for component, parameters in due.items():
            if parameters:
                self._under_way[component] = StepUnderWay(parameters, scale)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Measure the step taken, draw the conclusions, and log where the logger does."""
        if self._under_way:
            self._values |= self._measure(trainer)
        interval = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if self._values and interval and trainer.global_step % interval == 0:
            log_values(trainer, self._values)
            self._values = {}

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let go of optimizer and parameters."""
        self._let_go()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Let go of them, before a checkpoint is saved that would hold rebalanced rates."""
        self._let_go()

    def state_dict(self) -> dict[str, Any]:
        """Return the averages and counters, in plain types."""
        return {
            "next": dict(self._next),
            "unpaired": {name: list(values) for name, values in self._unpaired.items()},
            "gradient_ratio": self._gradient_ratio.state(),
            "update_ratio": self._update_ratio.state(),
            "outside": self._outside,
            "imbalance": self._imbalance,
            "zeros": dict(self._zeros),
            "nonfinite": self._nonfinite,
            "values": dict(self._values),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from averages and counters."""
        self._next = dict(state_dict["next"])
        self._unpaired = {name: list(pair) for name, pair in state_dict["unpaired"].items()}
        self._gradient_ratio = _LogAverage(*state_dict["gradient_ratio"])
        self._update_ratio = _LogAverage(*state_dict["update_ratio"])
        self._outside = state_dict["outside"]
        self._imbalance = state_dict["imbalance"]
        self._zeros = dict(state_dict["zeros"])
        self._nonfinite = state_dict["nonfinite"]
        self._values = dict(state_dict["values"])

    # --- inside -----------------------------------------------------------------------------------

    def _measure(self, trainer: Trainer) -> dict[str, float]:
        """Return the values to be logged of the step that the optimizer has taken."""
        steps, self._under_way = self._under_way, {}
        step = trainer.global_step - 1
        for component in steps:
            self._next[component] = step + self.every_n_steps
        measured = step_sizes(list(steps.values()))
        if measured is None:
            self._count_nonfinite(step, list(steps), skipped=gradient_scaler(trainer) is not None)
            return {}
        logged: dict[str, float] = {}
        factor = self.rebalance_factor  # of the step taken; it may change now
        for (component, under_way), sizes in zip(steps.items(), measured, strict=True):
            root = math.sqrt(under_way.count)
            rms = sizes.gradient / root
            scale = math.tau * root if component == "photonic" else sizes.weights
            update = sizes.step / scale if scale else 0.0
            logged[f"grad/{component}_norm"] = sizes.gradient
            logged[f"grad/{component}_rms"] = rms
            logged[f"update/{component}"] = update
            self._zeros[component] = 0 if rms else self._zeros[component] + 1
            if rms:
                self._unpaired[component] = [rms, update / factor ** _POWERS[component]]
            elif self._zeros[component] == self.patience:
                self._warn_of_zeros(step, component)
        if len(self._unpaired) == len(_COMPONENTS):
            logged |= self._compare(trainer, step)
        if self.action == "rebalance":
            logged["update/rebalance"] = factor
        return logged

    def _compare(self, trainer: Trainer, step: int) -> dict[str, float]:
        """Take a ratio of the components, and warn if an imbalance begins with it."""
        latest, self._unpaired = self._unpaired, {}
        (classical, classical_update), (photonic, photonic_update) = (
            latest[component] for component in _COMPONENTS
        )
        ratio = photonic / classical
        smooth = self._gradient_ratio.add(ratio, self.smoothing)
        logged = {"grad/ratio": ratio, "grad/ratio_smooth": smooth}
        if classical_update and photonic_update:  # a learning rate can be 0
            logged["update/ratio_smooth"] = self._update_ratio.add(
                photonic_update / classical_update, self.smoothing
            )
        if 2 * self.low <= smooth <= self.high / 2:
            self._imbalance = None
        if smooth > self.high:
            self._outside = max(self._outside, 0) + 1
        elif smooth < self.low:
            self._outside = min(self._outside, 0) - 1
        else:
            self._outside = 0
        if abs(self._outside) >= self.patience:
            smaller, larger = _COMPONENTS if self._outside > 0 else reversed(_COMPONENTS)
            if smaller != self._imbalance:
                self._imbalance = smaller
                self._warn_of_imbalance(trainer, step, smaller, larger, latest)
        return logged

    def _warn_of_imbalance(
        self,
        trainer: Trainer,
        step: int,
        smaller: str,
        larger: str,
        latest: dict[str, list[float]],
    ) -> None:
        ratio = self._gradient_ratio.mean or 1.0
        rates = ", ".join(
            f"{group.get('name', f'group {position}')} {float(group['lr']):.3g}"
            for position, group in enumerate(trainer.optimizers[0].param_groups)
        )
        rank_zero_warn(
            f"Step {step}: the gradients of the {smaller} parameters are "
            f"{max(ratio, 1 / ratio):.3g} times smaller than those of the {larger} ones (the "
            f"smoothed ratio photonic / classical is {ratio:.3g}, outside of [{self.low:g}, "
            f"{self.high:g}]; latest RMS: {smaller} {latest[smaller][0]:.3g}, {larger} "
            f"{latest[larger][0]:.3g}). The latest steps changed the classical weights by "
            f"{latest['classical'][1]:.2g} of their size and the photonic phases by "
            f"{latest['photonic'][1]:.2g} of a turn; learning rates: {rates}. {_ADVICE}"
        )

    def _warn_of_zeros(self, step: int, component: str) -> None:
        rank_zero_warn(
            f"Step {step}: the gradients of all {component} parameters have been 0 at "
            f"{self.patience} measurements in a row, or too small to be squared, so the component "
            "learns nothing. Look for what keeps the loss from depending on it: outputs that are "
            "multiplied by 0, a saturated normalization, gradients below the smallest number of "
            "the precision."
        )

    def _count_nonfinite(self, step: int, components: list[str], skipped: bool) -> None:
        self._nonfinite += 1
        if self._nonfinite == 1 and not skipped:
            rank_zero_warn(
                f"Step {step}: gradients or steps ({', '.join(components)}) are infinite or NaN, "
                "and nothing skips such steps: lower the learning rates, clip gradients with "
                "Trainer(gradient_clip_val=1.0), or look for bad rows in the data. Such steps are "
                "not measured; this is said once."
            )

    def _component_of(self, group: dict[str, Any]) -> str | None:
        """Return the component that a group of the optimizer belongs to."""
        found = {self._component[p] for p in group["params"] if p in self._component}
        if len(found) > 1:
            raise ValueError(
                f"action='rebalance' needs a group of the optimizer for each component, and group "
                f"{group.get('name', 'without a name')} holds both: give the optimizer the groups "
                "[list(p.values()) for p in split_parameters(model).values()], or use action='warn'"
            )
        return next(iter(found), None)

    def _multiplier(self, group: dict[str, Any]) -> float:
        """Return what the learning rate of a group is multiplied by in the next step."""
        factor = self.rebalance_factor
        component = self._component_of(group) if factor != 1.0 else None
        return 1.0 if component is None else factor ** _POWERS[component]

    def _let_go(self) -> None:
        if self._rates is not None:
            self._rates.remove()
            self._rates = None
        self._component = {}
        self._under_way.clear()


class _LogAverage:
    """An exponential moving average of logarithms, corrected for its start."""

    def __init__(self, total: float = 0.0, weight: float = 0.0) -> None:
        self.total, self.weight = total, weight

    def add(self, value: float, smoothing: float) -> float:
        self.total = smoothing * self.total + (1 - smoothing) * math.log(value)
        self.weight = smoothing * self.weight + (1 - smoothing)
        return math.exp(self.total / self.weight)

    @property
    def mean(self) -> float | None:
        return math.exp(self.total / self.weight) if self.weight else None

    def state(self) -> list[float]:
        return [self.total, self.weight]
