"""Which parameters and submodules of a model are photonic and which are classical.

The answer comes from types and explicit marks, never from names: a `QuantumLayer`, or a
`QuantumLayerStack`, owns its phases and bandwidths, and everything attached to it as a submodule
(its linear readout) stays classical. A layer of another library is declared once with
`mark_photonic`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from hybridlit.photonics import PhotonicCircuit

__all__ = ["is_photonic", "mark_photonic", "photonic_modules", "split_parameters"]

_MARK = "_hybridlit_photonic"

Module = TypeVar("Module", bound=nn.Module)


def mark_photonic(module: Module) -> Module:
    """Declare that a module is photonic, with every parameter in it and below it.

    The mark is an attribute of the instance, so it survives `copy.deepcopy` and `pickle`. Marking a
    `QuantumLayer` makes its readout photonic as well.

    Args:
        module: The quantum layer of another library, or any module to be treated as one.

    Returns:
        The same module, so that the call can wrap an expression.

    Raises:
        TypeError: If `module` is no `nn.Module`.
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be an nn.Module, got {type(module).__name__}")
    setattr(module, _MARK, True)
    return module


def is_photonic(module: nn.Module) -> bool:
    """Tell whether a module is itself a photonic one: a photonic layer or a marked module.

    Args:
        module: Any module; what it contains is not looked at.

    Returns:
        True for a `QuantumLayer`, a `QuantumLayerStack` or a subclass, and for modules given to
        `mark_photonic`.
    """
    return isinstance(module, PhotonicCircuit) or _is_marked(module)


def photonic_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Find the outermost photonic modules of a model.

    Args:
        model: The model to search; it may be photonic itself.

    Returns:
        The photonic modules by qualified name, in the order of registration; `""` names the model
        itself. A photonic module inside another one is not listed, and a module registered under
        several names is listed under the first.
    """
    found: dict[str, nn.Module] = {}
    inside: set[int] = set()
    for name, module in model.named_modules():
        if is_photonic(module) and id(module) not in inside:
            found[name] = module
            inside.update(id(child) for child in module.modules())
    return found


def split_parameters(model: nn.Module) -> dict[str, dict[str, nn.Parameter]]:
    """Split the parameters of a model into classical and photonic ones.

    Args:
        model: The model to look at, frozen parameters included.

    Returns:
        `{"classical": {...}, "photonic": {...}}` with qualified names as keys. Every parameter
        occurs exactly once, a shared one under the first of its names.

    Raises:
        ValueError: If one parameter is shared between a classical and a photonic module, since no
            group could then own it.
    """
    groups: dict[str, dict[str, nn.Parameter]] = {"classical": {}, "photonic": {}}
    owner: dict[int, tuple[str, str]] = {}
    for name, parameter, kind in _walk(model, prefix="", inherited=False):
        first_kind, first_name = owner.setdefault(id(parameter), (kind, name))
        if first_kind != kind:
            raise ValueError(
                f"parameter {first_name!r} ({first_kind}) and {name!r} ({kind}) are the same "
                "tensor, so it belongs to neither component; untie them, or call mark_photonic "
                "on the module that holds the classical use"
            )
        if first_name == name:
            groups[kind][name] = parameter
    return groups


def _walk(
    module: nn.Module, prefix: str, inherited: bool
) -> Iterator[tuple[str, nn.Parameter, str]]:
    """Yield (name, parameter, kind) for every registration, shared parameters repeatedly."""
    everything = inherited or _is_marked(module)
    own = everything or is_photonic(module)
    for name, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
        yield prefix + name, parameter, "photonic" if own else "classical"
    for name, child in module.named_children():
        # torch moves a parametrized tensor into a child, but it stays the module's own parameter
        is_own = own and name == "parametrizations" and is_parametrized(module)
        yield from _walk(child, f"{prefix}{name}.", everything or is_own)


def _is_marked(module: nn.Module) -> bool:
    return bool(getattr(module, _MARK, False))
