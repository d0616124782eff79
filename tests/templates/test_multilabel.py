"""Several labels a row: from a table to predictions, the card, and a file without hybridlit."""

import json

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

from hybridlit import ArrayDataModule, ResidualHybrid, SequentialHybrid, load, model_card
from hybridlit.analysis.ablation.baselines import baseline_names
from hybridlit.analysis.ablation.measure import Measure
from hybridlit.analysis.scores import class_shares, scores
from hybridlit.cli import main
from hybridlit.export.description import describe
from hybridlit.export.raw import raw_of
from hybridlit.templates.predictions.predicting import class_labels
from hybridlit.templates.tasks import Multilabel

pd = pytest.importorskip("pandas", reason="data extra")
from hybridlit import TableDataModule  # noqa: E402

LABELS = ["red", "large", "ill"]
SMALL = dict(n_modes=4, n_photons=2)


@pytest.fixture
def frame(generator):
    a, b, noise = generator.normal(size=(3, 150))
    return pd.DataFrame(
        {
            "a": a,
            "b": b,
            "red": np.where(a > 0.5, "yes", "no"),
            "large": (a + b > 0).astype(int),
            "ill": b + 0.1 * noise > 0.3,
        }
    )


@pytest.fixture
def trained(frame, make_trainer, tmp_path):
    data = TableDataModule(frame, LABELS, batch_size=16)
    model = SequentialHybrid("auto", 2, "auto", task="multilabel", head_dim=6, **SMALL)
    trainer = make_trainer(max_epochs=12)
    trainer.fit(model, data)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    return model.eval(), data, trainer


def test_loss_is_that_of_torch_and_rows_are_scored_by_shares():
    task, outputs, targets = Multilabel(3), torch.randn(9, 3), torch.randint(0, 2, (9, 3))
    expected = torch.nn.functional.binary_cross_entropy_with_logits(outputs, targets.float())
    prepared = task.prepare(outputs, targets)
    assert task.loss(outputs, prepared) == expected
    right = (outputs > 0) == (targets > 0)
    found = task.row_scores(task.predictions(outputs), prepared)
    assert torch.equal(found, right.double().mean(1))
    rates = task.predictions(task.constant(prepared))  # Laplace's rule
    assert torch.allclose(rates, (targets.double().sum(0) + 1) / 11)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (torch.zeros(4), r"shape \(4, 3\) for task='multilabel' with output_dim=3, got \(4,\)"),
        (torch.zeros(4, 2), r"got \(4, 2\)"),
        (torch.full((4, 3), 2), "must be 0 or 1 .* 2 to 2"),
    ],
)
def test_targets_that_do_not_fit(targets, message):
    with pytest.raises(ValueError, match=message):
        Multilabel(3).prepare(torch.randn(4, 3), targets)


def test_a_table_tells_task_and_sizes(trained, frame):
    model, data, trainer = trained
    assert data.task_of_target == "multilabel" and data.output_dim("multilabel") == 3
    assert data.preprocessing.targets.pairs == [["no", "yes"], [0, 1], [False, True]]
    assert model.hparams["output_dim"] == 3 and class_labels(model) == LABELS
    with pytest.raises(ValueError, match="integer targets, one a row"):
        _ = data.num_classes
    (found,) = trainer.test(model, data, verbose=False)
    assert found["test/acc"] > 0.8


@pytest.mark.slow
def test_predictions_have_words_and_probabilities(trained, frame, tmp_path):
    model, data, _ = trained
    again = load(tmp_path / "model.ckpt")
    table = again.predict(frame.drop(columns=LABELS).head(20))
    assert list(table.columns) == [*LABELS, *(f"probability_{name}" for name in LABELS)]
    assert set(table["red"]) <= {"no", "yes"} and set(table["ill"]) <= {False, True}
    outputs = model(data.preprocessing(data.preprocessing.inputs.read(frame.head(20)).values))
    expected = outputs.sigmoid()
    for index, name in enumerate(LABELS):
        assert table[f"probability_{name}"] == pytest.approx(expected[:, index].tolist(), abs=1e-6)
    assert table["red"] == ["yes" if p > 0.5 else "no" for p in expected[:, 0]]


def test_the_command_line_predicts_and_scores(trained, frame, tmp_path, capsys):
    frame.loc[3, "red"] = "perhaps"  # no label of the training
    frame.loc[4, "large"] = None
    frame.to_csv(tmp_path / "new.csv", index=False)
    main(
        [
            "predict",
            f"--ckpt={tmp_path / 'model.ckpt'}",
            f"--input={tmp_path / 'new.csv'}",
            f"--output={tmp_path / 'out.csv'}",
        ]
    )
    said = capsys.readouterr()
    assert "Scores of 148 rows" in said.out and "1 row of no class" in said.err
    out = pd.read_csv(tmp_path / "out.csv")
    whole = frame.drop(index=[3, 4])
    truth = np.stack([whole["red"] == "yes", whole["large"] == 1, whole["ill"].astype(bool)], 1)
    kept = out.drop(index=[3, 4])
    said_of = np.stack([kept["red"] == "yes", kept["large"] == 1, kept["ill"]], 1)
    assert f"acc {(truth == said_of).mean():.4f}" in said.out


