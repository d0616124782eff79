import csv
import os
import random
import signal
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from kill_and_resume import differences
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.callbacks import EarlyStopping, GradientAccumulationScheduler
from lightning.pytorch.loggers import CSVLogger
from process_group import LeaveGroup
from torch.utils.data import DataLoader, Dataset, TensorDataset

from hybridlit import ArrayDataModule, ParallelHybrid, SequentialHybrid
from hybridlit.callbacks.alternating import AlternatingTraining
from hybridlit.callbacks.gradient_imbalance import GradientImbalanceMonitor
from hybridlit.callbacks.mixed_precision import MixedPrecision
from hybridlit.callbacks.overfitting import OverfittingDetector
from hybridlit.data.resumable import ResumableLoader
from hybridlit.resume.checkpoint import HybridCheckpoint
from hybridlit.resume.exact_resume import ExactResume
from hybridlit.resume.folder import newest_checkpoint
from hybridlit.resume.random_state import RandomState


class Noisy(ParallelHybrid):
    """Draws from every generator there is."""

    def training_step(self, batch, batch_idx):
        inputs, targets = batch
        noise = random.gauss(0, 0.1) + float(np.random.standard_normal()) / 10
        return super().training_step((inputs + noise, targets), batch_idx)


class Seen(Callback):
    """Keeps what each epoch has logged."""

    def __init__(self):
        self.logged = {}

    def on_train_epoch_end(self, trainer, pl_module):
        values = {name: value.item() for name, value in trainer.callback_metrics.items()}
        self.logged[trainer.current_epoch] = values


class Stop(Callback):
    """Interrupts training in the nth call of a hook."""

    def __init__(self, hook, calls):
        self.calls = calls
        setattr(self, hook, self.stop)

    def stop(self, *_):
        self.calls -= 1
        if self.calls == 0:
            raise KeyboardInterrupt


def problem(workers=0):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(60, 5, generator=generator)
    y = (x[:, 0] > 0).long() + (x[:, 1] > 0).long()
    return ArrayDataModule(x, y, batch_size=6, num_workers=workers)  # 6 batches an epoch


@pytest.fixture
def run(tmp_path, make_trainer):
    """Train, and return what a checkpoint at the end holds, and what each epoch has logged."""

    def run(
        folder,
        seed,
        resume=None,
        *,
        data=None,
        extra=list,
        model=None,
        exact=True,
        saving=None,
        before=False,  # whether `extra` stands before ExactResume
        **options,
    ):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)
        arguments = dict(input_dim=5, output_dim=3, n_modes=4, n_photons=2, dropout=0.3)
        changes = model if isinstance(model, dict) else {}
        network = model() if callable(model) else Noisy(**(arguments | changes))
        seen = Seen()
        every_step = dict(every_n_steps=1, keep=99, save_last=False)
        kept = HybridCheckpoint(dirpath=str(folder), **(every_step | (saving or {})))
        trainer = make_trainer(
            [
                *(extra() if before else []),
                *([ExactResume()] if exact else []),
                seen,
                *([] if before else extra()),
                kept,
            ],
            **(dict(max_epochs=2, enable_checkpointing=True) | options),
        )
        trainer.fit(network, data() if data else problem(), ckpt_path=resume)
        trainer.save_checkpoint(tmp_path / "end.pt")
        return torch.load(tmp_path / "end.pt", weights_only=True), seen.logged

    return run


@pytest.fixture
def resumed_everywhere(tmp_path, run):
    """Resume a run from each checkpoint of every step; say where it ends differently."""

    def resume(every=1, **options):
        whole, logged = run(tmp_path / "whole", 0, **options)
        found, count = {}, 0
        files = sorted((tmp_path / "whole").glob("*.ckpt"))
        for number, path in enumerate(files[::every]):
            if torch.load(path, weights_only=True)["global_step"] == whole["global_step"]:
                continue
            # in a folder with the same files, so that the best ones are found
            folder = tmp_path / f"again{number}"
            folder.mkdir()
            for other in files:
                (folder / other.name).hardlink_to(other)
            again, seen = run(folder, 1 + number, folder / path.name, **options)
            expected = {epoch: logged[epoch] for epoch in seen}
            count += 1
            different = differences(whole, again) + differences(expected, seen, "/logged")
            if different:
                found[path.name] = different
        assert count >= 3
        return found

    return resume


