"""The output of a part is replaced while the block lasts, and never afterwards."""

import pytest
import torch
from torch import nn

from hybridlit.analysis.replacement import mean_outputs, replaced


@pytest.fixture
def model():
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Linear(4, 2))


def test_what_follows_sees_the_replacement(model):
    x = torch.randn(5, 3)
    before = model(x)
    with replaced(model[0], torch.zeros_like):
        assert torch.equal(model(x), model[2].bias.expand(5, 2))
    assert torch.equal(model(x), before)


def test_a_row_stands_in_for_every_row(model):
    row = torch.randn(4, dtype=torch.float64)
    with replaced(model[0], row):
        found = model(torch.randn(5, 3))  # and may be changed in place
    torch.testing.assert_close(found, model[2](row.float().relu()).expand(5, 2))


@pytest.mark.parametrize("in_place", [False, True])
def test_compiled_models_are_changed_as_well(model, in_place):
    x = torch.randn(5, 3)
    if in_place:
        model.compile(backend="eager")
    running = model if in_place else torch.compile(model, backend="eager")
    running(x)
    with replaced(model[0], torch.zeros_like):
        assert torch.equal(running(x), model[2].bias.expand(5, 2))


def test_it_ends_with_an_error(model):
    with pytest.raises(KeyboardInterrupt), replaced(model[0], torch.zeros_like):
        raise KeyboardInterrupt
    assert not model[0]._forward_hooks


def test_another_shape_or_kind_is_refused(model):
    for by in (lambda output: output[0], torch.zeros(2, 4), torch.zeros(1)):
        with pytest.raises(ValueError, match=r"by must keep the shape \(2, 4\), got \("):
            with replaced(model[0], by):
                model(torch.randn(2, 3))
    lstm = nn.LSTM(2, 2)
    with pytest.raises(TypeError, match=r"LSTM must return a tensor .* got tuple"):
        with replaced(lstm, torch.zeros_like):
            lstm(torch.randn(3, 2))


def test_means_are_over_all_rows_whatever_the_batches(model):
    x = torch.randn(7, 3)

    def run():
        for rows in (x[:5], x[5:]):
            model(rows)
        return [5, 2]

    means, reasons = mean_outputs({0: model[0], "last": model[2]}, run)
    assert reasons == {} and list(means) == [0, "last"]
    torch.testing.assert_close(means[0], model[0](x).mean(0).double())
    torch.testing.assert_close(means["last"], model(x).mean(0).double())


def test_reasons_are_given_for_what_has_no_mean(model):
    lstm, twice, unused, single = nn.LSTM(3, 2), nn.Identity(), nn.Identity(), nn.Identity()
    parts = {"model": model, "lstm": lstm, "twice": twice, "unused": unused, "single": single}

    def run():
        for rows in (2, 3):
            x = torch.randn(rows, 3)
            model(x), lstm(x), twice(twice(x)), single(x.sum())
        return [2, 3]

    means, reasons = mean_outputs(parts, run)
    assert list(means) == ["model"]
    assert reasons == {
        "lstm": "it returns a tuple, not a tensor",
        "twice": "it is called 2 times for each batch",
        "unused": "it is not called in the forward pass",
        "single": "its output has not one row for each row of the batch",
    }
    means, _ = mean_outputs(parts, lambda: run() and None)
    assert list(means) == ["model", "twice"]


def test_rows_of_other_numbers_or_shapes_have_no_mean():
    part = nn.Identity()
    words = "its output has not one row for each row of the batch"
    assert mean_outputs({"": part}, lambda: [len(part(torch.ones(2, 3))) + 1])[1] == {"": words}
    both = lambda: (part(torch.ones(2, 3)), part(torch.ones(2, 4))) and None  # noqa: E731
    assert mean_outputs({"": part}, both)[1] == {"": words}
    assert mean_outputs({"": part}, lambda: [len(part(torch.ones(0, 3)))])[1] != {}
