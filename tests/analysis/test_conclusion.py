"""Each pattern of verdicts gets the sentence that it deserves."""

import pytest

from hybridlit.analysis.ablation.conclusion import conclusion
from hybridlit.analysis.ablation.posthoc import PosthocArm
from hybridlit.analysis.ablation.retrained import RetrainedArm
from hybridlit.analysis.statistics import Interval


def arm(name, word, mean=0.05, needed=None):
    found = Interval(mean, mean - 0.01, mean + 0.01)
    return RetrainedArm(name, (0.9, 0.9), 10, 5, 1.0, 3, found, 0.01, word, needed)


def said(*arms, posthoc=(), splits_vary=False):
    reference = RetrainedArm("hybrid", (0.9, 0.9), 10, 5, 1.0, 3)
    return conclusion(posthoc, (reference, *arms), 0.01, splits_vary)


@pytest.mark.parametrize(
    ("arms", "sentence"),
    [
        (
            [arm("linear", "helps"), arm("mlp", "helps", 0.02)],
            "The photonic nonlinearity helps: the model is better than linear (+0.050) and mlp "
            "(+0.020).",
        ),
        (
            [arm("linear", "helps"), arm("mlp", "neutral", 0.001)],
            "A nonlinearity helps, but it need not be photonic: mlp (+0.001) does as well to "
            "within 0.01; only linear (+0.050) does worse.",
        ),
        (
            [arm("linear", "neutral", 0.0), arm("mlp", "hurts", -0.03)],
            "No need for the photonic nonlinearity was found: linear (+0.000) does as well to "
            "within 0.01; mlp (-0.030) does better.",
        ),
        (
            [arm("untrained", "inconclusive", 0.02, 14)],
            "Whether training the photonic parameters helps is open: the runs cannot tell the "
            "model from untrained (+0.020); that takes about 14 seeds.",
        ),
        (
            [arm("linear", "helps"), arm("mlp", "inconclusive", 0.02, None)],
            "Whether the photonic nonlinearity helps is open: the runs cannot tell the model from "
            "mlp (+0.020), though it is better than linear (+0.050); that takes more data, not "
            "more seeds.",
        ),
        (
            [arm("distinguishable", "neutral", 0.0), arm("single_photon", "helps")],
            "More than one photon helps, but not their interference: distinguishable (+0.000) does "
            "as well to within 0.01; only single_photon (+0.050) does worse.",
        ),
        (
            [arm("distinguishable", "helps")],
            "Interference between photons helps: the model is better than distinguishable "
            "(+0.050).",
        ),
        (
            [arm("linear", "neutral", 0.0), arm("mlp", "inconclusive", 0.02, 30)],
            "No need for the photonic nonlinearity was found: linear (+0.000) does as well to "
            "within 0.01; mlp (+0.020) cannot be told from the model (that takes about 30 seeds).",
        ),
        (
            [arm("distinguishable", "inconclusive", 0.0, 9), arm("single_photon", "neutral", 0.0)],
            "No need for interference between photons was found: single_photon (+0.000) does as "
            "well to within 0.01; distinguishable (+0.000) cannot be told from the model (that "
            "takes about 9 seeds).",
        ),
    ],
)
def test_an_answer(arms, sentence):
    assert said(*arms).startswith(sentence)


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
    text = conclusion(arms, (), 0.01, False)
    assert text.startswith(sentence) and text.count("q") - text.count("q,") >= 1
    assert "Intervals cover" not in text


def test_nothing():
    assert conclusion((), (), 0.01, False) == "Nothing was compared."
