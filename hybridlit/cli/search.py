"""`hybridlit search`: the best settings of a recipe, photonic and classical, with equal trials."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hybridlit.checks import integer
from hybridlit.cli.options import command_of

__all__ = ["search"]


def search(
    config: str,
    trials: int | None = None,
    jobs: int = 1,
    storage: str | None = None,
    name: str | None = None,
    seeds: int | None = None,
    report: str | None = None,
    cluster: str | None = None,
    trials_only: bool = False,
) -> list[Path]:
    """Search for the best settings of a recipe, as its section `search` says.

    Every second trial is of a classical model with as many parameters. At the end the best of both
    kinds are trained again with other seeds, and tested on rows that no trial has seen. The same
    command goes on where it was left.

    Args:
        config: The recipe, by file or name.
        trials: Number of trials, those that are done included; that of the recipe, or 40, without.
        jobs: Processes that share the trials, or tasks of the cluster.
        storage: Where the study is, such as sqlite:///FILE, journal:///FILE, which machines may
            share, or a database; a file under runs/search without it.
        name: Name of the study; that of the recipe without it.
        seeds: Seeds of the final, at least 2; those of the recipe, or 5, without.
        report: A report, .html for one page, .md for text with pictures beside it.
        cluster: Where the trainings run: slurm, or local to try that; this process without it.
        trials_only: Do trials and no final, as a further worker of a search does.

    Returns:
        The files of the report.
    """
    command = command_of("search", search, dict(locals()))
    if report is not None and Path(report).suffix not in (".html", ".md"):
        raise ValueError(f"report must end in .html or .md, got {report!r}")
    if seeds is not None:
        integer(seeds, "seeds", 2)  # before the first trial
    from hybridlit.search import SearchSummary, run_search, summarize_search
    from hybridlit.search.storage import folder_of
    from hybridlit.search.study import prepared_search

    options: dict[str, Any] = {"trials": trials, "storage": storage, "name": name}
    try:
        found = run_search(config, jobs=jobs, cluster=cluster, **options)
        if trials_only:
            summary = SearchSummary(found)
        else:
            summary = summarize_search(found, seeds, jobs=jobs, cluster=cluster)
    except KeyboardInterrupt as interruption:
        reached = prepared_search(config, **options, shared=cluster is not None)
        done = f"{len(reached.trials)} of {reached.task.trials} trials are done"
        print("; ".join([*interruption.args, done, "the same command goes on."]), file=sys.stderr)
        raise
    print(f"\n{summary.conclusion}\n")
    print(f"Study: {found.task.storage}, named {found.task.name}")
    print(f"TensorBoard: tensorboard --logdir {folder_of(found.task.name) / 'trials'}")
    return [] if report is None else summary.report(command).write(report)