CASES = {
    "accumulated, clipped, cosine, two validations an epoch": dict(
        accumulate_grad_batches=2,
        gradient_clip_val=0.5,
        val_check_interval=0.5,
        model=dict(schedule="cosine", warmup_epochs=1),
    ),
    "a limit of steps within an epoch, validation every other epoch, stages": dict(
        max_epochs=-1,
        max_steps=15,
        check_val_every_n_epoch=2,
        model=dict(stages=[["classical", 1], ["both", 1]]),
    ),
    "plateau, other callbacks": dict(
        model=dict(schedule="plateau", plateau_patience=0, normalization="standard"),
        extra=lambda: [
            AlternatingTraining(classical_steps=3, quantum_steps=1),
            GradientImbalanceMonitor(every_n_steps=2),
            OverfittingDetector(every_n_steps=2, probe_batches=1, window=2),
            MixedPrecision(every_n_steps=2),
            EarlyStopping("train/loss", patience=1, mode="max"),
        ],
    ),
    "validation every five batches, across epochs; metrics that keep rows, class weights": dict(
        check_val_every_n_epoch=None,
        val_check_interval=5,
        model=dict(
            metrics=["f1", "auroc", "balanced_accuracy", "torchmetrics.CohenKappa"],
            class_weights="balanced",
            label_smoothing=0.1,
        ),
    ),
    "accumulation that changes, cosine": dict(
        max_epochs=3,
        extra=lambda: [GradientAccumulationScheduler({0: 3, 1: 2, 2: 1})],
        before=True,
        model=dict(schedule="cosine", warmup_epochs=1.5),
    ),
    "shots": dict(
        model=dict(
            shots=20,
            shot_gradient="score",
        ),
    ),
    "phases with errors, a device that is learned": dict(
        every=3,
        model=lambda: under(
            {"phase_error": 0.1, "transmittance": 0.7, "trainable": ["transmittance"]}
        ),
    ),
    "phases in steps": dict(every=3, model=lambda: under({"phase_imprecision": 0.3})),
}


def under(noise):
    circuit = dict(circuit_type="series", n_modes=4, n_photons=2, noise=noise)
    return Noisy(5, 3, experiment=circuit, dropout=0.3)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_run_resumed_at_any_step_equals_the_uninterrupted_one(case, resumed_everywhere):
    assert resumed_everywhere(**CASES[case]) == {}


def test_a_scheduler_of_accumulation_must_stand_before(run, tmp_path):
    behind = dict(extra=lambda: [GradientAccumulationScheduler({0: 2})])
    run(tmp_path / "a", 0, **behind)
    with pytest.raises(ValueError, match="put it before ExactResume"):
        run(tmp_path / "a", 0, tmp_path / "a" / "step00000002.ckpt", **behind)


def test_without_the_callback_it_does_not(resumed_everywhere):
    found = resumed_everywhere(every=3, exact=False)
    assert all(any(d.startswith("/state_dict") for d in where) for where in found.values())
    assert len(found) >= 3


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        dict(),
        dict(max_steps=14, max_epochs=-1),
        dict(accumulate_grad_batches=4),
        dict(val_check_interval=2, accumulate_grad_batches=2),
        dict(model=dict(schedule="plateau", plateau_patience=0, warmup_epochs=1)),
        dict(model=dict(stages=[["classical", 1], ["photonic", 1]])),
        dict(limit_train_batches=4, limit_val_batches=1, max_epochs=3),
        dict(data=lambda: problem(workers=2), every=3),
    ],
)
def test_more_runs_resumed_at_any_step(options, resumed_everywhere):
    assert resumed_everywhere(**options) == {}


