"""A study as a whole, with a formula in the place of each training."""

import json
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
import torch
from fake_trials import fake_train, recipe, score_of
from optuna.trial import TrialState
from sqlalchemy.exc import IntegrityError

from hybridlit.search import storage, study, worker
from hybridlit.search.study import prepared_search


@pytest.fixture(autouse=True)
def formula(monkeypatch, tmp_path):
    monkeypatch.setattr(worker, "train", fake_train)
    monkeypatch.setattr(worker, "Judge", lambda *given: lambda changes: (None, None))
    monkeypatch.setattr(study, "note_speed", lambda *given: None)
    monkeypatch.chdir(tmp_path)


def run_search(given, name="study", **options):
    """Search on the quicker storage, a file for each name."""
    return study.run_search(given, name=name, **{"storage": f"journal:///{name}.log"} | options)


def contents(search):
    """All that must be the same after a resume."""
    return [
        {
            "number": trial.number,
            "state": trial.state,
            "values": trial.values,
            "params": trial.params,
            "steps": trial.intermediate_values,
            **{k: v for k, v in trial.user_attrs.items() if k != "seconds"},
        }
        for trial in search.study.trials
    ]


def test_trials_of_both_arms_take_turns_in_the_same_space(capsys):
    search = study.run_search(recipe(trials=8), name="turns")
    assert [t.user_attrs["arm"] for t in search.trials] == ["hybrid", "classical"] * 4
    for trial in search.trials:
        changes = trial.user_attrs["changes"]
        assert changes.get("model.quantum") == (
            "mlp" if trial.user_attrs["arm"] == "classical" else None
        )
        assert {n for n in changes if n != "model.quantum"} == set(recipe()["search"]["space"])
        assert trial.value == trial.user_attrs["score"] == score_of(search.recipe_of(trial))
        assert trial.user_attrs["seed"] == 0 and len(trial.user_attrs["history"]) == 4
    best = max(search.trials[::2], key=lambda trial: trial.value)
    assert search.best("hybrid").number == best.number
    assert [t.number for t in search.front()] == [search.study.best_trial.number]
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 8 and lines[0].startswith("trial 1 of 8  hybrid     acc 0.")
    assert Path("runs/search/turns/study.db").is_file()
    assert search.study.study_name == "turns"


def test_what_rates_of_photonic_parameters_are_is_not_searched_for_without_them():
    space = {"model.quantum_lr": [0.1, 0.2], "model.n_modes": [3, 4]}
    hybrid, classical = run_search(recipe(space=space, trials=2)).trials
    assert set(hybrid.user_attrs["changes"]) == set(space)
    assert set(classical.user_attrs["changes"]) == {"model.quantum", "model.n_modes"}


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_more_trials_later_are_those_of_one_go(sampler):
    whole = run_search(recipe(sampler=sampler), trials=20)
    for trials in (3, 13, 20):
        search = run_search(recipe(sampler=sampler), trials=trials, storage="journal:///parts.log")
        assert len(search.trials) == trials
    assert contents(search) == contents(whole)
    drawn = {json.dumps(trial.params) for trial in whole.trials}
    assert len(drawn) == 20, "a sampler with one seed for every trial draws the same again"


@pytest.mark.slow
def test_a_trial_that_was_under_way_is_done_again_as_itself(monkeypatch):
    whole = run_search(recipe(sampler="tpe"), trials=16, storage="journal:///whole.log")

    def killed(after):
        calls = []

        def train(*args, **options):
            calls.append(args)
            if len(calls) > after:
                raise KeyboardInterrupt
            return fake_train(*args, **options)

        return train

    for after in (3, 0, 7):
        monkeypatch.setattr(worker, "train", killed(after))
        with pytest.raises(KeyboardInterrupt):
            run_search(recipe(sampler="tpe"), trials=16, storage="journal:///parts.log")
    monkeypatch.setattr(worker, "train", fake_train)
    search = run_search(recipe(sampler="tpe"), trials=16, storage="journal:///parts.log")
    assert contents(search) == contents(whole)


