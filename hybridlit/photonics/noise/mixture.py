"""A program of noisy light carried out in torch operations, for any device and any derivative.

All tensors keep the batch last.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hybridlit.photonics.fock import FockSpace
from hybridlit.photonics.kernels.reference import transitions
from hybridlit.photonics.noise.program import Alike, Program

__all__ = ["light_behind", "mixture"]

_Found = dict[int, Tensor]
"""Probabilities (D_k, batch) of the states of k photons, by k; 0 where there is no entry."""


def mixture(columns: Tensor, weights: Tensor, program: Program) -> Tensor:
    """Return the probabilities of all states of the light.

    Args:
        columns: The columns of each unitary at `program.inputs`, shape (modes, inputs, batch),
            complex.
        weights: Those of the program, shape (program.weights,), real.
        program: What to do.

    Returns:
        Shape (batch, program.light.size).
    """
    own = {mode: columns[:, place] for place, mode in enumerate(program.inputs)}
    hits = {mode: u.real.square() + u.imag.square() for mode, u in own.items()}
    amplitudes: dict[Alike, Tensor] = {(): columns.new_ones(1, columns.shape[2])}
    for alike in program.amplitudes[1:]:
        before, photon = alike[:-1], alike[-1]
        amplitudes[alike] = _with_photon(amplitudes[before], own[photon], alike, program)
    found: dict[Alike, _Found] = {}
    for alike in program.squares:
        value = amplitudes.get(alike)  # None: more alike than unbunched modes
        squares = None if value is None else value.real.square() + value.imag.square()
        found[alike] = {} if squares is None else {len(alike): squares}
    of_options = weights[: len(program.options)].unbind() if len(program.options) else ()
    for merges in program.merges:
        merged: dict[Alike, _Found] = {}
        for merge in merges:
            powers: list[_Found] = [{}, {}, {}]
            for index, power, alike in merge.parts:
                _add(powers[power], found[alike], of_options[index])
            total: _Found = {}
            for part in reversed(powers):
                total = _classical(total, hits[merge.photon], program)
                _add(total, part)
            merged[merge.result] = total
        found = merged
    return light_behind(found[()], weights[len(program.options) :], program, hits)


def light_behind(
    found: _Found, weights: Tensor, program: Program, hits: dict[int, Tensor]
) -> Tensor:
    """Return the light that is left of photons behind a circuit.

    Args:
        found: Probabilities of the states by their number of photons.
        weights: Those behind the weights of options.
        program: What to do.
        hits: Squares of the columns of the unitaries by input mode, for second photons.

    Returns:
        Shape (batch, program.light.size).
    """
    photons = len(program.photons)
    if program.lost:
        left, weights = weights[: photons + 1].unbind(), weights[photons + 1 :]
        chain, thinned = found[photons], {photons: left[photons] * found[photons]}
        for number in range(photons - 1, -1, -1):
            chain = _one_less(chain, number, program)
            thinned[number] = left[number] * chain
        found = thinned
    if program.second:
        without, with_second = weights.unbind()
        for mode in program.photons:
            doubled = _classical(found, hits[mode], program)
            total: _Found = {}
            _add(total, found, without)
            _add(total, doubled, with_second)
            found = total
    like = next(iter(found.values()))
    parts = [
        found[space.photons]
        if space.photons in found
        else like.new_zeros(space.size, like.shape[1])
        for space in program.light.spaces
    ]
    return torch.cat(parts).T


def _with_photon(state: Tensor, column: Tensor, alike: Alike, program: Program) -> Tensor:
    """One photon more, alike the others, in a normalised state."""
    target, weight = transitions(
        program.modes, len(alike) - 1, program.space, state.real.dtype, state.device
    )
    share = alike.count(alike[-1]) ** 0.5
    terms = (column[:, None] / share * state) * weight
    size = FockSpace(program.modes, len(alike), program.space).size
    zeros = state.new_zeros(size, state.shape[1])
    return zeros.index_add(0, target.flatten(), terms.flatten(0, 1))


def _classical(found: _Found, hits: Tensor, program: Program) -> _Found:
    """One photon more, unlike the others."""
    more: _Found = {}
    for number, state in found.items():
        if program.space.value == "unbunched" and number == program.modes:
            continue
        target, weight = transitions(
            program.modes, number, program.space, state.dtype, state.device
        )
        terms = hits[:, None] * state
        if program.space.value == "unbunched":
            terms = terms * (weight > 0)
        size = FockSpace(program.modes, number + 1, program.space).size
        zeros = terms.new_zeros(size, state.shape[1])
        more[number + 1] = zeros.index_add(0, target.flatten(), terms.flatten(0, 1))
    return more


def _one_less(state: Tensor, left: int, program: Program) -> Tensor:
    """One photon of `left` + 1 taken out at random."""
    target, weight = transitions(program.modes, left, program.space, state.dtype, state.device)
    return (state[target] * weight.square()).sum(0) / (left + 1)


def _add(total: _Found, part: _Found, weight: Tensor | None = None) -> None:
    for number, state in part.items():
        term = state if weight is None else weight * state
        total[number] = total[number] + term if number in total else term
