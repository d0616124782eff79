"""What a cluster offers, on one machine: `srun` and `scontrol` as recipes/cluster needs them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from ranks_together import free_port

ROOT = Path(__file__).parents[1]
CLUSTER = ROOT / "recipes" / "cluster"

SRUN = """#!{python}
import os, subprocess, sys
tasks = int(os.environ["SLURM_NTASKS"])
own = [
    dict(os.environ, SLURM_PROCID=str(i), SLURM_LOCALID=str(i), SLURM_NODEID="0")
    for i in range(tasks)
]
running = [subprocess.Popen(sys.argv[1:], env=each) for each in own]
sys.exit(max(abs(each.wait()) for each in running))
"""


AUDIT = """
import os, sys
if os.environ.get("LOCAL_RANK", "0") != "0":
    here = os.getcwd()
    def note(event, arguments):
        writes = event in ("os.mkdir", "os.rename", "os.remove")
        if event == "open":
            writes = isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
        if writes and os.path.abspath(str(arguments[0])).startswith(here + os.sep):
            sys.stderr.write(f"\\nAUDIT {event} {arguments[0]}\\n")
    sys.addaudithook(note)
"""
"""A module `sitecustomize`: processes but the first tell what they write here."""


def environment(folder, job=None, tasks=2):
    """Of a job of SLURM, or of a shell, with this Python first on the path."""
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    (tools / "srun").write_text(SRUN.format(python=sys.executable))
    (tools / "scontrol").write_text('#!/bin/sh\necho "$@" >> scontrol.log\n')
    for name in ("srun", "scontrol"):
        (tools / name).chmod(0o755)
    unset = ("SLURM", "RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER", "TORCHELASTIC")
    found = {n: v for n, v in os.environ.items() if not n.startswith(unset)}
    found["PATH"] = f"{tools}:{Path(sys.executable).parent}:{found['PATH']}"
    (tools / "sitecustomize.py").write_text(AUDIT)
    found |= {"PYTHONPATH": f"{ROOT}:{tools}", "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    if job is not None:
        found |= {
            "SLURM_JOB_ID": str(job),
            "SLURM_JOB_NAME": "fit",
            "SLURM_NTASKS": str(tasks),
            "SLURM_NTASKS_PER_NODE": str(tasks),
            "SLURM_JOB_NUM_NODES": "1",
            "SLURM_NNODES": "1",
            "SLURM_NODELIST": "localhost",
            "MASTER_PORT": str(free_port()),
        }
    return found


def start(script, *arguments, folder, **options):
    """Start a script of `recipes/cluster` in a group of processes of its own."""
    return start_command("bash", CLUSTER / script, *arguments, folder=folder, **options)


def start_command(*command, folder, **options):
    return subprocess.Popen(
        [*map(str, command)],
        cwd=folder,
        env=environment(folder, **options),
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(process, seconds=600):
    """Wait for a script, and return what it said; an error if it failed."""
    said, _ = process.communicate(timeout=seconds)
    assert process.returncode == 0, said[-6000:]
    return said


def kill(process):
    """End a script and all that it has started, at once."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def wait_for(found, process, seconds=300):
    """Wait until there is something."""
    end = time.monotonic() + seconds
    while not found():
        if process.poll() is not None or time.monotonic() > end:
            kill(process) if process.poll() is None else None
            raise AssertionError("it has ended, or there was nothing in time")
        time.sleep(0.02)
