"""The order of rooms: each may use those before it, and none behind."""

import ast
import subprocess
from pathlib import Path

import pytest
from syntax import HOUSE, tree_of

ORDER = [
    "internals",
    "ranks",
    "words",
    "atomic_write",
    "checks",
    "argument_types",
    "constructors",
    "undisturbed",
    "workers",
    "precisions",
    "photonics",
    "interop",
    "components",
    "optimizers",
    "blocks",
    "data",
    "templates",
    "resume",
    "analysis",
    "export",
    "callbacks",
    "unwrapping",
    "recipe_files",
    "recipe",
    "search",
    "federated",
    "cli",
]


def rooms():
    names = {path.stem for path in HOUSE.iterdir() if path.suffix == ".py" or path.is_dir()}
    return sorted(name for name in names if not name.startswith("__"))


def test_every_room_has_its_place():
    assert rooms() == sorted(ORDER)


@pytest.mark.parametrize("room", ORDER)
def test_imports_point_one_way(room):
    """Those within functions as well."""
    files = list((HOUSE / room).rglob("*.py")) or [HOUSE / f"{room}.py"]
    allowed = set(ORDER[: ORDER.index(room) + 1])
    for file in files:
        for node in ast.walk(tree_of(file)):
            modules = []
            if isinstance(node, ast.ImportFrom):
                modules = [node.module]
            elif isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            used = {name.split(".")[1] for name in modules if name.startswith("hybridlit.")}
            assert used <= allowed, f"{file.relative_to(HOUSE)}, line {node.lineno}: {used}"
            if modules == ["hybridlit"]:
                assert [alias.name for alias in node.names] == ["__version__"]


def test_no_file_is_longer_than_a_reader_can_hold():
    for file in HOUSE.rglob("*.py"):
        lines = len(file.read_text(encoding="utf-8").splitlines())
        assert lines <= 400, (
            f"{file.relative_to(HOUSE)} has {lines} lines: it is more than one idea"
        )


def test_what_a_training_writes_is_not_among_the_files():
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        pytest.skip("not a repository")
    listed = subprocess.run(
        ["git", "ls-files"], cwd=root, capture_output=True, text=True, check=True
    ).stdout
    folders = {line.partition("/")[0] for line in listed.splitlines() if "/" in line}
    assert folders == {".ci", ".github", "hybridlit", "recipes", "tests"}
