"""Circuits as figures and in letters."""

import math
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from hybridlit import (
    BeamSplitter,
    Circuit,
    Data,
    Experiment,
    Interferometer,
    Permutation,
    PhaseShifter,
    QuantumLayer,
    QuantumLayerStack,
    SequentialHybrid,
    Trainable,
)
from hybridlit.analysis.pictures.circuit_text import describe_circuit, summarize_circuit
from hybridlit.analysis.pictures.drawing import draw_circuit
from hybridlit.analysis.pictures.elements import elements_of, in_columns, mesh_of
from hybridlit.analysis.pictures.optical_circuit import (
    data_phase_label,
    kept_positions,
    optical_circuit,
)
from hybridlit.photonics import AnsatzFactory
from hybridlit.photonics.cost import estimate
from hybridlit.photonics.interferometer import haar_phases, unitaries


def layer(features=3, outputs=4, kind="series", modes=4, photons=2, mapping="linear", **options):
    experiment = Experiment(kind, modes, photons, **options)
    return QuantumLayer(
        features, outputs, experiment=experiment, output_mapping_strategy=mapping
    ).double()


def words(figure):
    return [text.get_text() for text in figure.axes[0].texts]


@pytest.mark.parametrize("modes", [2, 3, 5, 6])
def test_the_elements_of_a_mesh_multiply_to_its_unitary(modes):
    """What is drawn is what is simulated: 50:50 splitters and phase shifters, in this order."""
    phases = haar_phases(2, modes, dtype=torch.float64)
    splitter = np.array([[1, 1j], [1j, 1]]) / np.sqrt(2)
    for number, expected in enumerate(unitaries(phases).numpy()):
        own, mesh = phases[number], Interferometer(modes, phases=("output", "input")[number])

        def known(angle, argument, own=own):
            fixed = argument[0] not in "ab"
            return None if fixed else own[int(argument[1:]), "ab".index(argument[0])].item()

        product = np.eye(modes, dtype=complex)
        for element in mesh_of(mesh, range(modes), number, known, unfold=True).parts:
            step = np.eye(modes, dtype=complex)
            if element.kind == "splitter":
                assert element.radians == np.pi / 2
                rows = list(element.modes)
                step[np.ix_(rows, rows)] = splitter
            else:
                step[element.modes, element.modes] = np.exp(1j * element.radians)
            product = step @ product
        np.testing.assert_allclose(product, expected, atol=1e-12)


@pytest.mark.parametrize("kind", ["series", "parallel", "parallel_columns"])
def test_data_phases_are_those_of_the_layer(kind):
    made = layer(kind=kind, use_bandwidth_tuning=True)
    with torch.no_grad():
        made.bandwidth.copy_(torch.randn_like(made.bandwidth))
    x = torch.rand(5, 3, dtype=torch.float64)
    circuit = optical_circuit(made)
    expected = (
        made._at(x, (), lambda circuit: circuit.data_phases).detach() / torch.pi
    )  # (columns, modes, batch)
    found = torch.from_numpy(circuit.encoding) @ x.T
    torch.testing.assert_close(found, expected)
    assert circuit.encoded.sum() == made.bandwidth.numel()


@pytest.mark.parametrize(
    ("factors", "label"),
    [
        ([1, 0, 0], "π x0"),
        ([0, 3, 0], "3π x1"),
        ([0, -1, 0], "-π x1"),
        ([1.128, 0, 0], "1.13π x0"),
        ([0.5, 0, 0.5], "π mean(x0,x2)"),
        ([0.5, 0.5, 0.5], "1.5π mean(x0,x1,x2)"),
        ([0.5, 0.25, 0], "π(0.5 x0 + 0.25 x1)"),
        ([0.5, -0.25, 0], "π(0.5 x0 - 0.25 x1)"),
        ([0.2] * 5, "π mean(x0..x4)"),
        ([0.25, 0, 0.25, 0.25, 0.25], "π mean(x0,x2 and 2 more)"),
        ([1, 2, 3, 4], "π(1 x0 + 2 x1 + 3 x2 + 1 more)"),
        ([0, 0], "0"),
    ],
)
def test_labels_say_what_a_phase_encodes(factors, label):
    assert data_phase_label(np.array(factors, dtype=float)) == label


@pytest.mark.parametrize(("total", "most"), [(3, 5), (5, 5), (6, 5), (100, 2), (7, 4)])
def test_what_is_left_out_is_counted(total, most):
    before, after, left_out = kept_positions(total, most)
    assert len(before) + len(after) == min(total, most)
    assert len(before) + len(after) + left_out == total
    assert (before + after)[0] == 0 and (before + after)[-1] == total - 1


