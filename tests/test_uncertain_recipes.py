"""What the README says of coverage and of temperatures, measured again: minutes."""

import importlib
import re
from pathlib import Path

import pytest

pytest.importorskip("sklearn", reason="recipes extra")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "recipes"))
    return importlib.import_module("uncertainty")


def rows_of(text):
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_sets_and_intervals_cover_what_they_promise_over_200_splits(script, capsys):
    script.coverage()
    rows = rows_of(capsys.readouterr().out)
    assert len(rows) == 3
    for _, _, promised, covered, error, _ in rows:
        assert abs(float(covered) - float(promised)) < 3 * float(error)


def test_a_temperature_lowers_the_calibration_error_in_five_of_five(script, capsys):
    pytest.importorskip("mlxtend", reason="recipes extra")
    script.temperature()
    rows = rows_of(capsys.readouterr().out)
    assert len(rows) == 2
    for row in rows:
        assert row[-1] == "5 of 5"
        pairs = [re.match(r"([\d.]+) -> ([\d.]+)", cell).groups() for cell in row[1:-1]]
        assert all(float(after) <= float(before) for before, after in pairs)
