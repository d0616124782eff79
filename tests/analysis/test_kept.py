"""A study that is interrupted goes on where it was, and gives the same numbers."""

import functools
import importlib
import itertools
import math
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningDataModule
from small_studies import Break, make_data, small_model, study

from hybridlit import SequentialHybrid
from hybridlit.analysis.ablation.baselines import BaselineRun, Beside
from hybridlit.analysis.ablation.decided import can_be_compared, decided_by
from hybridlit.analysis.ablation.kept import Kept
from hybridlit.analysis.ablation.measure import ScoredRows
from hybridlit.analysis.ablation.retraining import Recipe, Run
from hybridlit.analysis.splits import prepared
from hybridlit.analysis.trainings import Training

OPTIONS = dict(retrained=["linear"], posthoc=False)
RATES = dict(classical_lr=0.01, quantum_lr=0.01)  # one training a run


def interrupted(path, model, after, **changes):
    """What a study has said before Ctrl-C, which comes after so many runs, and then."""
    lines, runs = [], itertools.count(1)

    def tell(line):
        lines.append(line)
        if "seed" in line and next(runs) == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study(model, make_data(), keep=path, progress=tell, **OPTIONS, **changes)
    return lines


def numbers_of(found):
    values = found.to_dict()
    for each in [*values["retrained"], *values["baselines"]]:
        del each["seconds"]
    return values


def test_it_goes_on_with_the_same_numbers(tmp_path):
    torch.manual_seed(0)
    model, path, lines = small_model(SequentialHybrid, **RATES), tmp_path / "study.arms", []
    said = interrupted(path, model, 3)
    assert said[-1] == f"3 of 4 runs are kept in {path}: the same again goes on"
    one = study(model, make_data(), keep=path, progress=lines.append, **OPTIONS)
    assert lines[0] == f"3 of 4 runs are kept in {path}: the study goes on"
    assert len(lines) == 2 and lines[1].startswith("4 of 4  seed 1  linear: acc ")
    whole = study(model, make_data(), **OPTIONS)
    assert (one.earlier_runs, whole.earlier_runs) == (3, 0)
    assert numbers_of(one) | {"earlier_runs": 0} == numbers_of(whole)
    lines.clear()
    again = study(model, make_data(), keep=path, progress=lines.append, **OPTIONS)
    assert lines == [f"4 of 4 runs are kept in {path}: the study goes on"]
    assert again.retrained == one.retrained  # with the seconds that they took


def test_other_settings_begin_anew_and_say_so(tmp_path):
    model, path, lines = small_model(SequentialHybrid, **RATES), tmp_path / "study.arms", []
    interrupted(path, model, 1, seeds=2)
    before = path.read_bytes()
    with pytest.raises(RuntimeError, match="arm 'hybrid' failed"):  # before any run is done
        options = dict(accelerator="cpu", callbacks=[Break()])
        asked = OPTIONS | dict(trainer_options=options)
        study(model, make_data(), keep=path, progress=lines.append, **asked)
    assert lines == [f"{path} has runs of other settings: the study begins anew"]
    assert path.read_bytes() == before


def likelihood(outputs, targets):
    return outputs.log_softmax(1).gather(1, targets[:, None])[:, 0]


def decided(lr=1e-3, shift=0.0, data=None, score=None, split=0, baselines=(), jobs=1, **changes):
    """What decides the numbers of a run, with something changed."""
    torch.manual_seed(0)
    model = small_model(SequentialHybrid, classical_lr=lr)
    with torch.no_grad():
        model.quantum_layer.phases[0] += shift
    given = dict(max_epochs=1, monitor="val/loss", options={"accelerator": "cpu"}) | changes
    with prepared(make_data(**(data or {}))) as found:
        return decided_by(Recipe(model, None, **given), [score], found, split, baselines, jobs)


@pytest.mark.parametrize(
    ("changes", "other"),
    [
        ({}, []),
        (dict(lr=2e-3), ["another model"]),
        (dict(shift=1e-6), ["another model"]),
        (dict(data=dict(batch_size=10)), ["other data"]),
        (dict(data=dict(seed=1)), ["other data"]),
        (dict(max_epochs=2), ["other settings"]),
        (dict(monitor=None), ["other settings"]),
        (dict(options={"gradient_clip_val": 0.5}), ["other settings"]),
        (dict(split=1), ["other settings"]),
        (dict(baselines=["SVC"]), ["other settings"]),
        (dict(score=likelihood), ["other settings"]),
    ],
)
def test_what_decides_the_numbers(changes, other):
    before, now = decided(), decided(**changes)
    assert [name for name in now if before[name] != now[name]] == other


CODE = """
from lightning.pytorch import Callback

class Own(Callback):
    pass

def half(factor, outputs, targets):
    return factor * outputs[:, 0]
"""


