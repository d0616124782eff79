"""Weights of classes and rows, and label smoothing, against torch's cross entropy."""

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from hybridlit import ArrayDataModule, SequentialHybrid, load

SMALL = dict(n_modes=4, n_photons=2)


def model(task="multiclass", output_dim=3, **options):
    return SequentialHybrid(5, 2, output_dim, task=task, **SMALL, **options)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weights", [None, [0.5, 3.0, 1.0]])
def test_multiclass_is_the_cross_entropy_of_torch(weights, smoothing):
    outputs, targets = torch.randn(20, 3), torch.randint(0, 3, (20,))
    given = None if weights is None else torch.tensor(weights)
    expected = functional.cross_entropy(outputs, targets, given, label_smoothing=smoothing)
    found = model(class_weights=weights, label_smoothing=smoothing).loss(outputs, targets)
    assert torch.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weights", [None, [0.5, 3.0]])
def test_binary_is_the_cross_entropy_of_two_classes(weights, smoothing):
    outputs, targets = torch.randn(20, 1), torch.randint(0, 2, (20,))
    two = torch.cat([torch.zeros(20, 1), outputs], 1)
    given = None if weights is None else torch.tensor(weights)
    expected = functional.cross_entropy(two, targets, given, label_smoothing=smoothing)
    made = model("binary", 1, class_weights=weights, label_smoothing=smoothing)
    assert torch.allclose(
        made.loss(outputs, made.prepare_targets(outputs, targets)), expected, atol=1e-6
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_labels_are_so_many_binary_tasks(smoothing):
    """The sum over all labels of weighted losses, over that of the weights."""
    outputs, targets = torch.randn(20, 3), torch.randint(0, 2, (20, 3))
    weights = [4.0, 1.0, 0.5]
    made = model("multilabel", 3, class_weights=weights, label_smoothing=smoothing)
    found = made.loss(outputs, made.prepare_targets(outputs, targets))
    above = below = 0
    for label, weight in enumerate(weights):
        two = torch.stack([torch.zeros(20), outputs[:, label]], 1)
        above = above + functional.cross_entropy(
            two,
            targets[:, label],
            torch.tensor([1.0, weight]),
            label_smoothing=smoothing,
            reduction="sum",
        )
        below = below + torch.where(targets[:, label] > 0, weight, 1.0).sum()
    assert torch.allclose(found, above / below, atol=1e-6)


TASKS = {
    "multiclass": (3, [0.5, 3.0, 1.0]),
    "binary": (1, [2.0, 0.3]),
    "multilabel": (2, [3.0, 0.1]),
}


@pytest.mark.parametrize("task", TASKS)
def test_a_weight_of_two_is_the_row_twice(task):
    size, weights = TASKS[task]
    made = model(task, size, class_weights=weights, label_smoothing=0.1)
    outputs = torch.randn(12, size)
    targets = (
        torch.randint(0, size, (12,)) if task == "multiclass" else torch.randint(0, 2, (12, size))
    )
    targets = made.prepare_targets(outputs, targets)
    counts = torch.tensor([1, 2, 0, 3, 1, 1, 2, 0, 1, 4, 1, 1])
    twice = made.loss(outputs.repeat_interleave(counts, 0), targets.repeat_interleave(counts, 0))
    assert torch.allclose(made.loss(outputs, targets, counts), twice, atol=1e-6)
    assert made.loss(outputs, targets, torch.zeros(12)) == 0


def test_smoothing_alone_and_ones_change_nothing():
    outputs, targets = torch.randn(20, 3), torch.randint(0, 3, (20,))
    plain = model().loss(outputs, targets)
    assert torch.equal(plain, functional.cross_entropy(outputs, targets))
    assert torch.allclose(model(class_weights=[2.0] * 3).loss(outputs, targets), plain)


@pytest.mark.parametrize("row_weights", [False, True])
@pytest.mark.parametrize("task", TASKS)
def test_the_loss_of_an_epoch_does_not_depend_on_the_batch_size(task, row_weights, make_trainer):
    """The sum of weighted losses of all rows, over the sum of all weights."""
    size, weights = TASKS[task]
    made, x = model(task, size, class_weights=weights).eval(), torch.randn(40, 5)
    y = torch.arange(40) % 8 == 0
    y = y.long() if size != 2 else torch.stack([y, ~y], 1).long()
    data = TensorDataset(x, y, torch.arange(40) / 40) if row_weights else TensorDataset(x, y)
    found = [
        make_trainer().validate(made, DataLoader(data, batch), verbose=False)[0]["val/loss"]
        for batch in (3, 7, 40)
    ]
    outputs = made(x)
    expected = made.loss_of(data[:], outputs, made.prepare_targets(outputs, y)).item()
    assert found == pytest.approx([expected] * 3, rel=1e-5)


@pytest.mark.parametrize("task", TASKS)
def test_training_begins_behind_a_validation(task, make_trainer):
    """That is in inference mode, whose tensors no gradient can go through."""
    made = model(task, TASKS[task][0], class_weights=TASKS[task][1])
    make_trainer().validate(made, rows(task), verbose=False)
    make_trainer(max_epochs=1).fit(made, rows(task))


def test_shares_of_classes_are_targets_too():
    """As a subclass may prepare them, of mixed rows for instance."""

    class Mixed(SequentialHybrid):
        def prepare_targets(self, outputs, targets):
            return functional.one_hot(targets, 3).float()

    mixed = Mixed(5, 2, 3, class_weights=[0.5, 3.0, 1.0], **SMALL)
    outputs, targets = torch.randn(12, 3), torch.randint(0, 3, (12,))
    expected = model(class_weights=[0.5, 3.0, 1.0]).loss(outputs, targets)
    assert torch.allclose(mixed.loss(outputs, mixed.prepare_targets(outputs, targets)), expected)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (torch.ones(6, 1), r"shape \(batch,\) = \(6,\), got \(6, 1\)"),
        (torch.ones(1), r"got \(1,\)"),
        (-torch.arange(6.0), "at least 0 and finite, got values -5.0 to -?0.0"),
        (torch.full((6,), torch.nan), "at least 0 and finite"),
    ],
)
def test_weights_of_rows_that_would_be_another_loss(weights, message):
    with pytest.raises(ValueError, match=message):
        model().loss(torch.randn(6, 3), torch.arange(6) % 3, weights)


