"""Circuits as figures and in letters."""

import sys

import numpy as np
import pytest
import torch
from torch import nn

from hybridlit import Experiment, QuantumLayer, QuantumLayerStack, SequentialHybrid
from hybridlit.analysis.pictures.circuit_text import describe_circuit, summarize_circuit
from hybridlit.analysis.pictures.drawing import draw_circuit
from hybridlit.analysis.pictures.optical_circuit import (
    data_phase_label,
    kept_positions,
    mesh_elements,
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
        product = np.eye(modes, dtype=complex)
        for _, mode, phase in mesh_elements(modes, phases[number].numpy(), last=number == 1):
            step = np.eye(modes, dtype=complex)
            if phase is None:
                step[mode : mode + 2, mode : mode + 2] = splitter
            else:
                step[mode, mode] = np.exp(1j * phase)
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
        ([1, 0, 0], "π x1"),
        ([0, 3, 0], "3π x2"),
        ([0, -1, 0], "-π x2"),
        ([1.128, 0, 0], "1.13π x1"),
        ([0.5, 0, 0.5], "π mean(x1,x3)"),
        ([0.5, 0.5, 0.5], "1.5π mean(x1,x2,x3)"),
        ([0.5, 0.25, 0], "π(0.5 x1 + 0.25 x2)"),
        ([0.5, -0.25, 0], "π(0.5 x1 - 0.25 x2)"),
        ([0.2] * 5, "π mean(x1..x5)"),
        ([0.25, 0, 0.25, 0.25, 0.25], "π mean(x1,x3 and 2 more)"),
        ([1, 2, 3, 4], "π(1 x1 + 2 x2 + 3 x3 + 1 more)"),
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
    for wanted in ("0", "3", "|2⟩", "U₀", "U₁", "π x1", "π x3"):
        assert wanted in found
    assert "20 Fock states\nlinear readout\n4 outputs" in found
    assert found[-1] == (
        "4 modes, 3 photons, 24 phases in 2 meshes,\n3 features as 3 data phases in 1 column"
    )


def test_a_figure_marks_what_it_leaves_out():
    made = layer(9, kind="parallel", modes=30)
    found = words(draw_circuit(made, max_modes=6, max_columns=4))
    assert "... 24 more\nmodes ..." in found
    assert "... 5 more ...\ncolumns" in found
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
    assert lines[1].startswith("0  |1> ●──┤     ├──[π x1]") and lines[1].endswith("├──D")
    assert lines[-2] == "D: 21 Fock states -> linear readout -> 4 outputs"


def test_text_marks_what_it_leaves_out():
    text = describe_circuit(layer(9, kind="parallel", modes=30), max_modes=6, max_columns=4)
    assert "⋮  24 more modes" in text and "... 5 more columns ..." in text
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
    assert "[2π x1]" in describe_circuit(stack, index=1)
    assert "circuit 1 of 3 of this shape" in describe_circuit(stack, index=1)
    assert "[π x1]" in describe_circuit(stack)
    with pytest.raises(ValueError, match="index must be 0 to 2, got 3"):
        describe_circuit(stack, index=3)


def test_experiments_ansatze_and_models_are_drawn_too():
    experiment = Experiment("series", 4, 2, use_bandwidth_tuning=True)
    ansatz = AnsatzFactory.create(experiment, 3, 5)
    assert "β π x1" in words(draw_circuit(experiment, 3))
    assert "-> 5 outputs" in describe_circuit(ansatz)
    model = SequentialHybrid(input_dim=5, quantum_dim=3, output_dim=2, n_modes=4)
    assert "3 features" in describe_circuit(model)
    explicit = Experiment(n_modes=2, n_photons=1, encoding=[[[0.0, 0.5], [1.0, 0.0]]])
    assert "[0.5π x2]" in describe_circuit(explicit)


def test_the_summary_tells_cost_and_encoding():
    made = layer(modes=6, photons=3)
    text = summarize_circuit(made, 64)
    cost = estimate(made.experiment, 3, 64, calibrate=False)
    assert f"| multiply-adds a sample | {cost.multiply_adds:,} |" in text
    assert "| states | 56, Fock |" in text and "| phases | 2 x 6 x 5 |" in text
    assert "| 0 | 2 | π x3 |" in text
    assert "| ... | ... | 35 more data phases |" in summarize_circuit(
        layer(15, kind="parallel_columns", modes=5), 8
    )
    cheap = summarize_circuit(layer(outputs=None, mapping="mode_expectations"), 8)
    assert "multiply-adds" not in cheap and "| outputs | 4, mean photon numbers |" in cheap


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
