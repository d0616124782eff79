import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from lightning.pytorch import Callback, LightningDataModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from shown_scores import shown_score
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hybridlit import SequentialHybrid, SklearnDataModule
from hybridlit.cli import main
from hybridlit.cli.loading import load_model, load_run
from hybridlit.cli.training import HybridCLI
from hybridlit.internals.lightning import INSTANTIATES
from hybridlit.templates.foreign_names import unimported_name

MODEL = ["--model=SequentialHybrid", "--model.input_dim=4", "--model.quantum_dim=2"]
MODEL += ["--model.output_dim=3", "--model.n_modes=4", "--model.n_photons=2"]
DATA = ["--data=SklearnDataModule", "--data.dataset=iris"]
SHORT = ["--trainer.accelerator=cpu", "--trainer.enable_model_summary=false"]

pytestmark = pytest.mark.filterwarnings("ignore:LightningCLI's args parameter")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def fit(*options):
    main(["fit", *MODEL, *DATA, *SHORT, "--trainer.max_epochs=2", *options])


class Untested(SklearnDataModule):
    """Data without a test split."""

    def __init__(self, val_fraction: float = 0.2):
        super().__init__("iris", val_fraction=val_fraction, test_fraction=0.0)


class NoTestLoader(LightningDataModule):
    """Data that never heard of a test."""

    def train_dataloader(self):
        return SklearnDataModule("iris").train_dataloader()

    def val_dataloader(self):
        return SklearnDataModule("iris").val_dataloader()


class Fixed(SequentialHybrid):
    """A subclass with an argument of its own and one fixed."""

    def __init__(self, depth: int = 2, **kwargs):
        super().__init__(n_modes=5, **kwargs)


class Classical(SequentialHybrid):
    """Nothing photonic in it."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        width = self.quantum_layer(torch.zeros(1, self.hparams.quantum_dim)).shape[1]
        self.quantum_layer = torch.nn.Linear(self.hparams.quantum_dim, width)


class Declining(SequentialHybrid):
    """Gets worse with every epoch."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.register_buffer("decline", torch.zeros(3))

    def on_train_epoch_start(self):
        self.decline[0] += 5

    def forward(self, x):
        return super().forward(x) + self.decline


class Interrupts(Callback):
    """Does in one hook what a user or a system would do."""

    def __init__(self, hook: str, signal_number: int):
        setattr(self, hook, lambda *_: os.kill(os.getpid(), signal_number))


