"""What a model scores on hardware: against the same by hand."""

import json
from dataclasses import replace

import pytest
import torch
from model_state import same, snapshot
from torch import nn

from hybridlit import (
    Noise,
    ParallelBankHybrid,
    QuantumLayer,
    SequentialHybrid,
    mark_photonic,
    noise_study,
    under_noise,
)
from hybridlit.analysis.noisy import put_under_noise
from hybridlit.analysis.statistics import row_interval
from hybridlit.photonics import FidelityKernel

pytest.importorskip("matplotlib", reason="analysis extra")

NOISE = Noise(transmittance=0.4, indistinguishability=0.2)


@pytest.fixture
def model():
    """Its photons matter."""
    torch.manual_seed(0)
    model = SequentialHybrid(5, 2, 3, n_modes=4, n_photons=2, head_dim=6, batch_norm=False)
    with torch.no_grad():
        model.quantum_layer.readout.weight.mul_(20)
    return model.eval()


def right(model, data):
    with torch.no_grad():
        return (model(data.test[0]).argmax(1) == data.test[1]).double().numpy()


def found_of(study, source, strength=1.0, shots=None):
    [found] = [
        e for e in study.found if (e.source, e.strength, e.shots) == (source, strength, shots)
    ]
    return found


def test_scores_are_those_of_layers_under_that_noise(model, data):
    before = snapshot(model)
    study = noise_study(model, data, NOISE, strengths=[0.5, 1, 2], shots=[50])
    assert same(before, snapshot(model)) and study.left_out == {}
    sources = ["transmittance", "indistinguishability", "all together"]
    asked = [(s, strength, None) for s in sources for strength in (0.5, 1.0, 2.0)]
    asked += [("none", 1.0, 50), ("all together", 1.0, 50)]
    assert [(e.source, e.strength, e.shots) for e in study.found] == asked
    whole = right(model, data)
    assert study.whole.mean == pytest.approx(whole.mean()) and study.rows == len(whole)
    layer = model.quantum_layer
    for source, noise in [
        ("transmittance", Noise(transmittance=0.4**2)),
        ("indistinguishability", Noise(indistinguishability=0.2**2)),
        ("all together", Noise(transmittance=0.4**2, indistinguishability=0.2**2)),
    ]:
        model.quantum_layer = layer.with_noise(noise)
        found, rows = found_of(study, source, 2.0), right(model, data)
        assert found.score.mean == pytest.approx(rows.mean())
        assert found.loss == row_interval(whole - rows, True)[0]
        assert found.kept == pytest.approx(1 if source[0] == "i" else 0.4**4, abs=1e-6)
        assert found.score.low <= found.score.mean <= found.score.high
    assert found_of(study, "indistinguishability", 2.0).loss.mean != 0


def test_few_shots_are_of_every_row_and_repeatable(model, data):
    one = noise_study(model, data, NOISE, strengths=[1], shots=[1, 100_000])
    two = noise_study(model, data, NOISE, strengths=[1], shots=[1, 100_000])
    assert one.to_dict() == two.to_dict()
    other = noise_study(model, data, NOISE, strengths=[1], shots=[1, 100_000], seed=1)
    assert one.to_dict() != other.to_dict()
    assert found_of(one, "none", shots=1).score.mean < one.whole.mean
    assert found_of(one, "none", shots=100_000).loss.mean == pytest.approx(0, abs=0.17)


def test_errors_of_phases_are_drawn_several_times(model, data):
    study = noise_study(model, data, {"phase_error": 0.8}, strengths=[1], shots=[])
    [found] = study.found
    counted = found.score.mean * study.rows * 5
    assert found.source == "phase_error" and counted == pytest.approx(round(counted), abs=1e-6)
    still = noise_study(model, data, {"indistinguishability": 0.5}, strengths=[1], shots=[])
    counted = still.found[0].score.mean * study.rows
    assert counted == pytest.approx(round(counted), abs=1e-6)


def test_what_it_prints_and_draws(model, data):
    study = noise_study(model, data, NOISE, strengths=[1, 2], shots=[10, 1000])
    assert "0.16" in study.to_markdown() and "Strength 1 is transmittance=0.4" in str(study)
    assert "take 6,250 shots of a row and circuit" in study.conclusion
    assert json.loads(json.dumps(study.to_dict()))["metric"] == "acc"
    strong, counted = study.figure().axes
    assert len(strong.containers) == 3 and len(counted.containers) == 2
    assert [label.get_text() for label in counted.get_xticklabels()] == ["10", "1,000"]
    [whole] = [line for line in strong.lines if line.get_linestyle() == "--"]
    assert whole.get_ydata()[0] == study.whole.mean