def test_code_of_the_user_is_what_its_files_hold(tmp_path, monkeypatch):
    """Whatever reaches it: a callback, a function inside of another, a module that they import."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "code_of_a_user", raising=False)
    file = tmp_path / "code_of_a_user.py"
    file.write_text(CODE)
    own = importlib.import_module("code_of_a_user")
    given = dict(options={"callbacks": [own.Own()]}, score=functools.partial(own.half, 0.5))
    before = decided(**given)
    assert decided(**given) == before and can_be_compared(before.values())
    file.write_text(CODE.replace("outputs[:, 0]", "outputs[:, 1]"))
    now = decided(**given)
    assert [name for name in now if before[name] != now[name]] == ["other code"]
    monkeypatch.delitem(sys.modules, "code_of_a_user")


def test_what_was_typed_in_is_never_the_same(monkeypatch):
    typed = ModuleType("__main__")
    exec("def score(outputs, targets): return outputs[:, 0]", vars(typed))
    monkeypatch.setitem(sys.modules, "__main__", typed)
    with pytest.warns(UserWarning, match="score was typed into an interpreter or a notebook"):
        assert not can_be_compared(decided().values())
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))
    assert can_be_compared(decided().values())


class Batches(LightningDataModule):
    def __init__(self, value):
        super().__init__()
        self.batches = [(torch.ones(2), value)]

    def train_dataloader(self):
        return self.batches

    val_dataloader = test_dataloader = train_dataloader


def of_batches(value):
    recipe = Recipe(small_model(SequentialHybrid), None, max_epochs=1, monitor=None, options={})
    return decided_by(recipe, [], Batches(value), 0, (), 1)["other data"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1.0, 2.0),
        (np.ones(2), np.zeros(2)),
        (torch.ones(2, dtype=torch.cfloat).conj() * 1j, torch.ones(2, dtype=torch.cfloat)),
    ],
)
def test_batches_are_compared_whatever_is_in_them(one, other):
    assert of_batches(one) == of_batches(one) != of_batches(other)


def test_data_that_cannot_be_compared_end_nothing():
    with pytest.warns(UserWarning, match="the study is killed, it will begin anew"):
        assert not can_be_compared([of_batches(torch.eye(2).to_sparse())])


def test_other_threads_may_give_other_numbers(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    assert decided(jobs=2) == decided(jobs=3)
    before, now = decided(jobs=1), decided(jobs=None)
    assert [name for name in now if before[name] != now[name]] == [
        "another machine or number of threads"
    ]


def test_what_cannot_be_told_apart_is_never_the_same():
    with pytest.warns(UserWarning, match="give functions and classes by their name in a module"):
        one, two = (decided(score=lambda outputs, targets: 0) for _ in range(2))
    assert one["other settings"] != two["other settings"]


RUN = Run(
    ScoredRows(np.array([0.1, 1 / 3]), torch.tensor([[0.1], [-0.0]])),
    Training(0.1, 3, None, math.inf, (0.3, math.inf)),
    10,
    2,
    None,
    ((0.3, math.inf), (0.1, 0.2)),
)

BESIDE = Beside(
    {"SVC": BaselineRun(ScoredRows(np.array([1 / 7])), "C=1", 0.2)},
    {"MLP": "too many rows"},
    ScoredRows(np.array([0.25])),
    0.3,
)


def test_a_run_comes_back_to_the_last_bit(tmp_path):
    kept = Kept(tmp_path / "new" / "study.arms")
    assert kept.go_on({"other data": "a"}) is None
    kept.add((3, "linear"), RUN)
    kept.add((3, None), BESIDE)
    again = Kept(kept.path)
    assert again.go_on({"other data": "a"}) is None
    run = again.runs[3, "linear"]
    assert run.scored.rows.tobytes() == RUN.scored.rows.tobytes()
    assert torch.equal(run.scored.outputs, RUN.scored.outputs)
    assert run[1:] == RUN[1:] and type(run.training) is Training
    beside = again.runs[3, None]
    assert beside.baselines["SVC"].scored.rows.tolist() == [1 / 7]
    assert beside.baselines["SVC"][1:] == ("C=1", 0.2) and beside[1] == {"MLP": "too many rows"}
    assert beside.constant.rows.tolist() == [0.25] and beside.test_per_train == 0.3
    other = Kept(kept.path)
    said = other.go_on({"other data": "b"})
    assert said.endswith("has runs of other data: the study begins anew") and not other.runs


@pytest.mark.parametrize("content", [b"1,2\n", b"", b"hello world\n", b"a\n", {"state_dict": {}}])
def test_a_file_of_something_else_is_left_alone(content, tmp_path):
    path = tmp_path / "rows.csv"
    if isinstance(content, dict):
        torch.save(content, path)
    else:
        path.write_bytes(content)
    before = path.read_bytes()
    with pytest.raises(
        ValueError, match=r"keep must be a new file, or one of kept runs, got .*name"
    ):
        study(small_model(SequentialHybrid), make_data(), keep=path)
    assert path.read_bytes() == before


def test_a_file_that_cannot_be_written_ends_nothing(tmp_path):
    (tmp_path / "file").write_text("no folder")
    kept = Kept(tmp_path / "file" / "study.arms")
    kept.go_on({})
    with pytest.warns(UserWarning, match="runs of the study are not kept: .*study.arms"):
        kept.add((0, "hybrid"), RUN)
    kept.add((0, "linear"), RUN)  # of which nobody is warned again
    assert len(kept.runs) == 2 and not kept.lasting


def test_nothing_is_said_to_be_kept_that_is_not(tmp_path):
    model, path = small_model(SequentialHybrid, **RATES), tmp_path / "file" / "study.arms"
    path.parent.write_text("no folder")
    with pytest.warns(UserWarning, match="runs of the study are not kept"):
        said = interrupted(path, model, 1)
    assert not any("are kept" in line for line in said)
