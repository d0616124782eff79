"""Learning rates by component: curves in closed form, suggestions, and nothing changed."""

import math

import pytest
import torch
from model_state import same, snapshot
from torch import nn

from hybridlit import (
    ArrayDataModule,
    ParallelHybrid,
    ResidualHybrid,
    SequentialHybrid,
    find_learning_rates,
    mark_photonic,
)
from hybridlit.analysis.learning_rates import LearningRates, RateCurve, suggested_rate
from hybridlit.templates import HybridModule


class Quadratic(HybridModule):
    """Loss ((w - 1)^2 + (v - 1)^2) / 2 from w = v = 0: after k steps of w, (1 - rate)^k is left."""

    def __init__(self, frozen=False, **options):
        options = {"optimizer": "torch.optim.SGD", "quantum_lr": 0.25} | options
        super().__init__(output_dim=2, task="regression", **options)
        self.classical, self.photonic = nn.ParameterList(), mark_photonic(nn.ParameterList())
        self.classical.append(torch.zeros(1))
        self.photonic.append(torch.zeros(1))
        self.photonic.requires_grad_(not frozen)

    def forward(self, x):
        return torch.stack([self.classical[0], self.photonic[0]], 1).expand(len(x), 2)


def ones():
    pair = torch.randn(10, 1), torch.ones(10, 2)
    return ArrayDataModule(*pair, val=pair, test=pair, batch_size=5, target_scaling=None)


def test_curves_are_those_of_each_component_alone():
    found = find_learning_rates(Quadratic(), ones(), low=0.01, high=1.0, points=5, steps=7)
    assert list(found.curves) == ["classical", "photonic"] and found.steps == 7
    for component, given in (("classical", 3e-3), ("photonic", 0.25)):
        curve = found.curves[component]
        assert (curve.component, curve.given, curve.before) == (component, given, 0)
        assert curve.rates == pytest.approx([0.01, 0.01**0.75, 0.1, 0.01**0.25, 1.0])
        assert curve.start == pytest.approx(1.0)
        wanted = [((1 - rate) ** 14 + 1) / 2 for rate in curve.rates]
        assert curve.losses == pytest.approx(wanted, abs=1e-6)
        assert 0.3 < curve.suggestion <= 1


def test_a_gradient_is_clipped_as_in_training():
    model = Quadratic(gradient_clip=0.5)
    curve = find_learning_rates(model, ones(), low=0.1, high=0.2, points=3, steps=2).curves
    wanted = [((1 - rate) ** 2 + 1) / 2 for rate in curve["classical"].rates]  # twice 0.5 * rate
    assert curve["classical"].losses == pytest.approx(wanted)


def test_balanced_classes_weigh_as_in_training():
    x = torch.randn(40, 5)
    y = (torch.arange(40) % 10 == 0).long()  # 36 and 4 rows, of which 40 / (2 * 36) and 5 are said
    data = ArrayDataModule(x, y, val=(x, y), test=(x, y), batch_size=40)
    curves = {}
    for weights in ("balanced", [40 / 72, 5.0], None):
        torch.manual_seed(0)
        model = SequentialHybrid(5, 2, 2, n_modes=4, class_weights=weights)
        found = find_learning_rates(model, data, points=3, steps=2).curves["classical"]
        curves[str(weights)] = [found.start, *found.losses]
        assert model.class_weights is None or weights != "balanced"
    balanced, same_in_numbers, unweighted = curves.values()
    assert balanced == pytest.approx(same_in_numbers, rel=1e-6)
    assert balanced != pytest.approx(unweighted, rel=1e-2)


@pytest.mark.parametrize("rows_weigh", [False, True])
def test_the_loss_of_several_batches_is_that_of_all_their_rows(rows_weigh):
    x, y = torch.randn(40, 5), (torch.arange(40) < 4).long()
    weights = torch.rand(40) if rows_weigh else None
    rest = dict(val=(x, y), test=(x, y))
    data = ArrayDataModule(x, y, weights=weights, scaling=None, batch_size=10, **rest)
    model = SequentialHybrid(5, 2, 2, n_modes=4, class_weights=[1.0, 9.0])
    model.classical_pre[1].momentum = 0.0  # running statistics go on in what is frozen
    with torch.no_grad():
        given = () if weights is None else (weights,)
        wanted = float(model.eval().loss(model(x), model.prepare_targets(model(x), y), *given))
    start = find_learning_rates(model, data, points=3, steps=4).curves["classical"].start
    assert start == pytest.approx(wanted, rel=1e-5)


def test_a_component_with_nothing_to_train_has_no_curve():
    found = find_learning_rates(Quadratic(frozen=True), ones(), points=3, steps=1)
    assert list(found.curves) == ["classical"] and "quantum_lr" not in str(found)


def test_trainings_that_fail_are_infinite_and_no_rate_beside_them_is_suggested():
    found = find_learning_rates(Quadratic(), ones(), low=1e-3, high=1e24, points=10, steps=9)
    losses = found.curves["photonic"].losses
    assert losses[-1] == math.inf and math.isfinite(losses[0])
    assert found.suggestions["quantum_lr"] < 1


def test_what_a_reader_must_know_is_said():
    found = find_learning_rates(Quadratic(), ones(), low=1e-9, high=1e-8, points=3, steps=1)
    assert str(found).count("at no rate from 1e-09 to 1e-08") == 2 and not found.suggestions
    found = find_learning_rates(Quadratic(), ones(), low=1e-2, high=1e-1, points=3, steps=1)
    assert str(found).count("from 0.01 to 0.1, the highest is the best: try others") == 2
    for losses in ([3.0, 3.0, 3.0], [math.inf] * 3):  # none of them better, or finite
        curve = RateCurve("classical", 0.1, 0, 2.0, [0.1, 1.0, 10.0], losses, None)
        assert LearningRates(1, {"classical": curve}).figure().axes[0].get_ylim() == (1.0, 7.0)


