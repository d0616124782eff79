"""The lowered form: all that a circuit is to the kernels, and the only way to them."""

import ast
from pathlib import Path

import pytest
import torch
from syntax import tree_of

import hybridlit
from hybridlit.photonics import (
    DistinguishableLayer,
    Experiment,
    FockSpace,
    QuantumLayer,
    QuantumLayerStack,
    amplitudes,
)
from hybridlit.photonics.circuit.lowered import Lowered
from hybridlit.photonics.interferometer import cells, unitaries
from hybridlit.photonics.outcomes import Outcomes, RareOutcomesError
from hybridlit.photonics.propagation import circuit_columns
from hybridlit.photonics.simulation import probabilities

ROOM = Path(hybridlit.__file__).parent / "photonics"
SIMULATORS = {
    "simulation",
    "propagation",
    "amplitudes",
    "autograd",
    "curvature",
    "one_node",
    "interferometer",
    "fock_transform",
}


def lowered(circuits=(), inputs=(0, 2), columns=2, modes=4, batch=5):
    phases = torch.randn(*circuits, columns + 1, len(cells(modes)), 2, dtype=torch.float64)
    data_phases = torch.randn(*circuits, columns, modes, batch, dtype=torch.float64)
    return Lowered(phases, data_phases, inputs)


def whole_unitaries(circuit):
    """The product that the form stands for, sample by sample."""
    meshes, shifts = unitaries(circuit.interferometers), torch.exp(1j * circuit.data_phases)
    found = []
    for sample in range(shifts.shape[-1]):
        total = meshes[0]
        for column in range(len(shifts)):
            total = meshes[column + 1] @ torch.diag(shifts[column, :, sample]) @ total
        found.append(total)
    return torch.stack(found)


def test_the_form_is_a_product_of_interferometers_and_columns_of_phases():
    circuit = lowered(inputs=(0, 1, 2, 3))
    expected = whole_unitaries(circuit)
    torch.testing.assert_close(circuit_columns(circuit).movedim(-1, 0), expected)
    circuit = circuit._replace(inputs=(0, 2))
    found, kept = probabilities(circuit, Outcomes(FockSpace(4, 2)))
    assert kept is None
    torch.testing.assert_close(found, amplitudes(expected, (1, 0, 1, 0)).abs().square())


@pytest.mark.parametrize("space", ["fock", "unbunched"])
def test_several_circuits_are_one(space):
    circuit, outcomes = lowered(circuits=(2, 3)), Outcomes(FockSpace(4, 2, space))
    found, kept = probabilities(circuit, outcomes)
    assert found.shape == (2, 3, 5, outcomes.size)
    for i in range(2):
        for j in range(3):
            alone = Lowered(
                circuit.interferometers[i, j], circuit.data_phases[i, j], circuit.inputs
            )
            one, kept_of_one = probabilities(alone, outcomes)
            assert torch.equal(found[i, j], one)
            assert kept is None or torch.equal(kept[i, j], kept_of_one)


@pytest.mark.parametrize("mapping", ["linear", "mode_expectations"])
@pytest.mark.parametrize("kind", [QuantumLayer, DistinguishableLayer, QuantumLayerStack])
def test_layers_lower_their_circuit(kind, mapping):
    count = [2] if kind is QuantumLayerStack else []
    outputs = 3 if mapping == "linear" else None
    layer = kind(
        *count, 3, outputs, experiment=Experiment("series", 4, 2), output_mapping_strategy=mapping
    )
    x = torch.rand(5, 3)
    circuit = layer._at(x, (1,), lambda circuit: circuit)
    assert circuit.inputs == (1,) and circuit.interferometers is layer.phases
    radians = torch.tensor(layer.experiment.encoding_for(3) * torch.pi, dtype=torch.float32)
    expected = (radians @ x.T).expand(*count, -1, -1, -1)
    torch.testing.assert_close(circuit.data_phases, expected)


def test_post_selection_is_conditional_on_what_is_kept():
    weights = torch.tensor([[0.1, 0.2, 0.1, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 0.5]])
    outcomes = Outcomes(FockSpace(4, 2, "unbunched"))
    found, kept = outcomes.conditional(weights)
    torch.testing.assert_close(kept, torch.tensor([0.4, 0.5]))
    torch.testing.assert_close(found * kept[:, None], weights)
    everything = Outcomes(FockSpace(4, 2))
    assert everything.conditional(weights) == (weights, None)
    assert outcomes.least_kept(torch.float64) < outcomes.least_kept(torch.float32) < 1e-6
    with pytest.raises(RareOutcomesError, match=r"row\(s\) \[1\] of x"):
        outcomes.conditional(torch.tensor([[0.5], [1e-9]]))


def test_nothing_else_calls_a_kernel():
    """Whoever computes gets a lowered circuit, or columns of one."""
    for file in ROOM.parent.rglob("*.py"):
        if "kernels" in file.parts or (file.parent == ROOM and file.stem in SIMULATORS):
            continue
        noisy = ("compiled", "steps", "sizes")  # light, the table of its steps, and what those take
        if file.parent == ROOM / "noise" and file.stem in noisy:
            continue
        for node in ast.walk(tree_of(file)):
            if isinstance(node, ast.ImportFrom) and "photonics.kernels" in (node.module or ""):
                names = {alias.name for alias in node.names}
                allowed = {"PHASE_BOUND", "KEEP_BYTES", "CHUNK", "use_kernel", "kernel_for"}
                allowed |= {"chosen_kernel", "compiled_refuses", "goes_by_cells", "transitions"}
                allowed |= {"forward_mode", "transforming", "refuse_batches", "serves_any"}  # none
                assert names <= allowed, (file, names)
