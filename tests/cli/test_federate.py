"""`hybridlit federate`: the run it leaves is one like any other."""

import pytest
import yaml
from shown_scores import shown_score
from small_federations import recipe

from hybridlit.cli import main


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(recipe()))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("where", ["option", "recipe"])
def test_the_run_is_there_for_every_verb(path, capsys, scalars, where):
    if where == "recipe":
        given = recipe()
        given["federated"]["seed"] = 4
        path.write_text(yaml.safe_dump(given))
    seed = ["--seed", "4"] if where == "option" else []
    main(["federate", "--config", str(path), "--rounds", "1", *seed])
    said = capsys.readouterr().out.splitlines()
    run = path.parent / "runs" / "small" / "version_0"
    assert said[0].startswith("Before: test/acc") and said[1].startswith("Round 1: 3 clients")
    assert said[-1] == "runs/small/version_0/checkpoints/last.ckpt"
    main(["test", "--ckpt", "last"])
    tested = scalars(run / "centre")["test/loss"]
    assert len(tested) == 2
    assert shown_score(capsys.readouterr().out, "test/loss") == pytest.approx(tested[-1][1])
    settings = yaml.safe_load((run / "config.yaml").read_text())
    assert settings["federated"]["seed"] == 4 == settings["data"]["init_args"]["seed"]
    for client in range(3):
        found = scalars(run / f"client_{client}")
        assert {"train/loss", "val/loss", "val/acc"} <= set(found)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--clients", "2"], "shares must have one entry for each of the 2 clients, got 3"),
        (["--strategy", "fedprox"], "proximal_mu must be given with strategy='fedprox'"),
        (["--strategy", "fedpox"], "strategy must be one of ['fedavg', 'fedprox']"),
        (["--round", "2"], "there is no option --round"),
    ],
)
def test_what_is_wrong_is_one_line(path, capsys, options, said):
    with pytest.raises(SystemExit) as ended:
        main(["federate", "--config", str(path), *options])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("hybridlit federate: ") and said in line
    assert not (path.parent / "runs").exists()
