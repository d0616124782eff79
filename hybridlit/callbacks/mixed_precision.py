"""Precision of a hybrid model: what the Trainer's choice does, the core's own, and their errors."""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.plugins import DoublePrecision
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor, nn

from hybridlit.analysis.recording import Call, recorded
from hybridlit.callbacks.log_keys import LogKey
from hybridlit.callbacks.measuring.copies import copy_of, has_forward, run_forward
from hybridlit.callbacks.measuring.reports import log_largest, training_goes_on
from hybridlit.callbacks.measuring.step_sizes import gradient_scaler
from hybridlit.checks import choice, integer, number
from hybridlit.photonics import PhotonicCircuit
from hybridlit.precisions import CORES, PRECISIONS, CoreName
from hybridlit.undisturbed import undisturbed

__all__ = ["MixedPrecision"]

OnDrift = Literal["warn", "stop"]


class MixedPrecision(Callback):
    """Say what the Trainer's precision means for a hybrid model, and watch what it does to it.

    The precision itself is the Trainer's, `Trainer(precision=...)`; README.md in `callbacks/` says
    what each does. Photonic circuits (`QuantumLayer`, `QuantumLayerStack`) are islands that never
    go below float32.

    With `core="float64"` the circuits, readouts included, compute in float64 under every precision.
    They take the features as they come and give outputs in their dtype (float32 under autocast).
    They are cast before a checkpoint is loaded and before optimizers are made, so that a run
    resumed with this callback goes on exactly. They stay float64 after `fit`, and checkpoints hold
    float64 phases; a float32 model that loads these rounds them.

    Every `every_n_steps` steps, a copy of the model runs on the batch in evaluation mode, in the
    Trainer's precision and then in float64 with the same weights. Training goes on bit for bit as
    without it. If a tolerance is exceeded, this is told once, or training stops. A model that
    cannot be measured is told once as well; only with `on_drift="stop"` it is an error.

    Logged once an epoch, the largest value of all processes, infinity for what is not finite:
    `precision/probability_drift` (not of circuits whose outputs are expectations, nor of foreign
    photonic modules, which have no probabilities), `precision/shadow_error` and, of `16-mixed`,
    `precision/loss_scale` and `precision/skipped_steps`.

    Args:
        core: Precision of the photonic circuits, `"float32"` or `"float64"`; None: as they are,
            that is float64 under `64-true` and otherwise as they were built.
        every_n_steps: Optimizer steps from one measurement to the next, at least 1; None: no
            measurements. One takes about the time of two training steps of a small model.
        tolerance: Largest `probability_drift` that goes unmentioned, above 0.
        shadow_tolerance: Largest `shadow_error` that goes unmentioned, above 0.
        on_drift: What to do beyond a tolerance: `"warn"` or `"stop"`.

    Raises:
        TypeError: If an argument has the wrong type; in `setup`, if the model defines no `forward`
            to be measured.
        ValueError: If an argument is out of range or unknown; in `setup`, if a parameter is
            complex, or if `core="float32"` meets `64-true`.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> watch = MixedPrecision(core="float64", on_drift="stop")
        >>> trainer = Trainer(precision="bf16-mixed", accelerator="cpu", callbacks=[watch])
    """

    def __init__(
        self,
        core: CoreName | None = None,
        every_n_steps: int | None = 200,
        tolerance: float = 1e-4,
        shadow_tolerance: float = 0.1,
        on_drift: OnDrift = "warn",
    ) -> None:
        if core is not None:
            choice(core, "core", CORES)
        if every_n_steps is not None:
            integer(every_n_steps, "every_n_steps", 1)
        number(tolerance, "tolerance", above=0.0)
        number(shadow_tolerance, "shadow_tolerance", above=0.0)
        choice(on_drift, "on_drift", get_args(OnDrift))
        self.core = core
        self.every_n_steps = every_n_steps
        self.tolerances = {LogKey.DRIFT: tolerance, LogKey.SHADOW: shadow_tolerance}
        self.on_drift = on_drift
        self.skipped_steps = 0
        self._told: set[LogKey] = set()
        self._measured: float = -1
        self._scale = 0.0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Cast the circuits, and say what this precision means; refuse what it cannot train."""
        precision, circuits = str(trainer.precision), _circuits(pl_module)
        names = [name for name, p in pl_module.named_parameters() if p.is_complex()]
        if names:
            raise ValueError(
                f"all parameters must be real, got complex {names}: loss scaling fails on them, "
                "and half precision drops their imaginary parts; keep real and imaginary parts, or "
                "absolute values and phases, as two real parameters"
            )
        if self.core == "float32" and precision == "64-true":
            raise ValueError(
                "core must be 'float64' or None under precision='64-true', which converts the "
                "whole model, got 'float32'; for float32 circuits use precision='32-true'"
            )
        if self.core is not None:
            # here, so that neither a checkpoint nor an optimizer ever sees the other precision
            for circuit in circuits:
                circuit.to(CORES[self.core])
        if stage != "fit":
            return
        if self.every_n_steps is not None and not has_forward(pl_module):
            raise TypeError(
                f"{type(pl_module).__name__} must define forward(inputs) to be measured; define "
                "it, or set every_n_steps=None"
            )
        if self.core is not None and not circuits:
            rank_zero_warn(f"core={self.core!r} changes nothing: the model has no QuantumLayer")
        self.skipped_steps, self._told, self._measured = 0, set(), -1
        _explain(precision, circuits, trainer.strategy.root_device)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check what was only made after `setup`: late circuits and the optimizers."""
        for circuit in _circuits(pl_module):
            if self.core is not None and circuit.phases.dtype != CORES[self.core]:
                raise RuntimeError(
                    f"a photonic circuit is {circuit.phases.dtype} in spite of core={self.core!r}: "
                    "circuits made in configure_model must be cast there, as in "
                    f"self.quantum_layer.to(torch.{self.core})"
                )
        for optimizer, group in (
            (o, group) for o in trainer.optimizers for group in o.param_groups
        ):
            half = any(p.dtype == torch.float16 for p in group["params"])
            epsilon = group.get("eps", 1.0)
            if half and isinstance(epsilon, float) and not torch.tensor(epsilon).half():
                rank_zero_warn(
                    f"eps={epsilon:g} of {type(optimizer).__name__} is 0 in float16, so a zero "
                    "gradient makes parameters NaN; use eps=1e-4, or precision='16-mixed'"
                )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember the loss scale that training begins with."""
        scaler = gradient_scaler(trainer)
        if scaler is not None:
            self._scale = scaler.get_scale()

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Measure, if this step's turn has come."""
        step = trainer.global_step
        # accumulated gradients take several batches a step
        if self.every_n_steps is None or step % self.every_n_steps or step <= self._measured:
            return
        self._measured = step
        measured: dict[LogKey, Tensor] = {}
        with training_goes_on(lambda error: self._give_up(pl_module, error)):
            measured = _measure(trainer, pl_module, batch)
        if not trainer.strategy.reduce_boolean_decision(bool(measured)):
            self._measured = math.inf  # in all processes, or one would wait for the others
            return
        for key, own in measured.items():
            finite = torch.nan_to_num(own, nan=math.inf, posinf=math.inf).float()
            value = trainer.strategy.reduce(finite, reduce_op="max")
            log_largest(pl_module, {key(): value})
            self._judge(trainer, key, float(value))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the step if it was skipped: nothing else lowers the loss scale."""
        scaler = gradient_scaler(trainer)
        if scaler is not None:
            scale = scaler.get_scale()
            self.skipped_steps += scale < self._scale
            self._scale = scale

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the loss scale and the skipped steps."""
        if gradient_scaler(trainer) is not None:
            skipped = float(self.skipped_steps)
            log_largest(pl_module, {LogKey.LOSS_SCALE(): self._scale, LogKey.SKIPPED(): skipped})

    def state_dict(self) -> dict[str, Any]:
        """Return the number of skipped steps."""
        return {"skipped_steps": self.skipped_steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the number of skipped steps."""
        self.skipped_steps = state_dict["skipped_steps"]

    def _give_up(self, model: LightningModule, error: Exception) -> None:
        """Say that a model cannot be measured; where a drift is to stop training, stop it."""
        text = (
            f"{type(model).__name__} cannot be measured in float64: {error}; let forward take "
            "unpack(batch)[0] and follow the dtype of the parameters, or set every_n_steps=None"
        )
        if self.on_drift == "stop":
            raise TypeError(text) from error
        rank_zero_warn(f"{text}. Training goes on, and nothing is measured.")

    def _judge(self, trainer: Trainer, key: LogKey, value: float) -> None:
        tolerance = self.tolerances[key]
        if value <= tolerance or key in self._told:
            return
        self._told.add(key)
        stop = self.on_drift == "stop"
        found, remedy = _FOUND[key]
        rank_zero_warn(
            f"{found} {value:.2g} at step {trainer.global_step}, more than the tolerance "
            f"{tolerance:g}, under precision={trainer.precision!r}. {remedy}"
            + (" Training stops." if stop else "")
        )
        trainer.should_stop = trainer.should_stop or stop


_FOUND = {
    LogKey.DRIFT: (
        "probabilities of a photonic circuit miss a sum of 1 by",
        "Set core='float64', or look for NaN and for a custom simulation that does not normalize.",
    ),
    LogKey.SHADOW: (
        "the model's outputs differ from those in float64 by a relative",
        "Use a higher precision, lower learning rates or gradient clipping.",
    ),
}


def _circuits(model: nn.Module) -> list[PhotonicCircuit]:
    return [module for module in model.modules() if isinstance(module, PhotonicCircuit)]


def _explain(precision: str, circuits: list[PhotonicCircuit], device: torch.device) -> None:
    if precision not in PRECISIONS:
        rank_zero_warn(
            f"precision={precision!r} is none of {list(PRECISIONS)}: its effect on photonic "
            "circuits is unknown"
        )
        return
    kinds = {circuit.phases.dtype for circuit in circuits}
    if precision == "64-true" and circuits:
        kinds = {torch.float64}
    names = " and ".join(sorted(str(kind).removeprefix("torch.") for kind in kinds))
    core = f"photonic circuits in {names}" if circuits else "there is no QuantumLayer"
    rank_zero_info(f"Precision {precision}: {PRECISIONS[precision].effect}; {core}.")
    if device.type == "cpu" and precision.endswith("-mixed"):
        rank_zero_warn(
            f"precision={precision!r} on a CPU is mostly slower than '32-true' (3.2 times for a "
            "small network on a CPU with bfloat16 instructions, but no matrix unit): time both"
        )


def _measure(trainer: Trainer, pl_module: LightningModule, batch: Any) -> dict[LogKey, Tensor]:
    """Return the drift, if a circuit has probabilities, and the error against the shadow."""
    model, shadow = copy_of(pl_module).eval(), DoublePrecision()
    readouts = [getattr(circuit, "readout", None) for circuit in _circuits(model)]
    given = {number: readout for number, readout in enumerate(readouts) if readout is not None}
    # both runs draw the same random numbers, should the model draw any
    with undisturbed(), torch.no_grad(), recorded(given, _drift) as drifts:
        outputs = run_forward(model, batch, trainer.precision_plugin)
    if not isinstance(outputs, Tensor):
        raise TypeError(
            f"forward of {type(pl_module).__name__} must return a tensor to be measured, got "
            f"{type(outputs).__name__}; set every_n_steps=None"
        )
    shadow.convert_module(model)
    with undisturbed(), torch.no_grad():
        exact = run_forward(model, shadow.convert_input(batch), shadow)
    difference = (outputs.double() - exact).norm()
    error = difference / exact.norm() if difference > 0 else difference  # 0 / 0 is no error
    found = [drift for several in drifts.values() for drift in several]
    drift = {LogKey.DRIFT: torch.stack(found).max()} if found else {}
    return drift | {LogKey.SHADOW: error}


def _drift(call: Call) -> Tensor:
    """Return max |sum p - 1| of what a photonic circuit gives to its readout."""
    sums: Tensor = call.given.double().sum(-1)
    return (sums - 1).abs().max() if sums.numel() else sums.new_zeros(())
