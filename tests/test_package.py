"""What the package exports under which name, and what it says that it needs."""

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from syntax import tree_of

import hybridlit

ROOT = Path(hybridlit.__file__).parents[1]
DISTRIBUTIONS = {"PIL": "pillow", "yaml": "pyyaml"}
# imported where they are used, advice if missing
OPTIONAL = {"sklearn", "threadpoolctl", "markdown", "matplotlib", "onnxruntime", "pandas"}
OPTIONAL |= {"flwr", "optuna", "perceval", "requests", "sqlalchemy"}


HOMES = {
    alias.name: f"hybridlit.{node.module}"
    for node in ast.parse(Path(hybridlit.__file__).with_suffix(".pyi").read_text()).body
    if isinstance(node, ast.ImportFrom)
    for alias in node.names
}


def test_the_list_of_what_is_exported_is_that_of_the_rooms():
    """A public name that is taken out of the list, or out of its room, is missed."""
    assert list(hybridlit.__all__) == sorted(HOMES)
    assert set(HOMES) <= set(dir(hybridlit))
    for home in set(HOMES.values()) - {"hybridlit.optimizers"}:
        names = {name for name, module in HOMES.items() if module == home}
        assert names == set(importlib.import_module(home).__all__)
    assert HOMES["create_hybrid_optimizer"] == "hybridlit.optimizers"  # alone of that file


def test_every_name_is_that_of_its_module_and_documented():
    for name, home in HOMES.items():
        exported = getattr(hybridlit, name)
        assert exported is getattr(importlib.import_module(home), name), name
        assert exported.__name__ == name
        assert name in importlib.import_module(exported.__module__).__all__, name
        if home != "hybridlit.callbacks":  # which passes on those of resume/
            assert exported.__module__.startswith(home), name
        assert exported.__doc__, name


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="No hybridlit attribute QuantumLayr"):
        hybridlit.QuantumLayr  # noqa: B018


def test_every_name_in_all_exists():
    names = [found.name for found in pkgutil.walk_packages(hybridlit.__path__, "hybridlit.")]
    for name in {*names} - {"hybridlit.__main__"}:
        module = importlib.import_module(name)
        exported = getattr(module, "__all__", [])
        assert len(set(exported)) == len(exported), name
        assert [entry for entry in exported if not hasattr(module, entry)] == [], name


@pytest.mark.slow
def test_imports_cost_no_more_than_they_must():
    """The photonic names need torch alone, and training what Lightning imports anyway."""
    code = """
import sys, hybridlit
from hybridlit import QuantumLayer, split_parameters
heavy = {"lightning", "matplotlib", "pandas", "scipy", "scipy.stats", "sklearn", "sympy"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
import lightning.pytorch
heavy -= set(sys.modules)
import hybridlit.cli.training
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_everything_imported_is_declared():
    tomllib = pytest.importorskip("tomllib", reason="Python 3.11")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {
        re.match(r"[\w-]+", entry)[0].replace("-", "_") for entry in project["dependencies"]
    }
    imported = set()
    for path in (ROOT / "hybridlit").rglob("*.py"):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported.add(node.module.partition(".")[0])
    foreign = imported - set(sys.stdlib_module_names) - {"hybridlit"} - OPTIONAL
    assert {DISTRIBUTIONS.get(name, name) for name in foreign} <= declared


def test_the_changelog_knows_the_version():
    versions = re.findall(r"^## \[([0-9.]+)\]", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert versions[0] == hybridlit.__version__


def test_the_citation_says_what_the_package_says():
    tomllib = pytest.importorskip("tomllib", reason="Python 3.11")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    cited = yaml.safe_load((ROOT / ".github" / "CITATION.cff").read_text())
    assert cited["cff-version"] == "1.2.0" and cited["type"] == "software" and cited["message"]
    assert cited["title"] == f"{project['name']}: {project['description']}"
    assert cited["authors"] == project["authors"] and cited["license"] == project["license"]
    assert cited["keywords"] == project["keywords"]
    assert "version" not in {*cited, *project}  # it is in one place, `hybridlit/__init__.py`
