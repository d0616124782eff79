"""How much memory states of several terms take, and the refusal of what cannot fit.

Factors were found by what processes take in a forward and backward pass.
"""

from __future__ import annotations

import torch

from hybridlit.photonics.fock import FockSpace
from hybridlit.photonics.machine import available_memory
from hybridlit.words import in_bytes, in_digits

__all__ = ["MOST_NUMBERS", "few_terms", "require_state_memory", "state_bytes"]

MOST_NUMBERS = 2**23
"""Complex numbers of rows of a Fock matrix at a time: 64 MiB in complex64."""


def few_terms(terms: int, columns: int, space: FockSpace) -> bool:
    """Return whether to go term by term, and not through matrices of all states.

    Args:
        terms: Number of terms of the input state.
        columns: Columns of data phases.
        space: All states of as many photons.
    """
    return 3 * terms * space.photons <= columns * space.size  # products of matrices are faster


def state_bytes(
    space: FockSpace, samples: int, dtype: torch.dtype, *, terms: int, columns: int
) -> int:
    """Return the memory of a first forward and backward pass at its peak, or up to half more.

    Args:
        space: The outcomes.
        samples: Rows of features of all circuits; without data the states.
        dtype: Real dtype.
        terms: Terms of the input state.
        columns: Columns of data phases; 0 for a circuit without data.

    Returns:
        Bytes above what was in use before.
    """
    number = 2 * torch.finfo(dtype).bits // 8
    between = FockSpace(space.modes, space.photons)
    outcomes = samples * space.size
    if columns and few_terms(terms, columns, between):
        rows = min(terms * outcomes, max(MOST_NUMBERS, outcomes))
        return number * (16 * rows // 5 + 5 * outcomes)
    states = samples * between.size
    whole = (between.size if columns else terms) * space.size
    # Whole matrices are kept for the gradient of states, parts of larger ones are made again.
    kept = 5 + 3 * columns if whole <= MOST_NUMBERS else 11
    rows = min(whole, MOST_NUMBERS)
    return number * (kept * rows // 2 + 6 * outcomes + 4 * columns * states)


def require_state_memory(
    space: FockSpace, samples: int, dtype: torch.dtype, *, terms: int, columns: int
) -> None:
    """Refuse states that cannot fit into the memory of this machine.

    Args:
        space: As for `state_bytes`, and so are the others.
        samples: As there.
        dtype: As there.
        terms: As there.
        columns: As there.

    Raises:
        MemoryError: With the estimate and what would fit.
    """
    free = available_memory()

    def left(batch: int) -> int:
        return free - state_bytes(space, batch, dtype, terms=terms, columns=columns)

    if left(samples) >= 0:
        return
    fitting = samples
    while fitting and left(fitting) < 0:
        fitting //= 2
    advice = f"a batch of {fitting}" if fitting else "fewer photons or modes"
    raise MemoryError(
        f"{space.modes} modes and {space.photons} photons have {in_digits(space.size)} states: a "
        f"batch of {samples} superpositions needs about {in_bytes(free - left(samples))} of the "
        f"{in_bytes(free)} free; what would fit: {advice}"
    )
