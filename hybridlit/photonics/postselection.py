"""Rules that say which outcomes are kept, in the syntax of Perceval's `PostSelect`.

A condition compares the photons in some modes, together, with a number: `[0,1]==1`. Conditions are
joined by one connective, `[0,1]==1 & [4]<2`, of which others go into parentheses. As in Perceval,
`!` reaches to the end of its parentheses: `![0]==1 & [1]==0` is `!([0]==1 & [1]==0)`.

A rule is parsed, never evaluated as code.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from hybridlit.words import meant

__all__ = ["COMPARISONS", "CONNECTIVES", "POSTSELECTIONS", "Rule", "parsed", "rule_text"]

_States: TypeAlias = npt.NDArray[Any]
_Kept: TypeAlias = npt.NDArray[np.bool_]

COMPARISONS: dict[str, np.ufunc] = {
    "==": np.equal,
    "!=": np.not_equal,
    "<=": np.less_equal,
    ">=": np.greater_equal,
    "<": np.less,
    ">": np.greater,
}
"""How photons are compared with a number."""

CONNECTIVES: dict[str, tuple[str, np.ufunc]] = {
    "&": ("and", np.logical_and),
    "|": ("or", np.logical_or),
    "^": ("xor", np.logical_xor),
}
"""What joins conditions: the word that may stand for it, and what it does."""

_MOST_NESTED = 100
_NOT = "!"
_WORDS = {word: sign for sign, (word, _) in CONNECTIVES.items()} | {"not": _NOT}
_SIGNS = {spelled: sign for word, sign in _WORDS.items() for spelled in (word, word.upper(), sign)}
_NUMBERS = r"\[\s*([0-9]+(?:\s*,\s*[0-9]+)*)\s*\]\s*({})\s*([0-9]{{1,9}})(?![0-9])".format(
    "|".join(COMPARISONS)
)
_TOKEN = re.compile(rf"\s*(?:{_NUMBERS}|([()]|{'|'.join(map(re.escape, _SIGNS))}))\s*")


class Rule:
    """Which outcomes to keep; `str` writes it without anything that has to be known."""

    modes: frozenset[int]

    def keeps(self, states: _States) -> _Kept:
        """Return which of some states, occupations of shape (states, modes), are kept."""
        raise NotImplementedError


@dataclass(frozen=True)
class _Condition(Rule):
    where: tuple[int, ...]
    comparison: str
    photons: int

    @property
    def modes(self) -> frozenset[int]:  # type: ignore[override]
        return frozenset(self.where)

    def keeps(self, states: _States) -> _Kept:
        counted = states[:, self.where].sum(1, dtype=np.int64)
        found: _Kept = COMPARISONS[self.comparison](counted, self.photons)
        return found

    def __str__(self) -> str:
        return f"[{','.join(map(str, self.where))}]{self.comparison}{self.photons}"


@dataclass(frozen=True)
class _Not(Rule):
    of: Rule

    @property
    def modes(self) -> frozenset[int]:  # type: ignore[override]
        return self.of.modes

    def keeps(self, states: _States) -> _Kept:
        return ~self.of.keeps(states)

    def __str__(self) -> str:
        return f"!({self.of})"


@dataclass(frozen=True)
class _Group(Rule):
    connective: str
    parts: tuple[Rule, ...]

    @property
    def modes(self) -> frozenset[int]:  # type: ignore[override]
        return frozenset().union(*(part.modes for part in self.parts))

    def keeps(self, states: _States) -> _Kept:
        join = CONNECTIVES[self.connective][1]
        kept = self.parts[0].keeps(states)
        for part in self.parts[1:]:
            kept = join(kept, part.keeps(states))
        return kept

    def __str__(self) -> str:
        parts = [f"{part}" if isinstance(part, _Condition) else f"({part})" for part in self.parts]
        return f" {self.connective} ".join(parts)


def parsed(text: str, printed: bool = False) -> Rule:
    """Read a rule.

    Args:
        text: Conditions `[modes]comparison photons` with one of `==`, `!=`, `<`, `<=`, `>`, `>=`,
            joined by `&`, `|` or `^` (`and`, `or`, `xor`, also in capitals), negated by `!` or
            `not`.
        printed: Whether Perceval has printed it. Then `!` reaches to the next condition or the next
            parentheses only, unlike where Perceval reads one.

    Returns:
        The rule.

    Raises:
        ValueError: If it is no rule, with the place where it ceases to be one.

    Example:
        >>> rule = parsed("[0,1] == 1 and [4]<2")
        >>> str(rule), sorted(rule.modes)
        ('[0,1]==1 & [4]<2', [0, 1, 4])
    """
    reader = _Reader(text, printed)
    found = reader.group(0)
    if reader.token is not None:
        raise reader.error("one of & | ^ between conditions, or the end")
    return found


class _Reader:
    """Reads a rule token by token, one ahead."""

    def __init__(self, text: str, printed: bool) -> None:
        self.text, self.printed, self.place, self.next = text, printed, 0, 0
        self.token: Rule | str | None = None
        self.step()

    def step(self) -> Rule | str | None:
        """Return the token that was ahead, and look at the one after it."""
        before, self.place = self.token, self.next
        if self.place == len(self.text):
            self.token = None
            return before
        match = _TOKEN.match(self.text, self.place)
        if match is None:
            raise self.error("a condition such as [0,1]==1, with a number below 10**9")
        self.next = match.end()
        modes, comparison, photons, sign = match.groups()
        self.token = _SIGNS.get(sign, sign)
        if modes is not None:
            where = tuple(sorted(map(int, modes.split(","))))
            if len(set(where)) < len(where):
                raise self.error("each mode once in its brackets")
            self.token = _Condition(where, comparison, int(photons))
        return before

    def group(self, depth: int) -> Rule:
        """Read conditions that one connective joins."""
        parts, connective = [self.part(depth)], None
        while isinstance(self.token, str) and self.token in CONNECTIVES:
            if connective not in (None, self.token):
                raise self.error(f"parentheses around what {connective} joins")
            connective = self.token
            self.step()
            parts.append(self.part(depth))
        return parts[0] if connective is None else _Group(connective, tuple(parts))

    def part(self, depth: int) -> Rule:
        """Read a condition, or what is negated or in parentheses."""
        if depth > _MOST_NESTED:
            raise self.error(f"at most {_MOST_NESTED} parentheses or negations in one another")
        if isinstance(self.token, Rule):
            found = self.token
            self.step()
            return found
        if self.token == _NOT:
            self.step()
            return _Not((self.part if self.printed else self.group)(depth + 1))
        if self.token != "(":
            raise self.error("a condition such as [0,1]==1")
        self.step()
        found = self.group(depth + 1)
        if self.token != ")":
            raise self.error("one of & | ^ between conditions, or )")
        self.step()
        return found

    def error(self, wanted: str) -> ValueError:
        rest = self.text[self.place :].strip()
        where = f"{rest!r}" if rest else "its end"
        return ValueError(
            f"postselect must have {wanted} at {where}, got {self.text!r}; write it as Perceval's "
            "PostSelect, such as '[0,1]==1 & [4]<2'"
        )


def _dual_rail(modes: int, photons: int) -> str:
    if modes != 2 * photons:
        raise ValueError(
            f"postselect='dual_rail' needs two modes for each photon, got n_modes={modes} and "
            f"n_photons={photons}; write a rule such as '[0,1]==1' where other modes are free"
        )
    return " & ".join(f"[{mode},{mode + 1}]==1" for mode in range(0, modes, 2))


POSTSELECTIONS: dict[str, Callable[[int, int], str]] = {"dual_rail": _dual_rail}
"""Rules with a name, from numbers of modes and photons: one photon in each two modes, as qubits."""


def rule_text(given: object, modes: int, photons: int) -> tuple[str, str]:
    """Check a rule, and return how it is kept, by name or written uniformly, and what it says.

    Args:
        given: The rule or its name.
        modes: Number of modes.
        photons: Number of photons.

    Returns:
        The name, or the rule; and the rule.

    Raises:
        TypeError: If it is no string.
        ValueError: If it is no rule, or of modes that there are not.
    """
    if not isinstance(given, str):
        raise TypeError(
            f"postselect must be a string such as '[0,1]==1 & [4]<2', got {type(given).__name__} "
            f"{given!r}"
        )
    name = given.strip().lower()
    if name in POSTSELECTIONS:
        return name, POSTSELECTIONS[name](modes, photons)
    try:
        rule = parsed(given)
    except ValueError as error:
        near = meant(name, POSTSELECTIONS) if name.isidentifier() else ""
        raise ValueError(f"{error}, or {' or '.join(map(repr, POSTSELECTIONS))}{near}") from None
    if max(rule.modes) >= modes:
        raise ValueError(
            f"postselect must be of modes 0 to {modes - 1}, got mode {max(rule.modes)} in {given!r}"
        )
    return str(rule), str(rule)