def test_help_explains_every_argument_of_a_template(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--model.help=SequentialHybrid"])
    assert stop.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "--model.n_photons" in shown and "Number of photons, at least 1." in shown
    assert "--model.quantum_lr" in shown and "Learning rate of the photonic" in shown


def test_fit_logs_keeps_checkpoints_and_tests_the_best(place, capsys):
    fit()
    run = place / "runs" / "SequentialHybrid" / "version_0"
    out = capsys.readouterr().out
    (best,) = (run / "checkpoints").glob("best-epoch*.ckpt")
    assert (run / "checkpoints" / "last.ckpt").exists() and (run / "config.yaml").exists()
    assert "test/acc" in out and "test/loss" in out
    said = r"\nTest: accuracy [01]\.\d{4} of 30 rows \(95 %: [\d.]+ to [\d.]+\)\n"
    assert re.search(said, out)
    assert f"Best checkpoint: {best.relative_to(place)} (val/loss " in out
    assert out.rstrip().endswith("TensorBoard: tensorboard --logdir runs")
    events = EventAccumulator(str(run)).Reload().Tags()["scalars"]
    wanted = {"train/loss", "val/acc", "lr-AdamW/classical", "lr-AdamW/photonic"}
    assert wanted <= set(events)
    content = torch.load(best, weights_only=True)
    assert content["hyper_parameters"]["input_dim"] == 4
    restored = SequentialHybrid.load_from_checkpoint(best)
    assert restored.quantum_layer.experiment.n_modes == 4


@pytest.mark.slow
def test_the_test_is_of_the_best_checkpoint_not_of_the_last(capsys, place):
    main(
        [
            "fit",
            f"--model={__name__}.Declining",
            *MODEL[1:],
            *DATA,
            *SHORT,
            "--trainer.max_epochs=3",
        ]
    )
    checkpoints = place / "runs" / "Declining" / "version_0" / "checkpoints"
    (best,) = checkpoints.glob("best-epoch000-*.ckpt")
    shown = capsys.readouterr().out.partition("Test metric")[2]
    loss = shown_score(shown, "test/loss")
    data = SklearnDataModule("iris")
    losses = {}
    for path in (best, checkpoints / "last.ckpt"):
        model = Declining.load_from_checkpoint(path).eval()
        with torch.no_grad():
            losses[path] = model.loss(model(data.test[0]), data.test[1]).item()
    assert loss == pytest.approx(losses[best], rel=1e-4)
    assert loss < losses[checkpoints / "last.ckpt"] - 1


@pytest.mark.slow
def test_config_file_overrides_and_short_names(place, capsys):
    config = {
        "trainer": {"max_epochs": 3, "accelerator": "cpu"},
        "model": {
            "class_path": "SequentialHybrid",
            "init_args": {"input_dim": 4, "quantum_dim": 2, "output_dim": 3, "n_modes": 4},
        },
        "data": {"class_path": "SklearnDataModule", "init_args": {"dataset": "iris"}},
    }
    (place / "flowers.yaml").write_text(yaml.safe_dump(config))
    main(
        ["fit", "--config=flowers.yaml", "--trainer.max_epochs=1", "--model.init_args.dropout=0.3"]
    )
    run = place / "runs" / "flowers" / "version_0"
    saved = yaml.safe_load((run / "config.yaml").read_text())
    assert saved["trainer"]["max_epochs"] == 1 and saved["seed_everything"] == 0
    assert saved["model"]["init_args"]["dropout"] == 0.3
    capsys.readouterr()
    # the saved settings run again, under the name of the run
    main(["fit", f"--config={run / 'config.yaml'}"])
    again = yaml.safe_load((place / "runs" / "flowers" / "version_1" / "config.yaml").read_text())
    assert again == saved
    (place / "config.yaml").write_text((run / "config.yaml").read_text())
    main(["fit", "--config=config.yaml"])  # which names nothing
    assert (place / "runs" / "SequentialHybrid" / "version_0").is_dir()
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config=flowers.yaml", "--print_config"])
    assert stop.value.code == 0
    printed = yaml.safe_load(capsys.readouterr().out.partition("# lightning")[2].split("\n", 1)[1])
    assert printed["model"]["init_args"]["quantum_dim"] == 2


@pytest.mark.slow
def test_seeds_decide_everything(place):
    def weights(version):
        path = place / "runs" / "SequentialHybrid" / f"version_{version}" / "checkpoints"
        return torch.load(path / "last.ckpt", weights_only=True)["state_dict"]

    for seed in (1, 1, 2):
        fit(f"--seed_everything={seed}")
    one, same, other = (weights(v) for v in range(3))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["quantum_layer.phases"], other["quantum_layer.phases"])


def test_validate_test_predict_and_resume(place, capsys):
    fit()
    checkpoint = f"--ckpt={place}/runs/SequentialHybrid/version_0/checkpoints/last.ckpt"
    arguments = [*MODEL, *DATA, *SHORT, checkpoint]
    capsys.readouterr()
    main(["validate", *arguments])
    assert "val/acc" in capsys.readouterr().out
    main(["test", *arguments])
    out = capsys.readouterr().out
    assert "test/acc" in out and "\nTest: accuracy " in out
    main(["predict", *arguments])
    path = capsys.readouterr().out.strip().rpartition("Predictions: ")[2]
    predictions = torch.load(path, weights_only=True)
    assert predictions.shape == (30, 3)
    assert torch.allclose(predictions.sum(1), torch.ones(30))
    fit(checkpoint, "--trainer.max_epochs=3")
    assert epochs_of_last(place, "runs/SequentialHybrid/version_0") == 3


