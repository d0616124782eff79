"""A search in earnest: killed at random moments, and shared by processes."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from fake_trials import recipe

from hybridlit.cli import main
from hybridlit.search.study import prepared_search

SPACE = {
    "model.class_path": ["SequentialHybrid", "ParallelHybrid"],
    "model.n_modes": {"low": 3, "high": 6},
    "model.n_photons": {"low": 1, "high": 4},
    "model.computation_space": ["fock", "unbunched"],  # of which some cannot be built
    "model.fusion": ["concat", "sum"],
    "model.classical_lr": {"low": 1e-3, "high": 1e-1, "log": True},
}


TRIALS = 16
"""Of each arm the last ones go by the first five, and are pruned by them."""


def written():
    """Write the recipe in the working folder, and return its name."""
    settings = recipe(space=SPACE, sampler="tpe", trials=TRIALS)
    settings["model"]["init_args"] = {
        "input_dim": 4,
        "output_dim": 3,
        "quantum_dim": 3,
        "hidden_dim": 8,
    }
    settings["trainer"]["max_epochs"] = 5
    Path("small.yaml").write_text(yaml.safe_dump(settings))
    return "small.yaml"


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return written()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The trials of a search that nobody has killed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("whole"))
        path, storage = written(), "sqlite:///whole.file"
        search = started(path, f"--storage={storage}")
        assert search.wait() == 0, search.stderr.read()
        return contents(path, storage)


def started(path, *words):
    """Start a search in a process of its own, and with it all of its group."""
    return subprocess.Popen(
        [sys.executable, "-m", "hybridlit", "search", "--trials_only", f"--config={path}", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def contents(path, storage):
    """All but what was measured: durations, and the speed of the machine in estimates of time."""
    search = prepared_search(path, storage=storage)
    trials = search.study.trials
    for trial in trials:
        (trial.user_attrs["cost"] or {}).pop("seconds", None)
    return [
        json.dumps(
            [
                trial.number,
                trial.state.name,
                trial.values,
                trial.params,
                trial.intermediate_values,
                {k: v for k, v in trial.user_attrs.items() if k != "seconds"},
            ],
            sort_keys=True,
        )
        for trial in trials
    ]


@pytest.mark.slow
def test_a_search_goes_on_by_the_same_command_and_ctrl_c_says_so(path, capsys, monkeypatch):
    from hybridlit.search import worker

    calls = []

    def interrupted(*given, **options):
        calls.append(given)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return train(*given, **options)

    train = worker.train
    monkeypatch.setattr(worker, "train", interrupted)
    words = ["search", f"--config={path}", "--trials=4", "--storage=journal:///study.log"]
    words.append("--trials_only")
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 130
    printed = capsys.readouterr()
    assert "2 of 4 trials are done; the same command goes on." in printed.err
    assert sum(line.startswith("trial ") for line in printed.out.splitlines()) >= 2
    main(words)
    printed = capsys.readouterr()
    lines = [line for line in printed.out.splitlines() if "drawn again" not in line]
    assert [line[:12] for line in lines[:2]] == ["trial 3 of 4", "trial 4 of 4"]
    assert "Study: journal:///study.log, named small" in lines
    for word in ("GPU", "rank_zero", "Epoch", "Trainer", "A new study"):
        assert word not in printed.out + printed.err


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "journal"])
def test_killed_four_times_a_search_ends_with_the_trials_of_one_that_was_not(path, kind, whole):
    moments = random.Random(kind)
    for _ in range(4):
        process = started(path, f"--storage={kind}:///parts.file")
        assert process.stdout.readline().startswith("trial"), process.stderr.read()
        time.sleep(moments.uniform(0.0, 0.5))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "the search was done before"
    last = started(path, f"--storage={kind}:///parts.file")
    assert last.wait() == 0, last.stderr.read()
    assert contents(path, f"{kind}:///parts.file") == whole


@pytest.mark.slow
def test_two_commands_of_two_workers_each_do_no_trial_twice(path):
    words = ("--storage=sqlite:///shared.file", "--jobs=2")
    processes = [started(path, *words) for _ in range(2)]
    lines = []
    for process in processes:
        out, err = process.communicate()
        assert process.returncode == 0, err
        lines += [line for line in out.splitlines() if line.startswith("trial")]
    done = [line.split()[1] for line in lines if "drawn again" not in line]
    assert sorted(map(int, done)) == list(range(1, TRIALS + 1))
    search = prepared_search(path, storage=words[0].partition("=")[2])
    assert [trial.user_attrs["index"] for trial in search.trials] == list(range(TRIALS))
    assert len(search.study.trials) == TRIALS + len(search.refused)


@pytest.mark.slow
def test_what_a_killed_worker_had_is_done_by_another(path):
    storage = "--storage=sqlite:///shared.db"
    first = started(path, storage)
    for _ in range(3):
        first.stdout.readline()
    second = started(path, storage)
    second.stdout.readline()
    first.send_signal(signal.SIGKILL)
    _, err = second.communicate()
    assert second.returncode == 0, err
    search = prepared_search(path, storage=storage.partition("=")[2])
    assert [trial.user_attrs["index"] for trial in search.trials] == list(range(TRIALS))