# --- suggestions ----------------------------------------------------------------------------------


def test_the_suggestion_is_the_middle_of_the_valley():
    rates = [10.0**exponent for exponent in range(-5, 2)]
    assert suggested_rate(rates, [9, 9, 3, 3, 3, 9, 9], 9.0) == pytest.approx(1e-2)
    assert suggested_rate(rates, [9, 9, 9, 3, 3, 3, 9], 9.0) == pytest.approx(1e-1)
    assert suggested_rate(rates, [9, 9, 3, 3, 3, 3, 3], 9.0) > 1e-1


def test_a_lucky_rate_is_not_taken_nor_one_beside_a_failure():
    rates = [10.0**exponent for exponent in range(-5, 2)]
    assert suggested_rate(rates, [9, 4, 4, 4, 9, 1, 9], 9.0) < 1e-2
    assert suggested_rate(rates, [9, 9, 5, 5, 5, 1, math.inf], 9.0) < 1e-1


@pytest.mark.parametrize("losses", [[2.0, 2.0, 2.0], [2.0, 2.5, 9.0], [1.9999, 1.9999, 1.9999]])
def test_there_is_none_where_nothing_is_gained(losses):
    assert suggested_rate([1e-3, 1e-2, 1e-1], losses, 2.0) is None


# --- real models ----------------------------------------------------------------------------------


@pytest.mark.parametrize("trained", [False, True])
def test_model_data_and_random_numbers_stay_as_they_were(trained, make_model, make_trainer, data):
    changes = dict(dropout=0.3, normalization="standard", schedule="cosine", stages=None)
    model = make_model(**changes, optimizer="torch.optim.Adam", quantum_optimizer="torch.optim.SGD")
    if trained:
        make_trainer().fit(model, data)
    before, hparams = snapshot(model), dict(model.hparams)
    found = find_learning_rates(model, data, points=3, steps=2)
    assert same(before, snapshot(model)) and dict(model.hparams) == hparams
    assert found.to_dict() == find_learning_rates(model, data, points=3, steps=2).to_dict()
    # a training after it is the one that there would have been
    states = []
    for look in (False, True):
        torch.manual_seed(1)
        fresh = make_model(**changes)
        if look:
            find_learning_rates(fresh, data, points=3, steps=2)
        make_trainer().fit(fresh, data)
        states.append(fresh.state_dict())
    assert same(*states)


@pytest.mark.parametrize("changes", [{}, dict(gate_epochs=[3, 5])])
def test_a_component_behind_a_closed_gate_is_measured_once_it_is_open(changes, make_model, data):
    model = make_model(ResidualHybrid, **changes)
    found = find_learning_rates(model, data, points=4, steps=3, low=1e-3)
    classical, photonic = found.curves.values()
    assert classical.before == 0 and photonic.before == 3
    assert len(set(photonic.losses)) == 4
    assert "no gradient at the start, so both components were trained for 3 steps" in str(found)


@pytest.mark.slow
def test_suggestions_train_better_than_rates_that_are_far_off(make_trainer):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(200, 5, generator=generator)
    data = ArrayDataModule(x, (x[:, 0] * x[:, 1] > 0).long(), batch_size=32)
    losses = {}
    options = dict(input_dim=5, output_dim=2, hidden_dims=[16], n_modes=4, n_photons=2)
    torch.manual_seed(0)
    rates = find_learning_rates(ParallelHybrid(**options), data, points=8).suggestions
    assert set(rates) == {"classical_lr", "quantum_lr"}
    for name, factor in (("low", 0.01), ("suggested", 1.0), ("high", 100.0)):
        torch.manual_seed(0)
        model = ParallelHybrid(**options, **{n: factor * rate for n, rate in rates.items()})
        trainer = make_trainer(max_epochs=20)
        trainer.fit(model, data)
        losses[name] = trainer.callback_metrics["train/loss"].item()
    assert losses["suggested"] < 0.5 * min(losses["low"], losses["high"])


def test_a_figure_shows_curves_and_suggestions(data, make_model):
    found = find_learning_rates(make_model(), data, points=5, steps=10, low=1e-3)
    figure = found.figure()
    assert [axes.get_xlabel() for axes in figure.axes] == ["classical_lr", "quantum_lr"]
    for axes, curve in zip(figure.axes, found.curves.values(), strict=True):
        lines = {line.get_label(): line for line in axes.lines}
        assert list(lines["after 10 steps"].get_ydata()) == pytest.approx(curve.losses)
        assert list(lines["after 10 steps"].get_xdata()) == pytest.approx(curve.rates)
        assert axes.get_xscale() == "log"


class Own(SequentialHybrid):
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (dict(low=0.0), ValueError, "low must be above 0"),
        (dict(low=1.0, high=0.5), ValueError, r"high must be above low=1\.0, got 0\.5"),
        (dict(points=2), ValueError, "points must be at least 3"),
        (dict(steps=0), ValueError, "steps must be at least 1"),
        (dict(cls=Own), ValueError, "got Own, which has a configure_optimizers of its own"),
        (dict(optimizer="torch.optim.LBFGS", quantum="mlp"), ValueError, "got LBFGS"),
    ],
)
def test_bad_requests(changes, error, message, make_model, data):
    options = {n: changes.pop(n) for n in list(changes) if n in ("low", "high", "points", "steps")}
    with pytest.raises(error, match=message):
        find_learning_rates(make_model(**changes), data, **options)
