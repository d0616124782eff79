"""What processes of tests share: threads, garbage, an end; fixtures are in `common_fixtures.py`."""

import atexit
import gc
import importlib.util
import logging
import os
from collections import Counter

import pytest

# Files are tested side by side, and tensors are small: one thread for each process is fastest.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Modules that tests import are searched for doctests as well; this one needs an extra of its own.
collect_ignore = [] if importlib.util.find_spec("perceval") else ["fake_platform.py"]

LONG = ("test_costs.py", "test_killed.py", "test_cluster.py", "test_guilty_part.py")
"""Files of few tests that take minutes: begun last, they would leave the other processes idle."""


def leave(worker):
    """End a process of tests at once; not one that a test has forked."""
    if os.getpid() == worker:
        os._exit(0)


def pytest_configure(config):
    """Fixtures import torch, which takes seconds: not in a process that only deals out tests."""
    if hasattr(config, "workerinput"):
        # To take apart all that ten thousand tests have imported would take another ten; first, so
        # that whatever else is to be done at the end comes before.
        atexit.register(leave, os.getpid())
    if config.getoption("dist", "no") == "no" or config.getoption("collectonly"):
        config.pluginmanager.import_plugin("common_fixtures")
    config.option.loadscopereorder = False  # pytest-xdist takes files as they are sorted below


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Long files begin first, then those of many tests."""
    count = Counter(item.path for item in items)
    items.sort(key=lambda item: (item.path.name not in LONG, -count[item.path]))


def pytest_collection():
    """What is collected stays until the end: to look for garbage meanwhile is idle."""
    gc.disable()


def pytest_collection_finish():
    """Ten thousand tests and all that they import are not looked through again and again.

    Of torch's fifty loggers only the first keeps to itself: pytest adds its handlers to each that
    does, and takes them away, six times a test.
    """
    gc.freeze()
    gc.enable()
    for name, logger in logging.root.manager.loggerDict.items():
        if name.startswith("torch.") and isinstance(logger, logging.Logger):
            logger.propagate = True