def resumed(place, given, capsys):
    """Resume for a third epoch; return all warnings."""
    capsys.readouterr()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(f"--ckpt={given}", "--trainer.max_epochs=3")
    assert [path.name for path in (place / "runs/SequentialHybrid").iterdir()] == ["version_0"]
    assert epochs_of_last(place, "runs/SequentialHybrid/version_0") == 3
    return [str(warning.message) for warning in caught]


@pytest.mark.slow
@pytest.mark.parametrize(
    "given",
    [
        "last",
        "runs/SequentialHybrid/version_0",
        "runs/SequentialHybrid/version_0/checkpoints",
    ],
)
@pytest.mark.filterwarnings("default")
def test_resume_from_a_folder_or_the_last_run(place, capsys, given):
    fit()
    resumed(place, given, capsys)
    if given == "last":  # of the newest run, which has three epochs
        fit("--ckpt=last", "--trainer.max_epochs=4")
        assert epochs_of_last(place, "runs/SequentialHybrid/version_0") == 4


@pytest.mark.slow
def test_a_resumed_run_equals_an_uninterrupted_one(place):
    def last(version):
        path = place / "runs/SequentialHybrid" / f"version_{version}" / "checkpoints/last.ckpt"
        return torch.load(path, weights_only=True)

    fit("--model.dropout=0.4", "--trainer.max_epochs=3")
    fit("--model.dropout=0.4", "--trainer.max_epochs=1")
    first = place / "runs/SequentialHybrid/version_1/checkpoints"
    fit("--model.dropout=0.4", f"--ckpt={first}", "--trainer.max_epochs=3")
    whole, again = last(0), last(1)
    assert whole["epoch"] == again["epoch"] == 2
    for name, value in whole["state_dict"].items():
        assert torch.equal(value, again["state_dict"][name]), name


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_damaged_checkpoint_is_replaced_in_fit_and_refused_elsewhere(place, capsys):
    fit()
    folder = place / "runs" / "SequentialHybrid" / "version_0" / "checkpoints"
    content = bytearray((folder / "last.ckpt").read_bytes())
    content[9000] ^= 1
    (folder / "last.ckpt").write_bytes(content)
    with pytest.raises(SystemExit, match=r"hybridlit test: .*last.ckpt is damaged: its checksum"):
        main(["test", *MODEL, *DATA, *SHORT, f"--ckpt={folder / 'last.ckpt'}"])
    said = resumed(place, folder / "last.ckpt", capsys)
    assert any("last.ckpt is damaged" in m and "Resuming from" in m for m in said)


def epochs_of_last(place, run):
    content = torch.load(place / run / "checkpoints" / "last.ckpt", weights_only=True)
    return content["epoch"] + 1


@pytest.mark.slow
def test_last_is_found_whatever_callbacks_there_are(place):
    callback = "--trainer.callbacks=hybridlit.callbacks.GradientImbalanceMonitor"
    fit(callback)
    fit(callback, "--ckpt=last", "--trainer.max_epochs=3", "--model.dropout=0.0")
    assert epochs_of_last(place, "runs/SequentialHybrid/version_0") == 3
    events = EventAccumulator(str(place / "runs/SequentialHybrid/version_0")).Reload()
    assert [e.step for e in events.Scalars("val/loss")] == [1, 3, 5]


@pytest.mark.slow
def test_last_looks_where_a_callback_saves(place):
    callback = ["--trainer.callbacks=hybridlit.callbacks.HybridCheckpoint"]
    callback += ["--trainer.callbacks.dirpath=kept", "--trainer.logger=false"]
    fit(*callback)
    fit(*callback, "--ckpt=last", "--trainer.max_epochs=3")
    assert torch.load(place / "kept" / "last.ckpt", weights_only=True)["epoch"] == 2


@pytest.mark.slow
def test_last_is_no_run_that_logged_elsewhere(place):
    fit()
    with pytest.raises(SystemExit, match=r"a logger of their own, or none.*give a folder"):
        fit("--trainer.logger=false", "--ckpt=last")


