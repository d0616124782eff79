"""The syntax of the files of the package, parsed once a process: for tests that go through them."""

import ast
from functools import cache
from pathlib import Path

import hybridlit

HOUSE = Path(hybridlit.__file__).parent


@cache
def tree_of(path):
    """The tree of a file, which nobody may change."""
    return ast.parse(Path(path).read_text(encoding="utf-8"))
