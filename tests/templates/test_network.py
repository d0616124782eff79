"""Fronts, shapes and the twin: what all templates take from `HybridNetwork`."""

import pytest
import torch
from torch import nn

from hybridlit.blocks import CNNFront, Conv1dFront, GRUFront, MatchedMLP
from hybridlit.components import split_parameters
from hybridlit.data import ArrayDataModule
from hybridlit.templates import ParallelBankHybrid, ParallelHybrid, SequentialHybrid


def make(cls=SequentialHybrid, **changes):
    arguments = dict(input_dim=None, output_dim=3, n_modes=4, n_photons=2)
    if issubclass(cls, SequentialHybrid):
        arguments["quantum_dim"] = 2
    return cls(**(arguments | changes))


@pytest.mark.parametrize(
    ("front", "shape", "kind"),
    [("cnn", [1, 6, 5], CNNFront), ("conv1d", [7, 2], Conv1dFront), ("gru", [7, 2], GRUFront)],
)
def test_fronts(front, shape, kind):
    model = make(front=front, input_shape=shape)
    assert type(model.front) is kind
    assert model.feature_shape == [32] and model.classical_pre[0].in_features == 32
    assert make(front=front, input_shape=shape, front_dim=9).feature_dim == 9
    x = torch.randn(4, *shape)
    model.eval()
    chained = model.classical_post(model.quantum_layer(model.classical_pre(model.front(x))))
    assert torch.equal(model(x), chained)
    assert torch.equal(model(x.flatten(1)), chained)


def test_the_shape_gives_the_number_of_features():
    model = make(input_shape=[3, 4])
    assert model.hparams.input_dim == 12 and model.front is None
    assert model(torch.randn(5, 3, 4)).shape == model(torch.randn(5, 12)).shape == (5, 3)


class Backbone(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5))


class WithBackbone(SequentialHybrid):
    def build_front(self):
        return Backbone()


def test_a_backbone_of_ones_own():
    model = make(WithBackbone, input_dim=6)
    assert model.feature_dim == 8 and model.classical_pre[0].in_features == 8
    assert model(torch.randn(5, 6)).shape == (5, 3)
    with pytest.raises(ValueError, match=r"front_dim=7\), got outputs of shape \(2, 8\)"):
        make(WithBackbone, input_dim=6, front_dim=7)


def test_building_keeps_the_modes_of_a_backbone():
    class PartlyFixed(SequentialHybrid):
        def build_front(self):
            backbone = Backbone()
            backbone[1].eval()
            return backbone

    model = make(PartlyFixed, input_dim=6)
    assert model.front.training and not model.front[1].training


def test_a_frozen_front_is_never_changed(make_trainer):
    x = torch.randn(24, 6)
    model = make(WithBackbone, input_dim=6, freeze_front=True)
    assert not model.front.training and not model.front[1].training
    before = {name: value.clone() for name, value in model.front.state_dict().items()}
    trainer = make_trainer(max_epochs=2)
    trainer.fit(model, ArrayDataModule(x, (x[:, 0] > 0).long(), batch_size=8))
    for name, value in model.front.state_dict().items():
        assert torch.equal(value, before[name]), name
    trained = {id(p) for group in trainer.optimizers[0].param_groups for p in group["params"]}
    assert trained.isdisjoint(id(p) for p in model.front.parameters())
    model.train()
    assert model.training and model.classical_pre.training
    assert not any(module.training for module in model.front.modules())


def test_a_front_that_is_not_frozen_trains(make_trainer):
    model = make(WithBackbone, input_dim=6)
    assert all(module.training for module in model.front.modules())
    assert all(p.requires_grad for p in model.front.parameters())
    x = torch.randn(24, 6)
    before = model.front[0].weight.clone()
    make_trainer().fit(model, ArrayDataModule(x, (x[:, 0] > 0).long(), batch_size=8))
    assert not torch.equal(before, model.front[0].weight)


