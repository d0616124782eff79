"""Photonic and classical parts of a model are told apart by type and mark, never by name."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from hybridlit import (
    Circuit,
    Data,
    Experiment,
    GradientScaledQuantumLayer,
    ParallelBankHybrid,
    ParallelHybrid,
    PhaseShifter,
    QuantumLayer,
    ResidualHybrid,
    SequentialHybrid,
)
from hybridlit.components import (
    is_photonic,
    layer_in_words,
    mark_photonic,
    model_parts,
    part_parameters,
    photonic_modules,
    split_parameters,
)
from hybridlit.photonics.chip_layer import ChipLayer


def quantum_layer(**options):
    experiment = Experiment("series", n_modes=4, n_photons=2, **options)
    return QuantumLayer(2, 3, experiment=experiment)


class Foreign(nn.Module):
    """A quantum layer of another library: an inner module holds its weights."""

    def __init__(self):
        super().__init__()
        self.weights = nn.Parameter(torch.randn(3))
        self.inner = nn.Linear(2, 2)


def names(model):
    return {kind: set(parameters) for kind, parameters in split_parameters(model).items()}


def test_the_readout_of_a_quantum_layer_is_classical():
    model = nn.Sequential(nn.Linear(3, 2), quantum_layer(use_bandwidth_tuning=True))
    assert names(model) == {
        "classical": {"0.weight", "0.bias", "1.readout.weight", "1.readout.bias"},
        "photonic": {"1.phases", "1.bandwidth"},
    }


def test_names_decide_nothing():
    model = nn.ModuleDict({"quantum_layer": nn.Linear(2, 2), "dense": quantum_layer()})
    split = names(model)
    assert split["photonic"] == {"dense.phases"}
    assert {"quantum_layer.weight", "quantum_layer.bias"} <= split["classical"]


def test_a_subclass_of_the_layer_is_photonic():
    class Mine(QuantumLayer):
        pass

    model = Mine(2, 3, experiment=Experiment("series", n_modes=4, n_photons=2))
    assert is_photonic(model)
    assert names(model)["photonic"] == {"phases"}


def test_reservoir_phases_are_no_parameters():
    model = quantum_layer(reservoir_mode=True)
    assert names(model) == {"classical": {"readout.weight", "readout.bias"}, "photonic": set()}


def test_a_chip_is_our_own():
    chip = Circuit(2).add(PhaseShifter(Data(0)), 0)
    assert layer_in_words(ChipLayer(chip)) == "ChipLayer(modes=2, turned=1, measured=intensities)"
    assert layer_in_words(Foreign()) == "Foreign, a layer of another library"


def test_a_marked_module_is_photonic_with_everything_below_it():
    model = nn.Sequential(nn.Linear(2, 2), mark_photonic(Foreign()))
    assert names(model)["photonic"] == {"1.weights", "1.inner.weight", "1.inner.bias"}
    assert names(model)["classical"] == {"0.weight", "0.bias"}
    assert not is_photonic(model[0]) and not is_photonic(model)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_marks_survive_copies(copied):
    model = copied(nn.Sequential(mark_photonic(Foreign())))
    assert is_photonic(model[0])
    assert names(model)["photonic"] == {"0.weights", "0.inner.weight", "0.inner.bias"}


def test_a_mark_covers_the_readout_too():
    assert names(mark_photonic(quantum_layer()))["classical"] == set()


def test_only_modules_can_be_marked():
    with pytest.raises(TypeError, match=r"nn\.Module, got list"):
        mark_photonic([nn.Linear(1, 1)])


def test_photonic_modules_are_the_outermost():
    layer = quantum_layer()
    wrapped = mark_photonic(nn.Sequential(quantum_layer()))
    model = nn.ModuleDict({"a": layer, "b": wrapped, "again": layer, "c": nn.Linear(2, 2)})
    assert photonic_modules(model) == {"a": layer, "b": wrapped}
    assert photonic_modules(layer) == {"": layer}
    assert photonic_modules(nn.Linear(2, 2)) == {}


def test_every_parameter_occurs_exactly_once():
    layer, dense = quantum_layer(), nn.Linear(2, 2)
    model = nn.ModuleList([layer, dense, layer, dense, nn.Linear(2, 2)])
    model[4].weight = dense.weight
    split = split_parameters(model)
    listed = [id(p) for group in split.values() for p in group.values()]
    assert len(listed) == len(set(listed))
    assert set(listed) == {id(p) for p in model.parameters()}
    assert "1.weight" in split["classical"] and "4.weight" not in split["classical"]
    for group in split.values():
        for name, parameter in group.items():
            assert model.get_parameter(name) is parameter


def test_frozen_parameters_are_listed():
    model = quantum_layer().requires_grad_(False)
    assert names(model)["photonic"] == {"phases"}


def test_a_parameter_of_both_kinds_is_refused():
    model = nn.ModuleList([quantum_layer(), nn.Linear(2, 2)])
    model[1].angles = model[0].phases
    with pytest.raises(ValueError, match=r"'0.phases' \(photonic\) and '1.angles' \(classical\)"):
        split_parameters(model)


def test_shared_phases_of_two_layers_are_photonic():
    model = nn.ModuleList([quantum_layer(), quantum_layer()])
    model[1].phases = model[0].phases
    assert names(model)["photonic"] == {"0.phases"}


def test_parametrized_phases_stay_photonic():
    class Doubled(nn.Module):
        def forward(self, x):
            return 2 * x

    model = quantum_layer()
    parametrize.register_parametrization(model, "phases", Doubled())
    assert names(model)["photonic"] == {"parametrizations.phases.original"}


def test_the_parts_of_every_template():
    def parts(cls, **options):
        return list(model_parts(cls(input_dim=5, output_dim=3, **options)))

    assert parts(SequentialHybrid, quantum_dim=2) == [
        "classical_pre",
        "quantum_layer",
        "classical_post",
    ]
    assert parts(ParallelHybrid) == ["classical_path", "quantum_path", "fusion"]
    assert parts(ParallelHybrid, quantum_dim=2) == [
        "classical_path",
        "projection",
        "quantum_path",
        "fusion",
    ]
    assert parts(ResidualHybrid) == [
        "classical_backbone",
        "projection",
        "quantum_residual",
        "gate",
        "output_layer",
    ]
    assert parts(ParallelBankHybrid) == ["quantum_layers", "fusion"]


def test_a_network_within_a_module_and_a_mixed_block_are_taken_apart():
    circuit = Experiment("series", n_modes=4, n_photons=2)
    block = nn.Sequential(nn.Linear(3, 2), QuantumLayer(2, 4, experiment=circuit))
    scaled = GradientScaledQuantumLayer(QuantumLayer(4, 4, experiment=circuit), 0.1)
    network = nn.Sequential(nn.Linear(3, 3), block, scaled, nn.Linear(4, 1))
    assert list(model_parts(nn.ModuleDict({"net": network}))) == [
        "net.0",
        "net.1.0",
        "net.1.1",
        "net.2",
        "net.3",
    ]


def test_what_cannot_be_taken_apart_is_one_part():
    assert list(model_parts(nn.Linear(2, 2))) == [""]
    circuit = Experiment("series", n_modes=4, n_photons=2)
    assert list(model_parts(QuantumLayer(2, 4, experiment=circuit))) == [""]


def test_every_parameter_is_in_one_part():
    class Loose(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))
            self.first, self.second = nn.Linear(2, 2), nn.Linear(2, 2)
            self.second.weight = self.first.weight

    split = part_parameters(Loose())
    assert {part: list(names) for part, names in split.items()} == {
        "first": ["first.weight", "first.bias"],
        "second": ["second.bias"],
        "other": ["scale"],
    }


def test_a_part_called_other_keeps_its_parameters():
    class Loose(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))
            self.other, self.layer = nn.Linear(2, 2), quantum_layer()

    split = part_parameters(Loose())
    assert set(split["other"]) == {"scale", "other.weight", "other.bias"}
