"""The folder of a run: a resumed one goes on in its own, and a failed one leaves none."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only

from hybridlit.cli.checkpoints import CONFIG, RUNS, SOURCE, VERSION, recipe_of, run_of
from hybridlit.recipe.reading import settings_of
from hybridlit.resume.folder import step_to_go_on_from

__all__ = ["SaveSettings", "logger_of_run", "name_of_run", "no_empty_folder"]

_OF_NO_USE = re.compile(rf"{CONFIG.pattern}|hparams\.yaml|events\.out\.tfevents\..*|\.in-use")


def name_of_run(recipes: Sequence[str], model: str) -> str:
    """Name a run after the last of its recipes, or else after the class of its model.

    Saved settings run under the name of the run that saved them.
    """
    path = Path(recipes[-1] if recipes else "config.yaml").resolve()
    if not CONFIG.fullmatch(path.name):
        return path.stem
    if VERSION.fullmatch(path.parent.name):
        return path.parent.parent.name
    return model.rpartition(".")[2]


def logger_of_run(name: str, checkpoint: str | None) -> TensorBoardLogger:
    """Return the logger of a run: a new folder, or that of the run which goes on.

    A run goes on in the folder of its checkpoint if it has the same name and has not been further,
    since it would overwrite what is there, and if no other process is in it. What a killed run has
    logged beyond the checkpoint is hidden in TensorBoard.
    """
    # one process writes, and looks: another that holds the lock meanwhile would be taken for a run
    run = run_of(checkpoint if checkpoint and not getattr(rank_zero_only, "rank", 0) else "")
    version = VERSION.fullmatch(run.name)
    options: dict[str, Any] = {"name": name, "default_hp_metric": False}
    if version and run.parent.resolve() == (RUNS / name).resolve():
        step = step_to_go_on_from(checkpoint or "")
        if step is not None:
            return TensorBoardLogger(RUNS, version=int(version[1]), purge_step=step, **options)
        rank_zero_info(f"{run} has been further, or is in use: this is a run of its own.")
    return TensorBoardLogger(RUNS, **options)


class SaveSettings(SaveConfigCallback):
    """Saves the settings of a run as `config.yaml`; others of a resumed run beside it.

    The first lines name the recipes: classes of the user are found beside them.
    """

    def __init__(self, *args: Any, recipes: Sequence[str] = (), **options: Any) -> None:
        super().__init__(*args, **options)
        self.config = self.config.clone()
        self.config["ckpt_path"] = None  # whoever runs these settings again begins anew
        noted = [f"{SOURCE}{recipe}" for recipe in recipes]
        self.parser.dump_header = [*(self.parser.dump_header or []), *noted]

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Save them, on one process."""
        folder = trainer.log_dir
        name: str | None = self.config_filename
        if not self.already_saved and folder is not None and trainer.is_global_zero:
            name = self._free_name(Path(folder))
        name = trainer.strategy.broadcast(name)
        if name is None:
            self.already_saved = True
        else:
            self.config_filename = name
        super().setup(trainer, pl_module, stage)

    def _free_name(self, run: Path) -> str | None:
        """Return the name of the file that these settings belong in; None if they are there."""
        try:
            earlier = recipe_of(run / "checkpoints" / "any")
        except FileNotFoundError:
            return self.config_filename
        if _given(settings_of(earlier)) == _given(yaml.safe_load(self.parser.dump(self.config))):
            return None
        name = f"config-{int(earlier.stem.partition('-')[2] or 0) + 1}.yaml"
        rank_zero_info(f"Settings differ from those of {earlier}; they are in {run / name}.")
        return name


def _given(settings: Any) -> Any:
    """Settings without those that are null, which is what they are if they are not given."""
    if isinstance(settings, dict):
        return {name: _given(each) for name, each in settings.items() if each is not None}
    return [_given(each) for each in settings] if isinstance(settings, list) else settings


@contextmanager
def no_empty_folder(trainer: Trainer, begins: float) -> Iterator[None]:
    """Remove the folder that a run has made if it fails before there is anything to keep.

    That is, before a step was done after the global step that it begins with, infinite if it does
    not train, and with nothing in it but settings and what they log.
    """
    run = Path(trainer.log_dir or ".")
    made = [folder for folder in (run, *run.parents) if not folder.exists()]
    try:
        yield
    except BaseException:
        if trainer.is_global_zero and run in made and trainer.global_step <= begins:
            files = [path for path in run.rglob("*") if not path.is_dir()]
            if all(_OF_NO_USE.fullmatch(path.name) for path in files):
                shutil.rmtree(run, ignore_errors=True)
                with suppress(OSError):  # another run is there
                    for folder in made[1:]:
                        folder.rmdir()
        raise
