import pytest
import torch
from torch import nn

from hybridlit.photonics import Experiment, OutputMappingStrategy, QuantumLayer
from hybridlit.photonics.readout import GroupingReadout, LinearReadout, make_readout

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


def test_every_strategy_has_a_module_and_a_new_one_is_an_error():
    for strategy in OutputMappingStrategy:
        module = make_readout(strategy, 6, 6)
        outputs = module(torch.rand(3, 6))
        reads_all = strategy.value in ("none", "mode_expectations", "pair_correlations")
        assert isinstance(module, nn.Identity) == reads_all
        assert outputs.shape == (3, 6)
    with pytest.raises(ValueError, match="make_readout must know of every strategy"):
        make_readout("parity", 6, 2)
