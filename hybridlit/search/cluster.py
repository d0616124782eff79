"""Calls spread over the tasks of a cluster, by submitit: as `run_jobs` does over processes."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from hybridlit.checks import choice, integer
from hybridlit.search.storage import folder_of
from hybridlit.workers import run_jobs

__all__ = ["CLUSTERS", "Cluster", "ClusterName", "Interrupted", "RunJobs", "spread"]

RunJobs = Callable[..., list[Any]]
"""`run_jobs`, or what does the same elsewhere: function, arguments and `on_done`."""

CLUSTERS = {
    "slurm": "an array of tasks of SLURM",
    "local": "processes on this machine, to try what a cluster would do",
}
"""Where the workers of a search can be, by name."""

if TYPE_CHECKING:
    ClusterName: TypeAlias = str
else:
    ClusterName = Literal[tuple(CLUSTERS)]

_FOREVER = 60 * 24 * 365  # minutes: a search ends by itself
_LOOKS = {"slurm": 10.0, "local": 0.2}
"""Seconds between two looks at the tasks."""


def spread(
    name: str,
    settings: Mapping[str, Any],
    jobs: int,
    cluster: ClusterName | None,
    watch: Callable[[], object] | None = None,
) -> RunJobs:
    """Return what does the calls of a search: processes of this machine, or tasks of a cluster.

    Args:
        name: Name of the study.
        settings: What SLURM is told: see `Cluster`.
        jobs: Number of processes.
        cluster: A key of `CLUSTERS`; None: processes.
        watch: Called now and then while tasks are at work.
    """
    if cluster is None:
        return partial(run_jobs, jobs=integer(jobs, "jobs", 1))
    return partial(Cluster(cluster, folder_of(name) / "tasks", settings).run, watch=watch)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, after which the tasks of a cluster go on; the message says how to end them."""


class _Call(NamedTuple):
    """A call that begins again when its task is preempted or runs out of time."""

    function: Callable[..., Any]

    def __call__(self, *arguments: Any) -> Any:
        return run_jobs(self.function, [arguments])[0]  # in one thread, as in other processes

    def checkpoint(self, *arguments: Any) -> Any:
        """Return what submitit submits in the place of a task that ends too early."""
        return import_module("submitit").helpers.DelayedSubmission(self, *arguments)


class Cluster:
    """Where calls are done: one task of a cluster for each.

    Functions and arguments are pickled into files that only tasks of the same user read. A task
    that is preempted, or out of time, is submitted again, three times at most.

    Args:
        name: A key of `CLUSTERS`.
        folder: Where submitit keeps calls, results and logs; all machines see it.
        settings: What SLURM is told, by submitit's names: `partition`, `time` (minutes), `mem`
            (such as `"4GB"`), `cpus_per_task`, `gpus_per_node`, `array_parallelism`, `account`,
            `setup` (lines of shell), `additional_parameters` and so on.

    Raises:
        ImportError: If submitit is not installed.
        ValueError: If the name or a setting is unknown, there is no `time`, or no SLURM here.
    """

    def __init__(self, name: str, folder: Path, settings: Mapping[str, Any] | None = None) -> None:
        choice(name, "cluster", CLUSTERS)
        self.name = name
        try:
            submitit = import_module("submitit")
        except ImportError as error:
            raise ImportError(
                "cluster needs submitit, which is not installed: pip install 'hybridlit[search]'"
            ) from error
        try:
            self._executor = submitit.AutoExecutor(folder, cluster=name, slurm_max_num_timeout=3)
        except RuntimeError as error:
            raise ValueError(
                "cluster 'slurm' needs SLURM's sbatch and srun, which are not on this machine: "
                "submit from a login node, or try cluster 'local'"
            ) from error
        if name == "local":
            self._executor.update_parameters(timeout_min=_FOREVER)
            return
        if "time" not in (settings or {}):
            raise ValueError("slurm must have time, the minutes of a task: slurm: {time: 120}")
        given = {f"slurm_{each}": value for each, value in (settings or {}).items()}
        try:
            self._executor.update_parameters(slurm_job_name="hybridlit", **given)
        except (NameError, TypeError, AssertionError) as error:
            raise ValueError(f"slurm: {error}") from None

    def run(
        self,
        function: Callable[..., Any],
        arguments: Sequence[tuple[Any, ...]],
        on_done: Callable[[int, Any], object] | None = None,
        watch: Callable[[], object] | None = None,
    ) -> list[Any]:
        """Call a function with each of the arguments, all at once, and wait for the results.

        Args:
            function: A function of a module.
            arguments: Its arguments, call by call; picklable, and so are results.
            on_done: Called with index and result of each call, in the order of `arguments`.
            watch: Called now and then while tasks are at work.

        Returns:
            The results, in the order of `arguments`.

        Raises:
            Interrupted: At Ctrl-C. Tasks on this machine have ended then.
            RuntimeError: If a task failed; the message says where its log is.
        """
        with self._executor.batch():
            jobs = [self._executor.submit(_Call(function), *each) for each in arguments]
        try:
            results = []
            for index, job in enumerate(jobs):
                results.append(self._result(job, watch))
                if on_done is not None:
                    on_done(index, results[-1])
            return results
        except KeyboardInterrupt:
            if self.name != "local":
                number = jobs[0].job_id.partition("_")[0]
                raise Interrupted(
                    f"Interrupted; the tasks {number} go on: scancel {number} ends them"
                ) from None
            for job in jobs:
                job.cancel(check=False)
            raise

    def _result(self, job: Any, watch: Callable[[], object] | None) -> Any:
        errors = import_module("submitit").core.utils
        while not job.done():
            if watch is not None:
                watch()
            time.sleep(_LOOKS[self.name])
        try:
            return job.result()
        except errors.UncompletedJobError as error:
            # a sentence, a line of dashes, the trace, another such line, where the log is
            said, *trace = re.split("^-{9,}$", str(error), flags=re.MULTILINE)
            *_, last = (trace or [said])[0].strip().splitlines() or [type(error).__name__]
            raise RuntimeError(
                f"task {job.job_id} failed: {last.strip()}; its log is {job.paths.stderr}"
            ) from error
