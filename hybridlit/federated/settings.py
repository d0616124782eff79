"""What the section `federated:` of a recipe says."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from hybridlit.argument_types import check_arguments
from hybridlit.checks import integer, number, random_seed
from hybridlit.components import COMPONENTS
from hybridlit.federated.strategies import STRATEGIES, StrategyName
from hybridlit.photonics import Noise
from hybridlit.words import meant, plural, quoted

__all__ = ["FederatedSettings", "LocalName", "federated_settings"]

if TYPE_CHECKING:
    LocalName: TypeAlias = str
else:
    LocalName = Literal[tuple(COMPONENTS)]

_OF_BATCHES = ("data.batch_size", "data.drop_last", "data.num_workers")

_OF_ALL = {
    "data.": f"of the data, clients may differ in {quoted(_OF_BATCHES)}, since the rows of one "
    "recipe are dealt out to all; who has data of its own needs a recipe of its own "
    "(recipes/federated/)",
    "federated.": "settings of the federation are those of all its clients",
    "trainer.max_epochs.": "clients train local_epochs epochs in a round, all as many",
}
"""What no client can have of its own, and why not."""


@dataclass(frozen=True)
class FederatedSettings:
    """How clients train together: the section `federated:` of a recipe.

    Args:
        clients: Number of clients, at least 2.
        rounds: Number of rounds, at least 1: the server sends weights, the clients train them on
            their rows, and the server averages what comes back, weighted by rows.
        local_epochs: Epochs that a client trains in a round, at least 1, with a fresh optimizer.
        strategy: `"fedavg"` (McMahan et al., arXiv:1602.05629), or `"fedprox"`, which adds
            `proximal_mu / 2` times the squared distance from the server's weights to the loss of
            the clients (Li et al., arXiv:1812.06127).
        proximal_mu: Above 0, for `"fedprox"` alone.
        local: What stays with each client: `"classical"`, `"photonic"`, or None: nothing. Readouts
            of photonic layers stay with either.
        shares: Shares of the rows that the clients get, in any unit, one above 0 for each; None:
            equal ones.
        concentration: Of the Dirichlet distribution that the share of each client in the rows of a
            class is drawn from, its mean being `shares`; above 0: the smaller, the more the clients
            differ in their classes. None: rows are dealt out whatever their class.
        changes: Settings of a client that differ, by its number from 0, as
            `{2: {"model.n_photons": 3}}`: of the model only for what stays with it, of the data
            `batch_size`, `drop_last` and `num_workers`, and of the Trainer.
        noise: What keeps the photons of a client from being ideal, by its number from 0: as for an
            `Experiment`, such as `{0: ascella, 1: {transmittance: 0.3}}`. Its photonic layers train
            and are scored under that, and keep the outcomes that they have in the recipe. The
            server scores, and what is saved has, the recipe's own.
        min_fraction: Share of the clients that a round needs, in (0, 1]: with fewer replies, the
            weights stay as they are.
        timeout: Seconds that the server waits for replies in a round, above 0.
        seed: Of first weights, splits, the partition of the rows, and the order of batches; None:
            as the recipe says of weights and splits, and 0 for the others.

    Raises:
        TypeError: If a setting has the wrong type.
        ValueError: If one is out of its range, or contradicts another.

    Example:
        >>> print(FederatedSettings(clients=3, rounds=10, local="photonic"))
        3 clients, 10 rounds of 1 epoch, fedavg, photonic parts stay local
    """

    clients: int = 4
    rounds: int = 5
    local_epochs: int = 1
    strategy: StrategyName = "fedavg"
    proximal_mu: float | None = None
    local: LocalName | None = None
    shares: Sequence[float] | None = None
    concentration: float | None = None
    changes: dict[int, dict[str, Any]] = field(default_factory=dict)
    noise: dict[int, Any] = field(default_factory=dict)
    min_fraction: float = 0.5
    timeout: float = 3600.0
    seed: int | None = None

    def __post_init__(self) -> None:
        check_arguments(type(self).__init__, vars(self))
        integer(self.clients, "clients", 2)
        integer(self.rounds, "rounds", 1)
        integer(self.local_epochs, "local_epochs", 1)
        if self.seed is not None:
            random_seed(self.seed, "seed")
        number(self.timeout, "timeout", above=0)
        number(self.min_fraction, "min_fraction", above=0, below=math.nextafter(1, 2))
        if self.concentration is not None:
            number(self.concentration, "concentration", above=0)
        self._check_proximal()
        self._check_clients()

    def _check_proximal(self) -> None:
        proximal = "proximal_mu" in STRATEGIES[self.strategy].needs
        if proximal != (self.proximal_mu is not None):
            raise ValueError(
                f"proximal_mu must be given with strategy='fedprox' and with no other, got "
                f"proximal_mu={self.proximal_mu} with {self.strategy!r}"
            )
        if self.proximal_mu is not None:
            number(self.proximal_mu, "proximal_mu", above=0)

    def _check_clients(self) -> None:
        if self.shares is not None:
            for share in self.shares:
                number(share, "each of shares", above=0)
            if len(self.shares) != self.clients:
                raise ValueError(
                    f"shares must have one entry for each of the {self.clients} clients, got "
                    f"{len(self.shares)}: give as many, or leave shares out for equal ones"
                )
        for client in self.changes:
            integer(client, "each key of changes", 0, self.clients - 1)
        for client, noise in self.noise.items():
            integer(client, "each key of noise", 0, self.clients - 1)
            if Noise.of(noise) is None:
                raise ValueError(f"noise[{client}] must be some, got None: leave the client out")
        names = [name.replace(".init_args.", ".") for own in self.changes.values() for name in own]
        for name in names:
            for section, reason in _OF_ALL.items():
                if f"{name}.".startswith(section) and name not in _OF_BATCHES:
                    raise ValueError(f"changes[...] cannot have {name!r}: {reason}")
        if self.local is None and any(f"{name}.".startswith("model.") for name in names):
            raise ValueError(
                "changes of the model are of what stays with a client, and local=None leaves "
                "nothing there: give local='photonic' for circuits of their own, or 'classical'"
            )

    @property
    def fewest(self) -> int:
        """The number of clients that a round needs."""
        return max(1, math.ceil(self.min_fraction * self.clients - 1e-9))

    def __str__(self) -> str:
        kept = f", {self.local} parts stay local" if self.local else ""
        return (
            f"{plural(self.clients, 'client')}, {plural(self.rounds, 'round')} of "
            f"{plural(self.local_epochs, 'epoch')}, {self.strategy}{kept}"
        )


def federated_settings(settings: Mapping[str, Any], **given: Any) -> FederatedSettings:
    """Read the section `federated:` of a recipe.

    Args:
        settings: The recipe; without the section, all are at their defaults.
        **given: Settings that take the place of the recipe's, unless they are None.

    Raises:
        ValueError: If a name is unknown, a value is none, or the recipe has a budget.
    """
    if settings.get("budget") is not None:
        raise ValueError(
            f"a federation takes circuits as they are, and the recipe has the budget "
            f"{settings['budget']!r}: leave it out, and give the modes and photons that `hybridlit "
            "fit` says with it"
        )
    section = settings.get("federated") or {}
    if not isinstance(section, Mapping):
        raise ValueError(f"federated must be a section of settings, got {section!r}")
    known = [each.name for each in fields(FederatedSettings)]
    for name in section:
        if name not in known:
            raise ValueError(f"federated has no {name!r}{meant(str(name), known)}; it has {known}")
    found = FederatedSettings(**section)
    changes = {name: value for name, value in given.items() if value is not None}
    return replace(found, **changes) if changes else found
