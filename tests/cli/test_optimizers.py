"""Optimizers and schedulers by YAML alone, those of a file beside the recipe as well."""

import csv

import pytest
import torch
import yaml

from hybridlit.cli import main

pytestmark = pytest.mark.filterwarnings("ignore:LightningCLI's args parameter")

OWN = """
import torch


class SignDescent(torch.optim.Optimizer):
    def __init__(self, params, lr, factor=1.0):
        super().__init__(params, dict(lr=lr, factor=factor))

    @torch.no_grad()
    def step(self, closure=None):
        loss = closure and torch.enable_grad()(closure)()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.sub_(group["factor"] * group["lr"] * p.grad.sign())
        return loss
"""


def recipe(**model):
    settings = dict(input_dim=4, output_dim=3, quantum_dim=2, n_modes=4, n_photons=2, **model)
    return {
        "seed_everything": 0,
        "trainer": {
            "accelerator": "cpu",
            "max_epochs": 2,
            "enable_progress_bar": False,
            "log_every_n_steps": 1,
            "logger": {"class_path": "CSVLogger", "init_args": {"save_dir": "logs", "name": None}},
            "callbacks": [
                {"class_path": "LearningRateMonitor", "init_args": {"logging_interval": "step"}},
                {"class_path": "HybridCheckpoint", "init_args": {"dirpath": "kept"}},
            ],
        },
        "model": {"class_path": "SequentialHybrid", "init_args": settings},
        "data": {"class_path": "SklearnDataModule", "init_args": {"dataset": "iris"}},
    }


def test_one_cycle_by_yaml_with_both_rates_in_force(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "signs.py").write_text(OWN)
    content = recipe(
        classical_lr=0.1,
        quantum_lr=0.02,
        optimizer={"class_path": "torch.optim.SGD", "init_args": {"momentum": 0.9}},
        quantum_optimizer={"class_path": "signs.SignDescent", "init_args": {"factor": 2.0}},
        gradient_clip={"photonic": 0.1},
        schedule={"class_path": "torch.optim.lr_scheduler.OneCycleLR"},
        quantum_schedule={
            "class_path": "torch.optim.lr_scheduler.ExponentialLR",
            "init_args": {"gamma": 0.5},
        },
    )
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(content))
    main(["fit", "--config=recipe.yaml"])
    with open(next(tmp_path.glob("logs/**/metrics.csv"))) as file:
        rows = list(csv.DictReader(file))
    rates = {
        component: [float(row[name]) for row in rows if row.get(name := f"lr-{KIND}/{component}")]
        for component in ("classical", "photonic")
    }
    reference = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    cycle = torch.optim.lr_scheduler.OneCycleLR(reference, 0.1, total_steps=4)
    wanted = []
    for _ in range(4):  # two steps an epoch
        wanted.append(reference.param_groups[0]["lr"])
        reference.step()
        cycle.step()
    assert rates["classical"] == pytest.approx(wanted)
    assert rates["photonic"] == pytest.approx([0.02, 0.02, 0.01, 0.01])
    main(["test", "--ckpt=kept/last.ckpt", "--config=recipe.yaml"])


KIND = "OptimizerByComponent"


def test_what_is_wrong_with_an_optimizer_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for choice, said in (
        ("torch.optim.Sgd", "optimizer must name what can be imported"),
        ({"class_path": "torch.optim.SGD", "init_args": {"momentums": 1}}, "'momentums'"),
    ):
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe(optimizer=choice)))
        with pytest.raises(SystemExit) as stop:
            main(["fit", "--config=recipe.yaml"])
        line = capsys.readouterr().err.splitlines()[-1]
        assert stop.value.code == 2 and line.startswith("hybridlit fit: ") and said in line
