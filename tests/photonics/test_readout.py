import copy
import pickle
from contextlib import nullcontext
from typing import get_args

import pytest
import torch
from torch import nn

from hybridlit.analysis.pictures.circuit_text import describe_circuit, summarize_circuit
from hybridlit.analysis.pictures.layer_pictures import photon_statistics
from hybridlit.analysis.pictures.samples import group_samples
from hybridlit.photonics import (
    Ansatz,
    CircuitType,
    CircuitTypeName,
    ComputationSpace,
    Experiment,
    OutputMappingStrategy,
    QuantumLayer,
    QuantumLayerStack,
    ReadoutName,
    SpaceName,
    StatePattern,
    StatePatternName,
)
from hybridlit.photonics.readouts.grouping import GroupingReadout
from hybridlit.photonics.readouts.linear import LinearReadout
from hybridlit.photonics.readouts.row import Readout

SIX = torch.tensor([[0.1, 0.2, 0.15, 0.25, 0.2, 0.1]])


def test_lexgrouping_sums_runs():
    got = GroupingReadout(6, 3, consecutive=True)(SIX)
    torch.testing.assert_close(got, torch.tensor([[0.3, 0.4, 0.3]]))


def test_modgrouping_sums_residues():
    got = GroupingReadout(6, 3, consecutive=False)(SIX)
    torch.testing.assert_close(got, torch.tensor([[0.35, 0.4, 0.25]]))


@pytest.mark.parametrize("consecutive", [True, False])
@pytest.mark.parametrize("states", [5, 9, 10])
@pytest.mark.parametrize("groups", [2, 3, 4, 5])
def test_groupings_partition_the_outcomes(consecutive, states, groups):
    readout = GroupingReadout(states, groups, consecutive=consecutive)
    membership = readout(torch.eye(states))
    assert (membership.sum(1) == 1).all()
    sizes = membership.sum(0)
    assert sizes.min() >= 1 and sizes.max() - sizes.min() <= 1
    if consecutive:
        assert (readout.group.diff() >= 0).all()


def test_lexgrouping_leaves_no_output_zero_where_padding_would():
    """Nine outcomes in eight runs of ceil(9/8)=2 would fill only five outputs."""
    assert (GroupingReadout(9, 8, consecutive=True)(torch.full((9,), 1 / 9)) > 0).all()


@pytest.mark.parametrize(
    ("name", "consecutive"), [("grouping", True), ("lexgrouping", True), ("modgrouping", False)]
)
def test_layers_group_as_their_strategy_says(name, consecutive):
    experiment = Experiment("series", 4, 2)
    layer = QuantumLayer(3, 4, experiment=experiment, output_mapping_strategy=name)
    x = torch.rand(5, 3)
    readout = GroupingReadout(10, 4, consecutive=consecutive)
    torch.testing.assert_close(layer(x), readout(layer.probabilities(x)))


def test_grouping_is_lexgrouping():
    experiment = Experiment("series", 4, 2)
    first, second = (
        QuantumLayer(3, 4, experiment=experiment, output_mapping_strategy=name)
        for name in ("grouping", "lexgrouping")
    )
    second.load_state_dict(first.state_dict())
    x = torch.rand(5, 3)
    torch.testing.assert_close(first(x), second(x), rtol=0, atol=0)


def test_linear_maps_relative_probabilities():
    readout = LinearReadout(6, 2)
    expected = (SIX * 6 - 1) @ readout.weight.T + readout.bias
    torch.testing.assert_close(readout(SIX), expected)


def test_a_row_without_one_of_its_columns_is_an_error():
    row = dict(words="sums", only_size=None, refusal=lambda space, state, size: "")
    Readout(**row)
    for column in row:
        with pytest.raises(TypeError, match=column):
            Readout(**{name: value for name, value in row.items() if name != column})


def layers_of(strategy, **circuit):
    """A layer and a stack, with the number of outputs that the strategy has, or 3."""
    experiment = Experiment("series", 4, 2, **circuit)
    size = None if strategy.readout.only_size is not None else 3
    given = dict(experiment=experiment, output_mapping_strategy=strategy)
    return QuantumLayer(3, size, **given), QuantumLayerStack(2, 3, size, **given)


