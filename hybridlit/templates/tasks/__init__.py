"""What a model is trained for: one class, and one row of `TASKS`, is all that depends on a task.

Its name in messages, how targets are checked, the loss, predictions and metrics, what is said of
targets that do not fit, and what analyses ask: how a row is scored, and the best constant.
"""

from hybridlit.templates.tasks.classes import Binary, Multiclass, Multilabel
from hybridlit.templates.tasks.first_targets import FirstTargets
from hybridlit.templates.tasks.regression import Regression
from hybridlit.templates.tasks.table import TASKS, TaskName, make_task
from hybridlit.templates.tasks.task import NoScoreError, Task

__all__ = [
    "TASKS",
    "Binary",
    "FirstTargets",
    "Multiclass",
    "Multilabel",
    "NoScoreError",
    "Regression",
    "Task",
    "TaskName",
    "make_task",
]
