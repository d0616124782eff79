"""The pass over the training data that fits normalization layers before training."""

import copy
import logging

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from hybridlit.blocks import NormalizationLayer
from hybridlit.templates import HybridModule, SequentialHybrid


def test_an_unfitted_layer_is_fitted_to_what_reaches_it(data, make_model, make_trainer):
    model = make_model(normalization="standard")
    reference = model.classical_pre[:-1]
    with torch.no_grad():
        reached = reference.eval()(data.train[0])
    reference.train()
    make_trainer(max_epochs=0).fit(model, data)
    layer = model.classical_pre[-1]
    assert layer.fitted and layer.count == len(data.train[0])
    assert torch.allclose(layer.mean, reached.mean(0), atol=1e-6)
    assert torch.allclose(layer.std, reached.std(0, correction=0), atol=1e-6)


@pytest.mark.parametrize("shuffle", ["own generator", "global generator", "data module"])
def test_training_is_the_same_as_with_a_layer_fitted_beforehand(
    shuffle, data, make_model, make_trainer
):
    def source():
        if shuffle == "data module":
            return data
        own = torch.Generator().manual_seed(7) if shuffle == "own generator" else None
        return DataLoader(TensorDataset(*data.train), batch_size=7, shuffle=True, generator=own)

    def train(model, epochs):
        torch.manual_seed(11)
        make_trainer(max_epochs=epochs).fit(model, source())
        return model

    fitted_by_trainer = make_model(normalization="standard")
    fitted_before = copy.deepcopy(fitted_by_trainer)
    train(fitted_before, epochs=0)  # fits, does not train
    assert fitted_before.classical_pre[-1].fitted and not fitted_by_trainer.classical_pre[-1].fitted
    one, two = train(fitted_by_trainer, epochs=2), train(fitted_before, epochs=2)
    for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_nothing_is_disturbed(data, make_model, make_trainer):
    model = make_model(normalization="standard")
    model.classical_post.eval()
    running = model.classical_pre[1].running_mean.clone()
    before = torch.get_rng_state()
    seen = {}

    model.on_train_start = lambda: seen.update(
        rng=torch.get_rng_state(), pre=model.classical_pre.training
    )
    make_trainer(max_epochs=0).fit(model, data)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(model.classical_pre[1].running_mean, running)
    assert model.classical_pre.training and not model.classical_post.training
    assert not any(m._forward_pre_hooks for m in model.modules())


def test_a_chain_of_layers_is_fitted_in_order(data, make_trainer):
    class Chain(HybridModule):
        def __init__(self):
            super().__init__(output_dim=3)
            # registered in another order than they are used
            self.second = NormalizationLayer("standard", 4)
            self.first = NormalizationLayer("standard", 5)
            self.dense, self.head = nn.Linear(5, 4), nn.Linear(4, 3)

        def forward(self, x):
            return self.head(self.second(self.dense(self.first(x))))

    model = Chain()
    first, dense = model.first, model.dense
    with torch.no_grad():
        expected = dense(NormalizationLayer("standard", 5).fit(data.train[0])(data.train[0]))
    make_trainer(max_epochs=0).fit(model, data)
    assert first.count == model.second.count == len(data.train[0])
    assert torch.allclose(model.second.mean, expected.mean(0), atol=1e-6)


def test_it_happens_once_and_is_announced(data, make_model, make_trainer, caplog):
    model = make_model(normalization="standard")
    with caplog.at_level(logging.INFO):
        make_trainer().fit(model, data)
        mean = model.classical_pre[-1].mean.clone()
        make_trainer().fit(model, data)
    assert torch.equal(model.classical_pre[-1].mean, mean)
    messages = [r.getMessage() for r in caplog.records if "Fitted" in r.getMessage()]
    assert messages == ["Fitted the normalization of classical_pre.4 to the training data."]


def test_limits_on_the_training_data_hold(data, make_model, make_trainer):
    model = make_model(normalization="standard")
    make_trainer(limit_train_batches=2).fit(model, data)
    assert model.classical_pre[-1].count == 20


@pytest.mark.parametrize("precision", ["64-true", "bf16-true", "16-true"])
def test_other_precisions(precision, data, make_model, make_trainer):
    model = make_model(normalization="standard")
    make_trainer(precision=precision).fit(model, data)
    assert model.classical_pre[-1].count == 36


def test_a_layer_that_is_never_reached_is_an_error(data, make_model, make_trainer):
    class Aside(SequentialHybrid):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.unused = NormalizationLayer("standard", 2)

    with pytest.raises(RuntimeError, match=r"\['unused'\]: the forward pass did not reach them"):
        make_trainer().fit(make_model(Aside), data)


def test_data_without_a_length_are_an_error(make_model, make_trainer):
    class Stream(IterableDataset):
        def __iter__(self):
            yield torch.randn(5), 0

    with pytest.raises(RuntimeError, match=r"call \.fit\(x\)"):
        make_trainer().fit(make_model(normalization="standard"), DataLoader(Stream()))
