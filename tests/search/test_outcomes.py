"""What became of trials, as values."""

import pytest

pytest.importorskip("optuna")

from small_searches import a_search

from hybridlit.search.outcomes import found_late, outcomes


def test_every_trial_is_what_became_of_it():
    found = outcomes(a_search(8, pruned=[3], failed=[4], refused=[2, 5]).study)
    told = [(each.number, each.arm, each.outcome) for each in found]
    assert told == [
        (1, "hybrid", "complete"),
        (2, "classical", "complete"),
        (3, "hybrid", "refused"),
        (3, "hybrid", "complete"),
        (4, "classical", "pruned"),
        (5, "hybrid", "failed"),
        (6, "classical", "refused"),
        (6, "classical", "complete"),
        (7, "hybrid", "complete"),
        (8, "classical", "complete"),
    ]
    assert found[2].reason == "memory: 3 GiB, and the budget allows 2 GiB"
    assert found[2].score is None and found[3].score == pytest.approx(0.9 - 0.3 / 4)
    assert [each.number for each in found if each.on_front] == [8]
    assert (found[4].epochs, len(found[4].history)) == (3, 3)


def test_a_front_has_all_that_no_other_beats():
    scores = [0.5, 0.9, 0.4, 0.95, 0.8, 0.95]  # and each has a parameter more than the one before
    found = outcomes(a_search(6, objective=["score", "parameters"], scores=scores).study)
    assert [each.number for each in found if each.on_front] == [1, 2, 4]


@pytest.mark.parametrize(
    ("scores", "late"),
    [
        ([0.5, 0.6, 0.7, 0.8, 0.9, 0.7, 0.6, 0.5, 0.4, 0.3], False),
        ([0.5, 0.6, 0.7, 0.8, 0.7, 0.7, 0.6, 0.5, 0.9, 0.3], True),
        ([0.5, 0.6, 0.7, 0.8, 0.7, 0.7, 0.6, 0.5, 0.801, 0.3], False),  # no gain to speak of
        ([0.5], True),
    ],
)
def test_a_best_trial_among_the_last_fifth_is_late(scores, late):
    search = a_search(2 * len(scores), scores=[each for each in scores for _ in "ab"])
    own = [each for each in outcomes(search.study) if each.arm == "hybrid"]
    assert found_late(own) is late


def test_what_has_no_score_is_not_late():
    assert not found_late(outcomes(a_search(4, failed=range(4)).study))
