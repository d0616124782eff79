"""The check of arguments against annotations: what it accepts, and that nothing else notices it."""

import copy
import inspect
import pickle
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import Any, Literal

import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser
from torch import nn

from hybridlit import (
    ActivationCheckpointing,
    ConcatFusion,
    MultiScale,
    PhotonicInspector,
    ResumableLoader,
    ablation_study,
)
from hybridlit.argument_types import check_arguments, checked
from hybridlit.blocks.fusion import Fusion


class Word(Enum):
    ONE = "one"


def function(
    flag: bool = False,
    count: int = 1,
    size: float = 1.0,
    name: str | None = None,
    word: Literal["one", "two", None] = "one",
    member: Word | str = Word.ONE,
    widths: Sequence[int] = (),
    nested: list[tuple[str, float]] | None = None,
    pairs: Mapping[str, list[int]] | None = None,
    run: Callable[[int], int] | None = None,
    rows: Iterable[Any] = (),
    module: nn.Module | None = None,
    anything: Any = None,
    unknown: "NotImported" = None,  # noqa: F821
    *args: int,
    **kwargs: int,
):
    """Say so."""
    return "called"


@pytest.mark.parametrize(
    "given",
    [
        dict(flag=True),
        dict(count=np.int32(3)),
        dict(size=3),
        dict(size=np.float32(0.5)),
        dict(name="a"),
        dict(name=None),
        dict(word="two"),
        dict(word=None),
        dict(word="TWO"),
        dict(word=Word.ONE),
        dict(member="ONE"),
        dict(widths=[1, np.int64(2)]),
        dict(widths=torch.Size([1, 2])),
        dict(widths=range(3)),
        dict(nested=[["a", 1], ("b", 0.5)]),
        dict(pairs={"a": (1, 2)}),
        dict(run=len),
        dict(rows=iter([])),
        dict(rows=torch.ones(2)),
        dict(module=nn.ReLU()),
        dict(anything=object()),
        dict(unknown=object()),
    ],
    ids=lambda given: ", ".join(given),
)
def test_what_fits_is_accepted(given):
    assert checked(function)(**given) == "called"


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (dict(flag="false"), TypeError, "flag must be True or False, got str 'false'"),
        (dict(flag=1), TypeError, "flag must be True or False, got int 1"),
        (dict(count=True), TypeError, "count must be an integer, got bool True"),
        (dict(count=1.0), TypeError, "count must be an integer, got float 1.0"),
        (dict(size="1"), TypeError, "size must be a number, got str '1'"),
        (dict(size=None), TypeError, "size must be a number, got NoneType None"),
        (dict(name=b"a"), TypeError, "name must be a string or None, got bytes b'a'"),
        (dict(word="three"), ValueError, "word must be one of ['one', 'two', None], got 'three'"),
        (dict(word=[]), ValueError, "word must be one of ['one', 'two', None], got []"),
        (dict(member=3), TypeError, "member must be a Word or a string, got int 3"),
        (dict(widths=3), TypeError, "widths must be a list of integers, got int 3"),
        (dict(widths="12"), TypeError, "widths must be a list of integers, got str '12'"),
        (dict(widths=[1, "2"]), TypeError, "widths[1] must be an integer, got str '2'"),
        (
            dict(nested=[("a", 1), ("b", "c")]),
            TypeError,
            "nested[1][1] must be a number, got str 'c'",
        ),
        (dict(nested=[("a",)]), ValueError, "nested[0] must be a pair, got ('a',)"),
        (dict(pairs={1: [1]}), TypeError, "each key of pairs must be a string, got int 1"),
        (dict(pairs={"a": 1}), TypeError, "pairs['a'] must be a list of integers, got int 1"),
        (dict(run=3), TypeError, "run must be a function or None, got int 3"),
        (dict(rows=3), TypeError, "rows must be a list, got int 3"),
        (dict(module="a"), TypeError, "module must be a Module or None, got str 'a'"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused_in_these_words(given, error, message):
    with pytest.raises(error) as refusal:
        checked(function)(**given)
    assert str(refusal.value) == message
    with pytest.raises(error):
        check_arguments(function, given)


def test_long_values_are_shortened():
    with pytest.raises(TypeError, match=r"^name must be .{20,60} Sequential .{57}\.\.\.$"):
        checked(function)(name=nn.Sequential(*[nn.ReLU() for _ in range(20)]))


def test_python_itself_speaks_of_missing_and_unknown_arguments():
    with pytest.raises(TypeError, match="unexpected keyword argument 'hidden'"):
        ConcatFusion([2], 3, hidden=4)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'output_dim'"):
        ConcatFusion([2])


CHECKED = [ActivationCheckpointing, Fusion, MultiScale, PhotonicInspector, ResumableLoader]


@pytest.mark.parametrize("kind", CHECKED)
def test_signature_documentation_and_command_line_do_not_notice(kind):
    inside = inspect.unwrap(kind.__init__)
    assert inside is not kind.__init__
    assert inspect.signature(kind.__init__) == inspect.signature(inside)
    assert inspect.getsource(kind.__init__) == inspect.getsource(inside)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind, "object", fail_untyped=False)
    names = set(inspect.signature(kind).parameters) - {"options"}
    found = {action.dest.removeprefix("object.") for action in parser._actions}
    assert names <= found


def test_what_is_checked_is_copied_and_pickled():
    fusion = ConcatFusion([2, 3], 2)
    for again in (copy.deepcopy(fusion), pickle.loads(pickle.dumps(fusion))):
        assert all(
            torch.equal(value, fusion.state_dict()[name])
            for name, value in again.state_dict().items()
        )
    assert pickle.loads(pickle.dumps(ablation_study)) is ablation_study


class _Silent(dict):
    def __repr__(self):
        raise AssertionError("the text of a table was made")


def test_no_message_shows_cells_and_no_text_is_made_of_data_that_fit():
    def read(path: str | Any, target: str | Sequence[str] = ()) -> None: ...

    check_arguments(read, {"path": _Silent(a=[1]), "target": ["y"]})
    for secret in (np.full((2, 1), 4711), torch.full((2, 1), 4711)):
        with pytest.raises(TypeError, match=r"target must be .*, got \w+ of shape \(2, 1\)$"):
            check_arguments(read, {"path": "y", "target": secret})
