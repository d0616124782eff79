"""After a finder has put everything back, a run is the one that it would have been without."""

import random

import numpy as np
import pytest
import torch
from kill_and_resume import differences
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import BatchSizeFinder, LearningRateFinder
from lightning.pytorch.tuner import Tuner

from hybridlit import ArrayDataModule, ParallelHybrid
from hybridlit.resume.checkpoint import HybridCheckpoint
from hybridlit.resume.exact_resume import ExactResume

PARTS = ("state_dict", "optimizer_states", "lr_schedulers", "loops", "epoch", "global_step")
STAGES = [["classical", 1], ["photonic", 1], ["both", 1]]


class Epochs(Callback):
    """Keeps the epochs that were run, what each trained, and the rates of each step."""

    def __init__(self):
        self.trained, self.rates = [], []

    def on_train_epoch_start(self, trainer, pl_module):
        self.trained.append((trainer.current_epoch, set()))

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.rates.append([group["lr"] for group in optimizer.param_groups])
        grown = {g["name"] for g in optimizer.param_groups if g["params"][0].grad is not None}
        self.trained[-1][1].update(grown)


def problem(workers=0, batch_size=6):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(60, 5, generator=generator)
    y = (x[:, 0] > 0).long() + (x[:, 1] > 0).long()
    return ArrayDataModule(x, y, batch_size=batch_size, num_workers=workers)  # 36 rows to train on


@pytest.fixture
def run(tmp_path, make_trainer):
    def run(folder, *callbacks, tune=None, data=None, resume=None, **model):
        torch.manual_seed(0), random.seed(0), np.random.seed(0)
        arguments = dict(input_dim=5, output_dim=3, n_modes=4, n_photons=2, dropout=0.3)
        network = ParallelHybrid(**(arguments | model))
        seen = Epochs()
        kept = HybridCheckpoint(dirpath=str(tmp_path / folder))
        trainer = make_trainer(
            [*callbacks, seen, ExactResume(), kept], max_epochs=3, enable_checkpointing=True
        )
        data = data or problem()
        if tune is not None:
            tune(Tuner(trainer), network, data)
        trainer.fit(network, data, ckpt_path=resume)
        trainer.save_checkpoint(tmp_path / "end.pt")
        return torch.load(tmp_path / "end.pt", weights_only=True), seen, network

    return run


def rate_finder():
    return LearningRateFinder(num_training_steps=25, min_lr=1e-4, attr_name="classical_lr")


def with_tuner(tuner, model, data):
    tuner.lr_find(model, datamodule=data, num_training=25, min_lr=1e-4, attr_name="classical_lr")


@pytest.mark.slow
@pytest.mark.parametrize("tuner", [False, True])
@pytest.mark.parametrize(
    "model",
    [dict(stages=STAGES), dict(schedule="cosine", warmup_epochs=0.5), dict(schedule="plateau")],
)
def test_a_run_after_the_rate_finder_is_one_with_the_rate_found(tuner, model, run, tmp_path):
    callbacks, tune = ([], with_tuner) if tuner else ([rate_finder()], None)
    found, seen, network = run("found", *callbacks, tune=tune, **model)
    rate = network.hparams["classical_lr"]
    assert rate != 3e-3
    plain, expected, _ = run("plain", classical_lr=rate, **model)
    for part in PARTS:
        assert differences(plain[part], found[part]) == [], part
    assert seen.rates == expected.rates and seen.trained == expected.trained
    assert [epoch for epoch, _ in seen.trained] == [0, 1, 2]
    loaded = ParallelHybrid.load_from_checkpoint(tmp_path / "found" / "last.ckpt")
    assert loaded.hparams["classical_lr"] == rate
    names = sorted(path.name for path in (tmp_path / "found").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "plain").iterdir())


def test_stages_begin_with_the_first_after_a_finder(run):
    _, seen, _ = run("found", rate_finder(), stages=STAGES)
    assert seen.trained == [(0, {"classical"}), (1, {"photonic"}), (2, {"classical", "photonic"})]


@pytest.mark.slow
def test_worker_processes_after_a_finder(run):
    found, _, network = run("found", rate_finder(), data=problem(workers=1))
    plain, _, _ = run("plain", classical_lr=network.hparams["classical_lr"])
    for part in ("state_dict", "optimizer_states"):
        assert differences(plain[part], found[part]) == []


@pytest.mark.slow
@pytest.mark.parametrize("tuner", [False, True])
@pytest.mark.parametrize("model", [dict(stages=STAGES), dict(schedule="cosine", warmup_epochs=1)])
def test_a_run_after_the_batch_size_finder_is_one_with_the_size_found(tuner, model, run):
    options = dict(max_trials=3, init_val=4, steps_per_trial=2)
    tune = lambda tuner, net, data: tuner.scale_batch_size(net, datamodule=data, **options)  # noqa: E731
    data = problem()
    finder = [] if tuner else [BatchSizeFinder(**options)]
    found, seen, _ = run("found", *finder, tune=tune if tuner else None, data=data, **model)
    assert data.batch_size not in (4, 6)
    plain, expected, _ = run("plain", data=problem(batch_size=data.batch_size), **model)
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "epoch", "global_step"):
        assert differences(plain[part], found[part]) == [], part
    assert seen.rates == expected.rates and seen.trained == expected.trained


@pytest.mark.slow
def test_a_finder_would_discard_the_checkpoint_of_a_resumed_run(run, tmp_path):
    run("a")
    with pytest.raises(ValueError, match=r"checkpoint is of step 18 .* begins with step 0: .*Find"):
        run("a", rate_finder(), resume=tmp_path / "a" / "last.ckpt")


def test_a_finder_does_not_make_the_folder_of_another_run_ones_own(run, tmp_path):
    run(".")  # the finder keeps its file in the same folder
    with pytest.raises(ValueError, match="holds checkpoints of another run"):
        run(".", rate_finder())


class SaveIn(Callback):
    """Saves a checkpoint in a hook before the first step."""

    def __init__(self, hook, path):
        setattr(self, hook, lambda trainer, *_: trainer.save_checkpoint(path))


@pytest.mark.parametrize("hook", ["on_fit_start", "on_sanity_check_end", "on_train_start"])
@pytest.mark.parametrize(
    ("model", "workers"),
    [
        (dict(stages=STAGES), 0),
        pytest.param(dict(schedule="cosine"), 0, marks=pytest.mark.slow),
        pytest.param(dict(schedule="cosine"), 1, marks=pytest.mark.slow),
        pytest.param(dict(stages=STAGES), 1, marks=pytest.mark.slow),
    ],
)
def test_a_checkpoint_of_before_the_first_step_is_a_beginning(hook, model, workers, run, tmp_path):
    path = tmp_path / "start" / "a.pt"
    path.parent.mkdir()
    whole, seen, _ = run("whole", SaveIn(hook, path), data=problem(workers), **model)
    assert torch.load(path, weights_only=True)["global_step"] == 0
    torch.manual_seed(5)
    again, once_more, _ = run("again", resume=path, data=problem(workers), **model)
    for part in PARTS:
        assert differences(whole[part], again[part]) == [], part
    assert seen.trained == once_more.trained and seen.rates == once_more.rates
