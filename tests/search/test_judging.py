"""What a trial costs, and what is never built."""

import copy

import optuna
import pytest
import torch
from fake_trials import fake_train, recipe
from optuna.trial import TrialState

from hybridlit import SklearnDataModule
from hybridlit.photonics.speed import Speed, assume_speed, speed
from hybridlit.recipe import build
from hybridlit.search import drawing, judging, study, worker
from hybridlit.search.judging import Judge
from hybridlit.search.settings import SearchSettings
from hybridlit.search.storage import open_storage
from hybridlit.search.study import prepared_search


@pytest.fixture(autouse=True)
def formula(monkeypatch, tmp_path):
    monkeypatch.setattr(worker, "train", fake_train)
    monkeypatch.setattr(study, "note_speed", lambda *given: None)
    monkeypatch.chdir(tmp_path)


def run_search(given, name="study", **options):
    return study.run_search(given, name=name, storage=f"journal:///{name}.log", **options)


def judge(**section):
    return Judge(recipe(), SearchSettings.read(recipe(**section)["search"]))


@pytest.mark.slow
def test_costs_are_those_of_the_model_that_is_built():
    search = run_search(recipe(objective=["score", "parameters", "states"]), trials=2)
    for trial in search.trials:
        model = build(search.recipe_of(trial)).model
        parameters = sum(p.numel() for p in model.parameters())
        cost = trial.user_attrs["cost"]
        assert cost["parameters"] == parameters and cost["batch_size"] == 64
        assert trial.values == [trial.user_attrs["score"], parameters, cost["states"]]
    hybrid, classical = search.trials
    modes = hybrid.params["model.n_modes"]  # of a single photon, outcomes are modes
    assert hybrid.values[2] == modes and classical.values[2] == 0


@pytest.mark.slow
def test_a_front_is_of_what_nothing_beats_in_everything():
    search = run_search(recipe(objective=["score", "parameters"]), trials=6)
    front = {trial.number for trial in search.front()}
    for trial in search.trials:
        beaten = any(
            other.values[0] >= trial.values[0]
            and other.values[1] <= trial.values[1]
            and other.values != trial.values
            for other in search.trials
        )
        assert (trial.number in front) != beaten
    assert search.best("hybrid").values[0] == max(t.values[0] for t in search.trials[::2])


@pytest.mark.slow
def test_what_cannot_be_built_is_drawn_again(capsys):
    """In the unbunched space there are more modes than photons."""
    space = {
        "model.n_modes": {"low": 3, "high": 4},
        "model.n_photons": {"low": 1, "high": 4},
        "model.computation_space": ["unbunched"],
    }
    search = run_search(recipe(space=space), trials=6)
    assert len(search.trials) == 6 and search.refused
    for trial in search.trials:
        assert trial.state is TrialState.COMPLETE
        assert trial.params["model.n_photons"] < trial.params["model.n_modes"]
    for trial in search.refused:
        assert trial.state is TrialState.FAIL
        assert trial.params["model.n_photons"] >= trial.params["model.n_modes"]
        assert "it cannot be built" in trial.user_attrs["reason"]
    assert "drawn again: it cannot be built" in capsys.readouterr().out


@pytest.mark.slow
def test_a_class_that_can_never_be_built_is_told_before_the_first_trial():
    space = {"model.class_path": ["SequentialHybrid", "fake_trials.Demanding"]}
    with pytest.raises(ValueError, match=r"no trial of fake_trials.Demanding .*needs wish"):
        run_search(recipe(space=space), trials=2)
    space["model.wish"] = ["one"]  # the study has not begun: the same name goes on
    assert len(run_search(recipe(space=space), trials=2).trials) == 2


def test_a_recipe_without_photons_has_no_hybrid_arm_and_is_refused():
    classical = recipe()
    classical["model"]["init_args"]["quantum"] = "mlp"
    with pytest.raises(ValueError, match="its hybrid arm would have no photonic layer"):
        run_search(classical)


@pytest.mark.parametrize(
    ("section", "wrong", "words"),
    [
        ("model", {"n_mods": 4}, "no argument 'n_mods' .did you mean 'n_modes'"),
        ("data", {"dataset": "digit"}, "dataset must be one of"),
    ],
)
def test_a_recipe_that_is_wrong_begins_no_study_and_can_be_mended(section, wrong, words):
    mended = recipe(trials=2)
    broken = copy.deepcopy(mended)
    broken[section]["init_args"] |= wrong
    with pytest.raises((TypeError, ValueError), match=words):
        run_search(broken)
    assert len(run_search(mended).trials) == 2