@pytest.mark.slow
def test_copies_of_runs_are_passed_over(place):
    fit()
    shutil.copytree("runs/SequentialHybrid/version_0", "runs/SequentialHybrid/version_7_backup")
    fit("--ckpt=last", "--trainer.max_epochs=3")
    assert epochs_of_last(place, "runs/SequentialHybrid/version_0") == 3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("last", "there is no run with a checkpoint under runs/SequentialHybrid"),
        (".", "no checkpoint"),
        ("best", "there is no run with a checkpoint under runs/SequentialHybrid"),
        ("none.ckpt", "no file none.ckpt; give a checkpoint, such as"),
    ],
)
def test_there_is_nothing_to_resume(given, message):
    with pytest.raises(SystemExit, match=message):
        fit(f"--ckpt={given}")


@pytest.mark.parametrize("command", ["test", "validate", "predict"])
def test_other_commands_take_a_file(command):
    with pytest.raises(SystemExit, match=f"hybridlit {command}: . is a folder: give a file in it"):
        main([command, *MODEL, *DATA, *SHORT, "--ckpt=."])


@pytest.mark.parametrize("command", ["test", "validate", "predict"])
@pytest.mark.filterwarnings("default")
def test_other_commands_tell_that_a_model_is_untrained(command):
    with pytest.warns(UserWarning, match=f"hybridlit {command} without --ckpt is of an untr"):
        main([command, *MODEL, *DATA, *SHORT])


def test_a_subclass_with_a_fixed_argument(place):
    model = [f"--model={__name__}.Fixed", "--model.depth=3", *MODEL[1:4]]
    main(["fit", *model, *DATA, *SHORT, "--trainer.max_epochs=1"])
    path = place / "runs" / "Fixed" / "version_0" / "checkpoints" / "last.ckpt"
    restored = Fixed.load_from_checkpoint(path)
    assert restored.hparams.depth == 3 and restored.quantum_layer.experiment.n_modes == 5


@pytest.mark.parametrize("data", [f"{__name__}.Untested", f"{__name__}.NoTestLoader"])
def test_data_without_a_test(data, capsys):
    main(["fit", *MODEL, f"--data={data}", *SHORT, "--trainer.max_epochs=1"])
    out = capsys.readouterr().out
    assert "Best checkpoint" in out and "test/acc" not in out


def test_data_without_validation_keep_the_last_checkpoint(place, capsys):
    data = [f"--data={__name__}.Untested", "--data.val_fraction=0"]
    main(["fit", *MODEL, *data, *SHORT, "--trainer.max_epochs=1"])
    assert (place / "runs/SequentialHybrid/version_0/checkpoints/last.ckpt").exists()
    assert "Best checkpoint" not in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "absent"),
    [
        ("--trainer.logger=false", "TensorBoard"),
        ("--trainer.enable_checkpointing=false", "Best checkpoint"),
        ("--trainer.fast_dev_run=true", "test/acc"),
        ("--trainer.enable_progress_bar=false", "Epoch 0"),
    ],
)
def test_defaults_can_be_switched_off(option, absent, place, capsys):
    fit(option)
    out = capsys.readouterr().out
    assert absent not in out
    assert ("test/acc" in out) == ("fast_dev_run" not in option)
    assert not (place / "config.yaml").exists()


def test_tensorboard_shows_photons_and_a_table_of_runs(place):
    fit()
    (run,) = (place / "runs" / "SequentialHybrid").iterdir()
    tags = EventAccumulator(str(run)).Reload().Tags()
    assert {"photonics/quantum_layer/outcomes", "Score/confusion_test"} <= set(tags["images"])
    assert {"hp/val_loss", "hp/test_acc", "Loss/train", "Score/acc_test"} <= set(tags["scalars"])


@pytest.mark.filterwarnings("error:PhotonicInspector")
def test_without_photons_there_is_nothing_to_show(place):
    model = [f"--model={__name__}.Classical", *MODEL[1:]]
    main(["fit", *model, *DATA, *SHORT, "--trainer.max_epochs=1"])
    (run,) = (place / "runs" / "Classical").iterdir()
    tags = EventAccumulator(str(run)).Reload().Tags()
    assert {tag.partition("/")[0] for tag in tags["images"]} == {"Score"}
    assert "hp/val_loss" in tags["scalars"]


