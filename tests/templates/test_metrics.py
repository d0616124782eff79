"""Metrics by name and by class path, against scikit-learn and scipy, and what is refused."""

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn import metrics as sk

from hybridlit import ArrayDataModule, ResidualHybrid, load
from hybridlit.templates.metrics import METRICS, make_metrics
from hybridlit.templates.tasks import TASKS, make_task

MACRO = {"average": "macro", "zero_division": 0}


def per_label(score):
    """The mean over labels of a score of one label."""

    def of(truth, said, *_):
        return np.mean([score(truth[:, i], said[:, i]) for i in range(truth.shape[1])])

    return of


def binned_error(truth, probability):
    """Expected calibration error in 15 bins, as in Guo et al. (2017)."""
    bins = np.minimum((probability * 15).astype(int), 14)
    gaps = [abs(truth[bins == b].sum() - probability[bins == b].sum()) for b in set(bins)]
    return sum(gaps) / len(truth)


def one_class(name, truth, p):
    """What scikit-learn says of multiclass probabilities (rows, classes)."""
    said = p.argmax(1)
    hot = np.eye(p.shape[1])[truth]
    return {
        "acc": lambda: sk.accuracy_score(truth, said),
        "balanced_accuracy": lambda: sk.balanced_accuracy_score(truth, said),
        "f1": lambda: sk.f1_score(truth, said, **MACRO),
        "precision": lambda: sk.precision_score(truth, said, **MACRO),
        "recall": lambda: sk.recall_score(truth, said, **MACRO),
        "specificity": lambda: np.mean(
            [sk.recall_score(truth != c, said != c) for c in range(p.shape[1])]
        ),
        "auroc": lambda: sk.roc_auc_score(truth, p, multi_class="ovr"),
        "average_precision": lambda: sk.average_precision_score(hot, p, average="macro"),
        "calibration_error": lambda: binned_error(said == truth, p.max(1)),
        "mcc": lambda: sk.matthews_corrcoef(truth, said),
    }[name]()


def yes_or_no(name, truth, p):
    """What scikit-learn says of probabilities (rows, labels), over all, or of each and the mean."""
    said = p > 0.5
    return {
        "acc": lambda: (said == truth).mean(),
        "balanced_accuracy": lambda: per_label(sk.balanced_accuracy_score)(truth, said),
        "f1": lambda: per_label(sk.f1_score)(truth, said),
        "precision": lambda: per_label(sk.precision_score)(truth, said),
        "recall": lambda: per_label(sk.recall_score)(truth, said),
        "specificity": lambda: per_label(sk.recall_score)(1 - truth, ~said),
        "auroc": lambda: per_label(sk.roc_auc_score)(truth, p),
        "average_precision": lambda: per_label(sk.average_precision_score)(truth, p),
        "calibration_error": lambda: binned_error(truth.ravel(), p.ravel()),
        "mcc": lambda: per_label(sk.matthews_corrcoef)(truth, said),
        "exact_match": lambda: sk.accuracy_score(truth, said),
    }[name]()


def shares(light):
    """Rows of light as distributions; less than none, which noise may measure, is none."""
    light = np.maximum(light, 0)
    total = light.sum(1, keepdims=True)
    return np.divide(light, total, out=np.zeros_like(light), where=total > 0)


def values(name, truth, p):
    return {
        "rmse": lambda: np.sqrt(((truth - p) ** 2).mean()),
        "mae": lambda: sk.mean_absolute_error(truth, p),
        "r2": lambda: sk.r2_score(truth, p),
        "mape": lambda: sk.mean_absolute_percentage_error(truth, p),
        "pearson": lambda: per_label(lambda a, b: stats.pearsonr(a, b)[0])(truth, p),
        "spearman": lambda: per_label(lambda a, b: stats.spearmanr(a, b)[0])(truth, p),
        "amplitude_fidelity": lambda: np.sqrt(shares(truth) * shares(p)).sum(1).mean(),
        "total_variation": lambda: 1 - np.minimum(shares(truth), shares(p)).sum(1).mean(),
    }[name]()


EXPECTED = {
    "multiclass": (3, one_class),
    "binary": (1, yes_or_no),
    "multilabel": (4, yes_or_no),
    "regression": (2, values),
}
ALL = [(task, name) for name, row in METRICS.items() for task in row.tasks]


def rows(task, size, count=60):
    outputs = 2 * torch.randn(count, size)
    if task == "multiclass":
        targets = (outputs + 2 * torch.randn(count, size)).argmax(1)
    elif task == "regression":
        targets = outputs + torch.randn(count, size) + 5
    else:
        targets = (outputs + torch.randn(count, size) > 0.5).long()
    return outputs, targets


def measured(task, names, outputs, targets, batch=17):
    """Metrics over batches, as in an epoch."""
    metrics = make_metrics(task, names)
    for out, target in zip(outputs.split(batch), targets.split(batch), strict=True):
        metrics.update(task.predictions(out), task.prepare(out, target))
    return {name: value.item() for name, value in metrics.compute().items()}


