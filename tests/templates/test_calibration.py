"""Temperature, conformal sets and intervals, and disagreement, against closed forms and mapie."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.stats import betabinom
from torch.nn import functional

from hybridlit import (
    ArrayDataModule,
    Calibration,
    Ensemble,
    ParallelHybrid,
    SequentialHybrid,
    calibrate,
    load,
)
from hybridlit.export.program import WholeModel
from hybridlit.templates.predictions.calibration import (
    conformal_scores,
    fitted_temperature,
    label_sets,
)
from hybridlit.templates.predictions.uncertainty import disagreement


def make(task="multiclass", outputs=4, **options):
    return SequentialHybrid(4, 2, outputs, task=task, n_modes=4, n_photons=2, **options)


# --- quantiles, sets and intervals ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "coverage", "rank"),
    [(9, 0.9, 9), (99, 0.9, 90), (100, 0.9, 91), (9, 0.7, 7), (99, 0.07, 7), (19, 0.95, 19)],
)
def test_the_quantile_is_the_score_of_the_rank_that_the_promise_needs(rows, coverage, rank):
    """Products such as 100 * 0.07 are a little above 7 in floating point."""
    scores = torch.arange(1.0, rows + 1).double()[:, None]
    assert Calibration(None, scores).quantiles(coverage).tolist() == [rank]


@pytest.mark.parametrize(("rows", "coverage", "needed"), [(8, 0.9, 9), (0, 0.5, 1), (98, 0.99, 99)])
def test_too_few_rows_are_refused_with_the_number_that_is_needed(rows, coverage, needed):
    few = Calibration(None, torch.rand(rows, 1).double().sort(0).values if rows else None)
    with pytest.raises(ValueError, match=rf"at least {needed} rows? that .* got {rows}: give"):
        few.quantiles(coverage)
    enough = Calibration(None, torch.rand(needed, 1).double().sort(0).values)
    assert enough.quantiles(coverage) == enough.scores[-1]


@pytest.mark.parametrize("coverage", [0.0, 1.0, 1.5, float("nan")])
def test_a_coverage_is_a_probability(coverage):
    with pytest.raises(ValueError, match="coverage must be "):
        Calibration(None, torch.rand(50, 1)).quantiles(coverage)


def test_over_many_splits_the_share_covered_is_the_one_that_is_promised():
    """Of any held-out rows and any predictions; the mean over 400 splits within 3 errors."""
    scores = torch.rand(120, 1).double() ** 3
    found = []
    for _ in range(400):
        order = torch.randperm(120)
        bound = Calibration(None, scores[order[:40]].sort(0).values).quantiles(0.8)
        found.append(float((scores[order[40:]] <= bound).double().mean()))
    promised = 33 / 41  # ceil(41 * 0.8) of 41
    error = betabinom(80, 33, 8).std() / 80
    assert abs(np.mean(found) - promised) < 3 * error / 20
    assert np.std(found) == pytest.approx(error, rel=0.15)


MAPIE_SETS = {0.8: ([86, 81, 77, 96], 172), 0.9: ([119, 114, 111, 128], 201)}
MAPIE_SETS[0.95] = ([193, 185, 191, 197], 240)
MAPIE_HALF_WIDTHS = {0.8: 0.6758723499689008, 0.9: 0.8552260082622947, 0.95: 1.2449060563740642}


@pytest.mark.parametrize("coverage", MAPIE_SETS)
def test_sets_and_intervals_are_those_of_mapie(coverage):
    """MAPIE 1.6.0: SplitConformalClassifier(conformity_score="lac") and SplitConformalRegressor.

    Rows of each label's sets, and how many of the 243 hold the truth, with 57 held-out rows.
    """
    generator = np.random.default_rng(0)
    shares = np.exp(generator.normal(size=(300, 4)) * 1.5)
    shares /= shares.sum(1, keepdims=True)
    classes = torch.tensor([generator.choice(4, p=row) for row in shares])
    model, given = make(), torch.from_numpy(shares)
    scores = conformal_scores(model, given[:57], classes[:57]).sort(0).values
    bounds = Calibration(None, scores).quantiles(coverage)
    sets = label_sets(model, given[57:], bounds)[:, 0]
    right = conformal_scores(model, given[57:], classes[57:]) <= bounds
    assert (sets.sum(0).tolist(), int(right.sum())) == MAPIE_SETS[coverage]
    assert torch.equal(sets.gather(1, classes[57:, None]), right)

    values = torch.from_numpy(generator.normal(size=(300, 1)))
    truth = values + torch.from_numpy(generator.normal(size=300))[:, None] * 0.5
    model = make("regression", 1)
    scores = conformal_scores(model, values[:57], truth[:57]).sort(0).values
    half = float(Calibration(None, scores).quantiles(coverage))
    assert half == pytest.approx(MAPIE_HALF_WIDTHS[coverage], rel=1e-12)


def test_sets_of_two_classes_in_one_output():
    model = make("binary", 1)
    predictions, targets = torch.tensor([[0.9], [0.4], [0.1]]), torch.tensor([1.0, 1.0, 0.0])
    found = conformal_scores(model, predictions, targets[:, None])
    assert found[:, 0].tolist() == pytest.approx([0.1, 0.6, 0.1])
    sets = label_sets(model, predictions, torch.tensor([0.5]).double())[:, 0]
    assert sets.tolist() == [[False, True], [True, False], [True, False]]


# --- temperature ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("task", "outputs"), [("multiclass", 4), ("binary", 1)])
@pytest.mark.parametrize("planted", [0.4, 2.5])
def test_the_temperature_is_the_most_likely_one(task, outputs, planted):
    """Against scipy on the same rows, and against the temperature that labels were drawn by."""
    logits = 3 * torch.randn(4000, outputs).double()
    if task == "multiclass":
        targets = torch.multinomial((logits / planted).softmax(1), 1)[:, 0]
        loss = functional.cross_entropy
    else:
        targets = torch.bernoulli((logits / planted).sigmoid())
        loss = functional.binary_cross_entropy_with_logits

    def mean_loss(log):
        return float(loss(logits / math.exp(log), targets))

    found = fitted_temperature(make(task, outputs), logits, targets)
    wanted = math.exp(minimize_scalar(mean_loss, (-1, 1), options={"xtol": 1e-10}).x)
    assert found == pytest.approx(wanted, rel=1e-5)
    assert found == pytest.approx(planted, rel=0.1)


def test_without_a_most_likely_temperature_there_is_none():
    targets = torch.tensor([0, 1, 0])
    right = functional.one_hot(targets, 4) - 0.5
    assert fitted_temperature(make(), right, targets) is None  # the colder the better
    assert fitted_temperature(make(), -right, targets) is None  # the hotter the better


# --- a model with it ------------------------------------------------------------------------------


@pytest.fixture
def trained(make_trainer):
    def train(task="multiclass", outputs=4, **options):
        x = torch.randn(240, 4)
        y = torch.stack([300 + 5 * x[:, 0], x[:, 1] - 9], 1)
        if task != "regression":
            y = (x @ torch.randn(4, max(2, outputs)) + torch.randn(240, max(2, outputs))).argmax(1)
        data = ArrayDataModule(x, y, calibration_fraction=0.25)
        model = make(task, outputs, **options)
        trainer = make_trainer(max_epochs=2)
        trainer.fit(model, data)
        return model.eval(), data, x, trainer

    return train


def test_predictions_are_at_the_temperature_whoever_makes_them(trained, make_trainer, tmp_path):
    model, data, x, trainer = trained()
    plain = model.predict(x)
    temperature = calibrate(model, data).temperature
    with torch.no_grad():
        wanted = (model(data.scale(x)) / temperature).softmax(1)
    table = model.predict(x)
    found = torch.tensor([table[f"probability_{index}"] for index in range(4)]).T
    torch.testing.assert_close(found, wanted)
    assert table["target"] == plain["target"]
    assert table["probability_0"] != plain["probability_0"]
    batches = make_trainer().predict(model, data.test_dataloader())
    with torch.no_grad():
        test = (model(data.test[0]) / temperature).softmax(1)
    torch.testing.assert_close(torch.cat(batches), test)

    trainer.save_checkpoint(tmp_path / "model.ckpt")
    again = load(tmp_path / "model.ckpt")
    assert again.calibration.temperature == temperature
    assert torch.equal(again.calibration.scores, model.calibration.scores)
    assert again.calibration.facts == model.calibration.facts
    assert again.predict(x, coverage=0.8).columns == model.predict(x, coverage=0.8).columns


def test_training_on_forgets_it_and_says_so(trained, make_trainer):
    model, data, _, _ = trained()
    calibrate(model, data)
    with pytest.warns(UserWarning, match="calibrate it again afterwards"):
        make_trainer().fit(model, data)
    assert model.calibration is None


def test_columns_of_sets(trained):
    model, data, x, _ = trained()
    with pytest.raises(ValueError, match=r"coverage=0.9 needs at least 9 rows .* got 0"):
        model.predict(x, coverage=0.9)
    calibrate(model, data)
    table = model.predict(x[:50], coverage=0.9)
    assert list(table.columns)[-1] == "set_target"
    bound = float(model.calibration.quantiles(0.9))
    shares = np.array([table[f"probability_{index}"] for index in range(4)]).T
    assert table["set_target"] == [np.flatnonzero(1 - row <= bound).tolist() for row in shares]


def test_sets_are_text_in_files_and_there_is_none_without_a_prediction(trained, tmp_path):
    model, data, x, _ = trained()
    calibrate(model, data)
    model.calibration.scores[:] = 1.0  # every label is in every set
    rows = x[:3].double()
    rows[1, 0] = 1e300  # infinite in float32
    table = model.predict(rows, coverage=0.9)
    assert table["set_target"] == [[0, 1, 2, 3], None, [0, 1, 2, 3]]
    for name in ("a.csv", "a.npz"):
        table.write(tmp_path / name)
    assert "0|1|2|3" in (tmp_path / "a.csv").read_text()
    assert np.load(tmp_path / "a.npz")["set_target"][0] == "0|1|2|3"


def test_columns_of_intervals_in_the_units_of_each_target(trained):
    model, data, x, _ = trained("regression", 2)
    found = calibrate(model, data)
    assert found.temperature is None and found.scores.shape == (60, 2)
    table = model.predict(x, coverage=0.9)
    inputs, targets = data.calibration
    with torch.no_grad():
        errors = (model.in_units(model(inputs)) - model.in_units(targets)).abs().sort(0).values
    torch.testing.assert_close(found.scores, errors.double())
    for index, half in enumerate(found.scores[54]):  # ceil(61 * 0.9) = 55
        values = np.array(table[f"target_{index}"])
        assert np.array(table[f"low_target_{index}"]) == pytest.approx(values - float(half))
        assert np.array(table[f"high_target_{index}"]) == pytest.approx(values + float(half))


# --- disagreement ---------------------------------------------------------------------------------


def test_disagreement_in_closed_form():
    given = torch.tensor([[0.3, 0.7]])
    others = torch.tensor([[[0.6, 0.4]], [[0.1, 0.9]]])
    assert float(disagreement(make(outputs=2), others, given)) == pytest.approx(1 - 0.65)
    binary = torch.tensor([[[0.2]], [[0.4]]])
    assert float(disagreement(make("binary", 1), binary, torch.tensor([[0.1]]))) == pytest.approx(
        0.3
    )
    values = torch.tensor([[[1.0, 5.0]], [[3.0, 5.0]]])
    given = torch.tensor([[1.0, 2.0]])
    found = disagreement(make("regression", 2), values, given)
    assert found.tolist() == [pytest.approx([2**0.5, 3.0])]


def test_passes_draw_as_in_training_and_leave_all_as_it_was(trained):
    model, _, x, _ = trained(dropout=0.5)
    plain, state = model.predict(x), torch.get_rng_state()
    table = model.predict(x, uncertainty="passes", passes=4)
    assert torch.equal(torch.get_rng_state(), state) and not model.training
    assert not any(module.training for module in model.modules())
    assert {n: table[n] for n in plain.columns} == plain.columns
    assert min(table["uncertainty"]) > 0
    assert model.predict(x, uncertainty="passes", passes=4).columns == table.columns
    few, many = (
        np.array(model.predict(x, uncertainty="passes", passes=n)["uncertainty"]) for n in (2, 40)
    )
    assert not np.allclose(few, many)
    with pytest.raises(ValueError, match="passes must be at least 2, got 1"):
        model.predict(x, uncertainty="passes", passes=1)


def test_paths_disagree_by_as_much_as_predictions_without_each_of_them(make_trainer):
    x = torch.randn(120, 4)
    data = ArrayDataModule(x, (x[:, 0] > x[:, 1]).long())
    model = ParallelHybrid(4, 2, n_modes=4, n_photons=2)
    with pytest.raises(ValueError, match="no mean that could stand in"):
        model.predict(x, uncertainty="paths")
    make_trainer(max_epochs=2).fit(model, data)
    model.eval()
    found = model.predict(x, uncertainty="paths")["uncertainty"]
    parts = []
    for name in ("classical_path", "quantum_path"):
        with model.without(name):
            table = model.predict(x)
        parts.append(np.array([table["probability_0"], table["probability_1"]]))
    assert not np.allclose(*parts)
    labels = np.array(model.predict(x)["target"])
    wanted = 1 - np.mean(parts, 0)[labels, np.arange(len(labels))]
    assert np.array(found) == pytest.approx(wanted)
    assert not model.paths.lost


def test_passes_with_path_dropout_teach_the_means_nothing(make_trainer):
    x = torch.randn(120, 4)
    data = ArrayDataModule(x, (x[:, 0] > x[:, 1]).long())
    model = ParallelHybrid(4, 2, n_modes=4, n_photons=2, path_dropout=0.4, dropout=0.0)
    make_trainer().fit(model, data)
    mean, count = model.eval().paths.mean.clone(), model.paths.count.clone()
    table = model.predict(x, batch_size=7, uncertainty="passes", passes=5)
    assert max(table["uncertainty"]) > 0
    assert torch.equal(model.paths.mean, mean) and torch.equal(model.paths.count, count)
    assert model.paths.remembering


def test_without_anything_that_can_disagree_it_is_refused(trained):
    model, _, x, _ = trained(dropout=0.0)
    with pytest.raises(ValueError, match="needs dropout, and SequentialHybrid has none"):
        model.predict(x, uncertainty="passes")
    with pytest.raises(ValueError, match="uncertainty='paths' needs two paths or more"):
        model.predict(x, uncertainty="paths")
    with pytest.raises(ValueError, match=r"uncertainty must be one of .* got 'pathes'"):
        model.predict(x, uncertainty="pathes")


def test_an_ensemble_tells_the_flags_of_all_its_models(make_trainer):
    x = torch.randn(60, 4)
    models = []
    for wide in (100.0, 1.0):  # of the first only, nothing here is far outside
        model = SequentialHybrid(4, 2, 2, n_modes=4)
        make_trainer().fit(model, ArrayDataModule(x * wide, torch.arange(60) % 2))
        models.append(model)
    far = torch.tensor([[0.0, 0.0, 0.0, 0.0], [50.0, 0.0, 0.0, 0.0]])
    assert "flags" not in models[0].predict(far).columns
    (_, said) = models[1].predict(far)["flags"]
    for order in (models, models[::-1], [*models, *models]):
        assert Ensemble(order).predict(far)["flags"] == ["", said]


def test_an_ensemble_is_the_mean_of_its_models_each_with_its_own_preparation(trained):
    one, _, x, _ = trained("regression", 2)
    other, _, _, _ = trained("regression", 2)
    assert not one.preprocessing.same_as(other.preprocessing)
    table = Ensemble([one, other]).predict(x)
    for index in range(2):
        both = np.array([model.predict(x)[f"target_{index}"] for model in (one, other)])
        assert np.array(table[f"target_{index}"]) == pytest.approx(both.mean(0))
        assert np.array(table[f"uncertainty_target_{index}"]) == pytest.approx(both.std(0))
    with pytest.raises(ValueError, match=r"at least two of one task .* got 1 models"):
        Ensemble([one])
    with pytest.raises(ValueError, match=r"got \('regression', 2, .* and others"):
        Ensemble([one, make()])


def test_an_exported_model_predicts_at_the_temperature_too(trained):
    model, data, x, _ = trained()
    calibrate(model, data)
    with torch.no_grad():
        found = WholeModel(model)(x.double())
    table = model.predict(x)
    for index in range(4):
        assert found[:, index].tolist() == pytest.approx(table[f"probability_{index}"], rel=1e-5)
