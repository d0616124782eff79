"""What models take on hardware, and searches that want little of it."""

import pytest
import torch
from fake_trials import recipe

from hybridlit import ParallelBankHybrid, QuantumLayer, SequentialHybrid, mark_photonic
from hybridlit.search.hardware import hardware_costs
from hybridlit.search.judging import Judge
from hybridlit.search.settings import SearchSettings


def judge(**section):
    return Judge(recipe(), SearchSettings.read(recipe(**section)["search"]))


def test_shots_are_those_until_so_many_events_are_kept():
    layer = QuantumLayer(2, 3, n_modes=4, n_photons=2)
    assert hardware_costs(layer) == {"photons": 2.0, "shots": 1000.0}
    lossy = hardware_costs(layer, {"transmittance": 0.1})
    assert lossy == {"photons": 2.0, "shots": pytest.approx(1000 / 0.1**2)}
    unbunched = QuantumLayer(2, 3, n_modes=4, n_photons=2, computation_space="unbunched")
    assert hardware_costs(unbunched)["shots"] == pytest.approx(1000 * 10 / 6)


def test_every_circuit_of_a_bank_is_measured_for_itself():
    bank = ParallelBankHybrid(
        input_dim=16, input_shape=[1, 4, 4], output_dim=2, scales=[1, 2], quantum_dim=3,
        n_modes=4, n_photons=2,
    )  # fmt: skip
    assert hardware_costs(bank, "ascella")["shots"] > 2 * 1000 / 0.08**2 * 0.9
    assert hardware_costs(SequentialHybrid(4, 2, 3, quantum="mlp"))["shots"] == 0


def test_a_layer_of_another_library_is_named():
    with pytest.raises(ValueError, match=r"shots of Linear cannot be told.*another library"):
        hardware_costs(mark_photonic(torch.nn.Linear(2, 2)))


@pytest.mark.slow
def test_trials_are_judged_by_what_they_take():
    judged = judge(objective=["score", "photons", "shots"], noise={"transmittance": 0.5})
    costs, refused = judged({"model.n_modes": 4, "model.n_photons": 2})
    assert refused is None and costs["photons"] == 2 and costs["shots"] == pytest.approx(4000)
    costs, refused = judged({"model.n_modes": 4, "model.quantum": "mlp"})
    assert refused is None and costs["shots"] == costs["photons"] == 0
    assert "shots" not in judge(objective=["score", "states"])({"model.n_modes": 4})[0]


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"noise": "ascella"}, r"for the objectives photons and shots, got it with \['score'\]"),
        ({"noise": "ascela", "objective": ["score", "shots"]}, "must be one of .*ascella"),
        ({"noise": {"loss": 1}, "objective": ["score", "shots"]}, "each field of noise must be"),
    ],
)
def test_wrong_noise_is_named(section, said):
    with pytest.raises(ValueError, match=said):
        SearchSettings.read(recipe(**section)["search"])
