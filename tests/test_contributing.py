"""What CONTRIBUTING says it takes to add a readout, done to the letter in a copy of the project."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

ROOT = Path(__file__).parents[1]
RECIPE = {
    "seed_everything": 0,
    "trainer": {"accelerator": "cpu", "max_epochs": 2, "callbacks": ["PhotonicInspector"]},
    "model": {
        "class_path": "SequentialHybrid",
        "init_args": {
            "input_dim": 4,
            "quantum_dim": 3,
            "output_dim": 3,
            "n_modes": 4,
            "n_photons": 2,
            "output_mapping_strategy": "parity",
        },
    },
    "data": {"class_path": "SklearnDataModule", "init_args": {"dataset": "iris"}},
}
CLOSED_FORM = """
import torch
from hybridlit import Experiment, QuantumLayer
from permanents import all_amplitudes, all_states

experiment = Experiment("series", n_modes=4, n_photons=3)
layer = QuantumLayer(3, experiment=experiment, output_mapping_strategy="parity").double()
x = torch.rand(5, 3, dtype=torch.float64)
signs = (-1.0) ** torch.tensor(all_states(4, 3))
for unitary, found in zip(layer.unitary(x).detach(), layer(x)):
    probabilities = abs(all_amplitudes(unitary.numpy(), layer.input_state)) ** 2
    torch.testing.assert_close(found, torch.tensor(probabilities) @ signs.double())
"""


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """A copy of the project with the file and the row of the example."""
    copy = tmp_path_factory.mktemp("copy")
    for name in ("hybridlit", "tests"):
        shutil.copytree(ROOT / name, copy / name)
    shutil.copy(ROOT / "pyproject.toml", copy)
    text = (ROOT / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")
    example = text.partition("## By example: a readout")[2]
    code, row = re.findall(r"```(?:python|text)\n(.*?)```", example, flags=re.DOTALL)[:2]
    folder = copy / "hybridlit" / "photonics" / "readouts"
    (folder / "parity.py").write_text(code)
    table = (folder / "table.py").read_text()
    imported = "import expectations, grouping, linear\n"
    last = re.findall(r'^    [A-Z_]+ = ".*$\n', table, flags=re.MULTILINE)[-1]
    assert imported in table
    table = table.replace(imported, "import expectations, grouping, linear, parity\n")
    (folder / "table.py").write_text(table.replace(last, last + row))
    return copy


def run(copy, *command):
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(copy), str(copy / "tests")]),
        "MPLBACKEND": "Agg",
    }
    done = subprocess.run(
        [sys.executable, *command], cwd=copy, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.mark.slow
def test_the_file_and_the_row_are_all_there_is_to_write(extended):
    run(extended, "-c", CLOSED_FORM)
    run(extended, "-m", "ruff", "check", "hybridlit/photonics/readouts")
    (extended / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    run(extended, "-m", "hybridlit", "fit", "--config", "recipe.yaml")
    (run_folder,) = (extended / "runs" / "recipe").iterdir()
    events = EventAccumulator(str(run_folder), size_guidance={"images": 0}).Reload()
    assert events.Tags()["images"]
    assert "mean parities" in run(extended, "-m", "hybridlit", "draw", "--config", "recipe.yaml")
    run(extended, "-m", "hybridlit", "plan", "--modes", "4", "--photons", "2")
    report = [
        "analyze",
        "--ckpt",
        str(run_folder / "checkpoints" / "last.ckpt"),
        "--arms",
        "[linear]",
    ]
    run(extended, "-m", "hybridlit", *report, "--seeds", "2", "--out", "report.md")
    assert "mean parities" in (extended / "report.md").read_text()


@pytest.mark.slow
def test_tests_that_go_through_all_readouts_have_it(extended):
    files = ["readout", "reach", "stack"]
    paths = [f"tests/photonics/test_{name}.py" for name in files]
    shown = run(extended, "-m", "pytest", "-q", "-n0", *paths, "tests/test_tables.py")
    assert " passed" in shown
    assert "failed" not in shown