class Stepwise(LightningModule):
    """No template: batch normalization, and a plateau that Lightning steps after it has saved."""

    def __init__(self):
        super().__init__()
        self.net = torch.nn.Sequential(
            torch.nn.Linear(5, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU(), torch.nn.Linear(8, 3)
        )

    def training_step(self, batch, batch_idx):
        loss = torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])
        self.log_dict({"sum": loss, "top": loss}, on_step=True, on_epoch=True)
        self.log("largest", loss, on_step=False, on_epoch=True, reduce_fx="max")
        self.log("smallest", loss, on_step=False, on_epoch=True, reduce_fx="min")
        self.log("total", loss, on_step=False, on_epoch=True, reduce_fx="sum")
        return loss

    def on_train_epoch_start(self):
        self.log("begun", float(self.current_epoch), on_step=False, on_epoch=True)

    def validation_step(self, batch, batch_idx):
        self.log("val/loss", torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1]))

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=0.3)
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, threshold=0.2)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": plateau, "monitor": "val/loss"},
        }


@pytest.mark.slow
@pytest.mark.parametrize("limit", [dict(max_epochs=3), dict(max_epochs=-1, max_steps=18)])
def test_any_lightning_module(limit, resumed_everywhere, run, tmp_path):
    assert resumed_everywhere(model=Stepwise, every=2, **limit) == {}
    rate = run(tmp_path / "rate", 0, model=Stepwise, **limit)[0]["optimizer_states"][0]
    assert rate["param_groups"][0]["lr"] < 0.3  # so the plateau has played a part


class Counting(Stepwise):
    """Logs a value that always gets better."""

    def on_train_epoch_start(self):
        self.log("epoch", float(self.current_epoch), on_step=False, on_epoch=True)


class StepwisePlateau(Stepwise):
    """Its plateau is stepped after batches, where Lightning does so after checkpoints are saved."""

    def __init__(self, monitor="val/loss", frequency=1, normalized=True):
        super().__init__()
        if not normalized:
            self.net[1] = torch.nn.Identity()
        self.monitor, self.frequency = monitor, frequency

    def configure_optimizers(self):
        return {
            "optimizer": (optimizer := torch.optim.SGD(self.parameters(), lr=0.3)),
            "lr_scheduler": {
                "scheduler": torch.optim.lr_scheduler.ReduceLROnPlateau(
                    optimizer, patience=1, threshold=0.2, factor=0.9
                ),
                "monitor": self.monitor,
                "interval": "step",
                "frequency": self.frequency,
                "strict": False,  # there is no value before the first validation
            },
        }


