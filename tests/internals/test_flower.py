"""What hybridlit uses of Flower, against Flower itself."""

import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from flwr import app, clientapp, serverapp
from flwr.supercore import telemetry
from flwr.supercore.task_identity import TaskIdentity

import hybridlit
from hybridlit.internals import flower
from hybridlit.internals.flower import (
    ArrayRecord,
    ConfigRecord,
    Message,
    MessageType,
    MetricRecord,
    RecordDict,
    as_server,
    failed,
    from_wire,
    quiet,
    to_wire,
)

PUBLIC = {
    app: "ArrayRecord ConfigRecord Context Error Message MessageType MetricRecord RecordDict",
    clientapp: "ClientApp",
    serverapp: "Grid ServerApp",
    serverapp.strategy: "FedAvg FedProx",
}


def message():
    arrays = ArrayRecord({"w": torch.arange(6.0).view(2, 3), "count": torch.tensor(3)})
    content = RecordDict(
        {"arrays": arrays, "metrics": MetricRecord({"a": 1.5}), "c": ConfigRecord({"b": "é"})}
    )
    with as_server():
        return Message(content, 7, MessageType.TRAIN)


def test_what_is_public_is_flowers_own():
    for module, names in PUBLIC.items():
        assert all(getattr(flower, name) is getattr(module, name) for name in names.split())


def test_no_other_file_imports_flower():
    found = {
        path.name
        for path in Path(hybridlit.__file__).parent.rglob("*.py")
        if re.search(r"^\s*(from|import) flwr\b", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert found == {"flower.py"}


def test_without_it_the_way_to_install_it_is_said():
    code = "import sys; sys.modules['flwr'] = None; import hybridlit.internals.flower"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.stderr.splitlines()[-1] == (
        "ImportError: federated learning needs Flower: pip install 'hybridlit[federated]'"
    )


@pytest.mark.parametrize(
    ("given", "found"), [(None, "0"), pytest.param("1", "1", marks=pytest.mark.slow)]
)
def test_telemetry_is_off_unless_it_is_asked_for(given, found):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("FLWR_")}
    environment |= {} if given is None else {"FLWR_TELEMETRY_ENABLED": given}
    code = (
        "import hybridlit.internals.flower; from flwr.supercore import telemetry; "
        "print(telemetry.FLWR_TELEMETRY_ENABLED)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert ended.stdout.strip() == found
    assert telemetry.TELEMETRY_EVENTS_URL.startswith("https://telemetry.")  # or it has moved


def test_a_message_is_the_same_after_the_wire():
    sent = message()
    arrived = from_wire(to_wire(sent))
    assert arrived.metadata.dst_node_id == 7 and arrived.metadata.message_type == "train"
    state = arrived.content["arrays"].to_torch_state_dict()
    assert torch.equal(state["w"], torch.arange(6.0).view(2, 3))
    assert state["count"].item() == 3 and state["count"].dtype == torch.int64
    assert arrived.content["metrics"]["a"] == 1.5 and arrived.content["c"]["b"] == "é"
    assert arrived.content["arrays"] is not sent.content["arrays"]


def test_a_failed_client_replies_with_the_reason():
    reply = from_wire(to_wire(failed(message(), "no power")))
    assert reply.has_error() and not reply.has_content()
    assert reply.error.reason == "no power" and reply.metadata.src_node_id == 7


def test_only_a_server_makes_messages_and_only_for_the_time_of_the_block():
    before = vars(TaskIdentity).copy()
    with as_server():
        assert (TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id) == (0, 1, 0)
    assert vars(TaskIdentity) == before
    if before["_run_id"] is None:
        with pytest.raises(RuntimeError, match="is not set"):
            Message(RecordDict(), 7, MessageType.TRAIN)


def test_a_run_of_no_deployment_has_a_number():
    assert flower.Run.create_empty(3).run_id == 3


def test_flower_is_quiet_but_for_errors(caplog):
    logger = logging.getLogger("flwr")
    with quiet():
        logger.warning("a round begins")
        logger.error("a fault")
    logger.warning("after")
    assert [record.message for record in caplog.records] == ["a fault", "after"]
