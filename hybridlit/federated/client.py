"""What a client does in a round: train the server's weights on its rows, or evaluate them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Callback
from torch import Tensor

from hybridlit.analysis.ablation.retraining import seeded
from hybridlit.analysis.noisy import under_noise
from hybridlit.analysis.silence import lightning_silenced
from hybridlit.analysis.splits import count_rows
from hybridlit.analysis.trainings import fit_to_the_best
from hybridlit.callbacks.warm_start import WarmStart
from hybridlit.federated.epochs import check_epochs
from hybridlit.federated.partition import keep_shard
from hybridlit.federated.proximal import ProximalTerm
from hybridlit.federated.scoring import save_model, scores
from hybridlit.federated.settings import federated_settings
from hybridlit.federated.sharing import received
from hybridlit.federated.strategies import CLIENT, ROWS
from hybridlit.internals.flower import (
    ArrayRecord,
    ClientApp,
    ConfigRecord,
    Context,
    Message,
    MetricRecord,
    RecordDict,
)
from hybridlit.photonics.description import circuits_in, differences
from hybridlit.recipe import Built, Parsed, changed
from hybridlit.templates.preparation import take_over

__all__ = ["CHECKPOINT", "CIRCUITS", "PARTITION", "Client", "SettingsOf", "client_app_of"]

SettingsOf = Callable[[Context], Mapping[str, Any]]
"""From what a node knows to its recipe."""

PARTITION = "partition-id"
"""The number of the client whose rows a node has, in its configuration; none: it has its own."""

CHECKPOINT = "checkpoint"
"""Where a node keeps its own model, in its configuration."""

CIRCUITS = "circuits"
"""The server's circuits where phases are shared, as JSON."""

_LOCAL = "local"
"""The record that stays with a client: the weights that are not shared."""


class Client:
    """A client in one round.

    Args:
        settings: Its recipe.
        context: What Flower knows of the node; weights that stay local are kept in its state.
        read: Recipes that were parsed already, by what they say; its own is added.
    """

    def __init__(
        self, settings: Mapping[str, Any], context: Context, read: dict[str, Parsed]
    ) -> None:
        self.federated, self.context = federated_settings(settings), context
        partition = context.node_config.get(PARTITION)
        self.shard = None if partition is None else int(partition)
        self.number = context.node_id if self.shard is None else self.shard
        self.name = str(context.node_config.get("name", f"client_{self.number}"))
        self.noise = self.federated.noise.get(self.number)
        changes = {} if self.shard is None else self.federated.changes.get(self.shard, {})
        own = changed(settings, changes)
        key = repr(own)
        if key not in read:
            epochs = self.federated.local_epochs
            read[key] = Parsed(own, max_epochs=epochs, num_sanity_val_steps=0)
        self._parsed = read[key]

    def check(self, arrays: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
        """Build everything once with what the server will send, and raise what is wrong."""
        try:
            with self._under_noise(self._built(arrays, config, [])):
                pass
        except (TypeError, ValueError) as error:
            raise type(error)(f"{self.name}: {error}") from None

    def train(self, message: Message) -> RecordDict:
        """Train the weights of the server for some epochs; they go back with the number of rows."""
        config, arrays = _config(message), _arrays(message)
        mu = config.get("proximal-mu")
        built = self._built(arrays, config, [] if mu is None else [ProximalTerm(mu, set(arrays))])
        draws = np.random.SeedSequence(
            [self.federated.seed or 0, self.number, config["server-round"]]
        )
        own = int(draws.generate_state(1)[0])
        seeded(own)
        if hasattr(built.data, "seed"):
            built.data.seed = own  # another order of batches in each round
        with self._under_noise(built):
            fit_to_the_best(built.trainer, built.model, built.data)
        state = built.model.state_dict()
        if self.federated.local is not None:
            kept = {name: value for name, value in state.items() if name not in arrays}
            self.context.state[_LOCAL] = ArrayRecord(kept)
        logged = built.trainer.callback_metrics
        metrics = {name: float(v) for name, v in logged.items() if name.startswith("train/")}
        shared = {name: state[name] for name in arrays}
        return self._report(count_rows(built.data, "train"), metrics, shared)

    def evaluate(self, message: Message) -> RecordDict:
        """Score the weights of the server, with those that stay here, on the validation rows.

        In the last round, what stays here is the end of a model of the client's own: it is scored
        on the test rows as well, and kept.
        """
        config = _config(message)
        built = self._built(_arrays(message), config, [])
        own = self.federated.local is not None and config["server-round"] == config["rounds"]
        with self._under_noise(built):
            metrics = scores(built, test=own)
        path = self.context.node_config.get(CHECKPOINT)
        if own and path is not None:
            take_over(built.model, built.data)
            save_model(built, Path(str(path)))
        return self._report(count_rows(built.data, "val") or 1, metrics)

    def _built(
        self, arrays: Mapping[str, Tensor], config: Mapping[str, Any], callbacks: Sequence[Callback]
    ) -> Built:
        built = self._parsed.build(self.federated.seed, callbacks)
        if self.shard is not None:
            keep_shard(built.data, self.federated, self.shard)
        own = circuits_in(built.model.state_dict())
        for place, circuit in json.loads(config[CIRCUITS]).items():
            difference = differences(circuit, own.get(place, {}))
            if difference:
                raise ValueError(f"{place} is another circuit than the server's, {difference}")
        check_epochs(built, self.federated.local_epochs)
        self._start_warm(built)
        received(built.model, arrays, self.federated.local)
        if _LOCAL in self.context.state:
            kept = self.context.state.array_records[_LOCAL].to_torch_state_dict()
            built.model.load_state_dict(kept, strict=False)
        return built

    def _under_noise(self, built: Built) -> AbstractContextManager[object]:
        """Put the model under the noise of the client, if it has one, until a block ends."""
        return nullcontext() if self.noise is None else under_noise(built.model, self.noise)

    def _start_warm(self, built: Built) -> None:
        """Load now what a fit would load at its start, in place of what the server has sent."""
        callbacks: list[Callback] = built.trainer.callbacks  # type: ignore[attr-defined]
        for warm in [each for each in callbacks if isinstance(each, WarmStart)]:
            warm.on_fit_start(built.trainer, built.model)
            callbacks.remove(warm)

    def _report(
        self, rows: int, metrics: Mapping[str, float], arrays: Mapping[str, Tensor] | None = None
    ) -> RecordDict:
        report = RecordDict(
            {
                "metrics": MetricRecord({ROWS: rows, **metrics}),
                CLIENT: ConfigRecord({"name": self.name}),
            }
        )
        if arrays is not None:
            report["arrays"] = ArrayRecord(dict(arrays))
        return report


def client_app_of(settings_of: SettingsOf, read: dict[str, Parsed] | None = None) -> ClientApp:
    """Return the app of clients that have their recipes from a function."""
    app = ClientApp()
    known = {} if read is None else read

    def reply(work: Callable[[Client, Message], RecordDict]) -> Callable[..., Message]:
        def call(message: Message, context: Context) -> Message:
            with lightning_silenced():
                client = Client(settings_of(context), context, known)
                return Message(work(client, message), reply_to=message)

        return call

    app.train()(reply(Client.train))
    app.evaluate()(reply(Client.evaluate))
    return app


def _config(message: Message) -> dict[str, Any]:
    (config,) = message.content.config_records.values()
    return dict(config)


def _arrays(message: Message) -> dict[str, Tensor]:
    (arrays,) = message.content.array_records.values()
    return dict(arrays.to_torch_state_dict())
