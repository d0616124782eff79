import subprocess
import sys

import pytest
import torch

from hybridlit.photonics import Experiment, FockSpace, QuantumLayer, memory
from hybridlit.photonics.cost import estimate

MEASURE = """
import torch
from pathlib import Path
from hybridlit.photonics import Experiment, QuantumLayer

torch.set_num_threads({threads})
def step(modes, photons, batch, space):
    experiment = Experiment("series", modes, photons, computation_space=space)
    layer = QuantumLayer(modes - 1, experiment=experiment, output_mapping_strategy="none")
    layer = layer.to({dtype})
    x = torch.rand(batch, modes - 1, dtype={dtype})
    layer(x).backward(torch.ones(batch, layer.output_size, dtype={dtype}))

step(4, 2, 8, "fock"), step(4, 2, 8, "unbunched")  # whatever is loaded once
def resident(what):
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(what)))

Path("/proc/self/clear_refs").write_text("5")  # the highest so far is forgotten
before = resident("VmRSS")
step({modes}, {photons}, {batch}, "{space}")
print(resident("VmHWM") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    "modes,photons,batch,space,dtype",
    [
        (12, 6, 512, "fock", "torch.float32"),
        (16, 8, 64, "fock", "torch.float32"),
        (16, 8, 512, "unbunched", "torch.float64"),
        (20, 10, 64, "unbunched", "torch.float32"),
    ],
)
def test_peak_memory_is_what_a_step_takes(modes, photons, batch, space, dtype):
    """Resident memory at its highest, measured in a fresh process."""
    threads = torch.get_num_threads()
    code = MEASURE.format(
        modes=modes, photons=photons, batch=batch, space=space, dtype=dtype, threads=threads
    )
    environment = {"MALLOC_MMAP_THRESHOLD_": "65536"}  # freed memory goes back at once
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    measured = int(run.stdout)
    space = FockSpace(modes, photons, space)
    expected = memory.peak_bytes(space, batch, getattr(torch, dtype[6:]), "compiled")
    assert measured == pytest.approx(expected, rel=0.15)


def test_estimate_needs_nothing_built():
    cost = estimate(Experiment("series", 24, 12), 23, 16, calibrate=False)
    assert cost.states == 834_451_800
    assert cost.parameters == 2 * 24 * 23
    assert cost.seconds is None
    assert cost.peak_bytes > 2**34
    assert "834,451,800" in str(cost)
    reservoir = Experiment("parallel", 6, 3, reservoir_mode=True)
    assert estimate(reservoir, 5, 16, calibrate=False).parameters == 0


def test_estimate_counts_phases_and_multiply_adds():
    cost = estimate(Experiment("series", 6, 3), 12, 64, calibrate=False)
    layer = QuantumLayer(12, 2, experiment=Experiment("series", 6, 3))
    assert cost.parameters == layer.phases.numel()
    assert cost.states == layer.fock_space.size
    assert cost.multiply_adds == 6 * (1 + 6 + 21)
    unbunched = Experiment("series", 6, 3, computation_space="unbunched")
    assert estimate(unbunched, 5, 64, calibrate=False).multiply_adds == 6 + 6 * 5 + 15 * 4


def test_estimated_time_grows_with_the_work():
    small, large = (
        estimate(Experiment("series", modes, photons), modes - 1, 64)
        for modes, photons in [(6, 3), (12, 6)]
    )
    assert 0 < small.seconds < large.seconds < 10
    assert "thread" in str(large)


@pytest.mark.parametrize(
    "arguments,error,message",
    [
        ((0, 16), ValueError, "input_size must be at least 1"),
        ((3, 0), ValueError, "batch_size must be at least 1"),
        ((3, True), TypeError, "batch_size must be an integer"),
        ((3, 16, torch.float16), ValueError, "dtype must be torch.float32 or torch.float64"),
    ],
)
def test_bad_estimates(arguments, error, message):
    with pytest.raises(error, match=message):
        estimate(Experiment("series", 4, 2), *arguments)


def test_what_cannot_fit_is_refused_before_it_is_built():
    with pytest.raises(MemoryError, match=r"834,451,800 states.*unbunched.*2,704,156"):
        QuantumLayer(23, 4, experiment=Experiment("series", 24, 12))
    with pytest.raises(MemoryError, match="mode_expectations"):
        QuantumLayer(59, 4, experiment=Experiment("series", 60, 30))
    with pytest.raises(MemoryError, match="photons"):
        QuantumLayer(59, 10**9, experiment=Experiment("series", 12, 6))


def test_a_batch_that_cannot_fit_is_refused(monkeypatch):
    layer = QuantumLayer(11, 4, experiment=Experiment("series", 12, 6))
    monkeypatch.setattr(memory, "available_memory", lambda: 2**26)
    assert layer(torch.rand(64, 11)).shape == (64, 4)
    with pytest.raises(MemoryError, match=r"a batch of 4096 needs about .*what would fit: a batch"):
        layer(torch.rand(4096, 11))


def test_available_memory_is_below_all_memory():
    import os

    everything = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 2**20 < memory.available_memory() <= everything
