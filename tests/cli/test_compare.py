"""`hybridlit compare`, from end to end."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from hybridlit.cli import main

pytest.importorskip("sklearn", reason="recipes extra")

RECIPES = Path(__file__).parents[2] / "recipes"
IRIS, WINE = (str(RECIPES / f"{name}.yaml") for name in ("iris_sequential", "wine_parallel"))


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_recipes_against_their_twins(place, capfd):
    main(["compare", IRIS, WINE, "--seeds=2", "--epochs=1", "--out=found"])
    shown = capfd.readouterr()
    names = [f"found/{name}" for name in ("iris_sequential", "wine_parallel", "summary")]
    files = [f"{name}.{kind}" for name in names for kind in ("md", "json")][:-1]
    assert shown.err == "" and shown.out.splitlines()[-5:] == files
    there = [path.relative_to(place).as_posix() for path in place.rglob("*.*")]
    assert sorted(there) == sorted(files)
    lines = [line for line in shown.out.splitlines() if " of 8  seed " in line]
    assert len(lines) == 16 and lines[0].startswith("iris_sequential  1 of 8  seed 0  hybrid: acc ")
    assert lines[-1].startswith("wine_parallel  8 of 8  seed 1  logistic regression 0.")
    assert shown.out.count("Conclusion") == 2

    study = json.loads((place / "found/wine_parallel.json").read_text())
    hybrid, classical, _ = (np.array(arm["scores"]) for arm in study["retrained"])
    assert [arm["name"] for arm in study["retrained"]] == ["hybrid", "mlp", "untrained"]
    mean = study["retrained"][1]["difference"]["mean"]
    assert mean == pytest.approx((hybrid - classical).mean())
    assert study["conclusion"] in (place / "found/wine_parallel.md").read_text()
    summary = (place / "found/summary.md").read_text().splitlines()
    assert len(summary) == 4 and summary[3].startswith("| wine_parallel | acc, 2 seeds | 0.")
    assert f"{hybrid.mean():.3f} ± {hybrid.std(ddof=1):.3f}" in summary[3]
    best = max(study["baselines"], key=lambda each: sum(each["scores"]))
    assert f"| {best['name']} {np.mean(best['scores']):.3f} ±" in summary[3]


@pytest.mark.slow
def test_any_number_of_processes_finds_the_same(place):
    studies = []
    for jobs in (1, 2, 3):
        main(["compare", WINE, "--seeds=2", "--epochs=3", f"--jobs={jobs}", f"--out={jobs}"])
        study = json.loads((place / f"{jobs}/wine_parallel.json").read_text())
        for each in [*study["retrained"], *study["baselines"]]:
            assert each.pop("seconds") > 0
        studies.append(study)
    assert studies[0] == studies[1] == studies[2]


@pytest.mark.slow
def test_a_killed_comparison_goes_on_with_the_same_numbers(place):
    """In the second recipe, and nothing of the first is trained again."""
    words = [sys.executable, "-m", "hybridlit", "compare", IRIS, WINE, "--seeds=2", "--epochs=1"]
    with (place / "log").open("w") as log:
        process = subprocess.Popen([*words, "--out=killed"], stdout=log)
    while "wine_parallel  2 of 8" not in (place / "log").read_text() and process.poll() is None:
        time.sleep(0.05)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    names, studies = ("iris_sequential", "wine_parallel"), []
    for out in ("killed", "whole"):
        done = subprocess.run([*words, f"--out={out}"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert (" runs are kept in " in done.stdout) == (out == "killed")
        for name in names:
            study = json.loads((place / out / f"{name}.json").read_text())
            earlier = study.pop("earlier_runs")
            assert earlier >= {"iris_sequential": 6, "wine_parallel": 1}[name] * (out == "killed")
            assert earlier == 0 or out == "killed"
            for each in [*study["retrained"], *study["baselines"]]:
                each.pop("seconds")
            studies.append(study)
    assert not list(place.rglob("*.arms")) and studies[:2] == studies[2:]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give --recipes"),
        (["nowhere.yaml"], "no file nowhere.yaml"),
        ([IRIS, IRIS], "different names, got iris_sequential 2 x"),
        ([IRIS, "--seeds=1"], "seeds must be 2 or more"),
        ([IRIS, "--jobs=0"], "jobs must be at least 1, got 0"),
        ([IRIS, "--arms=[linaer]"], "did you mean 'linear'"),
        ([IRIS, "--arms=linaer"], "did you mean 'linear'"),
        ([IRIS, f"--out={IRIS}"], "out must be a folder, and"),
        ([IRIS, "--sedes=2"], "--sedes"),
    ],
)
def test_what_cannot_be_compared_is_one_line(words, message, capsys, place):
    with pytest.raises(SystemExit) as stop:
        main(["compare", *words])
    shown = capsys.readouterr()
    assert stop.value.code == 2 and message in shown.err and shown.err.count("\n") == 1
    assert not shown.out and not any(place.iterdir())


def test_an_arm_that_fails_is_named(place, capsys):
    """Alternating steps need photonic parameters to train, and the classical twin has none."""
    recipe = place / "alternating.yaml"
    text = Path(IRIS).read_text()
    recipe.write_text(text.replace("trainer:", "trainer:\n  callbacks: AlternatingTraining"))
    with pytest.raises(SystemExit) as stop:
        main(["compare", str(recipe), "--seeds=2", "--epochs=1", "--arms=[mlp]"])
    assert stop.value.code == 2
    shown = capsys.readouterr().err
    assert "alternating: arm 'mlp' failed with seed 0" in shown and shown.count("\n") == 1
