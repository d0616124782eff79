"""What counts the epochs of a fit, of which a round has the first ones only, each time anew."""

from __future__ import annotations

from hybridlit.blocks.residual_gate import GradualGate
from hybridlit.recipe import Built
from hybridlit.templates.training.stages import StagedTraining, check_stages

__all__ = ["check_epochs"]


def check_epochs(built: Built, local_epochs: int) -> None:
    """Refuse what no round would come to, and the federation therefore never.

    Raises:
        ValueError: If a gate opens, or a stage begins, later than `local_epochs` say.
    """
    model, trainer = built.model, built.trainer
    gates = [each for each in model.modules() if isinstance(each, GradualGate)]
    needs = [(f"gate_epochs={[*gate.gate_epochs]}", gate.gate_epochs[1]) for gate in gates]
    given = model.hparams.get("stages")
    staged = [] if given is None else [check_stages(given)]
    staged += [c.stages for c in trainer.callbacks if isinstance(c, StagedTraining)]  # type: ignore[attr-defined]
    needs += [("the last of the stages", stages[-1].start + 1) for stages in staged]
    for what, epochs in needs:
        if epochs > local_epochs:
            raise ValueError(
                f"{what} needs {epochs:g} epochs of a fit, and a round is a fit of its own with "
                f"local_epochs={local_epochs}, so that none would come to it: leave it out, or "
                "give as many local_epochs"
            )