def test_every_task_has_its_reference():
    assert set(EXPECTED) == set(TASKS)


@pytest.mark.parametrize(("name", "metric"), ALL)
def test_a_metric_is_what_other_libraries_say(name, metric):
    size, reference = EXPECTED[name]
    task = make_task(name, size)
    outputs, targets = rows(name, size)
    found = measured(task, [metric], outputs, targets)[metric]
    predictions = task.predictions(outputs).numpy().astype(float)
    assert found == pytest.approx(reference(metric, targets.numpy(), predictions), rel=1e-4)


def test_balanced_accuracy_and_correlation_of_one_class():
    """A model that always says the same; torchmetrics calls its correlation -0.27."""
    task = make_task("binary", 1)
    targets = (torch.arange(60) % 6 == 0).long()
    found = measured(task, ["mcc", "balanced_accuracy"], torch.ones(60, 1), targets)
    assert found == {"mcc": 0.0, "balanced_accuracy": 0.5}
    absent = measured(
        make_task("multiclass", 3), ["balanced_accuracy"], torch.eye(3), torch.tensor([0, 1, 1])
    )
    assert absent["balanced_accuracy"] == sk.balanced_accuracy_score([0, 1], [0, 1]) - 0.25


@pytest.mark.parametrize("name", ["multiclass", "multilabel"])
@pytest.mark.parametrize(
    ("metric", "score"),
    [("auroc", sk.roc_auc_score), ("average_precision", sk.average_precision_score)],
)
def test_a_class_that_no_row_has_is_left_out_of_areas(name, metric, score):
    """Torchmetrics counts it as 0."""
    task, outputs = make_task(name, 4), torch.randn(60, 4)
    hot = torch.eye(4, dtype=torch.int64)[torch.randint(0, 3, (60,))]
    targets = hot.argmax(1) if name == "multiclass" else hot
    predictions = task.predictions(outputs).numpy()
    expected = np.mean([score(hot[:, label], predictions[:, label]) for label in range(3)])
    assert measured(task, [metric], outputs, targets)[metric] == pytest.approx(expected, rel=1e-4)


def test_areas_of_one_class():
    """There is no area under a ROC curve; of the other curve there is, if all rows are of it."""
    names, outputs = ["auroc", "average_precision"], torch.randn(9, 1)
    for truth, expected in ((0, [np.nan, np.nan]), (1, [np.nan, 1.0])):
        found = measured(make_task("binary", 1), names, outputs, torch.full((9,), truth))
        assert list(found.values()) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("task", TASKS)
def test_the_metrics_of_a_task_are_its_default_in_order(task):
    made = make_task(task, EXPECTED[task][0])
    assert list(make_metrics(made)) == list(made.default_metrics)
    names = [name for name, row in METRICS.items() if task in row.tasks][::-1]
    assert list(make_metrics(made, names)) == names


@pytest.mark.parametrize(
    ("task", "entry", "name", "expected"),
    [
        (
            "multiclass",
            "torchmetrics.JaccardIndex",
            "jaccard_index",
            lambda truth, p: sk.jaccard_score(truth, p.argmax(1), average="macro"),
        ),
        (
            "multiclass",
            {"class_path": "torchmetrics.CohenKappa"},
            "cohen_kappa",
            lambda truth, p: sk.cohen_kappa_score(truth, p.argmax(1)),
        ),
        (
            "binary",
            {
                "class_path": "torchmetrics.classification.BinaryFBetaScore",
                "init_args": {"beta": 2.0, "threshold": 0.3},
            },
            "binary_fbeta_score",
            lambda truth, p: sk.fbeta_score(truth[:, 0], p[:, 0] > 0.3, beta=2),
        ),
        (
            "multilabel",
            {
                "class_path": "torchmetrics.classification.MultilabelHammingDistance",
                "init_args": {"average": "micro"},
            },
            "multilabel_hamming_distance",
            lambda truth, p: sk.hamming_loss(truth, p > 0.5),
        ),
        (
            "regression",
            "torchmetrics.ExplainedVariance",
            "explained_variance",
            sk.explained_variance_score,
        ),
        (
            "regression",
            "torchmetrics.PearsonCorrCoef",
            "pearson_corr_coef",
            lambda truth, p: values("pearson", truth, p),
        ),
    ],
)
def test_a_class_path_is_made_for_the_task(task, entry, name, expected):
    size = EXPECTED[task][0]
    made = make_task(task, size)
    outputs, targets = rows(task, size)
    predictions = made.predictions(outputs).numpy().astype(float)
    found = measured(made, [entry], outputs, targets)
    assert found == {name: pytest.approx(expected(targets.numpy(), predictions), rel=1e-4)}


