"""Runs go on in their own folder and curve, find their own settings, and leave nothing of use."""

import os
import shutil
import sys
from pathlib import Path

import pytest
import torch
import yaml
from lightning.pytorch import Callback
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hybridlit import SklearnDataModule
from hybridlit.cli import main
from hybridlit.cli.checkpoints import checkpoint_path, newest_run, recipe_of
from hybridlit.cli.loading import load_model

RECIPE = Path(__file__).parents[2] / "recipes" / "iris_sequential.yaml"
QUIET = [f"--trainer.enable_{what}=false" for what in ("progress_bar", "model_summary")]
OWN = "import hybridlit\n\n\nclass Mine(hybridlit.SequentialHybrid):\n    '''Of the user.'''\n"


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in ("kept_here", "beside_it"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    shutil.copy(RECIPE, "flowers.yaml")
    return tmp_path


def fit(*options, config="flowers.yaml"):
    given = [] if config is None else [f"--config={config}"]
    main(["fit", *given, *QUIET, "--trainer.log_every_n_steps=1", *options])


def curves(run):
    events = EventAccumulator(str(run), size_guidance={"scalars": 0, "images": 0}).Reload()
    found = {
        tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]
    }
    pictures = {t: [e.step for e in events.Images(t)] for t in events.Tags()["images"]}
    pictures.pop("photonics/quantum_layer/circuit")  # drawn when a run begins, also anew
    return found | pictures


def epochs(run):
    return torch.load(run / "checkpoints/last.ckpt", weights_only=True)["epoch"] + 1


class Stops(Callback):
    """Ends the process in the midst of an epoch, as a kill does, but for tests."""

    def __init__(self, step: int):
        self.step = step

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            raise _Killed


class _Killed(BaseException):
    """Nobody handles it."""


class Broken(SklearnDataModule):
    """Data that fail when they are wanted."""

    def __init__(self, hook: str = "train_dataloader"):
        super().__init__("iris")
        setattr(self, hook, self._fails)

    def _fails(self, *_):
        raise ValueError("rows are missing")


class Late(Callback):
    """Fails in the second epoch, or in the first batch."""

    def __init__(self, epoch: int = 1):
        self.epoch = epoch

    def on_train_batch_start(self, trainer, *_):
        if trainer.current_epoch == self.epoch:
            raise ValueError("too late")


@pytest.mark.slow
def test_a_killed_run_that_goes_on_has_the_curve_of_a_whole_one(place, capsys):
    shutil.copy(RECIPE, "whole.yaml")
    fit("--trainer.max_epochs=4", config="whole.yaml")
    stop = [f"--trainer.callbacks={__name__}.Stops", "--trainer.callbacks.step=15"]
    stop += ["--trainer.callbacks+=HybridCheckpoint", "--trainer.callbacks.on_exception=false"]
    with pytest.raises(_Killed):
        fit("--trainer.max_epochs=4", *stop)
    run = place / "runs/flowers/version_0"
    assert [step for step, _ in curves(run)["lr-AdamW/classical"]] == [0, 6, 12]
    fit("--ckpt=last", "--trainer.max_epochs=4")
    assert [path.name for path in (place / "runs/flowers").iterdir()] == ["version_0"]
    assert curves(run) == curves(place / "runs/whole/version_0")


@pytest.mark.slow
def test_a_run_that_goes_on_uses_its_own_settings_and_keeps_others_beside(place, capsys):
    fit("--trainer.max_epochs=1", "--model.hidden_dim=9")
    run = place / "runs/flowers/version_0"
    fit("--ckpt=last", "--trainer.max_epochs=2", "--model.classical_lr=0.5", config=None)
    assert epochs(run) == 2
    first, second = (yaml.safe_load((run / f"config{n}.yaml").read_text()) for n in ("", "-1"))
    assert (first["trainer"].pop("max_epochs"), second["trainer"].pop("max_epochs")) == (1, 2)
    assert second["model"]["init_args"].pop("classical_lr") == 0.5  # not that of the checkpoint
    assert first["model"]["init_args"].pop("classical_lr") == 0.01
    assert first == second and second["model"]["init_args"]["hidden_dim"] == 9
    assert "# recipe: flowers.yaml\n" in (run / "config-1.yaml").read_text()
    fit("--ckpt=last", config=None)  # complete already, with the same settings
    assert not (run / "config-2.yaml").exists()
    assert recipe_of(run / "checkpoints/last.ckpt") == run / "config-1.yaml"


@pytest.mark.slow
def test_a_run_that_goes_back_is_a_run_of_its_own(place, capsys):
    fit("--trainer.max_epochs=1")
    run = place / "runs/flowers/version_0"
    shutil.copy(run / "checkpoints/last.ckpt", run / "checkpoints/first.ckpt")
    fit("--ckpt=last", "--trainer.max_epochs=2", config=None)
    before = sorted(path.name for path in run.rglob("*"))
    first = run / "checkpoints/first.ckpt"
    fit(f"--ckpt={first}", "--trainer.max_epochs=3", config=None)
    assert epochs(place / "runs/flowers/version_1") == 3 and epochs(run) == 2
    assert sorted(path.name for path in run.rglob("*")) == before


