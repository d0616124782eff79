"""The table of tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from hybridlit.checks import choice
from hybridlit.templates.tasks.classes import Binary, Multiclass, Multilabel
from hybridlit.templates.tasks.regression import Regression
from hybridlit.templates.tasks.task import Task

__all__ = ["TASKS", "TaskName", "make_task"]

TASKS: dict[str, type[Task]] = {
    task.name: task for task in (Multiclass, Binary, Multilabel, Regression)
}
"""Tasks by name."""

if TYPE_CHECKING:
    TaskName: TypeAlias = str
else:
    TaskName = Literal[tuple(TASKS)]


def make_task(task: str, output_dim: int, label_smoothing: float = 0.0) -> Task:
    """Return the task of a name of `TASKS`, for a number of outputs that fits it."""
    choice(task, "task", TASKS)
    return TASKS[task](output_dim, label_smoothing)