def test_a_bad_trial_is_pruned_by_those_of_its_arm(capsys):
    search = run_search(recipe(sampler="random", pruner="median"), trials=24)
    pruned = [t for t in search.trials if t.state is TrialState.PRUNED]
    assert len(pruned) >= 3
    for trial in pruned:
        before = [
            t.user_attrs["score"]
            for t in search.trials[: trial.user_attrs["index"]]
            if t.user_attrs["arm"] == trial.user_attrs["arm"] and t.state is TrialState.COMPLETE
        ]
        assert len(before) >= 4 and trial.user_attrs["epochs"] < 4
        final = score_of(search.recipe_of(trial))
        assert sum(score > final for score in before) >= len(before) / 2
        assert trial not in [search.best("hybrid"), search.best("classical")]
    assert "pruned at epoch" in capsys.readouterr().out
    whole = run_search(recipe(sampler="random", pruner="none"), trials=24, name="whole")
    assert all(t.state is TrialState.COMPLETE for t in whole.trials)


def test_settings_that_changed_are_refused_by_name():
    run_search(recipe(), trials=2)
    run_search(recipe(trials=3, seeds=7))
    space = recipe()["search"]["space"] | {"model.n_modes": {"low": 3, "high": 7}}
    with pytest.raises(ValueError, match=r"space.model.n_modes.high was 6, is 7: put them back"):
        run_search(recipe(space=space))
    space = recipe()["search"]["space"] | {"model.quantum_output_dim": [2]}
    with pytest.raises(ValueError, match=r"space.model.quantum_output_dim.choices is new, is \[2"):
        run_search(recipe(space=space))
    with pytest.raises(ValueError, match=r"search\.sampler was 'random', is 'tpe'"):
        run_search(recipe(sampler="tpe"))
    with pytest.raises(ValueError, match=r"recipe\.trainer\.max_epochs was 4, is 5"):
        run_search(recipe() | {"trainer": {"accelerator": "cpu", "max_epochs": 5}})


@pytest.mark.slow
@pytest.mark.parametrize("error", [ValueError, TypeError])  # the latter in code of the user
def test_a_trial_that_fails_counts_and_three_of_nothing_else_end_the_search(
    error, monkeypatch, capsys
):
    def failing(settings, seed, **options):
        if settings["model"]["init_args"]["circuit_type"] == "series":
            raise error("no validation loss\nwas ever finite")
        return fake_train(settings, seed, **options)

    monkeypatch.setattr(worker, "train", failing)
    search = run_search(recipe(), trials=12)
    failed = [t for t in search.trials if t.state is TrialState.FAIL]
    assert 0 < len(failed) < 12 and len(search.trials) == 12
    assert {t.user_attrs["reason"] for t in failed} == {
        f"{error.__name__}: no validation loss was ever finite"
    }
    assert {t.params["model.circuit_type"] for t in failed} == {"series"}
    assert (
        f"failed: {error.__name__}: no validation loss was ever finite" in capsys.readouterr().out
    )
    with pytest.raises(RuntimeError, match=r"first 3 trials have failed.*was ever finite"):
        run_search(recipe(space={"model.circuit_type": ["series"]}), name="nothing")


def test_random_numbers_of_the_caller_stay_as_they_were():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    verbosity = optuna.logging.get_verbosity()
    run_search(recipe(), trials=2)
    assert torch.equal(torch.get_rng_state(), before)
    assert optuna.logging.get_verbosity() == verbosity


@pytest.mark.parametrize(
    ("section", "kind", "words"),
    [
        ({"space": None}, TypeError, "space must hold"),
        ({"sampler": "tpee"}, ValueError, "did you mean 'tpe'"),
        ({"pruner": "mean"}, ValueError, "pruner must be one of"),
        ({"objective": "acc"}, ValueError, "objective must be one of"),
        ({"objective": ["states"]}, ValueError, "must be score, alone or beside costs"),
        ({"objective": ["score", "states"], "pruner": "median"}, ValueError, "pruner must be none"),
        ({"trial": 3}, ValueError, "did you mean 'trials'"),
        ({"trials": 1}, ValueError, "trials must be at least 2"),
        ({"epochs": 0}, ValueError, "epochs must be at least 1"),
        ({"seeds": 1}, ValueError, "seeds must be at least 2"),
        ({"budget": 3}, TypeError, "budget must be words such as '2GiB, 20ms', got 3"),
        ({"objective": 3}, ValueError, "objective must be one of .* got 3"),
        ({"budget": "3 bits"}, ValueError, "has the word '3 bits'"),
        ({"slurm": 3}, TypeError, "slurm must hold options"),
    ],
)
def test_what_is_wrong_with_the_section_is_named(section, kind, words):
    with pytest.raises(kind, match=words):
        prepared_search(recipe(**section))
    assert not Path("runs").exists()


