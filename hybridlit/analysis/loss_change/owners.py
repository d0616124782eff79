"""Who owns what a model has learned: its parts, or its two components."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from torch import Tensor, nn

from hybridlit.blocks.paths import Paths
from hybridlit.components import model_parts, part_parameters, photonic_modules, split_parameters

__all__ = ["OWNERS", "By", "Owners", "tensors_by"]


class Owners(NamedTuple):
    """One way to split a model.

    Attributes:
        parameters: From a model to its parameters by qualified name, by owner.
        modules: To the modules whose outputs are what an owner has to say; what is classical has
            no outputs of its own.
        rest: Who owns the buffers that lie in none of these modules.
    """

    parameters: Callable[[nn.Module], Mapping[str, Mapping[str, nn.Parameter]]]
    modules: Callable[[nn.Module], dict[str, list[nn.Module]]]
    rest: str


OWNERS = {
    "part": Owners(
        part_parameters,
        lambda model: {name: [module] for name, module in model_parts(model).items()},
        "other",
    ),
    "component": Owners(
        split_parameters,
        lambda model: {"photonic": list(photonic_modules(model).values())},
        "classical",
    ),
}
"""Each part by itself, or what is classical and what is photonic."""

if TYPE_CHECKING:
    By: TypeAlias = str
else:
    By = Literal[tuple(OWNERS)]


def tensors_by(model: nn.Module, by: By) -> dict[str, dict[str, Tensor]]:
    """Split all that a model has learned, parameters and persistent buffers, by who owns it.

    A buffer belongs to the part, or is photonic, if it lies in its modules.

    Args:
        model: The model.
        by: A name of `OWNERS`.

    Returns:
        The model's own tensors by qualified name, by owner. Owners without parameters are left out;
        buffers of no other owner are under `"other"` or `"classical"`. Means of the outputs of
        `Paths` are nobody's.
    """
    parameters, modules, rest = OWNERS[by]
    split: dict[str, dict[str, Tensor]] = {
        name: dict(own) for name, own in parameters(model).items() if own
    }
    owners = {
        id(buffer): name
        for name, several in modules(model).items()
        for module in several
        for buffer in module.buffers()
        if name in split
    }
    kept = model.state_dict(keep_vars=True)
    means = {
        id(b) for paths in model.modules() if isinstance(paths, Paths) for b in paths.buffers()
    }
    for name, buffer in model.named_buffers():
        if name in kept and id(buffer) not in means:
            split.setdefault(owners.get(id(buffer), rest), {})[name] = buffer
    return split
