"""Imports of the command line leave out the search for garbage, and only those."""

import gc
import sys

import pytest

from hybridlit import cli
from hybridlit.cli.importing import unsearched


@pytest.fixture(autouse=True)
def searching():
    before = gc.isenabled()
    gc.enable()
    yield
    gc.unfreeze()
    gc.enable() if before else gc.disable()


def test_garbage_is_searched_again_afterwards():
    for own_process in (False, True):
        before = gc.get_freeze_count()
        with pytest.raises(ImportError), unsearched(own_process):
            assert not gc.isenabled()
            raise ImportError
        assert gc.isenabled()
        # somebody else's objects must still be found when they are let go
        assert (gc.get_freeze_count() > before) == own_process
    gc.disable()
    with unsearched(False):
        pass
    assert not gc.isenabled()


def test_only_the_command_line_owns_its_process(monkeypatch):
    seen = []
    monkeypatch.setattr(cli, "_train", lambda *given: seen.append(given))
    monkeypatch.setattr(sys, "argv", ["hybridlit", "fit"])
    cli.main()
    cli.main(["fit"])
    cli.main({"fit": {}})
    assert [given[-1] for given in seen] == [True, False, False]
