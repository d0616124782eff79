"""Flower's strategies, with means that are ours and rounds that survive the loss of a client."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

from hybridlit.federated.averaging import averaged
from hybridlit.internals.flower import (
    ArrayRecord,
    ConfigRecord,
    FedAvg,
    FedProx,
    Grid,
    Message,
    MetricRecord,
)
from hybridlit.words import plural, quoted

__all__ = [
    "CLIENT",
    "ROWS",
    "STRATEGIES",
    "ClientReply",
    "NoClientError",
    "Strategy",
    "StrategyName",
    "SurvivingFedAvg",
    "SurvivingFedProx",
    "weighted",
]

ROWS = "num-examples"
"""The metric that counts a client's rows: its weight."""

CLIENT = "client"
"""The record that has a client's name."""


class NoClientError(ValueError):
    """No client has ever answered with anything of use."""


class ClientReply(NamedTuple):
    """What a client has reported in a round.

    Attributes:
        client: Its name.
        rows: Number of its rows.
        metrics: By name.
    """

    client: str
    rows: int
    metrics: dict[str, float]


class _Surviving(FedAvg):
    """FedAvg that averages phases on the circle, and goes on without clients that are lost.

    A reply that is an error, or whose weights do not fit or are not finite, is left out, and so is
    a client that has not replied in time. With fewer than `fewest` replies left, the weights stay
    as they were.

    Args:
        clients: Number of clients to wait for at the start.
        fewest: Number of replies that a round needs.
        timeout: Seconds to wait for so many clients to be there.
        phases: Periods of the weights that are phases, by name.
        **options: Of the strategy of Flower.
    """

    def __init__(
        self,
        clients: int,
        fewest: int,
        timeout: float,
        phases: Mapping[str, Tensor],
        **options: Any,
    ) -> None:
        super().__init__(
            min_train_nodes=fewest,
            min_evaluate_nodes=fewest,
            min_available_nodes=clients,
            weighted_by_key=ROWS,
            **options,
        )
        self.fewest, self.timeout, self.phases = fewest, timeout, phases
        self.trained: list[ClientReply] = []
        self.evaluated: list[ClientReply] = []
        self.lost: list[str] = []
        self._before: dict[str, Tensor] = {}
        self._asked: dict[int, str] = {}
        self._names: dict[int, str] = {}
        self._ever = False

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Ask all clients that are there to train."""
        self._before = dict(arrays.to_torch_state_dict())
        self.trained, self.evaluated, self.lost = [], [], []
        there = self._there(grid)
        self.min_available_nodes = self.fewest  # later, a client that is gone is not waited for
        return self._noted(
            super().configure_train(server_round, arrays, config, grid) if there else []
        )

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Ask all clients that are there to evaluate."""
        if len(list(grid.get_node_ids())) < self.fewest:
            return self._noted([])
        return self._noted(super().configure_evaluate(server_round, arrays, config, grid))

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Average the weights of the clients by their rows."""
        found = []
        for message, reply in self._replies(replies):
            state = _state_of(message)
            fault = _fault(state, self._before)
            if fault:
                self.lost.append(f"{reply.client} sent {fault}")
            else:
                found.append((reply, state))
        self.trained = [reply for reply, _ in found]
        if not found and not self._ever:
            raise NoClientError(f"no client could train: {'; '.join(self.lost)}")
        if len(found) < self.fewest:
            self.lost.append(f"the weights stay, since a round needs {self.fewest} replies")
            return None, None
        self._ever = True
        states, weights = [state for _, state in found], [reply.rows for reply, _ in found]
        means = averaged(states, weights, self.phases, self._before)
        return ArrayRecord(means), MetricRecord({**weighted(self.trained)})

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        """Average the scores of the clients by their rows."""
        self.evaluated = [reply for _, reply in self._replies(replies)]
        return MetricRecord({**weighted(self.evaluated)}) if self.evaluated else None

    def _there(self, grid: Grid) -> bool:
        """Wait for enough clients; Flower itself would wait without an end."""
        end = time.monotonic() + self.timeout
        while (found := len(list(grid.get_node_ids()))) < self.min_available_nodes:
            if time.monotonic() > end:
                wanted = self.min_available_nodes
                self.lost.append(f"{plural(found, 'client')} there of {wanted} that are needed")
                return found >= self.fewest
            time.sleep(1)
        return True

    def _noted(self, messages: Iterable[Message]) -> list[Message]:
        asked = list(messages)
        nodes = [message.metadata.dst_node_id for message in asked]
        self._asked = {node: self._names.get(node, f"node {node}") for node in nodes}
        return asked

    def _replies(self, replies: Iterable[Message]) -> list[tuple[Message, ClientReply]]:
        """Replies by name of the client, whoever was first; the others are noted as lost."""
        silent, found = dict(self._asked), []
        gone: list[str | None] = []
        for message in replies:
            node = message.metadata.src_node_id
            if message.has_error() and node not in silent:  # Flower itself, of a client that died
                gone.append(message.error.reason)
                continue
            name = silent.pop(node, f"node {node}")
            if message.has_error():
                self.lost.append(f"{name} failed: {message.error.reason}")
                continue
            try:
                reply = _read(message)
            except (KeyError, TypeError, ValueError) as error:
                self.lost.append(f"{name} sent no report: {error}")
                continue
            self._names[node] = reply.client
            found.append((message, reply))
        reasons = "".join(f": {reason}" for reason in gone)
        self.lost += [f"{name} did not reply{reasons or ' in time'}" for name in silent.values()]
        return sorted(found, key=lambda each: each[1].client)


class SurvivingFedAvg(_Surviving):
    """`FedAvg`."""


class SurvivingFedProx(_Surviving, FedProx):
    """`FedProx`, whose `proximal_mu` reaches the clients."""


class Strategy(NamedTuple):
    """How clients' weights become the server's.

    Attributes:
        made: The class of it.
        needs: Settings that it needs, and takes as arguments.
    """

    made: type[_Surviving]
    needs: tuple[str, ...] = ()


STRATEGIES: dict[str, Strategy] = {
    "fedavg": Strategy(SurvivingFedAvg),
    "fedprox": Strategy(SurvivingFedProx, needs=("proximal_mu",)),
}
"""Strategies by name."""

if TYPE_CHECKING:
    StrategyName: TypeAlias = str
else:
    StrategyName = Literal[tuple(STRATEGIES)]


def weighted(replies: Iterable[ClientReply]) -> dict[str, float]:
    """Return the means over the rows of all clients of the metrics that all have."""
    known = list(replies)
    names = set.intersection(*(set(each.metrics) for each in known)) if known else set()
    total = sum(each.rows for each in known)
    return {
        name: sum(each.rows * each.metrics[name] for each in known) / total
        for name in sorted(names)
    }


def _read(message: Message) -> ClientReply:
    (record,) = message.content.metric_records.values()
    metrics = {name: float(value) for name, value in record.items()}  # type: ignore[arg-type]
    rows = int(metrics.pop(ROWS))
    if rows < 1:
        raise ValueError(f"{ROWS} must be at least 1, got {rows}")
    return ClientReply(str(message.content.config_records[CLIENT]["name"]), rows, metrics)


def _state_of(message: Message) -> dict[str, Tensor]:
    (arrays,) = message.content.array_records.values()
    return dict(arrays.to_torch_state_dict())


def _fault(state: Mapping[str, Tensor], before: Mapping[str, Tensor]) -> str:
    """Say what is wrong with the weights of a client; nothing if they can be averaged."""
    if state.keys() != before.keys():
        return f"other weights: {quoted(state.keys() ^ before.keys())}"
    for name, value in before.items():
        if state[name].shape != value.shape:
            return f"{name} of shape {tuple(state[name].shape)}, not {tuple(value.shape)}"
        if not torch.isfinite(state[name]).all():
            return f"values of {name} that are not finite"
    return ""