@pytest.mark.slow
def test_callbacks_for_tensorboard_can_be_chosen(place):
    fit(
        "--trainer.callbacks=hybridlit.callbacks.PhotonicInspector",
        "--trainer.callbacks.epochs=[1]",
        "--trainer.callbacks+=hybridlit.callbacks.TensorBoardLayout",
    )
    (run,) = (place / "runs" / "SequentialHybrid").iterdir()
    events = EventAccumulator(str(run)).Reload()
    assert [e.step for e in events.Images("photonics/quantum_layer/outcomes")] == [3]


@pytest.mark.slow
def test_without_tensorboard_no_pictures_are_saved(place):
    fit("--trainer.logger=CSVLogger", "--trainer.logger.save_dir=logs")
    assert list(place.glob("logs/**/metrics.csv")) and not list(place.glob("**/*.png"))


def test_callbacks_of_the_user_replace_ours_of_the_same_kind(place):
    fit("--trainer.callbacks=ModelCheckpoint", "--trainer.callbacks.filename=mine")
    checkpoints = place / "runs" / "SequentialHybrid" / "version_0" / "checkpoints"
    assert [path.name for path in checkpoints.iterdir()] == ["mine.ckpt"]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--model.widht=3", "widht"),
        ("--model.n_modes=few", "n_modes"),
        ("--model=NoSuchTemplate", "NoSuchTemplate"),
    ],
)
def test_mistakes_are_named(option, message, capsys):
    with pytest.raises(SystemExit) as stop:
        fit(option)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_the_module_runs_and_an_interruption_is_clean(place):
    command = [sys.executable, "-m", "hybridlit", "fit", *MODEL, *DATA, *SHORT]
    command += ["--trainer.max_epochs=100000", "--trainer.enable_progress_bar=false"]
    handled = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731  # also in the background
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process = subprocess.Popen(command, env=os.environ, preexec_fn=handled, **pipes)
    last = place / "runs" / "SequentialHybrid" / "version_0" / "checkpoints" / "last.ckpt"
    deadline = time.monotonic() + 300
    while not last.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    out = err = ""
    while process.returncode is None and time.monotonic() < deadline:
        # again, since Python drops an interruption that comes while it cleans up an object
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            out, err = process.communicate(timeout=30)  # it may have to wait for a processor
    process.kill()
    assert process.returncode == 130, err
    assert "Interrupted. Last checkpoint: runs/SequentialHybrid/version_0" in out
    assert "Resume: add --ckpt" in out
    assert "Traceback" not in err and "LeafSpec" not in err and "Tip:" not in err


