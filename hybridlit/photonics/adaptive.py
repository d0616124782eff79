"""A circuit, a measurement, and circuits that depend on what was found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from hybridlit.internals.torch import constant_in_graphs
from hybridlit.photonics.amplitudes import squared
from hybridlit.photonics.circuit.circuit import Circuit
from hybridlit.photonics.evolution import Terms, evolved
from hybridlit.photonics.experiment import Experiment
from hybridlit.photonics.fock import ComputationSpace, FockSpace
from hybridlit.photonics.layer import QuantumLayer
from hybridlit.photonics.measurement import (
    Outcome,
    branch_positions,
    measured_modes,
    whole_layer,
)
from hybridlit.photonics.outcomes import Outcomes
from hybridlit.photonics.tables import on_device

__all__ = ["AdaptiveCircuit"]


class _Branch(NamedTuple):
    """Outcomes behind which the same happens.

    Attributes:
        circuit: Which of the circuits; None: nothing.
        features: What it is given instead of the features of the samples, if anything.
        outcomes: Of as many photons each.
    """

    circuit: int | None
    features: tuple[float, ...] | None
    outcomes: tuple[Outcome, ...]


class AdaptiveCircuit(nn.Module):
    """The circuits of a `FeedForward`, and the mixture of all outcomes.

    Args:
        layer: As for `FeedForward`, and so are the others.
        modes: The modes that are measured.
        then: What follows each outcome.

    Attributes:
        circuits: What `then` has returned, each once.
        input_size: Number of features.
    """

    readout: nn.Module
    outcomes: Outcomes

    def __init__(
        self, layer: QuantumLayer, modes: Sequence[int], then: Callable[[Outcome], Any]
    ) -> None:
        super().__init__()
        self.layer = _without_weights(layer, "layer")
        self.modes = measured_modes(modes, layer.fock_space.modes)
        if not callable(then):
            raise TypeError(
                f"then must be a function of an outcome, got {type(then).__name__} {then!r}"
            )
        self.circuits = nn.ModuleList()
        self._branches = self._called(then)
        sizes = {place: self._at_place(place).input_size for place in self._takers()}
        self.input_size = max(sizes.values())
        for size in sizes.values():
            if size not in (0, self.input_size):
                raise ValueError(
                    f"layers must take the same features or none, got input_size="
                    f"{self.input_size} and {size}; then may return features as well"
                )
        self._reader = next(place for place, size in sizes.items() if size == self.input_size)

    def _takers(self) -> list[int | None]:
        """Which circuits take the features of samples; None is the first."""
        last = self._branches[self.layer.fock_space.photons]
        return [None, *dict.fromkeys(each.circuit for each in last if each.features is None)]

    def _at_place(self, place: int | None) -> Any:
        return self.layer if place is None else self.circuits[place]

    def _called(self, then: Callable[[Outcome], Any]) -> dict[int, tuple[_Branch, ...]]:
        """Call the function for each outcome; return its branches by the photons of all modes."""
        space, measured = self.layer.fock_space, len(self.modes)
        left = space.modes - measured
        kept: dict[Outcome, tuple[int | None, tuple[float, ...] | None]] = {}
        known: dict[int, int] = {}
        layers: dict[int, tuple[Circuit, QuantumLayer]] = {}  # with what its number stands for
        for counted in range(space.photons):
            for outcome in FockSpace(measured, counted):
                circuit, features = _of_outcome(then(outcome), outcome)
                if isinstance(circuit, Circuit):
                    if id(circuit) not in layers:
                        layers[id(circuit)] = circuit, _of_any_light(circuit, self.layer)
                    circuit = layers[id(circuit)][1]
                if circuit is None:
                    kept[outcome] = None, None
                    continue
                _refuse(circuit, outcome, left, space.photons - counted, self.layer)
                if id(circuit) not in known:
                    known[id(circuit)] = len(self.circuits)
                    self.circuits.append(circuit)
                if features is not None and len(features) != circuit.input_size:
                    raise ValueError(
                        f"then must return input_size={circuit.input_size} features for its layer, "
                        f"got {len(features)} for the outcome {outcome}"
                    )
                kept[outcome] = known[id(circuit)], features
        branches = {}
        for photons in range(1, space.photons + 1):
            found: dict[Any, list[Outcome]] = {}
            for counted in range(photons + 1):
                for outcome in FockSpace(measured, counted):
                    how = kept[outcome] if counted < photons else (None, None)
                    found.setdefault((counted, *how), []).append(outcome)
            branches[photons] = tuple(
                _Branch(circuit, features, tuple(outcomes))
                for (_, circuit, features), outcomes in found.items()
            )
        return branches

    def _mixed(self, amplitudes: Tensor, rows: Tensor, photons: int) -> Tensor:
        """Probabilities (batch, D) of the outcomes of all modes, from their amplitudes."""
        modes, left = self.layer.fock_space.modes, self.layer.fock_space.modes - len(self.modes)
        found = []
        for branch in self._branches[photons]:
            (places,) = branch_positions(
                modes, photons, self.modes, branch.outcomes, amplitudes.device
            )
            state = amplitudes[:, places.flatten()].unflatten(1, places.shape).flatten(0, 1)
            weights = self._behind(branch, state, rows, left, photons - sum(branch.outcomes[0]))
            found.append(weights.reshape(len(amplitudes), places.numel()))
        (order,) = _order(modes, photons, self.modes, self._branches[photons], amplitudes.device)
        return torch.cat(found, -1).index_select(-1, order)

    def _behind(
        self, branch: _Branch, state: Tensor, rows: Tensor, modes: int, photons: int
    ) -> Tensor:
        """Probabilities (batch * outcomes, D) behind the circuit of a branch."""
        if branch.circuit is None:
            return squared(state)
        circuit = self.circuits[branch.circuit]
        if branch.features is not None:
            rows = torch.tensor([branch.features], dtype=state.real.dtype, device=rows.device)
        elif len(rows) > 1 and circuit.input_size:
            rows = rows.repeat_interleave(len(branch.outcomes), 0)
        if isinstance(circuit, AdaptiveCircuit):
            behind = _sent(circuit.layer, state, rows, modes, photons)
            return circuit._mixed(behind, rows, photons)
        return squared(_sent(circuit, state, rows, modes, photons))


def _sent(circuit: Any, state: Tensor, rows: Tensor, modes: int, photons: int) -> Tensor:
    """Send states of any number of photons through a circuit, in the precision they have."""
    if not circuit.input_size:
        rows = rows.new_empty(1, 0)
    terms = Terms(modes, photons, ComputationSpace.FOCK)
    everything = Outcomes(FockSpace(modes, photons))
    alike = state.real.dtype == circuit.angles().dtype
    at = circuit._at if alike else circuit._in_double
    found: Tensor = at(rows, (), evolved, terms, state[None], everything)[0]
    return found


def _of_outcome(
    returned: Any, outcome: Outcome
) -> tuple[QuantumLayer | AdaptiveCircuit | Circuit | None, tuple[float, ...] | None]:
    features = None
    if isinstance(returned, tuple) and len(returned) == 2:
        returned, given = returned
        features = tuple(torch.as_tensor(given, dtype=torch.float64).flatten().tolist())
    if returned is None or isinstance(returned, AdaptiveCircuit):
        if features is not None:
            raise TypeError(f"then must return a QuantumLayer beside features, for {outcome}")
        if returned is not None:
            _require_no_weights(returned, f"what then returns for {outcome}")
        return returned, None
    if isinstance(returned, Circuit):
        return returned, features
    return _without_weights(returned, f"what then returns for {outcome}"), features


def _of_any_light(circuit: Circuit, like: QuantumLayer) -> QuantumLayer:
    """Make a layer of a circuit, for light in all modes at once, so that all of it matters."""
    phases = like.phases
    weights = [complex(mode + 1, mode) for mode in range(circuit.n_modes)]
    states = np.eye(circuit.n_modes, dtype=int).tolist()
    experiment = Experiment(
        circuit=circuit, input_state=dict(zip(map(tuple, states), weights, strict=True))
    )
    return QuantumLayer(
        circuit.input_size or 0, experiment=experiment, output_mapping_strategy="none",
        device=phases.device, dtype=phases.dtype,
    )  # fmt: skip


def _without_weights(layer: object, name: str) -> QuantumLayer:
    found = whole_layer(layer, name)
    _require_no_weights(found, name)
    return found


def _require_no_weights(module: Any, name: str) -> None:
    if any(True for _ in module.readout.parameters()):
        raise ValueError(
            f"{name} must have output_mapping_strategy='none', since its readout plays no part, "
            f"got {module.readout}"
        )


def _refuse(circuit: Any, outcome: Outcome, modes: int, photons: int, like: QuantumLayer) -> None:
    """Refuse a circuit that does not fit behind an outcome."""
    layer = circuit.layer if isinstance(circuit, AdaptiveCircuit) else circuit
    own = layer.fock_space
    if own.modes != modes:
        raise ValueError(
            f"then must return a layer of the {modes} modes that are left, got {own.modes} for the "
            f"outcome {outcome}"
        )
    if isinstance(circuit, AdaptiveCircuit) and (
        own.photons < photons or circuit.outcomes.selected
    ):
        raise ValueError(
            f"then must return a FeedForward of {photons} photons or more without postselect for "
            f"the outcome {outcome}, got one of {own.photons}"
        )
    if layer.phases.dtype != like.phases.dtype:
        raise ValueError(
            f"then must return layers of {like.phases.dtype}, as the first one, got "
            f"{layer.phases.dtype} for the outcome {outcome}"
        )


@constant_in_graphs
def _order(
    modes: int,
    photons: int,
    measured: tuple[int, ...],
    branches: tuple[_Branch, ...],
    device: torch.device,
) -> tuple[Tensor, ...]:
    """Where each outcome of all modes is in the row of branches."""

    def make() -> Iterator[npt.NDArray[Any]]:
        cpu = torch.device("cpu")
        rows = [
            branch_positions(modes, photons, measured, branch.outcomes, cpu)[0].flatten()
            for branch in branches
        ]
        yield np.argsort(torch.cat(rows).numpy())

    return on_device(("order", modes, photons, measured, branches), make, device)
