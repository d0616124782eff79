"""`hybridlit analyze` on a run that the command line has made, as a user would."""

import json
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from hybridlit.analysis.report import Report
from hybridlit.cli import analyze, main, report_sections
from hybridlit.cli.loading import load_run

pytest.importorskip("matplotlib", reason="analysis extra")
pytest.importorskip("sklearn", reason="recipes extra")

RECIPES = Path(__file__).parents[2] / "recipes"

pytestmark = pytest.mark.filterwarnings("ignore:LightningCLI's args parameter")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The checkpoint of one epoch of the smallest recipe."""
    place = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        main(["fit", f"--config={RECIPES / 'iris_sequential.yaml'}", "--trainer.max_epochs=1"])
    return next(place.glob("runs/iris_sequential/version_0/checkpoints/last.ckpt"))


def test_a_report_of_all_that_there_is(trained, capsys):
    before = torch.load(trained, weights_only=True)["state_dict"]
    flags = ["--seeds=2", "--arms=[linear,untrained]", "--noise=demo"]
    main(["analyze", f"--ckpt={trained}", *flags])
    captured = capsys.readouterr()
    said, *files = captured.out.splitlines()
    assert "\r" not in captured.err  # of no terminal
    for told in (r"6 of 8  seed 1  linear: acc .*", r"What it costs \.\.\. \d+\.\d s"):
        assert re.search(f"^{told}$", captured.err, re.MULTILINE), told
    path, verdict = map(Path, files)
    assert verdict == path.with_suffix(".json") and verdict.is_file()
    assert re.match(r"accuracy 0\.\d+ on 30 test rows \(95 % interval .*; a constant answer ", said)
    assert path == trained.parents[1] / "report.html"
    page = path.read_text()
    for heading in (
        "What was found",
        "The data",
        "How it learned",
        "How well it predicts",
        "The model",
        "What it costs",
        "When a path fails",
        "What it contributes",
        "What remains on hardware",
    ):
        assert re.search(f"<h2 id=[^>]+>{heading}</h2>", page), heading
    head = page.partition("<header>")[2].partition("</header>")[0]
    assert "<strong>accuracy 0." in head and "What to do next" in head
    assert f"hybridlit predict --ckpt={trained} --input=rows.csv" in head
    assert "The validation loss was lowest" in page and "<code>val/loss</code>" not in page
    assert "Not made" not in page and "Not drawn" not in page
    for word in ("quantum_layer", "linear", "untrained", "permutation", "reinitialised"):
        assert word in page
    assert page.count("Intervals cover") == 1 and "2 seeds, 1 epoch (one split)" in page
    assert "<th>data phase</th>" not in page and "took no part" not in page
    assert page.count("data:image/png") >= 12
    for name in ("logistic regression", "SVC", "MLP grid", "constant answer"):
        assert name in page
    made = page.rpartition("How this was made")[2]
    given = made.partition(f"hybridlit analyze --ckpt={trained} ")[2].partition("</code>")[0]
    assert "--seeds=2" in given and "linear" in given and "untrained" in given
    assert said.split(". ")[1] in head.replace("</strong>", "")  # whether the photons help
    after = torch.load(trained, weights_only=True)["state_dict"]
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.slow
def test_without_retraining_as_markdown(trained, tmp_path, capsys):
    out = tmp_path / "report.md"
    flags = ["--retrain=false", f"--out={out}", "--batches=2", "--noise={transmittance: 0.3}"]
    main(["analyze", f"--ckpt={trained}", *flags])
    files = [Path(line) for line in capsys.readouterr().out.splitlines()[1:]]
    assert files[0] == out and all(file.is_file() for file in files)
    text = out.read_text()
    assert "as trained" in text and "trained again" not in text
    assert set(re.findall(r"\]\((.+\.png)\)", text)) == {file.name for file in files[1:-1]}
    assert "relies on" in text or "rely on" in text or "inconclusive" in text
    assert "## When to trust it" in text and "Expected calibration error of the " in text
    assert "| quantum_layer | lost |" in text and "no earlier checkpoint" in text
    noise = text.partition("## What remains on hardware")[2].partition("\n## ")[0]
    assert "| transmittance | 0.5 |" in noise and "indistinguishability" not in noise
    assert "| none |  | 100 |" in noise and "Strength 1 is transmittance=0.3." in noise
    assert "Score under noise" in noise and "Left out" not in noise
    assert "| helps |" not in text and "| SVC |" in text and "| constant answer |" in text


@pytest.mark.slow
def test_a_report_says_with_what_it_was_made(trained, tmp_path, capsys):
    out = tmp_path / "a report.md"
    flags = ["--retrain=false", "--batches=2", "--margin=0.02", "--baselines=false"]
    flags.append("--noise=null")
    main(["analyze", f"--ckpt={trained}", f"--out={out}", *flags])
    text = out.read_text()
    command = text.partition("## How this was made\n\n```\n")[2].partition("\n```")[0]
    wanted = ["hybridlit", "analyze", f"--ckpt={trained}", f"--out={out}", *flags]
    assert sorted(shlex.split(command)) == sorted(wanted)
    assert "| SVC |" not in text and "| constant answer |" in text
    assert "hardware" not in text


QUICK = ["--arms=[linear]", "--seeds=2", "--baselines=false", "--noise=null", "--batches=2"]


def test_an_interrupted_report_goes_on(trained, tmp_path, monkeypatch, capsys):
    def interrupt(*given):
        raise KeyboardInterrupt

    out, kept = tmp_path / "report.md", tmp_path / "report.arms"
    command = ["analyze", f"--ckpt={trained}", f"--out={out}", *QUICK]
    monkeypatch.setattr(analyze, "_body", interrupt)
    with pytest.raises(SystemExit):
        main(command)
    assert f"All runs are kept in {kept}: the same command goes on." in capsys.readouterr().err
    monkeypatch.setattr(analyze, "_body", lambda *given: Report(""))
    main([*command, "--retrain=false"])
    assert kept.is_file()  # it has nothing to do with this
    main(command)
    assert f"4 of 4 runs are kept in {kept}: the study goes on" in capsys.readouterr().err
    assert not kept.exists()
    assert "s, without 4 runs that an interrupted one had done. The run" in out.read_text()


@pytest.mark.slow
def test_a_killed_report_goes_on_with_the_same_numbers(trained, tmp_path):
    """With other processes as well, which train two arms side by side."""
    words = [sys.executable, "-m", "hybridlit", "analyze", f"--ckpt={trained}", *QUICK]
    log, scores = tmp_path / "log", []
    with log.open("w") as file:
        killed = [*words, f"--out={tmp_path / 'killed.md'}", "--jobs=2"]
        process = subprocess.Popen(killed, stderr=file, stdout=subprocess.DEVNULL)
    while "1 of 4" not in log.read_text() and process.poll() is None:
        time.sleep(0.05)
    process.kill()
    assert process.wait() == -signal.SIGKILL, log.read_text()
    for name in ("killed", "whole"):
        command = [*words, f"--out={tmp_path / name}.md", "--jobs=1"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert ("runs are kept in" in done.stderr) == (name == "killed"), done.stderr
        found = json.loads((tmp_path / f"{name}.json").read_text())["study"]
        scores.append([each | {"seconds": 0} for each in found["retrained"]])
        assert bool(found["earlier_runs"]) == (name == "killed")
    assert scores[0] == scores[1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--out=report.pdf"], "out must end in .html or .md, got 'report.pdf'"),
        (["--arms=[magic]"], "magic"),
        (["--seeds=1"], "seeds"),
        (["--arms=[]"], "arms must name some of"),
        (["--max_epochs=0"], "max_epochs must be at least 1, got 0"),
        (["--noise=ascela"], "noise must be one of ['ascella', 'belenos', 'demo'], got 'ascela'"),
        (["--noise={transmitance: 0.3}"], "each field of noise must be one of"),
        (["--batches=0"], "batches must be at least 1, got 0"),
        (["--ckpt=nowhere/checkpoints/last.ckpt"], "nowhere"),
    ],
)
def test_what_cannot_be_is_said(trained, change, message, monkeypatch):
    monkeypatch.setattr(analyze, "profile_components", None)  # it would take its time before that
    arguments = ["analyze", f"--ckpt={trained}", "--max_epochs=1", *change]
    with pytest.raises(SystemExit, match=f"hybridlit analyze: .*{re.escape(message)}"):
        main(arguments)


def copied(run, place, change):
    """A copy of a run with other settings."""
    (place / "checkpoints").mkdir(parents=True)
    content = yaml.safe_load((run.parents[1] / "config.yaml").read_text())
    change(content)
    (place / "config.yaml").write_text(yaml.safe_dump(content))
    path = place / "checkpoints" / "last.ckpt"
    path.write_bytes(run.read_bytes())
    return path


@pytest.mark.slow
def test_arms_in_two_processes_score_as_in_one(trained, tmp_path):
    scores = []
    for jobs in (1, 2):
        out = tmp_path / f"{jobs}.md"
        main(["analyze", f"--ckpt={trained}", f"--out={out}", "--seeds=2", f"--jobs={jobs}"])
        found = json.loads(out.with_suffix(".json").read_text())
        scores.append({arm["name"]: arm["scores"] for arm in found["study"]["retrained"]})
    assert scores[0] == scores[1] and len(scores[0]) > 3


@pytest.mark.slow
def test_arms_are_trained_as_the_run_was(trained, tmp_path, monkeypatch, capsys):
    def change(content):
        content["trainer"] |= dict(
            gradient_clip_val=0.5,
            accumulate_grad_batches=2,
            limit_train_batches=3,
            callbacks=[{"class_path": "hybridlit.callbacks.AlternatingTraining"}],
        )

    seen, study = [], analyze.ablation_study

    def watched(*given, **options):
        seen.append(options)
        return study(*given, **options)

    monkeypatch.setattr(analyze, "ablation_study", watched)
    path = copied(trained, tmp_path / "run", change)
    out = tmp_path / "report.md"
    main(["analyze", f"--ckpt={path}", f"--out={out}", "--seeds=2", "--arms=[linear]"])
    assert seen[0]["trainer_options"] == dict(
        gradient_clip_val=0.5, accumulate_grad_batches=2, limit_train_batches=3, max_steps=-1
    )
    assert seen[0]["max_epochs"] == 1
    text = out.read_text()
    assert "took no part in these trainings: `AlternatingTraining`." in text
    assert "Conclusion" not in text


@pytest.mark.slow
def test_only_the_batches_that_are_timed_are_held(trained, tmp_path, monkeypatch, capsys):
    held, profile = [], analyze.profile_components

    def watched(model, loader, **options):
        held.append(len(loader))
        return profile(model, loader, **options)

    monkeypatch.setattr(analyze, "profile_components", watched)
    out = tmp_path / "report.md"
    main(["analyze", f"--ckpt={trained}", f"--out={out}", "--retrain=false", "--batches=2"])
    assert held == [2]


def test_a_model_without_photons_has_a_cost_only(tmp_path, monkeypatch, capsys):
    """And a section that fails takes nothing from the others."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(report_sections, "uncertainty", lambda *given: 1 / 0)
    recipe = f"--config={RECIPES / 'iris_sequential.yaml'}"
    main(["fit", recipe, "--trainer.max_epochs=1", "--model.quantum=mlp"])
    path = next(tmp_path.glob("runs/*/version_0/checkpoints/last.ckpt"))
    out = tmp_path / "report.md"
    main(["analyze", "--ckpt=last", f"--out={out}", "--batches=2"])
    text = out.read_text()
    file = path.relative_to(tmp_path)
    made = text.partition("## How this was made")[2]
    assert f"hybridlit analyze --ckpt={file} --out=" in made
    assert f"`last` was `{file}` then." in made
    assert "holds no photonic layer" in text and "## What it costs" in text
    assert "## What it contributes" not in text and "What the photons do" not in text
    assert "Not made: the section 'When to trust it' (`division by zero`)." in text
    assert '"study": null' in out.with_suffix(".json").read_text()