PLATEAUS = {
    "of each step": (lambda: StepwisePlateau("top_step"), dict()),
    "of every other step": (lambda: StepwisePlateau("top_step", 2), dict()),
    "of validations": (StepwisePlateau, dict(val_check_interval=0.5)),
    "of accumulated steps": (StepwisePlateau, dict(accumulate_grad_batches=2)),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", PLATEAUS)
def test_a_plateau_by_steps(case, resumed_everywhere, run, tmp_path):
    model, options = PLATEAUS[case]
    assert resumed_everywhere(model=model, max_epochs=3, **options) == {}
    rate = run(tmp_path / "rate", 0, model=model, max_epochs=3, **options)[0]["optimizer_states"][0]
    assert rate["param_groups"][0]["lr"] < 0.3  # so the plateau has played a part


class Augmented(Dataset):
    """Rows with random noise from every generator, drawn wherever the row is read."""

    def __init__(self):
        self.x = torch.randn(36, 5, generator=torch.Generator().manual_seed(2))

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        noise = torch.randn(5) + random.gauss(0, 1) + np.random.standard_normal()
        return (self.x[index] + 0.1 * noise).float(), int(self.x[index, 0] > 0)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("persistent", [False, True])
def test_data_with_random_augmentation(workers, persistent, resumed_everywhere):
    if persistent and not workers:
        pytest.skip("persistent workers need workers")

    def data():
        return ResumableLoader(
            Augmented(),
            batch_size=6,
            shuffle=True,
            num_workers=workers,
            persistent_workers=persistent,
        )

    model = dict(output_dim=2)
    assert resumed_everywhere(data=data, model=model, every=3 if workers else 2) == {}


INTERRUPTIONS = [
    ("on_train_batch_start", 4),
    ("on_train_batch_start", 7),
    ("on_after_backward", 3),
    ("on_after_backward", 8),
    ("on_before_optimizer_step", 5),
    ("on_train_batch_end", 9),
    ("on_validation_batch_start", 4),
    ("on_validation_epoch_end", 2),
]


PLAIN = dict(save_top_k=0, every_n_steps=None)  # so that an interruption leaves the only file


@pytest.mark.parametrize(
    ("options", "interruptions"),
    [
        (dict(), INTERRUPTIONS),
        pytest.param(dict(accumulate_grad_batches=2), INTERRUPTIONS, marks=pytest.mark.slow),
        pytest.param(dict(val_check_interval=0.5), INTERRUPTIONS, marks=pytest.mark.slow),
        (
            dict(
                model=lambda: StepwisePlateau("val/loss", normalized=False), val_check_interval=0.5
            ),
            INTERRUPTIONS[1::2],
        ),
    ],
)
def test_an_interrupted_run_goes_on_from_its_last_step(
    options, interruptions, run, tmp_path, monkeypatch
):
    monkeypatch.setattr("signal.signal", lambda *_: None)  # Lightning would go on ignoring Ctrl-C
    whole, _ = run(tmp_path / "whole", 0, **options)
    for number, (hook, calls) in enumerate(interruptions):
        folder = tmp_path / f"run{number}"
        stop = Stop(hook, calls)
        with pytest.raises(SystemExit):
            run(folder, 0, extra=lambda stop=stop: [stop], saving=PLAIN, **options)
        again, _ = run(folder, 9, folder / "interrupted.ckpt", saving=PLAIN, **options)
        for part in ("state_dict", "optimizer_states", "lr_schedulers", "epoch", "global_step"):
            assert differences(whole[part], again[part]) == [], (hook, calls, part)


class CtrlC(Stop):
    """Presses Ctrl-C in the nth call of a hook."""

    def stop(self, *_):
        self.calls -= 1
        if self.calls == 0:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        dict(),
        pytest.param(dict(accumulate_grad_batches=2), marks=pytest.mark.slow),
        pytest.param(dict(val_check_interval=0.5), marks=pytest.mark.slow),
        pytest.param(dict(limit_train_batches=4, max_epochs=4), marks=pytest.mark.slow),
    ],
)
@pytest.mark.usefixtures("signals_kept")
def test_ctrl_c_waits_until_a_resumed_run_misses_nothing(options, run, tmp_path):
    whole, logged = run(tmp_path / "whole", 0, **options)
    hooks = [*INTERRUPTIONS, ("on_train_epoch_end", 1), ("on_validation_batch_end", 3)]
    hooks += [("on_before_optimizer_step", 4)]
    for number, (hook, calls) in enumerate(hooks):
        signal.signal(signal.SIGINT, signal.default_int_handler)
        folder = tmp_path / f"run{number}"
        press = CtrlC(hook, calls)
        with pytest.raises(SystemExit):
            run(folder, 0, extra=lambda press=press: [press], saving=PLAIN, **options)
        again, seen = run(folder, 9, folder / "interrupted.ckpt", saving=PLAIN, **options)
        assert again["global_step"] == whole["global_step"]
        expected = {epoch: logged[epoch] for epoch in seen}
        found = differences(whole, again) + differences(expected, seen, "/logged")
        # where a validation is begun anew, Lightning counts its batches again
        passed = ("/callbacks/HybridCheckpoint", "val_loop.batch_progress")
        assert [d for d in found if not any(p in d for p in passed)] == [], (hook, calls)