def test_a_figure_holds_modes_photons_blocks_data_and_readout():
    found = words(draw_circuit(layer(photons=3, input_state=[1, 0, 2, 0])))
    for wanted in ("0", "3", "|2⟩", "U₀", "U₁", "π x0", "π x2"):
        assert wanted in found
    assert "20 Fock states\nlinear readout\n4 outputs" in found
    assert found[-1] == (
        "4 modes, 3 photons, 24 phases in 2 meshes,\n3 features as 3 data phases in 1 column"
    )


def test_a_figure_marks_what_it_leaves_out():
    made = layer(9, kind="parallel", modes=30)
    found = words(draw_circuit(made, max_modes=6, max_columns=9))
    assert "... 24 more\nmodes ..." in found
    assert "... 10 more ...\ncolumns" in found
    assert "U₉" in found and "U₄" not in found
    assert "29" in found and "10" not in found


def test_a_mesh_shows_every_phase_in_units_of_pi():
    made = layer(2, modes=3)
    found = words(draw_circuit(made, mesh=True))
    values = [f"{v:.2f}π" for v in (made.phases.detach() % (2 * torch.pi) / torch.pi).flatten()]
    assert sorted(w for w in found if w.endswith("π")) == sorted(values)
    unknown = words(draw_circuit(made.ansatz, mesh=True))
    assert not any(w.endswith("π") for w in unknown)


def test_a_mesh_too_large_to_read_is_refused():
    with pytest.raises(ValueError, match=r"mesh=True draws at most 10 modes .* got 12 modes"):
        draw_circuit(layer(modes=12), mesh=True)


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_figures_are_saved(tmp_path, suffix):
    path = tmp_path / f"circuit.{suffix}"
    draw_circuit(layer()).savefig(path)
    start = path.read_bytes()[:200]
    assert start.startswith(b"\x89PNG") if suffix == "png" else b"<?xml" in start


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'hybridlit\[plot\]'"):
        draw_circuit(layer())


def test_text_has_a_line_for_every_mode():
    lines = describe_circuit(layer(modes=6, photons=2)).split("\n")
    assert [line[0] for line in lines[1:7]] == list("012345")
    assert len({len(line) for line in lines[1:7]}) == 1
    assert lines[1].startswith("0  |1> ●──┤     ├──[π x0]") and lines[1].endswith("├──D")
    assert lines[-2] == "D: 21 Fock states -> linear readout -> 4 outputs"


def test_text_marks_what_it_leaves_out():
    text = describe_circuit(layer(9, kind="parallel", modes=30), max_modes=6, max_columns=9)
    assert "⋮  24 more modes" in text and "... 10 more columns ..." in text
    assert "U_9" in text and "U_4" not in text


@pytest.mark.parametrize(
    ("mapping", "ending"),
    [
        ("lexgrouping", "D: 10 Fock states -> sums over runs of outcomes -> 4 outputs"),
        ("none", "D: 10 Fock states -> their probabilities -> 10 outputs"),
        ("mode_expectations", "D: photons counted -> mean photon numbers -> 4 outputs"),
    ],
)
def test_text_says_how_it_is_read_out(mapping, ending):
    outputs = 4 if mapping == "lexgrouping" else None
    assert ending in describe_circuit(layer(outputs=outputs, mapping=mapping))


def test_a_stack_is_drawn_one_circuit_at_a_time():
    stack = QuantumLayerStack(
        3, 2, 4, experiment=Experiment("series", 4, 2, use_bandwidth_tuning=True)
    )
    with torch.no_grad():
        stack.bandwidth[1].fill_(2.0)
    assert "[2π x0]" in describe_circuit(stack, index=1)
    assert "circuit 1 of 3 of this shape" in describe_circuit(stack, index=1)
    assert "[π x0]" in describe_circuit(stack)
    with pytest.raises(ValueError, match="index must be 0 to 2, got 3"):
        describe_circuit(stack, index=3)


def test_experiments_ansatze_and_models_are_drawn_too():
    experiment = Experiment("series", 4, 2, use_bandwidth_tuning=True)
    ansatz = AnsatzFactory.create(experiment, 3, 5)
    assert "β π x0" in words(draw_circuit(experiment, 3))
    assert "-> 5 outputs" in describe_circuit(ansatz)
    model = SequentialHybrid(input_dim=5, quantum_dim=3, output_dim=2, n_modes=4)
    assert "3 features" in describe_circuit(model)
    explicit = Experiment(n_modes=2, n_photons=1, encoding=[[[0.0, 0.5], [1.0, 0.0]]])
    assert "[0.5π x1]" in describe_circuit(explicit)


