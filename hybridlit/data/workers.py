"""Worker processes that do not end before the process that they load data for."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable

__all__ = ["EndedByParentOnly"]


class EndedByParentOnly:
    """Let a worker of a DataLoader pass over SIGTERM, unless its parent has sent it.

    A job that is stopped gets SIGTERM in all its processes at once, and Lightning ends the training
    step first. Without workers it could not: torch raises an error in the midst of it instead.
    Where the system does not tell who sends a signal, as on macOS and Windows, nothing changes.

    Args:
        then: The `worker_init_fn` that the user has given; None: none.
    """

    def __init__(self, then: Callable[[int], None] | None = None) -> None:
        self.then = then

    def __call__(self, worker: int) -> None:
        """Prepare this process, which is a worker.

        Args:
            worker: Its number, from 0.
        """
        parent = multiprocessing.parent_process()
        if parent is not None and parent.pid is not None and hasattr(signal, "sigwaitinfo"):
            # the thread inherits the mask; torch's own handler would end the process in any case
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            threading.Thread(target=_wait_for, args=(parent.pid,), daemon=True).start()
        if self.then is not None:
            self.then(worker)


def _wait_for(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)