def test_last_and_best_are_of_the_run_that_was_written_to_last(place, capsys):
    message = f"there is no run with a checkpoint under runs in {place}: go to .* or give a"
    with pytest.raises(FileNotFoundError, match=message):
        checkpoint_path("last")
    two = ["--trainer.callbacks=HybridCheckpoint", "--trainer.callbacks.save_top_k=2"]
    fit("--trainer.max_epochs=3", *two)
    shutil.copy("flowers.yaml", "others.yaml")
    fit("--trainer.max_epochs=1", config="others.yaml")
    assert newest_run(Path("runs")) == Path("runs/others/version_0")
    flowers = Path("runs/flowers/version_0/checkpoints")
    os.utime(flowers / "last.ckpt")
    assert checkpoint_path("last").parent == flowers
    state = torch.load(flowers / "last.ckpt", weights_only=True)["callbacks"]["HybridCheckpoint"]
    assert len(state["best"]) == 2
    assert checkpoint_path("best").name == min(state["best"], key=state["best"].get)
    assert checkpoint_path("last", Path("runs/others")).parts[1] == "others"


@pytest.mark.slow
@pytest.mark.parametrize("module", ["kept_here", "beside_it"])
def test_own_classes_are_found_from_a_checkpoint_of_an_own_run(module, place, capsys):
    (place / "inner").mkdir()
    folder = place if module == "kept_here" else place / "inner"
    (folder / f"{module}.py").write_text(OWN)
    content = yaml.safe_load(RECIPE.read_text())
    content["model"]["class_path"] = f"{module}.Mine"
    (place / "inner/mine.yaml").write_text(yaml.safe_dump(content))

    def as_anew():
        sys.path[:] = [each for each in sys.path if not each.startswith(str(place))]
        sys.modules.pop(module, None)

    fit("--trainer.max_epochs=1", config="inner/mine.yaml")
    as_anew()
    main(["draw", "--config=inner/mine.yaml"])
    as_anew()
    main(["draw", "--ckpt=best"])
    as_anew()
    assert type(load_model(checkpoint_path("best"))).__name__ == "Mine"
    as_anew()
    capsys.readouterr()
    main(["test", "--ckpt=best", *QUIET])
    assert "test/acc" in capsys.readouterr().out
    as_anew()
    shutil.move("runs/mine/version_0", "theirs")
    for words in (["test"], ["fit"]):
        with pytest.raises(SystemExit, match=f"asks for {module}.Mine.* if you trust it, give --c"):
            main([*words, "--ckpt=theirs/checkpoints/last.ckpt"])
        assert module not in sys.modules


def test_a_checkpoint_without_settings_says_what_is_needed(place, capsys):
    fit("--trainer.max_epochs=1")
    shutil.copy("runs/flowers/version_0/checkpoints/last.ckpt", "alone.ckpt")
    with pytest.raises(SystemExit, match=r"the settings of alone\.ckpt are not known.* --config"):
        main(["test", "--ckpt=alone.ckpt"])
    main(["test", "--ckpt=alone.ckpt", "--config=flowers.yaml", *QUIET])


@pytest.mark.parametrize(
    "options",
    [
        [f"--data={__name__}.Broken"],
        [f"--data={__name__}.Broken", "--data.hook=setup"],
        [f"--trainer.callbacks={__name__}.Late", "--trainer.callbacks.epoch=0"],
        ["--trainer.limit_train_batches=0.001"],
    ],
)
def test_a_run_that_fails_early_leaves_nothing(options, place, capsys):
    with pytest.raises(SystemExit):
        fit(*options)
    assert {path.name for path in place.iterdir()} == {"flowers.yaml"}


@pytest.mark.slow
def test_a_run_that_fails_later_leaves_what_it_has(place, capsys):
    with pytest.raises(SystemExit, match="too late"):
        fit(f"--trainer.callbacks={__name__}.Late")
    assert list(place.glob("runs/flowers/version_0/checkpoints/*.ckpt"))
    with pytest.raises(SystemExit, match="rows are missing"):
        fit(f"--data={__name__}.Broken")
    with pytest.raises(SystemExit, match="rows are missing"):
        main(["test", "--ckpt=last", f"--data={__name__}.Broken", "--data.hook=test_dataloader"])
    with pytest.raises(SystemExit, match="too late"):  # logs of a step are of use
        fit(f"--trainer.callbacks={__name__}.Late", "--trainer.enable_checkpointing=false")
    assert {path.name for path in place.glob("runs/flowers/*")} == {"version_0", "version_1"}
