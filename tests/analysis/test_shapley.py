"""Shapley values against games whose values are known, and the axioms on real models."""

import itertools
import json
import math

import pytest
import torch
from quiet_trainer import quiet
from torch import nn

from hybridlit import ArrayDataModule, HybridModule, ParallelHybrid, SequentialHybrid
from hybridlit.analysis.ablation.shapley import shapley_values

# where the values are known exactly, all rows are in both splits
pytestmark = pytest.mark.filterwarnings("ignore:.* are in the training data too:UserWarning")


class Additive(HybridModule):
    """Columns of x, each through a module of its own, added up."""

    def __init__(self, parts=2):
        super().__init__(output_dim=1, task="regression")
        self.parts = nn.ModuleList(nn.Linear(1, 1, bias=False) for _ in range(parts))
        for part in self.parts:
            nn.init.ones_(part.weight)

    def forward(self, x):
        return sum(part(x[:, [k]]) for k, part in enumerate(self.parts))


class Product(Additive):
    def forward(self, x):
        return self.parts[0](x[:, [0]]) * self.parts[1](x[:, [1]])


def grid(columns, scales=(1.0, 2.0, 3.0, 4.0)):
    """All sign patterns: columns of mean 0 that are independent exactly."""
    rows = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=columns)))
    return rows * torch.tensor(scales[:columns])


def exact(x, y):
    """Data whose training and test rows are the same."""
    options = dict(scaling=None, target_scaling=None, batch_size=3)
    return ArrayDataModule(x, y, test=(x, y), val_fraction=0.0, **options)


def names(count):
    return [f"parts.{index}" for index in range(count)]


def test_independent_parts_share_the_variance():
    """y = a + b + c with variances 1, 4 and 9: each is worth its share of the 14 in R2."""
    x = grid(3)
    found = shapley_values(Additive(3), exact(x, x.sum(1)), parts=names(3))
    shares = dict(zip(names(3), (1 / 14, 4 / 14, 9 / 14), strict=True))
    assert found.values == pytest.approx(shares, abs=1e-6)
    assert found.marginal == pytest.approx(shares, abs=1e-6) and found.interaction is None
    assert found.scores[""] == pytest.approx(0, abs=1e-6)


def test_a_product_is_all_interaction():
    """Either factor alone is worth nothing, both are worth everything: half each."""
    x = grid(2)
    found = shapley_values(Product(), exact(x, x.prod(1)), parts=names(2))
    assert list(found.values.values()) == pytest.approx([0.5, 0.5], abs=1e-6)
    assert list(found.marginal.values()) == pytest.approx([1.0, 1.0], abs=1e-6)
    assert found.interaction == pytest.approx(1.0, abs=1e-6)


def test_what_both_parts_know_is_shared():
    """Both columns are the target: each halves the error alone, and they overlap."""
    x = grid(1, (2.0,)).expand(-1, 2).repeat(3, 1)
    found = shapley_values(Additive(), exact(x / 2, x[:, 0]), parts=names(2))
    # alone: error (y / 2)^2 / y^2 = 1 / 4, so R2 = 3 / 4
    assert list(found.values.values()) == pytest.approx([0.5, 0.5], abs=1e-6)
    assert found.interaction == pytest.approx(1 - 0.75 - 0.75, abs=1e-6)


@pytest.mark.parametrize("none", [0.0, 5.0])
def test_the_interaction_does_not_depend_on_where_a_score_begins(none):
    x = grid(2)

    def score(outputs, targets):
        return none - (outputs - targets)[:, 0].square()

    found = shapley_values(Additive(), exact(x, x.sum(1)), parts=names(2), score=score)
    assert found.scores[""] == pytest.approx(none - 5, abs=1e-6)  # the variance of both
    assert found.interaction == pytest.approx(0, abs=1e-6)


