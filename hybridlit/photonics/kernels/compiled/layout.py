"""How a plan and the memory of one batch tile are laid out for the compiled kernels.

A plan is int64 numbers: a few scalars, then arrays of length photons + 1.  The memory of a
tile holds phase factors (depth, modes, row), layer inputs (depth, columns, modes, row),
final columns (columns, modes, row) and photon layers (all states of 0, 1, ... photons,
row), in this order; a row is a complex number of every sample of the tile.
"""

from __future__ import annotations

# Fields of a plan: these scalars, then arrays of length photons + 1.
MODES, PHOTONS, COLUMNS, UNBUNCHED, STATES, LINK_BITS, ARRAYS = range(7)
OCCUPIED, COLUMN_OF, LAYER_STATES, LAYER_START, PARENTS, CHILDREN = range(6)
PLAN_ARRAYS = 6

#: States handled together in the last layer; their rows stay in the first-level cache.
CHUNK = 128
#: States whose gradients are taken together; what they add to that of a column is added up in their
#: order, so that any number of threads gives the same sum. Even, since states go in pairs.
BLOCK = 1024
#: Bits of a link between states: it is `rank << LINK_BITS | mode`, and positive.
LINK = 31

#: Radians that data phases must stay below: float32 holds them to 1e-6. Exact in every precision.
PHASE_BOUND = 25.0

_WIDEST = 16  # lanes of a vector in float32, which pads rows most


def mesh_scratch(angles: int, modes: int) -> int:
    """Return how many numbers the kernels of interferometers alone need as scratch memory."""
    pitch = -(-modes // _WIDEST) * _WIDEST
    return 2 * (angles + _WIDEST) + 2 * modes * 2 * pitch


# A table of light: what to do, one step a row of these int64 numbers.
STEP, TARGET, SOURCE, NUMBER, COLUMN, WEIGHT, POWER, ADDS, GRADIENT_ADDS = range(9)
STEP_FIELDS = 9
#: `STEP` is one of these. `TARGET` and `SOURCE` are places in the memory of a tile, in vectors of
#: lanes; each state of a real one takes one vector, of a complex one two. `NUMBER` is that of
#: photons of the target; `WEIGHT` an index, or -1 for 1; `POWER` that of t! of each state t.
#: `ADDS` says whether the target holds something already, `GRADIENT_ADDS` whether the gradient of
#: the source does when the steps are read backwards.
PHOTON = 0  # amplitudes of one photon more, alike: A'[t] = sum of u_j A[t - e_j]
SQUARE = 1  # probabilities of amplitudes: factor t! |A[t]|^2
ADD = 2  # weight t!^power Q[t]
HIT = 3  # one photon more, unlike the others: weight sum of |u_j|^2 Q[t - e_j]
LOSE = 4  # one photon less: factor sum of Q[t + e_j], for Q that have been multiplied by t!
READ = 5  # probabilities that are given
WRITE = 6  # those of the light, to column `TARGET` on

# A team of threads that share tasks: these int64 numbers, then the arguments of the entry point,
# then `CUT_FIELDS` numbers for each argument that tasks and workers change: which one, what each
# task and each worker adds, and what it is at the most. Behind them is memory for arguments of each
# worker, on cache lines of its own.
WORKERS_SEEN, TASKS_TAKEN, FOUND, FAILED, TASKS, ENTRY, ARGUMENTS, CUTS, ARGUMENTS_FROM = range(9)
CUT_FIELDS = 4
TEAM_GAP = 8
