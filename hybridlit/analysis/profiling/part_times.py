"""When each part of a network runs, in a real forward and backward pass.

The forward pass is cut by hooks before and after each part. In the backward pass every node of the
autograd graph belongs to the part in whose forward pass it was made, and a hook before each node
tells where another part begins: this needs no gradient at a part's input, follows lists of inputs
and parts that are called repeatedly or run in parallel branches, and counts a parameter's gradient
where it is used. Both passes are thereby cut without gaps, so that the pieces sum to the whole.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from hybridlit.analysis.evaluation import tensors_in
from hybridlit.components import COMPONENTS, model_parts

__all__ = ["OTHER", "PartTimer", "Span", "StepTimes"]

OTHER = "other"
"""What belongs to no part: modules without parameters, functions between parts, the loss."""

Phase = Literal["forward", "backward"]

_TAKEN = (OTHER, *COMPONENTS)
"""Labels that mean something else."""


class Span(NamedTuple):
    """A time in which one part ran.

    Attributes:
        part: Label of the part, or `OTHER`.
        phase: `"forward"` or `"backward"`.
        start: Seconds since the step began.
        end: Seconds since the step began.
    """

    part: str
    phase: Phase
    start: float
    end: float


@dataclass(frozen=True)
class StepTimes:
    """One forward and backward pass, cut into pieces.

    Attributes:
        spans: The pieces in order, each beginning where the one before it ends.
        calls: How often each part was called in the forward pass.
        processor_seconds: Time that this process was given by the processor, all threads together.
    """

    spans: tuple[Span, ...]
    calls: Mapping[str, int]
    processor_seconds: float

    def seconds(self, part: str | None = None, phase: Phase | None = None) -> float:
        """Return how many seconds a part (None: everything) ran in a phase (None: in both)."""
        return sum(
            span.end - span.start
            for span in self.spans
            if part in (None, span.part) and phase in (None, span.phase)
        )


class PartTimer:
    """Stopwatch of the parts of a network.

    Use: `attach`, then for each step `start`, the forward pass, `begin_backward(loss)`, the
    backward pass, `end_backward`, `finish`; at the end `detach`. A step may have any number of
    backward passes. Nothing that the model computes is changed.

    What belongs to what: a part's forward time is that of its outermost call; a part that another
    part contains counts with that one. Nodes of the graph belong to the part whose call made them,
    with the gradients of its parameters; a parameter that two parts share counts with the first. A
    part whose outputs are computed again in the backward pass (activation checkpoints) has that
    time in its backward pass. Checkpoints with `use_reentrant=True` hide the graph inside, so that
    their backward pass counts as `OTHER`. Sums of gradients from several branches, which autograd
    forms between nodes, count with what ran before them.

    On accelerators, every change from one part to another waits for the device.

    Args:
        model: The network.

    Attributes:
        parts: Its parts, as `model_parts` finds them, by label: their name, or the name of its type
            where the model itself is the only part; a part called `classical`, `photonic` or
            `other` is labelled `classical_part`, ...
        running: Label of the part that runs now, or `OTHER`.
    """

    running: str

    def __init__(self, model: nn.Module) -> None:
        self.parts = {
            f"{name}_part" if name in _TAKEN else name or type(module).__name__: module
            for name, module in model_parts(model).items()
        }
        first = next(model.parameters(), None)
        self._waits = first is not None and first.device.type not in ("cpu", "meta")
        self._hooks, self._node_hooks = ExitStack(), ExitStack()
        self._phase: Phase | None = None
        self._reset()

    def now(self) -> float:
        """Return the time in seconds, when the device has done all it was given."""
        if self._waits:
            torch.accelerator.synchronize()
        return time.perf_counter()

    def attach(self) -> None:
        """Put hooks on the parts."""
        for label, module in self.parts.items():
            before, after = partial(self._before, label), partial(self._after, label)
            handle = module.register_forward_pre_hook(before, with_kwargs=True)
            self._hooks.callback(handle.remove)
            self._hooks.callback(module.register_forward_hook(after).remove)

    def detach(self) -> None:
        """Remove all hooks, in the middle of a step as well."""
        self._hooks.close()
        self._node_hooks.close()
        self._phase = None
        self._reset()

    def start(self) -> None:
        """Begin a step with its forward pass."""
        self._reset()
        self._open("forward")

    def begin_backward(self, loss: Tensor) -> None:
        """End the forward pass and prepare the backward pass from `loss`, which is not counted."""
        self._close()
        owner = self._owners()
        waiting, seen = [node for node in [loss.grad_fn] if node is not None], set()
        while waiting:
            node = waiting.pop()
            if node not in seen:
                seen.add(node)
                hook = partial(self._before_node, owner.get(node, OTHER))
                self._node_hooks.callback(node.register_prehook(hook).remove)
                waiting += _next(node)
        self._graph_calls.clear()
        self._open("backward")

    def end_backward(self) -> None:
        """End the backward pass; what follows counts as forward pass again."""
        self._close()
        self._node_hooks.close()
        self._open("forward")

    def finish(self) -> StepTimes:
        """End the step, and return what was measured since `start`."""
        self._close()
        last = self._spans[-1]
        if last[:2] == (OTHER, "forward") and any(span.phase == "backward" for span in self._spans):
            self._spans.pop()  # an optimizer's step, say: no part of the forward pass
        found = StepTimes(tuple(self._spans), dict(self._calls), self._processor)
        self._reset()
        return found

    # --- time -------------------------------------------------------------------------------------

    def _reset(self) -> None:
        self._spans: list[Span] = []
        self._calls = dict.fromkeys(self.parts, 0)
        self._graph_calls: list[tuple[str, list[Node], list[Node]]] = []  # part, inputs, outputs
        self._inside: list[list[Node]] = []
        self.running, self._since, self._passed = OTHER, 0.0, 0.0
        self._processor = 0.0

    def _open(self, phase: Phase) -> None:
        """Let time run."""
        self._phase, self.running = phase, OTHER
        self._processor_began = time.process_time()
        self._began = self._since = self.now()

    def _close(self) -> None:
        """Stop time."""
        if self._phase is None:
            return
        self._switch(None)
        self._passed += self._since - self._began
        self._processor += time.process_time() - self._processor_began
        self._phase = None

    def _switch(self, part: str | None) -> None:
        """Let another part run from now on."""
        if part == self.running or self._phase is None:
            return
        now = self.now()
        offset = self._passed - self._began
        span = Span(self.running, self._phase, self._since + offset, now + offset)
        self._spans.append(span)
        self.running, self._since = part or OTHER, now

    # --- hooks ------------------------------------------------------------------------------------

    def _before(self, label: str, _: nn.Module, *given: Any) -> None:
        if self._phase == "forward":
            self._inside.append(_nodes(given))
            if len(self._inside) == 1:
                self._calls[label] += 1
                self._switch(label)

    def _after(self, label: str, _: nn.Module, __: Any, output: Any) -> None:
        if self._phase == "forward" and self._inside:
            inputs = self._inside.pop()
            if not self._inside:
                self._switch(OTHER)
                self._graph_calls.append((label, inputs, _nodes(output)))

    def _before_node(self, part: str, _: Any) -> None:
        self._switch(part)

    def _owners(self) -> dict[Node, str]:
        """Return which part each node belongs to: made by the first call that leads to it."""
        owner: dict[Node, str] = {}
        for part, inputs, outputs in self._graph_calls:
            stop, waiting = set(inputs), list(outputs)
            while waiting:
                node = waiting.pop()
                if node not in stop and node not in owner:
                    owner[node] = part
                    waiting += _next(node)
        return owner


def _nodes(value: Any) -> list[Node]:
    return [tensor.grad_fn for tensor in tensors_in(value) if tensor.grad_fn is not None]


def _next(node: Node) -> list[Node]:
    return [following for following, _ in node.next_functions if following is not None]
