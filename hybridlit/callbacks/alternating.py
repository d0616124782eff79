"""Alternating training: some optimizer steps for one component, then some for the other."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from lightning.pytorch import LightningModule, Trainer

from hybridlit.callbacks.log_keys import LogKey
from hybridlit.checks import integer
from hybridlit.optimizers import only_optimizer, trainable_parameters
from hybridlit.templates.training.stages import ComponentsInTurn

__all__ = ["AlternatingTraining"]


class AlternatingTraining(ComponentsInTurn):
    """Train the classical component for some optimizer steps, then the photonic one, and so on.

    What a phase does not train stays bit for bit as it is: weights, weight decay, moments and step
    counters of the optimizer (if it skips parameters without a gradient, as all of `torch.optim`
    do), and gradient clipping does not see it. Its gradients are computed nevertheless and then
    taken away, so a step costs what it always costs, and nothing else of a run changes: forward
    pass, accumulated gradients, mixed precision, several processes. Learning rate schedules run on.

    The phase depends on the number of optimizer steps alone, so it never changes amid accumulated
    batches, and a resumed run goes on amid a cycle. Stages of whole epochs (`StagedTraining`,
    `stages` of the templates) are refused beside it: run them in a fit of their own, before this.

    Logged every `log_every_n_steps` of the Trainer: `train/phase`, the share of photonic steps
    among as many latest ones (0 or 1 where each step is logged).

    Args:
        classical_steps: Optimizer steps of a classical phase, at least 1.
        quantum_steps: Optimizer steps of the photonic phase after it, at least 1.

    Raises:
        TypeError: If an argument is no integer.
        ValueError: If an argument is below 1. At the start of a fit, if a component has nothing to
            train, the training is in stages, optimization is manual or the optimizer is LBFGS.

    Example:
        >>> alternating = AlternatingTraining(classical_steps=2, quantum_steps=1)
        >>> [alternating.phase(step) for step in range(5)]
        ['classical', 'classical', 'photonic', 'classical', 'classical']
    """

    def __init__(self, classical_steps: int = 5, quantum_steps: int = 1) -> None:
        self.classical_steps = integer(classical_steps, "classical_steps", 1)
        self.quantum_steps = integer(quantum_steps, "quantum_steps", 1)

    def phase(self, step: int) -> str:
        """Return what an optimizer step trains, from the number of steps taken before it."""
        position = step % (self.classical_steps + self.quantum_steps)
        return "classical" if position < self.classical_steps else "photonic"

    def trained(self, trainer: Trainer) -> Collection[str]:
        """Return the component that the current optimizer step trains."""
        return (self.phase(trainer.global_step),)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse runs in which a phase could train nothing, or that are in stages as well."""
        optimizer = only_optimizer(trainer, pl_module, "AlternatingTraining")
        stepped = {id(p) for group in optimizer.param_groups for p in group["params"]}
        for component, parameters in trainable_parameters(pl_module).items():
            if not any(id(parameter) in stepped for parameter in parameters):
                raise ValueError(
                    f"AlternatingTraining trains the {component} component in turn, and the "
                    f"optimizer has no trainable {component} parameters: unfreeze some, declare "
                    "layers of other libraries with mark_photonic, or leave the callback out"
                )
        others = [
            type(callback).__name__
            for callback in trainer.callbacks  # type: ignore[attr-defined]
            if isinstance(callback, ComponentsInTurn) and callback is not self
        ]
        if others:
            raise ValueError(
                f"AlternatingTraining and {others[0]} would both decide what is trained: leave one "
                "out (stages=None in a template), or run a fit with each, one after the other"
            )

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Log the phases, in steps that the logger takes."""
        interval = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if interval and (trainer.global_step + 1) % interval == 0:
            # a single step of each interval would show cycles that are none
            steps = range(trainer.global_step + 1 - interval, trainer.global_step + 1)
            share = sum(self.phase(step) == "photonic" for step in steps) / interval
            pl_module.log(LogKey.PHASE(), share, on_step=True, on_epoch=False)
