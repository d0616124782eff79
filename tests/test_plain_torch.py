"""Hybrid models written by hand in plain torch, as MerLin users know them, train as they are."""

import torch
from guide_models import SequentialHybrid
from torch import nn

import hybridlit as ML


def test_a_handwritten_model_trains():
    torch.manual_seed(2)
    model = SequentialHybrid(input_dim=8, quantum_dim=4, output_dim=3)
    x = torch.randn(64, 8)
    y = (x[:, 0] > 0).long() + (x[:, 1] > 0).long()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


def test_the_template_is_the_handwritten_model():
    """Same modules, same widths: weights and outputs carry over."""
    handwritten = SequentialHybrid(input_dim=8, quantum_dim=4, output_dim=3)
    template = ML.SequentialHybrid(input_dim=8, quantum_dim=4, output_dim=3)
    template.load_state_dict(handwritten.state_dict())
    x = torch.randn(16, 8)
    assert torch.equal(handwritten.eval()(x), template.eval()(x))
    torch.manual_seed(1)
    one = handwritten.train()(x)
    torch.manual_seed(1)
    assert torch.equal(one, template.train()(x))


def test_components_of_a_handwritten_model():
    model = SequentialHybrid(input_dim=8, quantum_dim=4, output_dim=3)
    assert set(ML.photonic_modules(model)) == {"quantum_layer"}
    assert set(ML.split_parameters(model)["photonic"]) == {
        "quantum_layer.phases",
        "quantum_layer.bandwidth",
    }
