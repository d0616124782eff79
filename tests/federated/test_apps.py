"""The apps of a real deployment, as Flower loads them, driven without a network."""

import sys
from pathlib import Path

import pytest
import torch
import yaml
from flwr.cli.config_utils import load_and_validate
from flwr.supercore.object_ref import load_app
from small_federations import recipe, run

import hybridlit
from hybridlit.federated.grid import InProcessGrid
from hybridlit.internals.flower import ClientApp, Context, RecordDict, ServerApp, as_server
from hybridlit.recipe import changed

APP = Path(hybridlit.__file__).parents[1] / "recipes" / "federated"


@pytest.fixture
def apps():
    config, warnings = load_and_validate(APP / "pyproject.toml")
    assert not warnings
    components = config["tool"]["flwr"]["app"]["components"]
    found = [load_app(components[name], ValueError) for name in ("serverapp", "clientapp")]
    assert isinstance(found[0], ServerApp) and isinstance(found[1], ClientApp)
    return *found, config["tool"]["flwr"]["app"]["config"]


def nodes(config, own):
    return {number: Context(0, number, node, RecordDict(), config) for number, node in own.items()}


def test_a_deployment_ends_with_the_weights_of_one_process(apps, tmp_path, capsys):
    server_app, client_app, config = apps
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe(federated={"rounds": 7})))
    config = config | {"recipe": str(path), "rounds": 1, "output": str(tmp_path / "out")}
    clients = nodes(config, {10 + k: {"partition-id": k} for k in range(3)})
    with as_server():
        grid = InProcessGrid(client_app, clients)
        server_app(grid, Context(0, 1, {}, RecordDict(), config))
    assert "3 clients, 1 round of 1 epoch, fedavg" in capsys.readouterr().out
    found = torch.load(tmp_path / "out" / "checkpoints" / "last.ckpt", weights_only=True)
    wanted = run(recipe(federated={"rounds": 1})).shared
    assert all(torch.equal(found["state_dict"][name], value) for name, value in wanted.items())


def test_clients_have_recipes_and_data_of_their_own(apps, tmp_path):
    server_app, client_app, config = apps
    settings = recipe(federated={"clients": 2, "shares": None, "local": "photonic", "rounds": 1})
    own = changed(settings, {"data.val_fraction": 0.4, "model.n_photons": 1})
    for name, each in (("server", settings), ("own", own)):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(each))
    config = config | {"recipe": str(tmp_path / "server.yaml")}
    kept = tmp_path / "north.ckpt"
    north = {"recipe": str(tmp_path / "own.yaml"), "name": "north", "checkpoint": str(kept)}
    with as_server():
        grid = InProcessGrid(client_app, nodes(config, {5: north, 6: {"name": "south"}}))
        replies = []
        inner = grid.send_and_receive
        grid.send_and_receive = lambda *a, **k: replies.extend(inner(*a, **k)) or replies[-2:]
        server_app(grid, Context(0, 1, {}, RecordDict(), config))
    names = {reply.content["client"]["name"] for reply in replies}
    rows = [reply.content["metrics"]["num-examples"] for reply in replies[:2]]
    assert names == {"north", "south"} and sorted(rows) == [60, 90]
    assert hybridlit.load(kept).hparams.n_photons == 1


def test_a_node_without_a_recipe_says_so(apps):
    server_app, _, _ = apps
    with pytest.raises(ValueError, match="no recipe: name a file of this machine"):
        server_app(InProcessGrid(lambda *_: None, {}), Context(0, 1, {}, RecordDict(), {}))


def test_the_apps_import_nothing_of_other_machines(apps):
    """Nothing but the recipe's path and numbers comes with a run."""
    assert set(apps[2]) == {"recipe", "output", "clients", "rounds", "local-epochs"}
    assert not list(APP.rglob("*.py")) and "hybridlit.federated.apps" in sys.modules
