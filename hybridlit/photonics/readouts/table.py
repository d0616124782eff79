"""The table of mapping strategies: the one place that lists them."""

from __future__ import annotations

from hybridlit.photonics.readouts import expectations, grouping, linear
from hybridlit.photonics.readouts.row import Readout
from hybridlit.photonics.vocabulary import Vocabulary

__all__ = ["OutputMappingStrategy"]


class OutputMappingStrategy(Vocabulary):
    """How photon statistics become outputs.

    LINEAR, GROUPING (the same as LEXGROUPING), MODGROUPING and NONE read the probabilities of all
    outcomes; MODE_EXPECTATIONS and PAIR_CORRELATIONS need none of them and stay cheap at any size.

    Example:
        >>> OutputMappingStrategy("mode_expectations").readout.words
        'mean photon numbers'
    """

    row: Readout

    LINEAR = "linear", linear.LINEAR
    GROUPING = "grouping", grouping.GROUPING
    LEXGROUPING = "lexgrouping", grouping.LEXGROUPING
    MODGROUPING = "modgrouping", grouping.MODGROUPING
    NONE = "none", linear.NONE
    MODE_EXPECTATIONS = "mode_expectations", expectations.MODE_EXPECTATIONS
    PAIR_CORRELATIONS = "pair_correlations", expectations.PAIR_CORRELATIONS

    @property
    def readout(self) -> Readout:
        """All that depends on the strategy."""
        return self.row
