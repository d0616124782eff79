"""Values that an argument can be given: fitting ones, edges among them, and wrong ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Values", "drawn", "flag", "one_of", "or_none", "real", "several", "whole"]

NO_NUMBERS = ("3", "", [2], {}, object())


class Values(NamedTuple):
    """What an argument takes, and what it must refuse.

    Attributes:
        fitting: Draws a value that is right by itself; another argument may contradict it.
        wrong: Values that must be refused, whatever the others are.
    """

    fitting: Callable[[Random], Any]
    wrong: tuple[Any, ...] = ()


def whole(low: int, high: int, rare: tuple[int, ...] = (), *, least: int | None = None) -> Values:
    """Integers from `low` to `high`, seldom one of `rare`; those below `least` are wrong."""

    def fitting(rng: Random) -> Any:
        if rare and rng.random() < 0.05:
            return rng.choice(rare)
        value = rng.randint(low, high)
        return np.int64(value) if rng.random() < 0.05 else value

    smallest = low if least is None else least
    wrong = (smallest - 1, -7, -(2**70), True, 1.5, math.nan, *NO_NUMBERS)
    return Values(fitting, wrong)


def real(low: float, high: float, wrong: tuple[Any, ...] = ()) -> Values:
    """Numbers from `low` to `high`, and what is wrong besides what is no finite number."""

    def fitting(rng: Random) -> Any:
        value = rng.choice([low, high, rng.uniform(low, high)])
        return np.float64(value) if rng.random() < 0.05 else value

    return Values(fitting, (math.nan, math.inf, -math.inf, True, 1j, *NO_NUMBERS, *wrong))


def flag() -> Values:
    """True and False, and nothing that only counts as one of them."""
    return Values(lambda rng: rng.random() < 0.5, ("false", "no", 0, 1, 2.0, [2], None))


def one_of(*words: str) -> Values:
    """One of some strings."""
    return Values(lambda rng: rng.choice(words), ("", "nothing", 3, True, [words[0]], {}))


def several(entry: Values, most: int = 3, least: int = 1) -> Values:
    """A list of values."""

    def fitting(rng: Random) -> list[Any]:
        return [entry.fitting(rng) for _ in range(rng.randint(least, most))]

    return Values(fitting, (*([bad] for bad in entry.wrong), 3, "ab", True, *[[]] * (least > 0)))


def or_none(values: Values) -> Values:
    """None as well."""

    def fitting(rng: Random) -> Any:
        return None if rng.random() < 0.4 else values.fitting(rng)

    return Values(fitting, tuple(bad for bad in values.wrong if bad is not None))


def drawn(
    rng: Random,
    values: Mapping[str, Values],
    needed: tuple[str, ...],
    wrong: float = 0.2,
    given: float = 0.35,
) -> tuple[dict[str, Any], str | None]:
    """Draw arguments of a call.

    Args:
        rng: The generator.
        values: What each argument takes.
        needed: Arguments that are always given.
        wrong: Probability that one of them is wrong.
        given: Probability that an argument that is not needed is given.

    Returns:
        The arguments, and the name of the wrong one, if there is one.
    """
    names = [name for name in values if name in needed or rng.random() < given]
    arguments = {name: values[name].fitting(rng) for name in names}
    bad = [name for name in names if values[name].wrong]
    if not bad or rng.random() >= wrong:
        return arguments, None
    name = rng.choice(bad)
    arguments[name] = rng.choice(values[name].wrong)
    return arguments, name
