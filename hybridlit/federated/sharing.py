"""What of a model goes to the server and back, and what stays with a client."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from hybridlit.blocks.component_names import names_by_component
from hybridlit.components import photonic_modules
from hybridlit.words import quoted

__all__ = ["received", "shared_names"]


def shared_names(model: nn.Module, local: str | None) -> list[str]:
    """Return the entries of the state dict that a federation shares.

    A readout is classical, but of the size of its circuit: it stays where either stays.

    Args:
        model: A client's model, or the server's.
        local: What stays with each client: `"classical"`, so that the photonic parameters alone
            are shared; `"photonic"`, the photonic modules with their readouts, so that all else is;
            None: nothing stays.

    Raises:
        ValueError: If nothing would be shared, or there is nothing to stay.
    """
    names = list(model.state_dict())
    if local is None:
        return names
    by_component = names_by_component(model)
    if local == "classical":
        shared = by_component["photonic"]
    else:
        places = tuple(f"{name}." if name else "" for name in photonic_modules(model))
        shared = [name for name in by_component["classical"] if not name.startswith(places)]
    if not shared:
        other = "photonic" if local == "classical" else "classical"
        raise ValueError(f"local={local!r} leaves nothing to share: the model has no {other} part")
    return shared


def received(model: nn.Module, arrays: Mapping[str, Tensor], local: str | None) -> None:
    """Let a client's model take over what the server has sent.

    Raises:
        ValueError: If it is something that stays with the client, or does not fit the model.
    """
    own = model.state_dict()
    allowed = set(shared_names(model, local))
    kept = [name for name in arrays if name in own and name not in allowed]
    if kept:
        raise ValueError(
            f"the server asks for {quoted(kept)}, which local={local!r} keeps here: server and "
            "clients need the same local"
        )
    faults = [f"{name} is missing here" for name in arrays if name not in own]
    faults += [
        f"{name} has shape {tuple(own[name].shape)} here and {tuple(value.shape)} at the server"
        for name, value in arrays.items()
        if name in own and own[name].shape != value.shape
    ]
    if faults:
        raise ValueError(
            f"what the server shares does not fit this client's model: {'; '.join(faults[:4])}; "
            "widths and templates must be the same, and input_dim and output_dim numbers where the "
            "clients' data could say otherwise"
        )
    model.load_state_dict(dict(arrays), strict=False)
