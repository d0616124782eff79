"""The line behind Lightning's table of test scores."""

import pytest
import torch
from lightning.pytorch import LightningModule
from torch.utils.data import DataLoader, TensorDataset

from hybridlit.analysis.statistics import share_interval
from hybridlit.cli.tested import CountsRows, in_words

RIGHT = float(torch.tensor(357 / 360))  # as Lightning returns it, from float32
SURE = "(95 %: 0.976 to 0.998)"


@pytest.mark.parametrize(
    ("scores", "rows", "one_class", "words"),
    [
        ({"loss": 0.031, "acc": RIGHT}, 360, True, f"accuracy 0.9917 of 360 rows {SURE}"),
        ({"acc": 1.0, "loss": 0.0}, 1, True, "accuracy 1.0000 of 1 row (95 %: 0.025 to 1.000)"),
        ({"f1": 0.5, "acc": RIGHT}, 360, True, f"f1 0.5 of 360 rows, accuracy 0.9917 {SURE}"),
        ({"acc": RIGHT}, 360, False, "accuracy 0.9917 of 360 rows"),  # a mean over labels
        ({"acc": 0.9}, 361, True, "accuracy 0.9000 of 361 rows"),  # not a share of these rows
        ({"acc": RIGHT}, None, True, "accuracy 0.9917"),
        ({"acc": float("nan")}, 360, True, "accuracy nan of 360 rows"),
        ({"loss": 0.5, "rmse": 52.31449, "r2": 0.42}, 89, False, "rmse 52.31 of 89 rows, r2 0.42"),
        ({"loss": 0.031}, 1200, False, "loss 0.031 of 1,200 rows"),
    ],
)
def test_scores_in_words(scores, rows, one_class, words):
    named = {f"test/{name}": value for name, value in scores.items()}
    assert in_words([named], {0: rows}, one_class) == [f"Test: {words}"]
    found = share_interval(357, 360)
    assert SURE == f"(95 %: {found.low:.3f} to {found.high:.3f})"


def test_each_loader_has_its_rows(data, make_model, make_trainer):
    data.setup("test")
    given = TensorDataset(*data.test), TensorDataset(*(each[:7] for each in data.test))
    loaders = {name: DataLoader(rows, batch_size=5) for name, rows in zip("ab", given, strict=True)}
    counts, model = CountsRows(), make_model()
    for _ in range(2):  # each test counts anew
        found = make_trainer([counts]).test(model, loaders, verbose=False)
        assert counts.rows == {0: 12, 1: 7}
    first, second = in_words(found, counts.rows, one_class=True)
    assert first.startswith("Test: accuracy 0.") and " of 12 rows (95 %: " in first
    assert second.startswith("Test of b: accuracy 0.") and " of 7 rows (95 %: " in second


def test_a_test_step_that_does_not_tell_leaves_rows_unknown(make_trainer):
    class Foreign(LightningModule):
        def test_step(self, batch, batch_idx):
            self.log("test/loss", batch[0].mean())

    counts = CountsRows()
    loader = DataLoader(TensorDataset(torch.rand(6, 1)), batch_size=3)
    found = make_trainer([counts]).test(Foreign(), loader, verbose=False)
    assert counts.rows == {0: None} and " row" not in in_words(found, counts.rows, True)[0]
    assert in_words([{}], {}, True) == []


def test_what_a_subclass_logs_keeps_its_names():
    """Scores of a test are those of its stage; Lightning numbers the loaders of a subclass."""
    found = [{"test/acc": 0.75, "acc": 0.25}]
    assert in_words(found, {0: 4}, True) == [
        "Test: accuracy 0.7500 of 4 rows (95 %: 0.194 to 0.994)"
    ]
    found = [{f"test/extra/dataloader_idx_{index}": 0.5} for index in (0, 1)]
    assert in_words(found, {}, True) == ["Test: extra 0.5", "Test of dataloader_idx_1: extra 0.5"]
