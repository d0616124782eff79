"""What remains of a model when a part says the same about every row: its mean output."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from hybridlit.analysis.replacement import replaced_output

__all__ = ["losses_without"]


def losses_without(
    parts: Mapping[str, Sequence[nn.Module]],
    reference: Callable[[], object],
    losses: Callable[[], Tensor],
) -> dict[str, Tensor]:
    """Evaluate a model with one part at a time replaced by its mean output.

    Args:
        parts: The modules of each part; the outputs of all of them are replaced at once.
        reference: Runs the model on the rows over which the mean is taken.
        losses: Evaluates the model as it is then.

    Returns:
        What `losses` returned, by name of the part. Left out are parts with a module that the model
        does not call, or that returns anything but tensors of shape (rows, ...) with equal rows.
    """
    outputs: dict[nn.Module, list[Any]] = {m: [] for modules in parts.values() for m in modules}

    def record(module: nn.Module, _: Any, output: Any) -> None:
        outputs[module].append(output.detach() if isinstance(output, Tensor) else output)

    with ExitStack() as hooks:
        for module in outputs:
            hooks.callback(module.register_forward_hook(record).remove)
        reference()
    means = {module: _mean_row(found) for module, found in outputs.items()}

    found: dict[str, Tensor] = {}
    for name, modules in parts.items():
        replacing = [(m, mean) for m in modules if (mean := means[m]) is not None]
        if modules and len(replacing) == len(modules):
            with ExitStack() as replaced:
                for module, mean in replacing:
                    replaced.enter_context(replaced_output(module, mean.expand_as))
                found[name] = losses()
    return found


def _mean_row(outputs: list[Any]) -> Tensor | None:
    tensors = [output for output in outputs if isinstance(output, Tensor) and output.dim()]
    if not outputs or len(tensors) < len(outputs) or len({t.shape[1:] for t in tensors}) > 1:
        return None
    return torch.cat(tensors).mean(0)
