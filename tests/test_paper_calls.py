"""What the table of papers says can be written: its calls, small, with their gradients."""

import pytest
import torch
from torch import nn

import hybridlit as ML

M = dict(n_modes=4, n_photons=2)


def trained(outputs, *modules):
    """Gradients of outputs reach every parameter of the modules."""
    outputs.square().sum().backward()
    for module in modules:
        assert all(p.grad is not None and p.grad.isfinite().all() for p in module.parameters())


def test_hqpinn_second_derivatives_in_the_loss():
    """A damped oscillator: x'' + x' + x = 0."""
    layer, t = ML.QuantumLayer(1, 1, **M), torch.rand(5, 1, requires_grad=True)
    x = layer(t)
    [speed] = torch.autograd.grad(x.sum(), t, create_graph=True)
    [acceleration] = torch.autograd.grad(speed.sum(), t, create_graph=True)
    trained(acceleration + speed + x, layer)


def test_qssl_two_views_of_a_batch():
    encoder, layer = nn.Linear(6, 3), ML.QuantumLayer(3, 4, **M)
    one, two = (nn.functional.normalize(layer(encoder(torch.rand(5, 6)))) for _ in range(2))
    trained(nn.functional.cross_entropy(one @ two.T / 0.07, torch.arange(5)), encoder, layer)


def test_qllm_circuits_side_by_side_on_embeddings():
    model = ML.ParallelBankHybrid(768, 2, n_modes=4, n_photons=2)
    trained(model(torch.randn(5, 768)), model)


def test_qcnn_a_stack_of_kernels_over_windows():
    stack = ML.QuantumLayerStack(3, 3, 2, **M)
    windows = torch.rand(5, 8).unfold(1, 3, 2)
    outputs = stack(windows)
    assert outputs.shape == (5, 3, 3, 2)
    trained(outputs, stack)


def test_qcnn_id_a_reservoir_with_one_logit():
    chip = ML.Experiment("series", **M, computation_space="unbunched", reservoir_mode=True)
    model = ML.SequentialHybrid(6, 3, 1, task="binary", experiment=chip)
    assert not [p for p in model.quantum_layer.parameters() if p.shape == (2, 6, 2)]
    assert model(torch.randn(5, 6)).shape == (5, 1)


def test_qgan_patches_of_an_image():
    strategy = "lexgrouping"
    generator = ML.QuantumLayerStack(4, 2, 5, **M, output_mapping_strategy=strategy)
    critic = nn.Linear(20, 1)
    images = generator(torch.rand(6, 2)).flatten(1)
    torch.testing.assert_close(images.view(6, 4, 5).sum(2), torch.ones(6, 4))
    trained(critic(images), generator, critic)


def test_a_memristor_is_an_angle_that_remembers():
    circuit = ML.Circuit(3)
    for first, angle in ((0, ML.Data(0)), (1, ML.Data(1)), (0, ML.Trainable())):
        circuit.add(ML.BeamSplitter(angle), first)
    chip = ML.Experiment(circuit=circuit, input_state=[0, 1, 0])
    layer = ML.QuantumLayer(2, experiment=chip, output_mapping_strategy="none")
    memory, outputs = torch.zeros(5, 1), []
    for x in torch.rand(4, 5, 1):
        outputs.append(layer(torch.cat([x, memory], 1)))
        memory = 0.5 * memory + 0.5 * outputs[-1][:, :1].sqrt().arccos()
    trained(torch.stack(outputs)[..., :1], layer)


def test_qrkd_fidelities_of_student_and_teacher():
    kernel = ML.FidelityKernel(ML.QuantumLayer(3, 2, **M))
    student = nn.Linear(6, 3)
    difference = kernel(student(torch.rand(5, 6))) - kernel(torch.rand(5, 3)).detach()
    difference.square().mean().backward()
    assert student.weight.grad.abs().max() > 0


def test_dqnn_probabilities_are_the_weights_of_a_network():
    circuit = ML.Circuit(4).add(ML.Interferometer())
    chip = ML.Experiment(circuit=circuit, n_photons=2)
    layer = ML.QuantumLayer(0, experiment=chip, output_mapping_strategy="none")
    network, widths = nn.Linear(4, 2), ((2, 4), (2,))
    weight, bias = layer(1)[0].split((8, 2))
    found = torch.func.functional_call(
        network, {"weight": weight.view(widths[0]), "bias": bias}, torch.rand(5, 4)
    )
    trained(found, layer)


def test_qsvm_and_qknn_by_scikit_learn():
    svm = pytest.importorskip("sklearn.svm", reason="recipes extra")
    neighbors = pytest.importorskip("sklearn.neighbors", reason="recipes extra")
    layer = ML.QuantumLayer(2, 2, **M)
    kernel = ML.FidelityKernel(layer)
    x = torch.cat([0.3 * torch.rand(20, 2), 0.7 + 0.3 * torch.rand(20, 2)]).numpy()
    y = [0] * 20 + [1] * 20
    assert svm.SVC(kernel=kernel).fit(x, y).score(x, y) > 0.9
    distances = 1 - kernel(torch.from_numpy(x)).detach().clamp(max=1).numpy()
    knn = neighbors.KNeighborsClassifier(3, metric="precomputed").fit(distances, y)
    assert knn.score(distances, y) > 0.9


