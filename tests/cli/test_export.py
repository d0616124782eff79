"""`hybridlit export`: files of a checkpoint, and the lines that run them."""

import json

import pytest
import torch
from quiet_trainer import quiet

import hybridlit
from hybridlit import ArrayDataModule, SequentialHybrid
from hybridlit.cli import main
from hybridlit.export import perceval_file
from hybridlit.export.perceval_file import circuits_file


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    data = ArrayDataModule(torch.randn(40, 3), torch.arange(40) % 2, batch_size=20)
    trainer = quiet()
    trainer.fit(SequentialHybrid(3, 2, 2, n_modes=4, n_photons=2), data)
    path = tmp_path_factory.mktemp("run") / "best.ckpt"
    trainer.save_checkpoint(path)
    return path


@pytest.mark.slow
def test_a_graph_and_the_lines_that_run_it(checkpoint, tmp_path, capsys):
    main(["export", f"--ckpt={checkpoint}", f"--out={tmp_path / 'mine.pt2'}"])
    printed = capsys.readouterr().out
    assert printed.startswith("To run it without hybridlit:\n\nimport json")
    assert "program = torch.export.load('mine.pt2').module()" in printed
    assert printed.splitlines()[-2:] == [str(tmp_path / f"mine.pt2{s}") for s in ("", ".json")]
    about = json.loads((tmp_path / "mine.pt2.json").read_text())
    assert about["input"]["shape"] == ["batch", 3]
    assert about["trained_on"]["rows"]["train"] == 24


def test_the_state_loads_like_a_checkpoint(checkpoint, capsys):
    main(["export", f"--ckpt={checkpoint}", "--format=state"])
    path = checkpoint.with_name("model.pt")
    assert str(path) in capsys.readouterr().out
    ours, theirs = hybridlit.load(path), hybridlit.load(checkpoint)
    x = torch.randn(4, 3)
    assert torch.equal(ours(x), theirs(x))
    assert ours.preprocessing.same_as(theirs.preprocessing)


def test_circuits_are_what_perceval_reads(checkpoint, tmp_path, capsys, monkeypatch):
    pytest.importorskip("perceval", reason="perceval extra")
    from perceval.serialization import deserialize

    out = tmp_path / "mine.pcvl"
    main(["export", f"--ckpt={checkpoint}", "--format=perceval", f"--out={out}"])
    code = capsys.readouterr().out.split("hybridlit:")[1].partition(str(out))[0]
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    assert capsys.readouterr().out.startswith("quantum_layer |1,0,1,0> ")
    (text,) = json.loads(out.read_text())["circuits"].values()
    experiment = deserialize(text)
    layer = hybridlit.load(checkpoint).quantum_layer.double()
    x = torch.rand(layer.input_size, dtype=torch.float64)
    for feature, value in enumerate(x.tolist()):
        experiment.get_circuit_parameters()[f"x{feature}"].set_value(value)
    unitary = torch.tensor(experiment.unitary_circuit().compute_unitary())
    torch.testing.assert_close(unitary, layer.unitary(x).detach(), rtol=0, atol=1e-12)


def test_every_kind_of_layer_is_read_as_it_was_written():
    pytest.importorskip("perceval", reason="perceval extra")
    from perceval.serialization import deserialize

    kinds = [
        hybridlit.QuantumLayerStack(2, 2, 3, n_modes=3, n_photons=2, computation_space="unbunched"),
        hybridlit.QuantumLayer(2, 3, n_modes=3, input_state={(1, 0, 1): 1, (0, 1, 1): 1j}),
        hybridlit.DistinguishableLayer(2, 3, n_modes=3, n_photons=2),
    ]
    circuits = json.loads(circuits_file(torch.nn.ModuleList(kinds), "{}"))["circuits"]
    found = {name: deserialize(text) for name, text in circuits.items()}
    assert list(found) == ["0.0", "0.1", "1", "2"]
    assert found["0.1"].detection_type.name == "Threshold" and found["0.1"].min_photons_filter == 2
    assert found["2"].noise.indistinguishability == 0
    with pytest.raises(ValueError, match="Linear has no photonic layer"):
        circuits_file(torch.nn.Linear(2, 3), "{}")


def test_what_perceval_would_not_read_again_is_not_written(monkeypatch):
    """Its text of a rule leaves out parentheses."""
    pcvl = pytest.importorskip("perceval", reason="perceval extra")
    layer = hybridlit.QuantumLayer(2, 3, n_modes=3, n_photons=2)
    there = hybridlit.to_perceval(layer)
    there.set_postselection(pcvl.PostSelect("(![0]==1) & [1]<2"))
    monkeypatch.setattr(perceval_file, "to_perceval", lambda *_, **__: there)
    with pytest.raises(ValueError, match="would read another experiment than layer is"):
        circuits_file(torch.nn.ModuleDict({"layer": layer}), "{}")


@pytest.mark.parametrize(
    "words,line", [("--format=onnxx", "onnx"), ("--ckpt=none.ckpt", "no file")]
)
def test_errors_are_one_line(words, line, checkpoint, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["export", f"--ckpt={checkpoint}", words])
    assert ended.value.code == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith("hybridlit export: ")
    assert line in error
