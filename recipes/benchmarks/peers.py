"""The simulators that hybridlit is compared with, each set up as fast as we could make it.

A peer is built on a :class:`~circuit.Task` and then has the same circuit with the same angles. What
made it faster, and so is done here, stands in its ``note``.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from circuit import Task, elements, phase_order
from torch import Tensor


@dataclass
class Simulation:
    """A simulator set up on a task, to be called again and again.

    Args:
        forward: returns the probabilities, shape (batch, D), without recording gradients.
        gradients: forward and backward; returns the gradients of the features, shape
            (batch, modes - 1), and of the phases, in all ``phases`` entries; None without backward.
        states: the outcomes in the order of the probabilities; None if as in ``layer.fock_space``.
        phase_order: places in ``layer.phases.flatten()`` of the phases that ``gradients`` has.
    """

    forward: Callable[[], Any]
    gradients: Callable[[], Sequence[Any]] | None
    states: np.ndarray | None = None
    phase_order: Sequence[int] | None = None

    def probabilities(self, task: Task) -> Tensor:
        """Return the probabilities in the order of ``layer.fock_space``, shape (batch, D)."""
        found = _tensor(self.forward())
        if self.states is None:
            return found
        result = torch.full_like(found, math.nan)
        result[:, task.layer.fock_space.rank(self.states)] = found
        return result

    def gradients_in_order(self) -> tuple[Tensor, Tensor]:
        """Return the gradients of the features and of ``layer.phases.flatten()``."""
        assert self.gradients is not None
        x, *phases = (_tensor(gradient) for gradient in self.gradients())
        found = torch.cat([gradient.flatten() for gradient in phases])
        if self.phase_order is None:
            return x, found
        result = torch.full_like(found, math.nan)
        result[list(self.phase_order)] = found
        return x, result


class Peer:
    """A simulator to compare with.

    Attributes:
        name: on the command line and in files.
        label: in tables and plots.
        distributions: PyPI packages that it needs.
        dtype: in which it computes.
        note: how it is run.
        comparable: whether it simulates the same circuit, so that its outputs must agree.
        spaces: computation spaces that it has.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    distributions: ClassVar[tuple[str, ...]]
    dtype: ClassVar[str] = "float32 / complex64"
    note: ClassVar[str] = ""
    comparable: ClassVar[bool] = True
    spaces: ClassVar[tuple[str, ...]] = ("fock",)

    def build(self, task: Task) -> Simulation:
        """Set the simulator up on a task; imports it only here."""
        raise NotImplementedError


def hybridlit(task: Task) -> Simulation:
    """Return hybridlit's own simulation of a task."""
    return _in_torch(task.layer, [task.layer.phases], task.x, task.weights)


class MerLin(Peer):
    """Quandela's PyTorch layers."""

    name = "merlin"
    label = "MerLin"
    distributions = ("merlinquantum", "perceval-quandela")
    spaces = ("fock", "unbunched")
    note = "Eager mode: torch.compile made it slower, as inductor generates no complex code."

    def build(self, task: Task) -> Simulation:
        """See :class:`Peer`."""
        layer = task.layer
        peer, order = merlin_layer(layer)
        (phases,) = peer.parameters()
        states = np.array([tuple(key) for key in peer.output_keys])
        weights = task.weights[layer.fock_space.rank(states)]
        # MerLin takes phases in radians, hybridlit features in units of pi.
        return _in_torch(lambda x: peer(math.pi * x), [phases], task.x, weights, states, order)


def merlin_layer(layer: Any) -> tuple[Any, list[int]]:
    """Return MerLin's layer of the circuit and phases of ours, and where ours has its phases.

    Its features are in radians, its outputs all probabilities in the order of its `output_keys`.
    """
    import merlin
    import perceval as pcvl

    modes, space = layer.fock_space.modes, layer.fock_space.space.name
    circuit = pcvl.Circuit(modes)
    for kind, mode, index in elements(modes):
        if kind == "splitter":
            circuit.add(mode, pcvl.BS())
        else:
            name = f"phi{index}" if kind == "phase" else f"x{index}"
            circuit.add(mode, pcvl.PS(pcvl.P(name)))
    peer = merlin.QuantumLayer(
        input_size=modes - 1,
        circuit=circuit,
        trainable_parameters=["phi"],
        input_parameters=["x"],
        input_state=list(layer.input_state),
        measurement_strategy=merlin.MeasurementStrategy.probs(merlin.ComputationSpace[space]),
        dtype=torch.float32,
    )
    # MerLin orders its parameters as the circuit does.
    names = [p.name for p in circuit.get_parameters() if p.name.startswith("phi")]
    order = [int(name.removeprefix("phi")) for name in names]
    (phases,) = peer.parameters()
    with torch.no_grad():
        phases.copy_(layer.phases.flatten()[order])
    return peer, order


