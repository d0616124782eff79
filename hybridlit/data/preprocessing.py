"""From raw rows to what a model takes, and from its outputs to labels and values.

A data module fits it on the training rows, the model keeps it, and every checkpoint holds it: what
a model needs to predict on raw rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import Self

from hybridlit.data.chip_inputs import ChipInputs
from hybridlit.data.image_inputs import ImageInputs
from hybridlit.data.inputs import ArrayInputs, Inputs
from hybridlit.data.multimodal_inputs import MultiModalInputs
from hybridlit.data.sequence_inputs import SequenceInputs
from hybridlit.data.table_inputs import TableInputs
from hybridlit.data.targets import Targets

__all__ = ["INPUTS", "Preprocessing"]

INPUTS: dict[str, type[Inputs]] = {
    each.kind: each
    for each in (
        ArrayInputs,
        ChipInputs,
        ImageInputs,
        MultiModalInputs,
        SequenceInputs,
        TableInputs,
    )
}
"""Kinds of data by name."""


class Preprocessing(nn.Module):
    """What was fitted to the training rows, in buffers, and the names of columns and classes.

    The buffers are in no state dict, since a state dict is of weights and goes to models of other
    data as well; `state` has them.

    Args:
        inputs: What raw rows become.
        targets: What targets become.
        facts: What else there is to know of the training data, in plain values: where they come
            from (`"source"`), and the number of rows of each split (`"rows"`).
    """

    def __init__(
        self, inputs: Inputs, targets: Targets, facts: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__()
        self.inputs = inputs
        self.targets = targets
        self.facts = dict(facts or {})

    def forward(self, values: Tensor) -> Tensor:
        """Prepare numbers of `inputs.read`, of shape (rows, ...)."""
        prepared: Tensor = self.inputs(values)
        return prepared

    def state(self) -> dict[str, Any]:
        """Return everything as plain values and tensors, which load with `weights_only=True`."""
        buffers = {name: buffer.detach().cpu().clone() for name, buffer in self.named_buffers()}
        return {
            "kind": self.inputs.kind,
            "inputs": self.inputs.describe(),
            "targets": self.targets.describe(),
            "facts": self.facts,
            "buffers": buffers,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Make it again of what `state` has returned."""
        if state["kind"] not in INPUTS:
            raise ValueError(
                f"the data are of the kind {state['kind']!r}, which this version does not know; it "
                f"knows {list(INPUTS)}"
            )
        inputs = INPUTS[state["kind"]].from_description(state["inputs"])
        made = cls(inputs, Targets.from_description(state["targets"]), state["facts"])
        for name, value in state["buffers"].items():
            owner, _, own = name.rpartition(".")
            made.get_submodule(owner).register_buffer(own, value.clone(), persistent=False)
        return made

    def same_as(self, other: Preprocessing) -> bool:
        """Tell whether another one prepares rows and targets in the same way."""
        one, two = self.state(), other.state()
        ours, theirs = one.pop("buffers"), two.pop("buffers")
        return (
            {**one, "facts": None} == {**two, "facts": None}
            and ours.keys() == theirs.keys()
            and all(torch.equal(ours[name], theirs[name]) for name in ours)
        )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Follow `.to(device)` and no cast: rounded statistics would prepare rows otherwise."""

        def moved(tensor: Tensor) -> Tensor:
            device = fn(tensor.new_empty(0, dtype=torch.float32)).device
            single = device.type == "mps" and tensor.dtype == torch.float64  # it has no float64
            return tensor.to(device, torch.float32 if single else tensor.dtype)

        super()._apply(moved, recurse)  # type: ignore[no-untyped-call]
        return self