def test_a_late_path_is_that_of_the_newest_earlier_checkpoint(trained, tmp_path):
    model, data = load_run(trained)
    content = torch.load(trained, weights_only=True)
    step, files = content["global_step"], {}
    for name, change in (("last", 0), ("old", -2), ("newer", -1), ("later", 1)):
        files[name] = tmp_path / f"{name}.ckpt"
        torch.save(content | {"global_step": step + change}, files[name])
    (tmp_path / "broken.ckpt").write_bytes(files["newer"].read_bytes()[:-100])
    report = Report("Iris")
    report_sections.add_robustness(report, model, data, files["last"])
    (path, *_) = report.write(tmp_path / "report.md")
    text = path.read_text()
    assert f"that it had at step {step - 1}, not at step {step}" in text
    whole = re.search(r"\| none \|  \| (0\.\d+) ", text)[1]
    late = re.search(r"\| quantum_layer \| late \| (0\.\d+) ", text)[1]
    assert late == whole  # the same weights


def test_of_a_checkpoint_without_means_it_says_so(trained, tmp_path):
    model, data = load_run(trained)
    model.paths.count.zero_()
    report = Report("Iris")
    report_sections.add_robustness(report, model, data, trained)
    (path, *_) = report.write(tmp_path / "report.md")
    assert "Not known: the checkpoint has no mean outputs" in path.read_text()
