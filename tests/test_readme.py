"""The README and what it promises, held together."""

import re
import runpy
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#]+)", README))))
def test_links_lead_somewhere(link):
    assert link.startswith("https://") or (ROOT / link).exists()
