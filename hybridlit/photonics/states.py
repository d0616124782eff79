"""Input states: which modes the photons enter."""

from __future__ import annotations

from collections.abc import Callable

from hybridlit.photonics.vocabulary import Vocabulary

__all__ = ["StatePattern"]


def _every_second(modes: int, photons: int) -> list[int]:
    return [*range(0, modes, 2), *range(1, modes, 2)][:photons]


def _spread(modes: int, photons: int) -> list[int]:
    return [modes // 2] if photons == 1 else [i * modes // photons for i in range(photons)]


def _first(modes: int, photons: int) -> list[int]:
    return list(range(photons))


class StatePattern(Vocabulary):
    """Which modes hold the input photons; more photons than modes fill all modes evenly first.

    PERIODIC (also DEFAULT) fills every second mode, then the empty ones from the left; SPACED
    spreads the photons evenly; SEQUENTIAL fills the first modes.

    Attributes:
        row: From numbers of modes and of photons, fewer than these, to the modes that hold one.

    Example:
        >>> StatePattern("periodic").occupation(5, 2), StatePattern("sequential").occupation(5, 2)
        ((1, 0, 1, 0, 0), (1, 1, 0, 0, 0))
    """

    row: Callable[[int, int], list[int]]

    DEFAULT = "default", _every_second
    PERIODIC = "periodic", _every_second
    SPACED = "spaced", _spread
    SEQUENTIAL = "sequential", _first

    def occupation(self, modes: int, photons: int) -> tuple[int, ...]:
        """Return the photons in each mode.

        Args:
            modes: Number of modes.
            photons: Number of photons, in all of them.

        Returns:
            One number a mode.
        """
        full_rounds, rest = divmod(photons, modes)
        chosen = self.row(modes, rest)
        return tuple(full_rounds + (mode in chosen) for mode in range(modes))