# --- balanced -------------------------------------------------------------------------------------


def rows(task, count=90):
    """A third of the rows is validated and tested on, so that the training rows alone count."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(count, 5, generator=generator)
    y = (x[:, 0] > 1).long() + (x[:, 0] > 1.5).long()
    targets = {"multiclass": y, "binary": (x[:, 1] > 1).long(), "multilabel": (x[:, :2] > 1).long()}
    return ArrayDataModule(x, targets[task], batch_size=8, drop_last=True)


@pytest.mark.parametrize("task", TASKS)
def test_balanced_weights_are_those_of_scikit_learn(task, make_trainer):
    data, made = rows(task), model(task, TASKS[task][0], class_weights="balanced")
    make_trainer(max_epochs=1).fit(made, data)
    labels = data.train[1].numpy()
    columns = labels.T if task == "multilabel" else [labels]
    by_class = [compute_class_weight("balanced", classes=np.unique(y), y=y) for y in columns]
    expected = [one / zero for zero, one in by_class] if task == "multilabel" else by_class[0]
    assert made.class_weights == pytest.approx(list(expected))


def test_counting_draws_nothing_and_trains_as_numbers_do(make_trainer):
    def trained(weights):
        torch.manual_seed(0)
        made = model(class_weights=weights, dropout=0.2)
        make_trainer(max_epochs=2).fit(made, rows("multiclass"))
        return made

    counted = trained("balanced")
    given = trained(counted.class_weights)
    state = given.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in counted.state_dict().items())
    assert not torch.equal(
        trained(None).state_dict()["classical_pre.0.weight"], state["classical_pre.0.weight"]
    )


def test_a_checkpoint_keeps_them_and_a_resumed_run_too(make_trainer, tmp_path):
    made, trainer = model(class_weights="balanced"), make_trainer(max_epochs=1)
    trainer.fit(made, rows("multiclass"))
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    kept = torch.load(tmp_path / "model.ckpt", weights_only=True)["hybridlit_class_weights"]
    assert kept == made.class_weights and all(type(weight) is float for weight in kept)
    again = load(tmp_path / "model.ckpt")
    assert again.class_weights == kept and again.hparams["class_weights"] == "balanced"
    other = model(class_weights="balanced")
    other.weigh_classes([1.0, 1.0, 9.0])
    tested = [
        make_trainer().test(each, rows("multiclass"), ckpt_path=path, verbose=False)
        for each, path in ((again, None), (other, None), (other, tmp_path / "model.ckpt"))
    ]
    assert tested[0] == tested[2] != tested[1]
    resumed = model(class_weights="balanced")
    other = ArrayDataModule(torch.randn(30, 5), torch.arange(30) % 3)
    make_trainer(max_epochs=2).fit(resumed, other, ckpt_path=tmp_path / "model.ckpt")
    assert resumed.class_weights == kept
    make_trainer(max_epochs=1).fit(again, other)  # a run of its own
    assert again.class_weights == pytest.approx([1.0, 1.0, 1.0])


def test_a_foreign_loader_is_counted_whole(make_trainer):
    """Whatever its sampler does, and without a look at its generator."""
    x, y = torch.randn(40, 5), torch.tensor([0] * 30 + [1] * 6 + [2] * 4)
    loader = DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True, drop_last=True)
    made = model(class_weights="balanced")
    make_trainer().fit(made, loader)
    assert made.class_weights == pytest.approx([40 / 90, 40 / 18, 40 / 12])


def test_rows_that_come_in_batches_are_counted(make_trainer):
    batches = [(torch.randn(8, 5), torch.tensor([0] * 4 + [1] * 3 + [2]))] * 3
    made = model(class_weights="balanced")
    make_trainer().fit(made, DataLoader(batches, batch_size=None))
    assert made.class_weights == pytest.approx([24 / 36, 24 / 27, 24 / 9])


class Stream(IterableDataset):
    def __iter__(self):
        return iter([(torch.randn(5), torch.tensor(1))] * 4)


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (
            lambda: ArrayDataModule(torch.randn(40, 5), torch.arange(40) % 2),
            ValueError,
            "got none of class 2",
        ),
        (lambda: DataLoader(Stream(), batch_size=2), RuntimeError, "rows by index"),
    ],
)
def test_what_cannot_be_balanced(data, error, message, make_trainer):
    with pytest.raises(error, match=message):
        make_trainer().fit(model(class_weights="balanced"), data())


def test_a_label_that_no_row_has_cannot_be_balanced(make_trainer):
    data = ArrayDataModule(torch.randn(40, 5), torch.tensor([[0, 1], [0, 0]] * 20))
    with pytest.raises(ValueError, match="got none of one value of output 0:"):
        make_trainer().fit(model("multilabel", 2, class_weights="balanced"), data)


def test_outside_a_trainer_uncounted_weights_are_told_once():
    made = model(class_weights="balanced")
    outputs, targets = torch.randn(6, 3), torch.arange(6) % 3
    with pytest.warns(UserWarning, match="counted when Trainer.fit begins") as told:
        losses = [made.loss(outputs, targets), made.loss(outputs, targets)]
    assert len(told) == 1 and losses[0] == functional.cross_entropy(outputs, targets)


def test_a_model_of_ones_own_that_does_not_count_is_told(make_trainer):
    class Own(SequentialHybrid):
        def on_train_start(self):
            pass

    with pytest.warns(UserWarning, match="all classes weigh the same"):
        make_trainer().fit(Own(5, 2, 3, class_weights="balanced", **SMALL), rows("multiclass"))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (dict(class_weights=[1.0, 2.0]), ValueError, "output_dim numbers, one a class, .*got"),
        (dict(class_weights=[1.0, 2.0, 0.0]), ValueError, "above 0 and finite"),
        (dict(class_weights=[1.0, 2.0, float("inf")]), ValueError, "above 0 and finite"),
        (dict(class_weights="even"), ValueError, "'balanced'"),
        (dict(class_weights=[1.0], task="binary", output_dim=1), ValueError, "2 numbers"),
        (dict(class_weights=[1.0], task="multilabel"), ValueError, "weight of each label's 1"),
        (dict(class_weights=[1.0], task="regression"), ValueError, "needs classes"),
        (dict(class_weights="balanced", task="regression"), ValueError, "needs classes"),
        (dict(label_smoothing=0.1, task="regression"), ValueError, "needs classes"),
        (dict(label_smoothing=1.0), ValueError, "label_smoothing must be .*below 1"),
        (dict(label_smoothing=-0.1), ValueError, "label_smoothing must be at least 0"),
    ],
)
def test_what_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        model(**options)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_weights_follow_the_precision_of_the_outputs(dtype):
    weights, targets = [0.123456789, 1.0, 2.0], torch.arange(6) % 3
    outputs = torch.randn(6, 3).to(dtype)
    wide = torch.promote_types(dtype, torch.float32)
    found = model(class_weights=weights).loss(outputs, targets)
    assert found.dtype == wide
    given = torch.tensor(weights, dtype=wide)
    assert torch.allclose(found, functional.cross_entropy(outputs.to(wide), targets, given))
