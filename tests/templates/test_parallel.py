import pytest
import torch
from torch import nn

from hybridlit.blocks import AttentionFusion, ConcatFusion, GatedFusion, SumFusion
from hybridlit.data import ArrayDataModule
from hybridlit.templates import ParallelBankHybrid, ParallelHybrid


def parallel(**changes):
    return ParallelHybrid(**(dict(input_dim=5, output_dim=3) | changes))


def bank(**changes):
    return ParallelBankHybrid(**(dict(input_dim=5, output_dim=3) | changes))


def test_the_default_paths():
    model = parallel()
    assert [type(layer) for layer in model.classical_path] == [
        nn.Linear,
        nn.ReLU,
        nn.Linear,
        nn.ReLU,
        nn.Linear,
    ]
    assert [model.classical_path[i].out_features for i in (0, 2, 4)] == [64, 32, 16]
    assert (model.quantum_path.input_size, model.quantum_path.output_size) == (5, 16)
    assert model.quantum_path.experiment.circuit_type == "parallel_columns"
    assert model.fusion.widths == [16, 16]


def test_the_output_is_the_fusion_of_both_paths():
    model = parallel(quantum_dim=2).eval()
    x = torch.randn(6, 5)
    encoded = torch.sigmoid(model.projection(x))
    expected = model.fusion([model.classical_path(x), model.quantum_path(encoded)])
    assert torch.equal(model(x), expected)


def test_the_bank_is_the_fusion_of_its_layers():
    model = bank(n_layers=3).eval()
    x = torch.randn(6, 5)
    outputs = [layer(torch.sigmoid(x)) for layer in model.quantum_layers.layers()]
    assert torch.allclose(model(x), model.fusion(outputs), atol=1e-6)


def test_each_layer_of_the_bank_sees_its_own_scale():
    model = bank(input_dim=8, scales=[1, 2, 4]).eval()
    x = torch.randn(6, 8)
    fine, middle, coarse = model.quantum_layers.layers()
    first, second, third = model.projection.projections
    pooled = x.reshape(6, 4, 2).mean(2), x.reshape(6, 2, 4).mean(2)
    outputs = [
        fine(torch.sigmoid(first(x))),
        middle(torch.sigmoid(second(pooled[0]))),
        coarse(torch.sigmoid(pooled[1])),
    ]
    assert isinstance(third, nn.Identity)
    assert torch.allclose(model(x), model.fusion(outputs), atol=1e-6)


@pytest.mark.parametrize("make", [parallel, bank])
@pytest.mark.parametrize(
    ("fusion", "kind"),
    [
        ("concat", ConcatFusion),
        ("sum", SumFusion),
        ("gated", GatedFusion),
        ("attention", AttentionFusion),
    ],
)
def test_the_weights_of_a_fusion_are_logged(make, fusion, kind, make_trainer):
    x = torch.randn(30, 5)
    model, trainer = make(fusion=fusion, fusion_dim=7), make_trainer(max_epochs=2)
    assert type(model.fusion) is kind and model.fusion.hidden_dim == 7
    trainer.fit(model, ArrayDataModule(x, (x[:, 0] > 0).long(), batch_size=8))
    logged = {
        name.removeprefix("fusion/weight_"): value.item()
        for name, value in trainer.callback_metrics.items()
        if name.startswith("fusion/")
    }
    if fusion in ("concat", "sum"):
        assert logged == {}
        return
    names = {"classical", "quantum"} if make is parallel else {f"layer_{k}" for k in range(4)}
    assert set(logged) == names
    assert sum(logged.values()) == pytest.approx(1.0, abs=1e-5)
    assert len(set(logged.values())) > 1  # no longer all equal, as a new gate is


def test_the_logged_weight_is_the_mean_over_the_rows_of_an_epoch(make_trainer):
    x = torch.randn(25, 5)
    seen = []

    class Watched(ParallelHybrid):
        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            seen.append(self.fusion.weights)
            return loss

    model, trainer = Watched(5, 3, fusion="attention"), make_trainer()
    trainer.fit(model, ArrayDataModule(x, (x[:, 0] > 0).long(), batch_size=8))
    expected = torch.cat(seen)[:, 1].mean().item()
    assert len(seen[-1]) != len(seen[0])
    logged = trainer.callback_metrics["fusion/weight_quantum"].item()
    assert logged == pytest.approx(expected, rel=1e-5)


def test_a_fusion_of_ones_own(make_trainer):
    class Mean(nn.Module):
        def forward(self, components):
            return torch.stack(components).mean(0)

    class Averaged(ParallelHybrid):
        def build_fusion(self):
            assert self.components == {"classical": 3, "quantum": 3}
            return Mean()

    x = torch.randn(20, 5)
    model = Averaged(5, 3, hidden_dims=[3], quantum_output_dim=3)
    trainer = make_trainer()
    trainer.fit(model, ArrayDataModule(x, (x[:, 0] > 0).long(), batch_size=8))
    assert torch.isfinite(trainer.callback_metrics["train/loss"])


@pytest.mark.parametrize(
    ("make", "changes", "message"),
    [
        (parallel, dict(fusion="product"), "fusion must be one of .*'attention'.*got 'product'"),
        (parallel, dict(fusion_dim=0), "fusion_dim must be at least 1, got 0"),
        (parallel, dict(hidden_dims=[]), "hidden_dims must name at least one width"),
        (parallel, dict(quantum_dim=-1), "quantum_dim must be at least 1"),
        (parallel, dict(normalization="max"), "normalization must be one of"),
        (parallel, dict(input_dim=1, normalization="minmax"), "needs at least 3"),
        (bank, dict(n_layers=0), "n_layers must be at least 1"),
        (bank, dict(n_layers=4, scales=[1, 2]), "n_layers must be None or 2, the number of scales"),
        (bank, dict(scales=[]), "scales must be at least one window of at most 5"),
        (bank, dict(scales=[1, 6]), "scales must be at least one window of at most 5"),
        (bank, dict(scales=[0]), "each entry of scales must be at least 1"),
        (bank, dict(fusion="mean"), "fusion must be one of"),
    ],
)
def test_bad_arguments(make, changes, message):
    with pytest.raises(ValueError, match=message):
        make(**changes)
