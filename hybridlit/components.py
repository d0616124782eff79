"""Which parameters and submodules of a model are photonic and which are classical.

The answer comes from types and explicit marks, never from names: a `QuantumLayer`, or a
`QuantumLayerStack`, owns its phases, its bandwidths and what it learns of its noise, and a
`ChipLayer` all that it has; everything else attached to one as a submodule (its linear readout)
stays classical. A layer of another library is declared once with `mark_photonic`.

Beside these two components, a network has parts: the submodules that it is put together from, such
as `classical_pre`, `quantum_layer` and `classical_post`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from hybridlit.argument_types import checked
from hybridlit.photonics import NoiseValues, PhotonicCircuit
from hybridlit.photonics.chip_layer import ChipLayer

__all__ = [
    "is_photonic",
    "mark_photonic",
    "model_parts",
    "part_parameters",
    "photonic_modules",
    "split_parameters",
]

COMPONENTS = ("classical", "photonic")
"""What a parameter can be part of."""

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

    Example:
        >>> layer = mark_photonic(nn.Linear(3, 2))
        >>> list(photonic_modules(nn.Sequential(nn.Linear(4, 3), layer)))
        ['1']
    """
    is_photonic(module)  # or it raises
    setattr(module, _MARK, True)
    return module


def is_photonic(module: nn.Module) -> bool:
    """Tell whether a module is itself a photonic one, whatever it contains.

    Returns:
        True for a `QuantumLayer`, a `QuantumLayerStack`, a `ChipLayer` or a subclass, and for
        modules given to `mark_photonic`.

    Example:
        >>> from hybridlit.photonics import QuantumLayer
        >>> is_photonic(QuantumLayer(2, 3, n_modes=4, n_photons=2)), is_photonic(nn.Linear(2, 3))
        (True, False)
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be an nn.Module, got {type(module).__name__} {module!r}")
    circuit = isinstance(module, (PhotonicCircuit, ChipLayer))
    return circuit or bool(getattr(module, _MARK, False))


def layer_in_words(layer: nn.Module) -> str:
    """Say what a photonic module that is no `PhotonicCircuit` is: whose, and if ours, how large."""
    own = type(layer).__module__.partition(".")[0] == __name__.partition(".")[0]
    name = type(layer).__name__
    return f"{name}({layer.extra_repr()})" if own else f"{name}, a layer of another library"


@checked
def photonic_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Find the outermost photonic modules of a model.

    Args:
        model: The model to search; it may be photonic itself.

    Returns:
        The photonic modules by qualified name, in the order of registration; `""` names the model
        itself. A photonic module inside another one is not listed, and a module registered under
        several names is listed under the first.

    Example:
        >>> from hybridlit import SequentialHybrid
        >>> list(photonic_modules(SequentialHybrid(input_dim=5, quantum_dim=2, output_dim=3)))
        ['quantum_layer']
    """
    found: dict[str, nn.Module] = {}
    inside: set[int] = set()
    for name, module in model.named_modules():
        if is_photonic(module) and id(module) not in inside:
            found[name] = module
            inside.update(id(child) for child in module.modules())
    return found


@checked
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

    Example:
        >>> from hybridlit.photonics import QuantumLayer
        >>> model = nn.Sequential(nn.Linear(4, 2), QuantumLayer(2, 3, n_modes=4, n_photons=2))
        >>> split = split_parameters(model)
        >>> list(split["photonic"]), len(split["classical"])
        (['1.phases'], 4)
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


@checked
def model_parts(model: nn.Module) -> dict[str, nn.Module]:
    """Find the parts that a network is put together from.

    They are the direct submodules that have parameters or are photonic. A submodule that mixes a
    photonic module with classical parameters of its own is looked into, and so is one that holds
    the whole network; a photonic module belongs to one part, together with its readout.

    Args:
        model: The model to look at.

    Returns:
        The parts by qualified name, in the order of registration. `""` names the model itself, if
        it cannot be taken apart.

    Example:
        >>> from hybridlit import SequentialHybrid
        >>> list(model_parts(SequentialHybrid(input_dim=5, quantum_dim=2, output_dim=3)))
        ['classical_pre', 'quantum_layer', 'classical_post']
    """
    parts: dict[str, nn.Module] = {}
    _collect_parts(model, "", parts, set(), whole=True)
    return parts


@checked
def part_parameters(model: nn.Module) -> dict[str, dict[str, nn.Parameter]]:
    """Split the parameters of a model by its parts.

    Args:
        model: The model to look at, frozen parameters included.

    Returns:
        Parameters with qualified names as keys, by name of the part as in `model_parts`; parts
        without parameters are left out. Every parameter occurs exactly once, a shared one in the
        first part that holds it. Parameters of no part, which modules that were looked into hold
        themselves, stand under `"other"`.

    Example:
        >>> from hybridlit import SequentialHybrid
        >>> found = part_parameters(SequentialHybrid(input_dim=5, quantum_dim=2, output_dim=3))
        >>> list(found), sum(each.numel() for each in found["classical_post"].values())
        (['classical_pre', 'quantum_layer', 'classical_post'], 131)
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    split: dict[str, dict[str, nn.Parameter]] = {}
    for part, module in model_parts(model).items():
        own = {names.pop(id(p)): p for p in module.parameters() if id(p) in names}
        if own:
            split[part] = own
    rest = {name: p for name, p in model.named_parameters() if id(p) in names}
    if rest:
        split["other"] = split.get("other", {}) | rest
    return split


def _collect_parts(
    module: nn.Module, name: str, parts: dict[str, nn.Module], seen: set[int], whole: bool
) -> None:
    """Add a module to `parts`, or else what it is put together from."""
    if id(module) in seen:
        return
    children = {
        child_name: child
        for child_name, child in module.named_children()
        if next(child.parameters(), None) is not None or photonic_modules(child)
    }
    if not children or is_photonic(module) or not (whole or _is_mixed(module)):
        parts[name] = module
        seen.add(id(module))
        return
    for child_name, child in children.items():
        inside = f"{name}.{child_name}" if name else child_name
        _collect_parts(child, inside, parts, seen, whole=whole and len(children) == 1)


def _is_mixed(module: nn.Module) -> bool:
    photonic = photonic_modules(module)
    covered = {id(p) for layer in photonic.values() for p in layer.parameters()}
    return len(photonic) > 1 or (
        len(photonic) == 1 and any(id(p) not in covered for p in module.parameters())
    )


def _walk(
    module: nn.Module, prefix: str, inherited: bool
) -> Iterator[tuple[str, nn.Parameter, str]]:
    """Yield (name, parameter, kind) for every registration, shared parameters repeatedly."""
    everything = inherited or isinstance(module, NoiseValues) or getattr(module, _MARK, False)
    own = everything or is_photonic(module)
    for name, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
        yield prefix + name, parameter, "photonic" if own else "classical"
    for name, child in module.named_children():
        # torch moves a parametrized tensor into a child, but it stays the module's own parameter
        is_own = own and name == "parametrizations" and is_parametrized(module)
        yield from _walk(child, f"{prefix}{name}.", everything or is_own)