def test_the_summary_tells_cost_and_encoding():
    made = layer(modes=6, photons=3)
    text = summarize_circuit(made, 64)
    cost = estimate(made.experiment, 3, 64, calibrate=False)
    assert f"| multiply-adds a sample | {cost.multiply_adds:,} |" in text
    assert "| states | 56, Fock |" in text and "| phases | 2 x 6 x 5 |" in text
    assert "| 0 | 2 | π x2 |" in text
    assert "| ... | ... | 35 more data phases |" in summarize_circuit(
        layer(15, kind="parallel_columns", modes=5), 8
    )
    cheap = summarize_circuit(layer(outputs=None, mapping="mode_expectations"), 8)
    assert "multiply-adds" not in cheap and "| outputs | 4, mean photon numbers |" in cheap


# --- circuits of components -----------------------------------------------------------------------


def odd():
    """Angles of every kind, modes in no order, a circuit in a circuit, light that passes."""
    inner = Circuit(2).add(BeamSplitter("t"), 0).add(PhaseShifter(Data(1, scale=3.0)), 1)
    circuit = Circuit(4).add(Interferometer(), [0, 1, 2])
    circuit.add(PhaseShifter(Data({0: 1.0, 2: -0.5}, scale=math.pi, offset=0.3)), 1)
    circuit.add(BeamSplitter("t", "ry", phi_tr=0.5 * math.pi), [2, 0]).add(inner, [3, 1])
    circuit.add(Permutation([1, 2, 0]), [0, 2, 3]).add(BeamSplitter(), 1)
    circuit.add(PhaseShifter(Trainable(scale=2.0)), 0)
    return Experiment(circuit=circuit, input_state=[1, 0, 2, 0])


LETTERS = """
0  |1> ●──┐U_0┌───────────────────────────┐1 BS ry t┌────────────────────────────┐→2┌──(2 φ)──D
1  |0> ───┤   ├──[π (x0 - 0.5 x2) + 0.3]──┼─────────┼──────────┐0 BS t┌──[3 x1]──┼──┼──┐BS┌───D
2  |2> ●──┘   └───────────────────────────┘0        └──(0.5π)──┼──────┼──────────┤→3├──┘  └───D
3  |0> ────────────────────────────────────────────────────────┘1     └──────────┘→0└─────────D

D: 20 Fock states
4 modes, 3 photons, 8 trainable angles, 3 features as 2 data angles
"""


def test_every_component_is_drawn_in_letters():
    assert describe_circuit(odd()).strip() == LETTERS.strip()


def test_angles_have_the_values_of_the_layer():
    made = QuantumLayer(3, 2, experiment=replace(odd(), use_bandwidth_tuning=True))
    with torch.no_grad():
        made.phases.fill_(0.25 * math.pi)
        made.bandwidth.fill_(2.0)
    found = words(draw_circuit(made))
    assert {"BS ry t=0.25π", "BS t=0.25π", "0.50π", "0.5π", "6 x1"} <= {*found}
    assert "2π (x0 - 0.5 x2) + 0.3" in found
    assert words(draw_circuit(made, mesh=True)).count("0.25π") == 6  # of the mesh


def test_a_data_angle_has_the_bandwidth_that_it_is_simulated_with():
    made = QuantumLayer(3, 2, experiment=replace(odd(), use_bandwidth_tuning=True)).double()
    with torch.no_grad():
        made.bandwidth.copy_(torch.tensor([2.0, 3.0]))
    text = describe_circuit(made)
    factor = {}
    for feature in range(3):
        x = torch.zeros(2, 3, dtype=torch.float64)
        x[1, feature] = 1e-3
        phases = made._at(x, (), lambda circuit: circuit.data_phases).detach()
        factor[feature] = ((phases[..., 1] - phases[..., 0]).abs().max() / 1e-3).item()
    assert f"[{factor[1]:.4g} x1]" in text
    assert f"[{factor[0] / math.pi:.3g}π (x0 - 0.5 x2) + 0.3]" in text


