"""Classical baselines: the rows that the model sees, chosen by validation, beside the model."""

import builtins
import json

import numpy as np
import pytest
import torch
from quiet_trainer import quiet
from small_studies import make_data, small_model as make, study

from hybridlit import ArrayDataModule, ParallelHybrid, SequentialHybrid
from hybridlit.analysis.ablation.baselines import baseline_names, fit_baselines
from hybridlit.analysis.ablation.measure import Bench, Measure
from hybridlit.analysis.splits import batches_of

sklearn = pytest.importorskip("sklearn", reason="analysis extra")
CLASSIFIERS = ["logistic regression", "SVC", "MLP grid"]
REGRESSORS = ["ridge regression", "SVR", "MLP grid"]


def fitted(model, data, validates=True):
    measure = Measure(model)
    names, missing = baseline_names(model, measure)
    assert not missing
    data.setup("fit")
    data.setup("test")
    bench = Bench(measure, data, batches_of(data, "test"), 0)
    return fit_baselines(names, model, bench, validates)


def test_a_baseline_is_what_scikit_learn_gives():
    data = make_data(rows=300)
    runs, reasons = fitted(make(SequentialHybrid), data)
    assert list(runs) == CLASSIFIERS and not reasons
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    (x, y), (val_x, val_y), (test_x, test_y) = (
        (x.double().numpy(), y.numpy()) for x, y in (data.train, data.val, data.test)
    )
    machines = [make_pipeline(StandardScaler(), SVC(C=c)).fit(x, y) for c in (0.1, 1, 10, 100)]
    qualities = [machine.score(val_x, val_y) for machine in machines]
    best = int(np.argmax(qualities))
    assert runs["SVC"].setting == f"C={(0.1, 1, 10, 100)[best]:g}"
    assert runs["SVC"].scored.rows.mean() == pytest.approx(machines[best].score(test_x, test_y))
    assert all(run.seconds > 0 for run in runs.values())


def test_validation_chooses_and_the_test_does_not():
    """What is learned of training rows is wrong for all test rows; that must not matter."""
    data = make_data(rows=300)
    x, y = data.test
    wrong = ArrayDataModule(*data.train, val=data.val, test=(x, (y + 1) % 3), scaling=None)
    right = ArrayDataModule(*data.train, val=data.val, test=(x, y), scaling=None)
    one, other = (fitted(make(SequentialHybrid), each)[0] for each in (wrong, right))
    assert [run.setting for run in one.values()] == [run.setting for run in other.values()]
    assert one["SVC"].scored.rows.mean() < 0.3 < 0.7 < other["SVC"].scored.rows.mean()


def test_without_validation_the_middle_of_a_grid_is_taken():
    runs, _ = fitted(make(SequentialHybrid), make_data(val_fraction=0.0), validates=False)
    assert runs["logistic regression"].setting == "C=1"


@pytest.mark.parametrize("width", [1, 2])
def test_regression(width):
    x = torch.randn(200, 5, generator=torch.Generator().manual_seed(0))
    y = 100 + 10 * x[:, :width] + x[:, 2:3] ** 2
    data = ArrayDataModule(x, y if width > 1 else y[:, 0], batch_size=50)
    model = make(ParallelHybrid, output_dim=width, task="regression")
    runs, reasons = fitted(model, data)
    assert list(runs) == REGRESSORS and not reasons
    assert all(run.scored.rows.mean() > 0.8 for run in runs.values())


def test_binary_labels_and_images():
    x = torch.randn(200, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    data = ArrayDataModule(x, (x.flatten(1).sum(1) > 0).float(), scaling=None, batch_size=50)
    model = make(ParallelHybrid, output_dim=1, task="binary")  # never run: its task alone counts
    runs, _ = fitted(model, data)
    assert list(runs) == CLASSIFIERS
    assert runs["logistic regression"].scored.rows.mean() > 0.8
    assert all(set(run.scored.rows) <= {0.0, 1.0} for run in runs.values())


@pytest.mark.slow
def test_in_a_study_every_seed_counts(capsys):
    data = make_data(rows=200, batch_size=50)
    options = dict(baselines=True, retrained=["linear"], progress=True)
    found = study(make(SequentialHybrid), data, **options)
    assert [each.name for each in found.baselines] == CLASSIFIERS
    hybrid = found.arm("hybrid").scores
    for each in found.baselines:
        assert len(each.scores) == len(each.settings) == 2
        assert each.difference.mean == pytest.approx(np.mean(hybrid) - np.mean(each.scores))
        assert each.name in str(found) and each.name in found.to_markdown()
    assert "6 of 6  seed 1  logistic regression" in capsys.readouterr().err
    values = found.to_dict()
    assert json.loads(json.dumps(values)) == values
    assert [each["name"] for each in values["baselines"]] == CLASSIFIERS
    assert any(name in found.conclusion for name in CLASSIFIERS)
    panels = [axes.get_title(loc="left") for axes in found.figure().axes]
    assert "classical baselines" in panels


@pytest.mark.slow
def test_a_baseline_that_does_as_well_comes_before_what_helps():
    """A plane between classes: the model is better than constants, the baseline as good."""
    x = torch.randn(600, 5, generator=torch.Generator().manual_seed(1))
    data = ArrayDataModule(x, (x[:, 0] > 0).long(), batch_size=60)
    model = make(SequentialHybrid, output_dim=2, classical_lr=0.03, quantum_lr=0.03, dropout=0.0)
    quiet(max_epochs=15).fit(model, data)
    found = study(model, data, baselines=True, retrained=False)
    assert len(found.baselines) == 3 and found.baselines[0].scores[0] > 0.95
    assert found.baselines[0].verdict in ("alike", "inconclusive", "baseline better")
    assert "out of the box and tuned a little" in found.conclusion.splitlines()[0]


def test_what_cannot_be_fitted_is_left_out_with_a_reason():
    data = make_data()
    data.setup("fit")
    data.train[0][3, 1] = torch.nan
    data.setup = lambda stage=None: None
    runs, reasons = fitted(make(SequentialHybrid), data)
    assert not runs and set(reasons) == set(CLASSIFIERS)
    assert all("NaN" in reason for reason in reasons.values())


def test_other_scores_and_models_have_none():
    def likelihood(outputs, targets):
        return outputs.log_softmax(-1).gather(1, targets[:, None])[:, 0]

    found = study(
        make(SequentialHybrid), make_data(), retrained=False, baselines=True, score=likelihood
    )
    assert not found.baselines
    assert found.left_out["baselines"] == "they have classes or values to score, not likelihood"
    off = study(make(SequentialHybrid), make_data(), retrained=False)
    assert not off.baselines and not off.left_out
    with pytest.raises(TypeError, match="baselines must be"):
        study(make(SequentialHybrid), make_data(), baselines="no")


def test_without_scikit_learn_they_are_left_out(monkeypatch):
    own = builtins.__import__

    def without(name, *rest):
        if name.partition(".")[0] == "sklearn":
            raise ImportError(name)
        return own(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    found = study(make(SequentialHybrid), make_data(), retrained=False, baselines=True)
    assert not found.baselines and "pip install 'hybridlit[analysis]'" in str(found)
