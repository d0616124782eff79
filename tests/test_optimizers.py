"""The pair of optimizers for plain torch, and what they are made of."""

import math

import pytest
import torch
from torch import nn

from hybridlit import Experiment, QuantumLayer, mark_photonic, split_parameters
from hybridlit.optimizers import create_hybrid_optimizer, trainable_parameters


class Hybrid(nn.Module):
    """Names that mislead, a layer registered twice, tied weights."""

    def __init__(self):
        super().__init__()
        circuit = Experiment("series", n_modes=4, n_photons=2, use_bandwidth_tuning=True)
        self.pre_quantum = nn.Linear(3, 3)
        self.tied = nn.Linear(3, 3)
        self.tied.weight = self.pre_quantum.weight
        self.ql = QuantumLayer(3, 4, experiment=circuit)
        self.again = self.ql

    def forward(self, x):
        return self.ql(torch.sigmoid(self.tied(self.pre_quantum(x))))


def ids(parameters):
    return sorted(map(id, parameters))


def held(optimizer):
    return ids(p for group in optimizer.param_groups for p in group["params"])


def test_each_parameter_is_in_exactly_one_optimizer_by_type():
    model = Hybrid()
    classical, photonic = create_hybrid_optimizer(model)
    assert held(photonic) == ids([model.ql.phases, model.ql.bandwidth])
    assert sorted(held(classical) + held(photonic)) == ids(model.parameters())
    assert type(classical) is type(photonic) is torch.optim.Adam
    assert (classical.defaults["lr"], photonic.defaults["lr"]) == (1e-3, 1e-4)


def test_learning_rates_reach_their_optimizers():
    classical, photonic = create_hybrid_optimizer(Hybrid(), classical_lr=0.1, quantum_lr=0.2)
    assert (classical.param_groups[0]["lr"], photonic.param_groups[0]["lr"]) == (0.1, 0.2)


def test_frozen_parameters_are_left_out():
    model = Hybrid()
    model.ql.phases.requires_grad_(False)
    model.tied.bias.requires_grad_(False)
    classical, photonic = create_hybrid_optimizer(model)
    assert held(photonic) == ids([model.ql.bandwidth])
    assert id(model.tied.bias) not in held(classical)
    assert ids(trainable_parameters(model)["photonic"]) == ids([model.ql.bandwidth])


def test_both_optimizers_train_their_component_only():
    model = Hybrid()
    x = torch.randn(20, 3)
    for own, other, optimizer in zip(
        ["classical", "photonic"],
        ["photonic", "classical"],
        create_hybrid_optimizer(model),
        strict=True,
    ):
        before = {
            name: {key: p.detach().clone() for key, p in parameters.items()}
            for name, parameters in split_parameters(model).items()
        }
        model(x).square().sum().backward()
        optimizer.step()
        model.zero_grad()
        after = split_parameters(model)
        assert all(torch.equal(p, after[other][key]) for key, p in before[other].items())
        assert not any(torch.equal(p, after[own][key]) for key, p in before[own].items())


@pytest.mark.parametrize("component", ["classical", "photonic"])
def test_a_component_with_nothing_to_train_is_an_error_with_a_remedy(component):
    model = Hybrid()
    for parameter in split_parameters(model)[component].values():
        parameter.requires_grad_(False)
    with pytest.raises(ValueError, match=f"no trainable {component} parameters: .*mark_photonic"):
        create_hybrid_optimizer(model)


def test_the_remedy_for_a_foreign_layer_works():
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    with pytest.raises(ValueError, match="no trainable photonic"):
        create_hybrid_optimizer(model)
    mark_photonic(model[1])
    assert held(create_hybrid_optimizer(model)[1]) == ids(model[1].parameters())


@pytest.mark.parametrize("name", ["classical_lr", "quantum_lr"])
@pytest.mark.parametrize(
    ("value", "error"), [(0.0, ValueError), (math.inf, ValueError), ("1", TypeError)]
)
def test_bad_learning_rates(name, value, error):
    with pytest.raises(error, match=name):
        create_hybrid_optimizer(Hybrid(), **{name: value})
