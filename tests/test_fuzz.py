"""The fuzz script: its checks see what they are for, and nothing is found in some hundred cases."""

import copy
import time

import pytest
import torch
from fuzz import case_of, outcomes, report
from fuzzing import judging
from fuzzing.circuits import check_layer
from fuzzing.judging import FAULTS, OK, REFUSED, Case, judged
from fuzzing.oracles import check_features_count, exact_probabilities
from fuzzing.templates import check_template

from hybridlit import Experiment, QuantumLayer, QuantumLayerStack, SequentialHybrid


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_is_found(seed):
    found = [
        report(number, seed, case, outcome)
        for number, case, outcome in outcomes(seed, range(300))
        if outcome.word in FAULTS
    ]
    assert not found, "\n".join(found)


def test_a_case_is_the_same_each_time():
    for number in range(30):
        assert str(case_of(5, number)) == str(case_of(5, number))
    assert len({str(case_of(5, number)) for number in range(30)}) > 20


# --- how cases are judged -------------------------------------------------------------------------


def raising(error):
    def call():
        raise error

    return call


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (ValueError("width must be at least 1"), REFUSED),
        (MemoryError("a height of 9 needs 3 TiB"), REFUSED),
        (TypeError("x must be a tensor"), REFUSED),
        (ValueError("widths do not fit"), "other exceptions"),  # another word
        (ValueError("out of range"), "other exceptions"),
        (RuntimeError("width must be at least 1"), "other exceptions"),
    ],
)
def test_refusals_name_an_argument(error, word):
    case = Case("box", {"width": 0}, ("width", "height"), raising(error), must_refuse="width")
    assert judged(case).word == word


def test_what_should_be_refused_and_is_not_is_silently_wrong():
    assert judged(Case("box", {}, (), lambda: 1, must_refuse="width")).word == "silently wrong"
    assert judged(Case("box", {}, (), lambda: 1)).word == OK


def test_a_check_that_is_refused_is_a_fault():
    case = Case("box", {"width": 1}, (), lambda: 1, lambda result: raising(ValueError("width"))())
    assert judged(case).word == "other exceptions"


def test_what_takes_too_long_is_a_hang(monkeypatch):
    monkeypatch.setattr(judging, "TIME_LIMIT", 0.05)
    assert judged(Case("box", {}, (), lambda: time.sleep(5))).word == "hangs"
    assert judged(Case("box", {}, (), lambda: 1)).word == OK


# --- what must hold of results --------------------------------------------------------------------


def made(count=None, **options):
    experiment = Experiment("series", 4, 2, use_bandwidth_tuning=True, **options)
    if count is None:
        return QuantumLayer(3, 4, experiment=experiment)
    return QuantumLayerStack(count, 3, 4, experiment=experiment)


def word_of(layer, x=None):
    """How a layer would be judged that `check_layer` looks at."""
    x = torch.rand(3, 3) if x is None else x

    def check(outputs):
        check_layer(layer, lambda: copy.deepcopy(layer), x, outputs)

    return judged(Case("layer", {}, (), lambda: layer(x), check)).word


@pytest.mark.parametrize("count", [None, 2])
def test_a_sound_layer_passes(count):
    layer = made(count)
    torch.nn.init.uniform_(layer.bandwidth, 0.5, 1.5)
    assert word_of(layer) == OK
    torch.testing.assert_close(
        exact_probabilities(layer, torch.rand(3, 3)).sum(-1).flatten(),
        torch.ones(3 * (count or 1), dtype=torch.float64),
    )


class Damaged(QuantumLayer):
    """Tampers with what a layer does."""

    damage = None

    def _probabilities(self, rows, state=None):
        if self.damage == "feature":
            rows = rows * torch.tensor([1.0, 1.0, 0.0], dtype=rows.dtype)
        found, kept = super()._probabilities(rows, state)
        if self.damage == "sum":
            found = found * 1.01
        if self.damage == "order":
            found = found.flip(-1)
        if self.damage == "random":
            found = found + 1e-3 * torch.rand_like(found)
        if self.damage == "nan":
            found = found * torch.nan
        return found, kept


@pytest.mark.parametrize("damage", ["sum", "order", "random", "nan", "feature"])
def test_damage_is_seen(damage):
    layer = Damaged(3, 4, experiment=Experiment("series", 4, 2))
    layer.damage = damage
    assert word_of(layer) == "silently wrong"


def test_a_feature_that_reaches_nothing_is_seen():
    with pytest.raises(judging.DroppedFeature, match=r"features \[1\] of 3"):
        check_features_count(lambda x: x[:, [0, 2]] ** 2, torch.rand(1, 3))
    check_features_count(lambda x: x**2, torch.rand(1, 3))


def test_a_model_that_mixes_rows_is_seen():
    class Mixing(SequentialHybrid):
        def forward(self, x):
            return super().forward(x - x.mean(0))

    def look_at(cls):
        model, x = cls(input_dim=5, quantum_dim=2, output_dim=3).eval(), torch.randn(4, 5)
        check_template(model, lambda: copy.deepcopy(model), x, model(x).detach())

    look_at(SequentialHybrid)
    with pytest.raises(judging.SilentlyWrong, match="a batch and of its rows"):
        look_at(Mixing)
