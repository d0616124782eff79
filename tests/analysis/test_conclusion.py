"""Each pattern of verdicts gets the sentence that it deserves."""

import pytest

from hybridlit.analysis.ablation.conclusion import conclusion, signed
from hybridlit.analysis.ablation.posthoc import PosthocArm
from hybridlit.analysis.ablation.retrained import RetrainedArm
from hybridlit.analysis.statistics import Interval


def arm(name, word, mean=0.05, half=0.01, best=(2, 2), rates=()):
    found = Interval(mean, mean - half, mean + half)
    return RetrainedArm(name, (0.9, 0.9), 10, 5, 1.0, 3, best, rates, found, 0.01, word)


def said(*arms, posthoc=(), splits_vary=False, best=(2, 2)):
    reference = RetrainedArm("hybrid", (0.9, 0.9), 10, 5, 1.0, 3, best)
    return conclusion(posthoc, (reference, *arms), 0.01, splits_vary, 36)


MORE = "- To tell what these runs cannot takes more seeds or test rows."


@pytest.mark.parametrize(
    ("arms", "sentence"),
    [
        (
            [arm("linear", "helps"), arm("mlp", "helps", 0.02)],
            "The photonic nonlinearity helps: the model is better than linear (+0.050; another "
            "number of parameters, too) and mlp (+0.020).",
        ),
        (
            [arm("linear", "helps"), arm("mlp", "neutral", 0.001)],
            "No need for the photonic nonlinearity was found: mlp (+0.001) does as well to within "
            "0.01; only linear (+0.050; another number of parameters, too) does worse.",
        ),
        (
            [arm("linear", "neutral", -0.0002), arm("mlp", "hurts", -0.03)],
            "No need for the photonic nonlinearity was found: linear (+0.000) does as well to "
            "within 0.01; mlp (-0.030) does better.",
        ),
        (
            [arm("distinguishable", "neutral", 0.0), arm("single_photon", "helps")],
            "No need for interference between photons was found: distinguishable (+0.000) does as "
            "well to within 0.01; only single_photon (+0.050; fewer outcomes to read, too) does "
            "worse.",
        ),
        (
            [arm("distinguishable", "helps")],
            "Interference between photons helps: the model is better than distinguishable "
            "(+0.050).",
        ),
        (
            [arm("single_photon", "helps")],
            "Interference between photons may help: the model is better than single_photon "
            "(+0.050; fewer outcomes to read, too).",
        ),
        (
            [arm("linear", "neutral", 0.0), arm("mlp", "inconclusive", 0.02)],
            "No need for the photonic nonlinearity was found: linear (+0.000) does as well to "
            f"within 0.01; mlp (+0.020) cannot be told from the model.\n{MORE}",
        ),
        (
            [arm("linear", "helps"), arm("mlp", "inconclusive", 0.02)],
            "Whether the photonic nonlinearity helps is open: the model cannot be told from mlp "
            "(+0.020), though it is better than linear (+0.050; another number of parameters, "
            f"too).\n{MORE}",
        ),
    ],
)
def test_an_answer(arms, sentence):
    assert said(*arms).startswith(f"- {sentence}\n- Intervals cover")


def test_decided_questions_come_first():
    lines = said(
        arm("linear", "inconclusive"), arm("untrained", "neutral", 0.0), arm("mlp", "inconclusive")
    ).splitlines()
    assert lines[0].startswith("- No need for training the photonic parameters was found")
    assert lines[1].startswith("- Whether the photonic nonlinearity helps is open")
    assert lines[2] == MORE and len(lines) == 4


def test_runs_that_decide_nothing_get_one_sentence():
    arms = [arm("linear", "inconclusive", half=0.2), arm("untrained", "inconclusive", half=0.11)]
    first, *rest = said(*arms).splitlines()
    assert first == (
        "- These runs (2 seeds, 36 test rows, 3 epochs) decide nothing: no arm can be told from "
        "the model; the narrowest interval is ±0.110, the margin 0.01. More seeds or test "
        "rows would narrow them."
    )
    assert len(rest) == 1 and "Whether" not in said(*arms)


@pytest.mark.parametrize(("best", "count"), [((3, 3), 2), ((3, 1), 1), ((2, 1), 0)])
def test_trainings_that_were_too_short_are_said(best, count):
    text = said(arm("linear", "helps"), best=best)
    wanted = (
        f"In {count} of 4 runs the last epoch was the best: these are differences of speed; raise "
        "max_epochs."
    )
    assert (wanted in text) == (count > 0) and ("speed" in text) == (count > 0)


def test_one_run_in_many_that_ends_at_its_best_is_no_reason_to_train_longer():
    assert "speed" not in said(*[arm("linear", "helps")] * 4, best=(3, 1))


def test_a_rate_that_nothing_could_choose_is_said():
    rates = ("classical", "classical")
    assert "at the classical rate only" in said(arm("mlp", "helps", best=(), rates=rates), best=())
    assert "at the classical rate" not in said(arm("mlp", "helps", rates=rates))
    assert "at the classical rate" not in said(arm("mlp", "helps", best=()), best=())


def test_what_intervals_cover():
    assert said(arm("linear", "helps")).endswith("but not other training rows.")
    assert said(arm("linear", "helps"), splits_vary=True).endswith("other splits of these data.")


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("helps", "The trained model relies on q (its mean output changes the score by -0.050)"),
        ("hurts", "The trained model is better off without q"),
        ("neutral", "The trained model does not rely on what q says about a row"),
        ("inconclusive", "Whether the trained model relies on q is open (its mean output changes "),
    ],
)
def test_what_the_trained_model_relies_on(word, sentence):
    found = Interval(0.05, 0.04, 0.06)
    arms = [PosthocArm("q", name, 0.8, 1, found, 0.01, word) for name in ("zero", "mean")]
    text = conclusion(arms, (), 0.01, False, 36)
    assert text.startswith(sentence) and text.count("q") - text.count("q,") >= 1
    assert "Intervals cover" not in text


def test_nothing():
    assert conclusion((), (), 0.01, False, 0) == "Nothing was compared."


@pytest.mark.parametrize(
    ("value", "text"), [(-0.0004, "+0.000"), (0.0, "+0.000"), (-0.0006, "-0.001"), (1, "+1.000")]
)
def test_a_difference_with_its_sign(value, text):
    assert signed(value) == text