class Averaging(Noisy):
    """Averages its weights in the hook that comes behind those of all callbacks."""

    def __init__(self):
        super().__init__(input_dim=5, output_dim=3, n_modes=4, n_photons=2)
        self.register_buffer("average", torch.zeros(()))

    def on_train_batch_end(self, *_):
        self.average.mul_(0.9).add_(self.quantum_path.phases.detach().sum())


@pytest.mark.parametrize(("hook", "calls"), [("on_after_backward", 3), ("on_after_backward", 6)])
@pytest.mark.usefixtures("signals_kept")
def test_ctrl_c_waits_for_everything_that_belongs_to_a_step(hook, calls, run, tmp_path):
    def rows(name):
        paths = sorted(tmp_path.glob(f"{name}/*/metrics.csv"))
        found = [row for path in paths for row in csv.DictReader(path.open())]
        return [{key: value for key, value in row.items() if value} for row in found]

    def logged(name):
        table = CSVLogger(tmp_path, name=name)
        return dict(model=Averaging, saving=PLAIN, logger=table, log_every_n_steps=1)

    watch = lambda: [GradientImbalanceMonitor(every_n_steps=1)]  # noqa: E731
    whole, _ = run(tmp_path / "whole", 0, extra=watch, **logged("w"))
    press = CtrlC(hook, calls)
    with pytest.raises(SystemExit):
        run(tmp_path / "a", 0, extra=lambda: [*watch(), press], **logged("a"))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    path = tmp_path / "a" / "interrupted.ckpt"
    again, _ = run(tmp_path / "a", 9, path, extra=watch, **logged("a"))
    assert differences(whole["state_dict"], again["state_dict"]) == []
    assert rows("a") == rows("w") and rows("w")


@pytest.mark.usefixtures("signals_kept")
def test_ctrl_c_amid_a_validation_does_not_wait_for_its_end(run, tmp_path):
    batches = []

    class Count(Callback):
        def on_validation_batch_start(self, *_):
            batches.append("validation")

    press = CtrlC("on_validation_batch_start", 1)
    with pytest.raises(SystemExit):
        run(tmp_path / "a", 0, extra=lambda: [press, Count()], num_sanity_val_steps=0)
    assert batches == ["validation"]  # of two


@pytest.mark.usefixtures("signals_kept")
def test_ctrl_c_at_the_very_end_is_obeyed(run, tmp_path):
    press = CtrlC("on_train_epoch_end", 2)
    with pytest.raises(SystemExit):
        run(tmp_path / "a", 0, extra=lambda: [press])
    assert newest_checkpoint(tmp_path / "a").name == "step00000012.ckpt"
    assert "interrupted.ckpt" not in {path.name for path in (tmp_path / "a").iterdir()}


@pytest.mark.usefixtures("signals_kept")
def test_ctrl_c_waits_only_for_a_save_if_it_ends_the_workers_as_well(run, tmp_path):
    options = dict(data=lambda: problem(workers=1))
    hooks = []

    class After(Callback):
        def on_before_optimizer_step(self, *_):
            hooks.append("step")

    press = CtrlC("on_after_backward", 3)
    with pytest.raises(SystemExit):
        run(tmp_path / "a", 0, extra=lambda: [press, After()], **options)
    assert hooks == ["step"] * 2


