"""Methods of `nn.Module` that a circuit overrides, although torch does not document them."""

import inspect

import pytest
import torch
from torch import nn

from hybridlit import ArrayDataModule, Experiment, QuantumLayer
from hybridlit.data.preprocessing import Preprocessing
from hybridlit.photonics import PhotonicCircuit
from hybridlit.photonics.described import DescribedCircuit


def made():
    return QuantumLayer(2, 3, experiment=Experiment("series", n_modes=4, n_photons=2))


@pytest.fixture
def layer():
    return made()


def arguments(kind, name):
    return list(inspect.signature(getattr(kind, name)).parameters)


def test_all_of_them_are_overridden_and_called_as_torch_calls_them():
    ours = [kind for kind in PhotonicCircuit.__mro__ if kind.__module__.startswith("hybridlit")]
    own = {n for kind in ours for n in vars(kind) if n.startswith("_") and n[1] != "_"}
    overrides = own & set(vars(nn.Module))
    assert overrides == {"_apply", "_load_from_state_dict", "_save_to_state_dict"}
    for name in ("_apply", "_save_to_state_dict"):
        assert arguments(PhotonicCircuit, name) == arguments(nn.Module, name)
    theirs = arguments(nn.Module, "_load_from_state_dict")
    assert theirs[:4] == arguments(DescribedCircuit, "_load_from_state_dict")[:4]
    assert all(
        p.default is p.empty
        for p in inspect.signature(nn.Module._load_from_state_dict).parameters.values()
    )


@pytest.mark.parametrize(
    "convert",
    [
        lambda model: model.half(),
        lambda model: model.bfloat16(),
        lambda model: model.to(torch.float16),
        lambda model: model.to(torch.ones(1, dtype=torch.bfloat16)),
    ],
)
def test_apply_is_where_every_conversion_passes(layer, convert):
    model = convert(nn.Sequential(layer, nn.Linear(3, 1)))
    assert model[0].phases.dtype == torch.float32
    assert model[1].weight.dtype in (torch.float16, torch.bfloat16)


def test_saving_asks_a_module_within_another_one(layer):
    state = nn.Sequential(nn.Linear(1, 2), layer).state_dict()
    assert state._metadata["1"]["circuit"]["circuit_type"]
    assert "circuit" not in state._metadata["0"]


def test_loading_tells_a_module_what_was_saved_of_it(layer):
    state = nn.Sequential(layer).state_dict()
    nn.Sequential(made()).load_state_dict(state)
    state._metadata["0"]["circuit"]["input_state"] = "another"
    with pytest.raises(ValueError, match="another circuit than 0"):
        nn.Sequential(layer).load_state_dict(state)


@pytest.mark.parametrize("convert", [nn.Module.half, nn.Module.bfloat16, nn.Module.float])
def test_no_cast_rounds_what_rows_are_prepared_by(convert):
    assert arguments(Preprocessing, "_apply") == arguments(nn.Module, "_apply")
    made = ArrayDataModule(torch.randn(9, 2) + 0.1, torch.randn(9)).preprocessing
    before = made.state()["buffers"]
    convert(nn.Sequential(made))
    assert made.targets.scaler.scale.dtype == torch.float64
    assert all(torch.equal(before[name], value) for name, value in made.named_buffers())
    assert made.to("meta").inputs.low.is_meta
