"""Who is named, over some seeds; the whole experiment is `python tests/guilty_part.py`."""

import guilty_part
import pytest


@pytest.mark.slow
def test_the_front_of_a_chain_is_named_and_not_what_follows_it():
    """The loss change allocation suspects the parts behind it; see `guilty_part.chain`."""
    detector = guilty_part.OverfittingDetector(every_n_steps=30)
    (said,), _, _ = guilty_part.fit(guilty_part.chain, 1, 60, detector)
    assert said.startswith("classical_pre overfits: trained again from step 0 on for ")
    assert "with quantum_layer frozen" in said and detector.blamed == ["classical_pre"]


@pytest.mark.slow
@pytest.mark.parametrize("what", ["chain", "twins", "healthy chain"])
def test_the_right_one_is_named_in_most_of_three_seeds_and_nobody_else_ever(what):
    """The other cases are those of `callbacks/test_overfitting.py`, over five seeds."""
    found = guilty_part.who_is_named(what, range(3))
    expected = guilty_part.CASES[what][1]
    assert found[expected] >= (2 if what == "chain" else 3), found
    assert set(found) <= {expected, "nobody", "silent"}, found


@pytest.mark.slow
def test_freezing_late_is_worth_as_much_as_freezing_from_the_start():
    frozen, late, nothing, front, photonic = guilty_part.frozen_late_and_early(1)
    assert frozen == ["classical_pre"]
    assert late < 1.2 * front
    # that it is the front that matters here
    assert front < 0.6 * min(nothing, photonic)


def test_what_was_said_is_told_apart():
    assert guilty_part.named_in([]) == "silent"
    assert guilty_part.named_in(["front overfits: trained again"]) == "front"
    assert guilty_part.named_in(["the model overfits, and no single part is"]) == "nobody"