def test_a_metric_of_one_value_takes_columns():
    task = make_task("regression", 1)
    outputs, targets = rows("regression", 1)
    entries = ["spearman", "pearson", "torchmetrics.KendallRankCorrCoef"]
    found = measured(task, entries, outputs, targets[:, 0])
    truth, p = targets[:, 0].numpy(), outputs[:, 0].numpy()
    expected = [
        stats.spearmanr(truth, p)[0],
        stats.pearsonr(truth, p)[0],
        stats.kendalltau(truth, p)[0],
    ]
    assert list(found.values()) == pytest.approx(expected, rel=1e-4)


def test_a_fit_adds_to_what_a_validation_has_left(data, make_trainer, make_model):
    """Tensors of inference mode, to which nothing can be added outside of it."""
    model = make_model(metrics=["mcc", "balanced_accuracy"])
    make_trainer().validate(model, data, verbose=False)
    trainer = make_trainer(inference_mode=False)
    trainer.fit(model, data)
    assert "val/mcc" in trainer.callback_metrics


@pytest.mark.parametrize(
    ("metrics", "error", "message"),
    [
        (["accuracy"], ValueError, r"'multiclass' must be among \['acc', .* got 'accuracy'"),
        (["rmse"], ValueError, "must be among .*'rmse'"),
        (["exact_match"], ValueError, "must be among .*'exact_match'"),
        ([], ValueError, "at least one"),
        (["f1", "f1"], ValueError, "must be different ones"),
        (["torchmetrics.Nothing"], ValueError, "metrics must name what can be imported"),
        (["nowhere.Metric"], ValueError, "metrics must name what can be imported"),
        (["torch.nn.Linear"], TypeError, "classes of torchmetrics.Metric, got 'torch.nn.Linear'"),
        ([{"class_path": "torchmetrics.F1Score", "average": "macro"}], TypeError, "'average'"),
        (["torchmetrics.ConfusionMatrix"], ValueError, r"one number, got \(3, 3\)"),
        (["torchmetrics.MeanSquaredError"], ValueError, "does not go with task='multiclass'"),
        (
            [{"class_path": "torchmetrics.F1Score", "init_args": {"averages": 3}}],
            ValueError,
            "metrics: f1_score cannot be made for .*averages",
        ),
        (3, TypeError, "metrics must be a list"),
        ([3], TypeError, r"metrics\[0\] must be a string or a dictionary"),
    ],
)
def test_what_is_no_metric_of_the_task(metrics, error, message):
    with pytest.raises(error, match=message):
        ResidualHybrid(4, 3, metrics=metrics)


def test_a_fit_logs_them_and_a_checkpoint_keeps_them(data, make_trainer, make_model, tmp_path):
    entries = ["balanced_accuracy", {"class_path": "torchmetrics.JaccardIndex"}]
    trainer, model = make_trainer(), make_model(metrics=entries)
    trainer.fit(model, data)
    expected = {
        f"{s}/{n}" for s in ("train", "val") for n in ("loss", "balanced_accuracy", "jaccard_index")
    }
    assert set(trainer.callback_metrics) == expected | {"loss"}
    assert set(trainer.progress_bar_metrics) == {"loss", "val/loss", "val/balanced_accuracy"}
    (tested,) = trainer.test(model, data, verbose=False)
    assert {"test/balanced_accuracy", "test/jaccard_index"} < set(tested)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    again = load(tmp_path / "model.ckpt")
    assert list(again.val_metrics) == ["val/balanced_accuracy", "val/jaccard_index"]
    table = again.predict(data.test[0])
    assert sk.balanced_accuracy_score(data.test[1], table["target"]) == pytest.approx(
        tested["test/balanced_accuracy"]
    )


def test_metrics_change_no_training(data, make_trainer, make_model):
    def trained(**options):
        torch.manual_seed(0)
        model = make_model(dropout=0.2, **options)
        make_trainer(max_epochs=2).fit(model, data)
        return model.state_dict()

    with_them = trained(
        metrics=["auroc", "mcc", "calibration_error", "torchmetrics.HammingDistance"]
    )
    assert all(torch.equal(value, with_them[name]) for name, value in trained().items())


def test_a_model_that_waits_for_data_checks_its_metrics_before():
    with pytest.raises(ValueError, match="'regression' must be among"):
        ResidualHybrid("auto", "auto", task="regression", metrics=["f1"])


def test_values_are_measured_in_units(make_trainer):
    x = torch.randn(60, 3, dtype=torch.float64)
    y = 1000 + 50 * x[:, 0]
    model = ResidualHybrid(3, 1, task="regression", n_modes=4, n_photons=2, metrics=["mae"])
    trainer, data = make_trainer(), ArrayDataModule(x, y)
    trainer.fit(model, data)
    (found,) = trainer.test(model, data, verbose=False)
    raw = data.preprocessing.targets.inverse(data.test[1])
    said = torch.tensor(
        model.predict(data.preprocessing.inputs.scaler.inverse(data.test[0]))["target"]
    )
    assert found["test/mae"] == pytest.approx((said - raw).abs().mean().item(), rel=1e-5)
