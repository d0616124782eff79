"""What remains of a model when a part says the same about every row: its mean output."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

from torch import Tensor, nn

from hybridlit.analysis.replacement import mean_outputs, replaced

__all__ = ["losses_without"]


def losses_without(
    parts: Mapping[str, Sequence[nn.Module]],
    reference: Callable[[], object],
    losses: Callable[[], Tensor],
) -> dict[str, Tensor]:
    """Evaluate a model with one part at a time, all of its modules, replaced by its mean output.

    The mean is taken while `reference` runs the model. Left out are parts with a module that the
    model does not call, or that returns anything but tensors of shape (rows, ...) with equal rows.
    """

    def run() -> None:
        reference()

    means, _ = mean_outputs({m: m for modules in parts.values() for m in modules}, run)
    found: dict[str, Tensor] = {}
    for name, modules in parts.items():
        if modules and all(module in means for module in modules):
            with ExitStack() as replacing:
                for module in modules:
                    replacing.enter_context(replaced(module, means[module]))
                found[name] = losses()
    return found