def test_the_twin_changes_the_quantum_part_only():
    def build(quantum):
        torch.manual_seed(4)
        return make(input_dim=6, quantum=quantum, quantum_dim=3)

    photonic, twin = build("photonic"), build("mlp")
    assert isinstance(twin.quantum_layer, MatchedMLP)
    assert twin.quantum_layer.output_size == photonic.quantum_layer.output_size
    assert torch.equal(photonic.classical_pre[0].weight, twin.classical_pre[0].weight)
    assert split_parameters(twin)["photonic"] == {}
    count = sum(p.numel() for p in photonic.quantum_layer.parameters())
    assert sum(p.numel() for p in twin.quantum_layer.parameters()) == pytest.approx(count, rel=0.1)


@pytest.mark.parametrize(
    ("mapping", "outputs"), [("none", 10), ("mode_expectations", 4), ("pair_correlations", 10)]
)
@pytest.mark.parametrize("cls", [SequentialHybrid, ParallelHybrid, ParallelBankHybrid])
@pytest.mark.parametrize("quantum", ["photonic", "mlp"])
def test_mappings_with_one_possible_size(mapping, outputs, cls, quantum):
    model = make(cls, input_dim=3, output_mapping_strategy=mapping, quantum=quantum)
    part = {
        SequentialHybrid: "quantum_layer",
        ParallelHybrid: "quantum_path",
        ParallelBankHybrid: "quantum_layers",
    }[cls]
    assert getattr(model, part).output_size == outputs
    assert model(torch.randn(4, 3)).shape == (4, 3)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (dict(), ValueError, "give input_dim or input_shape, got neither"),
        (dict(input_shape=[]), ValueError, r"input_shape must be \[features\]"),
        (dict(input_shape=[1, 2, 3, 4]), ValueError, r"input_shape must be \[features\]"),
        (dict(input_shape=6), TypeError, "input_shape must be a list of integers or None"),
        (dict(input_shape=[2.5]), TypeError, r"input_shape\[0\] must be an integer"),
        (
            dict(input_dim=5, input_shape=[2, 3]),
            ValueError,
            r"input_dim must be 6, the product of input_shape=\[2, 3\], or None, got 5",
        ),
        (dict(input_dim=6, front="vit"), ValueError, "front must be one of .*'cnn'.*got 'vit'"),
        (
            dict(input_shape=[2, 3], front="cnn"),
            ValueError,
            r"input_shape must be \[channels, height, width\] with front='cnn', got \[2, 3\]",
        ),
        (dict(input_dim=6, front="gru"), ValueError, r"must be \[steps, features\] with front"),
        (dict(input_dim=6, freeze_front=True), ValueError, "freeze_front=True needs a front"),
        (dict(input_dim=6, front_dim=4), ValueError, "front_dim=4 needs a front"),
        (dict(input_shape=[6, 1], front="gru", front_dim=0), ValueError, "front_dim must be at"),
        (dict(input_dim=6, freeze_front="no"), TypeError, "freeze_front must be True or False"),
        (
            dict(input_dim=6, checkpoint_quantum=1),
            TypeError,
            "checkpoint_quantum must be True or False",
        ),
        (dict(input_dim=6, quantum="qubit"), ValueError, "quantum must be one of"),
    ],
)
def test_bad_arguments(changes, error, message):
    with pytest.raises(error, match=message):
        make(**changes)


@pytest.mark.parametrize("shape", [(5, 3, 2), (5, 7), (6,), (5, 1, 2, 3)])
def test_bad_inputs(shape):
    model = make(input_shape=[2, 3])
    with pytest.raises(ValueError, match=r"\(batch, 2, 3\) or \(batch, input_dim=6\), got"):
        model(torch.randn(shape))
    with pytest.raises(TypeError, match="float64 and the model is float32"):
        model(torch.randn(5, 2, 3).double())
