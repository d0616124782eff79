"""The API reference that pdoc makes of the docstrings, and the one dialect they are written in."""

import ast
import doctest
import html
import re
import subprocess
import sys
from pathlib import Path

import pytest
from syntax import tree_of

import hybridlit
from hybridlit import recipe

ROOT = Path(hybridlit.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
NOT_MARKDOWN = re.compile(r":(class|func|mod|meth|attr|exc|obj):`|(?<!`)``(?!`)")
DOCTEST = re.compile(r"^ *Example:\n.*", flags=re.MULTILINE | re.DOTALL)
SECTIONS = ("Args:", "Raises:", "Attributes:")
FORMULA = re.compile(r":math:`([^`]+)`|\.\. math::(.+(?:\n +.+)*)")
NEEDS_PERCEVAL = ("HardwareLayer", "from_perceval", "to_perceval")
"""Whose examples the doctests skip and `interop/test_examples.py` runs."""


def docstrings(path):
    for node in ast.walk(tree_of(path)):
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


def formulas(text):
    return [inline or shown for inline, shown in FORMULA.findall(text)]


def has_example(name, text):
    """Whether a docstring has code that the doctests run; pytest collects them of all files."""
    found = doctest.DocTestParser().get_examples(text or "")
    return any(name in NEEDS_PERCEVAL or doctest.SKIP not in each.options for each in found)


def test_every_public_name_has_an_example_that_runs():
    public = {name: getattr(hybridlit, name) for name in hybridlit.__all__}
    of_recipes = {name: getattr(recipe, name) for name in recipe.__all__}
    readme = (ROOT / "recipe" / "README.md").read_text(encoding="utf-8")  # its code runs as well
    without = [name for name, found in public.items() if not has_example(name, found.__doc__)]
    without += [
        name
        for name, found in of_recipes.items()
        if not has_example(name, found.__doc__) and f"{name}(" not in readme
    ]
    assert without == [], "give their docstrings an example of some lines, in milliseconds"


def test_docstrings_speak_one_dialect():
    wrong = []
    for path in FILES:
        for name, text in docstrings(path):
            if NOT_MARKDOWN.search(DOCTEST.sub("", text)):
                wrong.append(f"{path}: {name}: write names in `single backticks`")
            if any("\\\\" in formula for formula in formulas(text)):
                wrong.append(f"{path}: {name}: Markdown halves \\\\ in formulas: write \\cr")
            for argument, words in entries(text):
                if re.match(r"[a-z]+(?=[ ,;:.]|$)", words):
                    wrong.append(f"{path}: {name}: {argument}: {words!r} must begin with a capital")
    assert wrong == []


@pytest.mark.slow
def test_pdoc_renders_every_public_name_without_a_warning(tmp_path):
    pytest.importorskip("pdoc", reason="the extra docs has it")
    text = (ROOT.parent / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")
    [command] = re.findall(r"^pdoc (.+) -o site$", text, flags=re.MULTILINE)
    options = ["--no-search", "--output-directory", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "pdoc", *command.split(), *options],
        capture_output=True,
        text=True,
        cwd=ROOT.parent,
    )
    assert (done.returncode, done.stderr) == (0, "")
    page = (tmp_path / "hybridlit.html").read_text(encoding="utf-8")
    assert set(hybridlit.__all__) <= set(re.findall(r'id="(\w+)"', page))
    # sections are headings, examples are code, and not what Markdown makes of >>>
    assert "Arguments:</h6>" in page and '<span class="gp">&gt;&gt;&gt; </span>' in page
    for path in tmp_path.rglob("*.html"):
        assert not re.search(r"<blockquote>\s*<blockquote>", path.read_text(encoding="utf-8")), path


@pytest.mark.slow
def test_pdoc_leaves_formulas_as_they_are_written():
    pytest.importorskip("pdoc", reason="the extra docs has it")
    from pdoc.docstrings import convert
    from pdoc.render_helpers import to_html

    for path in FILES:
        for name, text in docstrings(path):
            shown = html.unescape(to_html(convert(text, "google", None))) if "math:" in text else ""
            for formula in formulas(text):
                assert "".join(formula.split()) in "".join(shown.split()), f"{path}: {name}"
