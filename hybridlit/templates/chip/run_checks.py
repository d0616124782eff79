"""What the run of a twin must be: the sizes of its data, and who decides what is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hybridlit.templates.training.stages import ComponentsInTurn

if TYPE_CHECKING:
    from hybridlit.templates.chip.chip_twin import ChipTwin

__all__ = ["check_run"]


def check_run(model: ChipTwin) -> None:
    """Refuse data of other sizes, and callbacks that train one component and then the other.

    Args:
        model: A twin at the start of a fit.

    Raises:
        ValueError: If modes or heaters differ from those of the data module, or if a callback
            trains components in turn: searches and steps of Gauss and Newton are stages already.
    """
    data = getattr(model.trainer, "datamodule", None)
    own = {"modes": model.hparams["modes"], "heaters": model.classical_pre.heaters}
    there = {name: getattr(data, name, size) for name, size in own.items()}
    if there != own:
        words = [" and ".join(f"{n} {name}" for name, n in e.items()) for e in (own, there)]
        raise ValueError(
            f"the model has {words[0]}, and the data have {words[1]}: give the data's modes, "
            "and as heaters a list of the phases that its heaters are on, or name other columns"
        )
    if model.fits_a_chip:
        for callback in model.trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, ComponentsInTurn):
                raise ValueError(
                    f"ChipTwin decides itself what each epoch fits, got {type(callback).__name__}: "
                    "leave the callback out, and freeze parameters that are known"
                )
