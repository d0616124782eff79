"""The first Ctrl-C waits, the second does not, and nobody else's handler is touched."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from hybridlit.resume.patience import Patience

pytestmark = pytest.mark.usefixtures("signals_kept")


def ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)


def usual():
    return signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_first_waits_for_the_stop(capfd):
    patience = Patience()
    patience.begin()
    patience.stop_if_asked()  # nobody has asked
    ctrl_c()
    assert patience.asked
    assert "Ctrl-C again stops at once" in capfd.readouterr().err
    with pytest.raises(KeyboardInterrupt):
        patience.stop_if_asked()
    assert usual() and not patience.asked
    with pytest.raises(KeyboardInterrupt):
        ctrl_c()


def test_the_second_does_not_wait():
    patience = Patience()
    patience.begin()
    ctrl_c()
    with pytest.raises(KeyboardInterrupt):
        ctrl_c()
    assert usual() and not patience.asked


def test_without_patience_only_a_block_is_finished():
    patience = Patience()
    patience.begin(waits=False)
    done = []
    with pytest.raises(KeyboardInterrupt), patience.held():
        ctrl_c()
        done.append("all of it")
    assert done and usual()
    patience.begin(waits=False)
    with pytest.raises(KeyboardInterrupt):
        ctrl_c()
    assert usual()


def test_with_patience_a_block_is_no_place_to_stop():
    patience = Patience()
    patience.begin()
    with patience.held():
        ctrl_c()
    assert patience.asked
    with pytest.raises(KeyboardInterrupt):
        patience.stop_if_asked()


def test_an_error_in_a_block_goes_first():
    patience = Patience()
    patience.begin(waits=False)
    with pytest.raises(OSError, match="full"), patience.held():
        ctrl_c()
        raise OSError("full")
    with pytest.raises(KeyboardInterrupt):
        patience.stop_if_asked()


def test_the_end_gives_ctrl_c_back():
    patience = Patience()
    patience.begin()
    patience.end()
    assert usual()


@pytest.mark.parametrize("other", [signal.SIG_IGN, lambda *_: None])
def test_the_handler_of_somebody_else_stays(other):
    patience = Patience()
    signal.signal(signal.SIGINT, other)
    patience.begin()
    assert signal.getsignal(signal.SIGINT) is other
    signal.signal(signal.SIGINT, signal.default_int_handler)
    patience.begin()
    signal.signal(signal.SIGINT, other)
    patience.end()
    assert signal.getsignal(signal.SIGINT) is other


def test_other_threads_leave_ctrl_c_alone():
    with ThreadPoolExecutor(1) as pool:
        pool.submit(Patience().begin).result()  # raises what it raises
    assert usual()


def test_the_end_forgets_one_that_waits():
    patience = Patience()
    patience.begin()
    ctrl_c()
    patience.end()
    patience.stop_if_asked()
    assert not patience.asked


def test_standard_error_may_be_closed(monkeypatch):
    def closed(*_):
        raise BrokenPipeError

    monkeypatch.setattr(os, "write", closed)
    patience = Patience()
    patience.begin()
    ctrl_c()
    assert patience.asked


def test_a_new_beginning_forgets_the_old_one():
    patience = Patience()
    patience.begin()
    ctrl_c()
    patience.end()
    patience.begin()
    patience.stop_if_asked()
    assert not patience.asked
