"""A program of noisy light as a table of steps for the compiled kernel.

The table says what `mixture` does: each step makes the probabilities, or amplitudes, of the states
of one number of photons from others, at fixed places in the memory of a batch tile. Read backwards
it is the gradient.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from math import factorial, prod
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hybridlit.photonics.fock import ComputationSpace, FockSpace
from hybridlit.photonics.kernels.compiled import layout
from hybridlit.photonics.kernels.compiled.light import Table
from hybridlit.photonics.noise.program import Alike, Program

__all__ = ["table_for"]


class _Term(NamedTuple):
    """A summand: a step without its target."""

    step: int
    source: int
    column: int = 0
    weight: int = -1
    power: int = 0
    factor: float = 1.0


_Sums = dict[int, list[_Term]]
"""Probabilities of the states of k photons that are still to be summed, by k."""


@lru_cache(maxsize=64)
def table_for(program: Program, given: bool = False) -> Table:
    """Return the steps of a program.

    Args:
        program: What to do.
        given: Whether to begin with the probabilities of all photons behind the circuit, for
            photons that are ideal before some are lost.

    Returns:
        The table, the same one for the same arguments.
    """
    return _Builder(program).table(given)


class _Builder:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.columns = {mode: place for place, mode in enumerate(program.inputs)}
        self.rows: list[list[int]] = []
        self.factors: list[float] = []
        self.places = 2  # the amplitude of no photons is the first
        self.photons = 1
        self.written = 0

    def table(self, given: bool) -> Table:
        program = self.program
        count = len(program.photons)
        if given:
            found: _Sums = {count: [_Term(layout.READ, 0)]}
        else:
            found = self._merged(self._squares())
        found = self._behind(found, len(program.options))
        self._write(found)
        which = self._live()
        steps = np.array(self.rows, dtype=np.int64)[which]
        _set_flags(steps)
        unbunched = program.space is ComputationSpace.UNBUNCHED
        return Table(
            steps, np.array(self.factors)[which], self.places, program.modes, self.photons,
            unbunched, 0 if given else len(program.inputs), program.weights,
            self._states(count) if given else 0, program.light.size,
            self.written < program.light.size, self._work(steps),
        )  # fmt: skip

    # --- the parts of `mixture` -------------------------------------------------------------------

    def _squares(self) -> dict[Alike, _Sums]:
        """F_0 of all multisets."""
        amplitudes: dict[Alike, int] = {(): 0}
        for alike in self.program.amplitudes[1:]:
            column = self.columns[alike[-1]]
            term = _Term(layout.PHOTON, amplitudes[alike[:-1]], column)
            amplitudes[alike] = self._place([term], len(alike), vectors=2)
        found: dict[Alike, _Sums] = {}
        for alike in self.program.squares:
            found[alike] = {}  # as it stays where more are alike than unbunched modes
            if alike in amplitudes:
                share = 1 / prod(factorial(same) for same in Counter(alike).values())
                term = _Term(layout.SQUARE, amplitudes[alike], factor=share)
                found[alike] = {len(alike): [self._held([term], len(alike))]}
        return found

    def _merged(self, found: dict[Alike, _Sums]) -> _Sums:
        """Horner's rule over the photons."""
        for merges in self.program.merges:
            merged: dict[Alike, _Sums] = {}
            for merge in merges:
                total: _Sums = {}
                for power in (2, 1, 0):
                    total = self._classical(total, merge.photon)
                    for index, own, alike in merge.parts:
                        if own == power:
                            for number, terms in found[alike].items():
                                total.setdefault(number, []).append(terms[0]._replace(weight=index))
                merged[merge.result] = self._all_held(total)
            found = merged
        return found[()]

    def _behind(self, found: _Sums, weight: int) -> _Sums:
        """What `light_behind` does."""
        program = self.program
        photons = len(program.photons)
        if program.lost:
            found = self._all_held(found)
            whole = found[photons][0]
            chain = self._place([whole._replace(power=1)], photons)
            found = {photons: [whole._replace(weight=weight + photons)]}
            for number in range(photons - 1, -1, -1):
                lost = _Term(layout.LOSE, chain, factor=1 / (number + 1))
                chain = self._place([lost], number)
                found[number] = [_Term(layout.ADD, chain, weight=weight + number, power=-1)]
            weight += photons + 1
        for mode in program.photons if program.second else ():
            found = self._all_held(found)
            total: _Sums = {n: [terms[0]._replace(weight=weight)] for n, terms in found.items()}
            for number, terms in self._classical(found, mode, weight + 1).items():
                total.setdefault(number, []).extend(terms)
            found = total
        return found

    def _classical(self, found: _Sums, photon: int, weight: int = -1) -> _Sums:
        """One photon more, unlike the others."""
        full = self.program.modes if self.program.space is ComputationSpace.UNBUNCHED else None
        more: _Sums = {}
        for number, terms in found.items():
            if number == full:
                continue
            held = terms[0]
            if len(terms) > 1 or held.step != layout.ADD or held.power:
                held = self._held(terms, number)
            of = held.weight if weight < 0 else weight
            more[number + 1] = [_Term(layout.HIT, held.source, self.columns[photon], of)]
        return more

    def _write(self, found: _Sums) -> None:
        column = 0
        for space in self.program.light.spaces:
            if space.photons in found:
                source = self._held(found[space.photons], space.photons).source
                self._emit(column, space.photons, _Term(layout.WRITE, source))
                self.written += space.size
            column += space.size

    # --- memory -----------------------------------------------------------------------------------

    def _held(self, terms: list[_Term], number: int) -> _Term:
        """The sum of terms as a term without a weight."""
        first = terms[0]
        if len(terms) == 1 and first == _Term(layout.ADD, first.source):
            return first
        return _Term(layout.ADD, self._place(terms, number))

    def _all_held(self, found: _Sums) -> _Sums:
        return {number: [self._held(terms, number)] for number, terms in found.items()}

    def _place(self, terms: list[_Term], number: int, vectors: int = 1) -> int:
        """Sum terms at a new place."""
        place, self.places = self.places, self.places + vectors * self._states(number)
        for term in terms:
            self._emit(place, number, term)
        return place

    def _emit(self, target: int, number: int, term: _Term) -> None:
        self.photons = max(self.photons, number)
        step, source, column, weight, power, factor = term
        self.rows.append([step, target, source, number, column, weight, power, 0, 0])
        self.factors.append(factor)

    def _live(self) -> list[int]:
        """The steps that something is written of."""
        kept, wanted = [], set[int]()
        for index in reversed(range(len(self.rows))):
            row = self.rows[index]
            if row[layout.STEP] == layout.WRITE or row[layout.TARGET] in wanted:
                kept.append(index)
                wanted.add(row[layout.SOURCE])
        return kept[::-1]

    def _states(self, number: int) -> int:
        return FockSpace(self.program.modes, number, self.program.space).size

    def _work(self, steps: npt.NDArray[np.int64]) -> int:
        unit = {layout.PHOTON: 4, layout.HIT: 1, layout.LOSE: 1}
        total = 0
        for step, _, _, number, *_ in steps.tolist():
            below = number if step == layout.LOSE else number - 1
            links = self.program.modes * self._states(below) if step in unit else 0
            total += unit.get(step, 0) * links + self._states(number)
        return total


def _set_flags(steps: npt.NDArray[np.int64]) -> None:
    """Say of each step whether it is the first to write its target, and its source's gradient."""
    written, reached = set[int](), set[int]()
    for step in steps:
        step[layout.ADDS] = int(step[layout.TARGET]) in written
        if step[layout.STEP] != layout.WRITE:
            written.add(int(step[layout.TARGET]))
    for step in steps[::-1]:
        step[layout.GRADIENT_ADDS] = int(step[layout.SOURCE]) in reached
        if step[layout.STEP] != layout.READ:
            reached.add(int(step[layout.SOURCE]))
