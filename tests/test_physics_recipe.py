"""The recipe whose loss is an equation of motion, against the solution in closed form."""

import runpy
from pathlib import Path

import pytest
import torch

from hybridlit.cli import main

RECIPES = Path(__file__).parents[1] / "recipes"
RECIPE = runpy.run_path(str(RECIPES / "oscillator.py"))


def test_the_solution_has_no_loss_and_others_have():
    model = RECIPE["Oscillator"](damping=0.7, frequency=5.0).double()
    times, positions = (part[:50] for part in RECIPE["Oscillation"](0.7, 5.0).train)
    start = torch.zeros(1, 1, dtype=torch.float64, requires_grad=True)
    assert RECIPE["position"](start, 0.7, 5.0).item() == 1
    assert torch.autograd.grad(RECIPE["position"](start, 0.7, 5.0), start)[0].item() == 0
    batch = [times.double(), positions.double()]

    def loss(damping):
        inputs, targets = model.unpack(batch)
        return model.loss_of(batch, RECIPE["position"](inputs, damping, 5.0), targets)

    assert loss(0.7).item() < 1e-25
    assert loss(0.8).item() > 1e-5
    model.eval()
    outputs = model(model.unpack(batch)[0])
    torch.testing.assert_close(
        model.loss_of(batch, outputs, batch[1]), (outputs - batch[1]).square().mean()
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:LightningCLI's args parameter", "ignore:.*logging interval.*")
def test_the_equation_alone_teaches_the_motion(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    main(["fit", f"--config={RECIPES / 'oscillator_physics.yaml'}", "--trainer.max_epochs=40"])
    (path,) = tmp_path.glob("runs/*/version_0/checkpoints/last.ckpt")
    model = RECIPE["Oscillator"]().double()
    model.load_state_dict(torch.load(path, weights_only=True)["state_dict"])
    times = torch.linspace(0, 1, 101, dtype=torch.float64)[:, None]
    with torch.no_grad():
        error = model(times) - RECIPE["position"](times, 1.0, 8.0)
    assert error.abs().max() < 0.1
