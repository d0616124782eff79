"""Rows -> jobs of a processor -> what was measured of each row."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import uuid4

import torch

from hybridlit.interop.processors.patience import JobFailedError, LostAnswerError, Patience
from hybridlit.interop.processors.results import Measured, Results
from hybridlit.interop.processors.target import Target

__all__ = ["Asked", "Jobs"]


class Asked(NamedTuple):
    """What is asked of a processor.

    Attributes:
        experiment: A `perceval.Experiment` with symbols.
        shots: Kept events of each row; None: probabilities.
        max_shots: The most that the processor spends on a row; None: what it needs.
        rows_per_job: Of a job, at most.
    """

    experiment: Any
    shots: int | None
    max_shots: int | None
    rows_per_job: int

    def computation(self, target: Target) -> Any:
        """Return a `perceval.Computation` for whatever values the symbols have.

        Args:
            target: The processor.
        """
        import perceval as pcvl

        command = target.command(self.shots is None)
        made = pcvl.Computation(command, self.experiment)
        known = {name for name, *_ in command.signature}
        if self.shots is not None:
            most = {} if self.max_shots is None else {"max_shots": self.max_shots}
            made.add_params(max_samples=self.shots, **most)
        elif "precision" in known:  # by default small probabilities are left out
            made.add_params(precision=1e-15)
        return made

    def job(self, target: Target, rows: Sequence[dict[str, float]]) -> Any:
        """Return a `perceval.ComputationIterator` over rows.

        Args:
            target: The processor.
            rows: The value of each symbol, row by row.
        """
        import perceval as pcvl

        made = pcvl.ComputationIterator(self.computation(target))
        for row in rows:
            made.add_iteration(circuit_params=row)
        return made


@dataclass(frozen=True)
class Jobs:
    """Rows that are to be measured.

    Args:
        target: The processor.
        asked: What is asked of it.
        rows: The value of each symbol, by the key of the row.
        results: What is known, and where it is kept.
        patience: How calls are tried again.
        done: Called with the number of rows whenever some have come.
    """

    target: Target
    asked: Asked
    rows: dict[str, dict[str, float]]
    results: Results
    patience: Patience
    done: Callable[[int], object]
    _errors: dict[str, int] = field(default_factory=dict, init=False)

    def run(self, generator: torch.Generator | None) -> None:
        """Measure the rows that `results` does not know, and fill it as they come.

        Args:
            generator: From which local simulators draw; None: torch's.

        Raises:
            ConnectionError: If the connection is lost.
            JobFailedError: If a job fails.
        """
        missing, size = self.results.missing(self.rows), self.asked.rows_per_job
        jobs = deque(missing[first : first + size] for first in range(0, len(missing), size))
        if self.target.remote:
            self._run_away(jobs)
        else:
            self._run_here(jobs, generator)

    def _run_here(self, jobs: Iterable[list[str]], generator: torch.Generator | None) -> None:
        symbols = self.asked.experiment.get_circuit_parameters()
        computation = self.asked.computation(self.target)
        for keys in jobs:
            found = []
            for key in keys:  # an iterator would copy the circuit for each
                for name, value in self.rows[key].items():
                    symbols[name].set_value(value)
                if self.asked.shots is not None:
                    _seed(generator)
                found.append(_measured(self.target.computer.execute(computation)))
                self.done(1)
            self.results.keep(uuid4().hex, keys, found)

    def _run_away(self, jobs: deque[list[str]]) -> None:
        """Send as many jobs at once as the platform takes, and collect what comes.

        Those as well that an earlier process has sent.
        """
        wanted = [job for job, keys in self.results.sent.items() if self.rows.keys() & keys]
        idle = 0
        while jobs or wanted:
            news = False
            while jobs and self._room() > 0:
                wanted.append(self._send(jobs.popleft()))
                news = True
            for job in list(wanted):
                if self._collected(job):
                    wanted.remove(job)
                    news = True
            if jobs or wanted:
                idle = 0 if news else idle + 1
                self.patience.wait(min(idle, 4))

    def _room(self) -> int:
        return int(self.patience(lambda: self.target.computer.available_jobs))

    def _send(self, keys: list[str]) -> str:
        computation = self.asked.job(self.target, [self.rows[key] for key in keys])
        computation.validate()
        self.results.keep_sending(keys)
        try:
            job = str(self.patience(self._taken, computation, sends=True))
        except LostAnswerError as error:
            raise ConnectionError(
                f"{error}, which may have arrived: look at its list of jobs"
            ) from None
        except Exception:
            self.results.forget(keys)
            raise
        self.results.keep_sent(job, keys)
        return job

    def _taken(self, computation: Any) -> Any:
        return self.target.layer.send(self.target.computer.prepare_payload(computation))

    def _collected(self, job: str) -> bool:
        """Take the results of a job if there are any."""
        status = self.patience(self.target.layer.get_job_status, job, self._errors.get(job, 0))
        self._errors[job] = self._errors.get(job, 0) + 1 if status is None else 0
        if status is None or not status.completed:
            return False
        keys = self.results.sent[job]
        if not status.success:
            self.results.forget(keys, job)
            raise JobFailedError(
                f"job {job} of {self.target.name} ended as {status.status.name.lower()}: "
                f"{status.stop_message or 'it does not say why'}; run the same again to send its "
                f"{len(keys)} rows once more"
            )
        found = self.patience(self.target.layer.get_results, job)
        several = found.get("results_list", [found])
        if len(several) != len(keys):
            raise JobFailedError(f"job {job} of {len(keys)} rows gave {len(several)} results")
        self.results.keep(job, keys, [_measured(each) for each in several])
        self.done(len(keys))
        return True


def _measured(found: dict[str, Any]) -> Measured:
    counts = {tuple(state): float(count) for state, count in found["results"].items()}
    share = found.get("global_perf")
    return Measured(counts, None if share is None else float(share))


def _seed(generator: torch.Generator | None) -> None:
    """Let Perceval draw from torch's random numbers, so that seeds and resumed runs hold."""
    import perceval as pcvl

    pcvl.random_seed(int(torch.randint(2**31, (), generator=generator).item()))