@pytest.mark.parametrize(
    ("saving", "options", "name"),
    [
        (dict(save_top_k=0), dict(), "step00000001.ckpt"),
        (dict(every_n_steps=None), dict(val_check_interval=0.5), "best-epoch000-step3.ckpt"),
        (dict(every_n_steps=None), dict(), "best-epoch000-step6.ckpt"),
    ],
)
@pytest.mark.usefixtures("signals_kept")
def test_a_save_is_finished_even_if_ctrl_c_waits_for_nothing_else(
    saving, options, name, run, tmp_path, monkeypatch
):
    monkeypatch.setattr("hybridlit.resume.checkpoint._worker_processes", lambda _: True)
    sync, pressed = os.fsync, []

    def press(descriptor):
        if not pressed:
            pressed.append(True)
            os.kill(os.getpid(), signal.SIGINT)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", press)
    with pytest.raises(SystemExit):
        run(tmp_path / "a", 0, saving=saving, **options)
    assert [path.name for path in (tmp_path / "a").iterdir()] == [name]
    assert newest_checkpoint(tmp_path / "a").name == name


@pytest.mark.parametrize("error", [None, ValueError("bad data")])
@pytest.mark.usefixtures("signals_kept")  # a job in the background is started with it ignored
def test_ctrl_c_is_given_back(error, run, tmp_path):
    class Fails(Callback):
        def on_after_backward(self, *_):
            assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
            if error is not None:
                raise error

    with nullcontext() if error is None else pytest.raises(ValueError, match="bad data"):
        run(tmp_path / "a", 0, extra=lambda: [Fails()])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("signals_kept")
def test_ctrl_c_that_is_ignored_stays_ignored(run, tmp_path):
    handlers = []

    class Presses(Callback):
        def on_after_backward(self, *_):
            os.kill(os.getpid(), signal.SIGINT)
            handlers.append(signal.getsignal(signal.SIGINT))

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end, _ = run(tmp_path / "a", 0, extra=lambda: [Presses()])
    assert end["global_step"] == 12 and set(handlers) == {signal.SIG_IGN}
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_a_save_that_is_interrupted_is_not_counted_twice(run, tmp_path, monkeypatch):
    monkeypatch.setattr("signal.signal", lambda *_: None)
    patience = dict(extra=lambda: [EarlyStopping("val/loss", patience=99, mode="max")])
    options = dict(val_check_interval=0.5, **patience)
    whole, _ = run(tmp_path / "whole", 0, **options)
    sync, waited = os.fsync, [3, 3, 9]  # the second amid the first save after a validation

    def interrupted(descriptor):
        if waited:
            waited[0] -= 1
            if not waited[0]:
                waited.pop(0)
                raise KeyboardInterrupt
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", interrupted)
    resume, again = None, None
    while again is None:
        try:
            again, _ = run(tmp_path / "again", 7 if resume else 0, resume, **options)
        except SystemExit:
            resume = newest_checkpoint(tmp_path / "again")
    assert not waited
    for part in ("state_dict", "optimizer_states", "callbacks", "epoch", "global_step"):
        assert differences(whole[part], again[part]) == []


def test_a_run_prolonged_in_the_middle_of_an_epoch(run, tmp_path):
    whole, _ = run(tmp_path / "whole", 0, max_epochs=-1, max_steps=15)
    run(tmp_path / "short", 0, max_epochs=-1, max_steps=8, saving=dict(save_last=True))
    for name in ("step00000008.ckpt", "last.ckpt"):  # the latter after the end of the epoch
        path = tmp_path / "short" / name
        again, _ = run(tmp_path / "short", 5, path, max_epochs=-1, max_steps=15)
        for part in ("state_dict", "optimizer_states", "epoch", "global_step"):
            assert differences(whole[part], again[part]) == [], (name, part)


def test_a_finished_run_that_is_resumed_stays_as_it_is(run, tmp_path):
    whole, _ = run(tmp_path / "a", 0)
    again, _ = run(tmp_path / "a", 5, tmp_path / "a" / "step00000012.ckpt")
    for part in ("state_dict", "optimizer_states", "callbacks", "epoch", "global_step"):
        assert differences(whole[part], again[part]) == []


