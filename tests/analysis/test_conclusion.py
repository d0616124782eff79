"""Each pattern of verdicts gets the sentence that it deserves."""

import math
from dataclasses import replace

import pytest

from hybridlit.analysis.ablation.baselines import Baseline
from hybridlit.analysis.ablation.conclusion import signed
from hybridlit.analysis.ablation.open_arms import remedy
from hybridlit.analysis.ablation.posthoc import PosthocArm
from hybridlit.analysis.ablation.result import AblationStudy
from hybridlit.analysis.ablation.retrained import RetrainedArm
from hybridlit.analysis.statistics import Interval


def arm(name, word, mean=0.05, half=0.01, best=(2, 2), rates=(), scores=(0.9, 0.9), **more):
    found = Interval(mean, mean - half, mean + half)
    return RetrainedArm(name, scores, 10, 5, 1.0, 3, best, rates, found, 0.01, word, **more)


def baseline(name, word, mean=0.05):
    found = Interval(mean, mean - 0.01, mean + 0.01)
    return Baseline(name, (0.9,), ("C=1",), 1.0, found, 0.01, word)


def study(retrained=(), posthoc=(), splits_vary=False, **more):
    given = dict(model="M", metric="acc", margin=0.01, seeds=(0, 1), score=0.9, test_rows=36)
    return AblationStudy(
        **given,
        splits_vary=splits_vary,
        posthoc=tuple(posthoc),
        retrained=tuple(retrained),
        left_out={},
        **more,
    )


def concluded(*given, **more):
    return study(*given, **more).conclusion


def said(*arms, best=(2, 2), beats=None, **more):
    reference = RetrainedArm("hybrid", (0.9, 0.9), 10, 5, 1.0, 3, best, beats_constant=beats)
    return concluded((reference, *arms), **more)


MORE = "- To tell what these runs cannot takes more seeds."


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
            "Whether the photonic nonlinearity helps is open: mlp (+0.020) cannot be told from the "
            "model, though the model is better than linear (+0.050; another number of parameters, "
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
        "the model; the narrowest interval is ±0.110, the margin 0.01. More test rows would narrow "
        "them: 36 alone leave ±0.110, however many seeds."
    )
    assert len(rest) == 1 and "Whether" not in said(*arms)
    assert "More seeds or test rows would narrow them." in said(*arms, splits_vary=True)
    few = said(*[arm("linear", "inconclusive", half=math.inf)] * 2)
    assert "intervals of so few rows have no end. More test rows" in few and "inf" not in few


def test_what_an_open_arm_takes():
    """Of two seeds whose differences are 0.05 apart, Student's interval is 0.318 to either side."""
    of_rows = math.hypot(0.3177, 0.2)
    by_rows = arm("linear", "inconclusive", 0.02, half=of_rows, scores=(0.9, 0.85))
    by_seeds = arm("untrained", "inconclusive", 0.02, half=0.3177, scores=(0.9, 0.85))
    assert (
        "- To tell what these runs cannot takes more seeds for untrained and more test rows for "
        "linear: 36 alone leave ±0.200, however many seeds."
    ) in said(by_rows, by_seeds, arm("distinguishable", "neutral", 0.0))
    model = RetrainedArm("hybrid", (0.9, 0.9), 10, 5, 1.0, 3)
    apart = arm("linear", "inconclusive", 0.02, half=0.019)  # by its rows alone
    assert remedy(study((model, apart)), [apart]).rows == []
    assert remedy(study((model, *[apart] * 6)), [apart]).rows == ["linear"], "one of six, by chance"


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


def test_trainings_without_validations_are_said():
    held = arm("mlp", "inconclusive", best=(), reason="no validations")
    text = said(held, best=())
    assert "mlp (+0.050) may not have been trained to the end" in text
    assert "- Without validations to choose optimizer settings by" in text
    assert "Without validations" not in said(arm("mlp", "helps"))


def test_an_arm_that_was_still_improving_comes_first():
    held = arm(
        "mlp", "inconclusive", 0.205, reason="was still improving", improving=(True, True, False)
    )
    lines = said(arm("linear", "helps"), held, arm("untrained", "neutral", 0.0)).splitlines()
    assert lines[0] == (
        "- mlp was still improving when its training ended, in 2 of 3 runs: that the model is "
        "better (+0.205) may be no more than speed; raise max_epochs."
    )
    assert lines[2] == (
        "- Whether the photonic nonlinearity helps is open: mlp (+0.205) had not finished learning,"
        " though the model is better than linear (+0.050; another number of parameters, too)."
    )
    assert MORE not in lines


