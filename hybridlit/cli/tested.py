"""What a test has found, in a line that a person reads: scores, of how many rows, how sure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from hybridlit.analysis.statistics import ends, share_interval
from hybridlit.ranks import every_rank
from hybridlit.words import plural

__all__ = ["CountsRows", "in_words"]

_SHARE = "acc"
"""The metric that is a share of right rows, where each has one class."""


class CountsRows(Callback):
    """Counts the rows of a test, those of all processes together.

    Attributes:
        rows: Rows of each loader, by its number; None where the `test_step` of a subclass does not
            return its predictions.
    """

    def __init__(self) -> None:
        self.rows: dict[int, int | None] = {}

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin anew."""
        self.rows = {}

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count the rows of a batch."""
        found = outputs.get("predictions") if isinstance(outputs, Mapping) else None
        self._add(dataloader_idx, len(found) if isinstance(found, Tensor) else None)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add up what the processes have counted."""
        shares, self.rows = every_rank(self.rows), {}
        for share in shares:
            for loader, rows in share.items():
                self._add(loader, rows)

    def _add(self, loader: int, rows: int | None) -> None:
        before = self.rows.get(loader, 0)
        self.rows[loader] = None if before is None or rows is None else before + rows


def in_words(
    results: Sequence[Mapping[str, float]], rows: Mapping[int, int | None], one_class: bool
) -> list[str]:
    """Return a line for each test loader.

    Args:
        results: What `Trainer.test` returns.
        rows: What `CountsRows` has counted.
        one_class: Whether each row has one class, of which `acc` is the share of right rows.

    Example:
        >>> in_words([{"test/loss": 0.03, "test/acc": 0.975}], {0: 120}, one_class=True)
        ['Test: accuracy 0.9750 of 120 rows (95 %: 0.929 to 0.995)']
    """
    lines = []
    for index, found in enumerate(results):
        loader = next(iter(found), "").rpartition("/")[2] if index else ""
        own = loader or f"dataloader_idx_{index}"  # as Lightning calls those of a subclass
        scores = {
            key.removeprefix("test/").removesuffix(f"/{own}"): value
            for key, value in found.items()
            if key.startswith("test/")
        }
        if len(scores) > 1:
            scores.pop("loss", None)
        if scores:
            words = _words(scores, rows.get(index), one_class)
            lines.append(f"{f'Test of {loader}' if loader else 'Test'}: {words}")
    return lines


def _words(scores: Mapping[str, float], rows: int | None, one_class: bool) -> str:
    parts: list[str] = []
    for name, value in scores.items():
        counted = f" of {plural(rows, 'row')}" if rows and not parts else ""
        if name == _SHARE:
            part = f"accuracy {value:.4f}{counted}"
            if rows and one_class and _is_share(value, rows):
                part += f" (95 %: {ends(share_interval(round(value * rows), rows))})"
        else:
            part = f"{name.replace('_', ' ')} {value:.4g}{counted}"
        parts.append(part)
    return ", ".join(parts)


def _is_share(value: float, rows: int) -> bool:
    """Whether it can be a share of rows, in float32: a metric of the user's may have any name."""
    return 0 <= value <= 1 and abs(value * rows - round(value * rows)) <= 1e-7 * rows
