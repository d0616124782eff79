"""Phases that are not what they are set to: steps, errors, one draw for all samples of a pass."""

import math

import numpy as np
import pytest
import torch
from torch.utils.checkpoint import checkpoint

from hybridlit import (
    BeamSplitter,
    Circuit,
    Data,
    FixedUnitary,
    Interferometer,
    Noise,
    PhaseShifter,
    QuantumLayer,
    QuantumLayerStack,
    SequentialHybrid,
    Superposition,
    Trainable,
)
from hybridlit.interop.perceval import to_perceval
from hybridlit.photonics.simulation import probabilities

STEP = 0.7


def components():
    """Every place where a phase shifter or something alike may be."""
    return (
        Circuit(4)
        .add(Interferometer(angles=0.4), [0, 1, 2])
        .add(PhaseShifter(Data(0, offset=0.3)), 1)
        .add(PhaseShifter(1.234), 1)
        .add(BeamSplitter(Trainable("t"), phi_tl=0.3), [1, 2])
        .add(PhaseShifter(Trainable("t", scale=2.5, offset=-0.2)), 0)
        .add(Interferometer(phases="input"))
        .add(BeamSplitter(Data(1)), [0, 1])
        .add(PhaseShifter(0.0), 2)
        .add(FixedUnitary(np.eye(4)[::-1]))
    )


def layers(noise):
    options = dict(n_photons=2, noise=noise, dtype=torch.float64)
    yield QuantumLayer(3, 4, n_modes=4, **options)
    yield QuantumLayer(2, 4, n_modes=4, circuit_type="parallel_columns", **options)
    yield QuantumLayer(2, 4, circuit=components(), **options)
    given = QuantumLayer(3, 4, n_modes=4, **options)
    given.set_unitary(0, torch.eye(4))
    yield given


def test_steps_are_those_of_perceval():
    pcvl = pytest.importorskip("perceval")
    torch.manual_seed(0)
    for layer in layers(Noise(phase_imprecision=STEP)):
        for row in 5 * torch.rand(3, layer.input_size, dtype=torch.float64) - 2:
            exact = to_perceval(layer, row)
            noisy = exact.use_phase_noise(pcvl.NoiseModel(phase_imprecision=STEP))
            wanted = np.array(noisy.unitary_circuit().compute_unitary())
            assert np.abs(layer.unitary(row).detach().numpy() - wanted).max() < 1e-9
            plain = np.array(exact.unitary_circuit().compute_unitary())
            assert np.abs(plain - wanted).max() > 0.05


def test_steps_round_each_phase_within_a_turn():
    """A phase of -0.2 is one of 2 pi - 0.2 for a device, whose steps begin at 0."""
    circuit = Circuit(2).add(BeamSplitter()).add(PhaseShifter(Trainable("p")), 0)
    circuit.add(BeamSplitter())
    layer = QuantumLayer(
        0, circuit=circuit, n_photons=1, noise=Noise(phase_imprecision=STEP), dtype=torch.float64
    )
    for phase in (-0.2, 0.3, 1.0, 40.0):
        torch.nn.init.constant_(layer.phases, phase)
        used = STEP * round(phase % (2 * math.pi) / STEP)
        assert layer.probabilities()[0].item() == pytest.approx(math.sin(used / 2) ** 2, abs=1e-12)


def test_the_gradient_goes_straight_through_steps():
    """It is that of an ideal layer whose phases are where the steps are."""
    torch.manual_seed(1)
    options = dict(n_modes=4, n_photons=2, dtype=torch.float64, use_bandwidth_tuning=False)
    noisy = QuantumLayer(3, 4, noise=Noise(phase_imprecision=STEP), **options)
    ideal = QuantumLayer(3, 4, **options)
    x = torch.rand(5, 3, dtype=torch.float64, requires_grad=True)
    ideal.load_state_dict(noisy.state_dict())
    with torch.no_grad():
        phases = STEP * torch.round(noisy.phases.remainder(2 * math.pi) / STEP)
        ideal.phases.copy_(phases)
    # what data turn: x and means of x, of which only single features are set one by one
    encoding = torch.tensor(ideal.lowering.encoding.reshape(4, 3)) * math.pi
    used = STEP * torch.round((encoding @ x.detach().T).remainder(2 * math.pi) / STEP)
    lowered = ideal._lowered(ideal.phases, used[None].requires_grad_()[0], (0, 2))
    wanted = probabilities(lowered, ideal.outcomes)[0]
    found = noisy.probabilities(x)
    assert torch.allclose(found, wanted, atol=1e-12)
    weights = torch.rand(10, dtype=torch.float64)
    one = torch.autograd.grad((found @ weights).sum(), noisy.phases)[0]
    other = torch.autograd.grad((wanted @ weights).sum(), ideal.phases)[0]
    assert torch.allclose(one, other, atol=1e-12) and one.abs().max() > 0.01


def test_errors_are_drawn_for_each_pass_and_shared_by_its_samples():
    torch.manual_seed(2)
    for layer in layers(Noise(phase_error=0.1)):
        x = torch.rand(1, layer.input_size, dtype=torch.float64).expand(3, -1)
        first, second = layer.eval()(x), layer(x)
        assert torch.allclose(first[0], first[1], atol=1e-13)
        assert (first - second).abs().max() > 1e-4
        torch.manual_seed(7)
        again = layer(x)
        torch.manual_seed(7)
        assert torch.equal(again, layer(x))