@pytest.mark.slow
def test_a_space_in_which_nothing_can_be_built_is_refused_with_the_reason():
    space = {"model.n_photons": [5], "model.n_modes": [4], "model.computation_space": ["unbunched"]}
    with pytest.raises(ValueError, match=r"no trial of SequentialHybrid can be built: .*photons"):
        run_search(recipe(space=space), trials=2)


@pytest.mark.slow
def test_no_trial_of_either_arm_is_over_the_budget(capsys):
    space = {"model.n_modes": {"low": 3, "high": 9}}
    search = run_search(recipe(space=space, budget="250 parameters"), trials=4)
    assert len(search.trials) == 4
    assert all(t.user_attrs["cost"]["parameters"] <= 250 for t in search.trials[::2])
    assert {trial.user_attrs["arm"] for trial in search.refused} == {"hybrid", "classical"}
    largest = max(trial.params["model.n_modes"] for trial in search.trials)
    for trial in search.refused:
        assert trial.params["model.n_modes"] > largest
        assert "over the 250 allowed" in trial.user_attrs["reason"]
    assert "drawn again: over the budget: " in capsys.readouterr().out


def test_a_budget_that_nothing_fits_is_refused_by_name(monkeypatch):
    monkeypatch.setattr(drawing, "_DRAWS", 5)
    space = {"model.n_modes": [14, 16], "model.n_photons": [6, 7]}
    with pytest.raises(ValueError, match=r"within the budget '1MiB' .*MiB of memory, .* the 1 MiB"):
        run_search(recipe(space=space, budget="1MiB"), trials=2)
    begun = prepared_search(recipe(space=space) | {"budget": "1MiB"}, storage="journal:///of.log")
    assert begun.settings.budget == "1MiB"
    with pytest.raises(ValueError, match=r"1[46] modes, [24] more than ascella has"):
        run_search(recipe(space=space, budget="ascella"), name="device", trials=2)


def test_what_is_free_on_the_machine_is_what_was_free_at_first(monkeypatch):
    settings = recipe(budget="Machine, 1s")
    monkeypatch.setattr("hybridlit.photonics.budget.available_memory", lambda: 10**9)
    first = prepared_search(settings, storage="journal:///study.log")
    monkeypatch.setattr("hybridlit.photonics.budget.available_memory", lambda: 10**6)
    again = prepared_search(settings, storage="journal:///study.log")
    assert again.task.settings.budget == first.task.settings.budget == "833333333 B, 1s"


class Unsized(SklearnDataModule):
    """Data whose batches have as many rows as a sampler likes."""

    batch_size = property(lambda self: "some", lambda self, value: None)


def test_rows_that_are_not_known_are_not_guessed():
    given = recipe(budget="1GiB") | {
        "data": {"class_path": f"{__name__}.Unsized", "init_args": {"dataset": "iris"}}
    }
    _, reason = Judge(given, SearchSettings.read(given["search"]))({})
    assert "its cost cannot be told: " in reason and "Unsized has no integer attribute" in reason


def test_judging_builds_nothing_and_draws_no_random_number():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    cost, reason = judge()({"model.n_modes": 30, "model.n_photons": 14})
    assert reason is None and cost["states"] > 10**10
    assert torch.equal(torch.get_rng_state(), before)


def test_estimates_of_time_go_by_the_machine_that_began_the_study(monkeypatch):
    slow = Speed("float32", 7.0, (1, 2), (1.0, 1.0), 1.0, 1.0, 1.0, 1.0)
    own = speed()
    monkeypatch.setattr(judging, "speed", lambda dtype: slow)
    begun = optuna.create_study(storage=open_storage("journal:///study.log"), study_name="study")
    judging.note_speed(begun, torch.float32)
    monkeypatch.setattr(judging, "speed", lambda dtype: own)
    judging.note_speed(begun, torch.float32)
    again = optuna.load_study(storage=open_storage("journal:///study.log"), study_name="study")
    with judging.the_same_speed(again):
        assert speed() == slow
        cost, _ = judge()({"model.n_modes": 4})
    assert cost["seconds"] > 7.0
    assume_speed(own)
    assert judge()({"model.n_modes": 4})[0]["seconds"] < 1.0
