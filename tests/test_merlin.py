"""The page for users of MerLin: every call of it is made, theirs where MerLin is installed."""

import contextlib
import importlib.util
import re
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

import numpy as np
import pytest
import torch
from pages import ROOT, blocks, broken_links

import hybridlit as ML

PATH = ROOT / "recipes" / "MERLIN.md"
PAGE = PATH.read_text(encoding="utf-8")
TAKEN_OVER, WRITTEN_HERE = blocks(PATH, "python")
ROW = re.compile(r"^\| `(.+?)` \| `(.+?)` \| (.*?) ?\|$")

pytestmark = pytest.mark.filterwarnings("ignore")


class Call(NamedTuple):
    """A row of a table: `since` is the version whose table it is in."""

    since: str
    arguments: bool
    theirs: str
    ours: str
    words: str


def calls():
    """The rows of the tables whose first column names a version."""
    found, head = [], None
    for line in PAGE.splitlines():
        if line.startswith("| MerLin"):
            head = re.match(r"\| MerLin (\d\.\d): (argument|call) \|", line)
        elif not line.startswith("|"):
            head = None
        elif head and (row := ROW.match(line)):
            found.append(Call(head[1], head[2] == "argument", *row.groups()))
    return found


def installed():
    """The version of MerLin whose tables can be tried, or ''."""
    try:
        return version("merlinquantum")[:3]
    except PackageNotFoundError:
        return ""


def written_here():
    names = {}
    exec(WRITTEN_HERE, names)
    return names


@pytest.fixture(scope="module")
def names():
    """What the cells of the page are about: layers of one circuit, with the same weights."""
    there = written_here()
    if installed() in ("0.2", "0.4"):
        code = TAKEN_OVER
        if installed() == "0.2":
            code = re.sub(r"measurement_strategy=.*", 'computation_space="fock",', code)
        exec(code, there)
    return there


def options(cell, names):
    return eval(f"dict({cell})", dict(names))


def ours_with(cell, names):
    layer = ML.QuantumLayer(
        3, circuit=names["circuit"], **{"input_state": [1, 0, 1, 0]} | options(cell, names)
    )
    with torch.no_grad():
        layer.phases.copy_(names["ours"].phases)
    return layer


def of_merlin(names):
    merlin, perceval = pytest.importorskip("merlin"), pytest.importorskip("perceval")
    with contextlib.suppress(ImportError):  # their package of data sets is not imported with it
        import merlin.datasets.iris
        import merlin.datasets.spiral
    return vars(perceval) | vars(merlin) | dict(names)


def theirs_with(cell, names):
    there = of_merlin(names)
    given = {"input_state": [1, 0, 1, 0]} | options(cell, there)
    layer = there["QuantumLayer"](builder=names["builder"], **given)
    with torch.no_grad():
        for mine, weights in zip(layer.parameters(), names["theirs"].parameters(), strict=True):
            mine.copy_(weights)
    return layer


def plain(value):
    """What two sides give, to be compared."""
    if isinstance(value, torch.Tensor):
        return value.detach().to(torch.complex128)
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.array(value)).to(torch.complex128)
    return [tuple(each) if hasattr(each, "__len__") else each for each in value]


def assert_equal(theirs, ours):
    theirs, ours = plain(theirs), plain(ours)
    if isinstance(ours, torch.Tensor):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    else:
        assert ours == theirs


CALLS = calls()
ARGUMENTS = [call for call in CALLS if call.arguments]
OTHERS = [call for call in CALLS if not call.arguments]


def of_installed(found):
    if found.since != installed():
        pytest.skip(f"MerLin {found.since} is not installed")


def test_the_page_has_rows_of_each_version():
    assert {call.since for call in CALLS} == {"0.1", "0.2", "0.4"}
    assert sum(call.words.startswith("equal") for call in CALLS) >= 15
    rows = [line for line in PAGE.splitlines() if line.startswith("| `")]
    assert len(rows) - len(CALLS) == PAGE.partition("## Without")[2].count("\n| `")
    assert broken_links(PATH) == []


def test_what_stands_here_runs():
    """Without MerLin, too."""
    names = written_here()
    for call in CALLS:
        if call.arguments:
            layer = ours_with(call.ours, names)
            rows = names["rows"].to(layer.phases)
            assert layer(rows).isfinite().all()
            layer(rows).square().sum().backward()
        elif "evaluate(" not in call.ours or importlib.util.find_spec("perceval"):
            assert eval(call.ours, dict(names)) is not None


def test_a_layer_is_taken_over(names):
    pytest.importorskip("merlin")
    if "theirs" not in names:
        pytest.skip("MerLin 0.1 is installed, which has no builder")
    rows = names["rows"].clone().requires_grad_()
    outputs = [names[side](rows)[:, 0].sum() for side in ("ours", "theirs")]
    slopes = [torch.autograd.grad(output, rows)[0] for output in outputs]
    torch.testing.assert_close(*slopes, rtol=0, atol=1e-5)


@pytest.mark.parametrize("call", ARGUMENTS, ids=lambda call: call.ours)
def test_arguments(call, names):
    of_installed(call)
    theirs, ours = theirs_with(call.theirs, names), ours_with(call.ours, names)
    rows = names["rows"].to(ours.phases)
    expected, found = theirs(rows), ours(rows)
    if call.words.startswith("equal, in the order"):
        expected = expected[:, [theirs.output_keys.index(each) for each in ours.outcomes]]
    if call.words.startswith("equal"):
        assert_equal(expected, found)
    elif call.words.startswith("not equal"):
        assert not torch.allclose(expected, found, atol=1e-3)


@pytest.mark.parametrize("call", OTHERS, ids=lambda call: call.ours)
def test_calls(call, names):
    of_installed(call)
    theirs = eval(call.theirs, of_merlin(names))
    ours = eval(call.ours, dict(names))
    if call.words.startswith("equal"):
        assert_equal(theirs, ours)
    elif call.words.startswith("not equal"):
        assert not torch.allclose(theirs, ours, atol=1e-3)
    elif isinstance(ours, torch.Tensor):
        assert theirs.shape == ours.shape
