"""Brute force, written from the definitions and sharing nothing with the package."""

import itertools
import math

import numpy as np


def permanent(matrix):
    size = len(matrix)
    return sum(
        math.prod(matrix[row][order[row]] for row in range(size))
        for order in itertools.permutations(range(size))
    )


def all_states(modes, photons, unbunched=False):
    largest = 1 if unbunched else photons
    candidates = itertools.product(range(largest, -1, -1), repeat=modes)
    return [state for state in candidates if sum(state) == photons]


def modes_of(state):
    return [mode for mode, photons in enumerate(state) for _ in range(photons)]


def amplitude(unitary, state_in, state_out):
    sub = np.asarray(unitary)[np.ix_(modes_of(state_out), modes_of(state_in))]
    norm = math.prod(math.factorial(k) for k in (*state_in, *state_out))
    return permanent(sub) / math.sqrt(norm)


def all_amplitudes(unitary, state_in, unbunched=False):
    states = all_states(len(state_in), sum(state_in), unbunched)
    return np.array([amplitude(unitary, state_in, state) for state in states])


def haar(modes, generator, count=None):
    shape = (modes, modes) if count is None else (count, modes, modes)
    ginibre = generator.normal(size=shape) + 1j * generator.normal(size=shape)
    q, r = np.linalg.qr(ginibre)
    diagonal = np.diagonal(r, axis1=-2, axis2=-1)
    return q * (diagonal / np.abs(diagonal))[..., None, :]


def fourier(modes):
    k = np.arange(modes)
    return np.exp(2j * np.pi * np.outer(k, k) / modes) / math.sqrt(modes)
