"""Which part is named for overfitting, and frozen, once copies confirm it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import nn

from hybridlit.analysis.loss_change.intervention import Verdict
from hybridlit.analysis.loss_change.owners import OWNERS, By
from hybridlit.blocks import Fusion
from hybridlit.callbacks.log_keys import LogKey
from hybridlit.callbacks.measuring.interventions import Interventions
from hybridlit.callbacks.measuring.reports import boards, last_step, named, training_goes_on
from hybridlit.components import split_parameters

__all__ = ["Action", "Naming"]

Action = Literal["warn", "freeze"]

_ADVICE = "raise weight decay or dropout"


class Naming:
    """Name one part in an episode of alarms, and freeze it if that is wanted.

    Args:
        by: Who can be named, a name of `OWNERS`.
        action: What to do with it.
        interventions: The copies.
        window: Measurements without alarm that end an episode.
        min_cost: The smallest difference that matters among copies.
    """

    def __init__(
        self, by: By, action: Action, interventions: Interventions, window: int, min_cost: float
    ) -> None:
        self._by, self._action, self._interventions = by, action, interventions
        self._window, self._min_cost = window, min_cost
        self.frozen: list[str] = []  # parts, in this run
        self.said: list[str] = []  # in this run, and not said again
        self._episode: dict[str, Any] = {}  # measurements without alarm; judged; who was named
        self._going_back = 0  # steps that the copy takes from which the model goes on

    @property
    def named(self) -> str | None:
        """The part that was named in the present episode."""
        found: str | None = self._episode.get("named")
        return found

    def state_dict(self) -> dict[str, Any]:
        """Return what was found, said and done, in plain types."""
        return {
            "episode": self._episode,
            "said": self.said,
            "frozen": self.frozen,
            "going_back": self._going_back,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from the state of a checkpoint; those of version 0.1 know of no copies."""
        self._episode, self.said = state.get("episode", {}), state.get("said", [])
        self.frozen, self._going_back = state.get("frozen", []), state.get("going_back", 0)

    def quiet(self) -> None:
        """Count a measurement without alarm."""
        quiet = self._episode.get("quiet", self._window) + 1
        self._episode = self._episode | {"quiet": quiet} if quiet < self._window else {}

    def alarm(self, trainer: Trainer, model: LightningModule) -> None:
        """Look for the part to blame, once an episode."""
        self._episode = {"judged": False, "named": None} | self._episode | {"quiet": 0}
        if not self._episode["judged"] and self._interventions.affordable(trainer.global_step):
            self._episode["judged"] = True
            found = self._intervene(trainer, model)
            if found not in self.said:
                self.said.append(found)
                rank_zero_warn(f"{found}.")
                with training_goes_on("what TensorBoard gets of this"):
                    for board in boards(trainer):
                        step = last_step(trainer)
                        board.experiment.add_text(LogKey.FOUND(), f"{found}.", step)

    def go_back(self, trainer: Trainer, model: LightningModule) -> bool:
        """Let the model go on from a copy, if that is due; tell whether it was."""
        if not self._going_back:
            return False
        last = self.frozen[-1]
        with training_goes_on(
            lambda error: rank_zero_warn(f"{last} is frozen as it is, since {_failed(error)}.")
        ):
            frozen = self._parameters(model, self.frozen).keys()
            self._interventions.go_back(trainer, model, frozen, self._going_back)
        self._going_back, self._episode = 0, {}
        return True

    def take_gradients(self, model: LightningModule) -> None:
        """Take away the gradients of frozen parts."""
        for parameter in self._parameters(model, self.frozen).values() if self.frozen else ():
            parameter.grad = None

    def _intervene(self, trainer: Trainer, model: LightningModule) -> str:
        """Freeze one part after the other on copies, act on what that shows, and say it."""
        unnamed = "the model overfits, and no part is named, since"
        parts = {
            part: list(own)
            for part, own in OWNERS[self._by].parameters(model).items()
            if part not in self.frozen and any(p.requires_grad for p in own.values())
        }
        if self._interventions.most_steps == 0:
            return f"{unnamed} replay_steps=0 leaves no copies to confirm one"
        if len(parts) < 2:
            return f"{unnamed} no more than one is trained: {_ADVICE}, or stop earlier"
        found: list[Verdict | str] = []
        with training_goes_on(lambda error: found.append(f"{unnamed} {_failed(error)}")):
            frozen = self._parameters(model, self.frozen).keys()
            fusions = [name for name, m in model.named_modules() if isinstance(m, Fusion)]
            verdict = self._interventions.verdict(
                trainer, model, parts, frozen, self._min_cost, last=fusions
            )
            found.append(verdict)
        agreed: Verdict | str = trainer.strategy.broadcast(found[-1])
        if isinstance(agreed, str):
            return agreed
        self._interventions.agree(agreed)
        if agreed.named is None:
            return f"{agreed.sentence()}: {_ADVICE} everywhere, or stop earlier"
        self._episode["named"] = agreed.named
        return f"{agreed.sentence()}: {self._act(trainer, model, agreed.named)}"

    def _act(self, trainer: Trainer, model: LightningModule, part: str) -> str:
        """Freeze a part if that is wanted; say what was or can be done."""
        photonic = {id(p) for p in split_parameters(model)["photonic"].values()}
        advice = f"{_ADVICE}, or make it narrower"
        if any(id(p) in photonic for p in self._parameters(model, [part]).values()):
            advice = "give it fewer modes, photons, features or outputs"
        if self._action == "warn":
            return f"{advice}, or freeze it with action='freeze'"
        self.frozen.append(part)
        self._going_back = self._interventions.steps_since(trainer.global_step)
        goes_on = "the model goes on from such a copy" if self._going_back else "training goes on"
        return f"it is frozen, and {goes_on}"

    def _parameters(self, model: LightningModule, parts: list[str]) -> dict[str, nn.Parameter]:
        owned = OWNERS[self._by].parameters(model)
        return {name: p for part in parts for name, p in owned.get(part, {}).items()}


def _failed(error: Exception) -> str:
    return f"a copy of the model could not be trained ({named(error)})"
