import copy
import math
import pickle

import numpy as np
import pytest
from permanents import all_states

from hybridlit.photonics import FockSpace
from hybridlit.photonics.fock import raising_table

SPACES = [
    (m, n, space)
    for m in range(1, 6)
    for n in range(5)
    for space in ("fock", "unbunched")
    if space == "fock" or n <= m
]


@pytest.mark.parametrize("modes,photons,space", SPACES)
def test_states_are_all_states_in_descending_lexicographic_order(modes, photons, space):
    basis = FockSpace(modes, photons, space)
    expected = all_states(modes, photons, space == "unbunched")
    assert list(basis) == expected == sorted(expected, reverse=True)
    assert basis.size == len(basis) == len(expected)
    assert basis.states.shape == (len(expected), modes)


@pytest.mark.parametrize("modes,photons,space", SPACES)
def test_rank_inverts_states(modes, photons, space):
    basis = FockSpace(modes, photons, space)
    assert basis.rank(basis.states).tolist() == list(range(basis.size))
    assert [basis.index(state) for state in basis] == list(range(basis.size))


@pytest.mark.parametrize("modes,photons,space", SPACES)
def test_raising_table_adds_one_photon(modes, photons, space):
    if space == "unbunched" and photons == modes:
        pytest.skip("no room for another photon")
    lower, upper = FockSpace(modes, photons, space), FockSpace(modes, photons + 1, space)
    table = raising_table(modes, photons, lower.space)
    for mode in range(modes):
        for position, state in enumerate(lower):
            raised = tuple(k + (i == mode) for i, k in enumerate(state))
            assert table[mode, position] == (upper.index(raised) if raised in upper else -1)


def test_a_space_is_a_sequence_of_tuples():
    basis = FockSpace(3, 2)
    states = list(basis)
    for part in (slice(0, 2), slice(None, None, -1), slice(4, 99), slice(3, 1)):
        assert basis[part] == states[part]
    assert basis[-1] == basis[np.int64(5)] == (0, 0, 2)
    assert all(type(number) is int for number in basis[0])
    with pytest.raises(IndexError):
        basis[6]
    with pytest.raises(TypeError):
        basis[1.0]


def test_occupations_beyond_16_bits():
    basis = FockSpace(2, 40_000)
    assert basis[0] == (40_000, 0) and basis[-1] == (0, 40_000)
    assert basis.states.sum(axis=1, dtype=int).tolist() == [40_000] * 40_001


def test_large_spaces_need_no_loop_over_states():
    basis = FockSpace(20, 10, "unbunched")
    some = np.random.default_rng(0).integers(basis.size, size=100)
    assert basis.size == math.comb(20, 10)
    assert (basis.rank(basis.states[some]) == some).all()


def test_states_are_read_only_and_stay_out_of_pickles():
    basis = FockSpace(10, 5)
    with pytest.raises(ValueError, match="read-only"):
        basis.states[0, 0] = 3
    assert len(pickle.dumps(basis)) < 500
    assert copy.deepcopy(basis) == basis
    assert list(pickle.loads(pickle.dumps(basis))) == list(basis)


@pytest.mark.parametrize(
    "arguments,error,message",
    [
        ((0, 1), ValueError, "modes must be at least 1, got 0"),
        ((2, -1), ValueError, "photons must be at least 0, got -1"),
        ((True, 1), TypeError, "modes must be an integer, got bool True"),
        ((2, 1.0), TypeError, "photons must be an integer, got float 1.0"),
        ((2, 3, "unbunched"), ValueError, "photons must be at most modes=2"),
        ((2, 1, "dual_rail"), ValueError, "space must be one of 'fock', 'unbunched'"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        FockSpace(*arguments)


@pytest.mark.parametrize("state", [(1, 1), (2, 0, 0), (1, 0, -1), (1, 1, -1), (0, 0, 0)])
def test_index_refuses_other_states(state):
    with pytest.raises(ValueError, match="state must be one of"):
        FockSpace(3, 1).index(state)
    assert state not in FockSpace(3, 1)
