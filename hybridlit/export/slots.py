"""The amplitude recursion read backwards: from which states each state is reached."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hybridlit.photonics.fock import FockSpace, raising_table

__all__ = ["slots", "slots_bytes"]

_WORD = 4 + 4  # indices in int32


def slots(
    space: FockSpace, order: Sequence[int], photon: int, interfere: bool
) -> dict[str, Tensor]:
    r"""Return the tables with which a photon joins those before it.

    The amplitude of a state t is a sum over its occupied modes j,
    :math:`\sqrt{t_j / c}\; u_j\, A[t - e_j]`, with c photons so far in the new one's input mode
    (`photonics/kernels/reference.py`). Each state has as many terms as a state can have occupied
    modes; those that it lacks have weight 0. `photon`, at least 1, is the position of the new one
    in `order`, the input of each photon. Without interference every weight is 1.

    Returns:
        `before`, the state that each term comes from, `mode`, where the photon joins it, both int32
        of shape (states * terms,), and `weight`, float64 of shape (states * terms, 1, 1).
    """
    lower = FockSpace(space.modes, photon, space.space)
    target = raising_table(space.modes, photon, space.space)
    mode, before = np.nonzero(target >= 0)
    reached = target[mode, before]
    by_state = np.argsort(reached, kind="stable")
    mode, before, reached = mode[by_state], before[by_state], reached[by_state]
    states = FockSpace(space.modes, photon + 1, space.space).size
    term = np.arange(len(reached)) - np.searchsorted(reached, np.arange(states))[reached]
    shape = states, min(photon + 1, space.modes)
    weight = np.ones(len(reached))
    if interfere:
        share = list(order[: photon + 1]).count(order[photon])
        weight = np.sqrt((lower.states[before, mode] + 1) / share)
    found = {}
    for name, values in {"before": before, "mode": mode, "weight": weight}.items():
        table = np.zeros(shape, dtype=np.float64 if name == "weight" else np.int32)
        table[reached, term] = values
        found[name] = torch.tensor(table.reshape(-1))
    found["weight"] = found["weight"][:, None, None]
    return found


def slots_bytes(space: FockSpace, item: int) -> int:
    """Return the memory of the tables of all photons, with `item` bytes a weight."""
    terms = 0
    for photons in range(2, space.photons + 1):
        ways = min(photons, space.modes)
        terms += FockSpace(space.modes, photons, space.space).size * ways
    return terms * (_WORD + item)