def test_what_is_missing_is_named():
    with pytest.raises(TypeError, match="no search: section"):
        run_search({k: v for k, v in recipe().items() if k != "search"})
    with pytest.raises(ValueError, match=r"give search.epochs"):
        run_search(recipe() | {"trainer": {}})
    with pytest.raises(ValueError, match="jobs must be at least 1"):
        run_search(recipe(), jobs=0)
    with pytest.raises(ValueError, match="trials must be at least 2"):
        run_search(recipe(), trials=1)
    for section in ("model", "data"):
        with pytest.raises(ValueError, match=f"name a class in its section '{section}', got "):
            run_search(recipe() | {section: {"init_args": {}}})
    with pytest.raises(ValueError, match=r"space has trainer.max_epochs, and search has epochs"):
        run_search(recipe(space={"trainer.max_epochs": [2, 3]}, epochs=2))
    with pytest.raises(TypeError, match="SklearnDataModule has no argument 'datset'"):
        prepared_search(recipe(space={"data.datset": ["iris"]}) | {"data": "SklearnDataModule"})
    with pytest.raises(ValueError, match="arm must be one of"):
        prepared_search(recipe()).best("photonic")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b"])
def test_a_name_that_is_no_folder_is_refused(name):
    with pytest.raises(ValueError, match="name of a study must be that of a folder"):
        study.run_search(recipe(), name=name)
    assert not Path("runs").exists()


@pytest.mark.parametrize("url", ["sqlite:///table.csv", "journal:///table.csv"])
def test_a_file_of_another_kind_is_refused_and_stays_as_it_is(url):
    Path("table.csv").write_text("a,b\n1,2\n" * 200)
    with pytest.raises(ValueError, match=f"storage '{url}' cannot be opened"):
        run_search(recipe(), storage=url)
    assert Path("table.csv").read_text() == "a,b\n1,2\n" * 200


@pytest.mark.slow
def test_without_optuna_it_is_said_what_to_install():
    code = (
        "import sys; sys.modules['optuna'] = None\n"
        "from hybridlit.cli import main; main(['search', '--config', 'recipe.yaml'])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 2
    assert run.stderr.strip() == (
        "hybridlit search: a search needs Optuna: pip install 'hybridlit[search]'"
    )


@pytest.mark.parametrize("url", ["study", "nothing://here", "mysql://nobody@localhost/studies"])
def test_a_storage_that_is_none_is_told(url):
    with pytest.raises(ValueError, match=f"storage '{url}' cannot be opened: "):
        study.run_search(recipe(), storage=url)


def test_a_database_that_another_begins_at_the_same_moment_is_tried_again(monkeypatch):
    tried = []

    def first_in_the_way(url, **options):
        tried.append(url)
        if len(tried) == 1:
            raise IntegrityError("insert", {}, Exception("UNIQUE constraint failed"))
        return real(url, **options)

    real = storage.RDBStorage
    monkeypatch.setattr(storage, "RDBStorage", first_in_the_way)
    monkeypatch.setattr(storage.time, "sleep", lambda seconds: None)
    assert isinstance(storage.open_storage("sqlite:///study.db"), real) and len(tried) == 2


def test_a_database_that_goes_on_failing_is_told(monkeypatch):
    def in_the_way(url, **options):
        raise IntegrityError("insert", {}, Exception("UNIQUE constraint failed"))

    monkeypatch.setattr(storage, "RDBStorage", in_the_way)
    monkeypatch.setattr(storage.time, "sleep", lambda seconds: None)
    with pytest.raises(ValueError, match=r"storage 'sqlite:///study.db' fails: .*UNIQUE"):
        storage.open_storage("sqlite:///study.db")


def test_a_trial_that_two_workers_have_added_counts_once():
    """One of them was silent for so long that the other has taken it for dead."""
    search = run_search(recipe(trials=4))
    search.study.add_trial(search.trials[1])
    assert [t.user_attrs["index"] for t in search.trials] == [0, 1, 2, 3]
    again = run_search(recipe(trials=6))
    assert [t.user_attrs["index"] for t in again.trials] == [0, 1, 2, 3, 4, 5]
    assert len(again.study.trials) == 7
