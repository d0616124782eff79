"""`hybridlit program`: from a checkpoint of a twin and a matrix to a table of voltages."""

import csv

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from scipy.stats import unitary_group

from hybridlit.cli import main
from hybridlit.templates.chip.chip_twin import ChipTwin
from hybridlit.templates.chip.data import ChipDataModule
from hybridlit.templates.chip.programming import program
from hybridlit.templates.chip.simulated import SimulatedChip


@pytest.fixture
def checkpoint(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = SimulatedChip(3, 0).table(60, generator=torch.Generator().manual_seed(0))
    named = {name.replace("v", "heater "): column for name, column in table.items()}
    data = ChipDataModule(named, settings="heater *", batch_size=32)
    model = ChipTwin(3, find_epochs=1)
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip
    trainer.fit(model, data)
    trainer.save_checkpoint(tmp_path / "twin.ckpt")
    np.save("wanted.npy", unitary_group.rvs(3, size=2, random_state=0))
    return model


@pytest.mark.filterwarnings("ignore")
def test_voltages_have_the_names_of_the_table_that_was_trained_on(checkpoint, capsys):
    main(["program", "--ckpt", "twin.ckpt", "--unitary", "wanted.npy", "--out", "volts.csv"])
    assert "Voltages of 6 heaters, 2 rows: volts.csv" in capsys.readouterr().out
    with open("volts.csv", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == [*(f"heater {k}" for k in range(6)), "fidelity"]
    right = program(checkpoint.classical_pre, checkpoint.quantum_layer, np.load("wanted.npy"))
    found = np.array(rows, dtype=float)
    np.testing.assert_allclose(found[:, :6], right.voltages.numpy(), atol=1e-6)
    np.testing.assert_allclose(found[:, 6], right.fidelity.numpy(), atol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_what_is_no_chip_is_a_line(checkpoint, capsys):
    other = ChipTwin(3, quantum="mlp")
    state = torch.load("twin.ckpt", weights_only=False)
    state["state_dict"] = other.state_dict()
    state["hyper_parameters"]["quantum"] = "mlp"
    torch.save(state, "mlp.ckpt")
    with pytest.raises(SystemExit):
        main(["program", "--ckpt", "mlp.ckpt", "--unitary", "wanted.npy"])
    assert "needs its chip to be programmed, got quantum='mlp'\n" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--unitary", "wanted.csv"], ".npy"),
        (["--unitary", "missing.npy"], "missing.npy"),
        (["--unitary", "wanted.npy", "--out", "volts.txt"], "out must end in"),
        (["--unitary", "wanted.npy", "--limits", "[1, 0]"], "0 <= least < largest"),
    ],
)
def test_what_does_not_fit_is_a_line(checkpoint, capsys, words, said):
    with pytest.raises(SystemExit):
        main(["program", "--ckpt", "twin.ckpt", *words])
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
