"""Time and memory of each part of a network, measured in real steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from itertools import islice
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from tqdm.auto import tqdm

from hybridlit.analysis.evaluation import (
    LossFunction,
    loss_function,
    rows_in,
    tensors_in,
    to_device_of,
)
from hybridlit.analysis.profiling.component_profile import ComponentProfile, PartProfile, Timing
from hybridlit.analysis.profiling.part_times import OTHER, PartTimer, StepTimes
from hybridlit.analysis.recording import Call, recorded
from hybridlit.argument_types import checked
from hybridlit.checks import integer
from hybridlit.components import photonic_modules
from hybridlit.undisturbed import undisturbed

__all__ = ["profile_components", "summarize"]


@checked
def profile_components(
    model: nn.Module,
    loader: Iterable[Any],
    *,
    batches: int = 10,
    warmup: int = 3,
    backward: bool = True,
    loss: LossFunction | None = None,
    progress: bool = True,
) -> ComponentProfile:
    """Measure time and memory of each part of a network, in its real forward and backward pass.

    Steps with hooks, which tell when each part runs, alternate with steps without any, so that what
    the hooks cost is known. The parts are those of `model_parts`; everything else, such as modules
    without parameters, functions between the parts and the loss, is `"other"`, so that all shares
    sum to 1. `PartTimer` says what is attributed to what. The model is left as it was.

    Args:
        model: A `HybridModule`, or any module with `loss`.
        loader: Yields batches; the first ones are used, over again if there are too few.
        batches: Number of steps measured of each kind, at least 1.
        warmup: Number of steps of each kind before that, at least 0.
        backward: Measure a training step: in training mode, with the backward pass, but without the
            optimizer's step. Otherwise a forward pass in evaluation mode without gradients.
        loss: From (model, batch) to the mean loss of the batch, for models that are no
            `HybridModule`.
        progress: Show a progress bar.

    Returns:
        The profile: print it, or use its `to_dict`, `to_markdown`, `figure` and `save_trace`.

    Raises:
        TypeError: If a number is no integer, or the model is no `HybridModule` and `loss` is None.
        ValueError: If a number is out of range, the loader yields nothing, or nothing is trainable
            and `backward` is asked for.
        RuntimeError: If no part ran in the forward pass, as in a compiled model.

    Example:
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1))
        >>> data = [(torch.randn(16, 3), torch.randn(16, 1))]
        >>> profile = profile_components(
        ...     model, data, loss=lambda model, batch: (model(batch[0]) - batch[1]).square().mean(),
        ...     progress=False,
        ... )
        >>> [part.name for part in profile.parts]
        ['0', '2', 'other']
    """
    integer(batches, "batches", 1)
    integer(warmup, "warmup", 0)
    function = loss_function(model, loss)
    if backward and not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError(
            "the model has no trainable parameters: unfreeze some, or give backward=False"
        )
    timer = PartTimer(model)
    plain, hooked = [], []
    with (
        undisturbed(model, silent=isinstance(model, LightningModule), whole=True),
        torch.set_grad_enabled(backward),
    ):
        given = [to_device_of(model, batch) for batch in islice(loader, batches)]
        if not given:
            raise ValueError("loader must yield at least one batch, got none")
        model.train(backward)
        for step in tqdm(range(warmup + batches), "profile", disable=not progress, leave=False):
            batch = given[step % len(given)]
            if step % 2:  # neither kind is always the first
                plain.append(_plain(model, function, batch, backward, timer))
            hooked.append(_hooked(model, function, batch, backward, timer))
            if not step % 2:
                plain.append(_plain(model, function, batch, backward, timer))
        kept, outputs = _memory(model, function, given[0], timer)
    return summarize(
        timer,
        model,
        plain[warmup:],
        hooked[warmup:],
        rows=rows_in(given[0]),
        backward=backward,
        saved=kept if backward else None,
        outputs=outputs,
    )


def summarize(
    timer: PartTimer,
    model: nn.Module,
    plain: Sequence[float],
    hooked: Sequence[StepTimes],
    *,
    rows: int | None,
    backward: bool,
    saved: Mapping[str, int] | None = None,
    outputs: Mapping[str, int] | None = None,
) -> ComponentProfile:
    """Turn the times of single steps into a profile.

    Args:
        timer: What measured them.
        model: The model.
        plain: Seconds of steps without hooks, at least one.
        hooked: Steps with hooks, at least one.
        rows: Number of rows of a batch.
        backward: Whether the steps have a backward pass.
        saved: Bytes kept for the backward pass by label of the part, `"other"` included.
        outputs: Bytes of the outputs by label of the part.

    Raises:
        RuntimeError: If no part ran in the forward pass.
    """
    if timer.parts and not any(any(step.calls.values()) for step in hooked):
        raise RuntimeError(
            f"none of the parts {list(timer.parts)} ran in the forward pass: profile a model "
            "before it is compiled, and let the loss call the model"
        )
    totals = [step.seconds() for step in hooked]
    middle = Timing.of(totals).median / 1e3
    typical = min(hooked, key=lambda step: abs(step.seconds() - middle))
    given = sum(step.processor_seconds for step in hooked)
    device = next((p.device.type for p in model.parameters()), "cpu")
    return ComponentProfile(
        model=type(model).__name__,
        parts=_parts(timer, model, hooked, backward, saved, outputs),
        step=Timing.of(list(plain)),
        hooked=Timing.of(totals),
        steps=len(hooked),
        rows=rows,
        device=device,
        backward=backward,
        spans=typical.spans,
        waiting=max(0.0, 1 - given / sum(totals)) if device == "cpu" else 0.0,
    )


def _parts(
    timer: PartTimer,
    model: nn.Module,
    hooked: Sequence[StepTimes],
    backward: bool,
    saved: Mapping[str, int] | None,
    outputs: Mapping[str, int] | None,
) -> tuple[PartProfile, ...]:
    """What each part takes, and what belongs to none."""
    labels = [*timer.parts, OTHER]
    forward = {n: Timing.of([step.seconds(n, "forward") for step in hooked]) for n in labels}
    back = {n: Timing.of([step.seconds(n, "backward") for step in hooked]) for n in labels}
    whole = sum(timing.median for times in (forward, back) for timing in times.values())
    counted: set[nn.Parameter] = set()
    parts = []
    for label in labels:
        module = timer.parts.get(label, model)
        own = [p for p in module.parameters() if p not in counted]
        counted.update(own)
        component = "photonic" if photonic_modules(module) else "classical"
        parts.append(
            PartProfile(
                name=label,
                component=OTHER if label == OTHER else component,
                calls=max(step.calls.get(label, 0) for step in hooked),
                forward=forward[label],
                backward=back[label],
                share=(forward[label].median + back[label].median) / whole,
                parameter_bytes=sum(p.nbytes for p in own),
                gradient_bytes=sum(p.nbytes for p in own if p.requires_grad) if backward else 0,
                saved_bytes=None if saved is None else saved.get(label, 0),
                output_bytes=None if outputs is None or label == OTHER else outputs.get(label, 0),
            )
        )
    return tuple(parts)


def _plain(
    model: nn.Module, loss: LossFunction, batch: Any, backward: bool, timer: PartTimer
) -> float:
    """Seconds of a step without hooks."""
    model.zero_grad()
    start = timer.now()
    value = loss(model, batch)
    if backward:
        value.backward()
    return timer.now() - start


def _hooked(
    model: nn.Module, loss: LossFunction, batch: Any, backward: bool, timer: PartTimer
) -> StepTimes:
    """A step with hooks."""
    model.zero_grad()
    timer.attach()
    try:
        timer.start()
        value = loss(model, batch)
        if backward:
            timer.begin_backward(value)
            value.backward()
            timer.end_backward()
        return timer.finish()
    finally:
        timer.detach()


def _memory(
    model: nn.Module, loss: LossFunction, batch: Any, timer: PartTimer
) -> tuple[dict[str, int], dict[str, int]]:
    """Bytes that a forward pass keeps for the backward pass, and of outputs, by part.

    Storages count once, with the part that first keeps them; those of parameters, buffers and the
    batch do not count. What an activation checkpoint keeps is kept outside the part that it runs.
    """
    known = [*model.parameters(), *model.buffers(), *tensors_in(batch)]
    counted = {_storage(tensor) for tensor in known}
    kept = dict.fromkeys([*timer.parts, OTHER], 0)
    alive = []  # an address must not be given to another tensor while this is counting

    def pack(tensor: Tensor) -> Tensor:
        if _storage(tensor) not in counted:
            counted.add(_storage(tensor))
            alive.append(tensor.detach())
            kept[timer.running] += tensor.untyped_storage().nbytes()
        return tensor

    with ExitStack() as stack:
        stack.callback(timer.detach)
        timer.attach()
        sizes = stack.enter_context(recorded(timer.parts, _output_bytes))
        stack.enter_context(torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor))
        timer.start()
        loss(model, batch)
    return kept, {label: sum(found) for label, found in sizes.items()}


def _output_bytes(call: Call) -> int:
    return sum(tensor.nbytes for tensor in tensors_in(call.output))


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
