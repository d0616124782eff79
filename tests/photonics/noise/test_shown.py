"""What detectors show: in which order, whatever way it is sorted."""

import numpy as np
import pytest

from hybridlit.photonics.noise.shown import _distinct


@pytest.mark.parametrize(
    ("modes", "most", "rows"), [(3, 1, 50), (4, 8, 2000), (9, 30, 100), (40, 8, 100)]
)
def test_outcomes_are_sorted_whatever_way_is_fastest(modes, most, rows):
    """A place for each number, numbers sorted, rows sorted: those of the most photons first."""
    states = np.random.default_rng(0).integers(0, most + 1, (rows, modes))
    found, which = _distinct(states)
    assert (found[which] == states).all()
    keys = [(-sum(state), *(-photons for photons in state)) for state in found.tolist()]
    assert keys == sorted(set(keys))