def test_errors_are_uniform_and_of_each_phase_shifter():
    """Of two shifters of one mode in sequence, the difference of ideal and used phases adds up."""
    circuit = Circuit(2).add(BeamSplitter(theta=0.4, phi_tl=0.1))
    circuit.add(PhaseShifter(0.5), 0).add(PhaseShifter(Data(0)), 1).add(BeamSplitter(theta=0.7))
    layer = QuantumLayer(
        1, circuit=circuit, n_photons=1, noise=Noise(phase_error=0.2), dtype=torch.float64
    )
    ideal = QuantumLayer(1, circuit=circuit, n_photons=1, dtype=torch.float64)
    x = torch.tensor([[0.3]], dtype=torch.float64)
    torch.manual_seed(0)
    exact, used = ideal.unitary(x)[0], [layer.unitary(x)[0] for _ in range(300)]
    after = torch.tensor([[math.cos(0.35), 1j * math.sin(0.35)]] * 2, dtype=torch.complex128)
    after[1] = after[0].flip(0)
    between = after.mH @ exact
    angles = torch.stack([((after.mH @ each) / between).angle()[:, 0] for each in used]).detach()
    assert angles.abs().max() <= 0.2 and angles.abs().max() > 0.19
    assert torch.allclose(angles.var(0), torch.full((2,), 0.2**2 / 3).double(), rtol=0.2)
    assert abs(float(torch.corrcoef(angles.T)[0, 1])) < 0.15
    assert angles.mean(0).abs().max() < 4 * 0.2 / math.sqrt(3 * 300)


def test_layers_of_a_stack_have_errors_of_their_own():
    torch.manual_seed(0)
    stack = QuantumLayerStack(
        2, 3, 4, n_modes=4, n_photons=2, noise=Noise(phase_error=0.3), dtype=torch.float64
    )
    with torch.no_grad():
        for parameter in stack.parameters():
            parameter.copy_(parameter[:1].clone().expand_as(parameter))
    found = stack(torch.rand(5, 3, dtype=torch.float64))
    assert found.shape == (5, 2, 4) and (found[:, 0] - found[:, 1]).abs().max() > 1e-3


def test_a_checkpoint_sees_the_same_draw_twice():
    torch.manual_seed(0)
    layer = QuantumLayer(
        3, 4, n_modes=4, n_photons=2, noise=Noise(phase_error=0.3), shots=20, dtype=torch.float64
    )
    x = torch.rand(5, 3, dtype=torch.float64, requires_grad=True)
    grads = []
    for run in (layer, lambda x: checkpoint(layer, x, use_reentrant=False)):
        torch.manual_seed(3)
        outputs = run(x)
        torch.manual_seed(4)  # what comes between the passes
        grads.append(torch.autograd.grad(outputs.square().sum(), [layer.phases, x]))
    assert all(torch.equal(one, other) for one, other in zip(*grads, strict=True))


@pytest.mark.parametrize("readout", ["linear", "mode_expectations"])
def test_states_and_readouts_know_of_it(readout):
    torch.manual_seed(0)
    options = dict(output_mapping_strategy=readout, dtype=torch.float64)
    state = Superposition.of({(1, 1, 0, 0): 1.0, (0, 1, 0, 1): 1j})
    size = 3 if readout == "linear" else None
    for kind in (dict(n_photons=2), dict(input_state=state)):
        noise = Noise(phase_imprecision=STEP)
        layer = QuantumLayer(2, size, circuit=components(), noise=noise, **options, **kind)
        ideal = QuantumLayer(2, size, circuit=components(), **options, **kind)
        ideal.load_state_dict(layer.state_dict())
        x = torch.rand(4, 2, dtype=torch.float64)
        assert (layer(x) - ideal(x)).abs().max() > 1e-3
        without = dict(circuit_type="series", n_modes=4, **options, **kind)
        nothing = QuantumLayer(0, size, noise=noise, **without)
        ideal = QuantumLayer(0, size, **without)
        ideal.load_state_dict(nothing.state_dict())
        assert (nothing() - ideal()).abs().max() > 1e-3


def test_noise_of_phases_is_in_no_state_and_needs_no_float64():
    layer = QuantumLayer(2, 4, circuit=components(), n_photons=2, noise=Noise(phase_imprecision=1))
    ideal = QuantumLayer(2, 4, circuit=components(), n_photons=2)
    ideal.load_state_dict(layer.state_dict())
    double = QuantumLayer(2, 4, circuit=components(), n_photons=2, noise=Noise(phase_imprecision=1))
    double.load_state_dict(layer.state_dict())
    x = torch.rand(4, 2)
    assert torch.allclose(double.double()(x.double()).float(), layer(x), atol=1e-5)


def test_data_shifters_without_anything_between_them_are_refused():
    circuit = Circuit(3).add(Interferometer()).add(PhaseShifter(Data(0)), 1)
    circuit.add(PhaseShifter(0.2), 1).add(PhaseShifter(Data(1)), 1).add(Interferometer())
    with pytest.raises(ValueError, match="two on mode 1 with nothing but phases between"):
        QuantumLayer(2, 4, circuit=circuit, n_photons=2, noise=Noise(phase_error=0.1))
    QuantumLayer(2, 4, circuit=circuit, n_photons=2, shots=5, shot_gradient="shift")


def test_templates_train_under_it(make_trainer):
    from torch.utils.data import DataLoader, TensorDataset

    model = SequentialHybrid(
        3, 2, 2, experiment={"circuit_type": "series", "n_modes": 4, "n_photons": 2,
                             "noise": {"phase_error": 0.1, "phase_imprecision": 0.05}},
        shots=50, shot_gradient="score",
    )  # fmt: skip
    assert model.quantum_layer.shots == 50
    data = TensorDataset(torch.rand(16, 3), torch.arange(16) % 2)
    make_trainer(max_epochs=1).fit(model, DataLoader(data, batch_size=8))
