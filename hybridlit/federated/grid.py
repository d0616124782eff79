"""Clients in this process: Flower's apps, without Ray and without a network."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

from hybridlit.internals.flower import (
    ClientApp,
    Context,
    Grid,
    Message,
    RecordDict,
    Run,
    failed,
    from_wire,
    to_wire,
)

__all__ = ["InProcessGrid"]


class InProcessGrid(Grid):
    """Calls a ClientApp for one client after the other, with messages made bytes and back.

    A client that raises an error has sent an error, and one that took longer than the timeout has
    sent nothing, as over a network.

    Args:
        client_app: What a client does with a message: a ClientApp, or any function.
        contexts: What each client knows and keeps, by the number of its node.
        on_wire: Called with each message as bytes, for whoever wants to see what leaves a client.
    """

    def __init__(
        self,
        client_app: ClientApp | Callable[[Message, Context], Message],
        contexts: Mapping[int, Context],
        on_wire: Callable[[bytes], object] | None = None,
    ) -> None:
        self._app, self._contexts, self._on_wire = client_app, contexts, on_wire
        self._run = Run.create_empty(0)
        self._replies: dict[str, Message] = {}

    @property
    def run(self) -> Run:
        """The run, which has no number here."""
        return self._run

    def set_run(self, run: Run) -> None:
        """Set the run."""
        self._run = run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Return a message to a client."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """Return the numbers of the nodes."""
        return list(self._contexts)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Let the clients reply at once; their replies wait for `pull_messages`."""
        replies = {f"{len(self._replies) + i}": self._reply(m) for i, m in enumerate(messages)}
        self._replies |= replies
        return list(replies)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Return the replies to messages."""
        return [self._replies.pop(each) for each in message_ids if each in self._replies]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Return the replies of the clients that took no longer than `timeout` seconds."""
        replies = []
        for message in messages:
            start = time.monotonic()
            reply = self._reply(message)
            if timeout is None or time.monotonic() - start <= timeout:
                replies.append(reply)
        return replies

    def _reply(self, message: Message) -> Message:
        arrived = self._sent(message)
        try:
            reply = self._app(arrived, self._contexts[message.metadata.dst_node_id])
        except Exception as error:  # what a client dies of is the server's only as a message
            reply = failed(arrived, f"{type(error).__name__}: {error}")
        return self._sent(reply)

    def _sent(self, message: Message) -> Message:
        content = to_wire(message)
        if self._on_wire is not None:
            self._on_wire(content)
        return from_wire(content)
