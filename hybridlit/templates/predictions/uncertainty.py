"""How far predictions for the same rows disagree: of paths, of passes with dropout, of seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from hybridlit.blocks.paths import Paths
from hybridlit.checks import choice, integer
from hybridlit.templates.predictions.calibration import label_probabilities

__all__ = ["UNCERTAINTIES", "UncertaintyName", "disagreement", "variants"]

_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)

Variants: TypeAlias = list[Callable[[], AbstractContextManager[None]]]
"""Within each, a model in evaluation mode predicts in another way."""


def _paths(model: Any, passes: int) -> Variants:
    """The model without each of its paths."""
    paths: Paths | None = getattr(model, "paths", None)
    if paths is None or len(paths.names) < 2:
        raise ValueError(
            "uncertainty='paths' needs two paths or more that can disagree, and "
            f"{type(model).__name__} has none side by side: give uncertainty='passes', or train a "
            "ParallelHybrid"
        )
    return [partial(model.without, name) for name in paths.names]


def _passes(model: Any, passes: int) -> Variants:
    """Passes in which dropout and path dropout draw, as in training."""
    drawing = [module for module in model.modules() if _draws(module)]
    if not drawing:
        raise ValueError(
            f"uncertainty='passes' needs dropout, and {type(model).__name__} has none: train it "
            "with dropout or path_dropout above 0"
        )

    @contextmanager
    def drawn(seed: int) -> Iterator[None]:
        torch.manual_seed(seed)  # restored by whoever looks, who gets the same another time
        paths: Paths | None = getattr(model, "paths", None)
        for module in drawing:
            module.train()
        if paths is not None:
            paths.remembering = False
        try:
            yield
        finally:
            for module in drawing:
                module.eval()
            if paths is not None:
                paths.remembering = True

    return [partial(drawn, seed) for seed in range(passes)]


def _draws(module: nn.Module) -> bool:
    if isinstance(module, Paths):
        return module.dropout > 0
    return isinstance(module, _DROPOUTS) and module.p > 0


UNCERTAINTIES: dict[str, Callable[[Any, int], Variants]] = {"paths": _paths, "passes": _passes}
"""Where the disagreement of predictions comes from, by name."""

if TYPE_CHECKING:
    UncertaintyName: TypeAlias = str
else:
    UncertaintyName = Literal[tuple(UNCERTAINTIES)]


def variants(model: Any, uncertainty: str | None, passes: int) -> Variants:
    """Return the ways to predict whose disagreement is asked for; none for None."""
    integer(passes, "passes", 2)
    if uncertainty is None:
        return []
    choice(uncertainty, "uncertainty", UNCERTAINTIES)
    return UNCERTAINTIES[uncertainty](model, passes)


def disagreement(model: Any, predictions: Tensor, given: Tensor) -> Tensor:
    """Say how far several predictions for the same rows are from the one that is given.

    For classes, 1 minus the probability of the label that `given` has, on average over the
    predictions, from 0 to 1; the mean over several targets. For values, the root of their mean
    squared distance from `given`, in the units of the target.

    Args:
        model: The model, or one of several of the same task.
        predictions: As `predict` gives them, of shape (predictions, rows, output_dim).
        given: The same, of shape (rows, output_dim).

    Returns:
        Of shape (rows, 1) for classes, (rows, output_dim) for values.
    """
    if not model.task.classifies:
        return (predictions - given).square().mean(0).sqrt()
    labels = label_probabilities(model, given).argmax(-1, keepdim=True)
    shares = torch.stack([label_probabilities(model, each) for each in predictions]).mean(0)
    return 1 - shares.gather(-1, labels)[..., 0].mean(-1, keepdim=True)
