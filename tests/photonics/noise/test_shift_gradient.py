"""The shift rule on frequencies: exact without shot noise, and unbiased with it."""

import numpy as np
import pytest
import torch

from hybridlit import (
    BeamSplitter,
    Circuit,
    Data,
    DistinguishableLayer,
    Interferometer,
    Noise,
    PhaseShifter,
    QuantumLayer,
    QuantumLayerStack,
    Superposition,
    Trainable,
)
from hybridlit.photonics import sampled

STATE = Superposition.of({(1, 1, 0, 0): 1.0, (0, 0, 1, 1): 1j})


def components():
    return (
        Circuit(4)
        .add(Interferometer(angles=0.4), [0, 1, 2])
        .add(PhaseShifter(Data(0, offset=0.3)), 1)
        .add(BeamSplitter(Trainable("t"), phi_tl=Trainable()), [1, 2])
        .add(PhaseShifter(Trainable("t", scale=2.5, offset=-0.2)), 0)
        .add(Interferometer(phases="input"))
        .add(BeamSplitter(Data({0: 1.0, 1: 0.5})), [0, 1])
        .add(Interferometer(splitters="s"), [1, 2, 3])
    )


SMALL = dict(n_modes=4, n_photons=2)
CASES = {
    "meshes": lambda o: QuantumLayer(2, **SMALL, use_bandwidth_tuning=True, **o),
    "unbunched": lambda o: QuantumLayer(2, **SMALL, computation_space="unbunched", **o),
    "post-selected": lambda o: QuantumLayer(2, **SMALL, postselect="[0]>0", **o),
    "noise": lambda o: QuantumLayer(
        2, **SMALL, noise=Noise(transmittance=0.5, g2=0.03, indistinguishability=0.8),
        min_detected_photons=1, **o),
    "components": lambda o: QuantumLayer(2, circuit=components(), n_photons=2, **o),
    "phase noise": lambda o: QuantumLayer(
        2, circuit=components(), n_photons=2, noise=Noise(phase_imprecision=0.3, phase_error=0.1),
        **o),
    "superposition": lambda o: QuantumLayer(2, n_modes=4, input_state=STATE, **o),
    "no data": lambda o: QuantumLayer(0, circuit_type="series", **SMALL, **o),
    "no data, superposition": lambda o: QuantumLayer(
        0, n_modes=4, circuit_type="series", input_state=STATE, **o),
    "stack": lambda o: QuantumLayerStack(2, 2, **SMALL, **o),
    "tuned stack": lambda o: QuantumLayerStack(2, 2, **SMALL, use_bandwidth_tuning=True, **o),
    "stack of components": lambda o: QuantumLayerStack(
        2, 2, circuit=components(), n_photons=2, **o),
    "distinguishable": lambda o: DistinguishableLayer(2, **SMALL, **o),
}  # fmt: skip
OPTIONS = dict(output_mapping_strategy="none", dtype=torch.float64, shots=5, shot_gradient="shift")


@pytest.mark.parametrize("case", CASES)
def test_without_shot_noise_it_is_exact(case, monkeypatch):
    torch.manual_seed(0)
    layer = CASES[case](OPTIONS)
    monkeypatch.setattr(sampled, "drawn_counts", lambda p, shots, generator=None: p * shots)
    x = torch.rand(3, layer.input_size, dtype=torch.float64, requires_grad=True)
    inputs = [*layer.parameters(), x][: None if layer.input_size else -1]
    weights = torch.rand(len(layer.outcomes), dtype=torch.float64)
    found = []
    for shots in (5, None):
        layer.shots = shots
        torch.manual_seed(1)  # of errors of phases
        outputs = layer(x if layer.input_size else 3)
        found.append(torch.autograd.grad((outputs @ weights).square().sum(), inputs))
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-12) and other.abs().max() > 1e-3


@pytest.mark.parametrize("space", ["fock", "unbunched"])
def test_it_is_unbiased(space):
    """10,000 draws at once, as many rows of the same features."""
    torch.manual_seed(5)
    layer = QuantumLayer(3, **SMALL, computation_space=space, **OPTIONS)
    x = torch.rand(1, 3, dtype=torch.float64, requires_grad=True)
    p = layer.probabilities(x)
    slope = 2 * p.detach()  # the mean of what the square has
    (wanted,) = torch.autograd.grad((p * slope).sum(), x)
    many = x.detach().expand(10_000, 3).clone().requires_grad_()
    layer.phases.requires_grad_(False)
    (found,) = torch.autograd.grad(layer(many).square().sum(), many)
    errors = (found.mean(0) - wanted[0]) / (found.std(0) / 100)
    assert errors.abs().max() < 3 and found.std(0).min() > 0.1 * wanted.abs().max()


def test_what_is_frozen_stays_and_costs_nothing(monkeypatch):
    torch.manual_seed(0)
    layer = QuantumLayer(3, reservoir_mode=True, **SMALL, **OPTIONS)
    calls = []
    real = sampled.drawn_counts
    monkeypatch.setattr(sampled, "drawn_counts", lambda p, *o: calls.append(p.shape) or real(p, *o))
    x = torch.rand(2, 3, dtype=torch.float64, requires_grad=True)
    layer(x).sum().backward()
    photons, encoded = 2, int(np.any(layer.lowering.encoding, axis=2).sum())
    assert calls == [(2, 10), (2 * photons * encoded, 2, 10)]


def test_what_it_cannot_differentiate_is_refused():
    learned = Noise(transmittance=0.5, trainable=["transmittance"])
    layer = QuantumLayer(3, **SMALL, noise=learned, **OPTIONS)
    x = torch.rand(2, 3, dtype=torch.float64)
    with pytest.raises(ValueError, match="noise must not be learned with shot_gradient='shift'"):
        layer(x)
    with torch.no_grad():
        assert layer(x).shape == (2, len(layer.outcomes))
    layer = QuantumLayer(3, **SMALL, **OPTIONS)
    with pytest.raises(ValueError, match="state must be left out with shot_gradient='shift'"):
        layer(x, torch.ones(10, dtype=torch.complex128))
    outputs = layer(x).square().sum()
    (first,) = torch.autograd.grad(outputs, layer.phases, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()