@pytest.mark.parametrize("strategy", OutputMappingStrategy)
def test_a_row_says_what_its_module_does(strategy):
    """Of a new row as well: sizes, weights, stacks, other names, words."""
    row, (layer, stack) = strategy.readout, layers_of(strategy)
    assert isinstance(row, Readout) and row.words
    same = strategy if row.equals is None else OutputMappingStrategy(row.equals)
    first_names = [each for each in OutputMappingStrategy if each.readout.equals is None]
    assert [each for each in first_names if each.readout.words == row.words] == [same]
    x = torch.rand(5, 3)
    assert layer(x).shape == (5, layer.output_size) and stack(x).shape == (5, 2, layer.output_size)
    for index, one in enumerate(stack.layers()):
        torch.testing.assert_close(one(x), stack(x)[:, index])
    weights = sum(p.numel() for p in layer.readout.parameters())
    outputs = weights and layer.output_size  # a bias each
    assert 2 * (weights - outputs) <= row.numbers(layer.outcomes, layer.output_size)
    if row.expectation is not None:
        assert isinstance(layer.readout, nn.Identity)
    elif not isinstance(layer.readout, nn.Identity):
        assert layer.readout.reset_parameters() is None


@pytest.mark.parametrize("strategy", OutputMappingStrategy)
def test_every_strategy_can_be_drawn_described_and_looked_at(strategy):
    layer, _ = layers_of(strategy)
    assert f"-> {strategy.readout.words} ->" in describe_circuit(layer)
    assert f"{layer.output_size}, {strategy.readout.words} |" in summarize_circuit(layer, 8)
    x = torch.rand(5, 3)
    found = photon_statistics(layer, x, group_samples(torch.arange(5) % 2))
    assert found.modes is not None
    assert (found.outcomes is None) == (strategy.readout.expectation is not None)


@pytest.mark.parametrize("strategy", OutputMappingStrategy)
def test_no_number_of_outputs_is_refused_that_the_row_allows(strategy):
    experiment = Experiment("series", 4, 2)
    outcomes, row = experiment.outcomes, strategy.readout
    for size in range(1, 13):
        fits = size == row.only_size(outcomes) if row.only_size else True
        fits = fits and not row.refusal(outcomes, experiment.occupation, size)
        with nullcontext() if fits else pytest.raises(ValueError, match=f"got {size}"):
            made = Ansatz(experiment, 3, size, strategy)
            assert made.readout is row


def test_names_for_annotations_are_the_values():
    for name, kind in [
        (CircuitTypeName, CircuitType),
        (ReadoutName, OutputMappingStrategy),
        (SpaceName, ComputationSpace),
        (StatePatternName, StatePattern),
    ]:
        assert get_args(name) == tuple(member.value for member in kind)


@pytest.mark.parametrize(
    "kind", [CircuitType, OutputMappingStrategy, ComputationSpace, StatePattern]
)
def test_members_are_their_strings_and_survive_a_pickle(kind):
    for member in kind:
        assert member == member.value and kind(member.value) is member
        assert pickle.loads(pickle.dumps(member)) is member and copy.deepcopy(member) is member


@pytest.mark.parametrize("strategy", OutputMappingStrategy)
def test_what_reads_all_has_no_module(strategy):
    reads_all = strategy.value == "none" or strategy.readout.expectation is not None
    assert isinstance(layers_of(strategy)[0].readout, nn.Identity) == reads_all


def test_no_word_is_lost():
    """More may come; one that is gone breaks recipes and checkpoints."""
    words = {
        CircuitType: "series parallel parallel_columns",
        ComputationSpace: "fock unbunched",
        StatePattern: "default periodic spaced sequential",
        OutputMappingStrategy: "linear grouping lexgrouping modgrouping none mode_expectations "
        "pair_correlations",
    }
    for kind, known in words.items():
        assert {member.value for member in kind} >= set(known.split())
