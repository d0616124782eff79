"""Fidelity and distance of distributions, against numpy; and meshes as circuits."""

import numpy as np
import pytest
import torch

from hybridlit.photonics.chip_layer import ChipLayer
from hybridlit.templates.chip.meshes import MESHES, chip_circuit, places_of_phases
from hybridlit.templates.chip.metrics import AmplitudeFidelity, TotalVariation


def test_metrics_are_means_over_rows_of_what_was_measured():
    generator = np.random.default_rng(0)
    said, seen = generator.random((2, 6, 4))
    seen[1, 2], seen[2, 0], seen[4] = np.nan, -0.1, np.nan
    fidelity, distance = AmplitudeFidelity(), TotalVariation()
    for rows in (slice(0, 4), slice(4, 6)):
        for metric in (fidelity, distance):
            metric.update(torch.tensor(said[rows]), torch.tensor(seen[rows]))
    found = []
    for p, q in zip(said, seen, strict=True):
        there = ~np.isnan(q)
        if there.any():
            p, q = p[there], q[there].clip(0)
            p, q = p / p.sum(), q / q.sum()
            found.append((np.sqrt(p * q).sum(), np.abs(p - q).sum() / 2))
    assert len(found) == 5
    expected = np.mean(found, 0)
    assert [float(fidelity.compute()), float(distance.compute())] == pytest.approx(
        expected.tolist()
    )


def test_no_light_is_as_wrong_as_can_be():
    said, seen = torch.zeros(1, 3), torch.tensor([[0.2, 0.3, 0.5]])
    for metric, worst in ((AmplitudeFidelity(), 0.0), (TotalVariation(), 1.0)):
        metric.update(said, seen)
        assert float(metric.compute()) == worst


@pytest.mark.parametrize("mesh", MESHES)
def test_a_mesh_turns_every_phase_and_keeps_all_light(mesh):
    layer = ChipLayer(chip_circuit(4, mesh), dtype=torch.float64)
    assert layer.turned == (16 if mesh == "bell_walmsley" else 12)
    assert layer.phases.numel() == 12
    phases = torch.rand(2, layer.turned, dtype=torch.float64, requires_grad=True)
    matrices = layer.matrices(phases)
    unit = matrices @ matrices.mH
    assert torch.allclose(unit, torch.eye(4, dtype=unit.dtype).expand(2, 4, 4))
    matrices.real.sum().backward()
    assert (phases.grad.abs() > 1e-6).any(0).all()
    places = places_of_phases(layer)
    assert places.shape == (layer.turned, 2) and len({*map(tuple, places)}) == layer.turned


def test_a_circuit_of_components_is_a_mesh():
    components = [
        {"component": "beam_splitter", "modes": [0, 1], "theta": "first"},
        {"component": "phase_shifter", "modes": [0], "phi": {"data": 0}},
        {"component": "beam_splitter", "modes": [0, 1], "theta": "second"},
    ]
    assert chip_circuit(2, components).input_size == 1
    with pytest.raises(ValueError, match="mesh must have phases that heaters turn"):
        chip_circuit(2, components[:1])
