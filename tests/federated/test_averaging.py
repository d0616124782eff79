"""Means of weights: closed forms, and on the circle the least squared distance by brute force."""

import math

import numpy as np
import pytest
import torch

from hybridlit import (
    BeamSplitter,
    Circuit,
    Data,
    Experiment,
    ParallelBankHybrid,
    PhaseShifter,
    QuantumLayer,
    SequentialHybrid,
    Trainable,
)
from hybridlit.federated.averaging import averaged, circular_mean, phase_periods

TURN = torch.tensor(2 * math.pi, dtype=torch.float64)


def mean(angles, weights, near=0.0, period=TURN):
    weights = torch.tensor(weights, dtype=torch.float64)
    angles = torch.tensor(angles, dtype=torch.float64)
    return circular_mean(
        angles, weights / weights.sum(), torch.tensor(near).double(), period
    ).item()


def test_angles_on_both_sides_of_half_a_turn_meet_there():
    assert mean([math.pi - 0.1, -math.pi + 0.1], [1, 1], near=3.0) == pytest.approx(math.pi)
    assert mean([math.pi - 0.1, -math.pi + 0.3], [3, 1], near=3.0) == pytest.approx(math.pi)


@pytest.mark.parametrize("offset", [0.0, 2.0, math.pi, -1e3])
def test_without_wrapping_it_is_the_plain_mean(offset):
    angles, weights = [offset - 0.7, offset + 0.2, offset + 1.1], [2, 5, 1]
    plain = np.average(angles, weights=weights)
    assert mean(angles, weights, near=offset) == pytest.approx(plain, abs=1e-12)
    turned = [angles[0] + 2 * math.pi, angles[1] - 6 * math.pi, angles[2]]
    assert mean(turned, weights, near=offset) == pytest.approx(plain, abs=1e-12)


def test_it_has_the_least_squared_distance_on_the_circle():
    """Of angles within a good half of the circle, where there is one such mean."""
    generator = np.random.default_rng(0)
    grid = np.linspace(-math.pi, math.pi, 200_001)
    for _ in range(20):
        angles = generator.uniform(-1.5, 1.5, 4) + generator.uniform(-math.pi, math.pi)
        weights = generator.uniform(0.1, 1, 4)
        apart = np.angle(np.exp(1j * (angles[:, None] - grid)))
        least = grid[(weights[:, None] * apart**2).sum(0).argmin()]
        found = mean(angles + 2 * math.pi * generator.integers(-2, 3, 4), weights)
        assert abs(np.angle(np.exp(1j * (found - least)))) < 4e-5


def test_the_nearest_of_all_turns_is_taken():
    assert mean([0.1, 0.3], [1, 1], near=4 * math.pi) == pytest.approx(4 * math.pi + 0.2)


def test_angles_that_cancel_leave_the_server_its_own():
    assert mean([0.5, 0.5 + math.pi], [1, 1], near=2.5) == 2.5


def test_phases_are_angles_and_nothing_else_is():
    model = SequentialHybrid(input_dim=4, quantum_dim=2, output_dim=3)
    assert phase_periods(model).keys() == {"quantum_layer.phases"}
    assert (phase_periods(model)["quantum_layer.phases"] == TURN).all()
    bank = ParallelBankHybrid(input_dim=4, output_dim=3)
    assert phase_periods(bank).keys() == {
        name for name in bank.state_dict() if name.endswith(".phases")
    }
    assert len(phase_periods(bank)) == 1
    assert phase_periods(QuantumLayer(2, 3, n_modes=4, n_photons=2)).keys() == {"phases"}


def test_angles_of_beam_splitters_have_a_longer_period():
    """Of a splitter's angle half goes into a phase; a shared one needs whole turns of all."""
    circuit = Circuit(3).add(PhaseShifter("a"), 0).add(BeamSplitter("b"), 0)
    circuit.add(PhaseShifter(Trainable("c", scale=1.5)), 1).add(PhaseShifter(Trainable("c")), 2)
    circuit.add(PhaseShifter(Trainable("d", scale=math.sqrt(2))), 0)
    circuit.add(PhaseShifter(Trainable("d")), 1).add(BeamSplitter(Data(0)), 1)
    layer = QuantumLayer(1, 2, experiment=Experiment(circuit=circuit, n_photons=2))
    found = phase_periods(layer)["phases"]
    assert found.tolist() == pytest.approx([2 * math.pi, 4 * math.pi, 4 * math.pi, math.inf])
    x = torch.rand(4, 1)
    before, spoiled = layer.unitary(x), 0
    for place, period in enumerate(found.tolist()):
        for turns in (0.5, 1.0) if math.isfinite(period) else ():
            with torch.no_grad():
                layer.phases[place] += turns * period
            same = torch.allclose(layer.unitary(x), before, atol=1e-5)
            assert same == (turns == 1.0)
            spoiled += not same
            with torch.no_grad():
                layer.phases[place] -= turns * period
    assert spoiled == 3
    assert mean([0.1, 4 * math.pi + 0.3], [1, 1], period=found[1]) == pytest.approx(0.2)
    assert mean([0.1, 9.0], [1, 1], period=found[3]) == pytest.approx(4.55)


def test_weights_count_by_rows_and_counters_stay_whole():
    states = [
        {"w": torch.tensor([1.0, 3.0]), "phases": torch.tensor([3.1]), "count": torch.tensor(3)},
        {"w": torch.tensor([5.0, 3.0]), "phases": torch.tensor([-3.1]), "count": torch.tensor(8)},
    ]
    found = averaged(states, [3, 1], {"phases": TURN}, states[0])
    assert found["w"].tolist() == [2.0, 3.0]
    wrapped = 2 * math.pi - 6.2  # how far the second is ahead of the first
    assert found["phases"].item() == pytest.approx(3.1 + wrapped / 4)
    assert found["count"].dtype == torch.int64 and found["count"].item() == 4  # of 4.25
    assert found["w"].dtype == torch.float32


def test_what_all_agree_on_stays_bit_for_bit():
    torch.manual_seed(0)
    state = {"w": torch.randn(1000), "phases": 20 * torch.randn(1000)}
    found = averaged([state] * 3, [7, 5, 1], {"phases": TURN}, state)
    assert all(torch.equal(found[name], value) for name, value in state.items())
