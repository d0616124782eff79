"""Pages of Markdown: their links, the files they name, and their code, run as a reader runs it.

    python tests/pages.py recipes/tutorials/own_table.md

runs a tutorial as one session in the working folder, and prints what its commands print.
"""

import importlib.util
import re
import runpy
import shlex
import sys
from pathlib import Path
from types import ModuleType
from typing import NamedTuple
from unittest.mock import patch

from hybridlit.cli import main

ROOT = Path(__file__).parents[1]


def blocks(path, language):
    """The pieces of code of a language."""
    return [block.text for block in all_blocks(path) if block.language == language]


def links(path):
    return sorted(set(re.findall(r"\]\(([^)]+)\)", path.read_text(encoding="utf-8"))))


def anchors(path):
    """The anchors of a file's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(path):
    broken = []
    for link in links(path):
        if not link.startswith("https://"):
            file, _, anchor = link.partition("#")
            target = path.parent / file if file else path
            if not target.exists() or (anchor and anchor not in anchors(target)):
                broken.append(link)
    return broken


def names_of_files(path):
    """Files that commands name, and files of the repository that texts name."""
    text = path.read_text(encoding="utf-8")
    named = re.findall(r"(?:python|--config|--recipe)[ =]([\w./]+\.\w+)", text)
    named += re.findall(r"`((?:hybridlit|tests|recipes|\.ci|\.github)/[\w./-]*)`", text)
    named += re.findall(r"\b((?:hybridlit|tests|recipes)/[\w/-]+\.(?:py|yaml|json|csv|sh)\b)", text)
    return sorted(set(named) - {"recipe.yaml"})


# --- pages that are one session -------------------------------------------------------------------

_MARK = re.compile(r"<!-- (slow|needs: [\w., ]+) -->")

_ELSEWHERE = ("pip", "git", "cd", "tensorboard")
"""Commands that are not for a test."""


class Block(NamedTuple):
    """A piece of code; `line` is that of the page on which it begins."""

    language: str
    text: str
    line: int
    marks: tuple[str, ...]

    @property
    def slow(self):
        return "slow" in self.marks

    @property
    def missing(self):
        """Packages that it needs and that are not there."""
        lists = [mark.removeprefix("needs: ") for mark in self.marks if mark != "slow"]
        names = [name.strip() for each in lists for name in each.split(",")]
        return [name for name in names if importlib.util.find_spec(name) is None]


def all_blocks(path):
    """The pieces of code of a page in order, with the marks before each and before the title."""
    found, waiting, of_page = [], [], []
    lines = iter(enumerate(path.read_text(encoding="utf-8").splitlines(), 1))
    for number, line in lines:
        if mark := _MARK.fullmatch(line):
            waiting.append(mark[1])
        elif line.startswith("```"):
            code = []
            for _, inner in lines:
                if inner == "```":
                    break
                code.append(inner)
            text = "\n".join([*code, ""])
            found.append(Block(line[3:], text, number + 1, (*of_page, *waiting)))
            waiting = []
        elif line:
            if not found and line.startswith("# "):
                of_page = waiting
            waiting = []
    return found


def run_page(path, slow=True):
    """Run a page from its top to its bottom in the working folder, as one session.

    Args:
        path: The page.
        slow: Run what is marked as slow, too.

    Returns:
        The blocks that were run, and the packages that others would have needed.
    """
    session, ran, missing = ModuleType(path.stem), [], set()
    before = set(sys.modules)
    sys.modules[path.stem] = session
    try:
        with patch.object(sys, "path", [str(Path.cwd()), *sys.path]):
            for block in all_blocks(path):
                missing.update(block.missing)
                if block.language in _WAYS and not block.missing and (slow or not block.slow):
                    _WAYS[block.language](block, path, session)
                    ran.append(block)
    finally:
        del sys.modules[path.stem]
        _forget(set(sys.modules) - before)
        if pyplot := sys.modules.get("matplotlib.pyplot"):
            pyplot.close("all")
    return ran, sorted(missing)


def _forget(modules):
    """Take out modules of files in the working folder: another page may have others so called."""
    for name in modules:
        file = getattr(sys.modules[name], "__file__", None)
        if file and Path.cwd() in Path(file).resolve().parents:
            del sys.modules[name]


def _written(block):
    """Write a block that begins with the name of a file as that file; whether it was one."""
    name = re.match(r"# ([\w./]+\.(?:py|yaml))\n", block.text)
    if name:
        Path(name[1]).write_text(block.text, encoding="utf-8")
    return bool(name)


def _python(block, path, session):
    if not _written(block):
        lines = "\n" * (block.line - 1) + block.text  # so that errors name lines of the page
        exec(compile(lines, str(path), "exec"), vars(session))


def _yaml(block, path, session):
    _written(block)


def _bash(block, path, session):
    whole = block.text.replace("\\\n", " ")
    for line in re.split(r"\n|&&", whole):
        program, *words = shlex.split(line, comments=True) or [None]
        if program == "hybridlit":
            main(words)
        elif program == "python":
            with patch.object(sys, "argv", words):
                runpy.run_path(words[0], run_name="__main__")
        elif program and program not in _ELSEWHERE:
            raise ValueError(f"{path.name}, line {block.line}: {program!r} is no command to test")


_WAYS = {"python": _python, "yaml": _yaml, "bash": _bash}
"""Languages of blocks that are run; others, such as text, show what is printed."""


if __name__ == "__main__":
    run_page(Path(sys.argv[1]).resolve())
