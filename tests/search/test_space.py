"""What may be searched for, and what is said of a space that cannot be."""

import optuna
import pytest

from hybridlit.search.space import read_space

optuna.logging.set_verbosity(optuna.logging.WARNING)


def drawn(space, number=200, **options):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [read_space(space).draw(study.ask(), **options) for _ in range(number)]


def test_choices_and_ranges():
    found = drawn(
        {
            "model.n_modes": {"low": 4, "high": 10, "step": 2},
            "model.lr": {"low": "1e-3", "high": 0.1, "log": True},
            "model.dropout": {"low": 0.0, "high": 0.5, "step": 0.25},
            "model.dims": [[16], [8, 4], None, True],
        }
    )
    assert {each["model.n_modes"] for each in found} == {4, 6, 8, 10}
    rates = [each["model.lr"] for each in found]
    assert all(1e-3 <= rate <= 0.1 for rate in rates)
    assert 60 < sum(rate < 1e-2 for rate in rates) < 140  # half of a logarithmic range
    assert {each["model.dropout"] for each in found} == {0.0, 0.25, 0.5}
    assert [16] in [each["model.dims"] for each in found]
    assert {str(each["model.dims"]) for each in found} == {"[16]", "[8, 4]", "None", "True"}


def test_what_yaml_takes_for_a_word_is_a_number():
    [[first], [second]] = [
        {each["model.lr"] for each in drawn({"model.lr": [text]}, 3)} for text in ("1e-3", "adam")
    ]
    assert first == 0.001 and second == "adam"


def test_conditions_are_drawn_behind_what_they_depend_on():
    found = drawn(
        {
            "model.fusion": {"choices": ["concat", "sum"], "when": {"model.kind": "parallel"}},
            "model.rank": {"low": 1, "high": 3, "when": {"model.fusion": ["sum"]}},
            "model.kind": ["parallel", "chain"],
        }
    )
    keys = {frozenset(name.removeprefix("model.") for name in each) for each in found}
    assert keys == {
        frozenset({"kind"}),
        frozenset({"kind", "fusion"}),
        frozenset({"kind", "fusion", "rank"}),
    }
    for each in found:
        assert ("model.fusion" in each) == (each["model.kind"] == "parallel")
        assert ("model.rank" in each) == (each.get("model.fusion") == "sum")


def test_names_can_be_left_out():
    assert drawn({"model.a": [1], "model.b": [2]}, 1, without={"model.a"}) == [{"model.b": 2}]


@pytest.mark.parametrize(
    ("space", "kind", "words"),
    [
        ({}, TypeError, "space must hold"),
        ([1], TypeError, "space must hold"),
        ({"modes": [1]}, ValueError, "with their section, such as model.n_modes, got 'modes'"),
        ({"model.a": []}, ValueError, "model.a must have a list of one choice or more"),
        ({"model.a": 3}, TypeError, "model.a must be a list of choices or a range"),
        ({"model.a": [1, 2, 1]}, ValueError, "model.a has the choice 1 twice"),
        ({"model.a": [[1], [1]]}, ValueError, r"model.a has the choice \[1\] twice"),
        ({"model.a": {"lowest": 1, "high": 2}}, ValueError, "'lowest' .did you mean 'low'"),
        ({"model.a": {"low": 1}}, ValueError, "it has no high"),
        ({"model.a": {"low": 2, "high": 2}}, ValueError, "must be below high, got 2 and 2"),
        ({"model.a": {"low": "x", "high": 2}}, TypeError, "low of model.a must be a number"),
        ({"model.a": {"low": True, "high": 2}}, TypeError, "low of model.a must be a number"),
        ({"model.a": {"low": 0, "high": 2, "log": True}}, ValueError, "low above 0"),
        ({"model.a": {"low": 1, "high": 2, "log": "yes"}}, TypeError, "true or false"),
        ({"model.a": {"low": 0, "high": 2, "step": 3}}, ValueError, "step of model.a"),
        ({"model.a": {"low": 0, "high": 2, "choices": [1]}}, ValueError, "it has both"),
        ({"model.a": {"choices": [1], "when": 3}}, TypeError, "when of model.a"),
        (
            {"model.a": {"choices": [1], "when": {"model.bb": 1}}, "model.b": [1]},
            ValueError,
            "got 'model.bb' .did you mean 'model.b'",
        ),
        (
            {"model.a": {"choices": [1], "when": {"model.b": 3}}, "model.b": [1, 2]},
            ValueError,
            "model.b is never 3",
        ),
        (
            {"model.a": {"choices": [1], "when": {"model.b": 3}}, "model.b": {"low": 1, "high": 2}},
            ValueError,
            "model.b is never 3",
        ),
        (
            {
                "model.a": {"choices": [1], "when": {"model.b": 1}},
                "model.b": {"choices": [1], "when": {"model.a": 1}},
            },
            ValueError,
            "model.a and model.b depend on each other",
        ),
    ],
)
def test_what_is_wrong_is_named(space, kind, words):
    with pytest.raises(kind, match=words):
        read_space(space)
