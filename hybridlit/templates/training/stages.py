"""Training in stages: one component of a hybrid model at a time, the other one frozen."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import nn
from torch.optim import LBFGS

from hybridlit.checks import choice, integer
from hybridlit.components import COMPONENTS, split_parameters
from hybridlit.optimizers import trainable_parameters

__all__ = ["STAGES", "Component", "ComponentsInTurn", "Stage", "StagedTraining", "check_stages"]

STAGES = {component: (component,) for component in COMPONENTS} | {"both": COMPONENTS}
"""What a stage trains, by name."""

if TYPE_CHECKING:
    Component: TypeAlias = str
else:
    Component = Literal[tuple(STAGES)]


class Stage(NamedTuple):
    """A part of a run: a name of `STAGES`, and the first epoch, from 0."""

    component: str
    start: int


def check_stages(stages: Sequence[tuple[Component, int]]) -> list[Stage]:
    """Check pairs of a component and its number of epochs, and place them in the run."""
    if not isinstance(stages, (list, tuple)):
        raise TypeError(
            "stages must be a list of pairs [component, epochs], such as "
            f"[['classical', 10], ['photonic', 5]], got {type(stages).__name__} {stages!r}"
        )
    if not stages:
        raise ValueError("stages must name at least one stage, got []; None trains both throughout")
    placed, start = [], 0
    for position, stage in enumerate(stages):
        if not isinstance(stage, (list, tuple)) or len(stage) != 2:
            raise TypeError(f"stages[{position}] must be a pair [component, epochs], got {stage!r}")
        component, epochs = stage
        choice(component, f"the component of stages[{position}]", STAGES)
        placed.append(Stage(component, start))
        start += integer(epochs, f"the epochs of stages[{position}]", 1)
    return placed


class ComponentsInTurn(Callback):
    """Base class of callbacks that train some components at a step and leave the others alone.

    The gradients of the others are taken away after every backward pass, before anything looks at
    them: unscaling, gradient clipping, other callbacks, the optimizer.
    """

    _parameters: dict[str, list[nn.Parameter]]

    @abstractmethod
    def trained(self, trainer: Trainer) -> Collection[str]:
        """Return the components that are trained now, `"classical"`, `"photonic"` or both.

        The answer may depend on the epoch and the optimizer step of the Trainer only, so that it is
        the same for all batches of one step and in a resumed run.
        """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look the parameters of the components up."""
        split = split_parameters(pl_module)
        self._parameters = {name: list(parameters.values()) for name, parameters in split.items()}

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take away the gradients of what is not trained."""
        trained = self.trained(trainer)
        for component, parameters in self._parameters.items():
            if component not in trained:
                for parameter in parameters:
                    parameter.grad = None

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Let go of the parameters."""
        self._parameters = {}


class StagedTraining(ComponentsInTurn):
    """Train the components of a model in stages: classical, then photonic, then both, say.

    What is not trained in a stage stays bit for bit as it is, and so do its moments in the
    optimizer: its gradients are computed, and taken away before gradients are clipped and the
    optimizer steps, so neither clipping nor weight decay knows of it. The forward pass is the usual
    one in every stage, batch normalization and dropout included, and learning rate schedules run
    on.

    The stage depends on the epoch alone, so a resumed run is in the right one. The last stage goes
    on to the end of the run. Its number, from 1, is logged as `train/stage`. Templates attach
    this callback themselves if they have `stages`; with other LightningModules, give it to the
    Trainer. A stage that has nothing to train is refused at the start of a fit, and so is LBFGS.

    Args:
        stages: Pairs of a component (`"classical"`, `"photonic"` or `"both"`) and its number of
            epochs, at least 1, in order.

    Example:
        >>> staged = StagedTraining([("classical", 10), ("photonic", 5), ("both", 1)])
        >>> [staged.component(epoch) for epoch in (0, 9, 10, 14, 15, 99)]
        ['classical', 'classical', 'photonic', 'photonic', 'both', 'both']
    """

    def __init__(self, stages: Sequence[tuple[Component, int]]) -> None:
        self.stages = check_stages(stages)
        self._announced = 0

    def number(self, epoch: int) -> int:
        """Return the number, from 1, of the stage that an epoch, from 0, belongs to."""
        integer(epoch, "epoch", 0)
        return sum(epoch >= stage.start for stage in self.stages)

    def component(self, epoch: int) -> str:
        """Return what is trained in an epoch, from 0: a name of `STAGES`."""
        return self.stages[self.number(epoch) - 1].component

    def trained(self, trainer: Trainer) -> Collection[str]:
        """Return the components that the stage of the current epoch trains."""
        return STAGES[self.component(trainer.current_epoch)]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse stages that could train nothing; say which ones this run does not reach."""
        self._announced = 0
        if any(isinstance(optimizer, LBFGS) for optimizer in trainer.optimizers):
            raise ValueError(
                "StagedTraining needs an optimizer that passes over parameters without a gradient, "
                "got LBFGS: choose AdamW or SGD in configure_optimizers"
            )
        trainable = trainable_parameters(pl_module)
        for stage in self.stages:
            for component in STAGES[stage.component]:
                if not trainable[component]:
                    raise ValueError(
                        f"a stage trains {stage.component!r}, and the model has no trainable "
                        f"{component} parameters: unfreeze some, declare layers of other libraries "
                        "with mark_photonic, or leave that stage out"
                    )
        epochs = trainer.max_epochs
        last = self.stages[-1].start
        if epochs is not None and 0 <= epochs <= last and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            rank_zero_warn(
                f"max_epochs={epochs} ends before stage {len(self.stages)} "
                f"({self.stages[-1].component}) begins in epoch {last}"
            )

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the stage, and announce it where it begins or a run is resumed."""
        epoch = trainer.current_epoch
        number = self.number(epoch)
        pl_module.log("train/stage", float(number), on_step=False, on_epoch=True)
        if number != self._announced:
            self._announced = number
            rank_zero_info(
                f"Epoch {epoch}: stage {number} of {len(self.stages)} trains "
                f"{self.stages[number - 1].component}."
            )
