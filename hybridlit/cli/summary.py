"""The table of a model's modules that `fit` begins with."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.callbacks import ModelSummary

from hybridlit.words import aligned, plural

__all__ = ["ShortSummary"]

_LEFT_OUT = (
    "FLOPs",  # of an example that templates do not have, and those of photons are not counted
    "Mode",
)


class ShortSummary(ModelSummary):
    """Lightning's table of modules, without the columns and sums that say nothing of a hybrid."""

    @staticmethod
    def summarize(
        summary_data: list[tuple[str, list[str]]],
        total_parameters: int,
        trainable_parameters: int,
        *_: Any,
        **__: Any,
    ) -> None:
        """Print the table, and how many parameters there are."""
        columns = {name: cells for name, cells in summary_data if name not in _LEFT_OUT}
        print(aligned(list(columns), zip(*columns.values(), strict=True)))
        fixed = total_parameters - trainable_parameters
        of_these = f", {fixed:,} of them fixed" if fixed else ""
        print(plural(total_parameters, "parameter") + of_these)
