"""Whether a model tells rows apart at all: said if all of an epoch get the same answer."""

from __future__ import annotations

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from hybridlit.blocks.paths import Paths

__all__ = ["Answers", "SayingConstant"]

_ROUNDING = 4
"""Units in the last place by which answers may differ that are the same."""

_WIDTHS = ("hidden_dim", "hidden_dims", "head_dim", "fusion_dim")


class Answers:
    """Smallest and largest outputs of an epoch; nothing of them is read before the epoch is over.

    Attributes:
        rows: Number of rows so far.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._least: Tensor | None = None
        self._most: Tensor | None = None
        self._comparable = True

    def add(self, outputs: Tensor) -> None:
        """Add the outputs of a batch, shape (batch, output_dim); others are none to compare."""
        rows = len(outputs)
        alike = self._least is None or outputs.shape[1:] == self._least.shape
        self._comparable &= outputs.is_floating_point() and alike
        if not rows or not self._comparable:
            return
        self.rows += rows
        least, most = outputs.aminmax(dim=0)
        self._least = least if self._least is None else torch.minimum(self._least, least)
        self._most = most if self._most is None else torch.maximum(self._most, most)

    @property
    def same(self) -> bool:
        """Whether there are two rows or more, and no two differ by more than rounding does."""
        if self.rows < 2 or not self._comparable or self._least is None or self._most is None:
            return False
        wide = torch.promote_types(self._least.dtype, torch.float32)
        least, most = self._least.to(wide), self._most.to(wide)
        rounding = _ROUNDING * torch.finfo(wide).eps * torch.maximum(least.abs(), most.abs())
        return bool((most - least <= rounding).all())


class SayingConstant(LightningModule):
    """Says once if every row of a validation, of a model in training, or of a test gets one answer.

    Each process looks at its own rows, and the first one speaks. A model without some of its paths
    is left alone, since their means are the same for every row.
    """

    _answers: Answers | None = None
    _told_constant = False

    def on_validation_epoch_start(self) -> None:
        """Begin to look at outputs."""
        super().on_validation_epoch_start()
        self._answers = Answers()

    def on_test_epoch_start(self) -> None:
        """Begin to look at outputs."""
        super().on_test_epoch_start()
        self._answers = Answers()

    def on_validation_epoch_end(self) -> None:
        """Say it if all rows got the same answer."""
        super().on_validation_epoch_end()
        self._say_constant()

    def on_test_epoch_end(self) -> None:
        """Say it if all rows got the same answer."""
        super().on_test_epoch_end()
        self._say_constant()

    def _say_constant(self) -> None:
        answers, self._answers = self._answers, None
        trainer = self.trainer
        trained = trainer.testing or (self.global_step > 0 and not trainer.sanity_checking)
        if answers is None or self._told_constant or not trained or not answers.same:
            return
        if any(module.lost for module in self.modules() if isinstance(module, Paths)):
            return
        self._told_constant = True
        widths = ", ".join(name for name in _WIDTHS if name in self.hparams)
        rank_zero_warn(
            f"{type(self).__name__} gives every {'test' if trainer.testing else 'validation'} row "
            "the same answer: most likely all units of a layer are dead, and nothing before it "
            f"learns any more. Begin anew with more units{widths and f' ({widths})'}, a lower "
            f"classical_lr than {self.hparams['classical_lr']:g} or another seed, and with "
            "features of a scale around 1"
        )