def test_kernels_without_interference():
    """The photons come back one by one: a distinguishable layer of the circuit and its inverse."""
    kernel = ML.Circuit(2)
    for sign, feature in ((1, 0), (-1, 1)):
        kernel.add(ML.BeamSplitter(ML.Data(feature, scale=sign)), 0)
    chip = ML.Experiment(circuit=kernel, input_state=[1, 1])
    layer = ML.DistinguishableLayer(2, experiment=chip, output_mapping_strategy="none").double()
    x = torch.rand(5, 2, dtype=torch.float64)
    back = torch.cos((x[:, 0] - x[:, 1]) / 2) ** 2
    expected = back**2 + (1 - back) ** 2  # both stay, or both change places
    torch.testing.assert_close(layer(x)[:, 1], expected, rtol=0, atol=1e-12)


def test_nqe_every_angle_of_a_mesh_from_a_network():
    circuit, features = ML.Circuit(4), iter(range(10))
    angles = [[ML.Data(next(features)), ML.Data(next(features))] for _ in range(4)]
    # Phases behind the last cells reach no outcome.
    last = [[ML.Data(next(features)), ML.Fixed(0)] for _ in range(2)]
    circuit.add(ML.Interferometer(angles=[*angles[:3], last[0], angles[3], last[1]]))
    chip = ML.Experiment(circuit=circuit, input_state=[1, 0, 1, 0])
    layer = ML.QuantumLayer(10, experiment=chip, output_mapping_strategy="none")
    network = nn.Sequential(nn.Linear(3, 10), nn.Tanh())
    fidelities = ML.FidelityKernel(layer)(network(torch.rand(6, 3)))
    same = torch.arange(6)[:, None] % 2
    trained(fidelities - (same == same.T).float(), network)


def test_egas_a_circuit_from_plain_tokens():
    tokens = [
        {"component": "beam_splitter", "modes": [0, 1], "theta": "a"},
        {"component": "phase_shifter", "modes": [1], "phi": {"data": 0}},
        {"component": "beam_splitter", "modes": [1, 2], "theta": {"data": 1}},
        {"component": "beam_splitter", "modes": [0, 1]},
    ]
    chip = ML.Experiment(circuit=ML.Circuit(3, tokens), input_state=[1, 1, 0])
    kernel = ML.FidelityKernel(ML.QuantumLayer(2, experiment=chip, output_mapping_strategy="none"))
    energy = (kernel(torch.rand(4, 2)) - torch.eye(4)).abs().mean().detach()
    assert 0 < float(energy) < 1


def test_a_vision_transformer_of_orthogonal_layers():
    """One photon in d modes: an orthogonal map of the amplitudes, by a butterfly of splitters."""
    circuit = ML.Circuit(4)
    for step in (2, 1):
        for mode in (m for m in range(4) if not m & step):
            circuit.add(ML.BeamSplitter(ML.Trainable(), convention="ry"), (mode, mode + step))
    chip = ML.Experiment(circuit=circuit, n_photons=1)
    layer = ML.QuantumLayer(0, experiment=chip, output_mapping_strategy="none").double()
    tokens = nn.functional.normalize(torch.randn(3, 4, dtype=torch.float64))
    found = layer.amplitudes(state=tokens)
    torch.testing.assert_close((found @ found.mH).real, tokens @ tokens.T, rtol=0, atol=1e-12)
    assert found.imag.abs().max() < 1e-12


def test_qrnn_a_register_that_is_measured_and_one_that_remembers():
    """Two dual-rail qubits; all branches of the first one's outcomes go on into the next step."""
    circuit = ML.Circuit(4).add(ML.Interferometer())
    for feature in range(2):
        circuit.add(ML.PhaseShifter(ML.Data(feature)), feature)
    chip = ML.Experiment(circuit=circuit.add(ML.Interferometer()), input_state=[1, 0, 1, 0])
    layer = ML.QuantumLayer(2, experiment=chip, output_mapping_strategy="none").double()
    measure, enters = ML.PartialMeasurement(layer, [0, 1]), layer.input_space
    places = torch.from_numpy(enters.rank([[1, 0, 1, 0], [1, 0, 0, 1]]))
    memory = torch.tensor([[1.0, 0]], dtype=torch.complex128).expand(3, 1, 2)
    weights = torch.ones(3, 1, dtype=torch.float64)
    for x in torch.rand(2, 3, 2, dtype=torch.float64):
        state = memory.new_zeros(*memory.shape[:2], enters.size)
        state[..., places] = memory
        found = measure(x[:, None].expand(*memory.shape[:2], 2), state)
        kept = [found.outcomes.index(outcome) for outcome in ((1, 0), (0, 1))]
        weights = (weights[..., None] * found.probabilities[..., kept]).flatten(1)
        memory = torch.stack([found.states[k] for k in kept], 2).flatten(1, 2)
    assert weights.shape == (3, 4) and weights.sum(1).max() < 1  # others are not dual rail
    torch.testing.assert_close(memory.abs().square().sum(2), torch.ones_like(weights))
    trained(weights, layer)