def test_components_that_are_left_out_are_marked():
    circuit = Circuit(12)
    for column in range(30):
        for mode in range(column % 2, 11, 2):
            circuit.add(BeamSplitter(Data(0)), mode)
    experiment = Experiment(circuit=circuit, n_photons=2)
    text = describe_circuit(experiment, max_modes=5, max_columns=4)
    assert "⋮  7 more modes" in text and "... 26 more columns ..." in text
    found = words(draw_circuit(experiment, max_modes=5, max_columns=4))
    assert "... 7 more\nmodes ..." in found and "... 26 more ...\ncolumns" in found
    assert "BS x0" in found  # whose other mode is left out
    far = Circuit(9).add(Permutation([2, 1, 0]), [3, 8, 4]).add(BeamSplitter(), [4, 6])
    for draw in (describe_circuit, draw_circuit):  # all that is left is light that passes
        draw(Experiment(circuit=far, n_photons=1), max_modes=3)


def test_elements_are_packed_as_light_allows():
    circuit = Circuit(4).add(BeamSplitter(), 0).add(BeamSplitter(), 2).add(BeamSplitter(), [3, 1])
    circuit.add(PhaseShifter(), 2).add(PhaseShifter(), 0)
    columns = in_columns(elements_of(circuit, lambda angle, key: None), 4)
    assert [[element.modes for element in column] for column in columns] == [
        [(0, 1), (2, 3)],
        [(1, 3), (0,)],
        [(2,)],
    ]


def test_a_superposition_is_said_and_its_photons_are_circles():
    state = {(1, 0, 1, 0): 3, (0, 1, 1, 0): 4j}
    text = describe_circuit(replace(odd(), n_photons=None, input_state=state))
    starts = ["0  |ψ> ○──", "1  |ψ> ○──", "2  |1> ●──", "3  |0> ───"]
    assert [line[:10] for line in text.split("\n")[1:5]] == starts
    assert "2 photons, ψ = 0.6 |1,0,1,0> + 0.8i |0,1,1,0>," in text
    experiment = Experiment("series", 4, input_state=state)
    found = words(draw_circuit(experiment, 3))
    assert "|ψ⟩" in found and "ψ = 0.6 |1,0,1,0> + 0.8i |0,1,1,0>" in found[-1]
    assert r"| 0.6 \|1,0,1,0> + 0.8i \|0,1,1,0> |" in summarize_circuit(experiment, 8, 3)


def test_the_summary_lists_components():
    text = summarize_circuit(odd(), 16)
    assert "| circuit | components |" in text and "| trainable angles | 8 |" in text
    assert "| 2,0 | BS.Ry(t, phi_tr=0.5π) |" in text and "| 1 | PS(3 x1) |" in text
    assert "| ... | 6 more components |" in summarize_circuit(odd(), 16, max_rows=2)


def test_a_circuit_is_drawn_before_its_light_is_chosen():
    circuit = odd().circuit.copy()  # one that may still change
    _, *lines, _, caption = describe_circuit(circuit).split("\n")
    assert [f"{line[5:]}D" for line in lines] == [line[8:] for line in LETTERS.split("\n")[1:5]]
    assert caption == (
        "4 modes, 8 trainable angles, 3 features as 2 data angles, its photons are still to be "
        "chosen"
    )
    drawn = words(draw_circuit(circuit))
    assert "BS ry t" in drawn and not any("⟩" in each or "states" in each for each in drawn)
    with pytest.raises(TypeError, match=r"depends on its light: give Experiment\(circuit=circuit"):
        summarize_circuit(circuit, 8)


def test_circuits_without_data_or_components_are_drawn():
    nothing = Experiment(circuit=Circuit(3), n_photons=2)
    assert "no data" in describe_circuit(nothing) and draw_circuit(nothing)
    constant = QuantumLayer(0, 2, experiment=Experiment("series", 3, 1))
    assert "no data" in describe_circuit(constant)


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (Experiment("series", 4, 2), ValueError, "input_size must be given"),
        (nn.Linear(2, 2), ValueError, "Linear must hold one circuit of hybridlit, got none"),
        (
            nn.ModuleDict({"a": layer(), "b": layer()}),
            ValueError,
            r"got several: \['a', 'b'\]; draw them one by one",
        ),
        ("circuit", TypeError, "source must be a PhotonicCircuit or an Ansatz .*, got str"),
    ],
)
def test_what_cannot_be_drawn_is_named(source, error, message):
    for draw in (describe_circuit, draw_circuit):
        with pytest.raises(error, match=message):
            draw(source)


def test_limits_are_checked():
    with pytest.raises(ValueError, match="max_modes must be at least 2"):
        describe_circuit(layer(), max_modes=1)
    with pytest.raises(ValueError, match="max_columns must be at least 2"):
        draw_circuit(layer(), max_columns=0)
