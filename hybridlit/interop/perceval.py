"""Perceval's circuits and experiments to layers, and layers to experiments: exact both ways."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from hybridlit.argument_types import checked
from hybridlit.interop.circuits_in import circuit_of
from hybridlit.interop.circuits_out import perceval_circuit
from hybridlit.interop.experiments import experiment_of, placed_in, with_surroundings
from hybridlit.interop.layers import circuit_with_numbers
from hybridlit.interop.processors import Estimate, Evaluation, evaluate, on_processor
from hybridlit.interop.required import require_perceval
from hybridlit.interop.symbols import SymbolsIn, SymbolsOut
from hybridlit.photonics.base import PhotonicCircuit
from hybridlit.photonics.circuit.circuit import Circuit
from hybridlit.photonics.experiment import Experiment

__all__ = [
    "Estimate",
    "Evaluation",
    "evaluate",
    "from_perceval",
    "on_processor",
    "to_perceval",
]


@checked
def from_perceval(
    circuit: Any,
    input_parameters: str | Sequence[str] = ("x",),
    trainable_parameters: str | Sequence[str] = ("theta",),
) -> Circuit | Experiment:
    """Return a Perceval circuit or experiment as one of this package.

    A symbol is what its name begins with: where several beginnings match, the longest counts, so
    that a whole name may stand among them. A trainable symbol begins with its value if it has one;
    shared symbols stay shared. Angles may be sums of symbols with factors, in radians. Features are
    numbered beginning by beginning, within each in the natural order of names: x1, x2, x10.

    Args:
        circuit: A `perceval.Circuit` or a single component of one; or an `Experiment` or a
            `Processor` with an input state. Heralds become photons of the input and post-selection.
        input_parameters: Beginnings of the names of symbols that are features.
        trainable_parameters: Of those that are trained. Others must have values.

    Returns:
        A `Circuit` of a circuit, else an `Experiment`.

    Raises:
        ImportError: If Perceval is missing.
        TypeError: If an argument has the wrong type.
        ValueError: If a symbol has no meaning, or there is something that cannot be simulated here.

    Example:
        >>> import perceval as pcvl  # doctest: +SKIP
        >>> half = pcvl.Circuit(2) // pcvl.BS() // pcvl.PS(pcvl.P("x1"))  # doctest: +SKIP
        >>> from_perceval(half)  # doctest: +SKIP
        Circuit(2)
          0-1  BS()
          0    PS(x0)
    """
    require_perceval()
    import perceval as pcvl

    data, trained = (
        (given,) if isinstance(given, str) else tuple(given)
        for given in (input_parameters, trainable_parameters)
    )
    if isinstance(circuit, pcvl.components.ACircuit):
        symbols = SymbolsIn(circuit.get_parameters(), data, trained)
        return circuit_of(placed_in(circuit), circuit.m, symbols)
    given = circuit.experiment if isinstance(circuit, pcvl.AProcessor) else circuit
    if not isinstance(given, pcvl.Experiment):
        raise TypeError(
            f"circuit must be a Circuit, an Experiment or a Processor of Perceval, got "
            f"{type(given).__name__}"
        )
    symbols = SymbolsIn(given.get_circuit_parameters().values(), data, trained)
    return experiment_of(given, symbols)


def to_perceval(
    layer: PhotonicCircuit, x: Tensor | Sequence[float] | None = None, index: int | None = None
) -> Any:
    """Return a photonic layer as a `perceval.Experiment`, component by component.

    Args:
        layer: A photonic layer; it stays as it is.
        x: Features of one sample, shape (input_size,): every angle is then a number. None: features
            are symbols x0, x1, ..., and angles that are trained symbols that have the layer's
            numbers as values, by their names or theta0, theta1, ...
        index: Which layer of a stack.

    Returns:
        The experiment, with circuit and input. A layer in the unbunched space has threshold
        detectors on all modes, of which as many as photons must click.

    Raises:
        ImportError: If Perceval is missing.
        TypeError: If an argument has the wrong type.
        ValueError: If features or index do not fit the layer.

    Example:
        >>> from hybridlit.photonics import QuantumLayer
        >>> layer = QuantumLayer(2, 3, n_modes=4, n_photons=2)  # doctest: +SKIP
        >>> to_perceval(layer, [0.1, 0.2]).circuit_size  # doctest: +SKIP
        4
    """
    if not isinstance(layer, PhotonicCircuit):
        raise TypeError(f"layer must be a photonic layer, got {type(layer).__name__}")
    circuit = circuit_with_numbers(layer, _row(layer, x), index)
    require_perceval()
    import perceval as pcvl

    made = pcvl.Experiment(perceval_circuit(circuit, SymbolsOut(circuit)))
    return with_surroundings(made, layer)


def _row(layer: PhotonicCircuit, x: Any) -> list[float] | None:
    if x is None:
        return None
    try:
        given = x.detach().cpu().double() if isinstance(x, Tensor) else x
        row = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"x must be numbers of one sample, got {type(x).__name__}") from None
    if row.shape != (layer.input_size,):
        raise ValueError(
            f"x must be one sample of shape (input_size={layer.input_size},), got {row.shape}"
        )
    if not np.isfinite(row).all():
        raise ValueError("x must be finite, got NaN or infinity")
    found: list[float] = row.tolist()
    return found
