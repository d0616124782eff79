"""What a model scores while a path fails: against the same by hand."""

import json

import pytest
import torch
from model_state import same, snapshot
from torch import nn

from hybridlit import ArrayDataModule, ParallelHybrid, SequentialHybrid, robustness
from hybridlit.analysis.statistics import row_interval


@pytest.fixture
def model():
    """Both paths count, and each has a mean."""
    model = ParallelHybrid(5, 3, hidden_dims=[6], n_modes=4, n_photons=2, fusion="sum")
    with torch.no_grad():
        for layer in [*model.fusion.projections, model.fusion.output]:
            layer.weight.normal_()
    model(torch.randn(50, 5))
    return model


def accuracy(outputs, data):
    return float((outputs.argmax(1) == data.test[1]).float().mean())


def found_of(result, path):
    return {each.how: each for each in result.failures if each.path == path}


def test_the_scores_are_those_by_hand(model, data):
    torch.manual_seed(5)
    earlier = ParallelHybrid(5, 3, hidden_dims=[6], n_modes=4, n_photons=2, fusion="sum")
    earlier(torch.randn(9, 5))
    result = robustness(model, data, noise=[1.0], earlier=earlier.state_dict())
    x = data.test[0]
    model.eval(), earlier.eval()
    with torch.no_grad():
        assert result.whole.mean == pytest.approx(accuracy(model(x), data))
        for path, position in (("classical_path", 0), ("quantum_path", 1)):
            failures = found_of(result, path)
            assert list(failures) == ["lost", "noise 1", "late"]
            with model.without(path):
                lost = accuracy(model(x), data)
            features = model.encoded_features(x), earlier.encoded_features(x)
            now = [model.classical_path(x), model.quantum_path(features[0])]
            before = [earlier.classical_path(x), earlier.quantum_path(features[1])]
            now[position] = before[position]
            assert failures["lost"].score.mean == pytest.approx(lost)
            assert failures["late"].score.mean == pytest.approx(accuracy(model.fusion(now), data))
            for failure in failures.values():
                expected = result.whole.mean - failure.score.mean
                assert failure.loss.mean == pytest.approx(expected)
                assert failure.loss.low <= expected <= failure.loss.high


def test_the_interval_of_a_loss_is_that_of_the_differences_of_rows(model, data):
    result = robustness(model, data, noise=[])
    with torch.no_grad(), model.eval().without("quantum_path"):
        lost = model(data.test[0]).argmax(1) == data.test[1]
    right = model(data.test[0]).argmax(1) == data.test[1]
    differences = (right.double() - lost.double()).numpy()
    assert found_of(result, "quantum_path")["lost"].loss == row_interval(differences, True)[0]


def test_noise_is_of_the_size_of_the_paths_own_spread(model, data):
    """A fusion that keeps one output of one path: the noise is seen in the model's output."""

    class Seen(nn.Module):
        def forward(self, outputs):
            seen.append(outputs[0])
            return outputs[1][:, :3]

    seen = []
    model.fusion = Seen()
    many = torch.randn(4000, 5), torch.arange(4000) % 3
    data.setup("test")
    data.test = many
    robustness(model, data, noise=[0.5])
    spread = model.classical_path(many[0]).std(0)
    whole, _, noisy = (torch.cat(seen[start : start + 400]) for start in (0, 400, 800))
    torch.testing.assert_close((noisy - whole).std(0), 0.5 * spread, rtol=0.05, atol=0)


def test_a_path_that_nothing_listens_to_may_fail(model, data):
    with torch.no_grad():
        model.fusion.projections[1].weight.zero_()
    result = robustness(model, data, noise=[3.0])
    for failure in found_of(result, "quantum_path").values():
        assert failure.score == result.whole and failure.loss.mean == 0


def test_the_model_is_left_as_it_was(model, data):
    model(torch.randn(6, 5)).sum().backward()
    earlier = {name: torch.zeros_like(value) for name, value in model.state_dict().items()}
    before = snapshot(model)
    robustness(model, data, earlier=earlier)
    assert same(before, snapshot(model)) and model.paths.lost == set()
    with pytest.raises(ValueError, match="earlier is no state of this model"):
        robustness(model, data, earlier={"weight": torch.zeros(1)})
    assert same(before, snapshot(model))


def test_a_seed_says_which_noise(model, data):
    once, again = (robustness(model, data, seed=4) for _ in range(2))
    assert once == again


def test_a_result_prints_itself(model, data):
    result = robustness(model, data, noise=[0.5])
    lines = str(result).splitlines()
    assert len(lines) == 6 and lines[0].split() == ["path", "fails", "acc", "lost", "by", "it"]
    assert result.to_markdown().count("\n") == 6
    assert json.loads(json.dumps(result.to_dict()))["whole"]["mean"] == result.whole.mean


def test_a_figure_has_a_bar_for_each_failure(model, data):
    pytest.importorskip("matplotlib")
    (axes,) = robustness(model, data, noise=[0.5]).figure().axes
    assert len(axes.patches) == 4
    assert [text.get_text() for text in axes.get_xticklabels()] == [
        "classical_path",
        "quantum_path",
    ]


def test_values_of_a_regression_are_scored_by_r2():
    torch.manual_seed(0)
    x = torch.randn(60, 3)
    data = ArrayDataModule(x, x[:, :1], batch_size=10)
    model = SequentialHybrid(3, 2, 1, task="regression", n_modes=4, n_photons=2)
    model(x)
    result = robustness(model, data, noise=[0.1])
    assert (
        result.metric == "r2" and [each.path for each in result.failures] == ["quantum_layer"] * 2
    )


def test_what_cannot_be_said_is_refused(model, data):
    with pytest.raises(ValueError, match=r"each of noise must be above 0, got -1"):
        robustness(model, data, noise=[-1.0])
    with pytest.raises(ValueError, match="seen no training rows"):
        robustness(ParallelHybrid(5, 3), data)