class Perceval(Peer):
    """Quandela's simulator; its SLOS core in C++ has no gradients."""

    name = "perceval"
    label = "Perceval (SLOS)"
    distributions = ("perceval-quandela",)
    dtype = "float64 / complex128"
    note = (
        "Forward only. The C++ core of the SLOS backend is given each sample's unitary, which "
        "hybridlit computes for the batch within the time: several times faster than setting a "
        "circuit's parameters and than the Python calls around that core."
    )

    def build(self, task: Task) -> Simulation:
        """See :class:`Peer`."""
        import perceval as pcvl

        layer, x = copy.deepcopy(task.layer).double(), task.x.double()
        core = pcvl.BackendFactory.get_backend("SLOS").get_exqalibur_backend()
        core.set_unitary(np.eye(layer.fock_space.modes, dtype=complex))
        core.set_input_state(pcvl.BasicState(list(layer.input_state)))
        states = np.array([tuple(state) for state in core.get_states()])
        result = np.empty((len(x), len(states)))

        def forward() -> np.ndarray:
            with torch.no_grad():
                unitaries = layer.unitary(x).numpy()
            for sample, unitary in enumerate(unitaries):
                core.set_unitary(unitary)
                result[sample] = core.all_probabilities()
            return result

        return Simulation(forward, None, states)


class Piquasso(Peer):
    """Piquasso's simulator of passive linear optics, in JAX."""

    name = "piquasso"
    label = "Piquasso (JAX)"
    distributions = ("piquasso", "jax")
    note = (
        "PassiveSimulator under jax.jit and jax.vmap, given the circuit as one Interferometer "
        "whose matrix JAX computes: faster than gate by gate, than PureFockSimulator and than "
        "float64. Compilation, seconds for each shape, is not timed."
    )

    def build(self, task: Task) -> Simulation:
        """See :class:`Peer`."""
        import jax.numpy as jnp
        import piquasso as pq

        layer = task.layer
        modes, photons = layer.fock_space.modes, layer.fock_space.photons
        config = pq.Config(cutoff=photons + 1, dtype=np.float32, validate=False)
        connector = pq.JaxConnector()
        splitter = np.array([[1, 1j], [1j, 1]], dtype=np.complex64) / np.float32(math.sqrt(2))

        def unitary(phases: Any, x: Any) -> Any:
            matrix = jnp.eye(modes, dtype=np.complex64)
            for kind, mode, index in elements(modes):
                if kind == "splitter":
                    pair = slice(mode, mode + 2)
                    matrix = matrix.at[pair].set(splitter @ matrix[pair])
                else:
                    angle = phases[index] if kind == "phase" else math.pi * x[index]
                    matrix = matrix.at[mode].multiply(jnp.exp(1j * angle))
            return matrix

        def probabilities(phases: Any, x: Any) -> Any:
            with pq.Program() as program:
                pq.Q(all) | pq.NumberState(list(layer.input_state))
                pq.Q(all) | pq.Interferometer(unitary(phases, x))
            simulator = pq.PassiveSimulator(d=modes, config=config, connector=connector)
            state = simulator.execute(program).state
            return state.fock_probabilities[-layer.output_size :]  # fewer photons come first

        return _in_jax(probabilities, layer.phases.flatten(), task.x, task.weights)


class DeepQuantum(Peer):
    """TuringQ's PyTorch simulator."""

    name = "deepquantum"
    label = "DeepQuantum"
    distributions = ("deepquantum",)
    note = "With basis=True, which is faster here than its Fock tensors; outcomes not sorted."

    def build(self, task: Task) -> Simulation:
        """See :class:`Peer`."""
        import deepquantum

        layer = task.layer
        modes = layer.fock_space.modes
        circuit = deepquantum.QumodeCircuit(
            modes, list(layer.input_state), cutoff=layer.fock_space.photons + 1, basis=True
        )
        angles = layer.phases.detach().flatten()
        for kind, mode, index in elements(modes):
            if kind == "splitter":
                circuit.bs_rx([mode, mode + 1], math.pi / 2)
            elif kind == "data":
                circuit.ps(mode, encode=True)
            else:
                circuit.ps(mode)
                circuit.operators[-1].init_para(angles[index : index + 1])

        def simulate(x: Tensor) -> dict[Any, Tensor]:
            found: dict[Any, Tensor] = circuit(math.pi * x, is_prob=True, sort=False)
            return found

        def probabilities(x: Tensor) -> Tensor:
            return torch.cat([column.view(-1, 1) for column in simulate(x).values()], dim=1)

        phases = list(circuit.parameters())
        states = np.array([outcome.state.tolist() for outcome in simulate(task.x)])
        weights = task.weights[layer.fock_space.rank(states)]
        return _in_torch(probabilities, phases, task.x, weights, states, phase_order(modes))


