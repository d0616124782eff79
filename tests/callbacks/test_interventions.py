"""Copies repeat the training of a model exactly; what cannot be repeated names nobody."""

from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Callback
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from hybridlit import ArrayDataModule, ParallelHybrid, SequentialHybrid
from hybridlit.analysis.loss_change.retraining import TrainedCopy, batches_in_turns, in_one
from hybridlit.callbacks.alternating import AlternatingTraining
from hybridlit.callbacks.measuring.interventions import Interventions, _by_number
from hybridlit.callbacks.measuring.repeated_training import repeated_training
from hybridlit.callbacks.overfitting import OverfittingDetector
from hybridlit.resume.packed import packed


@pytest.fixture
def loaders():
    """4 batches of 10 rows in the same order in each epoch."""
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(80, 5, generator=generator)
    y = (x[:, 0] > 0).long() + (x[:, 1] > 0).long()
    rows = [
        TensorDataset(part, labels) for part, labels in zip(x.split(40), y.split(40), strict=True)
    ]
    return dict(
        train_dataloaders=DataLoader(rows[0], batch_size=10),
        val_dataloaders=DataLoader(rows[1], batch_size=10),
    )


class FrontInEvaluation(SequentialHybrid):
    """Batch normalization keeps its running statistics in training."""

    def on_train_epoch_start(self):
        self.classical_pre.eval()


class RepeatedAtTheEnd(Callback):
    """Trains a copy again for as many steps as the run took, with some parameters frozen."""

    def __init__(self, detector, frozen=()):
        self.detector, self.frozen = detector, frozen

    def on_train_end(self, trainer, pl_module):
        state = {name: value.clone() for name, value in pl_module.state_dict().items()}
        interventions = self.detector._interventions
        assert not interventions._shuffled
        self.origin = interventions._origin
        frozen = [name for name in state if name.startswith(tuple(self.frozen))]
        batch = batches_in_turns(interventions._batches["train"], shuffled=False)
        modes = interventions._modes
        copied = repeated_training(trainer, pl_module, self.origin, batch, modes, frozen)
        copied.train(trainer.global_step - self.origin.step)
        self.copied = copied.model.state_dict()
        for name, value in pl_module.state_dict().items():
            assert torch.equal(value, state[name]), name


def but_means(state):
    """What is repeated: means of outputs, for paths that may be lost, belong to no part."""
    return {name: value for name, value in state.items() if not name.startswith("paths.")}.items()


