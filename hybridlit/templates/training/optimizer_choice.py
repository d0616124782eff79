"""Which optimizer trains each component: AdamW, or what a class path names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.optim import LBFGS, Optimizer
from typing_extensions import Self

from hybridlit.constructors import named
from hybridlit.optimizers import OptimizerByComponent

__all__ = ["OptimizerChoice", "check_optimizers", "make_optimizer", "optimizers_by_group"]

_OURS = {
    "lr": "classical_lr and quantum_lr",
    "weight_decay": "weight_decay and quantum_weight_decay",
    "params": "nothing",
}
"""Arguments of optimizers that are not among `init_args`, and what there is instead."""

_FUSED = (torch.optim.Adam, torch.optim.AdamW)
"""Optimizers that step many parameters in one call, as fast as one, if they are told to."""

_HOW = {"fused", "foreach", "capturable", "differentiable"}
"""Their arguments that say how a step is computed."""


class OptimizerChoice(NamedTuple):
    """A class of optimizers, and what its constructor is given besides groups and rates."""

    kind: type[Optimizer]
    arguments: dict[str, Any]

    @classmethod
    def of(cls, given: str | Mapping[str, Any] | None, argument: str) -> Self:
        """Return what an argument of a template stands for; None: AdamW as it is.

        Raises:
            TypeError: If it has another form.
            ValueError: If it names no optimizer, or one that refuses its arguments.
        """
        if given is None:
            return cls(torch.optim.AdamW, {})
        kind, arguments = named(
            {"class_path": given} if isinstance(given, str) else given, argument
        )
        if not (isinstance(kind, type) and issubclass(kind, Optimizer) and kind is not Optimizer):
            raise ValueError(
                f"{argument} must name a class of optimizers, such as torch.optim.SGD, got {kind!r}"
            )
        for name in arguments.keys() & _OURS.keys():
            raise ValueError(
                f"{argument} must leave {name} out of its init_args, got {arguments[name]!r}: "
                f"give {_OURS[name]} of the template"
            )
        choice = cls(kind, arguments)
        try:
            missing = {"lr"} - choice.defaults.keys()
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{argument} must be given init_args that {kind.__name__} takes, got {arguments}: "
                f"{error}"
            ) from None
        if missing:
            raise ValueError(
                f"{argument} must be an optimizer with a learning rate lr, got {kind.__name__}"
            )
        return choice

    @property
    def defaults(self) -> dict[str, Any]:
        """What a group of such an optimizer has by default."""
        trial = nn.Parameter(torch.zeros(1, 1))
        return self.kind([trial], lr=1e-3, **self.arguments).defaults  # type: ignore[call-arg]

    @property
    def decays(self) -> bool:
        """Whether it knows weight decay."""
        return "weight_decay" in self.defaults

    def make(self, groups: list[dict[str, Any]], fused: bool = True) -> Optimizer:
        """Make the optimizer of parameter groups; they may have a weight decay of 0 in any case.

        It is a fused one, where there is one and `init_args` do not say otherwise, if that is
        wanted.
        """
        defaults, arguments = self.defaults, self.arguments
        if fused and self._can_fuse(groups):
            arguments = {**arguments, "fused": True}
        for group in groups:
            if "weight_decay" not in defaults:
                del group["weight_decay"]
            # Adam's usual 1e-8 is 0 in float16, and 0 / 0 ends the run at the first step
            half = any(p.dtype == torch.float16 for p in group["params"])
            if half and isinstance(defaults.get("eps"), float) and "eps" not in self.arguments:
                group["eps"] = 1e-4
        made = self.kind(groups, lr=groups[0]["lr"], **arguments)  # type: ignore[call-arg]
        return made

    def _can_fuse(self, groups: list[dict[str, Any]]) -> bool:
        parameters = [parameter for group in groups for parameter in group["params"]]
        return (
            self.kind in _FUSED
            and not _HOW & self.arguments.keys()
            and all(p.dtype in (torch.float32, torch.float64) for p in parameters)
            and all(p.device.type in ("cpu", "cuda") for p in parameters)
        )


def optimizers_by_group(arguments: Mapping[str, Any]) -> dict[str, OptimizerChoice]:
    """Return the choice for each optimizer group by the arguments of `HybridModule`."""
    shared = OptimizerChoice.of(arguments["optimizer"], "optimizer")
    own = arguments["quantum_optimizer"]
    photonic = shared if own is None else OptimizerChoice.of(own, "quantum_optimizer")
    return {"classical": shared, "photonic": photonic}


def check_optimizers(arguments: Mapping[str, Any]) -> None:
    """Check the arguments of `HybridModule` that choose optimizers, and what goes with them."""
    choices = optimizers_by_group(arguments)
    prefixes = {"classical": "", "photonic": "quantum_"}
    for component, choice in choices.items():
        decay = f"{prefixes[component]}weight_decay"
        if arguments[decay] and not choice.decays:
            raise ValueError(
                f"{decay} must be 0 with {choice.kind.__name__}, which knows no weight decay, got "
                f"{arguments[decay]}"
            )
    if not any(issubclass(choice.kind, LBFGS) for choice in choices.values()):
        return
    for name, why in _NOT_WITH_LBFGS.items():
        if arguments[name] is not None:
            raise ValueError(
                f"{name} must be None with LBFGS, got {arguments[name]!r}: LBFGS {why}"
            )


_NOT_WITH_LBFGS = {
    "quantum_optimizer": "computes the gradient several times a step, and no other optimizer could "
    "step beside it",
    "stages": "takes its parameters as one vector, and cannot pass over those without a gradient",
    "gradient_clip": "learns the curvature from differences of gradients, which clipping distorts",
}


def make_optimizer(
    choices: Mapping[str, OptimizerChoice], groups: list[dict[str, Any]], fused: bool = True
) -> Optimizer:
    """Make one optimizer of named groups, which takes each group's own if they differ.

    Args:
        choices: The choice for each group's name.
        groups: The groups, with their rates and weight decays.
        fused: Whether it may be a fused one. Such a one takes gradients as a gradient scaler made
            them, so that nobody could clip or measure them under mixed precision.

    Raises:
        ValueError: If an optimizer refuses the parameters, or LBFGS were to train two components.
    """
    mine = [choices[group["name"]] for group in groups]
    if len(groups) > 1 and any(issubclass(choice.kind, LBFGS) for choice in mine):
        raise ValueError(
            "LBFGS trains one component, with one learning rate, and this model has classical and "
            "photonic parameters to train: freeze all of one (requires_grad_(False), or "
            "reservoir_mode with use_bandwidth_tuning=False), or choose another optimizer, such as "
            "torch.optim.SGD"
        )
    if all(choice == mine[0] for choice in mine):
        return mine[0].make(groups, fused)
    return OptimizerByComponent(
        [choice.make([group], fused) for choice, group in zip(mine, groups, strict=True)]
    )
