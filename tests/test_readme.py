"""The READMEs and what they promise, held together: length, links, code and commands of each."""

import re
import runpy

import pytest
import torch
import yaml
from pages import ROOT, blocks, broken_links, names_of_files

ROOMS = sorted(path.parent for path in (ROOT / "hybridlit").glob("*/__init__.py"))
TEXTS = [
    ROOT / "README.md",
    ROOT / ".github" / "CONTRIBUTING.md",
    ROOT / "recipes" / "README.md",
    ROOT / "recipes" / "CHIP.md",
    ROOT / "recipes" / "benchmarks" / "README.md",
    ROOT / "recipes" / "papers" / "README.md",
    ROOT / "tests" / "README.md",
    *sorted((ROOT / "hybridlit").rglob("*.md")),
]
TUTORIALS = ROOT / "recipes" / "tutorials"  # which have tests of their own
PAGES = sorted(
    {*TEXTS, ROOT / "CHANGELOG.md", *(ROOT / "recipes").rglob("*.md")} - {*TUTORIALS.glob("*.md")}
)
QUICKSTART = "accuracy on the test images"
LONG = (
    "hybridlit/photonics/noise/",
    "hybridlit/photonics/STATES.md",
    "hybridlit/templates/chip/",
    "hybridlit/recipe/",
)
"""Texts whose code takes many seconds."""


def of_all(find):
    """What there is to check, each with the name of its file."""
    return [
        pytest.param(path, found, id=f"{path.relative_to(ROOT)}-{number}")
        for path in TEXTS
        for number, found in enumerate(find(path))
    ]


def run(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    script = tmp_path / "script.py"
    script.write_text(code)
    return runpy.run_path(str(script))


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_every_room_has_a_readme_of_two_screens(room):
    assert len((room / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


@pytest.mark.parametrize("folder", [".", "recipes", "tests"])
def test_so_have_the_others(folder):
    assert len((ROOT / folder / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


@pytest.mark.parametrize("path", PAGES, ids=str)
def test_links_lead_somewhere(path):
    assert broken_links(path) == []


@pytest.mark.parametrize("path", PAGES, ids=str)
def test_files_that_are_named_exist(path):
    assert [name for name in names_of_files(path) if not (ROOT / name).exists()] == []


def test_files_are_found_in_commands():
    found = names_of_files(ROOT / "recipes" / "README.md")
    assert "recipes/compare.py" in found and "recipes/digits_sequential.yaml" in found
    assert "tests/photonics/test_kernels.py" in names_of_files(
        ROOT / "hybridlit" / "photonics" / "README.md"
    )


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("path", "code"),
    [
        pytest.param(*case.values, id=case.id, marks=[pytest.mark.slow] * case.id.startswith(LONG))
        for case in of_all(lambda path: blocks(path, "python"))
        # those are run by tests of their own
        if case.values[0].name != "CHIP.md"
        and not any(word in case.values[1] for word in (QUICKSTART, "ablation_study", "perceval"))
    ],
)
def test_code_runs(path, code, tmp_path, monkeypatch):
    run(code, tmp_path, monkeypatch)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_quickstart_is_short_and_ends_well(tmp_path, monkeypatch, capsys):
    pytest.importorskip("sklearn", reason="recipes extra")
    (quickstart,) = (code for code in blocks(ROOT / "README.md", "python") if QUICKSTART in code)
    assert len(quickstart.strip().splitlines()) <= 20
    run(quickstart, tmp_path, monkeypatch)
    accuracy = capsys.readouterr().out.partition(QUICKSTART)[2]
    assert float(accuracy.split()[1]) > 0.95


def test_subclasses_are_short_and_train():
    templates = ROOT / "hybridlit" / "templates" / "README.md"
    (subclasses,) = (code for code in blocks(templates, "python") if "Deeper" in code)
    for part in subclasses.split("\n\n\n")[1:]:
        assert len(part.strip().splitlines()) < 15
    names = {}
    exec(subclasses, names)
    for name in ("Deeper", "Smoothed"):
        model = names[name](input_dim=6, quantum_dim=3, output_dim=3, n_modes=4, n_photons=2)
        loss = model.loss(model(torch.randn(8, 6)), torch.arange(8) % 3)
        loss.backward()
        assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_analysis_runs(tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib", reason="analysis extra")
    analysis, _ = blocks(ROOT / "hybridlit" / "analysis" / "README.md", "python")
    run(analysis, tmp_path, monkeypatch)
    shown = capsys.readouterr().out
    for word in ("backward ms", "Conclusion", "quantum_path", "Shapley", "rows", "U_0"):
        assert word in shown
    assert (tmp_path / "ablation.png").read_bytes().startswith(b"\x89PNG")


# --- what runs elsewhere --------------------------------------------------------------------------


def test_ci_runs_the_readmes_test_command_to_the_letter():
    (command,) = (c.strip() for c in blocks(ROOT / "README.md", "bash") if "pytest" in c)
    assert f"readme_command='{command}'\neval" in (ROOT / ".ci" / "run").read_text()


def test_the_workflow_calls_the_script():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    events = workflow[True]  # YAML's reading of the key `on`
    assert set(events) == {"push", "pull_request"}
    (job,) = workflow["jobs"].values()
    assert ".ci/run" in [step.get("run") for step in job["steps"]]


def test_pre_commit_runs_the_ruff_of_the_constraints():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    (ruff,) = (hook for hook in hooks if hook["repo"].endswith("/ruff-pre-commit"))
    pinned = re.search(r"^ruff==(.*)$", (ROOT / "constraints.txt").read_text(), flags=re.MULTILINE)
    assert ruff["rev"] == f"v{pinned[1]}"
