"""Take one component of a trained model into another run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn

from hybridlit.argument_types import checked
from hybridlit.blocks.component_names import names_by_component
from hybridlit.components import COMPONENTS, model_parts
from hybridlit.photonics.description import circuits_in, differences
from hybridlit.resume.durable import damage, save_durably

__all__ = ["WarmStart", "export_component", "warm_start"]


@checked
def export_component(
    source: nn.Module | str | os.PathLike[str], component: str, path: str | os.PathLike[str]
) -> list[str]:
    """Save one component of a model, for `warm_start` in another one.

    Args:
        source: The model, or a checkpoint file of it.
        component: `"classical"` or `"photonic"`, by type as in `split_parameters`, buffers
            included; or a part such as `"quantum_layer"` (see `model_parts`), or any submodule.
            A checkpoint knows no types, so of one only parts can be taken.
        path: Where to save it.

    Returns:
        The names of what was saved, as in the model's state dict.

    Raises:
        ValueError: If there is no such component, or it holds nothing, or the file is damaged.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from hybridlit.photonics import QuantumLayer
        >>> layer = QuantumLayer(2, 3, n_modes=4, n_photons=2)
        >>> with TemporaryDirectory() as folder:
        ...     export_component(layer, "photonic", f"{folder}/photonic.pt")
        ['phases']
    """
    if isinstance(source, nn.Module):
        names, state = _names_of(source, component), source.state_dict()
    else:
        state = _load(source)["state_dict"]
        if component in COMPONENTS:
            raise ValueError(
                f"{source} is a file, which does not tell what is {component}: give the model, "
                "say SequentialHybrid.load_from_checkpoint(file), or name a part"
            )
        names = [name for name in state if name.startswith(f"{component}.")]
        if not names:
            parts = sorted({name.partition(".")[0] for name in state})
            raise ValueError(f"component must be one of {parts} in {source}, got {component!r}")
    prefix = _prefix(component)
    saved = {name.removeprefix(prefix): state[name].detach().cpu() for name in names}
    circuits = _circuits_of(component, circuits_in(state))
    save_durably({"component": component, "state_dict": saved, "circuits": circuits}, path)
    return names


@checked
def warm_start(
    model: nn.Module, path: str | os.PathLike[str], component: str | None = None
) -> list[str]:
    """Give one component of a model the values it has in another run.

    Everything else stays as it is, so the other components may have other widths.

    Args:
        model: The model; its component is changed in place.
        path: A file of `export_component`, or a checkpoint, loaded with `weights_only=True`.
        component: `"classical"`, `"photonic"` or the name of a part or submodule; None: what the
            file holds. A part can be loaded into one of another name.

    Returns:
        The names of what was loaded, as in the model's state dict.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If names, shapes or circuits differ; the model is then unchanged. Also if there
            is no such component, or the file is damaged.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from hybridlit import SequentialHybrid
        >>> with TemporaryDirectory() as folder:
        ...     file = f"{folder}/photonic.pt"
        ...     saved = export_component(SequentialHybrid(5, 2, 3), "photonic", file)
        ...     warm_start(SequentialHybrid(9, 2, 3), file) == saved
        True
    """
    content = _load(path)
    state: dict[str, Tensor] = content["state_dict"]
    circuits = content.get("circuits", {})
    exported: str | None = content.get("component")
    component = component or exported
    if component is None:
        raise ValueError(f"{path} is a whole checkpoint: say which component of it is meant")
    names, prefix = _names_of(model, component), _prefix(component)
    if exported is None:
        # a checkpoint tells what else is in a part, but not what else is photonic, say
        mine = [name for name in state if (name.startswith(prefix) if prefix else name in names)]
        circuits = _circuits_of(component, circuits_in(state))
        state = {name.removeprefix(prefix): state[name] for name in mine}
    elif exported != component and (exported in COMPONENTS or component in COMPONENTS):
        raise ValueError(f"{path} holds the component {exported!r}, not {component!r}")
    own = model.state_dict()
    wanted = {name.removeprefix(prefix): own[name] for name in names}
    faults = [f"{name} is not in the file" for name in wanted if name not in state]
    faults += [f"{name} is not in the model" for name in state if name not in wanted]
    faults += [
        f"{name} has shape {tuple(value.shape)} in the model and {tuple(state[name].shape)} in "
        "the file"
        for name, value in wanted.items()
        if name in state and state[name].shape != value.shape
    ]
    for place, circuit in _circuits_of(component, circuits_in(own)).items():
        difference = differences(circuits.get(place), circuit)
        if difference:
            faults.append(f"{place or 'it'} is another circuit, {difference}")
    if faults:
        raise ValueError(f"{component!r} of {path} does not fit the model: {'; '.join(faults)}")
    # through load_state_dict, since modules may act on it
    loaded = {name: state[name.removeprefix(prefix)] for name in names}
    model.load_state_dict(loaded, strict=False)
    return names


class WarmStart(Callback):
    """Load components of other runs once, at the start of a new run; not when one is resumed.

    Args:
        components: Files of `export_component`, or checkpoints, by component: `"classical"`,
            `"photonic"` or the name of a part, such as `{"photonic": "photonic.pt"}`.

    Raises:
        TypeError: If `components` is no dictionary of names and paths.
        ValueError: If it is empty.

    Example:
        >>> WarmStart({"photonic": "photonic.pt"}).components
        {'photonic': 'photonic.pt'}
    """

    @checked
    def __init__(self, components: dict[str, str]) -> None:
        if not components:
            raise ValueError("components must name at least one component, got {}")
        self.components = dict(components)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Load the components, if the run is a new one."""
        if trainer.ckpt_path is not None or trainer.global_step:
            return
        for component, path in self.components.items():
            names = warm_start(pl_module, path, component)
            rank_zero_info(f"Warm start: {len(names)} tensors of {component} from {path}.")


def _prefix(component: str) -> str:
    """Return what the names of a part in the state dict begin with, and "" for a component."""
    return "" if component in COMPONENTS else f"{component}."


def _names_of(model: nn.Module, component: str) -> list[str]:
    """Return the names in the state dict that belong to a component."""
    if component in COMPONENTS:
        names = names_by_component(model)[component]
    elif not component or component not in dict(model.named_modules()):
        parts = [part for part in model_parts(model) if part]
        raise ValueError(
            f"component must be one of {[*COMPONENTS, *parts]} or a submodule, got {component!r}"
        )
    else:
        names = [name for name in model.state_dict() if name.startswith(_prefix(component))]
    if not names:
        whose = (
            f"the model has no {component}" if component in COMPONENTS else f"{component!r} has no"
        )
        raise ValueError(f"{whose} parameters or buffers")
    return names


def _circuits_of(component: str, circuits: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Return the circuits of a component by their names in it; of `"photonic"`, all there are."""
    if component in COMPONENTS:
        return dict(circuits) if component == "photonic" else {}
    inside = (name for name in circuits if f"{name}.".startswith(_prefix(component)))
    return {name[len(component) + 1 :]: circuits[name] for name in inside}


def _load(path: str | os.PathLike[str]) -> dict[str, Any]:
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {path}")
    fault = damage(path)
    if fault is not None:
        raise ValueError(f"{path} cannot be used: {fault}")
    content = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(content, dict) or "state_dict" not in content:
        raise ValueError(f"{path} is neither a checkpoint nor a file of export_component")
    return content
