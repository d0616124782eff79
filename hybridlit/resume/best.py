"""Which checkpoints are the best: what `ModelCheckpoint` keeps of them, and in their files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_warn

__all__ = ["BestCheckpoints"]


class BestCheckpoints(ModelCheckpoint):
    """Ranks checkpoints by `monitor`; a subclass decides when, and how they are written.

    Other than with Lightning's, NaN is never among the best, no value counts twice, a file tells
    that it is among the best itself, and one that is gone when a run is resumed is passed over.
    """

    _validated = False  # since the last look at the monitored value
    _considered: float | None = None  # that value
    _restored: dict[str, float] | None = None

    def _save(self, trainer: Trainer, name: str) -> str:
        raise NotImplementedError

    @property
    def _folder(self) -> str:
        return str(self.dirpath)

    def state_dict(self) -> dict[str, Any]:
        """Return which checkpoints are best, by their paths from the folder, the best first."""
        ranked = sorted(self.best_k_models.items(), key=lambda item: item[1].item())
        ranked = ranked[::-1] if self.mode == "max" else ranked
        scores = {Path(path): score.item() for path, score in ranked}
        inside = Path(self._folder)
        best = {p.name if p.parent == inside else str(p): scores[p] for p in scores}
        return {"best": best, "considered": self._considered}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Remember which checkpoints are best; `_find_best_again` looks for them."""
        self._restored, self._considered = state_dict["best"], state_dict["considered"]

    def _forget_best(self) -> None:
        self._considered, self.best_k_models = None, {}
        self._rank()

    def _find_best_again(self, folder: Path | None) -> None:
        """Take over the best checkpoints of the folder that a run is resumed from."""
        restored, self._restored = self._restored or {}, None
        if folder is None:
            return
        gone = [name for name in restored if not (folder / name).is_file()]
        if gone:
            rank_zero_warn(f"Best checkpoints are no longer there: {', '.join(gone)}.")
        self.best_k_models = {
            str(folder / name): torch.tensor(score)
            for name, score in restored.items()
            if name not in gone
        }
        self._rank()

    def _score(self, trainer: Trainer) -> float | None:
        """Return the monitored value if it is a new one, and among the best."""
        value = trainer.callback_metrics.get(self.monitor or "") if self.save_top_k else None
        if value is None:
            return None
        score = float(trainer.strategy.broadcast(value.item()))
        fresh, self._validated = self._validated or score != self._considered, False
        self._considered = score
        if not fresh or score != score:
            return None
        if len(self.best_k_models) < self.save_top_k:
            return score
        worst = self.best_k_models[self.kth_best_model_path].item()
        return score if (score < worst if self.mode == "min" else score > worst) else None

    def _save_if_best(self, trainer: Trainer) -> None:
        score = self._score(trainer)
        if score is None:
            return
        name = f"best-epoch{trainer.current_epoch:03d}-step{trainer.global_step}.ckpt"
        path = os.path.join(self._folder, name)
        before = dict(self.best_k_models)
        outdone = self.kth_best_model_path if len(before) >= self.save_top_k else ""
        self.best_k_models.pop(outdone, None)
        self.best_k_models[path] = torch.tensor(score)
        self._rank()  # before saving: the file tells that it is among the best
        try:
            self._save(trainer, name)
        except BaseException:
            self.best_k_models = before
            self._rank()
            raise
        if outdone and outdone != path and Path(outdone).parent == Path(self._folder):
            trainer.strategy.remove_checkpoint(outdone)

    def _rank(self) -> None:
        """Find the best and the worst of the best."""
        scores = {path: score.item() for path, score in self.best_k_models.items()}
        ranked = sorted(scores, key=lambda path: scores[path], reverse=self.mode == "max")
        self.best_model_path = ranked[0] if ranked else ""
        self.best_model_score = self.best_k_models[ranked[0]] if ranked else None
        self.kth_best_model_path = ranked[-1] if ranked else ""
        self.current_score = None if self._considered is None else torch.tensor(self._considered)
