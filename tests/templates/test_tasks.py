import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss, r2_score, root_mean_squared_error
from torch.nn import functional

from hybridlit.templates.metrics import make_metrics
from hybridlit.templates.tasks import Binary, Multiclass, Regression, make_task


def evaluate(task, outputs, targets, batch=7):
    """Metrics accumulated over batches, as in an epoch."""
    metrics = make_metrics(task)
    for out, target in zip(outputs.split(batch), targets.split(batch), strict=True):
        metrics.update(task.predictions(out), task.prepare(out, target))
    return {name: value.item() for name, value in metrics.compute().items()}


def test_multiclass_agrees_with_sklearn():
    outputs, targets = torch.randn(40, 3), torch.randint(0, 3, (40,))
    task = Multiclass(3)
    assert evaluate(task, outputs, targets)["acc"] == pytest.approx(
        accuracy_score(targets, outputs.argmax(1))
    )
    loss = task.loss(outputs, task.prepare(outputs, targets)).item()
    assert loss == pytest.approx(log_loss(targets, task.predictions(outputs)), rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float64])
@pytest.mark.parametrize("shape", [(40,), (40, 1)])
def test_binary_agrees_with_sklearn(dtype, shape):
    outputs = torch.randn(40, 1) / 2  # logits within [0, 1] must not be taken for probabilities
    targets = torch.randint(0, 2, shape).to(dtype)
    task = Binary(1)
    truth = targets.reshape(-1).int()
    assert evaluate(task, outputs, targets)["acc"] == pytest.approx(
        accuracy_score(truth, outputs[:, 0] > 0)
    )
    loss = task.loss(outputs, task.prepare(outputs, targets)).item()
    assert loss == pytest.approx(log_loss(truth, task.predictions(outputs)[:, 0]), rel=1e-5)


@pytest.mark.parametrize(("columns", "shape"), [(1, (40,)), (1, (40, 1)), (3, (40, 3))])
def test_regression_agrees_with_sklearn(columns, shape):
    outputs, targets = torch.randn(40, columns), torch.randn(shape, dtype=torch.float64)
    task = Regression(columns)
    truth = targets.reshape(40, columns)
    values = evaluate(task, outputs, targets)
    assert values["r2"] == pytest.approx(r2_score(truth, outputs), rel=1e-4)
    error = np.sqrt(((outputs - truth) ** 2).mean().item())
    assert values["rmse"] == pytest.approx(error, rel=1e-5)
    if columns == 1:
        assert values["rmse"] == pytest.approx(root_mean_squared_error(truth, outputs), rel=1e-5)
    loss = task.loss(outputs, task.prepare(outputs, targets)).item()
    assert loss == pytest.approx(error**2, rel=1e-5)


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_r2_does_not_depend_on_the_unit(unit):
    targets = unit * (torch.randn(50, 2).double() + 3)
    outputs = targets + unit * torch.randn(50, 2).double()
    found = evaluate(Regression(2), outputs, targets)["r2"]
    assert found == pytest.approx(r2_score(targets, outputs), rel=1e-9)


def test_r2_of_one_row_is_nan_and_no_error():
    assert np.isnan(evaluate(Regression(1), torch.randn(1, 1), torch.randn(1))["r2"])


def test_prepared_targets_can_be_prepared_again():
    for task, outputs, targets in [
        (Multiclass(3), torch.randn(5, 3), torch.randint(0, 3, (5,), dtype=torch.uint8)),
        (Binary(1), torch.randn(5, 1), torch.tensor([True, False, True, True, False])),
        (Regression(1), torch.randn(5, 1), torch.arange(5)),
    ]:
        once = task.prepare(outputs, targets)
        assert torch.equal(task.prepare(outputs, once), once)


def test_half_precision_outputs_give_float32_losses():
    outputs = torch.randn(9, 4, dtype=torch.bfloat16)
    task = Multiclass(4)
    loss = task.loss(outputs, torch.arange(9) % 4)
    assert loss == functional.cross_entropy(outputs.float(), torch.arange(9) % 4)
    assert task.predictions(outputs).dtype == torch.float32


@pytest.mark.parametrize(
    ("task", "outputs", "targets", "error", "message"),
    [
        (Multiclass(3), (4, 3), torch.rand(4), TypeError, "integer class indices .*float32"),
        (Multiclass(3), (4, 3), torch.ones(4, dtype=torch.bool), TypeError, "torch.bool"),
        (Multiclass(3), (4, 3), torch.zeros(4, 1).long(), ValueError, r"\(4,\).*got \(4, 1\)"),
        (Multiclass(3), (4, 3), torch.zeros(5).long(), ValueError, r"got \(5,\)"),
        (Multiclass(3), (4, 3), torch.tensor([0, 1, 2, 3]), ValueError, "0 to 2 .*values 0 to 3"),
        (Multiclass(3), (4, 3), torch.tensor([0, 1, 2, -100]), ValueError, "values -100 to 2"),
        (Multiclass(3), (4, 2), torch.zeros(4).long(), ValueError, r"output_dim=3\), got \(4, 2\)"),
        (Binary(1), (4, 1), torch.tensor([0, 1, 2, 1]), ValueError, "0 or 1 .*values 0 to 2"),
        (Binary(1), (4, 1), torch.zeros(4, 2), ValueError, r"got \(4, 2\)"),
        (Regression(2), (4, 2), torch.randn(4), ValueError, r"\(4, 2\).* got \(4,\)"),
        (Regression(1), (4, 1), torch.randn(1, 4), ValueError, r"\(4, 1\) or \(4,\)"),
        (Regression(1), (4, 1), torch.ones(4, dtype=torch.bool), TypeError, "must be real"),
        (Regression(1), (4, 1), torch.ones(4, dtype=torch.cfloat), TypeError, "must be real"),
    ],
)
def test_targets_that_do_not_fit(task, outputs, targets, error, message):
    with pytest.raises(error, match=message):
        task.prepare(torch.randn(outputs), targets)


@pytest.mark.parametrize(
    ("task", "output_dim", "message"),
    [
        ("multiclass", 1, "at least 2, .* task='binary'"),
        ("binary", 2, "must be 1 .* task='multiclass'"),
        ("ranking", 1, r"task must be one of .* got 'ranking'"),
    ],
)
def test_tasks_that_do_not_exist(task, output_dim, message):
    with pytest.raises(ValueError, match=message):
        make_task(task, output_dim)