def test_a_run_that_early_stopping_ended_stays_ended(run, tmp_path, caplog):
    options = dict(max_epochs=6, extra=lambda: [EarlyStopping("train/loss", mode="max")])
    whole, _ = run(tmp_path / "a", 0, **options)  # stops after 3 epochs without a larger loss
    assert whole["global_step"] < 36
    (path,) = (tmp_path / "a").glob(f"step{whole['global_step']:08d}.ckpt")
    again, seen = run(tmp_path / "a", 5, path, **options)
    assert not seen and "EarlyStopping had ended this run" in caplog.text
    for part in ("state_dict", "optimizer_states", "epoch", "global_step"):
        assert differences(whole[part], again[part]) == []


@pytest.mark.parametrize("patience", [0, 1])
def test_a_run_that_early_stopping_did_not_end_goes_on(patience, run, tmp_path, caplog):
    options = dict(extra=lambda: [EarlyStopping("epoch", patience=patience, mode="max")])
    run(tmp_path / "a", 0, model=Counting, **options)
    path = tmp_path / "a" / "step00000012.ckpt"
    again, _ = run(tmp_path / "a", 5, path, model=Counting, max_epochs=3, **options)
    assert again["global_step"] == 18 and "had ended" not in caplog.text


def without(content, name):
    if not isinstance(content, dict):
        return content
    return {key: without(value, name) for key, value in content.items() if key != name}


def test_an_older_run_goes_on_with_the_head_that_it_has(run, tmp_path, recwarn):
    """Narrower than the default of today: with its moments in the optimizer, bit for bit."""

    def binary():
        x = torch.randn(60, 5, generator=torch.Generator().manual_seed(1))
        return ArrayDataModule(x, (x[:, 0] > 0).long(), batch_size=6)

    def template(**head):
        return SequentialHybrid(5, 2, 1, task="binary", n_modes=4, n_photons=2, **head)

    whole, _ = run(tmp_path / "a", 0, data=binary, model=lambda: template(head_dim=2))
    path = tmp_path / "a" / "step00000003.ckpt"
    content = torch.load(path, weights_only=True)
    torch.save(without(content, "head_dim"), path)  # which was always twice output_dim
    assert template().classical_post[0].out_features == 16
    again, _ = run(tmp_path / "a", 5, path, data=binary, model=template)
    assert not [w for w in recwarn if "Resumed with another" in str(w.message)]
    for part in ("state_dict", "optimizer_states", "callbacks", "epoch", "global_step"):
        assert differences(whole[part], again[part]) == []


def test_the_run_itself_is_not_changed(run, tmp_path):
    with_it, without = (run(tmp_path / str(e), 0, exact=e)[0] for e in (True, False))
    for part in ("state_dict", "optimizer_states", "loops"):
        assert differences(with_it[part], without[part]) == []


def test_the_state_of_the_generators_is_plain_and_complete(tmp_path):
    random.gauss(0, 1)  # leaves a second value waiting
    np.random.standard_normal()
    torch.save(RandomState.now().plain(), tmp_path / "state.pt")

    def draw():
        numpy = (np.random.random(), np.random.standard_normal())
        return torch.rand(2).tolist(), numpy, random.random(), random.gauss(0, 1)

    drawn = draw()
    RandomState.of(torch.load(tmp_path / "state.pt", weights_only=True)).restore()
    assert draw() == drawn


@pytest.mark.parametrize(
    "draw",
    [
        lambda: None,
        lambda: torch.rand(1),
        np.random.random,
        np.random.standard_normal,
        lambda: np.random.seed(3),
        lambda: np.random.permutation(5),
        random.random,
        lambda: random.gauss(0, 1),
    ],
)
@pytest.mark.parametrize("normal_waits", [False, True])
def test_a_state_notices_every_draw_since_the_one_before(draw, normal_waits):
    np.random.seed(1)
    if normal_waits:
        np.random.standard_normal()
    before = RandomState.now()
    draw()
    assert differences(RandomState.now(before).plain(), RandomState.now().plain()) == []


