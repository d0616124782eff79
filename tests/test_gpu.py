"""What differs on a GPU: another path through the simulation, no looking at values, transfers.

Skipped where there is none. ``HYBRIDLIT_TEST_DEVICE=cpu`` runs the same on the CPU.
"""

import os

import pytest
import torch
from small_layers import KINDS, PLAIN

from hybridlit.callbacks import GradientImbalanceMonitor, PhotonicInspector
from hybridlit.photonics import Experiment, Noise, QuantumLayer, QuantumLayerStack
from hybridlit.templates import (
    ParallelBankHybrid,
    ParallelHybrid,
    ResidualHybrid,
    SequentialHybrid,
)

DEVICE = os.environ.get("HYBRIDLIT_TEST_DEVICE", "cuda")
pytestmark = pytest.mark.skipif(
    DEVICE == "cuda" and not torch.cuda.is_available(), reason="there is no GPU"
)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", KINDS)
def test_values_and_gradients_are_those_of_the_cpu(name, dtype):
    outputs, circuit, how = KINDS[name]
    layer = QuantumLayer(3, outputs, dtype=dtype, **circuit, **how)
    other = QuantumLayer(3, outputs, dtype=dtype, device=DEVICE, **circuit, **how)
    other.load_state_dict(layer.state_dict())
    x = torch.rand(7, 3, dtype=dtype)
    found = []
    for each, place in ((layer, "cpu"), (other, DEVICE)):
        rows = x.detach().clone().to(place).requires_grad_()
        y = each(rows)
        assert y.device.type == place
        y.square().sum().backward()
        gradients = [p.grad.cpu() for p in each.parameters()]
        found.append([y.detach().cpu(), rows.grad.cpu(), *gradients])
    exact = dict(rtol=1e-10, atol=1e-11) if dtype == torch.float64 else dict(rtol=1e-3, atol=3e-5)
    for one, another in zip(*found, strict=True):
        torch.testing.assert_close(one, another, **exact)


def test_layers_move():
    layer, x = QuantumLayer(3, 4, **PLAIN), torch.rand(5, 3)
    here = layer(x)
    torch.testing.assert_close(layer.to(DEVICE)(x.to(DEVICE)).cpu(), here, rtol=1e-3, atol=3e-5)
    torch.testing.assert_close(layer.cpu()(x), here)
    stack = QuantumLayerStack(2, 3, 4, **PLAIN).to(DEVICE)
    assert stack(x.to(DEVICE)).shape == (5, 2, 4)
    state = torch.randn(5, 15, dtype=torch.complex64, device=DEVICE)
    state = state / torch.linalg.vector_norm(state, dim=1, keepdim=True)
    assert layer.to(DEVICE)(x.to(DEVICE), state=state).device.type == DEVICE


def test_a_training_step_waits_for_nothing():
    """Rows that are not finite become NaN, since looking at them would be a wait."""
    layer = QuantumLayer(3, 4, **PLAIN).to(DEVICE)
    x = torch.rand(6, 3, device=DEVICE)
    layer(x).sum().backward()  # tables are made once
    if DEVICE == "cuda":
        torch.cuda.set_sync_debug_mode("error")
    try:
        layer(x).square().sum().backward()
    finally:
        if DEVICE == "cuda":
            torch.cuda.set_sync_debug_mode("default")
    if DEVICE == "cuda":
        x[2, 1] = torch.nan
        assert layer(x).isnan().any(1).nonzero().flatten().tolist() == [2]


def test_second_derivatives():
    layer = QuantumLayer(2, None, **PLAIN, dtype=torch.float64).to(DEVICE)
    x = torch.rand(2, 2, dtype=torch.float64, device=DEVICE, requires_grad=True)
    assert torch.autograd.gradgradcheck(layer, (x,))


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize(
    "template", [SequentialHybrid, ParallelHybrid, ParallelBankHybrid, ResidualHybrid]
)
def test_templates_train_and_come_back(template, precision, data, make_model, tmp_path):
    from lightning.pytorch import Trainer

    model = make_model(template)
    trainer = Trainer(
        max_epochs=2, accelerator="gpu" if DEVICE == "cuda" else "cpu", devices=1, logger=False,
        precision=precision, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=tmp_path, callbacks=[GradientImbalanceMonitor(), PhotonicInspector()],
    )  # fmt: skip
    trainer.fit(model, datamodule=data)
    assert all(torch.isfinite(p).all() for p in model.parameters())
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    again = template.load_from_checkpoint(tmp_path / "model.ckpt", map_location="cpu").eval()
    x = torch.randn(4, 5)
    model = model.eval().cpu()
    torch.testing.assert_close(again(x), model(x))


def test_noisy_training(data, make_trainer):
    noise = Noise(transmittance=0.5, indistinguishability=0.9, trainable=["transmittance"])
    experiment = Experiment("series", 4, 2, noise=noise)
    model = SequentialHybrid(input_dim=5, output_dim=3, quantum_dim=2, experiment=experiment)
    make_trainer(accelerator="gpu" if DEVICE == "cuda" else "cpu", devices=1).fit(
        model, datamodule=data
    )
    found = [layer for layer in model.modules() if isinstance(layer, QuantumLayer)]
    learned = found[0].noise.present.transmittance
    assert 0.3 < learned < 0.7 and learned != 0.5
