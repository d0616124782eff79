"""What a circuit or a model may take, and the largest circuit that takes no more."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from typing_extensions import Self

from hybridlit.argument_types import checked
from hybridlit.checks import choice, integer, number
from hybridlit.photonics.cost import Cost, estimate
from hybridlit.photonics.devices import DEVICES, DeviceName
from hybridlit.photonics.experiment import Experiment
from hybridlit.photonics.kernels.compiled import KEEP_BYTES
from hybridlit.photonics.machine import available_memory
from hybridlit.photonics.postselection import POSTSELECTIONS
from hybridlit.words import bytes_in, in_bytes, in_seconds, meant, plural

__all__ = ["MACHINE", "Budget", "Costs", "Found", "largest", "largest_experiment", "shapes"]

MACHINE = "machine"
"""The word for the memory that is free on this machine, less what estimates may be wrong by."""

_ERROR = 0.2  # of estimates of memory
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0}
_MOST_MODES = 512
"""Where the search for a larger circuit ends in any case."""


class Costs(Protocol):
    """What a budget looks at: a `Cost` of a layer, or a `ModelCost`."""

    @property
    def parameters(self) -> int: ...  # noqa: D102
    @property
    def peak_bytes(self) -> int: ...  # noqa: D102
    @property
    def seconds(self) -> float | None: ...  # noqa: D102


@dataclass(frozen=True)
class Budget:
    """What a training step may take, at most.

    Args:
        memory: Bytes at the peak, beside what the process takes without the model; None: any.
        seconds: Time of a step on one thread, above 0; None: any.
        parameters: Number of parameters that train, at least 1; None: any.
        device: Name of a processor in `DEVICES`, whose modes and photons are enough; None: any.

    Raises:
        TypeError: If a number is none.
        ValueError: If a number is out of range, the device unknown, or there is no limit at all.

    Example:
        >>> print(Budget.parse("2GiB, 20ms, 5000 parameters, ascella"))
        2 GiB, 20 ms, 5000 parameters, ascella
    """

    memory: int | None = None
    seconds: float | None = None
    parameters: int | None = None
    device: DeviceName | None = None

    def __post_init__(self) -> None:
        if self.memory is not None:
            integer(self.memory, "memory", 1)
        if self.seconds is not None:
            number(self.seconds, "seconds", above=0.0)
        if self.parameters is not None:
            integer(self.parameters, "parameters", 1)
        if self.device is not None:
            choice(self.device, "device", DEVICES)
        if all(limit is None for limit in self._limits):
            raise ValueError(f"a budget must have a limit: give one of {_GRAMMAR}")

    @classmethod
    @checked
    def parse(cls, text: str) -> Self:
        """Make a budget of words between commas, in any order.

        Args:
            text: Such as `"2GiB, 20ms, 5000 parameters, ascella"`: memory in B, kB, MB, GB, TB,
                KiB, MiB, GiB or TiB, time in us, ms, s or min, a number of parameters, a device of
                `DEVICES`; `"machine"` for the memory that is free here now, less the 20 % that
                estimates may be wrong by.

        Raises:
            ValueError: If a word is none of these, or says again what another one says.
        """
        limits: dict[str, Any] = {}
        for word in text.split(","):
            name, value = _limit(word.strip(), text)
            if name in limits:
                raise ValueError(f"the budget {text!r} says twice what {name} may be")
            limits[name] = value
        return cls(**limits)

    def __str__(self) -> str:
        told = [
            None if self.memory is None else in_bytes(self.memory),
            None if self.seconds is None else in_seconds(self.seconds),
            None
            if self.parameters is None
            else plural(self.parameters, "parameter").replace(",", ""),
            self.device,
        ]
        return ", ".join(each for each in told if each is not None)

    def refusal(self, cost: Costs, experiment: Experiment | None = None) -> str | None:
        """Say what of a circuit or a model is over the budget, and by how much; None: nothing.

        Args:
            cost: What `estimate`, `HybridModule.cost` or `cost_of_model` says.
            experiment: The circuit, which a device must be able to run; None: there is none.
        """
        over = []
        if self.memory is not None and cost.peak_bytes > self.memory:
            more = in_bytes(cost.peak_bytes - self.memory)
            limit = in_bytes(self.memory)
            over.append(f"{in_bytes(cost.peak_bytes)} of memory, {more} over the {limit} allowed")
        if self.seconds is not None and cost.seconds is None:
            over.append(f"a time that cannot be told, where {in_seconds(self.seconds)} are allowed")
        elif self.seconds is not None and cost.seconds is not None and cost.seconds > self.seconds:
            more, limit = in_seconds(cost.seconds - self.seconds), in_seconds(self.seconds)
            over.append(f"{in_seconds(cost.seconds)} a step, {more} over the {limit} allowed")
        if self.parameters is not None and cost.parameters > self.parameters:
            more = f"{cost.parameters - self.parameters:,}"
            limit = f"{self.parameters:,}"
            over.append(f"{plural(cost.parameters, 'parameter')}, {more} over the {limit} allowed")
        if self.device is not None and experiment is not None:
            device = DEVICES[self.device]
            numbers = [
                (experiment.n_modes, device.modes, "mode"),
                (experiment.n_photons, device.photons, "photon"),
                (experiment.most_in_a_mode, device.in_a_mode, "photon in a mode"),
            ]
            for wanted, most, what in numbers:
                if wanted > most:
                    first, *others = what.split()
                    had = " ".join([plural(wanted, first), *others])
                    over.append(f"{had}, {wanted - most} more than {self.device} has")
        return "; ".join(over) or None

    def hopeless(self, cost: Costs, experiment: Experiment) -> bool:
        """Whether no larger circuit can be within the budget either.

        Memory may fall with the size by what the kernel no longer keeps, and estimates of time may
        as well a little.
        """
        slack = Budget(
            None if self.memory is None else self.memory + KEEP_BYTES,
            None if self.seconds is None else 2 * self.seconds,
            self.parameters,
            self.device,
        )
        return slack.refusal(cost, experiment) is not None

    @property
    def _limits(self) -> tuple[object, ...]:
        return self.memory, self.seconds, self.parameters, self.device


_GRAMMAR = (
    "a memory such as 2GiB, a time such as 20ms, a number such as 5000 parameters, a device "
    f"({' or '.join(DEVICES)}), or {MACHINE}"
)


def _limit(word: str, text: str) -> tuple[str, Any]:
    """Return the limit that a word sets, and to what."""
    if word.lower() in DEVICES:
        return "device", word.lower()
    if word.lower() == MACHINE:
        return "memory", int(available_memory() / (1 + _ERROR))
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)", word)
    if found and found[2] in _SECONDS:
        return "seconds", float(found[1]) * _SECONDS[found[2]]
    if found and found[2] in ("parameter", "parameters") and float(found[1]).is_integer():
        return "parameters", int(float(found[1]))
    size = bytes_in(word) if found and found[2].lower().endswith("b") else None
    if size is not None:
        return "memory", size
    near = meant(word.lower(), [*DEVICES, MACHINE])
    raise ValueError(
        f"the budget {text!r} has the word {word!r}, which is none of {_GRAMMAR}{near}"
    )


# --- the largest circuit --------------------------------------------------------------------------


class Found(NamedTuple):
    """The largest circuit within a budget."""

    n_modes: int
    n_photons: int
    cost: Any


_C = TypeVar("_C", bound=Costs)
_E = TypeVar("_E", bound=Experiment)


def shapes(
    n_modes: int | None,
    n_photons: int | None,
    unbunched: bool,
    filling: float = 0.5,
    first: int = 2,
) -> Iterator[tuple[int, int]]:
    """Yield numbers of modes and photons, each larger than the one before.

    Args:
        n_modes: Modes, if they are given: then photons grow, to one a mode, or if unbunched to one
            for two modes, where there are most states.
        n_photons: Photons, if they are given: then modes grow.
        unbunched: Whether a mode holds one photon at most.
        filling: Photons a mode if neither is given: then modes grow, and photons with them.
        first: Modes that growing begins with.
    """
    if n_modes is not None and n_photons is not None:
        yield n_modes, n_photons
    elif n_modes is not None:
        most = n_modes // 2 if unbunched else n_modes
        yield from ((n_modes, photons) for photons in range(1, most + 1))
    else:
        for modes in count(first):
            photons = max(1, int(modes * filling + 1e-9)) if n_photons is None else n_photons
            if not unbunched or photons < modes:
                yield modes, photons


def largest(
    budget: Budget,
    line: Iterable[tuple[int, int]],
    look: Callable[[int, int], tuple[_C, Experiment]],
) -> Found:
    """Return the last of a line of circuits that is within a budget.

    Args:
        budget: The budget.
        line: Numbers of modes and photons, of `shapes`.
        look: From these to the cost and the circuit; a ValueError where there is no such circuit, a
            MemoryError where not even its plan fits, as none of a larger one does.

    Raises:
        ValueError: If none is, with what is over; or if the budget limits nothing.
    """
    found: Found | None = None
    why: str | None = None
    for modes, photons in line:
        if modes > _MOST_MODES:
            if found is None:
                break
            raise ValueError(
                f"the budget {budget} does not limit this circuit: give a memory or a time as well"
            )
        try:
            cost, experiment = look(modes, photons)
        except ValueError as error:  # too few states for the outputs, say
            why = why or str(error)
            continue
        except MemoryError as error:
            why = why or str(error)
            break
        over = budget.refusal(cost, experiment)
        if over is None:
            found = Found(modes, photons, cost)
            continue
        if why is None:
            why = f"{plural(modes, 'mode')} and {plural(photons, 'photon')} take {over}"
        if budget.hopeless(cost, experiment):
            break
    if found is None:
        raise ValueError(f"no circuit is within the budget {budget}: {why}")
    return found


def largest_experiment(
    kind: type[_E],
    budget: Budget | str,
    n_modes: int | None,
    n_photons: int | None,
    input_size: int | None,
    batch_size: int,
    dtype: torch.dtype,
    fixed: dict[str, Any],
) -> _E:
    """Return the largest circuit within a budget: see `Experiment.largest`."""
    chosen = Budget.parse(budget) if isinstance(budget, str) else budget
    if not isinstance(chosen, Budget):
        raise TypeError(f"budget must be a Budget or a string, got {type(budget).__name__}")
    for name, value, least in (("n_modes", n_modes, 2), ("n_photons", n_photons, 1)):
        if value is not None:
            integer(value, name, least)
    for name in ("input_state", "encoding", "circuit"):
        if fixed.get(name) is not None:
            raise ValueError(f"{name} is of a given number of modes: leave it out")
    rule = fixed.get("postselect")
    if rule in tuple(POSTSELECTIONS) and (n_modes is None) != (n_photons is None):
        given = f"n_modes={n_modes}" if n_photons is None else f"n_photons={n_photons}"
        raise ValueError(
            f"postselect={rule!r} is of as many photons as its modes say, so that {given} leaves "
            "nothing to choose: leave both out, for the largest circuit, or give both"
        )

    def made(modes: int, photons: int) -> _E:
        return kind(n_modes=modes, n_photons=photons, **fixed)

    def look(modes: int, photons: int) -> tuple[Cost, Experiment]:
        experiment = made(modes, photons)
        features = modes - 1 if input_size is None else input_size
        timed = chosen.seconds is not None
        return estimate(experiment, features, batch_size, dtype, calibrate=timed), experiment

    smallest = next(shapes(n_modes, n_photons, unbunched=True))
    try:
        look(*smallest)  # or it raises, for what is wrong with all of them
    except MemoryError as error:
        raise ValueError(f"no circuit is within the budget {chosen}: {error}") from None
    unbunched = made(*smallest).fock_space.unbunched
    return made(*largest(chosen, shapes(n_modes, n_photons, unbunched), look)[:2])