def test_a_model_that_was_still_improving_is_not_worse():
    held = arm("mlp", "inconclusive", -0.1, reason="the model was still improving")
    assert said(held).startswith(
        "- The model was still improving when its training ended: that mlp is better may be no "
        "more than speed; raise max_epochs."
    )


def test_runs_that_learned_nothing_say_so_and_no_more():
    arms = [
        arm(name, "inconclusive", 0.0, beats_constant=False, reason="no better than a constant")
        for name in ("linear", "untrained")
    ]
    lines = said(*arms, beats=False, constant=0.9).splitlines()
    assert lines[0] == (
        "- No arm is surely better than a constant answer (acc 0.900), so "
        "that these runs say nothing about their parts."
    )
    assert len(lines) == 2 and lines[1].startswith("- Intervals cover")
    half = said(arms[0], arm("mlp", "neutral", 0.0, beats_constant=True), beats=False)
    assert (
        "No arm is surely better" not in half and "cannot be judged, since neither it nor" in half
    )


def test_a_baseline_that_is_not_beaten_comes_before_what_helps():
    rivals = (baseline("logistic regression", "model better"), baseline("SVC", "alike", 0.001))
    lines = said(arm("mlp", "helps"), baselines=rivals).splitlines()
    assert lines[0] == (
        "- SVC, out of the box and tuned a little, does as well as the model to within 0.01 (model "
        "minus it: +0.001, -0.009 to +0.011): whatever a part is worth to this model, the task "
        "does not need the model."
    )
    assert lines[1].startswith("- The photonic nonlinearity helps")
    beaten = said(arm("mlp", "helps"), baselines=rivals[:1]).splitlines()
    assert beaten[0].startswith("- The photonic nonlinearity helps")
    assert beaten[1] == "- The model is better than logistic regression."


@pytest.mark.parametrize(
    ("word", "said_of_it"),
    [
        ("baseline better", "does better than the model (model minus it: -0.050"),
        ("inconclusive", "cannot be told from the model (model minus it: -0.050"),
    ],
)
def test_the_best_baseline_is_named(word, said_of_it):
    rivals = (baseline("SVC", word, -0.05), baseline("MLP grid", "alike", 0.0))
    text = said(arm("mlp", "neutral", 0.0), baselines=rivals)
    assert f"- SVC, out of the box and tuned a little, {said_of_it}" in text
    assert text.startswith("- No need for")


def test_rows_in_two_splits_come_before_everything():
    text = said(arm("mlp", "helps"), shared_rows=("3 rows are in both",))
    assert text.startswith("- Beware: 3 rows are in both.\n")


def test_what_intervals_cover():
    assert said(arm("linear", "helps")).endswith("but not other training rows.")
    assert said(arm("linear", "helps"), splits_vary=True).endswith("other splits of these data.")


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        (
            "relies on",
            "The trained model relies on q (its mean output changes the score by -0.050)",
        ),
        ("better without", "The trained model is better off without q"),
        ("does not rely on", "The trained model does not rely on what q says about a row"),
        ("inconclusive", "Whether the trained model relies on q is open (its mean output changes "),
    ],
)
def test_what_the_trained_model_relies_on(word, sentence):
    found = Interval(0.05, 0.04, 0.06)
    arms = [PosthocArm("q", name, 0.8, 1, found, 0.01, word) for name in ("zero", "mean")]
    text = concluded(posthoc=arms)
    assert text.startswith(sentence) and text.count("q") - text.count("q,") >= 1
    assert "Intervals cover" not in text


def test_a_trained_model_that_is_no_better_than_a_constant():
    arms = [PosthocArm("q", "mean", 0.8, 1, Interval(0.0, -0.1, 0.1), 1.0, "inconclusive")]
    text = concluded(posthoc=arms, constant=0.7, beats_constant=False)
    assert text.startswith(
        "- The trained model itself is not surely better than a constant answer (acc 0.700).\n"
    )


def test_nothing():
    assert concluded() == "Nothing was compared."


@pytest.mark.parametrize(
    ("value", "text"), [(-0.0004, "+0.000"), (0.0, "+0.000"), (-0.0006, "-0.001"), (1, "+1.000")]
)
def test_a_difference_with_its_sign(value, text):
    assert signed(value) == text


def test_an_arm_that_was_left_out_is_not_said_to_be_unasked():
    reference = RetrainedArm("hybrid", (0.9, 0.9), 10, 5, 1.0, 3, (2, 2))
    found = replace(study([reference]), left_out={"classical_only": "nothing goes around"})
    assert (
        found.conclusion
        == found.verdict
        == (
            "Whether the photonic part helps is not known, since nothing was trained without it: "
            "classical_only was left out (nothing goes around)."
        )
    )
