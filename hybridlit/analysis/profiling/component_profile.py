"""What was measured of the parts of a network, as numbers, text, a picture and a trace."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hybridlit.analysis.pictures.style import COMPONENT_COLOURS, new_figure
from hybridlit.analysis.profiling.part_times import OTHER, Span
from hybridlit.components import COMPONENTS
from hybridlit.words import aligned, in_bytes, piped

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["ComponentProfile", "PartProfile", "Timing"]

_BUSY = 0.2
"""Share of the time without a processor from which on a machine was busy."""

_HEADINGS = ("part", "component", "forward ms", "backward ms", "share")
_SIZES = ("parameters", "gradients", "kept for backward", "outputs")


@dataclass(frozen=True)
class Timing:
    """A time over several steps.

    Attributes:
        median: Milliseconds.
        low: Lower quartile, in milliseconds.
        high: Upper quartile, in milliseconds.
    """

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, seconds: list[float]) -> Timing:
        """Summarize the seconds of several steps, at least one."""
        low, median, high = np.quantile(1e3 * np.asarray(seconds), [0.25, 0.5, 0.75])
        return cls(float(median), float(low), float(high))

    def __str__(self) -> str:
        return f"{self.median:.3g} ({self.low:.3g}-{self.high:.3g})"


@dataclass(frozen=True)
class PartProfile:
    """What one part of a network takes in a step.

    Attributes:
        name: Its label, or `"other"`.
        component: `"photonic"` for a part that holds a photonic module (its readout included),
            `"classical"` for one that holds none, `"other"` for what belongs to no part.
        calls: Calls in the forward pass; 0 for `"other"`.
        forward: Time of the forward pass.
        backward: Time of the backward pass; zero where there was none.
        share: Share of the sum of all parts' forward and backward medians; all shares sum to 1.
        parameter_bytes: Memory of its parameters; shared ones count with their first part.
        gradient_bytes: Memory of their gradients.
        saved_bytes: Memory kept for the backward pass, beside parameters and the batch, by the part
            that first keeps it; None if not measured.
        output_bytes: Memory of its outputs; None if not measured.
    """

    name: str
    component: str
    calls: int
    forward: Timing
    backward: Timing
    share: float
    parameter_bytes: int
    gradient_bytes: int
    saved_bytes: int | None = None
    output_bytes: int | None = None

    @property
    def sizes(self) -> tuple[int | None, ...]:
        """Everything in bytes, in the order of a table."""
        return self.parameter_bytes, self.gradient_bytes, self.saved_bytes, self.output_bytes


@dataclass(frozen=True)
class ComponentProfile:
    """Time and memory of the parts of a network in a step: its forward and its backward pass.

    Attributes:
        model: Name of the model's type.
        parts: The parts in the order of the network, `"other"` last.
        step: Time of the step measured without any hooks.
        hooked: Time of the step with the hooks that measure the parts.
        steps: Number of steps measured of each kind.
        rows: Number of rows of a batch; None if unknown.
        device: Type of the device.
        backward: Whether there was a backward pass.
        spans: The step with hooks whose time is nearest to the median, cut into pieces.
        waiting: Share of the steps with hooks in which the process was given no processor, since
            others had it; 0 on accelerators, where waiting is what the process does.

    Example:
        >>> import torch
        >>> from hybridlit import SequentialHybrid, profile_components
        >>> model = SequentialHybrid(input_dim=4, quantum_dim=2, output_dim=3)
        >>> batches = [(torch.randn(8, 4), torch.zeros(8, dtype=torch.long))]
        >>> profile = profile_components(model, batches, progress=False)
        >>> list(profile.shares), profile.rows
        (['classical', 'photonic', 'other'], 8)
    """

    model: str
    parts: tuple[PartProfile, ...]
    step: Timing
    hooked: Timing
    steps: int
    rows: int | None
    device: str
    backward: bool
    spans: tuple[Span, ...]
    waiting: float = 0.0

    @property
    def busy(self) -> bool:
        """Whether the machine was too busy with other things for times to be relied on."""
        return self.waiting > _BUSY

    @property
    def shares(self) -> dict[str, float]:
        """Shares of `"classical"`, `"photonic"` and `"other"`, which sum to 1."""
        shares = dict.fromkeys((*COMPONENTS, OTHER), 0.0)
        for part in self.parts:
            shares[part.component] += part.share
        return shares

    @property
    def overhead(self) -> float:
        """By how much the hooks lengthen a step, relative to one without; it includes noise."""
        return self.hooked.median / self.step.median - 1

    def __str__(self) -> str:
        return self._text(aligned)

    def to_markdown(self) -> str:
        """Return the profile as text with a Markdown table."""
        return self._text(piped)

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers but the spans in dicts, strings, ints and floats."""
        values = asdict(self)
        values.pop("spans")
        values["parts"] = {part.pop("name"): part for part in values["parts"]}
        return values | {"shares": self.shares, "overhead": self.overhead, "busy": self.busy}

    def figure(self) -> Figure:
        """Draw forward and backward times of the parts as stacked bars.

        Returns:
            A figure, which belongs to no window.

        Raises:
            ImportError: If matplotlib, of the extra `plot`, is not installed.
        """
        figure = new_figure(8, 1.6 + 0.45 * len(self.parts))
        from matplotlib.patches import Patch

        axes = figure.add_subplot()
        longest = max(part.forward.median + part.backward.median for part in self.parts)
        for row, part in enumerate(self.parts):
            colour = COMPONENT_COLOURS[part.component]
            forward, backward = part.forward.median, part.backward.median
            axes.barh(row, forward, color=colour)
            axes.barh(row, backward, left=forward, color=colour, alpha=0.45)
            beside = forward + backward + 0.01 * longest
            axes.text(beside, row, f"{part.share:.0%}", va="center", size=9)
        axes.set_yticks(range(len(self.parts)), [part.name for part in self.parts])
        axes.invert_yaxis()
        axes.set_xlim(0, 1.1 * longest)
        axes.set_xlabel(f"milliseconds, median of {self.steps} steps; share of all parts")
        axes.set_title(self._heading(), size=11)
        axes.spines[["top", "right"]].set_visible(False)
        shown = [name for name, share in self.shares.items() if share > 0]
        keys = [Patch(color=COMPONENT_COLOURS[name], label=name) for name in shown]
        keys.append(Patch(color="#444444", label="forward"))
        if self.backward:
            keys.append(Patch(color="#444444", alpha=0.45, label="backward"))
        figure.legend(handles=keys, loc="outside lower center", ncols=len(keys), frameon=False)
        return figure

    def save_trace(self, path: str | Path) -> Path:
        """Write one step as a trace that chrome://tracing and Perfetto open.

        Args:
            path: The JSON file; folders are made.

        Returns:
            The path.
        """
        components = {part.name: part.component for part in self.parts}
        process = {"ph": "M", "pid": 0, "tid": 0}
        events: list[dict[str, Any]] = [
            process | {"name": "process_name", "args": {"name": self._heading()}},
            process | {"name": "thread_name", "args": {"name": "parts"}},
        ]
        for phase, spans in groupby(self.spans, lambda span: span.phase):
            times = [(span.start, span.end) for span in spans]
            events.append(_event(phase, "pass", times[0][0], times[-1][1]))
        for span in self.spans:
            if span.part != OTHER:
                events.append(_event(span.part, components[span.part], span.start, span.end))
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {"traceEvents": events, "displayTimeUnit": "ms", "otherData": self.to_dict()}
        path.write_text(json.dumps(content), encoding="utf-8")
        return path

    def _text(self, table: Callable[..., str]) -> str:
        head, *rows = self._table()
        return "\n".join([self._heading(), "", table(head, rows, 2), "", *self._remarks()])

    def _heading(self) -> str:
        kind = "forward and backward pass" if self.backward else "forward pass"
        rows = "" if self.rows is None else f" of {self.rows} rows"
        return f"{self.model}: {kind}{rows} on {self.device}"

    def _table(self) -> list[list[str]]:
        """Headings and rows; columns of what was not measured are left out."""
        rows = [
            [
                part.name,
                part.component,
                str(part.forward),
                str(part.backward) if self.backward else "-",
                f"{100 * part.share:.1f} %",
                *("-" if size is None else in_bytes(size) for size in part.sizes),
            ]
            for part in self.parts
        ]
        columns = zip(_HEADINGS + _SIZES, *rows, strict=True)
        known = [column for column in columns if set(column[1:]) != {"-"}]
        return [list(row) for row in zip(*known, strict=True)]

    def _remarks(self) -> list[str]:
        shares = ", ".join(f"{name} {100 * share:.1f} %" for name, share in self.shares.items())
        cost = f"with hooks {100 * self.overhead:+.1f} %."
        if self.busy:
            cost = (
                f"what the hooks cost is not known: the machine was busy with other things for "
                f"{100 * self.waiting:.0f} % of the time, so that all times are too long."
            )
        return [
            f"Shares: {shares}. What belongs to no part is {OTHER}: the loss, functions between "
            "parts, and in training metrics and callbacks.",
            f"The step takes {self.step} ms without hooks; {cost} Medians (quartiles) of "
            f"{self.steps} steps.",
        ]


def _event(name: str, category: str, start: float, end: float) -> dict[str, Any]:
    """A complete event; the format counts in microseconds."""
    times = {"ts": 1e6 * start, "dur": 1e6 * (end - start)}
    return {"name": name, "cat": category, "ph": "X", "pid": 0, "tid": 0, **times}
