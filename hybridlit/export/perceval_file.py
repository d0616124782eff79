"""The circuits of a model as Perceval's own text, in one JSON file."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from torch import nn

from hybridlit.interop import to_perceval
from hybridlit.photonics import PhotonicCircuit

__all__ = ["circuits_file"]

_APART = 1e-12


def circuits_file(model: nn.Module, about: str) -> bytes:
    """Return the bytes of a file with every photonic layer of a model as an experiment.

    Args:
        model: Any; it stays as it is.
        about: Its description, JSON.

    Raises:
        ValueError: If there is no photonic layer, or Perceval would read another circuit.
    """
    from perceval.serialization import deserialize, serialize

    circuits = {}
    for name, module in model.named_modules():
        if isinstance(module, PhotonicCircuit):
            for index in [None] if module.count is None else range(module.count):
                place = name if index is None else f"{name}.{index}"
                experiment = to_perceval(module, index=index)
                circuits[place] = serialize(experiment)
                _require_same(experiment, deserialize(circuits[place]), place)
    if not circuits:
        raise ValueError(f"{type(model).__name__} has no photonic layer, whose circuit to write")
    return json.dumps({"hybridlit": json.loads(about), "circuits": circuits}, indent=1).encode()


def _require_same(written: Any, read: Any, place: str) -> None:
    """Compare what Perceval reads with what was written."""
    features = [name for name, p in written.get_circuit_parameters().items() if not p.defined]
    for experiment in (written, read):
        for number, name in enumerate(features):
            experiment.get_circuit_parameters()[name].set_value(0.5 + 0.1 * number)
    first, second = (np.asarray(e.unitary_circuit().compute_unitary()) for e in (written, read))
    around = [
        (_state(e), e.post_select_fn, e.min_photons_filter, e.detection_type, e.noise)
        for e in (written, read)
    ]
    if np.abs(first - second).max() > _APART or around[0] != around[1]:
        raise ValueError(f"Perceval would read another experiment than {place} is; nothing written")


def _state(experiment: Any) -> Any:
    """The input; distributions of one superposition each would not be equal."""
    state = experiment.input_state
    return next(iter(state.keys())) if hasattr(state, "keys") else state
