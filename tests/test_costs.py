"""What is estimated of circuits and models against what processes take, in earnest."""

import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]


@pytest.fixture
def costs(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "recipes" / "benchmarks"))
    import costs

    return costs


def test_the_largest_circuit_within_a_budget_takes_that_much_and_the_next_one_more(costs):
    """To 20 % of memory; times, which other programs change, are for the table."""
    budgets = [budget for budget in costs.BUDGETS if budget.endswith("iB")]
    found = costs.largest_within(budgets, ["mib"])
    assert len(budgets) == 3 and found["worst_mib"] < 1.2
    for largest, larger in zip(found["points"][::2], found["points"][1::2], strict=True):
        assert largest["share"] < 1.2, largest
        assert larger["share"] > 1, larger


def test_models_cost_what_is_told(costs):
    found = costs.models(["mib"])
    for point in found["points"]:
        small = point["measured_mib"] < 20  # where pages and caches of torch count
        assert point["predicted_mib"] == pytest.approx(
            point["measured_mib"], rel=0.4 if small else 0.2, abs=0.3
        ), point
