"""Watch the sizes of gradients and steps of the two components, and say when they part."""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import nn
from torch.optim import Optimizer

from hybridlit.callbacks.log_keys import LogKey
from hybridlit.callbacks.measuring.balance import Balance
from hybridlit.callbacks.measuring.reports import log_values
from hybridlit.callbacks.measuring.scaled_rates import POWERS, ScaledRates
from hybridlit.callbacks.measuring.step_sizes import (
    StepUnderWay,
    gradient_scaler,
    remaining_scale,
    step_sizes,
)
from hybridlit.callbacks.measuring.undoing import Undoing
from hybridlit.checks import choice, integer, number
from hybridlit.components import COMPONENTS, split_parameters
from hybridlit.optimizers import only_optimizer

__all__ = ["GradientImbalanceMonitor"]

Action = Literal["warn", "rebalance"]

_ADVICE = (
    "If both steps have a sound size (about 1e-4 to 1e-2), leave it: Adam, AdamW and their like "
    "divide gradients by their own size, so a constant factor hardly changes their steps, and "
    "matters to gradient clipping only. If not, change the learning rate of one group "
    "(classical_lr and quantum_lr of the templates), or use action='rebalance'. If the gradients "
    "got small in the course of the run, look for what shuts the component off: a saturated "
    "normalization, a gate or a fusion weight near zero."
)


class GradientImbalanceMonitor(Undoing):
    """Warn when the gradients of one component are far smaller than those of the other.

    Every `every_n_steps` optimizer steps it measures, for classical and photonic parameters, the
    root mean square of the gradient, `norm / sqrt(number of parameters)`, so that ten phases can be
    compared with ten thousand weights: after gradients were accumulated, reduced over processes and
    unscaled, and before they are clipped. The logarithm of the ratio photonic / classical is
    smoothed by an exponential moving average (bias-corrected), and after `patience` smoothed ratios
    in a row outside of [`low`, `high`] there is one warning; there can be another one after the
    ratio has come back inside by a factor of 2.

    Gradients are not steps: Adam and its like divide by the size of the gradient. So the steps that
    the optimizer took are measured too: the change of the classical weights relative to their size,
    `norm(step) / norm(weights)`, and that of the photonic parameters, which are phases and have no
    size, in turns, `RMS(step) / 2 pi`. README.md in `callbacks/measuring/` says what to make of
    either; the ratio need not be 1.

    With `action="rebalance"` the learning rates are corrected while an imbalance lasts, so that the
    smoothed ratio of the steps, photonic / classical, comes into [`update_low`, `update_high`]: the
    photonic learning rates are multiplied by sqrt(f) and the classical ones divided by it, where f
    is at most `max_rebalance` and at least its inverse; where Adam keeps the steps in range, f is
    1. The optimizer's groups have their own learning rates again as soon as it has stepped, so
    schedulers, checkpoints and `LearningRateMonitor` see those.

    A component without gradients (frozen, a reservoir, or idle in `AlternatingTraining` or a stage)
    is no imbalance and changes nothing. If the components take turns, a ratio is that of their
    latest measurements, as soon as both are newer than the last ratio. Gradients that exist and are
    exactly 0 are different: after `patience` measurements in a row there is a warning that the
    component is dead. Steps with infinite or NaN gradients are left out; unless a gradient scaler
    skips such steps by design (precision 16-mixed), the first one is warned about.

    Optimization must be automatic, with one optimizer that is not LBFGS. With sharded parameters
    (FSDP, DeepSpeed) a process would measure its own share only.

    Logged every `log_every_n_steps` of the Trainer, the latest values since the last time:
    `grad/<component>_norm`, `grad/<component>_rms`, `grad/ratio`, `grad/ratio_smooth`; of the steps
    taken `update/<component>`, `update/ratio_smooth` and, if asked for, `update/rebalance`.

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
        action: Action = "warn",
        max_rebalance: float = 10.0,
        update_low: float = 0.003,
        update_high: float = 0.3,
    ) -> None:
        number(low, "low", above=0.0)
        number(high, "high", above=4 * low)
        number(smoothing, "smoothing", minimum=0.0, below=1.0)
        choice(action, "action", get_args(Action))
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
        self._next = dict.fromkeys(COMPONENTS, 0)  # the step from which on a measurement is due
        self._balance = Balance(self.low, self.high, self.smoothing, self.patience)
        self._nonfinite = 0  # steps so far with infinite or NaN gradients
        self._values: dict[str, float] = {}  # measured and not logged yet

    @property
    def imbalance(self) -> str | None:
        """The component with the far smaller gradients, while an imbalance lasts; else None."""
        return self._balance.smaller

    @property
    def ratio(self) -> float | None:
        """The smoothed ratio of RMS gradients, photonic / classical; None before the first one."""
        return self._balance.gradients.mean

    @property
    def rebalance_factor(self) -> float:
        """The factor f of the ratio of learning rates, photonic / classical, in the next step."""
        ratio = self._balance.updates.mean
        if self.action != "rebalance" or self.imbalance is None or ratio is None:
            return 1.0
        wanted = min(max(ratio, self.update_low), self.update_high) / ratio
        return min(max(wanted, 1 / self.max_rebalance), self.max_rebalance)

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
            self._rates = ScaledRates(optimizer, self._component, lambda: self.rebalance_factor)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin anew, unless the run goes on."""
        if trainer.global_step == 0:
            self._reset()

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Measure the gradients of the components whose turn it is; keep what is to be updated."""
        self._under_way.clear()
        for component in COMPONENTS:
            if trainer.global_step < self._next[component]:
                continue
            with_gradient = [
                parameter
                for group in optimizer.param_groups
                for parameter in group["params"]
                if parameter.grad is not None and self._component.get(parameter) == component
            ]
            if with_gradient:
                scale = remaining_scale(trainer, optimizer)
                self._under_way[component] = StepUnderWay(with_gradient, scale)

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

    def state_dict(self) -> dict[str, Any]:
        """Return the averages and counters, in plain types."""
        own = {"next": dict(self._next), "nonfinite": self._nonfinite, "values": dict(self._values)}
        return own | self._balance.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from averages and counters."""
        self._next, self._values = dict(state_dict["next"]), dict(state_dict["values"])
        self._nonfinite = state_dict["nonfinite"]
        self._balance.load_state_dict(state_dict)

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
            logged[LogKey.NORM(component)] = sizes.gradient
            logged[LogKey.RMS(component)] = rms
            logged[LogKey.UPDATE(component)] = update
            if self._balance.add(component, rms, update / factor ** POWERS[component]):
                self._warn_of_zeros(step, component)
        before = self.imbalance
        logged |= self._balance.compare()
        if self.imbalance is not None and self.imbalance != before:
            self._warn_of_imbalance(trainer, step, self.imbalance)
        if self.action == "rebalance":
            logged[LogKey.REBALANCE()] = factor
        return logged

    def _warn_of_imbalance(self, trainer: Trainer, step: int, smaller: str) -> None:
        ratio, latest = self.ratio or 1.0, self._balance.latest
        larger = next(component for component in COMPONENTS if component != smaller)
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

    def _undo(self) -> None:
        """Let go of optimizer and parameters; the optimizer has its own learning rates again."""
        if self._rates is not None:
            self._rates.remove()
            self._rates = None
        self._component = {}
        self._under_way.clear()