@pytest.mark.parametrize(
    ("hook", "number", "code", "says"),
    [
        ("on_train_batch_end", signal.SIGINT, 130, "Resume: add --ckpt"),
        ("on_train_batch_end", signal.SIGTERM, 143, "Resume: add --ckpt"),
        ("on_test_batch_start", signal.SIGINT, 130, "Best checkpoint: runs/SequentialHybrid"),
        pytest.param(
            *("on_test_batch_start", signal.SIGTERM, 143),
            "Best checkpoint: runs/SequentialHybrid",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_exit_codes_of_interruptions(hook, number, code, says, capsys, signals_kept):
    callback = [f"--trainer.callbacks={__name__}.Interrupts", f"--trainer.callbacks.hook={hook}"]
    callback += [f"--trainer.callbacks.signal_number={int(number)}"]
    data = [*DATA, "--data.batch_size=10"]  # SIGTERM waits for the end of a batch before the last
    with pytest.raises(SystemExit) as stop:
        main(["fit", *MODEL, *data, *SHORT, "--trainer.max_epochs=2", *callback])
    assert stop.value.code == code
    assert says in capsys.readouterr().out


@pytest.mark.slow
def test_plan_prints_what_a_circuit_takes(capsys):
    main(["plan", "--modes", "24", "--photons", "12", "--batch", "16"])
    printed = capsys.readouterr().out
    assert "834,451,800" in printed
    assert "unbunched" in printed
    main(["plan", "--modes", "6", "--photons", "3", "--space", "unbunched", "--dtype", "float64"])
    printed = capsys.readouterr().out
    assert "states             20" in printed
    assert "fits" in printed
    main(["plan", "--modes", "3000", "--photons", "1500"])
    assert "e+1241" in capsys.readouterr().out


@pytest.mark.slow
def test_plan_needs_no_lightning_and_says_what_is_wrong():
    code = (
        "import sys; from hybridlit.cli import main\n"
        "main(['plan', '--modes', '4', '--photons', '2'])\n"
        "assert 'lightning' not in sys.modules\n"
        "main(['plan', '--modes', '1', '--photons', '2'])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 2
    assert "hybridlit plan: n_modes must be at least 2, got 1" in run.stderr


@pytest.fixture
def foreign(place, monkeypatch):
    """A way to make checkpoints whose hyperparameters name a module that exits."""
    (place / "trap.py").write_text("raise SystemExit('imported')")
    (place / "folder").mkdir()
    monkeypatch.syspath_prepend(place)

    def with_hyperparameters(**changes):
        model = SequentialHybrid(4, 2, 3, n_modes=4, n_photons=2)
        trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False)
        trainer.strategy.connect(model)
        trainer.save_checkpoint(place / "foreign.ckpt", weights_only=True)
        content = torch.load(place / "foreign.ckpt", weights_only=True)
        content["hyper_parameters"].update(changes)
        torch.save(content, place / "foreign.ckpt")
        return str(place / "foreign.ckpt")

    return with_hyperparameters


@pytest.mark.parametrize(
    ("command", "changes"),
    [
        ("test", {"_class_path": "trap.Mine"}),
        ("validate", {"_class_path": "trap.Mine"}),
        ("predict", {"_class_path": "trap.Mine"}),
        ("test", {"_class_path": "trap.inner.Mine"}),
        ("test", {"front": {"class_path": "trap.Front", "init_args": {}}}),
        ("test", {"front": "trap.Front"}),
        ("test", {"front": '"\\x74rap.Front"'}),
        ("test", {"front": ["{class_path: trap.Front}"]}),
    ],
)
def test_a_checkpoint_cannot_have_code_imported(command, changes, foreign):
    path = foreign(**changes)
    with pytest.raises(SystemExit, match=r"asks for trap\..*, whose module is not imported"):
        main([command, *MODEL, *DATA, *SHORT, "--ckpt", path])
    assert "trap" not in sys.modules


def test_the_data_of_a_run_of_elsewhere_import_nothing(foreign):
    path = Path(foreign())
    run = path.parent / "elsewhere"
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.yaml").write_text("data: {class_path: trap.Data}")
    (run / "trap.py").write_text("raise SystemExit('imported')")
    checkpoint = path.rename(run / "checkpoints" / "last.ckpt")
    with pytest.raises(ValueError, match=r"asks for trap\.Data, .* trust it, give template"):
        load_run(checkpoint)
    main(["card", "--ckpt", str(checkpoint)])  # says that it has no scores, and why
    assert "asks for trap.Data" in (run / "card.md").read_text() and "trap" not in sys.modules


def test_fit_looks_at_no_class_of_a_checkpoint(foreign):
    path = foreign(_class_path="trap.Mine", front="trap.Front")
    with pytest.raises(SystemExit, match=r"foreign\.ckpt holds weights alone"):
        fit("--ckpt", path)
    assert "trap" not in sys.modules


def test_a_checkpoint_cannot_have_code_imported_as_a_whole_model(foreign):
    path = foreign()
    content = torch.load(path, weights_only=True)
    content["hyper_parameters"] = {"class_path": "trap.Mine", "init_args": {}}
    torch.save(content, path)
    with pytest.raises(SystemExit, match=r"asks for trap\.Mine"):
        main(["test", *MODEL, *DATA, *SHORT, "--ckpt", path])
    assert "trap" not in sys.modules


def test_what_fit_has_made_loads_where_nothing_else_has_run(foreign, monkeypatch):
    path = foreign(_class_path="hybridlit.SequentialHybrid", _instantiator=INSTANTIATES)
    monkeypatch.delitem(sys.modules, "lightning.pytorch.cli")  # as in a new process
    assert type(load_model(path)) is SequentialHybrid
    with pytest.raises(ValueError, match=r"asks for the class trap\.make"):
        load_model(foreign(_instantiator="trap.make", _class_path="hybridlit.SequentialHybrid"))
    assert "trap" not in sys.modules


def test_words_with_a_dot_that_import_nothing_are_no_reason_to_refuse(foreign):
    assert unimported_name(torch.load(foreign(), weights_only=True)["hyper_parameters"]) is None
    words = ["no_such_module.csv", "v1.2", "folder.csv", "torch.nn.ReLU", "see: below", "{"]
    assert unimported_name(words) is None
    assert unimported_name({"a": ["trap.Mine"]}) == "trap.Mine"
    assert unimported_name({"a": ["trap.Mine"]}, trusted={"trap.Mine"}) is None


def test_a_class_that_the_user_names_is_imported_and_tested(place, monkeypatch, capsys):
    monkeypatch.syspath_prepend(place)
    (place / "own_models.py").write_text(
        "from hybridlit import SequentialHybrid\nclass Mine(SequentialHybrid):\n    pass\n"
    )
    main(["fit", "--model=own_models.Mine", *MODEL[1:], *DATA, *SHORT, "--trainer.max_epochs=1"])
    run = place / "runs/Mine/version_0"
    del sys.modules["own_models"]
    shutil.copytree(run, place / "theirs")
    options = [*SHORT, "--ckpt", "theirs/checkpoints/last.ckpt"]
    with pytest.raises(SystemExit, match=r"asks for own_models\.Mine.* config\.yaml"):
        main(["test", *MODEL, *DATA, *options])
    main(["test", "--config", str(run / "config.yaml"), *options])
    assert "test/acc" in capsys.readouterr().out


class WithModule(SequentialHybrid):
    """Takes a module as an argument."""

    def __init__(self, act: torch.nn.Module, **kwargs):
        super().__init__(**kwargs)

    def build_classical_post(self):
        post = super().build_classical_post()
        post[1] = self.hparams.act
        return post


@pytest.mark.slow
def test_the_plain_record_of_a_module_is_what_a_checkpoint_holds(place, capsys):
    record = {"class_path": "torch.nn.LeakyReLU", "init_args": {"negative_slope": 0.3}}
    model = [f"--model={__name__}.WithModule", *MODEL[1:], f"--model.act={json.dumps(record)}"]
    main(["fit", *model, *DATA, *SHORT, "--trainer.max_epochs=1"])
    assert "test/acc" in capsys.readouterr().out  # the best checkpoint was loaded
    path = place / "runs/WithModule/version_0/checkpoints/last.ckpt"
    kept = torch.load(path, weights_only=True)["hyper_parameters"]["act"]
    assert kept["class_path"] == record["class_path"]
    assert kept["init_args"]["negative_slope"] == 0.3
    main(["test", *model, *DATA, *SHORT, "--ckpt", str(path)])
    model = WithModule.load_from_checkpoint(path)
    assert model.classical_post[1].negative_slope == 0.3
    assert load_model(path).classical_post[1].negative_slope == 0.3


@pytest.mark.parametrize(("epoch", "waited", "said"), [(40, 30, 1), (0, 30, 0), (40, 3, 0)])
def test_that_a_run_has_stopped_early_is_said(epoch, waited, said):
    """Not at the last epoch, nor for a threshold that was reached."""
    stop = EarlyStopping("val/loss", patience=30)
    stop.stopped_epoch, stop.wait_count = epoch, waited
    run = SimpleNamespace(trainer=SimpleNamespace(early_stopping_callbacks=[stop]))
    lines = [*HybridCLI._stopped_early(run)]
    words = "Stopped early, after 41 epochs: val/loss was not better for 30 validations."
    assert lines == [words] * said
