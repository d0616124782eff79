"""Imperfections of a source, a circuit and its detectors in numbers, as Perceval's `NoiseModel`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple

from typing_extensions import Self

from hybridlit.checks import boolean, choice, number

__all__ = ["LEARNABLE", "Noise"]

LEARNABLE = ("brightness", "transmittance", "indistinguishability", "g2")
"""Values that have a gradient."""


@dataclass(frozen=True)
class Noise:
    r"""What keeps photons from being ideal, by the names and meanings of Perceval's `NoiseModel`.

    A source is asked for one photon at a time. With :math:`p_1, p_2` the chances of one and of two
    photons, brightness is :math:`p_1 + p_2` and :math:`g^{(2)} = 2 p_2 / (p_1 + 2 p_2)^2`. Each
    photon is like all other such photons with probability :math:`\sqrt{I}`, else like no other
    (Pont et al., Phys. Rev. X 12, 031033 (2022); arXiv:2211.15626).

    Args:
        brightness: Probability that a source emits at all, 0 to 1.
        transmittance: Probability that a photon that was emitted is detected, 0 to 1: one number,
            or one for each output mode.
        indistinguishability: I, the chance that two photons are alike, 0 to 1.
        g2: Second-order autocorrelation, 0 to 0.5 divided by `brightness`.
        g2_distinguishable: Whether a second photon is like no other; else like all that are alike.
        phase_imprecision: Step in radians in which phases can be set; 0: any.
        phase_error: Largest error of a phase in radians, 0 to pi, drawn anew for each step.
        trainable: Which of the first four are learned, by name. They must not lie at an end of
            their range, from where there is no way.

    Raises:
        TypeError: If a value has the wrong type.
        ValueError: If one is out of range.

    Example:
        >>> Noise(transmittance=0.3, indistinguishability=0.92).ideal
        False
    """

    brightness: float = 1.0
    transmittance: float | Sequence[float] = 1.0
    indistinguishability: float = 1.0
    g2: float = 0.0
    g2_distinguishable: bool = True
    phase_imprecision: float = 0.0
    phase_error: float = 0.0
    trainable: Sequence[str] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        for name in ("brightness", "indistinguishability"):
            self._set(name, _within(getattr(self, name), name, 1))
        given = self.transmittance
        if isinstance(given, Sequence) and not isinstance(given, str):
            if not given:
                raise ValueError("transmittance must be a number, or one for each mode, got none")
            each = (_within(value, "each entry of transmittance", 1) for value in given)
            self._set("transmittance", tuple(each))
        else:
            self._set("transmittance", _within(given, "transmittance", 1))
        most = 0.5 / self.brightness if self.brightness else math.inf
        self._set("g2", _within(self.g2, "g2", min(most, 1)))
        boolean(self.g2_distinguishable, "g2_distinguishable")
        self._set(
            "phase_imprecision", _within(self.phase_imprecision, "phase_imprecision", math.inf)
        )
        self._set("phase_error", _within(self.phase_error, "phase_error", math.pi))
        if isinstance(self.trainable, str) or not isinstance(self.trainable, Sequence):
            got = type(self.trainable).__name__
            raise TypeError(f"trainable must be a list of names, got {got} {self.trainable!r}")
        for name in self.trainable:
            choice(name, "each of trainable", LEARNABLE)
            self.require_inside(name)
        self._set("trainable", tuple(name for name in LEARNABLE if name in self.trainable))

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)  # the one way to normalise a frozen field

    def require_inside(self, name: str) -> None:
        """Refuse to learn a value that lies at an end of its range.

        Args:
            name: One of `LEARNABLE`.

        Raises:
            ValueError: If it does.
        """
        value = getattr(self, name)
        values = value if isinstance(value, tuple) else (value,)
        most = self.most(name)
        if not all(0 < each < most for each in values):
            raise ValueError(
                f"{name} must lie between 0 and {most:g} to be trainable, got {value}: from an end "
                "of its range no gradient leads away; start a little inside"
            )

    def require_fit(self, modes: int, superposed: bool) -> None:
        """Refuse noise that an experiment cannot have.

        Args:
            modes: Its number of modes.
            superposed: Whether its input state is a superposition.

        Raises:
            ValueError: If it has more or fewer modes than transmittances, or if a superposition
                would need photons that differ.
        """
        if self.by_mode is not None and len(self.by_mode) != modes:
            raise ValueError(
                f"transmittance must be one number, or one for each of n_modes={modes} modes, got "
                f"{len(self.by_mode)}"
            )
        if superposed and (self.indistinguishability < 1 or self.g2):
            raise ValueError(
                "noise of a source needs photons in each mode as input_state, got a "
                f"superposition and {self}: of superpositions photons can be lost, no more"
            )

    def most(self, name: str) -> float:
        """Return the largest value that one of `LEARNABLE` can have, which learning keeps below."""
        if name == "brightness" and self.g2 > 0.5:
            return 0.5 / self.g2
        return 0.5 if name == "g2" else 1.0

    @property
    def by_mode(self) -> tuple[float, ...] | None:
        """The transmittance of each mode, where they differ."""
        return self.transmittance if isinstance(self.transmittance, tuple) else None

    @property
    def uniform(self) -> float:
        """The transmittance of all modes alike; 1 where each has its own."""
        return 1.0 if isinstance(self.transmittance, Sequence) else self.transmittance

    @property
    def ideal(self) -> bool:
        """Whether all is as if there were no noise."""
        return self == Noise(g2_distinguishable=self.g2_distinguishable)

    @property
    def ideal_source(self) -> bool:
        """Whether exactly the photons that were asked for enter the circuit, all alike."""
        return self.brightness == 1 and self.indistinguishability == 1 and self.g2 == 0

    @property
    def ideal_light(self) -> bool:
        """Whether every photon that was asked for is detected, and alike all others."""
        return self.ideal_source and self.transmittance == 1

    @property
    def steady_phases(self) -> bool:
        """Whether phases are what they are set to."""
        return not (self.phase_imprecision or self.phase_error)

    @property
    def sources(self) -> dict[str, Noise]:
        """Each imperfection alone, by the name of its field."""
        names = [name for name in self.plain() if name not in ("g2_distinguishable", "trainable")]
        kind = self.g2_distinguishable
        return {
            name: Noise(**{name: getattr(self, name)}, g2_distinguishable=kind) for name in names
        }

    def at_strength(self, strength: float) -> Noise:
        """Return noise of the same kind that is weaker or stronger.

        Args:
            strength: How many times as strong, above 0: losses in decibels, so that transmittance
                and brightness, and the indistinguishability as well, are raised to that power; g2
                and phases are multiplied by it.

        Returns:
            The noise, none of it learned.

        Raises:
            ValueError: If g2 or a phase error would be out of its range.
        """
        number(strength, "strength", above=0)
        each = self.by_mode
        through = self.uniform**strength if each is None else tuple(t**strength for t in each)
        powers = {n: getattr(self, n) ** strength for n in ("brightness", "indistinguishability")}
        scaled = ("g2", "phase_imprecision", "phase_error")
        products = {name: getattr(self, name) * strength for name in scaled}
        return replace(self, transmittance=through, **powers, **products, trainable=())

    def plain(self) -> dict[str, Any]:
        """Return what differs from no noise, as plain values for a YAML file or a checkpoint."""
        found = {each.name: getattr(self, each.name) for each in fields(self)}
        usual = {each.name: each.default for each in fields(self)}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in found.items()
            if value != usual[name]
        }

    @classmethod
    def of(cls, given: Noise | str | Mapping[str, Any] | None) -> Noise | None:
        """Return noise in any of the forms in which an experiment takes it.

        Args:
            given: Itself, the name of a preset, its fields by name, or None.

        Returns:
            None where there is none at all.

        Raises:
            TypeError: If it is something else.
            ValueError: If a name is unknown or a value out of range.
        """
        if isinstance(given, str):
            choice(given, "noise", PRESETS)
            return cls.preset(given)
        if isinstance(given, Mapping):
            known = [each.name for each in fields(cls)]
            for name in given:
                choice(name, "each field of noise", known)
            return cls(**given)
        if given is None or isinstance(given, cls):
            return given
        raise TypeError(
            f"noise must be a Noise, the name of a preset, or fields by name, got "
            f"{type(given).__name__} {given!r}"
        )

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Self:
        """Return the nominal noise of a device; ask its maker for what it has today.

        Args:
            name: `"ascella"`, `"belenos"` or `"demo"`.
            **changes: Fields that differ.

        Returns:
            The noise.

        Raises:
            ValueError: If the name is unknown.
        """
        choice(name, "name", PRESETS)
        return replace(cls(**PRESETS[name].values), **changes)


def _within(value: object, name: str, most: float) -> float:
    number(value, name, minimum=0, maximum=most)
    return float(value)  # type: ignore[arg-type]  # which number has seen


class Preset(NamedTuple):
    """Nominal noise of a device.

    Attributes:
        values: Fields of a `Noise`.
        source: Where these numbers are from.
    """

    values: Mapping[str, Any]
    source: str


PRESETS: dict[str, Preset] = {
    "ascella": Preset(
        {"transmittance": 0.08, "indistinguishability": 0.92, "g2": 0.007, "phase_error": 0.02},
        "transmittance and indistinguishability: Quandela's notebook of a classification task on "
        "Ascella; g2: a tomography notebook of Perceval, the device not named there; phases: a "
        "guess",
    ),
    "belenos": Preset(
        {"transmittance": 0.06, "indistinguishability": 0.90, "g2": 0.019, "phase_error": 0.03},
        "transmittance: Perceval's default, with which its documentation counts shots; the others "
        "as third parties report them (arXiv:2606.18408); phases: arXiv:2609.10216",
    ),
    "demo": Preset(
        {"transmittance": 0.10, "indistinguishability": 0.95, "g2": 0.01},
        "Perceval's tutorials",
    ),
}
