"""Noise that is weaker or stronger, and each source of it alone."""

import pytest

from hybridlit import Noise


def test_losses_are_in_decibels_and_errors_in_proportion():
    noise = Noise(
        brightness=0.5, transmittance=0.3, indistinguishability=0.9, g2=0.02, phase_error=0.1,
        phase_imprecision=0.05, g2_distinguishable=False, trainable=["g2"],
    )  # fmt: skip
    assert noise.at_strength(2) == Noise(
        brightness=0.25, transmittance=0.09, indistinguishability=0.9**2, g2=0.04, phase_error=0.2,
        phase_imprecision=0.1, g2_distinguishable=False,
    )  # fmt: skip
    assert noise.at_strength(1) == Noise(**{**noise.plain(), "trainable": ()})
    by_mode = Noise(transmittance=[0.25, 1.0]).at_strength(0.5)
    assert by_mode.transmittance == (0.5, 1.0)


def test_what_would_be_out_of_range_is_refused():
    with pytest.raises(ValueError, match="g2 must be"):
        Noise(g2=0.3).at_strength(2)
    with pytest.raises(ValueError, match="strength must be above 0"):
        Noise().at_strength(0)


def test_sources_are_those_there_are():
    noise = Noise(transmittance=0.3, g2=0.02, g2_distinguishable=False, trainable=["g2"])
    assert noise.sources == {
        "transmittance": Noise(transmittance=0.3, g2_distinguishable=False),
        "g2": Noise(g2=0.02, g2_distinguishable=False),
    }
    assert Noise().sources == {}
