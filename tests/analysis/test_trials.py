"""When a training was too short to be beaten."""

import math

import pytest

from hybridlit.analysis.ablation.evidence import last_gain, may_catch_up
from hybridlit.analysis.ablation.retrained import RetrainedArm, _objection


@pytest.mark.parametrize(
    ("history", "gain"),
    [
        ([1.0, 0.9, 0.8, 0.7, 0.6], 0.1),
        ([1.0, 0.9, 0.5, 0.6, 0.7], 0.0),  # the best is past
        ([1.0, 0.5, 0.5, 0.5, 0.4951], 0.0),  # less than a hundredth of what was gained
        ([1.0, 0.5, 0.5, 0.5, 0.4949], 0.0051),
        ([1.0, math.inf, 0.5, 0.6, 0.3], 0.2),
        ([1.0, 0.9, 0.8, 0.7, 0.6, 0.5], 0.2),  # two of six epochs: a fifth, rounded up
        ([0.7], math.inf),
        ([0.7, 0.8], 0.0),
    ],
)
def test_the_gain_of_the_last_fifth(history, gain):
    assert last_gain(history) == pytest.approx(gain)


def test_a_decay_of_five_time_constants_is_just_not_over():
    """exp(-4) - exp(-5) is 1.2 % of everything, and a training of seven is."""
    for constants, over in ((4, False), (5, False), (7, True)):
        history = [math.exp(-constants * step / 50) for step in range(51)]
        assert (last_gain(history) == 0) == over


@pytest.mark.parametrize(
    ("histories", "rivals", "may"),
    [
        ([[1.0, 0.9, 0.8, 0.7, 0.6]], [[0.5, 0.1]], True),  # 0.1 a fifth, 5 fifths to go
        ([[1.0, 0.68, 0.64, 0.62, 0.6]], [[0.5, 0.09]], False),  # 0.02 a fifth: 25.5 to go
        ([[1.0, 0.68, 0.64, 0.62, 0.6]], [[0.5, 0.11]], True),  # 24.5
        ([[1.0, 0.9, 0.5, 0.6, 0.7]], [[0.5, 0.4]], False),  # it had finished
        ([[1.0, 0.9, 0.5, 0.6, 0.7], [1.0, 0.9, 0.8, 0.7, 0.6]], [[0.5, 0.1]], True),  # not this
        ([[1.0, 0.9, 0.8, 0.7, 0.6]], [[0.9, 0.8], [0.5, 0.1]], True),
        ([[1.0, 0.9, 0.8, 0.7, 0.6]], [[0.9, 0.7]], True),  # ahead, whatever the test says
        ([[0.9]], [[0.1]], True),
    ],
)
def test_catching_up(histories, rivals, may):
    assert may_catch_up(histories, rivals) == may


def arm(name="linear", improving=(False,) * 4, beats=True):
    return RetrainedArm(name, (0.9,), 1, 0, 1.0, 3, improving=improving, beats_constant=beats)


BEATEN, MANY, FEW = (False,) * 4, (True, True, False, False), (True, False, False, False)


@pytest.mark.parametrize(
    ("word", "other", "model", "improving", "reason"),
    [
        ("helps", arm(), arm(), BEATEN, None),
        ("helps", arm(improving=MANY), arm(), BEATEN, "was still improving"),
        ("helps", arm(improving=FEW), arm(), BEATEN, None),
        ("helps", arm(), arm(), MANY, None),
        ("helps", arm(improving=()), arm(), (), "no validations"),
        ("helps", arm(beats=False), arm(), BEATEN, None),
        ("helps", arm(), arm(beats=False), BEATEN, "no better than a constant"),
        ("helps", arm(beats=None), arm(beats=None), BEATEN, None),
        ("hurts", arm(), arm(), MANY, "the model was still improving"),
        ("hurts", arm(improving=MANY), arm(), BEATEN, None),
        ("hurts", arm(beats=False), arm(beats=False), BEATEN, "no better than a constant"),
        ("neutral", arm(beats=False), arm(beats=False), BEATEN, "no better than a constant"),
        ("neutral", arm(beats=False), arm(), BEATEN, None),
        ("neutral", arm(improving=()), arm(improving=()), (), None),
        ("inconclusive", arm(beats=False), arm(beats=False), BEATEN, None),
    ],
)
def test_what_speaks_against_a_verdict(word, other, model, improving, reason):
    assert _objection(word, other, model, improving) == reason
