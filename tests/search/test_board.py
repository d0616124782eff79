"""Trials in TensorBoard: a run each, with hyperparameters, scores and a curve."""

from pathlib import Path

import pytest

pytest.importorskip("optuna")

from small_searches import a_search
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from hybridlit.search.board import log_trial
from hybridlit.search.outcomes import outcomes


def test_a_trial_is_a_run_with_its_settings_and_scores(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = Path("runs/search/digits/trials")
    trials = outcomes(a_search(6, pruned=[3], failed=[4], refused=[1]).study)
    for _ in "ab":  # a second worker, or a resumed search, adds nothing
        for each in trials:
            log_trial("digits", each)
    names = sorted(each.name for each in folder.iterdir())
    assert names == [
        "0001-hybrid",
        "0002-classical",
        "0003-hybrid",
        "0004-classical",
        "0006-classical",
    ]
    assert all(len(list((folder / name).iterdir())) == 1 for name in names)
    events = EventAccumulator(str(folder / "0004-classical"))
    events.Reload()
    scores = {tag: events.Scalars(tag)[0].value for tag in events.Tags()["scalars"]}
    assert scores["hp/acc"] == pytest.approx(0.9 - 0.3 / 5) and scores["hp/parameters"] == 93
    assert scores["hp/seconds"] == 1.5 and scores["hp/peak_bytes"] == 2**20 + 3
    assert [each.step for each in events.Scalars("val/loss")] == [0, 1, 2]
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    given = HParamsPluginData.FromString(content).session_start_info.hparams
    trial = next(each for each in trials if each.number == 4)
    assert given["model.n_photons"].number_value == trial.changes["model.n_photons"]
    assert given["model.fusion"].string_value == trial.changes["model.fusion"]
    assert given["arm"].string_value == "classical" and given["outcome"].string_value == "pruned"
    assert "model.quantum" not in given  # which the arm says


def test_a_killed_worker_or_a_full_disk_end_no_search(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trial = outcomes(a_search(2).study)[0]
    folder = Path("runs/search/digits/trials")
    (folder / ".0001-hybrid.abc").mkdir(parents=True)  # half written
    log_trial("digits", trial)
    assert (folder / "0001-hybrid").is_dir()
    Path("runs/search/full").write_text("no folder")
    with pytest.warns(UserWarning, match="what TensorBoard shows of this trial is left out"):
        log_trial("full", trial)
