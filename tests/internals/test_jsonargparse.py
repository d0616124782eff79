from typing import Literal

import pytest
from jsonargparse import ArgumentError, ArgumentParser

from hybridlit.internals.jsonargparse import (
    SAYINGS,
    Complaint,
    complaint,
    option_names,
    wraps_another,
)
from hybridlit.unwrapping import _TOLD


def test_all_options_of_a_parser_and_its_verbs_are_known():
    parser, inner = ArgumentParser(), ArgumentParser()
    inner.add_argument("--trainer.max_epochs", type=int)
    parser.add_argument("--config", "-c")
    parser.add_subcommands().add_subcommand("fit", inner)
    assert {"--config", "-c", "--help", "--trainer.max_epochs"} <= set(option_names(parser))
    assert option_names(inner)[-1] == "--trainer.max_epochs"


class Base:
    def __init__(self, width: int = 2, word: Literal["a", "b"] | None = None):
        if width > 9:
            raise ValueError("width must be at most 9")


class Sub(Base):
    pass


class Needing(Base):
    def __init__(self, one: int, other: int):
        pass


class Other:
    pass


def parser():
    made = ArgumentParser(exit_on_error=False)
    made.add_subclass_arguments(Base, "model")
    made.add_class_arguments(Base, "trainer")
    made.add_argument("--size", type=int, required=True)
    made.add_argument("--config", action="config")
    return made


SUB, OTHER, NEEDING = (f"{__name__}.{name}" for name in ("Sub", "Other", "Needing"))
COMPLAINTS = [
    (["--size=3", "--siez=3"], "unknown_option", ("--siez=3",), []),
    ([], "missing_options", ("size",), []),
    (
        ["--size=3", f"--model={SUB}", "--model.wide=3"],
        "unknown_argument",
        (SUB, "wide"),
        ["model"],
    ),
    (["--size=3", f"--model={NEEDING}"], "missing_arguments", (NEEDING, "one, other"), ["model"]),
    (["--size=3", '--trainer={"wide": 3}'], "unknown_in_group", ("trainer", "wide"), []),
    (["--size=3", "--config={recipe}"], "unknown_setting", ("wide",), []),
    (
        ["--size=3", "--model=no_such.Thing"],
        "class_not_found",
        ("no_such.Thing", "No module named 'no_such'"),
        ["model"],
    ),
    (["--size=3", "--model=Thing"], "no_class_path", ("Thing",), ["model"]),
    (["--size=3", f"--model={OTHER}"], "other_class", ("Base",), ["model"]),
    (["--size=3", "--config={words}"], "no_settings", ("Unexpected config",), []),
]


@pytest.mark.parametrize(("words", "saying", "inside", "keys"), COMPLAINTS)
def test_a_message_says_what_is_wrong(words, saying, inside, keys, tmp_path):
    files = {"recipe": "wide: 3\n", "words": "just words\n"}
    for name, content in files.items():
        (tmp_path / f"{name}.yaml").write_text(content)
        words = [w.replace(f"{{{name}}}", str(tmp_path / f"{name}.yaml")) for w in words]
    with pytest.raises(ArgumentError) as error:
        parser().parse_args(words)
    found = complaint(str(error.value))
    assert (found.saying, found.words, found.keys) == (saying, inside, keys)


def test_every_saying_is_tried_and_told():
    assert [saying for _, saying, *_ in COMPLAINTS] == list(SAYINGS)
    assert _TOLD.keys() == SAYINGS.keys() | {"wrong_value"}


@pytest.mark.parametrize(
    ("words", "keys", "value", "expected"),
    [
        (["--size=x"], ["size"], "", [("<class 'int'>", "x")]),
        (
            ["--size=1", f"--model={SUB}", "--model.word=c"],
            ["model", "word"],
            "c",
            [("typing.Literal['a', 'b']", ""), ("<class 'NoneType'>", "")],
        ),
    ],
)
def test_a_message_says_what_a_value_may_be(words, keys, value, expected):
    with pytest.raises(ArgumentError) as error:
        parser().parse_args(words)
    found = complaint(str(error.value))
    assert (found.saying, found.keys, found.value) == ("wrong_value", keys, value)
    assert found.expected == expected


def test_another_message_is_itself():
    words = "something else went wrong"
    assert complaint(words) == Complaint("other", (), [], "", words, [])


def test_what_a_constructor_raises_is_the_cause_of_what_is_raised():
    made = parser()
    with pytest.raises(ValueError, match="width must be at most 9") as error:
        made.instantiate(made.parse_args(["--size=1", f"--model={SUB}", "--model.width=12"]))
    cause = error.value
    assert wraps_another(cause)
    while wraps_another(cause):
        cause = cause.__cause__
    assert str(cause) == "width must be at most 9"
