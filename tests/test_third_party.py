"""Quantum layers of other libraries take the place of ours, declared with `mark_photonic`."""

import pytest
import torch
from lightning.pytorch import Trainer
from quiet_trainer import quiet
from third_party import Plain

from hybridlit import ArrayDataModule, SequentialHybrid, mark_photonic, split_parameters
from hybridlit.optimizers import create_hybrid_optimizer


def plain(features):
    return Plain(features)


def merlin(features):
    library = pytest.importorskip("merlin", reason="needs MerLin")
    return library.QuantumLayer.simple(features, output_size=4)


def pennylane(features):
    qml = pytest.importorskip("pennylane", reason="needs PennyLane")

    @qml.qnode(qml.device("default.qubit", wires=features), interface="torch")
    def circuit(inputs, weights):
        qml.AngleEmbedding(inputs, wires=range(features))
        qml.BasicEntanglerLayers(weights, wires=range(features))
        return [qml.expval(qml.PauliZ(wire)) for wire in range(features)]

    layer = qml.qnn.TorchLayer(circuit, {"weights": (2, features)})
    layer.output_size = features
    return layer


class WithLayer(SequentialHybrid):
    """The template around a layer that a function of this module makes."""

    def __init__(self, library="plain", **arguments):
        super().__init__(input_dim=5, quantum_dim=3, output_dim=3, **arguments)

    def build_quantum(self):
        return mark_photonic(globals()[self.hparams.library](self.hparams.quantum_dim))


@pytest.fixture(params=["plain", "merlin", "pennylane"])
def library(request):
    return request.param


@pytest.fixture
def data():
    x = torch.randn(60, 5, generator=torch.Generator().manual_seed(1))
    return ArrayDataModule(x, (x[:, 0] > 0).long() + (x[:, 1] > 0).long(), batch_size=10)


def fit(model, data, path, epochs=1):
    trainer = quiet(max_epochs=epochs, default_root_dir=path)
    trainer.fit(model, data)
    return trainer


def test_all_of_it_counts_as_photonic_and_gets_its_rate(library):
    model = WithLayer(library, classical_lr=1e-2, quantum_lr=1e-3)
    own = {id(p) for p in model.quantum_layer.parameters()}
    assert own
    assert {id(p) for p in split_parameters(model)["photonic"].values()} == own
    groups = {group["name"]: group for group in model.configure_optimizers().param_groups}
    assert {id(p) for p in groups["photonic"]["params"]} == own
    assert groups["photonic"]["lr"] == 1e-3 and groups["classical"]["lr"] == 1e-2
    photonic = create_hybrid_optimizer(model)[1]
    assert {id(p) for group in photonic.param_groups for p in group["params"]} == own


def test_it_trains(library, tmp_path, data):
    torch.manual_seed(1)
    model = WithLayer(library, classical_lr=1e-2, dropout=0.0)
    before = [p.detach().clone() for p in model.parameters()]
    losses = [fit(model, data, tmp_path, n).callback_metrics["train/loss"] for n in (1, 25)]
    assert losses[1] < 0.9 * losses[0]
    assert not any(map(torch.equal, before, model.parameters()))


def test_stages_freeze_it(library, tmp_path, data):
    model = WithLayer(library, stages=[["classical", 1]])
    before = [p.detach().clone() for p in model.quantum_layer.parameters()]
    fit(model, data, tmp_path)
    assert all(map(torch.equal, before, model.quantum_layer.parameters()))


def test_a_checkpoint_brings_it_back(library, tmp_path, data):
    model = WithLayer(library)
    fit(model, data, tmp_path).save_checkpoint(tmp_path / "last.ckpt")
    restored = WithLayer.load_from_checkpoint(tmp_path / "last.ckpt")
    assert set(split_parameters(restored)["photonic"]) == set(split_parameters(model)["photonic"])
    x = torch.randn(7, 5)
    with torch.no_grad():
        torch.testing.assert_close(restored.eval()(x), model.eval()(x), rtol=0, atol=0)


def test_an_unmarked_layer_is_noticed():
    class Unmarked(WithLayer):
        def build_quantum(self):
            return plain(self.hparams.quantum_dim)

    data = ArrayDataModule(torch.rand(20, 5), torch.arange(20) % 3)
    trainer = Trainer(
        fast_dev_run=True, accelerator="cpu", enable_progress_bar=False, enable_model_summary=False
    )
    with pytest.warns(UserWarning, match="Unmarked has no photonic module, so all of it counts"):
        trainer.fit(Unmarked(), data)