def test_scores_and_card(trained):
    model, data, _ = trained
    found = {score.name: score for score in scores(model, data)}
    predictions = model.predictions(model(data.test[0])).detach() > 0.5
    right = (predictions == data.test[1].bool()).double()
    assert found["accuracy"].found.mean == pytest.approx(right.mean().item())
    for index, name in enumerate(LABELS):
        mean = found[f"right answers on {name}"].found.mean
        assert mean == pytest.approx(right[:, index].mean().item())
    most = (data.train[1].double().mean(0) > 0.5).double()
    expected = (data.test[1] == most).double().mean().item()
    assert found["accuracy"].constant == pytest.approx(expected)
    assert class_shares(model, data) == pytest.approx(data.train[1].double().mean(0).tolist())
    text = str(model_card(model, data))
    assert "It predicts `red`, `large`, `ill`, each yes or no" in text
    assert "most frequent value of each label" in text and "| label | share" in text


@pytest.mark.slow
def test_metrics_of_a_fit_are_in_the_card(frame, make_trainer):
    data = TableDataModule(frame, LABELS)
    model = ResidualHybrid(2, 3, task="multilabel", metrics=["f1", "exact_match"], **SMALL)
    make_trainer().fit(model, data)
    text = str(model_card(model, data))
    predictions = (model.predictions(model(data.test[0])) > 0.5).numpy()
    exact = sk.accuracy_score(data.test[1].numpy(), predictions)
    assert f"| `exact_match` | {exact:.4g} |  | 30 |" in text and "| `f1` |" in text


def test_there_are_no_baselines_of_one_class():
    model = ResidualHybrid(2, 3, task="multilabel", **SMALL)
    names, reasons = baseline_names(model, Measure(model))
    assert names == [] and "several labels" in reasons["baselines"]


def test_a_file_for_others_says_what_its_columns_are(trained):
    model, data, _ = trained
    told = describe(model, raw_of(model), "pt2")["output"]
    assert told["columns"] == LABELS and told["classes"] == data.preprocessing.targets.pairs
    assert json.loads(json.dumps(told)) == told


def test_init_chooses_the_task(frame, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frame.to_csv("table.csv", index=False)
    main(["init", "table.csv", "--target=[red, large, ill]"])
    assert "task: multilabel" in (tmp_path / "recipe.yaml").read_text()


@pytest.mark.parametrize(
    ("target", "kind", "message"),
    [
        (["red", "a"], "auto", "two classes each, .* classes in 'red' and values in 'a'"),
        (["red", "town"], "auto", "and 3 classes in 'town'"),
        (["red", "same"], "auto", "'same' must have at least 2 classes"),
        (["town", "large"], "value", "'town' must hold numbers"),
    ],
)
def test_columns_that_are_no_labels(frame, target, kind, message):
    frame["town"], frame["same"] = np.resize(["x", "y", "z"], 150), "one"
    with pytest.raises(ValueError, match=message):
        TableDataModule(frame, target, target_kind=kind)


def test_data_of_labels_and_a_model_of_another_task_are_told_apart(frame):
    data = TableDataModule(frame, LABELS)
    with pytest.raises(ValueError, match="3 labels, yes or no: give task='multilabel'"):
        SequentialHybrid(2, 2, 3, **SMALL).build(data)
    with pytest.raises(ValueError, match="has 3 targets in a row"):
        SequentialHybrid(2, 2, 2, task="multilabel", **SMALL).build(data)


def test_arrays_of_labels(make_trainer):
    x = torch.randn(60, 4)
    data = ArrayDataModule(x, (x[:, :2] > 0).numpy())
    model = SequentialHybrid("auto", 2, "auto", task="multilabel", **SMALL)
    make_trainer().fit(model, data)
    assert class_labels(model) == ["target_0", "target_1"]
    assert set(model.predict(x)["target_1"]) <= {0, 1}


def test_a_label_that_never_occurs_is_told(make_trainer):
    data = ArrayDataModule(torch.randn(40, 4), torch.tensor([[0, 1], [0, 0]] * 20))
    with pytest.warns(UserWarning, match="has label 0, counted from 0"):
        make_trainer().fit(SequentialHybrid(4, 2, 2, task="multilabel", **SMALL), data)
