import json
import os
import subprocess
import sys
import time
import tracemalloc
from collections import OrderedDict

import psutil
import pytest
import torch

from hybridlit.cli.plan import plan
from hybridlit.internals.torch_operations import CountedOperations
from hybridlit.photonics import (
    BeamSplitter,
    Circuit,
    ComputationSpace,
    Data,
    Experiment,
    FockSpace,
    Interferometer,
    PhaseShifter,
    QuantumLayer,
    QuantumLayerStack,
    sizes as memory,
    step_sizes,
    tables,
    use_kernel,
)
from hybridlit.photonics.cost import estimate
from hybridlit.photonics.kernels import compiled, reference
from hybridlit.photonics.kernels.choice import kernel_for

MEASURE = """
import ctypes, json, os, sys, traceback
PR_SET_THP_DISABLE = 41  # huge pages would count as resident where a few bytes are in use
ctypes.CDLL(None).prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)
import torch
from pathlib import Path
from hybridlit.photonics import Experiment, QuantumLayer, use_kernel
from hybridlit.photonics.kernels.compiled.machine_code import address_of

def made(modes, photons, batch, space, dtype, circuit="series"):
    experiment = Experiment(circuit, modes, photons, computation_space=space)
    layer = QuantumLayer(modes - 1, experiment=experiment, output_mapping_strategy="none")
    return layer.to(dtype), torch.rand(batch, modes - 1, dtype=dtype)

def run(kernel, layer, x):
    with use_kernel(kernel):
        layer(x).backward(torch.ones(len(x), layer.output_size, dtype=x.dtype))

def step(kernel, *case):
    run(kernel, *made(*case))

def small_steps(kernel, dtype):
    step(kernel, 4, 2, 8, "fock", dtype)
    step(kernel, 4, 2, 8, "unbunched", dtype)
    step(kernel, 8, 2, 8, "fock", dtype)
    address_of("team.share")  # with which several threads begin, and what they share a tile by
    for stage in "begin fill write weigh scale slopes seed remove collect end".split():
        address_of(f"state_kernels.{stage}", dtype.itemsize)
    if kernel == "auto":
        step("torch", 4, 2, 8, "fock", dtype)  # for more states than the compiled kernel serves

def resident(what):
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(what)))

def measured(kernel, modes, photons, batch, space, dtype, circuit):
    dtype = getattr(torch, dtype)
    torch.set_num_threads(2)
    small_steps(kernel, dtype)  # what is loaded, or compiled, once
    layer, x = made(modes, photons, batch, space, dtype, circuit)
    ctypes.CDLL(None).malloc_trim(0)  # what is free already would not show as growth
    Path("/proc/self/clear_refs").write_text("5")  # the highest so far is forgotten
    before = resident("VmRSS")
    run(kernel, layer, x)
    return resident("VmHWM") - before

torch.set_num_threads(1)  # one with more must not be forked
small_steps("auto", torch.float32)
for line in sys.stdin:
    if os.fork() == 0:
        try:
            print(measured(*json.loads(line)), flush=True)
        except BaseException:
            print(traceback.format_exc().splitlines()[-1], flush=True)
        os._exit(0)
    os.wait()
"""


