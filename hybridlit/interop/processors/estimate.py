"""How rows are measured, and what that asks of a processor."""

from __future__ import annotations

from dataclasses import dataclass

from hybridlit.checks import integer
from hybridlit.words import in_digits, plural

__all__ = ["Estimate", "Settings"]


@dataclass(frozen=True)
class Settings:
    """How rows are measured; see `evaluate`."""

    shots: int | None = None
    max_shots: int | None = None
    rows_per_job: int = 100
    retries: int = 5
    progress: bool = True

    def __post_init__(self) -> None:
        for name, least in (("shots", 1), ("max_shots", 1), ("rows_per_job", 1), ("retries", 0)):
            value = getattr(self, name)
            if value is not None or name not in ("shots", "max_shots"):
                integer(value, name, least)
        if self.max_shots is not None and self.max_shots < (self.shots or 0):
            raise ValueError(
                f"max_shots must be at least shots={self.shots}, of which each is an event that is "
                f"kept, got {self.max_shots}"
            )


@dataclass(frozen=True)
class Estimate:
    """What an evaluation asks of a processor, before anything is sent.

    Attributes:
        processor: Its name.
        rows: Circuits with phases to run, one for each row and circuit of a stack.
        known: Of these, those whose results are in the folder or under way already.
        jobs: That are sent.
        events: Kept events that are asked for in all; None: probabilities.
        max_shots: The most that a remote processor spends on all of them; None: it is local.
    """

    processor: str
    rows: int = 0
    known: int = 0
    jobs: int = 0
    events: int | None = None
    max_shots: int | None = None

    def __str__(self) -> str:
        known = f", {in_digits(self.known)} of them known" if self.known else ""
        what = "probabilities" if self.events is None else f"{in_digits(self.events)} kept events"
        spent = "" if self.max_shots is None else f" from at most {in_digits(self.max_shots)} shots"
        return (
            f"{self.processor}: {plural(self.rows, 'row')}{known}, in {plural(self.jobs, 'job')}; "
            f"{what}{spent}"
        )

    def __add__(self, other: Estimate) -> Estimate:
        def both(name: str) -> int | None:
            given = [v for v in (getattr(self, name), getattr(other, name)) if v is not None]
            return sum(given) if given else None

        return Estimate(
            self.processor,
            self.rows + other.rows,
            self.known + other.known,
            self.jobs + other.jobs,
            both("events"),
            both("max_shots"),
        )
