"""The API reference that pdoc makes of the docstrings, and the one dialect they are written in."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import hybridlit

ROOT = Path(hybridlit.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
NOT_MARKDOWN = re.compile(r":(class|func|mod|meth|attr|exc|obj):`|(?<!`)``(?!`)")
DOCTEST = re.compile(r"^ *Example:\n.*", flags=re.MULTILINE | re.DOTALL)
SECTIONS = ("Args:", "Raises:", "Attributes:")


def docstrings(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
            text = ast.get_docstring(node)
            if text:
                yield getattr(node, "name", path.stem), text


def entries(text):
    """The descriptions of a docstring's arguments, attributes and errors."""
    section = None
    for line in text.splitlines():
        if line in SECTIONS:
            section = line
        elif line and not line.startswith(" "):
            section = None
        elif section and (entry := re.match(r" {4}\*{0,2}(\w+): (.*)", line)):
            yield entry[1], entry[2]


def test_docstrings_speak_one_dialect():
    wrong = []
    for path in FILES:
        for name, text in docstrings(path):
            if NOT_MARKDOWN.search(DOCTEST.sub("", text)):
                wrong.append(f"{path}: {name}: write names in `single backticks`")
            for argument, words in entries(text):
                if re.match(r"[a-z]+(?=[ ,;:.]|$)", words):
                    wrong.append(f"{path}: {name}: {argument}: {words!r} must begin with a capital")
    assert wrong == []


@pytest.mark.slow
def test_pdoc_renders_every_public_name_without_a_warning(tmp_path):
    pytest.importorskip("pdoc", reason="the extra dev has it")
    command = [sys.executable, "-W", "error", "-m", "pdoc", "hybridlit", "--math"]
    options = ["--no-show-source", "--no-search", "--output-directory", str(tmp_path)]
    done = subprocess.run([*command, *options], capture_output=True, text=True, cwd=ROOT.parent)
    assert (done.returncode, done.stderr) == (0, "")
    page = (tmp_path / "hybridlit.html").read_text(encoding="utf-8")
    assert set(hybridlit.__all__) <= set(re.findall(r'id="(\w+)"', page))
