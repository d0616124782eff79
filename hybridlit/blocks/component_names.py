"""Which entries of a state dict are photonic and which are classical."""

from __future__ import annotations

from torch import nn

from hybridlit.blocks.paths import Paths
from hybridlit.components import COMPONENTS, is_photonic, split_parameters
from hybridlit.photonics import PhotonicCircuit

__all__ = ["names_by_component"]


def names_by_component(model: nn.Module) -> dict[str, list[str]]:
    """Split the names of a state dict by component; buffers go with the module that holds them.

    Left out are the means of lost paths (`Paths`): they are of outputs of all components.
    """
    kinds = {
        id(parameter): kind
        for kind, group in split_parameters(model).items()
        for parameter in group.values()
    }
    modules = dict(model.named_modules(remove_duplicate=False))
    split: dict[str, list[str]] = {component: [] for component in COMPONENTS}
    for name, value in model.state_dict(keep_vars=True).items():
        if isinstance(modules[name.rpartition(".")[0]], Paths):
            continue
        kind = kinds.get(id(value))
        if kind is None:
            owner = name.rpartition(".")[0]
            above = [owner[:i] for i in range(len(owner)) if owner[i] == "."] + [""] * bool(owner)
            marked = any(
                is_photonic(modules[a]) and not isinstance(modules[a], PhotonicCircuit)
                for a in above
            )
            kind = "photonic" if marked or is_photonic(modules[owner]) else "classical"
        split[kind].append(name)
    return split
