"""The language of post-selection: against plain Python and Perceval."""

import itertools
from random import Random

import numpy as np
import pytest
from permanents import all_states
from postselection_rules import random_rule

from hybridlit import Experiment
from hybridlit.photonics.postselection import parsed


def test_random_rules_mean_what_they_say():
    rng, states = Random(1), np.array(all_states(5, 3))
    for _ in range(300):
        text, kept = random_rule(rng, 5, 3, depth=3)
        rule, expected = parsed(text), [kept(state) for state in states]
        assert rule.keeps(states).tolist() == expected, text
        assert str(parsed(str(rule))) == str(rule)
        assert parsed(str(rule)).keeps(states).tolist() == expected, str(rule)


def test_random_rules_are_those_of_perceval():
    perceval = pytest.importorskip("perceval")
    rng, states = Random(2), list(itertools.product(range(3), repeat=4))
    kets = [perceval.BasicState(list(state)) for state in states]
    for _ in range(200):
        text, _ = random_rule(rng, 4, 3, depth=3)
        rule, theirs = parsed(text), perceval.PostSelect(text)
        expected = [theirs(ket) for ket in kets]
        assert rule.keeps(np.array(states)).tolist() == expected, text
        again = perceval.PostSelect(str(rule))
        assert [again(ket) for ket in kets] == expected
        assert parsed(str(theirs), printed=True).keeps(np.array(states)).tolist() == expected


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("[1,0] == 01", "[0,1]==1"),
        ("  [0]==1and[2]>0\n", "[0]==1 & [2]>0"),
        ("[0]==1 & [1]==0 AND [2]==0", "[0]==1 & [1]==0 & [2]==0"),
        ("(([0]!=1))", "[0]!=1"),
        ("NOT[0]==1", "!([0]==1)"),
        ("!!([0]==1)", "!(!([0]==1))"),
        ("![0]==1 & [1]==0", "!([0]==1 & [1]==0)"),
        ("(![0]==1) & [1]==0", "(!([0]==1)) & [1]==0"),
        ("[2]==0 | !([0]==1) & [1]==0", "[2]==0 | (!([0]==1 & [1]==0))"),
        ("([0]==1 & [1]==0) & [2]==0", "([0]==1 & [1]==0) & [2]==0"),
        ("not [0]==1", "!([0]==1)"),
    ],
)
def test_a_rule_is_written_so_that_nothing_has_to_be_known(text, written):
    assert str(parsed(text)) == written
    assert Experiment("series", 5, 4, postselect=text).postselect == written


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "have a condition such as .* at its end, got ''"),
        ("[0]==1 &", "a condition such as .* at its end"),
        ("[0]==1 & [1]==0 | [2]==0", r"parentheses around what & joins at '\| \[2\]==0'"),
        ("([0]==1", r"or \) at its end"),
        ("[0]==1)", r"or the end at '\)'"),
        ("()", r"a condition such as .* at '\)'"),
        ("[0]=1", "a condition such as"),
        ("[0]==1 And [1]==0", "at 'And"),
        ("[0,0]==1", "each mode once"),
        ("[0]==-1", "a condition such as"),
        ("[-1]==1", "a condition such as"),
        ("[0]==1.0", r"at '\.0'"),
        ("[0]==1000000000", r"below 10\*\*9"),
        ("[0:2]==1", "a condition such as"),
        ("__import__('os')", "a condition such as"),
        ("dual_rial", "or 'dual_rail'.*did you mean"),
        ("(" * 200 + "[0]==1" + ")" * 200, "at most 100 parentheses"),
        ("!" * 200 + "[0]==1", "at most 100 parentheses"),
        ("[4]==1", r"modes 0 to 3, got mode 4"),
        ("[0]==7", "keeps nothing of 2 photons in 4 modes"),
        ("[0,1,2,3]!=2", "keeps nothing"),
        ("[0]==2", r"keeps \(2, 0, 0, 0\) alone"),
    ],
)
def test_what_is_no_rule_or_leaves_nothing_is_refused(text, message):
    with pytest.raises(ValueError, match=f"(?s)postselect must.*{message}"):
        Experiment("series", 4, 2, postselect=text)


def test_a_rule_is_a_string():
    with pytest.raises(TypeError, match=r"postselect must be a string .*, got int 1"):
        Experiment("series", 4, 2, postselect=1)


def test_dual_rail_is_a_photon_in_each_two_modes():
    experiment = Experiment("series", 6, 3, postselect="Dual_Rail")
    assert experiment.postselect == "dual_rail"
    assert experiment.rule == "[0,1]==1 & [2,3]==1 & [4,5]==1"
    expected = [s for s in all_states(6, 3) if all(s[k] + s[k + 1] == 1 for k in (0, 2, 4))]
    assert list(experiment.outcomes) == expected and len(expected) == 8
    with pytest.raises(ValueError, match=r"two modes for each photon, got n_modes=5 and n_photo"):
        Experiment("series", 5, 2, postselect="dual_rail")


def test_too_many_outcomes_to_look_at_are_refused_beforehand():
    with pytest.raises(MemoryError, match=r"looks at each of .* outcomes, which takes .* free"):
        Experiment("series", 60, 30, postselect="[0]==1")