@pytest.fixture(scope="module")
def measured():
    """Measures a step in a fork of a process that has imported what it takes: each is fresh."""
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}  # freed memory goes at once
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with subprocess.Popen([sys.executable, "-c", MEASURE], env=environment, **pipes) as process:

        def measure(*case):
            process.stdin.write(json.dumps(case) + "\n")
            process.stdin.flush()
            return int(process.stdout.readline())

        yield measure
        process.stdin.close()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    "kernel,modes,photons,batch,space,dtype,circuit",
    [
        pytest.param(
            "compiled", 12, 6, 512, "fock", torch.float32, "series", marks=pytest.mark.slow
        ),
        ("compiled", 16, 8, 64, "fock", torch.float32, "series"),
        pytest.param(
            "compiled", 16, 8, 512, "unbunched", torch.float64, "series", marks=pytest.mark.slow
        ),
        pytest.param(
            "compiled", 20, 10, 64, "unbunched", torch.float32, "series", marks=pytest.mark.slow
        ),
        pytest.param(
            "compiled", 128, 2, 512, "fock", torch.float32, "series", marks=pytest.mark.slow
        ),  # the interferometers
        pytest.param(
            "compiled", 40, 1, 8192, "fock", torch.float32, "parallel", marks=pytest.mark.slow
        ),  # the data phases
        pytest.param(
            "torch", 12, 6, 256, "fock", torch.float32, "series", marks=pytest.mark.slow
        ),  # the terms of a step
        pytest.param(
            "torch", 20, 8, 2, "unbunched", torch.float32, "series", marks=pytest.mark.slow
        ),  # the tables
        pytest.param(
            "torch", 4, 30, 256, "fock", torch.float64, "series", marks=pytest.mark.slow
        ),  # the states of fewer photons
        ("torch", 20, 3, 1024, "fock", torch.float32, "parallel_columns"),  # the columns of U(x)
        pytest.param(
            "torch", 90, 2, 8, "fock", torch.float32, "series", marks=pytest.mark.slow
        ),  # the interferometers
        pytest.param("auto", 300, 2, 64, "fock", torch.float32, "series", marks=pytest.mark.slow),
        pytest.param("auto", 500, 1, 4096, "fock", torch.float32, "series", marks=pytest.mark.slow),
        ("auto", 150, 3, 8, "unbunched", torch.float64, "series"),  # the outcomes
        pytest.param("auto", 500, 3, 1, "fock", torch.float32, "series", marks=pytest.mark.slow),
    ],
)
def test_peak_memory_is_what_a_step_takes(
    measured, monkeypatch, kernel, modes, photons, batch, space, dtype, circuit
):
    """Resident memory at its highest, of two threads."""
    case = kernel, modes, photons, batch, space, str(dtype).removeprefix("torch."), circuit
    taken = measured(*case)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    experiment = Experiment(circuit, modes, photons, computation_space=space)
    with use_kernel(kernel):
        chosen = kernel_for(experiment.fock_space, torch.zeros(1, dtype=dtype))
    expected = memory.peak_bytes(
        experiment.fock_space,
        batch,
        dtype,
        chosen,
        columns=len(experiment.encoding_for(modes - 1)),
        inputs=sum(map(bool, experiment.occupation)),
        meshes_in_torch=kernel == "torch",
    )
    assert taken == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize(
    "modes,photons,space", [(7, 4, "fock"), (8, 5, "unbunched"), (3, 0, "fock")]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tables_of_the_torch_kernel_are_counted_to_the_byte(
    monkeypatch, modes, photons, space, dtype
):
    monkeypatch.setattr(tables, "_kept", OrderedDict())
    occupied = [0] * photons if space == "fock" else list(range(photons))
    columns = torch.ones(modes, photons, 1, dtype=dtype.to_complex())
    reference.layers(columns, occupied, ComputationSpace(space))
    held = sum(table.nbytes for made in tables._kept.values() for table in made)
    outcomes = FockSpace(modes, photons, space)
    assert memory.transition_bytes(outcomes, dtype.itemsize) == held


def test_tables_count_in_what_the_torch_kernel_needs():
    """28 modes, 14 photons, unbunched: far more than everything else."""
    space = FockSpace(28, 14, "unbunched")
    held = memory.transition_bytes(space, 4)
    assert held == pytest.approx(35.7 * 2**30, rel=1e-2)
    assert memory.peak_bytes(space, 1, torch.float32, "torch") > held


@pytest.mark.parametrize("space", [FockSpace(9, 5), FockSpace(9, 5, "unbunched"), FockSpace(4, 0)])
def test_states_are_counted_in_closed_form(space):
    sizes = [FockSpace(space.modes, k, space.space).size for k in range(space.photons + 1)]
    assert memory.states_up_to(space) == sum(sizes)
    assert memory.states_up_to(space, space.photons - 1) == sum(sizes[:-1])


@pytest.mark.parametrize("circuits", [1, 3])
@pytest.mark.parametrize("recompute", [None, False, True])
def test_kept_states_are_what_the_kernel_keeps(circuits, recompute):
    """For several circuits as well, on both sides of the limit, which holds for all of them."""
    space, columns, occupied = FockSpace(8, 4), 2, (0, 2, 4, 6)
    cells = 8 * 7 // 2
    sizes = set()
    for batch in (1, 17, 300, 352, 368, 400, 1056, 1072, 1088, 1200):
        phases = torch.rand(circuits, columns + 1, cells, 2)
        data = torch.rand(circuits, columns, 8, batch)
        kept = compiled.probabilities_forward(phases, data, occupied, False, recompute)[1][2]
        expected = memory.kept_bytes(
            space, batch, torch.float32, columns, 4, recompute, circuits=circuits
        )
        assert kept.nbytes == expected
        sizes.add(expected == 0)
    assert sizes == {None: {True, False}, False: {False}, True: {True}}[recompute]


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


def of_components(modes, shape="triangular"):
    """Two meshes of components with a column of data between them."""
    circuit = Circuit(modes).add(Interferometer(shape=shape)).add(PhaseShifter(Data(0)), 0)
    return circuit.add(Interferometer(shape=shape, phases="input"))


def test_parameters_of_components_are_counted():
    circuit = of_components(6).add(BeamSplitter("t"), 0).add(BeamSplitter("t"), 1)
    experiment = Experiment(circuit=circuit, n_photons=2)
    layer = QuantumLayer(1, 2, experiment=experiment)
    assert estimate(experiment, 1, 64, calibrate=False).parameters == layer.phases.numel() == 61
    without = Experiment(circuit=Circuit(4).add(Interferometer()), n_photons=2)
    few, many = (estimate(without, 0, batch, calibrate=False) for batch in (1, 10**6))
    assert few == many and few.parameters == 12


@pytest.mark.parametrize("modes,count", [(8, None), (24, None), (12, 3)])
def test_products_of_components_are_counted_in_what_a_step_takes(modes, count):
    """Of one photon and one sample nothing else takes memory."""
    experiment = Experiment(circuit=of_components(modes), n_photons=1)
    kind, first = (QuantumLayer, ()) if count is None else (QuantumLayerStack, (count,))
    with torch.device("meta"):
        layer = kind(*first, 1, experiment=experiment, output_mapping_strategy="none")
        with CountedOperations() as counted:
            layer(torch.rand(1, 1)).sum().backward()
    expected = estimate(experiment, 1, 1, calibrate=False, circuits=count or 1).peak_bytes
    assert counted.peak == pytest.approx(expected, rel=0.1)


def test_circuits_of_a_stack_share_their_tables():
    experiment = Experiment("series", 10, 5)
    one, three = (estimate(experiment, 9, 1, calibrate=False, circuits=c) for c in (1, 3))
    tables_of_one = memory.table_bytes(experiment.fock_space)
    assert tables_of_one < three.peak_bytes < 3 * one.peak_bytes - tables_of_one


@pytest.mark.slow
def test_waiting_for_a_processor_does_not_count(monkeypatch, machine_is_measured):
    """A sleep before each step, as another program would cause it."""
    forward = QuantumLayer.forward

    def late(layer, x):
        time.sleep(0.05)
        return forward(layer, x)

    monkeypatch.setattr(QuantumLayer, "forward", late)
    assert estimate(Experiment("series", 4, 2), 3, 16).seconds < 0.04


def test_estimated_time_grows_with_the_work(machine_is_measured):
    small, large = (
        estimate(Experiment("series", modes, photons), modes - 1, 64)
        for modes, photons in [(6, 3), (12, 6)]
    )
    assert 0 < small.seconds < large.seconds < 10
    assert "thread" in str(large)


@pytest.mark.parametrize(
    "arguments,error,message",
    [
        ((-1, 16), ValueError, "input_size must be at least 0"),
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


@pytest.mark.parametrize("modes,photons", [(2, 10**7), (4, 10**7), (100, 10**7), (12, 10**9)])
def test_huge_numbers_of_photons_are_refused_before_anything_is_made(modes, photons):
    experiment = Experiment("series", modes, photons)
    start = time.process_time()
    tracemalloc.start()
    try:
        with pytest.raises(MemoryError, match=r"what would fit: \d+ photons"):
            QuantumLayer(modes - 1, 3, experiment=experiment)
        estimate(experiment, modes - 1, 16, calibrate=False)
        assert tracemalloc.get_traced_memory()[1] < 2**21
    finally:
        tracemalloc.stop()
    assert time.process_time() - start < 1  # 0.02 was seen


def test_the_estimate_is_that_of_the_kernel_chosen(monkeypatch):
    space = FockSpace(20, 8, "unbunched")
    need = {k: memory.peak_bytes(space, 2, torch.float32, k) for k in ("compiled", "torch")}
    assert need["compiled"] < 0.8 * need["torch"]
    monkeypatch.setattr(memory, "available_memory", lambda: need["torch"] - 1)
    assert memory.require_memory(space, 2, torch.float32, "cpu") > 0
    with use_kernel("torch"), pytest.raises(MemoryError):
        memory.require_memory(space, 2, torch.float32, "cpu")


def test_a_batch_that_cannot_fit_is_refused(monkeypatch):
    layer = QuantumLayer(11, 4, experiment=Experiment("series", 12, 6))
    monkeypatch.setattr(memory, "available_memory", lambda: 2**26)
    assert layer(torch.rand(64, 11)).shape == (64, 4)
    with pytest.raises(MemoryError, match=r"a batch of 4096 needs about .*what would fit: a batch"):
        layer(torch.rand(4096, 11))


def test_available_memory_is_below_all_memory():
    everything = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 2**20 < memory.available_memory() <= everything


@pytest.mark.skipif(sys.platform != "linux", reason="other systems enforce no such limit")
def test_available_memory_is_below_the_limit_of_the_process():
    """In a process of its own, since no limit can be raised again."""
    resource = pytest.importorskip("resource")  # which Windows has not
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            used = psutil.Process().memory_info().vms
            resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, resource.RLIM_INFINITY))
            os.write(writing, str(memory.available_memory()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(process, 0)
    assert 2**27 < int(os.read(reading, 100)) <= 2**28
    os.close(reading)


@pytest.mark.parametrize("free,verdict", [(1.2, "fits"), (1.1, "may not fit"), (0.99, "does not")])
def test_plan_says_fits_of_what_surely_does(capsys, monkeypatch, free, verdict):
    """The estimate of memory may be 15 % too low."""
    needed = estimate(Experiment("series", 14, 6), 13, 64, calibrate=False).peak_bytes
    for module in (memory, step_sizes, sys.modules["hybridlit.cli.plan"]):
        monkeypatch.setattr(module, "available_memory", lambda: int(free * needed))
    plan(14, 6)
    assert capsys.readouterr().out.splitlines()[-1].startswith(verdict)
