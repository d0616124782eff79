"""The model card: what is in it is what was measured, and what is not known is said."""

import numpy as np
import pytest
import torch
from scipy.stats import beta

from hybridlit import (
    ArrayDataModule,
    ResidualHybrid,
    SequentialHybrid,
    TableDataModule,
    model_card,
)
from hybridlit.analysis.card import given_settings
from hybridlit.analysis.scores import scores
from hybridlit.analysis.statistics import share_interval


@pytest.mark.parametrize(("right", "count"), [(0, 5), (3, 5), (5, 5), (199, 200)])
def test_the_interval_of_a_share_is_exact(right, count):
    """Against quantiles of the beta distribution as scipy.stats has them."""
    found = share_interval(right, count)
    low = beta.ppf(0.025, right, count - right + 1) if right else 0
    high = beta.ppf(0.975, right + 1, count - right) if right < count else 1
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.mean == right / count


@pytest.fixture
def trained(data, make_model, make_trainer):
    model = make_model()
    make_trainer(max_epochs=3).fit(model, data)
    return model.eval()


def test_scores_are_those_of_the_test(trained, data, make_trainer, capsys):
    found = scores(trained, data)
    printed = make_trainer().test(trained, data)[0]
    assert found[0].name == "accuracy" and found[0].rows == len(data.test[0])
    assert found[0].found.mean == pytest.approx(printed["test/acc"])
    assert sum(score.rows for score in found[1:]) == found[0].rows
    right = sum(score.found.mean * score.rows for score in found[1:])
    assert right == pytest.approx(found[0].found.mean * found[0].rows)


def test_errors_are_in_the_units_of_the_targets(generator, make_trainer):
    x = generator.normal(size=(200, 3))
    y = np.stack([1000 + 50 * x[:, 0], x[:, 1] / 100], 1)
    data = ArrayDataModule(x, y, batch_size=20)
    model = ResidualHybrid(input_dim=3, output_dim=2, task="regression")
    make_trainer(max_epochs=3).fit(model, data)
    r2, first, second = scores(model.eval(), data)
    assert r2.name == "R2" and r2.found.low < r2.found.mean < r2.found.high
    values = model.in_units(model(data.test[0])).detach() - model.in_units(data.test[1])
    for score, errors, size in ((first, values[:, 0], 50), (second, values[:, 1], 0.01)):
        assert score.found.mean == pytest.approx(float(errors.double().square().mean().sqrt()))
        assert score.found.low < score.found.mean < score.found.high < 2 * size


def test_a_card_says_what_there_is(trained, data):
    before = {name: value.clone() for name, value in trained.state_dict().items()}
    text = str(model_card(trained, data, training={"epochs": 3}, ablation="It *helps*."))
    for wanted in (
        "| training rows | 36 |",
        "4 modes, 2 photons",
        "10 states",
        "| `quantum_dim` | `2` |",
        "| epochs | 3 |",
        "| `accuracy` |",
        "They do not cover another training",
        "It *helps*.",
        "simulated, ideal",
        "torch 2.",
    ):
        assert wanted in text, wanted
    assert "have changed" not in text
    for index, low in enumerate(data.preprocessing.inputs.low.tolist()):
        assert f"| `feature {index}` | number | {low:.4g} to " in text
    shares = torch.bincount(data.train[1]) / len(data.train[1])
    assert all(f"| `{index}` | {share:.1%} |" in text for index, share in enumerate(shares))
    assert all(torch.equal(before[n], value) for n, value in trained.state_dict().items())


def test_other_data_than_those_of_the_training_are_told(trained, data):
    other = ArrayDataModule(torch.randn(60, 5), torch.arange(60) % 3)
    assert "The data are not those of the training" in str(model_card(trained, other))


def test_a_model_no_better_than_a_constant_is_told(make_model, data):
    text = str(model_card(make_model(), data))
    assert "do not show that the model is better than a constant answer" in text


def test_what_is_not_known_is_said(make_model):
    text = str(model_card(make_model(quantum="mlp")))
    assert "Nothing is known of them." in text
    assert "not measured: no data module was given" in text
    assert "photon" not in text.partition("## Limits")[2]


def test_a_fault_is_no_missing_score(trained, data, monkeypatch):
    """What a model or its data raise for another reason is not taken for it."""

    def fails(*_):
        raise ValueError("a fault of the user's model")

    monkeypatch.setattr(trained, "forward", fails)
    with pytest.raises(ValueError, match="a fault of the user's model"):
        model_card(trained, data)


def test_a_model_that_diverged_has_no_scores(trained, data):
    with torch.no_grad():
        list(trained.parameters())[-1].fill_(torch.nan)
    assert "not measured: the model's outputs on the test data are not" in str(
        model_card(trained, data)
    )


def test_targets_that_do_not_vary_have_no_scores():
    x = torch.randn(60, 3)
    data = ArrayDataModule(x, x[:, 0])
    model = ResidualHybrid(input_dim=3, output_dim=1, task="regression")
    data.test = (data.test[0], torch.zeros_like(data.test[1]))
    assert "not measured: R2 needs test targets that vary" in str(model_card(model, data))


def test_data_without_test_rows_have_no_scores(trained, data):
    data.test = None
    assert "not measured: ArrayDataModule has no test data" in str(model_card(trained, data))


def test_an_empty_list_of_a_recipe_is_an_empty_tuple_by_default():
    assert given_settings(TableDataModule, {"drop": [], "id": ["name"]}) == {"id": ["name"]}


def test_names_are_no_markup(generator, make_trainer):
    pandas = pytest.importorskip("pandas", reason="data extra")
    table = pandas.DataFrame(generator.normal(size=(40, 2)), columns=["a<b", "c|d"])
    data = ArrayDataModule(table, torch.arange(40) % 2)
    model = SequentialHybrid(input_dim=2, quantum_dim=2, output_dim=2, n_modes=4, n_photons=2)
    make_trainer().fit(model, data)
    text = str(model_card(model, data))
    assert "| `a<b` |" in text and "| `c\\|d` |" in text


def test_columns_of_a_table_are_listed_with_what_they_held(make_trainer):
    pytest.importorskip("pandas", reason="data extra")
    table = {
        "size": [1.5, 2.5, None, 4.5] * 10,
        "kind": ["old, very", "new"] * 20,
        "sold": ["yes", "no", "no", "yes"] * 10,
        "price": [float(row) for row in range(40)],
    }
    data = TableDataModule(table, "price", missing="impute", batch_size=8)
    model = ResidualHybrid(input_dim="auto", output_dim="auto", task="regression")
    model = model.build(data)
    make_trainer().fit(model, data)
    text = str(model_card(model, data))
    assert "| `size` | number | 1.5 to 4.5, gaps |" in text
    assert "| `kind` | category | 'new' and 'old, very' |" in text
    assert "| `sold` | boolean |  |" in text
    assert "predicts the value of `price`, in the units of the data" in text
    assert "root mean squared error of price" in text
