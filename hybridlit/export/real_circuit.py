"""A trained photonic layer in real arithmetic: what another runtime can compute."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from hybridlit.argument_types import checked
from hybridlit.export.expectations import real_expectation
from hybridlit.export.slots import slots
from hybridlit.photonics import PhotonicCircuit
from hybridlit.photonics.amplitudes import occupied_modes
from hybridlit.photonics.circuit.data_phases import LinearMap, tuned
from hybridlit.photonics.description import imperfections
from hybridlit.photonics.noise.model import Noise

__all__ = ["RealCircuit"]


class RealCircuit(nn.Module):
    r"""What a photonic layer computes, in real numbers and ordinary tensor operations.

    It is for `torch.export` and ONNX, which has no complex numbers. Interferometers are constants
    here, computed once in float64; amplitudes are pairs of real and imaginary parts, and grow
    photon by photon through tables of constants. Nothing of it is trained. Features that are not
    finite give NaN outputs of their samples.

    A float32 layer whose outcomes are post-selected is computed in float64, which the layer itself
    turns to where float32 does not suffice; any other in the layer's own precision. Phases are
    always computed in float64, without whole turns.

    Args:
        layer: A `QuantumLayer`, a `QuantumLayerStack`, or one with distinguishable photons, on the
            CPU. Its readout is copied.

    Attributes:
        input_size: Number of features.
        output_size: Number of outputs.
        count: Number of circuits of a stack, otherwise None.

    Raises:
        ValueError: If its readout has no real form, or if its light is not ideal or counted in
            shots.

    Example:
        >>> from hybridlit import QuantumLayer
        >>> layer = QuantumLayer(3, 2, n_modes=4, n_photons=2, dtype=torch.float64)
        >>> x = torch.rand(5, 3, dtype=torch.float64)
        >>> torch.allclose(RealCircuit(layer)(x), layer(x), rtol=0, atol=1e-12)
        True
    """

    factors: Tensor
    first: Tensor
    meshes: Tensor
    photons: Tensor
    pairs: Tensor
    kept: Tensor | None

    @checked
    def __init__(self, layer: PhotonicCircuit) -> None:
        super().__init__()
        _refuse_imperfect(layer)
        self.input_size, self.output_size = layer.input_size, layer.output_size
        self.count = layer.count
        self.readout = copy.deepcopy(layer.readout)
        self.stored = torch.promote_types(layer.phases.dtype, torch.float32)
        outcomes = layer.outcomes
        self.computed = torch.float64 if outcomes.selected else self.stored
        self.interfere = layer.interferes

        with torch.no_grad():
            exact = copy.deepcopy(layer).to("cpu", torch.float64)
            unitaries = exact.interferometers()
            unitaries = unitaries if self.count is not None else unitaries[None]
            found = LinearMap.of(layer.lowering, torch.float64, unitaries.device)
            assert found.half_turns is not None  # every CPU has float64
            bandwidth = None if layer.bandwidth is None else layer.bandwidth.detach().cpu()
            factors = tuned(found.half_turns, bandwidth, found.tuned_by)
        circuit, readout = layer.experiment, layer.ansatz.readout
        state = circuit.superposition
        terms = ((circuit.occupation, 1.0 + 0j),) if state is None else state.terms
        orders = [occupied_modes(occupation) for occupation, _ in terms]
        inputs = sorted({mode for order in orders for mode in order})
        self.orders = [[inputs.index(mode) for mode in order] for order in orders]
        self.amplitudes = [(amplitude.real, amplitude.imag) for _, amplitude in terms]
        first = unitaries[:, 0][:, :, inputs, None]
        self.columns, self.modes = layer.columns, circuit.n_modes
        self._constant("factors", factors.expand(len(unitaries), *factors.shape[-2:]))
        self._constant("first", torch.cat([first.real, first.imag], 1).to(self.computed))
        rows = [
            torch.cat([unitaries.real, -unitaries.imag], -1),
            torch.cat([unitaries.imag, unitaries.real], -1),
        ]
        self._constant("meshes", torch.cat(rows, -2)[:, 1:].to(self.computed))

        self.expectation = None
        if not layer.ansatz.needs_amplitudes:
            self.expectation = real_expectation(readout, self.interfere)
            photons = [circuit.mean_photons[mode] for mode in inputs]
            self._constant("photons", torch.tensor(photons, dtype=self.computed))
            first_of, second_of = torch.triu_indices(self.modes, self.modes)
            self._constant("pairs", first_of * self.modes + second_of)
            return
        # the recursion starts with the first photon's column
        for term, order in enumerate(orders):
            for photon in range(1, len(order)):
                tables = slots(layer.fock_space, order, photon, self.interfere)
                weight = tables.pop("weight").to(self.computed)
                self._constant(f"weight_{photon}_of_{term}", weight)
                for name, table in tables.items() if term == 0 else ():  # same for all
                    self._constant(f"{name}_{photon}", table)
        if readout.statistic is not None:
            means = readout.statistic(outcomes.photons(torch.zeros(1).to(self.stored)))
            self._constant("averaged", means)
        if outcomes.rule is not None:
            self._constant("kept", outcomes.chosen(torch.arange(outcomes.space.size)))
        self.selected, self.least = outcomes.selected, outcomes.least_kept(self.computed)
        if not self.interfere:
            number = torch.finfo(self.computed)
            self.least = number.tiny / number.eps

    def forward(self, x: Tensor, each: bool = False) -> Tensor:
        """Return the outputs of the layer.

        Args:
            x: Features, shape (..., input_size); with `each` (..., count, input_size).
            each: Whether every circuit of a stack has features of its own.

        Returns:
            Shape (..., output_size); of a stack (..., count, output_size).
        """
        lead = x.dim() - (2 if each else 1)
        rows = x if lead == 1 else x.reshape(-1, *x.shape[lead:])
        planes = self._planes(rows.transpose(0, 1) if each else rows)
        if self.expectation is not None:
            outputs = self.expectation(planes, self.photons)
            if outputs.dim() == 3:
                outputs = outputs.flatten(1).index_select(1, self.pairs)
        else:
            outputs = self._probabilities(planes)
        outputs = outputs.reshape(*self.first.shape[:1], -1, outputs.shape[-1])  # circuits first
        outputs = outputs.to(self.stored)
        if self.count is None:
            outputs = outputs.squeeze(0)
        if self.expectation is None:
            outputs = self.readout(outputs)
            averaged = getattr(self, "averaged", None)  # torch.export miscounts buffers of None
            if averaged is not None:
                outputs = outputs @ averaged
        if self.count is not None:
            outputs = outputs.transpose(0, 1)
        result: Tensor = outputs.to(x.dtype).reshape(*x.shape[:lead], *outputs.shape[1:])
        return result

    def each(self, x: Tensor) -> Tensor:
        """Give every circuit of a stack features of its own: `circuit(x, each=True)`."""
        outputs: Tensor = self(x, each=True)
        return outputs

    def extra_repr(self) -> str:
        """Return sizes for `repr`."""
        return f"input_size={self.input_size}, output_size={self.output_size}, count={self.count}"

    def _constant(self, name: str, value: Tensor) -> None:
        # a copy: a view would bring all of its memory into the file
        self.register_buffer(name, value.clone(memory_format=torch.contiguous_format))

    def _planes(self, rows: Tensor) -> Tensor:
        """Columns of each unitary, shape (inputs, modes, 2, circuits * batch), real part first."""
        turns = self.factors @ rows.double().mT
        turns = turns - 2 * torch.round(turns / 2)
        phases = (math.pi * turns).reshape(len(self.meshes), self.columns, self.modes, 1, -1)
        cosines, sines = phases.cos().to(self.computed), phases.sin().to(self.computed)
        planes = self.first
        for column in range(self.columns):
            real, imag = planes.chunk(2, 1)
            c, s = cosines[:, column], sines[:, column]
            shifted = torch.cat([real * c - imag * s, real * s + imag * c], 1)
            planes = (self.meshes[:, column] @ shifted.flatten(2)).reshape(shifted.shape)
        inputs = planes.shape[2]
        planes = planes.reshape(len(self.meshes), 2, self.modes, inputs, -1)
        return planes.permute(3, 2, 1, 0, 4).reshape(inputs, self.modes, 2, -1)

    def _probabilities(self, planes: Tensor) -> Tensor:
        """Probabilities (circuits * batch, D), normalised if post-selected."""
        if not self.interfere:
            planes = planes.square().sum(2, keepdim=True)
        state = self._of_term(planes, 0)
        if len(self.orders) > 1:
            state = self._turned(state, 0)
        for term in range(1, len(self.orders)):
            state = state + self._turned(self._of_term(planes, term), term)
        weights = state.square().sum(1) if self.interfere else state.squeeze(1)
        kept = getattr(self, "kept", None)
        if kept is not None:
            weights = weights.index_select(0, kept)
        if self.selected:
            mass = weights.sum(0)
            weights = weights / mass.masked_fill(mass <= self.least, math.nan)
        return weights.T

    def _of_term(self, planes: Tensor, term: int) -> Tensor:
        """Amplitudes of a term of the input, real part first, or probabilities of photons alone."""
        first, *others = self.orders[term]
        state = planes[first]
        for photon, position in enumerate(others, 1):
            before, mode = getattr(self, f"before_{photon}"), getattr(self, f"mode_{photon}")
            weight = getattr(self, f"weight_{photon}_of_{term}")
            a, u = state.index_select(0, before), planes[position].index_select(0, mode)
            if self.interfere:
                (a, b), (u, v) = a.chunk(2, 1), u.chunk(2, 1)
                terms = torch.cat([a * u - b * v, a * v + b * u], 1) * weight
            else:
                terms = a * u * weight
            width = min(photon + 1, self.modes)  # ways to a state: its occupied modes
            state = terms.unflatten(0, (-1, width)).sum(1)
        return state

    def _turned(self, state: Tensor, term: int) -> Tensor:
        """Amplitudes times that of their term."""
        real, imag = state.chunk(2, 1)
        c, s = self.amplitudes[term]
        return torch.cat([real * c - imag * s, real * s + imag * c], 1)


def _refuse_imperfect(layer: PhotonicCircuit) -> None:
    """Refuse what the real form does not compute."""
    circuit = layer.experiment
    steady = not isinstance(circuit.noise, Noise) or circuit.noise.steady_phases
    if circuit.program is not None or not steady:
        raise ValueError(
            "layer must have ideal photons, all of which are counted, to be exported, got one with "
            f"{imperfections(circuit)}: load its state into a layer without them, if the readout "
            "fits"
        )
    if layer.shots is not None:
        raise ValueError(
            f"layer must have shots=None to be exported, got {layer.shots}: set layer.shots = None"
        )
