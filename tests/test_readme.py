"""The README and what it promises, held together."""

import re
import runpy
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_ci_runs_the_readmes_test_command_to_the_letter():
    (command,) = (block.strip() for block in blocks("bash") if "pytest" in block)
    assert f"readme_command='{command}'\neval" in (ROOT / ".ci" / "run").read_text()


def test_quickstart_is_short_and_runs(tmp_path, monkeypatch):
    quickstart = blocks("python")[0]
    assert len(quickstart.strip().splitlines()) <= 20
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "quickstart.py"
    script.write_text(quickstart)
    runpy.run_path(str(script))


def test_subclasses_are_short_and_train():
    subclasses = blocks("python")[1]
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
    pytest.importorskip("scipy", reason="analysis extra")
    pytest.importorskip("matplotlib", reason="analysis extra")
    (analysis,) = (block for block in blocks("python") if "ablation_study" in block)
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "analysis.py"
    script.write_text(analysis)
    runpy.run_path(str(script))
    shown = capsys.readouterr().out
    for word in ("backward ms", "Conclusion", "quantum_path", "Shapley", "rows", "U_0"):
        assert word in shown
    assert (tmp_path / "ablation.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#]+)", README))))
def test_links_lead_somewhere(link):
    assert link.startswith("https://") or (ROOT / link).exists()
