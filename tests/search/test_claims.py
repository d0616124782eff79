"""Two workers never have the same trial, and what a dead one had is taken over."""

import os
import signal
import threading

import optuna
import pytest

from hybridlit.search import claims as module
from hybridlit.search.claims import Claims
from hybridlit.search.storage import open_storage


@pytest.fixture(params=["sqlite", "journal"])
def url(request, tmp_path):
    return f"{request.param}:///{tmp_path / 'study'}"


def test_a_claim_is_of_one_worker(url):
    with Claims("study", open_storage(url)) as first, Claims("study", open_storage(url)) as second:
        assert first.owners() == {}
        assert first.take([3, 4]) == 3 and first.take([3]) == 3
        assert second.take([3]) is None and second.owners() == {3: first.worker}
        assert second.take([3, 4]) == 4 and first.take([4]) is None


def test_what_a_worker_gives_up_is_free_and_its_draw_stays(url):
    with Claims("study", open_storage(url)) as first:
        assert first.take([0]) == 0
        first.note(0, {"model.n_modes": 4})
        first.note(0, {"model.n_modes": 5})
    with Claims("study", open_storage(url)) as second, Claims("study", open_storage(url)) as third:
        assert second.is_dead(first.worker)
        assert second.take([0]) == 0 and third.take([0]) is None
        assert second.drawn() == {0: {"model.n_modes": 4}}


@pytest.mark.slow
def test_of_many_at_once_one_has_it(url):
    """Each reads that the trial is free, and all claim it before the first looks again."""
    taken, workers = [], [Claims("study", open_storage(url)) for _ in range(4)]
    barrier = threading.Barrier(len(workers))

    def claim(worker):
        with worker:
            for index in range(5):
                barrier.wait()
                taken.append(worker.take([index]))
            barrier.wait()

    threads = [threading.Thread(target=claim, args=(worker,)) for worker in workers]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(index for index in taken if index is not None) == [0, 1, 2, 3, 4]


def test_the_claim_of_a_killed_process_is_taken_over_at_once(tmp_path):
    url = f"sqlite:///{tmp_path / 'study.db'}"
    Claims("study", open_storage(url))
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        claims = Claims("study", open_storage(url)).__enter__()
        os.write(writing, f"{claims.take([0])} {claims.worker}".encode())
        signal.pause()
    taken, owner = os.read(reading, 1000).decode().split()
    assert taken == "0"
    with Claims("study", open_storage(url)) as claims:
        assert not claims.is_dead(owner) and claims.take([0]) is None
        os.kill(process, signal.SIGKILL)  # a zombie until somebody waits for it, dead as well
        while not claims.is_dead(owner):
            pass
        assert claims.take([0]) == 0
        os.waitpid(process, 0)
        assert claims.owners() == {0: claims.worker}


def test_a_process_with_the_number_of_a_dead_worker_does_not_keep_its_trial(monkeypatch, tmp_path):
    storage = open_storage(f"sqlite:///{tmp_path / 'study.db'}")
    killed = Claims("study", storage)
    killed.worker = f"{module._machine()}/{os.getppid()}/abc"
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    log = optuna.load_study(study_name=module.name_of_claims("study"), storage=storage)
    log.set_user_attr(killed.worker, 1.0)
    assert killed.take([0]) == 0
    with Claims("study", storage) as claims:
        for now[0] in (0.0, 599.0):
            assert claims.take([0]) is None
        now[0] = 601.0
        assert claims.take([0]) == 0


def test_a_worker_elsewhere_is_dead_when_it_has_been_silent(monkeypatch, tmp_path):
    storage = open_storage(f"sqlite:///{tmp_path / 'study.db'}")
    other = Claims("study", storage)
    other.worker = "elsewhere/1/abc"
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    log = optuna.load_study(study_name=module.name_of_claims("study"), storage=storage)
    log.set_user_attr(other.worker, 1.0)
    assert other.take([0]) == 0
    with Claims("study", storage) as claims:
        assert claims.take([0]) is None
        now[0] = 59.0
        assert claims.take([0]) is None
        log.set_user_attr(other.worker, 2.0)  # by whatever clock
        now[0] = 100.0
        assert claims.take([0]) is None
        now[0] = 159.0
        assert claims.take([0]) is None
        now[0] = 161.0
        assert claims.take([0]) == 0