def test_what_takes_nothing_is_not_called_the_worst(model, data):
    study = noise_study(model, data, NOISE, strengths=[1], shots=[])
    for loss, said in [(0.1, "alone, which takes the most,"), (-0.1, "No source alone takes any.")]:
        found = [
            replace(each, loss=replace(each.loss, mean=loss, low=loss - 0.2, high=loss + 0.2))
            for each in study.found
        ]
        assert said in replace(study, found=found).conclusion


def test_what_cannot_be_measured_is_left_out_with_the_reason(data):
    state = {(1, 1, 0, 0): 1.0, (0, 0, 1, 1): 1.0}
    circuit = {"circuit_type": "series", "n_modes": 4, "input_state": state}
    model = SequentialHybrid(5, 2, 3, experiment=circuit)
    study = noise_study(model, data, NOISE, strengths=[1], shots=[10])
    assert [each.source for each in study.found] == ["transmittance", "none"]
    assert "got a superposition" in study.left_out["indistinguishability at strength 1"]
    assert "all together at strength 1, 10 events" in study.left_out
    assert "Left out, all together at strength 1: noise of a source" in study.to_markdown()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"noise": {}}, "noise must be some, got none"),
        ({"noise": "ascela"}, "must be one of .*ascella"),
        ({"strengths": [0.0]}, "each of strengths must be above 0"),
        ({"shots": [0]}, "each of shots must be at least 1"),
    ],
)
def test_wrong_arguments_are_named(model, data, given, said):
    with pytest.raises(ValueError, match=said):
        noise_study(model, data, **given)


# --- models under noise -----------------------------------------------------------------------


def test_a_model_is_under_noise_until_the_block_ends(model):
    x, layer = torch.randn(6, 5), model.quantum_layer
    ideal, before = model(x), dict(vars(layer))
    with pytest.raises(KeyError), under_noise(model, NOISE) as layers:
        assert layers == {"quantum_layer": layer}
        assert layer.experiment.noise == NOISE
        assert not torch.allclose(model(x), ideal)
        raise KeyError
    assert vars(layer) == before and torch.equal(model(x), ideal)


def test_training_under_noise_trains_the_model(model):
    parameters = dict(model.named_parameters())
    x = torch.randn(6, 5)
    with under_noise(model, NOISE):
        assert all(parameters[name] is p for name, p in model.named_parameters())
        model(x).square().sum().backward()
    layer = model.quantum_layer
    noisy = layer.phases.grad.clone()
    model.zero_grad()
    model(x).square().sum().backward()
    assert noisy.abs().max() > 0 and not torch.allclose(noisy, layer.phases.grad)
    assert layer.readout.weight.grad is not None


def test_hooks_and_modes_stay(model):
    calls = []
    model.quantum_layer.register_forward_hook(lambda *call: calls.append(1))
    with under_noise(model, NOISE):
        model(torch.randn(6, 5))
        model.train()
    assert calls == [1] and model.quantum_layer.training and model.quantum_layer.readout.training


def test_banks_and_noise_that_was_there_before():
    bank = ParallelBankHybrid(
        input_dim=16, input_shape=[1, 4, 4], output_dim=2, scales=[1, 2], quantum_dim=3,
        n_modes=4, n_photons=2,
    ).eval()  # fmt: skip
    x = torch.randn(3, 16)
    ideal = bank(x)
    put_under_noise(bank, {"indistinguishability": 0.2, "phase_error": 0.5})
    with under_noise(bank, NOISE):
        noisy = bank(x)
    assert not torch.allclose(noisy, ideal)
    with under_noise(bank, None):
        assert torch.allclose(bank(x), ideal, atol=1e-5)
    with under_noise(bank, NOISE):
        assert torch.equal(bank(x), noisy)
    assert not torch.equal(bank(x), bank(x))  # its phases err again


def test_layers_that_know_of_no_noise_are_named():
    with pytest.raises(TypeError, match="got Linear at '', of whose noise nothing is known"):
        put_under_noise(mark_photonic(nn.Linear(2, 2)), NOISE)
    with pytest.raises(TypeError, match="must hold a photonic layer, got Linear without one"):
        put_under_noise(nn.Linear(2, 2), NOISE)
    layer = QuantumLayer(2, n_modes=3, n_photons=2, output_mapping_strategy="none")
    with pytest.raises(TypeError, match="got a FidelityKernel, which needs the amplitudes"):
        put_under_noise(nn.Sequential(FidelityKernel(layer)), NOISE)
