"""Optimizers that know the two components of a hybrid model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from hybridlit.argument_types import checked
from hybridlit.checks import number
from hybridlit.components import split_parameters

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

__all__ = [
    "LARGEST_RATE",
    "OptimizerByComponent",
    "component_groups",
    "create_hybrid_optimizer",
    "learning_rate",
    "only_optimizer",
    "trainable_parameters",
]

LARGEST_RATE = 1e30
"""Adam divides rates by numbers down to 1e-3, and float32 ends at 3e38."""


def learning_rate(value: object, argument: str) -> None:
    """Check a learning rate: a number above 0, with which no step overflows."""
    number(value, argument, above=0.0, below=LARGEST_RATE)


def trainable_parameters(model: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Return what `split_parameters` does, of the parameters that require a gradient, as lists."""
    return {
        component: [p for p in parameters.values() if p.requires_grad]
        for component, parameters in split_parameters(model).items()
    }


def component_groups(
    model: nn.Module, lr: Mapping[str, float], weight_decay: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Return a named parameter group for each component that has trainable parameters.

    Args:
        model: The model; frozen parameters are left out.
        lr: Learning rates of `"classical"` and `"photonic"` parameters, above 0.
        weight_decay: Their weight decays, at least 0.

    Raises:
        ValueError: If nothing is trainable.
    """
    groups = [
        {
            "params": parameters,
            "name": component,
            "lr": lr[component],
            "weight_decay": weight_decay[component],
        }
        for component, parameters in trainable_parameters(model).items()
        if parameters
    ]
    if not groups:
        raise ValueError("the model has no trainable parameters: unfreeze some before fit")
    return groups


class OptimizerByComponent(torch.optim.Optimizer):
    """Several optimizers as one, which Lightning's automatic optimization takes.

    Each part steps its own parameter groups; groups and state are those of the whole, so that
    checkpoints, learning rate schedulers, gradient scalers and callbacks find one optimizer.

    Args:
        parts: Optimizers that take one gradient a step, no parameter in two of them.
    """

    def __init__(self, parts: Sequence[torch.optim.Optimizer]) -> None:
        self.parts = list(parts)
        super().__init__([group for part in self.parts for group in part.param_groups], {})
        for part in self.parts:
            self.state.update(part.state)  # some begin with one, such as Adagrad
        self._join()

    def _join(self) -> None:
        """Let the parts work on the groups and the state of the whole."""
        groups = iter(self.param_groups)
        for part in self.parts:
            own = list(islice(groups, len(part.param_groups)))
            part.__setstate__({"state": self.state, "param_groups": own})

    def __getstate__(self) -> dict[str, Any]:
        """Return what copies are made of."""
        return super().__getstate__() | {"parts": self.parts}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over groups and state, of a checkpoint as well."""
        super().__setstate__(state)
        self._join()

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Refuse groups that are added later: whose optimizer they need is not known."""
        if len(self.param_groups) == sum(len(part.param_groups) for part in self.parts):
            raise ValueError(
                "parameters cannot be added to two optimizers, as BaseFinetuning does: give both "
                "components the same one (quantum_optimizer=None), or leave that callback out"
            )
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take a step of each part; `closure` computes the gradients, once."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self.parts:
            part.step()
        return loss


@checked
def create_hybrid_optimizer(
    model: nn.Module, classical_lr: float = 1e-3, quantum_lr: float = 1e-4
) -> tuple[torch.optim.Adam, torch.optim.Adam]:
    """Create an optimizer for each component of a model, for training loops in plain torch.

    The templates need no such pair: they have one optimizer with two groups, which is what
    Lightning's automatic optimization takes.

    Args:
        model: A model with trainable parameters in both components, told apart by type as in
            `split_parameters`. Frozen parameters are left out.
        classical_lr: Learning rate of the classical parameters, above 0.
        quantum_lr: Learning rate of the photonic parameters, above 0. The default is that of
            MerLin's guide; the templates default to 1e-2.

    Returns:
        Adam over the classical and Adam over the photonic parameters.

    Raises:
        TypeError: If a learning rate is no number.
        ValueError: If a learning rate is out of range, or a component has nothing to train.

    Example:
        >>> from torch import nn
        >>> from hybridlit import Experiment, QuantumLayer
        >>> layer = QuantumLayer(2, 4, experiment=Experiment("series", n_modes=4, n_photons=2))
        >>> model = nn.Sequential(nn.Linear(3, 2), nn.Sigmoid(), layer)
        >>> classical, photonic = create_hybrid_optimizer(model)
        >>> [len(optimizer.param_groups[0]["params"]) for optimizer in (classical, photonic)]
        [4, 1]
    """
    learning_rate(classical_lr, "classical_lr")
    learning_rate(quantum_lr, "quantum_lr")
    parameters = trainable_parameters(model)
    for component, present in parameters.items():
        if not present:
            raise ValueError(
                f"the model has no trainable {component} parameters: unfreeze some, declare layers "
                "of other libraries with mark_photonic, or use one optimizer over "
                "[p for p in model.parameters() if p.requires_grad]"
            )
    return (
        torch.optim.Adam(parameters["classical"], lr=classical_lr),
        torch.optim.Adam(parameters["photonic"], lr=quantum_lr),
    )


def only_optimizer(
    trainer: Trainer, pl_module: LightningModule, needed_by: str
) -> torch.optim.Optimizer:
    """Return the optimizer of a run in which every update has one gradient.

    Args:
        trainer: The Trainer, from `on_fit_start` on.
        pl_module: The module that it trains.
        needed_by: The callback that needs such a run, for the message.

    Raises:
        ValueError: If optimization is manual, there is not one optimizer, or it is LBFGS, which
            takes many gradients for an update.
    """
    if not pl_module.automatic_optimization:
        raise ValueError(
            f"{needed_by} needs automatic optimization, and {type(pl_module).__name__} sets "
            "automatic_optimization=False: return one optimizer with a group per component from "
            "configure_optimizers, or leave the callback out"
        )
    optimizers = trainer.optimizers
    if len(optimizers) != 1 or isinstance(optimizers[0], torch.optim.LBFGS):
        names = ", ".join(type(optimizer).__name__ for optimizer in optimizers) or "none"
        raise ValueError(
            f"{needed_by} needs one optimizer that takes one gradient a step, got {names}: choose "
            "AdamW or SGD in configure_optimizers, or leave the callback out"
        )
    return optimizers[0]
