"""The code of MerLin's guide runs as it is written, with `import hybridlit as ML`.

`guide_models` and `guide_functions` are that code. Where a function of the guide can work on some
models only, it gets such a model here, and a comment says why.
"""

import guide_functions as guide
import guide_models
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import hybridlit as ML
from hybridlit.optimizers import create_hybrid_optimizer

CLASSES = 3

MODELS = {
    "sequential, odd": lambda: guide_models.SequentialHybrid(6, 3, CLASSES),
    "sequential, even": lambda: guide_models.SequentialHybrid(6, 4, CLASSES),
    "sequential, more features than modes": lambda: guide_models.SequentialHybrid(6, 9, CLASSES),
    "parallel": lambda: guide_models.ParallelHybrid(6, CLASSES),
    "parallel, odd": lambda: guide_models.ParallelHybrid(7, CLASSES),
    "residual": lambda: guide_models.ResidualHybrid(6, CLASSES),
    "residual, odd": lambda: guide_models.ResidualHybrid(7, CLASSES),
    "memory": lambda: guide_models.MemoryEfficientHybrid(6, CLASSES),
    "memory, odd": lambda: guide_models.MemoryEfficientHybrid(7, CLASSES),
    "processing": lambda: guide_models.ParallelProcessingHybrid(6, CLASSES),
    "processing, odd": lambda: guide_models.ParallelProcessingHybrid(7, CLASSES),
    "processing, one": lambda: guide_models.ParallelProcessingHybrid(1, CLASSES),
}

# the guide calls checkpoint() without use_reentrant, on which torch comments
pytestmark = pytest.mark.filterwarnings("ignore:.*use_reentrant.*")


@pytest.fixture(params=MODELS)
def model(request):
    return MODELS[request.param]()


def width(model):
    layers = [m for m in model.modules() if isinstance(m, (nn.Linear, ML.QuantumLayer))]
    first = layers[0]
    return first.in_features if isinstance(first, nn.Linear) else first.input_size


def problem(features, rows=48):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(rows, features, generator=generator)
    return x, (x[:, 0] > 0).long() + (x[:, -1] > 0.5).long()


def loader(features, rows=48):
    return DataLoader(TensorDataset(*problem(features, rows)), batch_size=16)


cross_entropy = nn.CrossEntropyLoss()


def test_every_model_trains_and_every_parameter_gets_a_gradient(model):
    x, y = problem(width(model))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for step in range(30):
        optimizer.zero_grad()
        loss = cross_entropy(model(x), y)
        loss.backward()
        if step == 0:
            for name, parameter in model.named_parameters():
                assert parameter.grad is not None and parameter.grad.norm() > 0, name
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.75 * losses[0]
    assert model.eval()(x).shape == (len(x), CLASSES)


def test_every_quantum_input_reaches_the_quantum_output(model):
    layers = [m for m in model.modules() if isinstance(m, ML.QuantumLayer)]
    assert layers
    seen = {}
    for layer in layers:
        layer.register_forward_pre_hook(lambda m, inputs: seen.update({m: inputs[0].detach()}))
    model(problem(width(model), rows=4)[0])
    for layer in layers:
        row = seen[layer][0]
        jacobian = torch.autograd.functional.jacobian(layer, row)
        assert jacobian.shape == (layer.output_size, layer.input_size)
        assert (jacobian.norm(dim=0) > 1e-4).all()


@pytest.mark.parametrize("method", ["sigmoid", "tanh", "minmax"])
def test_normalization_layer(method):
    x = torch.randn(20, 5)
    ours = ML.NormalizationLayer(method)(x)
    torch.testing.assert_close(guide_models.NormalizationLayer(method)(x), ours)
    assert (ours >= 0).all() and (ours <= 1).all()


def test_gradient_scaled_quantum_layer():
    experiment = ML.Experiment(ML.CircuitType.SERIES, n_modes=4, n_photons=2)
    ansatz = ML.AnsatzFactory.create(experiment, input_size=3, output_size=5)
    layer = ML.QuantumLayer(input_size=3, ansatz=ansatz)
    scaled = guide_models.GradientScaledQuantumLayer(layer, scale_factor=0.1)
    x = torch.rand(4, 3)
    # as written it scales the outputs, and in training only: not what it is called after
    torch.testing.assert_close(scaled.train()(x), 0.1 * layer(x))
    assert torch.equal(scaled.eval()(x), layer(x))


