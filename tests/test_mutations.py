"""The mutation script: its rows are up to date, and it tells killed mutations from living ones."""

import ast
from pathlib import Path

import pytest
from mutate import Outcome, copy_of_tree, summary, tried, verdict
from mutations import Mutation, all_mutations, fault_of

ROOT = Path(__file__).resolve().parents[1]


def test_there_are_many_in_every_folder():
    found = all_mutations()
    assert len(found) >= 60 and len({(m.file, m.old, m.new) for m in found}) == len(found)
    for folder in ("photonics", "templates", "callbacks", "analysis"):
        assert sum(m.file.startswith(f"hybridlit/{folder}/") for m in found) >= 10


@pytest.mark.parametrize("file", sorted({mutation.file for mutation in all_mutations()}))
def test_mutations_can_be_made(file):
    text = (ROOT / file).read_text(encoding="utf-8")
    for mutation in all_mutations():
        if mutation.file == file:
            assert fault_of(mutation, ROOT) is None, mutation.why
            ast.parse(mutation.of(text))  # a syntax error would be noticed by any test
            assert mutation.of(text) != text, mutation.why


@pytest.fixture
def tree(tmp_path):
    """A package of one function, and its test."""
    source, target = tmp_path / "source", tmp_path / "copy"
    for file, text in {
        "hybridlit/__init__.py": "",
        "hybridlit/sums.py": "def add(a, b):\n    total = a + b\n    return total\n",
        "tests/test_sums.py": "from hybridlit.sums import add\n\n\n"
        "def test_sum():\n    assert add(2, 2) == 4\n",
    }.items():
        path = source / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    target.mkdir()
    return copy_of_tree(source, target)


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("a + b", "a - b", "killed"),
        ("a + b", "a * b", "alive"),
        ("a + b", "a +", "error"),
        ("a + c", "a - c", "stale"),
        ("total", "sum", "stale"),  # occurs twice
    ],
)
def test_each_mutation_ends_as_it_should(old, new, word, tree):
    before = (tree / "hybridlit/sums.py").read_text()
    outcome = tried(Mutation("hybridlit/sums.py", old, new, ("test_sums.py",), "why"), tree)
    assert outcome.word == word, outcome.remark
    assert (tree / "hybridlit/sums.py").read_text() == before


def test_rows_of_tests_that_are_gone_are_stale(tree):
    for test in ("test_other.py", "test_sums.py::test_other"):
        mutation = Mutation("hybridlit/sums.py", "a + b", "a - b", (test,), "why")
        assert "there is no test" in fault_of(mutation, tree)


@pytest.mark.parametrize(
    ("alive", "other", "code"), [(0, [], 0), (1, [], 0), (2, [], 1), (0, ["stale"], 1)]
)
def test_the_exit_code(alive, other, code):
    words = ["alive"] * alive + other
    words += ["killed"] * (20 - len(words))
    mutation = all_mutations()[0]
    outcomes = [Outcome(mutation, word, "a remark") for word in words]
    assert verdict(outcomes) == code
    assert f"all       {words.count('killed'):8}{alive:8}" in summary(outcomes)
