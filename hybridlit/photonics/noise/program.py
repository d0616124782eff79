r"""How the probabilities of a noisy source's light follow from the columns of a unitary: the plan.

A source that is asked for photon p gives c photons that are like all others of their kind, and b
that are like no other, with a weight w(c, b) each. Photons alike, of the columns in a multiset S,
leave with probabilities :math:`F_0[S] = |A_S|^2`, the squares of amplitudes; a photon unlike the
others adds itself to any distribution as a classical particle does,
:math:`(C_p Q)[t + e_j] \mathrel{+}= |u_{jp}|^2 Q[t]`. The mixture over all that sources can give
is merged photon by photon, as Horner's rule does for a polynomial:

.. math:: F_{p+1}[S] = \sum_{c, b} w(c, b)\, C_p^b\, F_p[S + c\, p]

for multisets S of the photons behind p, until :math:`F_n[\emptyset]` is the answer. For ideal light
that is the square of one amplitude, for photons all unlike a chain of :math:`C_p`; between, it
needs amplitudes of :math:`2^n` subsets, of which each is one step from another.

Photons are lost at the source where that is what its weights say, or else all alike behind
everything: one photon is taken out of k at random by

.. math:: (R Q)[t] = \frac{1}{k} \sum_j (t_j + 1)\, Q[t + e_j]

and n photons are down to k with the weight :math:`\binom{n}{k} \eta^k (1 - \eta)^{n - k}`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import zip_longest
from typing import Literal

from hybridlit.photonics.fock import ComputationSpace, FockSpace
from hybridlit.photonics.machine import available_memory
from hybridlit.photonics.noise.light import Light
from hybridlit.photonics.noise.model import Noise
from hybridlit.words import in_bytes, in_digits

__all__ = ["Merge", "Program", "program_for"]

_MOST_SETS = 2**18
"""Multisets beyond which a plan alone takes minutes and gigabytes."""

Alikeness = Literal["all", "some", "none"]
Alike = tuple[int, ...]
"""Photons that are alike, by their input modes in ascending order."""


@dataclass(frozen=True)
class Merge:
    """One sum of Horner's rule.

    Attributes:
        photon: Input mode p of the photon that is merged.
        result: The S of what is made.
        parts: (index of w(c, b), b, S + c p) of each part of the sum.
    """

    photon: int
    result: Alike
    parts: tuple[tuple[int, int, Alike], ...]


@dataclass(frozen=True)
class Program:
    """What to do for one input of one noisy source; weights follow from its values.

    Attributes:
        modes: Number of modes.
        photons: Input mode of each photon, ascending.
        space: States that are followed.
        options: The (c, b) that a source can give, in the order of their weights.
        amplitudes: Each multiset whose amplitudes are needed, behind the one without its last
            photon; the first is empty.
        squares: Those whose squares are needed, S of F_0.
        merges: For each photon its sums, in order.
        alike: Which photons that are asked for are alike.
        apart: Whether second photons are like no other.
        at_source: Whether weights of options know of loss and of second photons.
        lost: Whether photons are taken out behind everything; weights of 0 to n photons left.
        second: Whether each source adds a photon unlike the others behind that, with a weight of
            its own.
        light: The states whose probabilities come out.
    """

    modes: int
    photons: tuple[int, ...]
    space: ComputationSpace
    options: tuple[tuple[int, int], ...]
    amplitudes: tuple[Alike, ...]
    squares: tuple[Alike, ...]
    merges: tuple[tuple[Merge, ...], ...]
    alike: Alikeness
    apart: bool
    at_source: bool
    lost: bool
    second: bool
    light: Light

    @property
    def inputs(self) -> tuple[int, ...]:
        """The input modes whose columns of the unitary are wanted, ascending."""
        return tuple(sorted(set(self.photons)))

    @property
    def ideal_source(self) -> bool:
        """Whether the light is that of ideal photons, of which some may be lost behind."""
        return self.options == ((1, 0),) and not self.second

    @property
    def behind_photons(self) -> bool:
        """Whether light begins with the probabilities of all states of ideal photons."""
        return self.ideal_source and self.space is ComputationSpace.FOCK

    @property
    def weights(self) -> int:
        """How many weights there are: of options, of photons left, and of second photons."""
        left = len(self.photons) + 1 if self.lost else 0
        return len(self.options) + left + 2 * self.second


def program_for(
    noise: Noise | None,
    photons: tuple[int, ...],
    modes: int,
    space: ComputationSpace,
    interferes: bool = True,
) -> Program:
    """Return the plan for an input and a source.

    Args:
        noise: Whose numbers only matter where they are at an end of their range; None: none.
        photons: Input mode of each photon, any order.
        modes: Number of modes.
        space: States to follow, where the noise lets them be followed by themselves.
        interferes: Whether photons are alike at all.

    Returns:
        The plan, the same one for the same arguments.

    Raises:
        MemoryError: If it would need more than this machine has.
    """
    noise = noise or Noise()
    learned = noise.trainable
    some = (0 < noise.indistinguishability < 1) or "indistinguishability" in learned
    alike: Alikeness = "some" if some else "all"
    if not (interferes and noise.indistinguishability):
        alike = "none"
    lossy = noise.brightness < 1 or (noise.by_mode is None and noise.transmittance != 1)
    doubled = noise.g2 > 0
    apart = noise.g2_distinguishable or not interferes
    # Whether an emission is missing tells of its second photon too, so that they are lost together.
    at_source = doubled and (noise.brightness < 1 or not apart)
    if (lossy and not at_source) or noise.by_mode is not None:
        space = ComputationSpace.FOCK  # of two photons in a mode one may be lost
    options = _options(alike, at_source, lossy, apart)
    second = doubled and not at_source
    least = 0 if lossy else len(photons)
    most = len(photons) * (2 if doubled else 1)
    lost = lossy and not at_source
    photons = tuple(sorted(photons))
    _require_memory(modes, photons, space, options)
    return _program(
        modes, photons, space, options,
        (alike, apart, at_source, lost, second), (most, least),
    )  # fmt: skip


def _options(
    alike: Alikeness, at_source: bool, lossy: bool, apart: bool
) -> tuple[tuple[int, int], ...]:
    """The (c, b) that a source can give."""
    signals = {"all": [(1, 0)], "some": [(1, 0), (0, 1)], "none": [(0, 1)]}[alike]
    if not at_source:
        return tuple(signals)
    if lossy:
        signals = [*signals, (0, 0)]
    extra = (0, 1) if apart else (1, 0)
    found = dict.fromkeys(signals)
    found.update(dict.fromkeys((c + extra[0], b + extra[1]) for c, b in signals))
    return tuple(found)


@lru_cache(maxsize=64)
def _require_memory(
    modes: int,
    photons: tuple[int, ...],
    space: ComputationSpace,
    options: tuple[tuple[int, int], ...],
) -> None:
    """Refuse a source of which so many multisets of photons are alike that nothing can hold them.

    Of each multiset amplitudes, their squares and the gradients of both are held.
    """
    counts, numbers = _multisets(photons, [c for c, _ in options]), 0
    for number, sets in enumerate(counts):
        if space is ComputationSpace.FOCK or number <= modes:
            numbers += sets * FockSpace(modes, number, space).size
    sets, needed, free = sum(counts), 6 * 64 * numbers, available_memory()
    if len(options) == 1:
        return  # one multiset and those that begin it: what ideal light needs as well
    if needed > free or sets > _MOST_SETS:
        raise MemoryError(
            f"{len(photons)} photons that are partly alike in {modes} modes are computed from "
            f"{in_digits(sets)} multisets of them, which take {in_bytes(needed)} of the "
            f"{in_bytes(free)} free, and at most {in_digits(_MOST_SETS)} are followed; use fewer "
            "photons, an indistinguishability of 1 or 0, or no g2 together with brightness"
        )


def _multisets(photons: tuple[int, ...], given: list[int]) -> list[int]:
    """How many multisets of each size have amplitudes, if each photon gives one of such numbers."""
    least, most = min(given), max(given)
    whole, found = [1], [1]  # of the modes so far, all their photons given; and of all prefixes
    for mode in sorted(set(photons)):
        number = photons.count(mode)
        ends = range(least * number, most * number + 1)
        begun = _product(whole, [int(n > 0) for n in range(ends.stop)])
        found = [sum(both) for both in zip_longest(found, begun, fillvalue=0)]
        whole = _product(whole, [int(n in ends) for n in range(ends.stop)])
    return found


def _product(first: list[int], second: list[int]) -> list[int]:
    """Multiply two polynomials."""
    result = [0] * (len(first) + len(second) - 1)
    for i, a in enumerate(first):
        for j, b in enumerate(second):
            result[i + j] += a * b
    return result


@lru_cache(maxsize=64)
def _program(
    modes: int,
    photons: tuple[int, ...],
    space: ComputationSpace,
    options: tuple[tuple[int, int], ...],
    how: tuple[Alikeness, bool, bool, bool, bool],
    numbers: tuple[int, int],
) -> Program:
    wanted: list[Alike] = [()]
    merges: list[tuple[Merge, ...]] = []
    for photon in reversed(photons):
        sums, needed = [], dict[Alike, None]()
        for result in wanted:
            parts = []
            for index, (c, b) in enumerate(options):
                alike = tuple(sorted(result + (photon,) * c))
                needed[alike] = None
                parts.append((index, b, alike))
            sums.append(Merge(photon, result, tuple(parts)))
        merges.insert(0, tuple(sums))
        wanted = list(needed)
    squares = tuple(sorted(wanted, key=lambda alike: (len(alike), alike)))
    prefixes = {alike[:count] for alike in squares for count in range(len(alike) + 1)}
    if space is ComputationSpace.UNBUNCHED:
        prefixes = {alike for alike in prefixes if len(alike) <= modes}
    amplitudes = tuple(sorted(prefixes, key=lambda alike: (len(alike), alike)))
    return Program(
        modes, photons, space, options, amplitudes, squares, tuple(merges), *how,
        Light(modes, *numbers, space),
    )  # fmt: skip
