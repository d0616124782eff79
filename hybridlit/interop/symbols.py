"""Angles <-> Perceval's parameters: what symbols mean, and linear expressions of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from hybridlit.photonics.circuit.angles import Angle, Data, Fixed, Trainable
from hybridlit.photonics.circuit.circuit import Circuit
from hybridlit.photonics.circuit.components import PhaseStep

__all__ = ["SymbolsIn", "SymbolsOut"]


class SymbolsIn:
    """What the parameters of a Perceval circuit are here.

    Args:
        parameters: All of its variables.
        data: Beginnings of the names of features.
        trained: Of trainable angles.

    Raises:
        ValueError: If a symbol is neither and has no value, or has one while a beginning is that of
            no symbol.
    """

    def __init__(
        self, parameters: Iterable[Any], data: tuple[str, ...], trained: tuple[str, ...]
    ) -> None:
        variables = {parameter.name: parameter for parameter in parameters}
        if "" in (*data, *trained):
            raise ValueError("beginnings of names of symbols must have letters, got ''")
        both = set(data) & set(trained)
        if both:
            raise ValueError(
                f"input_parameters and trainable_parameters must differ, got {sorted(both)} in both"
            )
        belongs = {name: _longest(name, (*data, *trained)) for name in variables}
        for argument, given, usual in (
            ("input_parameters", data, ("x",)),
            ("trainable_parameters", trained, ("theta",)),
        ):
            idle = [prefix for prefix in given if prefix not in belongs.values()]
            if idle and given != usual and None in belongs.values():  # a slip makes constants
                raise ValueError(
                    f"{argument} must be beginnings of names of symbols, but none begins with "
                    f"{', '.join(map(repr, idle))}; there are {_listed(variables)}"
                )
        unknown = [n for n, p in variables.items() if belongs[n] is None and not p.defined]
        if unknown:
            raise ValueError(
                f"symbols must be data, trainable or have a value, but {_listed(unknown)} begin "
                f"neither with one of input_parameters={list(data)} nor with one of "
                f"trainable_parameters={list(trained)}; name them there, or give them values by "
                "set_value"
            )
        of_data = sorted(
            (name for name in variables if belongs[name] in data),
            key=lambda name: (data.index(str(belongs[name])), _natural(name)),
        )
        self._features = {name: number for number, name in enumerate(of_data)}
        self._trained = {name for name in variables if belongs[name] in trained}

    def angles(self, parameter: Any) -> list[Angle]:
        """Return the angles whose sum a parameter is: one of data at most, then trainable ones.

        Args:
            parameter: A Perceval `Parameter` or `Expression`.

        Raises:
            ValueError: If it is no linear function of its symbols.
        """
        coefficients, offset = self._linear(parameter)
        weights: dict[int, float] = {}
        found: list[Data | Trainable] = []
        for variable, factor in coefficients.items():
            name = variable.name
            if name in self._features:
                weights[self._features[name]] = factor
            elif name in self._trained:
                value = float(variable) if variable.defined else None
                found.append(Trainable(name, value, scale=factor))
            else:
                offset += float(variable)  # by itself: those in expressions are numbers by now
        if len(weights) == 1:
            ((feature, factor),) = weights.items()
            found.insert(0, Data(feature, factor))
        elif weights:
            found.insert(0, Data(weights))
        if not found:
            return [Fixed(offset)]
        return [replace(found[0], offset=offset), *found[1:]]

    def _linear(self, parameter: Any) -> tuple[dict[Any, float], float]:
        """Factors of variables, and what is added to them."""
        from perceval import Expression

        if not isinstance(parameter, Expression):
            return ({}, float(parameter)) if parameter.fixed else ({parameter: 1.0}, 0.0)
        formula: Any = parameter.spv
        symbols = {symbol.name: symbol for symbol in formula.free_symbols}
        variables = sorted(parameter.parameters, key=lambda variable: _natural(variable.name))
        ours = self._features.keys() | self._trained
        for variable in variables:
            if variable.name not in ours:
                formula = formula.subs(symbols.pop(variable.name), float(variable))
        kept = [variable for variable in variables if variable.name in ours]
        try:
            # A derivative that still has symbols is none of a linear function.
            factors = {v: float(formula.diff(symbols[v.name])) for v in kept}
            offset = float(formula.subs(dict.fromkeys(symbols.values(), 0)))
        except TypeError:
            raise ValueError(
                f"angles must be linear in data and trainable symbols, got {parameter.name} of "
                f"{_listed(v.name for v in kept)}"
            ) from None
        return {variable: factor for variable, factor in factors.items() if factor}, offset


class SymbolsOut:
    """The parameters of a Perceval circuit that is made, one for each name.

    Args:
        circuit: Whose trainable angles have names.

    Raises:
        ValueError: If a trainable angle is called like a feature.
    """

    def __init__(self, circuit: Circuit) -> None:
        # Perceval takes whole turns off a value as the component asks that has the symbol itself,
        # which is right for all of its angles only if these are the same.
        uses: dict[str, set[tuple[float, ...]]] = {}
        for step in circuit.steps():
            if isinstance(step, PhaseStep):
                terms, offset = _terms(step.angle)
                for name, factor in terms.items():
                    uses.setdefault(name, set()).add((abs(step.factor), factor, offset, len(terms)))
                if isinstance(step.angle, Trainable) and re.fullmatch(r"x\d+", next(iter(terms))):
                    raise ValueError(
                        f"a trainable angle must not be called like a feature, got "
                        f"{step.angle.name!r}; give it another name"
                    )
        self._plain = {
            name for name, forms in uses.items() if len(forms) == 1 and min(forms)[1:] == (1, 0, 1)
        }
        self._made: dict[str, Any] = {}
        self._expressions: dict[str, Any] = {}

    def parameter(self, angle: Angle) -> Any:
        """Return a number, a `Parameter` or an `Expression`.

        Args:
            angle: Of the circuit.
        """
        from perceval import Expression

        if isinstance(angle, Fixed):
            return angle.value
        terms, offset = _terms(angle)
        if not terms:
            return offset
        for name in terms.keys() - self._made.keys():
            self._made[name] = self._symbol(name, angle)
        if len(terms) == 1 and self._plain >= terms.keys():
            return self._made[next(iter(terms))]
        formula = " + ".join(f"({factor!r})*{name}" for name, factor in terms.items())
        if offset:
            formula += f" + ({offset!r})"
        if formula not in self._expressions:
            self._expressions[formula] = Expression(formula, {self._made[name] for name in terms})
        return self._expressions[formula]

    @staticmethod
    def _symbol(name: str, angle: Angle) -> Any:
        from perceval import Expression, Parameter

        made = Parameter(name)
        try:
            Expression(name, {made})
        except (ValueError, RuntimeError):
            raise ValueError(
                f"names of trainable angles must be symbols in Perceval, got {name!r}; use letters "
                "and digits, such as 'theta1'"
            ) from None
        if isinstance(angle, Trainable) and angle.init is not None:
            made.set_value(angle.init)
        return made


def _terms(angle: Angle) -> tuple[dict[str, float], float]:
    """Factors of symbols, and what is added to them."""
    if isinstance(angle, Trainable):
        assert angle.name is not None
        return {angle.name: angle.scale}, angle.offset
    assert isinstance(angle, Data)
    return {f"x{feature}": weight for feature, weight in angle.weights if weight}, angle.offset


def _longest(name: str, given: tuple[str, ...]) -> str | None:
    """The prefix to which a name belongs: its whole, else the longest."""
    return max((p for p in given if name.startswith(p)), key=len, default=None)


def _natural(name: str) -> list[tuple[int, int, str]]:
    """A key in whose order x2 is before x10."""
    parts = re.split(r"(\d+)", name)
    return [(1, int(p), "") if p.isdigit() else (0, 0, p) for p in parts]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in sorted(names, key=_natural)) or "none"
