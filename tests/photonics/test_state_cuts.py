"""Threads that share the states of a tile."""

import pytest
import torch

from hybridlit.photonics.kernels import compiled
from hybridlit.photonics.kernels.compiled import calls, state_cuts


@pytest.mark.parametrize("recompute", [True, False], ids=["recomputed", "kept"])
@pytest.mark.parametrize(
    "modes, inputs, unbunched, batch",
    [
        (12, (0, 0, 3, 3, 3, 7), False, 3),
        (16, (0, 2, 5, 6, 7, 8, 12), True, 20),
        (70, (1, 1, 44), False, 5),
    ],
    ids=["fock, photons that share columns", "unbunched, several tiles", "meshes by cells"],
)
def test_any_number_of_threads_gives_the_same(
    monkeypatch, modes, inputs, unbunched, batch, recompute
):
    """To the last digit, kept mass included."""
    monkeypatch.setattr(state_cuts, "STATE_WORK", 1)
    phases = torch.rand(3, modes * (modes - 1) // 2, 2, dtype=torch.float64)
    data = torch.rand(2, modes, batch, dtype=torch.float64)
    before, found, ways = torch.get_num_threads(), [], []
    decide = calls.cuts_states
    monkeypatch.setattr(
        calls, "cuts_states", lambda *given: ways.append(decide(*given)) or ways[-1]
    )
    try:
        for threads in (1, 4):
            torch.set_num_threads(threads)
            result, saved = compiled.probabilities_forward(
                phases, data, inputs, unbunched, recompute
            )
            grad = torch.linspace(-1, 1, result.numel(), dtype=torch.float64).view_as(result)
            mass = torch.ones(batch, dtype=torch.float64) if unbunched else None
            given = phases, data, inputs, unbunched, saved, grad, mass
            found.append([result, saved[0], *compiled.probabilities_backward(*given)])
    finally:
        torch.set_num_threads(before)
    assert ways == [True, True]
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


def test_states_are_cut_where_threads_would_wait_for_tiles():
    def cuts(modes, photons, batch, threads):
        plan = calls.plan_for(modes, tuple(range(photons)), True)
        layer = calls.layer_of(plan, 2, 4)
        return state_cuts.cuts_states(layer, layer.tiles(batch), threads)

    assert cuts(16, 8, 16, 2)
    assert cuts(16, 8, 48, 2)  # three tiles
    assert not cuts(16, 8, 32, 2)
    assert cuts(16, 8, 32, 3)
    assert not cuts(10, 5, 16, 2)  # too little work


def test_a_phase_that_is_not_finite_is_told(monkeypatch):
    monkeypatch.setattr(state_cuts, "STATE_WORK", 1)
    before = torch.get_num_threads()
    phases = torch.rand(2, 120, 2)
    data = torch.rand(1, 16, 3)
    data[0, 5, 1] = float("nan")
    try:
        torch.set_num_threads(2)
        found, _ = compiled.probabilities_forward(phases, data, tuple(range(8)), True)
        assert found is None
        phases[0, 0, 0], data[0, 5, 1] = float("inf"), 0
        found, _ = compiled.probabilities_forward(phases, data, tuple(range(8)), True)
        assert found is None
    finally:
        torch.set_num_threads(before)
