"""What an angle of a component is: a number, a parameter, or a linear map of features."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from torch import Tensor

from hybridlit.checks import integer

__all__ = [
    "Angle",
    "AngleLike",
    "AnglesLike",
    "Data",
    "Fixed",
    "Trainable",
    "as_angle",
    "as_angles",
    "in_radians",
    "is_angle",
    "plain_angle",
]


@dataclass(frozen=True)
class Fixed:
    """An angle that stays what it is.

    Args:
        value: In radians.

    Raises:
        TypeError: If it is no number.
        ValueError: If it is not finite.

    Example:
        >>> str(Fixed(math.pi / 2))
        '0.5π'
    """

    value: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", _number(self.value, "value"))

    def __str__(self) -> str:
        return in_radians(self.value)


@dataclass(frozen=True)
class Trainable:
    """An angle that is a parameter: `scale * parameter + offset`.

    Args:
        name: Angles of one name in one circuit share one parameter; None: a parameter of its own.
        init: The parameter to begin with, in radians; None: drawn, as the component says.
        scale: Factor of the parameter.
        offset: In radians.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If a number is not finite, the name is empty or the scale is 0.

    Example:
        >>> str(Trainable("theta", scale=2.0, offset=0.5))
        '2 theta + 0.5'
    """

    name: str | None = None
    init: float | None = None
    scale: float = 1.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        if self.name is not None and not isinstance(self.name, str):
            raise TypeError(f"name must be a string or None, got {type(self.name).__name__}")
        if self.name == "":
            raise ValueError(
                "name must have letters, or be None for a parameter of its own, got ''"
            )
        if self.init is not None:
            object.__setattr__(self, "init", _number(self.init, "init"))
        object.__setattr__(self, "scale", _factor(self.scale))
        object.__setattr__(self, "offset", _number(self.offset, "offset"))

    def __str__(self) -> str:
        return _affine(self.name or "trainable", self.scale, self.offset)


@dataclass(frozen=True)
class Data:
    r"""An angle that features turn: :math:`\mathrm{scale} \sum_f w_f x_f + \mathrm{offset}`.

    Args:
        feature: The number of one feature, from 0; or the weights of several, by their numbers or
            as one weight a feature.
        scale: Factor, in radians for each unit of the feature.
        offset: In radians.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If a number is not finite or the scale is 0.

    Example:
        >>> Data({0: 1.0, 3: -0.5}, scale=2.0).weights
        ((0, 2.0), (3, -1.0))
    """

    feature: int | Mapping[int, float] | Sequence[float]
    scale: float = 1.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        given = self.feature
        if isinstance(given, Mapping):
            kept: Any = tuple(sorted(_term(number, weight) for number, weight in given.items()))
        elif isinstance(given, (np.ndarray, Tensor)) or (
            isinstance(given, Sequence) and not isinstance(given, str)
        ):
            entries: list[Any] = list(given)
            if entries and all(isinstance(e, (tuple, list)) for e in entries):  # kept ones again
                kept = tuple(_term(*entry) for entry in entries)
            else:
                kept = tuple(_term(*entry) for entry in enumerate(entries))
        else:
            kept = integer(given, "feature", 0)
        if kept == ():
            raise ValueError("feature must be a number from 0, or weights of features, got none")
        object.__setattr__(self, "feature", kept)
        object.__setattr__(self, "scale", _factor(self.scale))
        object.__setattr__(self, "offset", _number(self.offset, "offset"))

    @property
    def weights(self) -> tuple[tuple[int, float], ...]:
        """Radians for each unit of a feature, by its number."""
        terms: Any = self.feature
        if isinstance(terms, int):
            terms = ((terms, 1.0),)
        return tuple((feature, self.scale * weight) for feature, weight in terms)

    def __str__(self) -> str:
        return self.words()

    def words(self, bandwidth: float = 1.0) -> str:
        """Return the angle for people, with another factor before the features."""
        terms: Any = self.feature
        if isinstance(terms, int):
            return _affine(f"x{terms}", self.scale, self.offset, bandwidth)
        terms = [(f, w) for f, w in terms if w]
        shown = " + ".join(_affine(f"x{f}", w, 0.0) for f, w in terms[:3])
        shown = f"({shown or 0}{' + ...' if len(terms) > 3 else ''})".replace("+ -", "- ")
        return _affine(shown, self.scale, self.offset, bandwidth)


Angle: TypeAlias = Fixed | Trainable | Data
AngleLike: TypeAlias = Angle | float | str | Mapping[str, Any]
AnglesLike: TypeAlias = AngleLike | Sequence[Sequence[AngleLike]] | npt.NDArray[Any] | Tensor
"""One for all, or those of each cell of a mesh, shape (cells, 2)."""

_FORMS: dict[str, tuple[type[Any], str]] = {
    "fixed": (Fixed, "value"),
    "trainable": (Trainable, "name"),
    "data": (Data, "feature"),
}
"""The plain form of each kind of angle: a mapping with this key for its first argument."""


def as_angle(given: AngleLike, argument: str) -> Angle:
    """Return an angle of what a user may write for one.

    Args:
        given: An angle; a number of radians; a string of letters, digits and underscores, the name
            of a trainable one; or a mapping such as `{"data": 0, "scale": 3.14}`,
            `{"trainable": None, "init": 0.5}`.
        argument: What it is called in errors.

    Raises:
        TypeError: If it is none of these.
        ValueError: If a number in it is not finite, or a string is rather a number than a name.
    """
    if isinstance(given, (Fixed, Trainable, Data)):
        return given
    if isinstance(given, str):
        if not _is_name(given):  # it may be meant as a number, and would be trained
            raise ValueError(
                f"{argument} must be a number of radians, or the name of a trainable angle in "
                f"letters, digits and underscores, got {given!r}; write a half of pi as "
                f"{math.pi / 2}, and another name as {{'trainable': {given!r}}}"
            )
        return Trainable(given)
    if isinstance(given, Mapping):
        for key, (kind, first) in _FORMS.items():
            if key in given:
                others = {name: value for name, value in given.items() if name != key}
                try:
                    made: Angle = kind(**{first: given[key]}, **others)
                except TypeError as error:
                    raise TypeError(f"{argument} has a wrong form {dict(given)}: {error}") from None
                return made
        raise ValueError(
            f"{argument} must hold one of {', '.join(map(repr, _FORMS))}, got {dict(given)}"
        )
    return Fixed(_number(given, argument))


def plain_angle(angle: Angle) -> float | str | dict[str, Any]:
    """Return the shortest plain form of an angle, of which `as_angle` makes it again."""
    if isinstance(angle, Fixed):
        return angle.value
    first: Any
    if isinstance(angle, Trainable):
        if angle.name is not None and angle == Trainable(angle.name) and _is_name(angle.name):
            return angle.name
        key, first = "trainable", angle.name
        others = {"init": (angle.init, None), "scale": (angle.scale, 1.0)}
    else:
        feature: Any = angle.feature
        key, first = "data", feature if isinstance(feature, int) else dict(feature)
        others = {"scale": (angle.scale, 1.0)}
    others["offset"] = (angle.offset, 0.0)
    return {
        key: first,
        **{name: value for name, (value, usual) in others.items() if value != usual},
    }


def is_angle(given: object) -> bool:
    """Return whether it stands for one angle, and not for those of a mesh."""
    several = isinstance(given, (Sequence, np.ndarray, Tensor)) and not isinstance(given, str)
    return not several or (isinstance(given, (np.ndarray, Tensor)) and not given.ndim)


def as_angles(given: AnglesLike, cells: int, argument: str) -> npt.NDArray[Any]:
    """Return an object array (cells, 2) of angles of one for all, or nested sequences of them."""
    result = np.empty((cells, 2), dtype=object)
    if is_angle(given):
        result.fill(as_angle(given, argument))  # type: ignore[arg-type]
        return result
    rows: Any = given.tolist() if isinstance(given, (np.ndarray, Tensor)) else given
    pairs = all(isinstance(row, Sequence) and len(row) == 2 for row in rows)
    if len(rows) != cells or not pairs:
        shape = np.shape(given) if isinstance(given, (np.ndarray, Tensor)) else given
        raise ValueError(
            f"{argument} must be one angle, or those of each cell, shape (cells={cells}, 2), got "
            f"{shape}"
        )
    for cell, row in enumerate(rows):
        for place, angle in enumerate(row):
            result[cell, place] = as_angle(angle, f"each of {argument}")
    return result


def _is_name(text: str) -> bool:
    """Whether a string is a name, and no number or formula."""
    return text.isidentifier() and text.lower() not in ("pi", "tau", "nan", "inf", "infinity")


def _term(number: object, weight: object) -> tuple[int, float]:
    """Return a feature's number, which JSON makes a string where it is a key, and its weight."""
    if isinstance(number, str) and number.isdecimal():
        number = int(number)
    return integer(number, "each feature", 0), _number(weight, "each weight of feature")