def test_what_has_not_moved_is_not_read_anew():
    np.random.seed(1)
    before = RandomState.now()
    assert RandomState.now(before).numpy is before.numpy


def test_a_state_is_right_whichever_generator_numpy_uses():
    usual = np.random.get_bit_generator()
    before = RandomState.now()
    try:
        np.random.set_bit_generator(np.random.MT19937(5))
        other = RandomState.now(before).plain()
        assert differences(other, RandomState.now().plain()) == []
        assert differences(other["numpy"], before.plain()["numpy"])
    finally:
        np.random.set_bit_generator(usual)


def loaders():
    return DataLoader(TensorDataset(torch.randn(12, 5), torch.arange(12) % 3), batch_size=6)


def test_data_that_cannot_be_resumed_are_told(run, tmp_path):
    with pytest.warns(UserWarning, match="cannot keep the position in the training data"):
        run(tmp_path / "a", 0, data=loaders)


def test_a_checkpoint_without_our_state_is_told(run, tmp_path):
    run(tmp_path / "a", 0, exact=False)
    with pytest.warns(UserWarning, match="saved without ExactResume"):
        run(tmp_path / "a", 0, tmp_path / "a" / "step00000004.ckpt")


def test_another_number_of_processes_is_told(run, tmp_path):
    run(tmp_path / "a", 0)
    path = tmp_path / "a" / "step00000004.ckpt"
    content = torch.load(path, weights_only=True)
    content["callbacks"]["ExactResume"]["random"] *= 2
    torch.save(content, path)
    with pytest.warns(UserWarning, match="saved by 2 processes and is resumed by 1"):
        run(tmp_path / "a", 0, path)


def test_other_data_are_refused(run, tmp_path):
    run(tmp_path / "a", 0)
    short = loaders().dataset
    with pytest.raises(ValueError, match=r"after batch 5 of an epoch, and this one has 2 batches"):
        run(
            tmp_path / "a",
            0,
            tmp_path / "a" / "step00000005.ckpt",
            data=lambda: ResumableLoader(short, batch_size=6),
        )


@pytest.mark.slow
def test_two_processes(tmp_path, make_trainer):
    def run(resume=None, seed=0, **options):
        torch.manual_seed(seed)
        model = Noisy(input_dim=5, output_dim=3, n_modes=4, n_photons=2, dropout=0.3)
        kept = HybridCheckpoint(every_n_steps=1, keep=99, dirpath=str(tmp_path / "c"))
        trainer = make_trainer(
            [ExactResume(), Different(), kept, LeaveGroup()],
            enable_checkpointing=True,
            max_epochs=2,
            devices=2,
            strategy="ddp_fork",
            **options,
        )
        trainer.fit(model, problem(), ckpt_path=resume)

    run()
    whole = torch.load(tmp_path / "c" / "last.ckpt", weights_only=True)
    states = whole["callbacks"]["ExactResume"]["random"]
    assert len(states) == 2 and not torch.equal(states[0]["torch"], states[1]["torch"])
    for step in (2, 3):
        (tmp_path / "c" / "last.ckpt").unlink(missing_ok=True)
        run(tmp_path / "c" / f"step{step:08d}.ckpt", seed=7)
        again = torch.load(tmp_path / "c" / "last.ckpt", weights_only=True)
        for part in ("state_dict", "optimizer_states", "callbacks"):
            assert differences(whole[part], again[part]) == [], (step, part)


class Different(Callback):
    """Lets each process of a new run have random numbers of its own."""

    def on_fit_start(self, trainer, pl_module):
        if trainer.ckpt_path is None:
            torch.manual_seed(100 + trainer.global_rank)
