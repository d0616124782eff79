"""What is said of a search: who has won comes first, and doubts are named."""

from dataclasses import replace

import pytest

pytest.importorskip("optuna")

from small_searches import a_final, a_search

from hybridlit.analysis.ablation.baselines import Baseline
from hybridlit.analysis.statistics import Interval
from hybridlit.search.summary import SearchSummary

SLOW = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
DONE = (1.0, 0.3, 0.3, 0.3, 0.3, 0.3)


def said(finals, search=None):
    return SearchSummary(search or a_search(24), finals).conclusion


@pytest.mark.parametrize(
    ("hybrid", "classical", "words"),
    [
        (0.80, 0.95, "- The classical arm wins: acc 0."),
        (0.95, 0.80, "- The hybrid arm wins: acc 0."),
        (
            0.9,
            0.9,
            "- The classical arm wins, since it is simpler and does as well to within 0.01:",
        ),
        (0.91, 0.9, "- Whether photons help is open, the two arms cannot be told apart"),
    ],
)
def test_the_first_sentence_says_who_has_won(hybrid, classical, words):
    final = a_final(hybrid, classical, noise=0.1 if hybrid == 0.91 else 0.001)
    text = said(final)
    assert text.startswith(words)
    assert "5 seeds, 1,000 test rows" in text.partition("\n")[0]
    difference = final.classical.difference
    assert f"hybrid minus classical {difference.mean:+.3f}, {difference.low:+.3f} to" in text
    no_reason = "This search gives no reason to use photons here." in text
    assert no_reason == (classical > 0.92)


@pytest.mark.parametrize(
    ("hybrid", "classical", "histories", "words"),
    [
        (0.95, 0.80, (DONE, SLOW), "the classical model was still improving when its training"),
        (0.80, 0.95, (SLOW, DONE), "the hybrid model was still improving when its training ended"),
    ],
)
def test_no_winner_over_what_was_still_improving(hybrid, classical, histories, words):
    text = said(a_final(hybrid, classical, histories))
    assert text.startswith(f"- Whether photons help is open, since {words}")
    assert "Raise trainer.max_epochs" in text


def test_no_winner_where_nothing_was_learned():
    text = said(a_final(0.5, 0.4, constant=0.6))
    assert "cannot be judged, since neither it nor the model is surely better than a" in text


def baseline(verdict, difference):
    found = Interval(difference, difference - 0.02, difference + 0.02)
    return Baseline("SVC", (0.9, 0.92), ("C=1", "C=1"), 0.1, found, 0.01, verdict)


def test_a_hybrid_that_a_baseline_matches_has_not_won():
    final = replace(a_final(0.95, 0.8), baselines=(baseline("alike", 0.001),))
    first = said(final).partition("\n")[0]
    assert first.startswith(
        "- Classical models win, since SVC of scikit-learn does as well to with"
    )
    assert first.endswith("No photons are needed here.")
    better = said(replace(final, baselines=(baseline("baseline better", -0.1),)))
    assert better.startswith("- Classical models win, since SVC of scikit-learn does better:")
    unknown = said(replace(final, baselines=(baseline("inconclusive", 0.001),)))
    assert unknown.startswith("- The hybrid arm wins, though SVC cannot be told from it")
    luckier = replace(baseline("inconclusive", -0.01), name="MLP grid")
    both = said(replace(final, baselines=(luckier, baseline("alike", 0.001))))
    assert both.startswith("- Classical models win, since SVC of scikit-learn does as well to with")
    beaten = replace(final, baselines=(baseline("model better", 0.1),))
    assert said(beaten).startswith("- The hybrid arm wins")
    assert "SVC, the best of 1 classical models of scikit-learn" in said(beaten)


def test_what_more_trials_might_change_is_named():
    few = said(a_final(0.8, 0.95), a_search(8, pruned=[2, 3, 5], failed=[4], refused=[6]))
    assert "Of 8 trials, 4 were hybrid and 4 classical; 1 and 2 of them were pruned" in few
    assert "1 draw was refused before anything was built, and drawn again" in few
    assert "Fewer than 10 trials of an arm see little of a space" in few
    assert "1 trial failed (ValueError: it diverged)" in few
    scores = [0.9] * 22 + [0.95, 0.7]
    late = said(a_final(0.8, 0.95), a_search(24, scores=scores))
    assert "The best hybrid trial came among the last fifth of its arm" in late
    assert "Fewer than" not in late and "failed" not in late
    both = said(a_final(0.8, 0.95), a_search(24, scores=[0.9] * 22 + [0.95, 0.95]))
    assert "best hybrid and the best classical trial each came among the last fifth of" in both
    uneven = said(a_final(0.8, 0.95), a_search(25))
    assert "different numbers of trials" in uneven


def test_a_front_is_told_with_its_classical_trials():
    search = a_search(6, objective=["score", "parameters"], scores=[0.5, 0.9, 0.4, 0.95, 0.8, 0.95])
    text = SearchSummary(search, a_final(0.8, 0.95)).conclusion
    assert "The Pareto front of score and parameters has 3 trials, 2 classical" in text


def test_without_a_final_nothing_is_decided():
    text = SearchSummary(a_search(24), None, "the data have no test rows").conclusion
    assert text.startswith("- Nothing is decided: the data have no test rows.")


def test_test_rows_that_trials_may_have_seen_are_told():
    text = said(replace(a_final(0.8, 0.95), same_rows=False))
    assert "all scores may be too good" in text and "No trial" not in text
