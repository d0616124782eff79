"""Flower, and what hybridlit uses of it that it does not document. Seen in 1.42.

All of hybridlit has Flower from here: its telemetry, which is on by default, is off before any of
it is imported, unless `FLWR_TELEMETRY_ENABLED` says otherwise.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of typer, which the import of it meets
    try:
        from flwr.app import (
            ArrayRecord,
            ConfigRecord,
            Context,
            Error,
            Message,
            MessageType,
            MetricRecord,
            RecordDict,
        )
        from flwr.clientapp import ClientApp
        from flwr.common.constant import ErrorCode
        from flwr.common.serde import message_from_proto, message_to_proto
        from flwr.proto.message_pb2 import Message as MessageProto
        from flwr.serverapp import Grid, ServerApp
        from flwr.serverapp.strategy import FedAvg, FedProx
        from flwr.supercore.run import Run
        from flwr.supercore.task_identity import TaskIdentity
    except ImportError as missing:
        raise ImportError(
            "federated learning needs Flower: pip install 'hybridlit[federated]'"
        ) from missing

__all__ = [
    "ArrayRecord",
    "ClientApp",
    "ConfigRecord",
    "Context",
    "Error",
    "FedAvg",
    "FedProx",
    "Grid",
    "Message",
    "MessageType",
    "MetricRecord",
    "RecordDict",
    "Run",
    "ServerApp",
    "as_server",
    "failed",
    "from_wire",
    "quiet",
    "to_wire",
]

_SERVER = {"_task_id": 0, "_run_id": 0, "_node_id": 1}


def to_wire(message: Message) -> bytes:
    """Return a message as the bytes that go from one machine to another."""
    return cast(bytes, message_to_proto(message).SerializeToString())


def from_wire(content: bytes) -> Message:
    """Return the message that `to_wire` has made bytes of."""
    return message_from_proto(MessageProto.FromString(content))


def failed(message: Message, reason: str) -> Message:
    """Return the reply of a client that raised an error."""
    return Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason), reply_to=message)


@contextmanager
def as_server() -> Iterator[None]:
    """Let this process make messages of a server: a deployed one gets its identity at its start."""
    before = {name: getattr(TaskIdentity, name) for name in _SERVER}
    try:
        for name, value in _SERVER.items():
            setattr(TaskIdentity, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(TaskIdentity, name, value)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what Flower tells of each round, a dozen lines, from burying ours."""
    logger = logging.getLogger("flwr")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
