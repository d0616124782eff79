"""Rows -> jobs of a processor -> what was measured of each row."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from uuid import uuid4

import torch

from hybridlit.interop.processors.patience import JobFailedError, LostAnswerError, Patience
from hybridlit.interop.processors.results import Measured, Results
from hybridlit.interop.processors.target import Target

__all__ = ["Asked", "run_jobs"]


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


def run_jobs(
    target: Target,
    asked: Asked,
    rows: dict[str, dict[str, float]],
    results: Results,
    patience: Patience,
    done: Callable[[int], None],
    generator: torch.Generator | None,
) -> None:
    """Measure rows that `results` does not know, and fill it as they come.

    Args:
        target: The processor.
        asked: What is asked of it.
        rows: The value of each symbol, by the key of the row.
        results: What is known, and where it is kept.
        patience: How calls are tried again.
        done: Called with the number of rows whenever some have come.
        generator: From which local simulators draw; None: torch's.

    Raises:
        ConnectionError: If the connection is lost.
        JobFailedError: If a job fails.
    """
    missing = results.missing(rows)
    size = asked.rows_per_job
    jobs = deque(missing[first : first + size] for first in range(0, len(missing), size))
    if target.remote:
        _Remote(target, asked, rows, results, patience, done).run(jobs)
        return
    symbols = asked.experiment.get_circuit_parameters()
    computation = asked.computation(target)
    for keys in jobs:
        found = []
        for key in keys:  # an iterator would copy the circuit for each
            for name, value in rows[key].items():
                symbols[name].set_value(value)
            if asked.shots is not None:
                _seed(generator)
            found.append(_measured(target.computer.execute(computation)))
            done(1)
        results.keep(uuid4().hex, keys, found)


class _Remote:
    """Jobs that are sent away, as many at once as the platform takes."""

    def __init__(
        self,
        target: Target,
        asked: Asked,
        rows: dict[str, dict[str, float]],
        results: Results,
        patience: Patience,
        done: Callable[[int], None],
    ) -> None:
        self.target, self.asked, self.rows = target, asked, rows
        self.results, self.patience, self.done = results, patience, done
        self.errors: dict[str, int] = {}

    def run(self, jobs: deque[list[str]]) -> None:
        """Send jobs and collect what comes, those as well that an earlier process has sent."""
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
        status = self.patience(self.target.layer.get_job_status, job, self.errors.get(job, 0))
        self.errors[job] = self.errors.get(job, 0) + 1 if status is None else 0
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
