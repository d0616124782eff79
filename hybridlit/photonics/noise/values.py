r"""The values of a layer's noise, of which some may be learned, and the weights that follow.

A learned value v of a range up to r is kept as the u of :math:`v = r / (1 + e^{-u})`, so that no
step leads out of the range.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from hybridlit.argument_types import checked
from hybridlit.checks import choice, precision
from hybridlit.internals.torch import constant_in_graphs
from hybridlit.photonics.noise.model import LEARNABLE, Noise
from hybridlit.photonics.noise.program import Program
from hybridlit.photonics.tables import on_device

__all__ = ["NoiseValues", "arriving"]


class NoiseValues(nn.Module):
    """The noise of a layer: what is given as it was given, and what is learned as a parameter.

    Attributes `brightness`, `transmittance`, `indistinguishability` and `g2` are tensors, with
    gradients where they are learned.

    Args:
        noise: Where they begin, and which are learned.
        device: Where its parameters are.
        dtype: Their dtype, `torch.float32` or `torch.float64`.
        interferes: Whether photons do; else their indistinguishability is 0 and never learned.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If the dtype is another one.

    Example:
        >>> values = NoiseValues(Noise(transmittance=0.3, g2=0.02)).learn("transmittance")
        >>> [name for name, _ in values.named_parameters()]
        ['learned.transmittance']
    """

    @checked
    def __init__(
        self,
        noise: Noise,
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
        interferes: bool = True,
    ) -> None:
        super().__init__()
        precision(dtype, "dtype")
        self.given = noise
        self.learned = nn.ParameterDict()
        self._like = torch.empty(0, device=device, dtype=dtype)
        self._without_effect = () if interferes else ("indistinguishability",)
        self.learn(*self._of_effect(noise.trainable))

    def learn(self, *names: str) -> NoiseValues:
        """Make values parameters, which begin where they are.

        Args:
            *names: Of `brightness`, `transmittance`, `indistinguishability`, `g2`.

        Returns:
            Itself.

        Raises:
            ValueError: If a name is another one, or a value without effect or at an end of its
                range.
        """
        present = self.present
        for name in names:
            choice(name, "each name", LEARNABLE)
            if name in self._without_effect:
                raise ValueError(
                    f"{name} must not be learned where photons do not interfere, which are those "
                    "of 0 whatever it is: learn it in a QuantumLayer"
                )
            present.require_inside(name)
        for name in names:
            if name not in self.learned:
                value = torch.tensor(getattr(present, name), dtype=torch.float64)
                start = torch.logit(value / present.most(name))
                self.learned[name] = nn.Parameter(start.to(self._like))
        return self

    def learn_like(self, other: NoiseValues) -> None:
        """Learn what other noise learns, as far as it has an effect here."""
        self.learn(*self._of_effect(other.learned))

    def _of_effect(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if name not in self._without_effect]

    def value(self, name: str) -> Tensor:
        """Return a value as it is now.

        Args:
            name: Of `brightness`, `transmittance`, `indistinguishability`, `g2`.

        Returns:
            A number, or of a transmittance by mode one for each, shape (modes,).

        Raises:
            ValueError: If the name is another one.
        """
        choice(name, "name", LEARNABLE)
        if name in self.learned:
            share = torch.sigmoid(self.learned[name])
            numbers = torch.finfo(share.dtype)  # at an end itself slopes of roots are infinite
            found: Tensor = self.given.most(name) * share.clamp(numbers.tiny, 1 - numbers.eps)
            return found
        return torch.tensor(getattr(self.given, name), dtype=torch.float64).to(self._like)

    brightness = property(lambda self: self.value("brightness"))
    transmittance = property(lambda self: self.value("transmittance"))
    indistinguishability = property(lambda self: self.value("indistinguishability"))
    g2 = property(lambda self: self.value("g2"))

    @property
    def present(self) -> Noise:
        """The noise with what has been learned so far."""
        found: dict[str, Any] = {name: self.value(name).tolist() for name in self.learned}
        return replace(self.given, **found, trainable=()) if found else self.given

    def mean_photons(self, like: Tensor) -> Tensor:
        """Return how many photons arrive of one that is asked for, of each output mode.

        Args:
            like: Of the dtype and device.

        Returns:
            A number, or shape (modes,): transmittance times the mean number that is emitted.
        """
        brightness, transmittance, g2 = (self._as(name, like) for name in _OF_LIGHT)
        found: Tensor = transmittance * (brightness + _of_two(brightness, g2))
        return found

    def mode_transmittance(self, like: Tensor) -> Tensor:
        """Return the transmittance, one or one a mode, with the dtype and device of `like`."""
        return self._as("transmittance", like)

    def overlap(self, like: Tensor) -> Tensor:
        """Return the indistinguishability, with the dtype and device of `like`."""
        return self._as("indistinguishability", like)

    def _as(self, name: str, like: Tensor) -> Tensor:
        if name in self.learned:
            return self.value(name).to(like)
        given = getattr(self.given, name)
        if isinstance(given, tuple):  # copied to a device once, not in each step
            return _of_modes(name, given, like.dtype, like.device)[0]
        return like.new_full((), given)

    def weights(self, program: Program, like: Tensor) -> Tensor:
        """Return the weights of a program.

        Args:
            program: For this noise.
            like: Of the dtype and device.

        Returns:
            Shape (program.weights,).
        """
        if not self.learned:
            return _constant(self.given, program, like.dtype, like.device)[0]
        values: dict[str, _Number] = {name: self._as(name, like) for name in LEARNABLE}
        if self.given.by_mode is not None:  # which is for what modes lose behind it
            values["transmittance"] = 1.0
        return torch.stack(_weights(program, values))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *how: Any) -> None:
        for name in self._without_effect:  # which the same circuit with interference may learn
            state_dict.pop(f"{prefix}learned.{name}", None)
        super()._load_from_state_dict(state_dict, prefix, *how)

    def _apply(self, fn: object, recurse: bool = True) -> NoiseValues:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._like = fn(self._like)  # type: ignore[operator]
        return self

    def extra_repr(self) -> str:
        """Return its values for `repr`."""
        return ", ".join(f"{name}={value}" for name, value in self.present.plain().items())


_OF_LIGHT = ("brightness", "transmittance", "g2")
_Number: TypeAlias = Any
"""A float, or a tensor of one."""


@constant_in_graphs
def _of_modes(
    name: str, given: tuple[float, ...], dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, ...]:
    """One value a mode, alone in a tuple."""
    real = np.float64 if dtype == torch.float64 else np.float32
    return on_device(("noise", name, given, dtype), lambda: [np.array(given, real)], device)


@constant_in_graphs
def _constant(
    noise: Noise, program: Program, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, ...]:
    """The weights of noise of which nothing is learned."""
    real = np.float64 if dtype == torch.float64 else np.float32
    given: dict[str, _Number] = {name: getattr(noise, name) for name in LEARNABLE}
    if noise.by_mode is not None:
        given["transmittance"] = 1.0
    key = "weights of noise", noise, program, real
    return on_device(key, lambda: [np.array(_weights(program, given), real)], device)


def _weights(program: Program, values: Mapping[str, _Number]) -> list[_Number]:
    """The weights of a program, of numbers that may have gradients."""
    brightness, transmittance, g2 = (values[name] for name in _OF_LIGHT)
    two = _of_two(brightness, g2)
    alike = values["indistinguishability"] ** 0.5 if program.alike == "some" else None
    found: list[_Number] = []
    if program.at_source:
        found += _of_sources(program, brightness, transmittance, two, alike)
    elif alike is not None:
        found += [alike, 1 - alike]
    else:
        found += [1 + 0 * brightness]
    if program.lost:
        kept, photons = brightness * transmittance, len(program.photons)
        found += [
            math.comb(photons, left) * kept**left * (1 - kept) ** (photons - left)
            for left in range(photons + 1)
        ]
    if program.second:
        found += [1 - two * transmittance, two * transmittance]
    return found


def _of_two(brightness: _Number, g2: _Number) -> _Number:
    r"""The chance p of two photons: :math:`2 p = g^{(2)} (B + p)^2`, the root that begins at 0."""
    product = g2 * brightness
    return product * brightness / (1 - product + (1 - 2 * product) ** 0.5)


def arriving(noise: Noise, photons: int) -> tuple[float, ...]:
    """Return how likely each number of photons arrives at the detectors.

    Args:
        noise: As it is given; where modes lose differently, all lose as much as they do on average.
        photons: How many are asked for.

    Returns:
        Probabilities of 0, 1, ... photons.
    """
    two = _of_two(noise.brightness, noise.g2)
    one, none = noise.brightness - two, 1 - noise.brightness
    kept = float(np.mean(noise.transmittance))
    first = np.polynomial.Polynomial([1 - kept, kept])
    found = (none + one * first + two * first**2) ** photons
    return tuple(found.coef.tolist())


def _of_sources(
    program: Program, brightness: _Number, transmittance: _Number, two: _Number, alike: _Number
) -> list[_Number]:
    """The weight of each option where sources lose photons and emit second ones."""
    one, lost = brightness - two, 1 - transmittance
    second = transmittance * two  # a second photon that arrives
    chances = {
        (True, True): second * transmittance,
        (True, False): transmittance * (one + two * lost),
        (False, True): second * lost,
        (False, False): 1 - brightness + one * lost + two * lost * lost,
    }
    signals: list[tuple[tuple[int, int], _Number]] = [((1, 0), 1.0)]
    if program.alike == "none":
        signals = [((0, 1), 1.0)]
    elif alike is not None:
        signals = [((1, 0), alike), ((0, 1), 1 - alike)]
    second_gives = (0, 1) if program.apart else (1, 0)
    weights: dict[tuple[int, int], _Number] = {}
    for (arrives, another), chance in chances.items():
        for (c, b), share in signals if arrives else [((0, 0), 1.0)]:
            option = (c + another * second_gives[0], b + another * second_gives[1])
            weights[option] = weights.get(option, 0) + share * chance
    return [weights[option] for option in program.options]
