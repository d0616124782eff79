"""What a search may change: settings by dotted names, choices, ranges, and conditions."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import TYPE_CHECKING, Any

from hybridlit.words import meant

if TYPE_CHECKING:
    import optuna

__all__ = ["Dimension", "Space", "read_space"]

_RANGE = ("low", "high", "log", "step")
_KEYS = ("choices", *_RANGE, "when")
_EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")  # a number that YAML takes for a word


@dataclass(frozen=True)
class Dimension:
    """A setting that a search may change.

    Attributes:
        name: Its dotted name, as `hybridlit.recipe.changed` takes it.
        choices: Its values, if it is a choice of some.
        low: Its smallest value, if it is a range; an integer if all its values are.
        high: Its largest value.
        log: Whether the range is drawn from on a logarithmic scale.
        step: Distance between the values of a range; None: every number in it, of integers 1.
        when: The values of other settings under which it is drawn at all, by name.
    """

    name: str
    choices: tuple[Any, ...] = ()
    low: float = 0
    high: float = 0
    log: bool = False
    step: float | None = None
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    @property
    def examples(self) -> tuple[Any, ...]:
        """Return values that it can have: all choices, or the ends of the range."""
        return self.choices or (self.low, self.high)

    @property
    def is_of_integers(self) -> bool:
        """Whether it is a range of integers alone."""
        return not self.choices and isinstance(self.low, int)

    def applies(self, drawn: Mapping[str, Any]) -> bool:
        """Say whether the settings drawn so far are those under which this one is drawn."""
        return all(name in drawn and drawn[name] in values for name, values in self.when.items())

    def draw(self, trial: optuna.Trial) -> Any:
        """Let a trial suggest a value; what no database holds is suggested as text."""
        if self.choices:
            texts = {_text(choice): choice for choice in self.choices}
            return texts[trial.suggest_categorical(self.name, list(texts))]
        if isinstance(self.low, int):
            step = 1 if self.step is None else int(self.step)
            return trial.suggest_int(self.name, self.low, int(self.high), step=step, log=self.log)
        return trial.suggest_float(
            self.name, self.low, float(self.high), step=self.step, log=self.log
        )


@dataclass(frozen=True)
class Space:
    """All settings that a search may change, each behind those that it depends on."""

    dimensions: tuple[Dimension, ...]

    def draw(self, trial: optuna.Trial, without: Collection[str] = ()) -> dict[str, Any]:
        """Let a trial suggest the settings that apply, and return them by name.

        Args:
            trial: The trial of Optuna.
            without: Names that are left as the recipe has them.
        """
        drawn: dict[str, Any] = {}
        for dimension in self.dimensions:
            if dimension.name not in without and dimension.applies(drawn):
                drawn[dimension.name] = dimension.draw(trial)
        return drawn


def read_space(given: Any) -> Space:
    """Make a space of the `space:` of a recipe.

    Args:
        given: By dotted name a list of choices; a range `{low, high}`, with `log: true` or a `step`
            if wanted; or either with `when: {name: value or values}` beside it, choices as
            `choices:` then. A range is of integers if `low`, `high` and `step` are.

    Raises:
        TypeError: If something has the wrong type.
        ValueError: If something is missing, unknown, empty, given twice, or never drawn.
    """
    if not isinstance(given, Mapping) or not given:
        raise TypeError(
            "space must hold what to search for by dotted name, such as "
            f"{{model.n_modes: [4, 6, 8]}}, got {given!r}"
        )
    dimensions = {name: _dimension(name, content) for name, content in given.items()}
    for dimension in dimensions.values():
        for name, values in dimension.when.items():
            _refuse_impossible(dimension.name, name, values, dimensions)
    return Space(tuple(_sorted(dimensions)))


def _dimension(name: Any, content: Any) -> Dimension:
    if not isinstance(name, str) or "." not in name:
        raise ValueError(
            f"space must name settings with their section, such as model.n_modes, got {name!r}"
        )
    if isinstance(content, (list, tuple)):
        return Dimension(name, _choices(name, content))
    if not isinstance(content, Mapping):
        raise TypeError(
            f"{name} must be a list of choices or a range {{low: ..., high: ...}}, got {content!r}"
        )
    for key in content:
        if key not in _KEYS:
            raise ValueError(f"{name} has no {key!r}{meant(str(key), _KEYS)}; it takes {_KEYS}")
    when = _when(name, content.get("when") or {})
    if "choices" not in content:
        return _range(name, content, when)
    if any(key in content for key in _RANGE):
        raise ValueError(f"{name} must be choices or a range, and it has both")
    return Dimension(name, _choices(name, content["choices"]), when=when)


def _choices(name: str, given: Any) -> tuple[Any, ...]:
    if not isinstance(given, (list, tuple)) or not given:
        raise ValueError(f"{name} must have a list of one choice or more, got {given!r}")
    choices = tuple(_number(choice) for choice in given)
    for index, choice in enumerate(choices):
        if _text(choice) in map(_text, choices[:index]):
            raise ValueError(f"{name} has the choice {choice!r} twice")
    return choices


def _range(name: str, content: Mapping[str, Any], when: Mapping[str, Any]) -> Dimension:
    for key in ("low", "high"):
        if key not in content:
            raise ValueError(f"{name} must have choices, or low and high: it has no {key}")
    numbers = {key: _number(content[key]) for key in ("low", "high", "step") if key in content}
    for key, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError(f"{key} of {name} must be a number, got {value!r}")
    low, high, step = numbers["low"], numbers["high"], numbers.get("step")
    log = content.get("log", False)
    if not isinstance(log, bool):
        raise TypeError(f"log of {name} must be true or false, got {log!r}")
    if not low < high:
        raise ValueError(f"low of {name} must be below high, got {low} and {high}")
    if log and (low <= 0 or step is not None):
        raise ValueError(f"{name} with log: true must have low above 0 and no step")
    if step is not None and not 0 < step <= high - low:
        raise ValueError(f"step of {name} must be above 0 and at most high - low, got {step}")
    if not all(isinstance(value, int) for value in numbers.values()):
        low, high = float(low), float(high)
    return Dimension(name, (), low, high, log, step, when)


def _when(name: str, given: Any) -> dict[str, tuple[Any, ...]]:
    if not isinstance(given, Mapping):
        raise TypeError(f"when of {name} must hold values by name, got {given!r}")
    return {
        other: tuple(value) if isinstance(value, (list, tuple)) else (value,)
        for other, value in given.items()
    }


def _refuse_impossible(
    name: str, other: str, values: tuple[Any, ...], dimensions: Mapping[str, Dimension]
) -> None:
    if other not in dimensions:
        raise ValueError(
            f"when of {name} must name what is searched for, got {other!r}"
            f"{meant(other, dimensions)}"
        )
    dimension = dimensions[other]
    for value in values:
        number = isinstance(value, (int, float))
        in_range = number and dimension.low <= value <= dimension.high
        if value not in dimension.choices and (dimension.choices or not in_range):
            raise ValueError(f"when of {name}: {other} is never {value!r}")


def _sorted(dimensions: Mapping[str, Dimension]) -> list[Dimension]:
    """Return them in their order, each behind those that it depends on."""
    found: dict[str, Dimension] = {}
    while len(found) < len(dimensions):
        ready = [
            each
            for each in dimensions.values()
            if each.name not in found and all(other in found for other in each.when)
        ]
        if not ready:
            left = [name for name in dimensions if name not in found]
            raise ValueError(
                f"{' and '.join(left)} depend on each other by when: none is ever drawn"
            )
        found[ready[0].name] = ready[0]
    return list(found.values())


def _number(value: Any) -> Any:
    """Return a number for what YAML has read as a word, such as 1e-3; else the value."""
    return float(value) if isinstance(value, str) and _EXPONENT.fullmatch(value) else value


def _text(choice: Any) -> Any:
    """Return what a database can hold in the place of a choice: a list as JSON."""
    plain = choice is None or isinstance(choice, (bool, int, float, str))
    return choice if plain else json.dumps(choice)
