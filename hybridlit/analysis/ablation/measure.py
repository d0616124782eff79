"""The score of a model as a mean over rows, so that two models can be compared row by row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from hybridlit.analysis.evaluation import collect, to_device_of
from hybridlit.templates import HybridModule

__all__ = ["Forward", "Measure", "RowScore"]

RowScore = Callable[[Tensor, Tensor], Tensor]
"""From (outputs, targets) of all test rows to one number a row, more is better, shape (rows,)."""

Forward = Callable[[Any, Any], tuple[Tensor, Tensor]]
"""From (model, batch) to outputs and targets of the batch, each of shape (batch, ...)."""


class Measure:
    r"""Runs a model over batches and scores every row; the score is the mean over the rows.

    Classification scores 1 for a right row and 0 for a wrong one, so that the mean is the accuracy.
    Regression scores :math:`1 - e^2 / \mathrm{Var}(y)`, averaged over outputs, whose mean is R2.

    Args:
        model: The model, for the task of a `HybridModule`.
        score: Another score, more is better; it is called with what the model returns and the
            prepared targets.
        forward: How a model that is no `HybridModule` is run on a batch.

    Attributes:
        name: `"acc"`, `"r2"` or the name of the function `score`.
        forward: The function given, or None.
        own_score: Whether `score` was given.

    Raises:
        TypeError: If the model is no `HybridModule` and an argument is missing.
    """

    def __init__(
        self,
        model: LightningModule,
        score: RowScore | None = None,
        forward: Forward | None = None,
    ) -> None:
        template = isinstance(model, HybridModule)
        for name, given in (("score", score), ("forward", forward)):
            if given is None and not template:
                raise TypeError(
                    f"{type(model).__name__} is no HybridModule: give {name}=, "
                    + (
                        "from (outputs, targets) to one number a row, more is better"
                        if name == "score"
                        else "from (model, batch) to (outputs, targets)"
                    )
                )
        self._score, self.forward = score, forward
        self.own_score = score is not None
        self.name = _name_of(score) if score is not None else "score"
        if score is None and isinstance(model, HybridModule):
            self.name = model.task.score

    def outputs(self, model: LightningModule, batches: Sequence[Any]) -> tuple[Tensor, Tensor]:
        """Run a model in evaluation mode, without gradients.

        Args:
            model: The model; it is left in evaluation mode.
            batches: At least one batch.

        Returns:
            Outputs and targets of shape (rows, ...), on the CPU.
        """
        model.eval()
        if self.forward is None:
            assert isinstance(model, HybridModule)  # the constructor has asked for the rest
            return collect(model, batches)
        pairs = []
        with torch.no_grad():
            for batch in batches:
                outputs, targets = self.forward(model, to_device_of(model, batch))
                pairs.append((outputs.cpu(), targets.cpu()))
        return torch.cat([pair[0] for pair in pairs]), torch.cat([pair[1] for pair in pairs])

    def rows(
        self, model: LightningModule, outputs: Tensor, targets: Tensor
    ) -> npt.NDArray[np.float64]:
        """Score every row.

        Args:
            model: The model, for its `predictions`.
            outputs: What it returned, shape (rows, ...).
            targets: The prepared targets, shape (rows, ...).

        Returns:
            Shape (rows,).

        Raises:
            ValueError: If outputs or scores are not finite, or there is not one score a row.
        """
        if not bool(torch.isfinite(outputs).all()):
            raise ValueError("the model's outputs on the test data are not finite: it has diverged")
        if self._score is not None:
            scores = torch.as_tensor(self._score(outputs, targets)).detach()
        else:
            assert isinstance(model, HybridModule)
            return self.rows_of_predictions(model, model.predictions(outputs), targets)
        if scores.shape != outputs.shape[:1]:
            raise ValueError(
                f"score must return one number a row, shape ({len(outputs)},), got "
                f"{tuple(scores.shape)}"
            )
        return _finite(scores)

    def rows_of_predictions(
        self, model: HybridModule, predictions: Tensor, targets: Tensor
    ) -> npt.NDArray[np.float64]:
        """Score every row of what a template, or anything beside it, predicts.

        Args:
            model: The model, for its task.
            predictions: As the template's `predictions` returns them, shape (rows, output_dim).
            targets: The prepared targets, shape (rows, ...).

        Returns:
            Shape (rows,).

        Raises:
            ValueError: If scores are not finite.
        """
        return _finite(model.task.row_scores(predictions, targets))

    def __call__(
        self, model: LightningModule, batches: Sequence[Any]
    ) -> tuple[npt.NDArray[np.float64], Tensor]:
        """Run and score: the scores of the rows, shape (rows,), and the outputs (rows, ...)."""
        outputs, targets = self.outputs(model, batches)
        return self.rows(model, outputs, targets), outputs


def _finite(scores: Tensor) -> npt.NDArray[np.float64]:
    if not bool(torch.isfinite(scores).all()):
        raise ValueError("the scores of the test rows must be finite, got NaN or infinity")
    return scores.double().cpu().numpy()


def _name_of(score: RowScore) -> str:
    return getattr(score, "__name__", type(score).__name__)