CASES = {
    "plain": {},
    "parallel": dict(cls=ParallelHybrid),
    "accumulated, clipped": dict(accumulate_grad_batches=2, gradient_clip_val=0.1),
    "clipped by value": dict(gradient_clip_val=0.01, gradient_clip_algorithm="value"),
    "cosine, warm-up": dict(model=dict(schedule="cosine", warmup_epochs=1)),
    "stages": dict(model=dict(stages=[["classical", 1], ["photonic", 2], ["both", 1]])),
    "alternating": dict(callbacks=lambda: [AlternatingTraining(2, 1)], accumulate_grad_batches=2),
    "part of it in evaluation mode": dict(cls=FrontInEvaluation),
    "float64": dict(precision="64-true"),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_copy_repeats_the_training_bit_for_bit(case, loaders, make_model, make_trainer):
    options = dict(CASES[case])
    cls = options.pop("cls", SequentialHybrid)
    model = make_model(cls, dropout=0.0, weight_decay=0.1, **options.pop("model", {}))
    detector = OverfittingDetector()
    again = RepeatedAtTheEnd(detector)
    others = options.pop("callbacks", list)()
    trainer = make_trainer([*others, detector, again], max_epochs=4, **options)
    trainer.fit(model, **loaders)
    assert again.origin.step == 0 and trainer.global_step >= 8
    for name, value in but_means(model.state_dict()):
        assert torch.equal(value, again.copied[name]), name


def test_a_frozen_copy_is_a_training_of_the_rest(loaders, make_model, make_trainer):
    def train(frozen, repeated):
        torch.manual_seed(0)
        model = make_model(dropout=0.0, weight_decay=0.1)
        model.classical_pre.requires_grad_(not frozen)
        detector = OverfittingDetector()
        again = RepeatedAtTheEnd(detector, repeated)
        trainer = make_trainer([detector, again], max_epochs=3, gradient_clip_val=0.1)
        trainer.fit(model, **loaders)
        return model.state_dict(), again.copied

    (plain, copied), (expected, _) = train(False, ["classical_pre"]), train(True, [])
    for name, value in but_means(expected):
        assert torch.equal(value, copied[name]), name
    assert not torch.equal(plain["classical_pre.0.weight"], copied["classical_pre.0.weight"])


def test_in_a_long_run_copies_begin_at_the_lowest_validation_loss(
    loaders, make_model, make_trainer
):
    """With the moments of the optimizer: from there, too, the training is repeated exactly."""
    detector = OverfittingDetector(every_n_steps=12, replay_steps=8)
    again = RepeatedAtTheEnd(detector)
    model = make_model(dropout=0.0)
    trainer = make_trainer([detector, again], max_epochs=9)
    trainer.fit(model, **loaders)
    assert again.origin.step in (16, 28) and trainer.global_step == 36
    for name, value in but_means(model.state_dict()):
        assert torch.equal(value, again.copied[name]), name


def test_rows_are_dealt_out_anew_only_if_the_data_loader_does_so(data, make_model, make_trainer):
    detector = OverfittingDetector()
    make_trainer([detector], max_epochs=2).fit(make_model(), data)
    interventions = detector._interventions
    kept = interventions._batches["train"]
    assert interventions._shuffled and [len(x) for x, _ in kept] == [10, 10, 10, 6]
    batch = batches_in_turns(kept, shuffled=True)
    first, second, again = ([batch(4 * turn + i) for i in range(4)] for turn in (0, 1, 0))
    assert [len(x) for x, _ in second] == [10, 10, 10, 6]
    assert all(torch.equal(one[0], other[0]) for one, other in zip(first, again, strict=True))
    assert not torch.equal(first[0][0], second[0][0])
    rows = sorted(tuple(row.tolist()) for x, _ in kept for row in x)
    for turn in (first, second):
        assert sorted(tuple(row.tolist()) for x, _ in turn for row in x) == rows
    labels = {tuple(row.tolist()): int(y) for x, ys in kept for row, y in zip(x, ys, strict=True)}
    assert all(
        labels[tuple(row.tolist())] == y for x, ys in second for row, y in zip(x, ys, strict=True)
    )
    others = [batches_in_turns(kept, shuffled=True, draw=1)(i) for i in range(4)]
    assert not any(torch.equal(others[0][0], turn[0][0]) for turn in (first, second))
    assert sorted(tuple(row.tolist()) for x, _ in others for row in x) == rows
    named = [{"x": x, "y": y} for x, y in kept]
    assert batches_in_turns(named, shuffled=True)(5) is named[1]  # cannot be put together


@pytest.mark.parametrize("sizes", [[], [3], [3, 2]])
def test_what_is_kept_comes_out_of_a_checkpoint_as_it_went_in(sizes, tmp_path):
    batches = [(torch.randn(n, 2), torch.arange(n)) for n in sizes]
    interventions, again = Interventions(10, 5), Interventions(10, 5)
    for number, batch in enumerate(batches):
        interventions.keep_validation(batch, number)
    torch.save(interventions.state_dict(), tmp_path / "state")
    again.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
    found = again._batches["val"]
    assert again._batches["train"] == [] and len(found) == len(sizes)
    for one, other in zip(found, batches, strict=True):
        assert all(map(torch.equal, one, other))


def test_copies_take_no_more_steps_than_the_run_and_one_episode():
    interventions = Interventions(200, 16)
    assert interventions.affordable(0)
    interventions._spent = 800
    assert not interventions.affordable(799) and interventions.affordable(800)


def memorizing(seed=0):
    generator = torch.Generator().manual_seed(seed + 100)
    x = torch.randn(240, 6, generator=generator)
    y = torch.randint(2, (240,), generator=generator)
    return ArrayDataModule(
        x[:40], y[:40], val=(x[40:], y[40:]), test_fraction=0.0, batch_size=200, scaling=None
    )


class Wide(ParallelHybrid):
    def __init__(self):
        super().__init__(6, 2, hidden_dims=[512, 512, 8], circuit_type="series", n_modes=4)


class NotToBeCopied(Wide):
    """Holds what refuses to be copied, as an open file or a lock does."""

    def __init__(self):
        super().__init__()
        self.held = self.Held()

    class Held:
        def __deepcopy__(self, memo):
            raise TypeError("cannot be copied")


class Detached(Wide):
    """A function outside runs the model it was made for: a copy has no part in it."""

    def __init__(self):
        super().__init__()
        network = self.classical_path
        self.probe_losses = lambda batch: nn.functional.cross_entropy(
            network(batch[0])[:, :2], batch[1], reduction="none"
        )

    def training_step(self, batch, batch_idx):
        return self.probe_losses(batch).mean()


class TwoOptimizers(Wide):
    automatic_optimization = False

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        for optimizer in self.optimizers():
            optimizer.zero_grad()
        self.manual_backward(loss)
        for optimizer in self.optimizers():
            optimizer.step()

    def configure_optimizers(self):
        return [torch.optim.Adam(m.parameters()) for m in (self.classical_path, self.fusion)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cls", "reason"),
    [
        (NotToBeCopied, "a copy of the model could not be trained (TypeError: cannot be copied)"),
        (Detached, "the loss of the copy does not depend on the copy's parameters"),
        (TwoOptimizers, "repeating a stretch of training needs automatic optimization"),
    ],
)
def test_what_cannot_be_repeated_is_said_once_and_training_goes_on(cls, reason, make_trainer):
    torch.manual_seed(0)
    detector = OverfittingDetector(action="freeze", every_n_steps=5, window=2)
    trainer = make_trainer([detector], max_epochs=60)
    with pytest.warns(UserWarning) as caught:
        trainer.fit(cls(), memorizing())
    (said,) = [str(w.message) for w in caught if "overfits" in str(w.message)]
    assert said.startswith("the model overfits, and no part is named, since ") and reason in said
    assert trainer.current_epoch == 60 and detector.blamed == detector.frozen == []


def test_without_copies_nobody_is_named(make_trainer):
    torch.manual_seed(0)
    detector = OverfittingDetector(every_n_steps=5, replay_steps=0)
    with pytest.warns(UserWarning, match="no part is named, since replay_steps=0 leaves no copies"):
        make_trainer([detector], max_epochs=20).fit(Wide(), memorizing())
    assert detector.blamed == []


def test_overfitting_that_a_copy_does_not_show_names_nobody(make_trainer):
    """2 steps are too few."""
    torch.manual_seed(0)
    detector = OverfittingDetector(every_n_steps=5, replay_steps=2)
    with pytest.warns(UserWarning, match="no part can be named: .* a copy does not overfit"):
        make_trainer([detector], max_epochs=20).fit(Wide(), memorizing())


@pytest.mark.slow
def test_copies_that_die_by_chance_are_trained_again_in_another_order(make_trainer, monkeypatch):
    """And the model goes on from a copy of the order that did show something."""
    train = TrainedCopy.train
    trained = []

    def dead_at_first(copied, steps):
        trained.append((copied.draw, len(copied.frozen) > 0))
        if copied.draw == 0:
            copied.steps += steps
        else:
            train(copied, steps)

    torch.manual_seed(0)
    monkeypatch.setattr(TrainedCopy, "train", dead_at_first)
    detector = OverfittingDetector(action="freeze", every_n_steps=5)
    with pytest.warns(UserWarning, match="classical_path overfits"):
        make_trainer([detector], max_epochs=20).fit(Wide(), memorizing())
    assert detector.frozen == ["classical_path"]
    assert trained.index((1, False)) == 8 * 4 and trained[-1] == (1, True)
    assert "in a second order of rows" in detector._naming.said[0]


def test_a_part_that_cannot_go_back_is_frozen_as_it_is(make_trainer, monkeypatch):
    def fails(*_):
        raise RuntimeError("out of memory")

    torch.manual_seed(0)
    monkeypatch.setattr(Interventions, "go_back", fails)
    detector = OverfittingDetector(action="freeze", every_n_steps=5)
    trainer = make_trainer([detector], max_epochs=20)
    with pytest.warns(UserWarning, match=r"classical_path is frozen as it is, .*out of memory"):
        trainer.fit(Wide(), memorizing())
    assert detector.frozen[0] == "classical_path" and trainer.current_epoch == 20


def test_moments_by_name_from_before_are_those_of_the_parameters():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    groups = [model[1].weight, model[0].weight, model[0].bias, model[1].bias]  # in another order
    optimizer = torch.optim.Adam([{"params": groups[:1]}, {"params": groups[1:]}])
    model(torch.rand(5, 2)).sum().backward()
    optimizer.step()
    names = {id(p): name for name, p in model.named_parameters()}
    wanted = optimizer.state_dict()["state"]
    tensors = {
        f"{names[id(p)]}/{key}": wanted[i][key]
        for i, p in enumerate(groups)
        for key in ("exp_avg", "exp_avg_sq")
    }
    origin = {
        "step": 1,
        "values": packed({"a": torch.ones(1)}),
        "moments": packed(tensors),
        "plain_moments": [(names[id(p)], "step", wanted[i]["step"]) for i, p in enumerate(groups)],
    }
    batches = [(torch.rand(2, 2), torch.zeros(2))]
    kept = {"train": in_one(batches), "val": in_one(batches)}
    state = {"kept": kept, "origin": origin, "rates": [[0.1]], "shuffled": False, "spent": 3}
    loaded = Interventions(5, 5)
    loaded.load_state_dict({"interventions": state})
    again = Interventions(5, 5)
    again.load_state_dict(loaded.state_dict())
    trainer = SimpleNamespace(optimizers=[optimizer])
    for one in (loaded, again):
        found = _by_number(one._origin.moments, trainer, model)
        assert found.keys() == wanted.keys() and one._origin.rates == [[0.1]]
        for number, own in wanted.items():
            assert own.keys() == found[number].keys()
            assert all(torch.equal(own[key], found[number][key]) for key in own)
