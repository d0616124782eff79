"""Each row of GUIDE_TABLE.md: what it names is there, and its command can be given."""

import ast
import inspect
import re
import shlex
from pathlib import Path

import lightning.pytorch as pl
import pytest
import yaml

import hybridlit
from hybridlit.cli import VERBS
from hybridlit.constructors import taken_arguments
from hybridlit.recipe_files import carried_recipes

TESTS = Path(__file__).parent
TABLE = (Path(hybridlit.__file__).parent / "templates" / "GUIDE_TABLE.md").read_text("utf-8")
ROWS = [line.split(" | ") for line in TABLE.splitlines() if line.count(" | ") == 2]
ROWS = [[cell.strip("| ") for cell in row] for row in ROWS if not row[2].startswith("shown by")]
OF_LIGHTNING = {"Trainer": pl.Trainer}


def named(cell):
    return re.findall(r"`([^`]+)`", cell)


def test_every_class_and_function_of_the_guide_has_a_row():
    written = {"Experiment", "CircuitType", "AnsatzFactory", "QuantumLayer"}
    for file in ("guide_models.py", "guide_functions.py"):
        body = ast.parse((TESTS / file).read_text()).body
        written |= {each.name for each in body if isinstance(each, (ast.ClassDef, ast.FunctionDef))}
    assert len(written) == 19
    assert written <= {name for row in ROWS for name in named(row[0])}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:40])
def test_what_a_row_names_is_there(row):
    assert named(row[1])
    for text in named(row[1]):
        expression = ast.parse(text, mode="eval").body
        called = isinstance(expression, ast.Call)
        first, *attributes = ast.unparse(expression.func if called else expression).split(".")
        found = OF_LIGHTNING.get(first) or getattr(hybridlit, first)
        for attribute in attributes:
            found = getattr(found, attribute)
        taken = taken_arguments(found) if called else {}
        arguments = [each.arg for each in expression.keywords] if called else []
        assert set(arguments) <= set(taken), text


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:40])
def test_the_command_of_a_row_can_be_given(row):
    (command,) = named(row[2])
    program, what, *words = shlex.split(command)
    if program != "hybridlit":
        assert program in ("pytest", "python") and (TESTS.parent / what).is_file()
        return
    known = carried_recipes()
    pairs = zip(words, [*words, ""][1:], strict=False)
    options = {word: value for word, value in pairs if word.startswith("--")}
    recipe = options.pop("--config", words[0] if what == "compare" else None)
    if not VERBS[what].lightning:
        verb = what.replace("-", "_")
        module = __import__(f"hybridlit.cli.{verb}", fromlist=[verb])
        takes = {f"--{name}" for name in inspect.signature(getattr(module, verb)).parameters}
    else:
        model = yaml.safe_load(known[recipe].read_text())["model"]["class_path"]
        own = taken_arguments(getattr(hybridlit, model))
        takes = {f"--model.{name}" for name in own} | {"--budget", "--ckpt"}
        takes |= {f"--trainer.{name}" for name in taken_arguments(pl.Trainer)}
    assert set(options) <= takes and (recipe in known or options.get("--ckpt") == "best")
