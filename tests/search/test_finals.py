"""The final: the best of each arm over seeds, on test rows that no trial has seen."""

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, TensorDataset, random_split

pytest.importorskip("optuna")
pytest.importorskip("sklearn")

from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from small_searches import RECIPE, a_search

from hybridlit.analysis.ablation.evidence import evidence
from hybridlit.recipe import build, build_data, changed
from hybridlit.search import finals as room
from hybridlit.search.finals import train_finals
from hybridlit.templates.tasks import NoScoreError


@pytest.fixture(scope="module")
def final():
    """A final of two seeds, what was trained for it, and what was told of it."""
    trained, told = [], []

    def watched(settings, seed, **options):
        trained.append((settings, seed, real(settings, seed, **options)))
        return trained[-1][2]

    real, room.train = room.train, watched
    try:
        search = a_search(8, scores=[0.1, 0.2, 0.9, 0.3, 0.5, 0.8, 0.4, 0.7])
        return train_finals(search, 2, tell=told.append), trained, told
    finally:
        room.train = real


@pytest.mark.slow
def test_the_best_of_both_arms_are_trained(final):
    found, trained, told = final
    assert {arm: each.trial for arm, each in found.contenders.items()} == {
        "hybrid": 3,
        "classical": 6,
    }
    assert [seed for _, seed, _ in trained] == [1, 1, 2, 2] and found.seeds == (1, 2)
    quantum = [each["model"]["init_args"].get("quantum") for each, _, _ in trained]
    assert quantum == [None, "mlp"] * 2
    assert {each.training.epochs for _, _, each in trained} == {2}  # those of the recipe
    rates = {each["model"]["init_args"]["classical_lr"] for each, _, _ in trained}
    assert rates == {each.changes["model.classical_lr"] for each in found.contenders.values()}
    assert [line.split("  acc")[0] for line in told] == [
        "final 1 of 4  hybrid     seed 1",
        "final 2 of 4  classical  seed 1",
        "final 3 of 4  hybrid     seed 2",
        "final 4 of 4  classical  seed 2",
    ]


def test_test_rows_are_those_of_the_trials_and_validation_rows_are_not(final):
    _, trained, _ = final
    of_trials = build(RECIPE, 0).data
    rows = {seed: each.data for _, seed, each in trained}
    for data in rows.values():
        for ours, theirs in zip(data.test, of_trials.test, strict=True):
            assert torch.equal(ours, theirs)
    assert not torch.equal(rows[1].val[0], rows[2].val[0])
    assert not torch.equal(rows[1].val[0], of_trials.val[0])


class DrawnAnew(LightningDataModule):
    """Foreign data whose split is drawn from the generators of torch, or is always the same."""

    def __init__(self, drawn: bool = True) -> None:
        super().__init__()
        self.drawn = drawn

    def setup(self, stage: str) -> None:
        x, y = torch.arange(60.0).reshape(15, 4), torch.arange(15) % 3
        generator = None if self.drawn else torch.Generator().manual_seed(0)
        self.parts = random_split(TensorDataset(x, y), [9, 6], generator)

    def train_dataloader(self):
        return DataLoader(self.parts[0], 3)

    def test_dataloader(self):
        return DataLoader(self.parts[1], 3)


def test_whether_test_rows_are_those_of_the_trials_is_seen_and_not_supposed():
    same, fixed = room._with_test_rows_of(RECIPE, 3)
    assert same and fixed["data"]["init_args"]["test_seed"] == 3
    own = changed(RECIPE, {"data.test_seed": 7})  # that the trials had
    same, fixed = room._with_test_rows_of(own, 3)
    assert same
    for ours, of_trials in zip(build_data(fixed, 4).test, build_data(own, 3).test, strict=True):
        assert torch.equal(ours, of_trials)
    for drawn in (True, False):
        foreign = {"class_path": f"{__name__}.DrawnAnew", "init_args": {"drawn": drawn}}
        same, _ = room._with_test_rows_of(RECIPE | {"data": foreign}, 3)
        assert same is not drawn
    # a recipe that only the space makes whole says nothing about its rows
    assert room._with_test_rows_of(changed(RECIPE, {"model.n_photons": 99}), 3)[0]


def test_the_verdict_is_of_paired_runs_on_the_same_rows(final):
    found, trained, _ = final
    scored = [each.tested for _, _, each in trained]
    expected = evidence(scored[::2], scored[1::2], 0.0).difference
    assert found.classical.difference == expected
    assert found.hybrid.scores == tuple(each.mean for each in scored[::2])
    assert found.test_rows == 30 and found.same_rows
    assert found.classical.photonic_parameters == 0 < found.hybrid.photonic_parameters


def test_baselines_stand_beside_it(final):
    found, trained, _ = final
    assert [each.name for each in found.baselines] == ["logistic regression", "SVC", "MLP grid"]
    chosen = found.baselines[1].settings[0]
    machine = make_pipeline(StandardScaler(), SVC(C=float(chosen.removeprefix("C="))))
    data = trained[0][2].data
    fitted = machine.fit(*map(np.asarray, data.train))
    assert found.baselines[1].scores[0] == pytest.approx(fitted.score(*map(np.asarray, data.test)))
    assert found.constant == pytest.approx(1 / 3)


def test_what_cannot_be_tested_is_refused():
    with pytest.raises(NoScoreError, match="no hybrid trial was trained to its end"):
        train_finals(a_search(4, failed=[0, 2]))
    search = a_search(4)
    search.recipe["data"]["init_args"]["test_fraction"] = 0.0
    try:
        with pytest.raises(NoScoreError, match="the data have no test rows"):
            train_finals(search, 2)
    finally:
        del search.recipe["data"]["init_args"]["test_fraction"]
    with pytest.raises(ValueError, match="seeds must be at least 2, got 1"):
        train_finals(search, 1)
    with pytest.raises(ValueError, match="margin must be above 0"):
        train_finals(search, 2, margin=0.0)
