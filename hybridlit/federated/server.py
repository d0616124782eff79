"""The server: sends weights, averages what comes back, and scores it on rows of its own."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hybridlit.analysis.silence import lightning_silenced
from hybridlit.components import photonic_modules
from hybridlit.federated.averaging import phase_periods
from hybridlit.federated.client import CIRCUITS
from hybridlit.federated.curves import Curves
from hybridlit.federated.scoring import save_model, scores
from hybridlit.federated.settings import FederatedSettings, federated_settings
from hybridlit.federated.sharing import shared_names
from hybridlit.federated.strategies import STRATEGIES, ClientReply, weighted
from hybridlit.internals.flower import ArrayRecord, ConfigRecord, Grid, MetricRecord, quiet
from hybridlit.photonics.description import circuits_in
from hybridlit.recipe import Built, build
from hybridlit.resume.durable import save_durably
from hybridlit.templates import HybridModule
from hybridlit.words import plural

__all__ = ["CENTRE", "Federation", "Round", "serve"]

CENTRE = "centre"
"""The run of the server in TensorBoard."""


@dataclass(frozen=True)
class Round:
    """What a round has brought.

    Attributes:
        number: From 1; 0 is before the first.
        seconds: What it took.
        centre: Scores of the averaged weights on the rows of the server, by name; empty where the
            clients keep a component, without which there is no model.
        trained: What the clients whose weights were averaged have reported.
        evaluated: Scores of the averaged weights on the validation rows of the clients, with what
            they keep; in the last round also on their test rows, if they keep anything.
        lost: What was lost: clients that failed or did not reply, in words.
    """

    number: int
    seconds: float
    centre: Mapping[str, float]
    trained: tuple[ClientReply, ...] = ()
    evaluated: tuple[ClientReply, ...] = ()
    lost: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.number:
            return f"Before: {_listed(self.centre)}" if self.centre else "Before"
        clients = f"{plural(len(self.trained), 'client')} trained"
        mean = weighted(self.evaluated)
        centre = {name: v for name, v in self.centre.items() if name.startswith("test/")}
        parts = [clients, *(["centre " + _listed(centre)] if centre else [])]
        parts += ["clients " + _listed(mean)] if mean else []
        lost = "".join(f"\n  {each}" for each in self.lost)
        return f"Round {self.number}: {', '.join(parts)}, {self.seconds:.1f} s{lost}"


@dataclass(frozen=True)
class Federation:
    """A training of several clients together.

    Attributes:
        settings: How they trained.
        model: The model with the averaged weights, in evaluation mode; None where the clients keep
            a component, so that each has a model of its own.
        shared: The averaged weights, by their names in the state dict.
        rounds: What each round has brought, number 0 first.
        checkpoint: Where the model was saved, or the shared component for `warm_start`; None: it
            was not.

    Example:
        >>> last = Round(number=5, seconds=1.0, centre={"test/acc": 0.9})
        >>> print(Federation(FederatedSettings(), None, shared={}, rounds=(last,)))
        4 clients, 5 rounds of 1 epoch, fedavg. Scores of the clients, on average: test/acc 0.900.
    """

    settings: FederatedSettings
    model: HybridModule | None
    shared: Mapping[str, Tensor] = field(repr=False)
    rounds: tuple[Round, ...] = field(repr=False)
    checkpoint: Path | None = None

    @property
    def scores(self) -> dict[str, float]:
        """Scores after the last round: of the centre, or else the means of the clients."""
        last = self.rounds[-1]
        return dict(last.centre) or weighted(last.evaluated)

    def __str__(self) -> str:
        whose = "the averaged weights" if self.model is not None else "the clients, on average"
        lost = sum(bool(each.lost) for each in self.rounds)
        gaps = f"; something was lost in {plural(lost, 'round')}" if lost else ""
        return f"{self.settings}. Scores of {whose}: {_listed(self.scores)}{gaps}."


def serve(
    grid: Grid,
    settings: Mapping[str, Any],
    folder: Path | None = None,
    say: Callable[[str], object] = print,
    check: Callable[[Mapping[str, Tensor], Mapping[str, Any]], object] | None = None,
) -> Federation:
    """Let the clients of a grid train together.

    Normalizations with statistics are fitted to the training rows of the server beforehand, and its
    model knows how these were prepared.

    Args:
        grid: Where the clients are.
        settings: The recipe of the server; its validation and test rows score the weights.
        folder: Where curves and the checkpoint go; None: nowhere.
        say: Called with a line after each round.
        check: Called at first with the weights and the settings that the clients will get.

    Raises:
        ValueError: If the recipe does not fit, or no client could train.
    """
    federated = federated_settings(settings)
    with lightning_silenced(), quiet():
        built = build(settings, federated.seed, max_epochs=0, num_sanity_val_steps=0)
        built.trainer.fit(built.model, built.data)  # nothing but what comes before the first step
        centre = _Centre(built, federated, folder, say)
        if check is not None:
            check(centre.shared, centre.config)
        return centre.run(grid)


class _Centre:
    """The server's model, and what it notes of each round."""

    def __init__(
        self,
        built: Built,
        federated: FederatedSettings,
        folder: Path | None,
        say: Callable[[str], object],
    ) -> None:
        self._built, self._federated, self._folder, self._say = built, federated, folder, say
        if federated.local is not None and not photonic_modules(built.model):
            raise ValueError(f"local={federated.local!r} needs a photonic part, and there is none")
        state = built.model.state_dict()
        if any(value.dtype == torch.bfloat16 for value in state.values()):
            raise ValueError(
                "weights in bfloat16 cannot be sent: choose trainer.precision='bf16-mixed', whose "
                "weights are float32"
            )
        self._circuits = circuits_in(state)
        self.shared = {name: state[name] for name in shared_names(built.model, federated.local)}
        phases = {n: p for n, p in phase_periods(built.model).items() if n in self.shared}
        row = STRATEGIES[federated.strategy]
        self._strategy = row.made(
            clients=federated.clients,
            fewest=federated.fewest,
            timeout=federated.timeout,
            phases=phases,
            **{name: getattr(federated, name) for name in row.needs},
        )
        sent = {place: c for place, c in self._circuits.items() if _phases_of(place) in phases}
        self.config: dict[str, Any] = {CIRCUITS: json.dumps(sent), "rounds": federated.rounds}
        self._curves = Curves(folder)
        self._rounds: list[Round] = []
        self._began = time.monotonic()
        self.checkpoint: Path | None = None

    def run(self, grid: Grid) -> Federation:
        """Run all rounds."""
        there, wanted = len(list(grid.get_node_ids())), self._federated.clients
        if there < wanted:
            self._say(f"Waiting for clients: {there} of {wanted} are there.")
        try:
            self._strategy.start(
                grid,
                ArrayRecord(self.shared),
                self._federated.rounds,
                self._federated.timeout,
                ConfigRecord(dict(self.config)),
                ConfigRecord(dict(self.config)),
                self._after,
            )
        finally:
            self._curves.close()
        whole = self._federated.local is None
        model = self._built.model.eval() if whole else None
        return Federation(self._federated, model, self.shared, tuple(self._rounds), self.checkpoint)

    def _after(self, number: int, arrays: ArrayRecord) -> MetricRecord:
        """Score the weights after a round, note what it has brought, and save them."""
        self.shared = dict(arrays.to_torch_state_dict())
        whole, strategy = self._federated.local is None, self._strategy
        if whole:
            self._built.model.load_state_dict(self.shared)
        centre = scores(self._built) if whole else {}
        now = time.monotonic()
        done = Round(
            number,
            now - self._began,
            centre,
            tuple(strategy.trained),
            tuple(strategy.evaluated),
            tuple(strategy.lost),
        )
        self._began = now
        self._rounds.append(done)
        self._curves.write(CENTRE, centre or weighted(done.evaluated), number)
        for reply in (*done.trained, *done.evaluated):
            self._curves.write(reply.client, reply.metrics, number)
        self._save()
        self._say(str(done))
        return MetricRecord({**centre})

    def _save(self) -> None:
        if self._folder is None:
            return
        if self._federated.local is None:
            self.checkpoint = self._folder / "checkpoints" / "last.ckpt"
            save_model(self._built, self.checkpoint)
            return
        self.checkpoint = self._folder / "shared.pt"
        content: dict[str, Any] = {"state_dict": self.shared}
        if self._federated.local == "classical":  # then it is the other component as a whole
            content |= {"component": "photonic", "circuits": self._circuits}
        save_durably(content, self.checkpoint)


def _phases_of(place: str) -> str:
    return f"{place}.phases" if place else "phases"


def _listed(scores: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in sorted(scores.items()))