class PennyLaneTorch(Peer):
    """Qubits, which is other physics: a circuit with as many outcomes, parameters and features."""

    name = "pennylane"
    label = "PennyLane qubits (torch)"
    distributions = ("pennylane",)
    dtype = "float64 / complex128"
    comparable = False
    spaces = ("fock", "unbunched")
    note = (
        "OTHER PHYSICS, outputs not compared: the fewest qubits with at least as many outcomes, "
        "StronglyEntanglingLayers with about as many angles as the interferometers, and RX gates "
        "with the features between them; default.qubit, backprop, a broadcast batch."
    )

    def build(self, task: Task) -> Simulation:
        """See :class:`Peer`."""
        node, angles, weights = _qubits(task, "torch")
        angles.requires_grad_()
        return _in_torch(lambda x: node(angles, x), [angles], task.x, weights)


class PennyLaneJax(PennyLaneTorch):
    """The same qubits, compiled."""

    name = "pennylane-jax"
    label = "PennyLane qubits (JAX)"
    distributions = ("pennylane", "jax")
    dtype = "float32 / complex64"
    note = PennyLaneTorch.note + " Under jax.jit; compilation is not timed."

    def build(self, task: Task) -> Simulation:
        """See :class:`Peer`."""
        import jax

        jax.config.update("jax_enable_x64", False)  # Piquasso sets it
        node, angles, weights = _qubits(task, "jax")
        return _in_jax(node, angles, task.x, weights)


PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        MerLin(),
        Perceval(),
        Piquasso(),
        DeepQuantum(),
        PennyLaneTorch(),
        PennyLaneJax(),
    )
}


def _in_torch(
    probabilities: Callable[[Tensor], Tensor],
    phases: list[Tensor],
    x: Tensor,
    weights: Tensor,
    states: np.ndarray | None = None,
    phase_order: Sequence[int] | None = None,
) -> Simulation:
    """Return a simulation by torch; see :class:`Simulation`."""

    def forward() -> Tensor:
        with torch.no_grad():
            return probabilities(x)

    def gradients() -> tuple[Tensor, ...]:
        features = x.detach().requires_grad_()
        loss = (probabilities(features) * weights).sum()
        return torch.autograd.grad(loss, [features, *phases])

    return Simulation(forward, gradients, states, phase_order)


def _in_jax(
    probabilities: Callable[[Any, Any], Any],
    phases: Tensor,
    x: Tensor,
    weights: Tensor,
) -> Simulation:
    """Return a simulation by JAX, whose ``probabilities`` take phases and one sample."""
    import jax

    inputs = [jax.numpy.asarray(tensor.detach().numpy()) for tensor in (phases, x, weights)]
    batched = jax.vmap(probabilities, (None, 0))

    def loss(phases: Any, x: Any, weights: Any) -> Any:
        return (batched(phases, x) * weights).sum()

    compiled = jax.jit(batched)
    compiled_gradient = jax.jit(jax.grad(loss, (1, 0)))
    return Simulation(
        lambda: jax.block_until_ready(compiled(*inputs[:2])),
        lambda: jax.block_until_ready(compiled_gradient(*inputs)),
    )


def _qubits(task: Task, interface: str) -> tuple[Any, Tensor, Tensor]:
    """Return a PennyLane circuit of (angles, x), its random angles and weights for its outcomes."""
    import pennylane

    modes, outcomes = task.layer.fock_space.modes, task.layer.output_size
    qubits = max(1, math.ceil(math.log2(outcomes)))
    depth = max(1, round(modes * (modes - 1) / (3 * qubits)))

    def circuit(angles: Any, x: Any) -> Any:
        pennylane.StronglyEntanglingLayers(angles[0], wires=range(qubits))
        for feature in range(modes - 1):
            pennylane.RX(math.pi * x[..., feature], wires=feature % qubits)
        pennylane.StronglyEntanglingLayers(angles[1], wires=range(qubits))
        return pennylane.probs(wires=range(qubits))

    device = pennylane.device("default.qubit", wires=qubits)
    node = pennylane.QNode(circuit, device, interface=interface, diff_method="backprop")
    return node, 2 * math.pi * torch.rand(2, depth, qubits, 3), torch.rand(2**qubits)


def _tensor(array: Any) -> Tensor:
    if isinstance(array, Tensor):
        return array.detach()
    return torch.from_numpy(np.array(array))