def _number(value: object, argument: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        if isinstance(value, Tensor) and value.numel() == 1 and not value.is_complex():
            value = value.item()
        else:
            raise TypeError(
                f"{argument} must be a number of radians, got {type(value).__name__} {value!r}"
            )
    result = float(value)
    if not math.isfinite(result):
        raise ValueError(f"{argument} must be finite, got {result}")
    return result


def _factor(value: object) -> float:
    result = _number(value, "scale")
    if result == 0:
        raise ValueError("scale must not be 0, which would make the angle a fixed one")
    return result


def _affine(name: str, scale: float, offset: float, times: float = 1.0) -> str:
    factor = in_radians(scale, times)
    factor = {"1": "", "-1": "-"}.get(factor, f"{factor} ")
    return f"{factor}{name}" + (
        f" {'+' if offset > 0 else '-'} {in_radians(abs(offset))}" if offset else ""
    )


def in_radians(value: float, times: float = 1.0) -> str:
    """Return an angle for people: of a simple share of pi in units of pi, else in radians.

    Args:
        value: In radians.
        times: A factor of it.
    """
    share = value / math.pi
    if not value or abs(120 * share - round(120 * share)) > 1e-9:
        return f"{value * times:.4g}"
    factor = f"{share * times:.3g}"
    return {"1": "", "-1": "-"}.get(factor, factor) + "π"
