"""The parts of a model that can be replaced: what they give on average, how they are drawn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from lightning.pytorch import LightningModule
from torch import Tensor, nn

from hybridlit.analysis.ablation.measure import Bench
from hybridlit.analysis.replacement import mean_outputs
from hybridlit.analysis.splits import loader_of
from hybridlit.components import model_parts, photonic_modules
from hybridlit.photonics import PhotonicCircuit

__all__ = ["cannot_draw", "chosen_parts", "draw_anew", "part_means"]


def chosen_parts(
    model: nn.Module, names: Sequence[str] | None, default: Mapping[str, nn.Module]
) -> dict[str, nn.Module]:
    """Return the parts of a model that were asked for, by name, or else `default`.

    It is a ValueError if there are none, or a name is in neither `model_parts` nor
    `photonic_modules`.
    """
    known = model_parts(model) | photonic_modules(model)
    chosen = list(default) if names is None else list(names)
    known.pop("", None)  # the whole model is no part of it
    for name in chosen:
        if name not in known:
            raise ValueError(f"parts must be some of {list(known)}, got {name!r}")
    if not chosen and names is None:
        raise ValueError(
            f"{type(model).__name__} has no part to replace: it holds no photonic layer; declare "
            f"one with mark_photonic, or name parts out of {list(known)}"
        )
    if not chosen:
        raise ValueError(f"parts must name at least one of {list(known)}, got an empty list")
    return {name: known[name] for name in chosen}


def part_means(
    model: LightningModule, bench: Bench, parts: Mapping[str, nn.Module]
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return mean outputs of parts over the training data, by name, and why others have none."""
    rows: list[int] = []

    def run() -> list[int]:
        for batch in loader_of(bench.data, "train"):
            rows.append(len(bench.measure.outputs(model, [batch])[0]))
        return rows

    found = mean_outputs(parts, run)
    if not rows:
        raise ValueError(f"{type(bench.data).__name__} has no training data to take means over")
    return found


def draw_anew(part: nn.Module) -> None:
    """Draw the parameters of a part anew, in place; if it holds photonic ones, only these."""
    for module in _drawn(part):
        if isinstance(module, PhotonicCircuit):
            module.reset_phases()
        else:
            module.reset_parameters()  # type: ignore[operator]


def cannot_draw(part: nn.Module) -> str | None:
    """Name a class with parameters that `draw_anew` cannot draw; None if it reaches all."""
    reached = {id(child) for module in _drawn(part) for child in module.modules()}
    for outer in _components(part):
        for module in outer.modules():
            if (
                id(module) not in reached
                and next(module.parameters(recurse=False), None) is not None
            ):
                return type(module).__name__
    return None


def _drawn(part: nn.Module) -> list[nn.Module]:
    return [module for outer in _components(part) for module in _resettable(outer)]


def _components(part: nn.Module) -> list[nn.Module]:
    return list(photonic_modules(part).values()) or [part]


def _resettable(module: nn.Module) -> Iterator[nn.Module]:
    if callable(getattr(module, "reset_parameters", None)):
        yield module
        return
    for child in module.children():
        yield from _resettable(child)
