"""Parameters drawn anew, as before training."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from hybridlit.components import photonic_modules
from hybridlit.photonics import PhotonicCircuit

__all__ = ["cannot_draw", "draw_anew"]


def draw_anew(part: nn.Module) -> None:
    """Draw the parameters of a part anew; if it holds photonic ones, only these.

    Args:
        part: The part, changed in place.
    """
    for module in _drawn(part):
        if isinstance(module, PhotonicCircuit):
            PhotonicCircuit.reset_parameters(module)
        else:
            module.reset_parameters()  # type: ignore[operator]


def cannot_draw(part: nn.Module) -> str | None:
    """Name a class with parameters that nothing in the part can draw.

    Args:
        part: The part.

    Returns:
        The name of the class, or None if `draw_anew` reaches all.
    """
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
