"""The scripts of `recipes/cluster`, each with two processes of this machine."""

import re

import pytest
import torch
import yaml
from cluster_jobs import CLUSTER, ended, kill, start, start_command, wait_for

from hybridlit.search import run_search

SMALL_SEARCH = """
seed_everything: 0
trainer: {accelerator: cpu}
model:
  class_path: SequentialHybrid
  init_args: {input_dim: 4, output_dim: 3, n_modes: 4, n_photons: 2, quantum_dim: 3}
data:
  class_path: SklearnDataModule
  init_args: {dataset: iris}
search:
  space: {model.hidden_dim: [4, 8, 16], model.classical_lr: {low: 1e-3, high: 1e-1, log: true}}
  sampler: random
  epochs: 1
"""

RECIPE = CLUSTER.parent / "wine_parallel.yaml"
SHORT = [
    "--trainer.accelerator=cpu",
    "--trainer.max_epochs=4",
    "--data.batch_size=8",
    "--model.dropout=0.2",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
]

pytestmark = pytest.mark.slow


def checkpoint(folder, name="last.ckpt", version=0):
    path = folder / "runs" / RECIPE.stem / f"version_{version}" / "checkpoints" / name
    return torch.load(path, weights_only=True)


def same(one, other):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def test_what_a_second_process_writes_is_noticed(tmp_path):
    for number, expected in ((0, 0), (1, 1)):
        write = ["env", f"LOCAL_RANK={number}", "python", "-c", "open('x', 'w')"]
        assert ended(start_command(*write, folder=tmp_path)).count("AUDIT open x") == expected


def test_torchrun_fits_and_writes_from_one_process(tmp_path):
    more = ["--trainer.enable_progress_bar=true"]  # which puts together what one process shows
    more += ["--data.test_fraction=0.21"]  # of 178 wines: 37 rows, 19 and 18
    more += ["--trainer.callbacks+=PhotonicInspector", "--trainer.callbacks.save=true"]
    more += ["--trainer.callbacks+=ComponentProfiler", "--trainer.callbacks.trace=true"]
    said = ended(start("fit_torchrun.sh", RECIPE, 2, *SHORT, *more, folder=tmp_path))
    assert "AUDIT" not in said
    assert said.count("Best checkpoint:") == 1
    (run,) = (tmp_path / "runs" / RECIPE.stem).iterdir()
    assert len(list(run.glob("hparams.yaml"))) == len(list(run.glob("config*.yaml"))) == 1
    assert len(list(run.glob("events*"))) == 2  # of fit and of its test
    settings = yaml.safe_load((run / "config.yaml").read_text())
    assert settings["trainer"]["strategy"] == "ddp"
    assert not list(tmp_path.rglob(".in-use"))
    assert len(checkpoint(tmp_path)["callbacks"]["ExactResume"]["random"]) == 2
    assert list(run.rglob("*.png")) and list(run.rglob("*.trace.json"))

    predict = ["-m", "hybridlit", "predict", "--ckpt", "best"]
    alone = ["--trainer.strategy=auto", "--trainer.devices=1"]
    rows = []
    for launch, options in ((["torchrun", "--nproc-per-node=2"], []), (["python"], alone)):
        said = ended(start_command(*launch, *predict, *options, folder=tmp_path))
        (path,) = re.findall("Predictions: (.*)", said)
        assert path.endswith("predictions.pt")
        rows.append(torch.load(tmp_path / path))
    assert len(rows[0]) == 37
    torch.testing.assert_close(*rows, rtol=0, atol=1e-6)


def test_a_killed_job_goes_on_as_if_nothing_had_happened(tmp_path):
    """With SIGKILL for all processes, amid an epoch, twice; dropout draws in each process."""
    more = ["--trainer.callbacks.every_n_steps=1", "--trainer.callbacks.keep=99"]
    whole, broken = tmp_path / "jobs" / "1", tmp_path / "jobs" / "2"
    ended(start("fit.sbatch", RECIPE, *SHORT, *more, folder=tmp_path, job=1))
    for step in (3, 11):
        job = start("fit.sbatch", RECIPE, *SHORT, *more, folder=tmp_path, job=2)
        wait_for(lambda step=step: list(broken.rglob(f"step{step:08d}.ckpt")), job)
        kill(job)
    ended(start("fit.sbatch", RECIPE, *SHORT, *more, folder=tmp_path, job=2))
    expected, found = checkpoint(whole), checkpoint(broken)
    assert expected["global_step"] == found["global_step"] >= 20
    states = expected["callbacks"]["ExactResume"]["random"]
    assert len(states) == 2 and not torch.equal(states[0]["torch"], states[1]["torch"])
    for part in ("state_dict", "optimizer_states", "lr_schedulers"):
        assert same(expected[part], found[part]), part
    for number, state in enumerate(found["callbacks"]["ExactResume"]["random"]):
        assert same(state, states[number])
    assert [path.name for path in (broken / "runs" / RECIPE.stem).iterdir()] == ["version_0"]


def test_a_job_that_is_out_of_time_queues_again(tmp_path):
    job = start("fit.sbatch", RECIPE, *SHORT, "--trainer.max_epochs=5000", folder=tmp_path, job=7)
    wait_for(lambda: list(tmp_path.rglob("last.ckpt")), job)
    job.send_signal(10)  # SIGUSR1, for the shell alone
    wait_for(lambda: list(tmp_path.rglob("scontrol.log")), job)
    kill(job)
    (log,) = tmp_path.rglob("scontrol.log")
    assert log.read_text() == "requeue 7\n"


def test_workers_of_an_array_share_one_study(tmp_path, monkeypatch):
    recipe = tmp_path / "small.yaml"
    recipe.write_text(SMALL_SEARCH)
    workers = [start("search.sbatch", recipe, 6, folder=tmp_path, job=number) for number in (1, 2)]
    for worker in workers:
        ended(worker)
    monkeypatch.chdir(tmp_path)
    found = run_search(recipe, trials=6)  # nothing is left to do
    assert sorted(trial.user_attrs["index"] for trial in found.study.trials) == list(range(6))
    assert found.task.storage.startswith("journal:///")
    assert {trial.user_attrs["arm"] for trial in found.study.trials} == {"hybrid", "classical"}