def test_create_hybrid_optimizer_and_alternating_training():
    model = guide_models.SequentialHybrid(6, 4, CLASSES)
    classical, quantum = guide.create_hybrid_optimizer(model, classical_lr=1e-2, quantum_lr=1e-2)
    assert sum(len(o.param_groups[0]["params"]) for o in (classical, quantum)) == len(
        list(model.parameters())
    )
    data = loader(6, rows=128)
    losses = [
        guide.train_hybrid_alternating(model, data, classical, quantum, cross_entropy)
        for _ in range(16)
    ]
    assert losses[-1] < 0.8 * losses[0]


def test_alternating_training_takes_our_optimizers():
    model = guide_models.SequentialHybrid(6, 4, CLASSES)
    pair = create_hybrid_optimizer(model, classical_lr=1e-2, quantum_lr=1e-2)
    data = loader(6, rows=128)
    losses = [guide.train_hybrid_alternating(model, data, *pair, cross_entropy) for _ in range(16)]
    assert losses[-1] < 0.8 * losses[0]


def test_find_optimal_batch_size(capsys):
    # it starts with one row, which batch normalization refuses: not SequentialHybrid
    model = guide_models.ParallelHybrid(5, CLASSES)
    assert guide.find_optimal_batch_size(model, torch.randn(1, 5), max_batch_size=64) == 64
    assert capsys.readouterr().out.splitlines()[-1] == "Batch size 64: OK"
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_train_with_mixed_precision(dtype, monkeypatch):
    monkeypatch.setattr(guide, "autocast", lambda: torch.amp.autocast("cpu", dtype=dtype))
    model = guide_models.SequentialHybrid(6, 4, CLASSES)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    x, y = problem(6)

    def loss():
        with torch.no_grad():
            return cross_entropy(model(x), y).item()

    before = loss()
    for _ in range(12):
        guide.train_with_mixed_precision(model, loader(6), optimizer, cross_entropy)
    assert loss() < 0.8 * before


def test_analyze_hybrid_performance():
    # it feeds raw data to the quantum layer, so data must be as wide as that
    model = guide_models.SequentialHybrid(4, 4, CLASSES)
    times = guide.analyze_hybrid_performance(model, loader(4))
    assert set(times) == {
        "classical_avg_time",
        "quantum_avg_time",
        "total_avg_time",
        "quantum_overhead",
    }
    assert all(np.isfinite(value) and value > 0 for value in times.values())


def test_ablation_study():
    # it puts nn.Identity in place of the quantum layer, so that must have as many outputs as inputs
    model = guide_models.MemoryEfficientHybrid(6, CLASSES)
    layer = model.quantum_layer
    results = guide.ablation_study(model, loader(6), cross_entropy)
    assert set(results) == {"full_model", "classical_only", "quantum_contribution"}
    assert results["quantum_contribution"] != 0
    assert model.quantum_layer is layer


def test_monitor_gradients(capsys):
    model = guide_models.SequentialHybrid(6, 4, CLASSES)
    for factor, warns in [(1.0, False), (100.0, True)]:
        for name, parameter in model.named_parameters():
            parameter.grad = torch.ones_like(parameter) / parameter.numel() ** 0.5
            if "quantum" in name:
                parameter.grad *= factor
        guide.monitor_gradients(model)
        assert ("Ratio: 100.00" in capsys.readouterr().out) == warns


def test_detect_component_overfitting(capsys):
    model = guide_models.ResidualHybrid(6, CLASSES)
    x, y = problem(6)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        optimizer.step()
    train = loader(6)
    assert not guide.detect_component_overfitting(model, train, train, cross_entropy)
    wrong = DataLoader(TensorDataset(x, (y + 1) % CLASSES), batch_size=16)
    assert guide.detect_component_overfitting(model, train, wrong, cross_entropy)
    assert "Potential overfitting" in capsys.readouterr().out
