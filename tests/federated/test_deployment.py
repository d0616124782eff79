"""A real deployment on this machine: Flower's server and clients as processes of their own."""

import os
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import yaml
from small_federations import recipe, run

import hybridlit

ROOT = Path(hybridlit.__file__).parents[1]
LIMIT = 400


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@contextmanager
def started(folder, name, *command):
    """A process with children of its own, all of which are ended."""
    with (folder / f"{name}.log").open("w") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, cwd=folder, start_new_session=True
        )
    try:
        yield process
    finally:
        killed(process)
        process.wait()


def killed(process):
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def until(found, what):
    end = time.monotonic() + LIMIT
    while not found():
        assert time.monotonic() < end, what
        time.sleep(0.5)


@pytest.mark.slow
def test_processes_end_with_the_weights_of_one_and_survive_a_kill(tmp_path, monkeypatch):
    server, *own = free_ports(3)
    monkeypatch.setenv("FLWR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FLWR_TELEMETRY_ENABLED", "0")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "config.toml").write_text(
        f'[superlink]\ndefault = "here"\n[superlink.here]\naddress = "127.0.0.1:{server}"\n'
        "insecure = true\n"
    )
    settings = recipe(federated={"clients": 2, "shares": [2, 1], "rounds": 2})
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(settings))

    def logged(name):
        return (tmp_path / f"{name}.log").read_text()

    def client(number):
        address = ["--superlink", f"127.0.0.1:{server}", "--port", str(own[number])]
        node = ["--node-config", f"partition-id={number}"]
        return started(
            tmp_path, f"client_{number}", "flower-supernode", "--insecure", *address, *node
        )

    def begin(rounds, output):
        config = f'recipe="{tmp_path / "recipe.yaml"}" rounds={rounds} output="{tmp_path / output}"'
        command = ["flwr", "run", str(ROOT / "recipes" / "federated"), "--run-config", config]
        subprocess.run(command, check=True, capture_output=True, timeout=LIMIT)

    def saved(output):
        path = tmp_path / output / "checkpoints" / "last.ckpt"
        return torch.load(path, weights_only=True)["state_dict"]

    address = ["--host", "127.0.0.1", "--port", str(server)]
    quick = ["--insecure", "--disable-runtime-dependency-installation"]
    with started(tmp_path, "server", "flower-superlink", *quick, *address):
        until(lambda: "Uvicorn running" in logged("server"), "the server has not started")
        with client(0), client(1) as second:
            begin(1, "whole")
            until(lambda: logged("server").count("Finished task") == 1, "the run does not end")
            wanted = run(settings, rounds=1).shared
            assert all(torch.equal(saved("whole")[name], value) for name, value in wanted.items())

            begin(2, "lame")
            before = logged("client_1").count("Sent successfully")
            until(
                lambda: logged("client_1").count("Sent successfully") >= before + 2,
                "the first round does not end",
            )
            killed(second)
            until(lambda: logged("server").count("Finished task") == 2, "the run does not end")
    one, two = saved("whole"), saved("lame")
    assert not all(torch.equal(one[name], two[name]) for name in wanted)
    assert all(torch.isfinite(value).all() for value in two.values())
