"""Calls in tasks of a cluster: here processes of this machine, and a SLURM that is none."""

import os
import stat
import sys
from pathlib import Path

import pytest

pytest.importorskip("submitit")

import worker_calls

from hybridlit.search import cluster as room, run_search
from hybridlit.search.cluster import CLUSTERS, Cluster, Interrupted

TESTS = str(Path(worker_calls.__file__).parent)


@pytest.fixture
def in_process(monkeypatch, tmp_path):
    """A cluster whose tasks are calls in this process."""
    monkeypatch.setitem(CLUSTERS, "debug", "")
    monkeypatch.setitem(room._LOOKS, "debug", 0.0)
    monkeypatch.setattr(room, "_FOREVER", 1)
    return Cluster("debug", tmp_path, {"time": 1})


def test_results_are_in_the_order_of_the_arguments(in_process):
    told = []
    found = in_process.run(pow, [(2, 3), (3, 4)], on_done=lambda *done: told.append(done))
    assert found == [8, 81] and told == [(0, 8), (1, 81)]


@pytest.mark.parametrize("name", ["debug", "local"])
def test_ctrl_c_ends_tasks_of_this_machine_alone(in_process, name):
    in_process.name = name

    def interrupted(index, result):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as raised:
        in_process.run(pow, [(2, 3), (3, 4)], on_done=interrupted)
    assert isinstance(raised.value, Interrupted) == (name != "local")
    if name != "local":
        assert "go on: scancel " in str(raised.value)


def test_what_cannot_be_a_cluster_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match=r"got 'slrum' \(did you mean 'slurm'"):
        Cluster("slrum", tmp_path)
    with pytest.raises(ValueError, match="needs SLURM's sbatch and srun, which are not on this"):
        Cluster("slurm", tmp_path, {"time": 5})
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(ImportError, match=r"pip install 'hybridlit\[search\]'"):
        Cluster("local", tmp_path)


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Programs named as SLURM's, which run an array of tasks at once, on this machine."""
    folder = tmp_path / "bin"
    folder.mkdir()
    programs = {
        "sbatch": """
import os, re, shutil, subprocess, sys
text = open(sys.argv[-1]).read()
shutil.copy(sys.argv[-1], os.environ["SUBMITTED"])
last = re.search(r"#SBATCH --array=0-(\\d+)", text)
for index in range(int(last[1]) + 1):
    own = dict(SLURM_JOB_ID=f"{77 + index}", SLURM_ARRAY_JOB_ID="77", SLURM_NTASKS="1",
               SLURM_ARRAY_TASK_ID=f"{index}", SLURM_JOB_NUM_NODES="1", SLURM_NODEID="0",
               SLURM_PROCID="0", SLURM_LOCALID="0", SLURM_JOB_NODELIST="here")
    subprocess.Popen(["bash", sys.argv[-1]], env=os.environ | own,
                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print("Submitted batch job 77")
""",
        "srun": """
import os, sys
words = sys.argv[1:]
first = next(n for n, word in enumerate(words) if os.path.basename(word).startswith("python"))
os.execvp(words[first], words[first:])
""",
        "sacct": "print('JobID|State|NodeList|\\n77_0|RUNNING|here|\\n77_1|RUNNING|here|')",
        "scontrol": "print('here')",
        "scancel": "",
    }
    for name, text in programs.items():
        path = folder / name
        path.write_text(f"#!{sys.executable}\n{text}")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SUBMITTED", str(tmp_path / "submitted.sh"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([TESTS, os.environ.get("PYTHONPATH", "")]))
    return tmp_path


def test_settings_of_slurm_are_checked(slurm):
    with pytest.raises(ValueError, match="slurm must have time, the minutes of a task"):
        Cluster("slurm", slurm / "jobs", {"partition": "gpu"})
    with pytest.raises(ValueError, match=r"slurm: .*partitoin"):
        Cluster("slurm", slurm / "jobs", {"partitoin": "gpu", "time": 5})


@pytest.mark.slow
def test_an_array_of_slurm(slurm):
    settings = {"partition": "gpu", "time": 90, "mem": "4GB", "array_parallelism": 1}
    found = Cluster("slurm", slurm / "jobs", settings).run(pow, [(2, 3), (3, 4)])
    assert found == [8, 81]
    script = (slurm / "submitted.sh").read_text()
    for line in ("partition=gpu", "time=90", "mem=4GB", "array=0-1%1", "job-name=hybridlit"):
        assert f"#SBATCH --{line}" in script


@pytest.mark.slow
def test_tasks_of_this_machine(slurm):
    looks = []
    local = Cluster("local", slurm / "jobs")
    assert local.run(pow, [(2, 3), (3, 4)], watch=lambda: looks.append(1)) == [8, 81]
    assert looks
    with pytest.raises(RuntimeError, match="failed: ValueError: number must be another one, got 3"):
        local.run(worker_calls.fails, [(3,)])


@pytest.mark.slow
def test_a_search_on_a_cluster_is_that_of_this_process(slurm, monkeypatch, capfd):
    """Two tasks share four trials, each of which follows from its number with this sampler."""
    monkeypatch.chdir(slurm)
    recipe = {
        "trainer": {"accelerator": "cpu", "max_epochs": 2},
        "model": {
            "class_path": "ParallelHybrid",
            "init_args": {"input_dim": 4, "output_dim": 3, "hidden_dims": [4]},
        },
        "data": {"class_path": "SklearnDataModule", "init_args": {"dataset": "iris"}},
        "search": {
            "space": {"model.classical_lr": {"low": 0.001, "high": 0.1, "log": True}},
            "sampler": "random",
            "pruner": "none",
            "trials": 4,
            "slurm": {"time": 5},
        },
    }
    here = run_search(recipe, name="here")
    capfd.readouterr()
    there = run_search(recipe, name="there", jobs=2, cluster="slurm")
    assert there.task.storage == "journal:///runs/search/there/study.journal"
    told = [(t.user_attrs["changes"], t.user_attrs["score"]) for t in there.trials]
    assert told == [(t.user_attrs["changes"], t.user_attrs["score"]) for t in here.trials]
    lines = capfd.readouterr().out.splitlines()
    assert sorted(line.split("  ")[0] for line in lines) == [f"trial {n} of 4" for n in range(1, 5)]
    assert len(list((slurm / "runs/search/there/trials").iterdir())) == 4
    again = run_search(recipe, name="there")  # the journal is there, so that this is no new study
    assert [t.number for t in again.study.trials] == [t.number for t in there.study.trials]
