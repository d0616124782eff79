"""How a model takes over what its data were prepared by, and notices data prepared otherwise."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from lightning.pytorch import Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_warn

from hybridlit.data.preprocessing import Preprocessing
from hybridlit.internals.lightning import attached_data, gets_weights_alone

if TYPE_CHECKING:
    from hybridlit.templates.base import HybridModule

__all__ = [
    "PREPROCESSING_KEY",
    "adopt_preprocessing",
    "compare_preprocessing",
    "forget_calibration",
    "take_over",
]

PREPROCESSING_KEY = "hybridlit_preprocessing"
"""Key of a checkpoint: how raw rows are prepared."""


_REMEDY = (
    "give the data module that the model was trained with, or raw rows to model.predict or "
    "`hybridlit predict --input`, which prepare and score them as the model knows"
)


def adopt_preprocessing(model: HybridModule, trainer: Trainer) -> None:
    """Let a model that is about to be fitted keep a copy of what its data were prepared by.

    After a resume, what the present data were prepared by is used, and a difference is said.
    """
    given, own = _of_data(trainer), model.preprocessing
    if given is None:
        if own is not None:
            rank_zero_warn(
                "the data of this run do not tell how they were prepared, as those that the model "
                "was trained on before did: from now on it takes rows, and gives values, as these "
                "are; give a data module of hybridlit, or a loader of one, to keep the preparation"
            )
            model.preprocessing = None
        return
    if own is not None and not own.same_as(given):
        rank_zero_warn(
            "the data of this run are prepared otherwise than those that the model was trained on "
            "before (other rows, columns, classes or scaling); from now on it goes by the new ones"
        )
    if own is None and gets_weights_alone(trainer):
        rank_zero_warn(
            "the process that has called Trainer.fit gets weights back, and not how rows were "
            "prepared: call model.build(data) there before the fit, or load a checkpoint to predict"
        )
    take_over(model, given)


def forget_calibration(model: HybridModule) -> None:
    """Let a model that is about to be trained on forget what was found of it as it was."""
    if model.calibration is not None:
        rank_zero_warn(
            "the model was calibrated as it is now, and training changes it: its temperature and "
            "its held-out rows no longer count; calibrate it again afterwards"
        )
        model.calibration = None


def compare_preprocessing(model: HybridModule, trainer: Trainer) -> None:
    """Look whether the data of a validation, test or prediction are prepared as the model knows.

    Other columns or classes are refused, since the model's numbers would mean others.
    """
    given = None if trainer.state.fn == TrainerFn.FITTING else _of_data(trainer)
    own = model.preprocessing
    if given is None or own is None or own.same_as(given):
        return
    names = own.inputs.raw_names, given.inputs.raw_names
    targets = own.targets, given.targets
    classes = zip(*(each.classes or each.pairs or () for each in targets), strict=False)
    differ = {
        "columns": None not in names and names[0] != names[1],
        "classes": any(one != other for one, other in classes),  # there may be fewer, or more
    }
    for what, differs in differ.items():
        if differs:
            raise ValueError(
                f"these data have other {what} than those that the model was trained on, or in "
                f"another order: {_REMEDY}"
            )
    rank_zero_warn(
        "these data are prepared by other training rows than the model's, so that scores are off, "
        f"the more the less alike these rows are: {_REMEDY}"
    )


def take_over(model: Any, data: object) -> None:
    """Let a model keep a copy of how data were prepared, if they tell."""
    given = data if isinstance(data, Preprocessing) else _told_by(data)
    if given is not None:
        model.preprocessing = copy.deepcopy(given).to(model.device)


def _of_data(trainer: Trainer) -> Preprocessing | None:
    return _told_by(attached_data(trainer))


def _told_by(data: object) -> Preprocessing | None:
    """Return how a data module, or a loader of one, has prepared its rows, if it tells."""
    for each in (data, getattr(data, "dataset", None)):
        found = getattr(each, "preprocessing", None)
        if isinstance(found, Preprocessing):
            return found
    return None
