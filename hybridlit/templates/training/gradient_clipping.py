"""Gradients clipped by component, and what a Trainer must not be told beside it."""

from __future__ import annotations

from collections.abc import Mapping

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import GradientAccumulationScheduler

from hybridlit.checks import choice, number
from hybridlit.components import COMPONENTS
from hybridlit.internals.torch import takes_scaled_gradients

__all__ = ["check_clipping", "check_lbfgs", "clip_limits"]


def clip_limits(given: float | Mapping[str, float] | None) -> dict[str, float]:
    """Check `gradient_clip` of a template; return the largest norm of each component it clips."""
    if given is None:
        return {}
    limits = dict(given) if isinstance(given, Mapping) else dict.fromkeys(COMPONENTS, given)
    if not limits:
        raise ValueError("gradient_clip must name a component, got {}; None clips nothing")
    for component, limit in limits.items():
        choice(component, "each key of gradient_clip", COMPONENTS)
        of = f"[{component!r}]" if isinstance(given, Mapping) else ""
        number(limit, f"gradient_clip{of}", above=0.0)
    return limits


def check_clipping(trainer: Trainer, automatic: bool) -> None:
    """Refuse a run in which gradients that are clipped by component would be so twice or wrongly.

    Args:
        trainer: The Trainer, from `on_fit_start` on.
        automatic: Whether it steps the optimizer itself.

    Raises:
        ValueError: If the run cannot be.
    """
    if not automatic:
        raise ValueError(
            "gradient_clip needs automatic optimization, got automatic_optimization=False: call "
            "torch.nn.utils.clip_grad_norm_ in training_step instead"
        )
    if trainer.gradient_clip_val:
        raise ValueError(
            f"Trainer(gradient_clip_val={trainer.gradient_clip_val}) and gradient_clip of the "
            "template would clip gradients twice: leave one of them out"
        )
    for optimizer in trainer.optimizers if _scales(trainer) else ():
        if takes_scaled_gradients(optimizer):
            raise ValueError(
                "gradient_clip needs the gradients themselves, and "
                f"{type(optimizer).__name__} with fused=True and precision={trainer.precision!r} "
                "gets them scaled: leave fused out"
            )


def check_lbfgs(trainer: Trainer) -> None:
    """Refuse a run of LBFGS in which its many gradients for a step would not be of one loss.

    Args:
        trainer: The Trainer, from `on_fit_start` on.

    Raises:
        ValueError: If the run cannot be.
    """
    accumulated = [trainer.accumulate_grad_batches]
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, GradientAccumulationScheduler):
            accumulated += callback.scheduling.values()
    for found, setting, why in (
        (max(accumulated) > 1, "accumulate_grad_batches above 1", "at one batch alone"),
        (_scales(trainer), f"precision={trainer.precision!r}", "by a factor that stays"),
        (trainer.gradient_clip_val, "gradient_clip_val", "as they are, for the curvature"),
    ):
        if found:
            raise ValueError(
                f"LBFGS takes many gradients for a step, {why}, so a Trainer with {setting} "
                "cannot run it: leave that out, or choose another optimizer"
            )


def _scales(trainer: Trainer) -> bool:
    return getattr(trainer.precision_plugin, "scaler", None) is not None