def by_orders(found, parts):
    """Shapley's own definition: the mean contribution over all orders."""
    values = dict.fromkeys(parts, 0.0)
    for order in itertools.permutations(parts):
        for position, name in enumerate(order):
            before = [each for each in parts if each in order[:position]]
            after = [each for each in parts if each in before or each == name]
            gained = found.scores[" + ".join(after)] - found.scores[" + ".join(before)]
            values[name] += gained / math.factorial(len(parts))
    return values


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_efficiency_and_the_definition_by_orders(count):
    torch.manual_seed(0)
    x = torch.randn(60, 5)
    data = ArrayDataModule(x, (x[:, 0] > 0).long() + (x[:, 1] > 0).long(), batch_size=16)
    model = ParallelHybrid(5, 3, quantum_dim=3, n_modes=4)
    quiet(max_epochs=10).fit(model, data)
    parts = ["classical_path", "projection", "quantum_path", "fusion"][:count]
    found = shapley_values(model, data, parts=parts)
    assert len(found.scores) == 2**count and found.metric == "acc"
    whole = found.scores[" + ".join(parts)] - found.scores[""]
    assert sum(found.values.values()) == pytest.approx(whole, abs=1e-12)
    assert found.values == pytest.approx(by_orders(found, parts), abs=1e-12)


def test_intervals_are_those_of_means_over_rows():
    x = grid(4).repeat(3, 1)
    found = shapley_values(Additive(4), exact(x, x.sum(1)), parts=names(4))
    shares = torch.tensor([1.0, 4.0, 9.0, 16.0]) / 30
    for value, interval, share in zip(
        found.values.values(), found.intervals.values(), shares, strict=True
    ):
        assert interval.mean == value == pytest.approx(float(share), abs=1e-6)
        assert interval.low < value < interval.high
    unused = Additive()
    nn.init.zeros_(unused.parts[1].weight)
    x = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
    found = shapley_values(unused, exact(x, x.sum(1)), parts=names(2)).intervals
    assert (found["parts.1"].low, found["parts.1"].high) == (0, 0) != found["parts.0"].low


def test_rows_in_two_splits_are_warned_of():
    x = grid(2)
    with pytest.warns(UserWarning, match="4 of 4 rows of the test data are in the training data"):
        shapley_values(Product(), exact(x, x.prod(1)), parts=names(2))


def test_a_part_that_does_not_matter_is_worth_nothing():
    x = grid(2)
    model = Additive()
    nn.init.zeros_(model.parts[1].weight)
    found = shapley_values(model, exact(x, x.sum(1)), parts=names(2))
    assert found.values["parts.1"] == 0 and found.interaction == pytest.approx(0, abs=1e-12)


def test_the_model_is_left_as_it_was():
    model = SequentialHybrid(5, 2, 3, n_modes=4, n_photons=2)
    x = torch.randn(60, 5)
    data = ArrayDataModule(x, (x[:, 0] > 0).long() * 2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    found = shapley_values(model, data)
    assert list(found.values) == ["classical_pre", "quantum_layer", "classical_post"]
    assert model.training and torch.equal(torch.get_rng_state(), state) and data.trainer is None
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_text_and_plain_values():
    x = grid(2)
    found = shapley_values(Product(), exact(x, x.prod(1)), parts=names(2))
    assert "parts.0        +0.5000  -0.2791 to +0.9458  +1.0000" in str(found)
    assert "Interaction of the two: +1.0000." in str(found)
    assert json.loads(json.dumps(found.to_dict())) == found.to_dict()


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (names(5), "parts must be at most 4, got 5"),
        ([], "parts must name at least one of"),
        (["parts.9"], "parts must be some of .* got 'parts.9'"),
    ],
)
def test_bad_parts(parts, message):
    x = torch.randn(20, 5)
    with pytest.raises(ValueError, match=message):
        shapley_values(Additive(5), exact(x, x.sum(1)), parts=parts)


def test_parts_that_give_no_row_for_each_row():
    class Unused(Additive):
        def forward(self, x):
            return self.parts[0](x[:, [0]])

    x = grid(2)
    with pytest.raises(ValueError, match=r"part 'parts.1' cannot be replaced: it is not called"):
        shapley_values(Unused(), exact(x, x.sum(1)), parts=names(2))
