"""Predicted memory against measured memory, and the batch sizes that follow from it."""

import json
import subprocess
import sys
import time

import pytest
import torch
from model_state import same, snapshot
from torch import nn

from hybridlit import (
    Experiment,
    FockSpace,
    ParallelBankHybrid,
    ParallelHybrid,
    QuantumLayer,
    QuantumLayerStack,
    ResidualHybrid,
    SequentialHybrid,
)
from hybridlit.analysis.batch_size.search import _in_bytes, find_batch_size, predict_memory
from hybridlit.analysis.batch_size.step_memory import held_bytes
from hybridlit.analysis.batch_size.trial_steps import TrialSteps, trial_steps
from hybridlit.photonics import machine, sizes as memory, use_kernel
from hybridlit.photonics.kernels.compiled.calls import Layer
from hybridlit.photonics.kernels.compiled.plans import plan_for

SIZES = dict(input_dim=20, output_dim=10)
MODELS = {
    "sequential": (SequentialHybrid, dict(quantum_dim=9, n_modes=10, n_photons=5)),
    "parallel": (ParallelHybrid, dict(quantum_dim=5, n_modes=8, n_photons=4)),
    "residual": (ResidualHybrid, dict(n_modes=10, n_photons=4)),
    "bank": (ParallelBankHybrid, dict(quantum_dim=4, n_modes=8, n_photons=4)),
    "checkpointed": (
        SequentialHybrid,
        dict(quantum_dim=7, n_modes=8, n_photons=4, checkpoint_quantum=True),
    ),
    "unbunched": (
        SequentialHybrid,
        dict(quantum_dim=9, n_modes=12, n_photons=6, computation_space="unbunched"),
    ),
    "twin": (SequentialHybrid, dict(quantum_dim=6, quantum="mlp")),
}


def make(kind, **changes):
    cls, arguments = MODELS[kind]
    return cls(**(SIZES | arguments | changes))


@pytest.fixture
def sample():
    return torch.randn(6, 20), torch.tensor([0, 1, 2, 3, 4, 5])


@pytest.fixture
def small():
    return SequentialHybrid(input_dim=20, quantum_dim=3, output_dim=10, n_modes=4, n_photons=2)


# --- memory ---------------------------------------------------------------------------------------

MEASURED_STEP = """
import ctypes
import torch
from pathlib import Path
from hybridlit import *
from hybridlit.analysis.batch_size.search import predict_memory

torch.set_num_threads(1)
model = {model}
memory = predict_memory(model, (torch.randn(6, 20), torch.arange(6)))
optimizer = torch.optim.AdamW(model.parameters())

def step(rows):
    x, y = torch.randn(rows, 20), torch.randint(0, 10, (rows,))
    outputs = model(x)
    loss = model.loss(outputs, model.prepare_targets(outputs, y))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

def resident(what):
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(what)))

step({rows}[0])  # gradients, optimizer state and whatever is loaded once
for rows in {rows}:
    ctypes.CDLL(None).malloc_trim(0)  # what is free already would not show as growth
    Path("/proc/self/clear_refs").write_text("5")  # the highest so far is forgotten
    before = resident("VmRSS")
    step(rows)
    print(resident("VmHWM") - before, memory.peak(rows) - memory.held)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("kind", "rows"),
    [
        ("sequential", [4096, 8192, 16384]),
        ("parallel", [8192, 16384, 32768]),
        ("residual", [8192, 16384, 32768]),
        ("bank", [4096, 12288, 32768]),
    ],
)
def test_predicted_memory_is_what_a_real_step_takes(kind, rows):
    """Growth of resident memory at its highest, in a fresh process, within 10 %."""
    cls, arguments = MODELS[kind]
    model = f"{cls.__name__}(**{SIZES | arguments!r})"
    code = MEASURED_STEP.format(model=model, rows=rows)
    environment = {"MALLOC_MMAP_THRESHOLD_": "65536"}  # freed memory goes back at once
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    pairs = [tuple(map(int, line.split())) for line in run.stdout.splitlines()]
    assert len(pairs) == 3
    for measured, predicted in pairs:
        assert measured > 20 * 2**20
        assert predicted == pytest.approx(measured, rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", MODELS)
def test_prediction_holds_for_the_allocations_of_a_large_step(kind, sample):
    """Two batches of at most 128 rows tell those of thousands, whose layers go another way."""
    with trial_steps(make(kind), sample, "adamw", None) as run:
        found = run.memory(2**30)
        assert found.rows == (64, 128)
        for rows in (1000, 4000):
            assert found.peak(rows) == pytest.approx(run.peak(found, rows), rel=0.08)


def test_states_that_are_kept_are_foreseen(sample):
    """Up to 5 MiB of them, so that more rows can take less memory."""
    model = SequentialHybrid(**SIZES, quantum_dim=5, n_modes=8, n_photons=4)
    with trial_steps(model, sample, "adamw", None) as run:
        found = run.memory(2**30)
        layer = model.quantum_layer
        keeps = [
            rows
            for rows in range(16, 2000, 16)
            if memory.kept_bytes(layer.fock_space, rows, torch.float32, layer.columns, 4)
        ]
        below, above = keeps[-1], keeps[-1] + 16
        assert memory.kept_bytes(layer.fock_space, below, torch.float32, layer.columns, 4) > 2**22
        assert found.peak(above) < found.peak(below)
        for rows in (below, above):
            assert found.peak(rows) == pytest.approx(run.peak(found, rows), rel=0.03)
        layer.recompute = False
        assert found.peak(above) > found.peak(below)
        assert found.peak(2000) == pytest.approx(run.peak(found, 2000), rel=0.03)


def test_optimizers_differ_in_what_they_hold(sample, small):
    held = {
        name: predict_memory(small, sample, optimizer=name).held
        for name in ("sgd", "momentum", "adamw")
    }
    parameters = sum(p.nbytes for p in small.parameters())
    assert held["momentum"] - held["sgd"] == parameters
    # two moments, and a step count for each parameter
    assert held["adamw"] - held["sgd"] == 2 * parameters + 4 * len(list(small.parameters()))


def test_what_is_held_between_steps_by_hand():
    model = nn.Linear(3, 2).double()
    parameters = 8 * (3 * 2 + 2)
    assert held_bytes(model) == parameters
    model(torch.rand(5, 3).double()).sum().backward()
    assert held_bytes(model) == 2 * parameters
    optimizer = torch.optim.SGD(model.parameters(), momentum=0.9)
    optimizer.step()
    assert held_bytes(model, optimizer) == 3 * parameters


@pytest.mark.parametrize("space", ["fock", "unbunched"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sizes_of_the_kernel(space, dtype):
    """The formulas against the kernel's own numbers."""
    layer = QuantumLayer(7, 3, experiment=Experiment("series", 6, 3, computation_space=space))
    occupied = layer._occupied()
    item = torch.finfo(dtype).bits // 8
    kernel = Layer(plan_for(6, occupied, space == "unbunched"), layer.columns, item)
    states, inputs = layer.fock_space, len(set(occupied))
    for rows in (1, 15, 16, 17, 100):
        kept = memory.kept_bytes(states, rows, dtype, layer.columns, inputs, False, circuits=3)
        assert kept == 3 * kernel.tiles(rows) * kernel.tile_scalars * item
    least = (kernel._block + kernel._columns_scratch + kernel.tile_scalars + kernel.totals) * item
    assert memory.scratch_bytes(states, dtype, layer.columns, inputs) == least
    cells = Layer(kernel.plan, layer.columns, item, by_cells=True)
    least = (cells._block + cells._columns_scratch + cells.tile_scalars + cells.totals) * item
    assert memory.scratch_bytes(states, dtype, layer.columns, inputs, True) == least
    assert memory.kept_bytes(states, 16, dtype, layer.columns, inputs, True) == 0
    large = 2 * memory.KEEP_BYTES // (kernel.tile_scalars * item) * kernel.width
    assert kernel.recomputes(large)
    assert memory.kept_bytes(states, large, dtype, layer.columns, inputs) == 0


@pytest.mark.parametrize("kernel", ["compiled", "torch"])
def test_tables_are_held_between_steps(kernel):
    def held(mapping):
        layer = QuantumLayer(
            11, experiment=Experiment("series", 12, 5), output_mapping_strategy=mapping
        )
        with use_kernel(kernel):
            found = predict_memory(layer, torch.rand(6, 11), loss=lambda m, x: m(x).square().mean())
        return found.held - held_bytes(layer)

    space = FockSpace(12, 5)
    tables = memory.table_bytes(space)
    if kernel == "torch":
        tables = memory.transition_bytes(space, 4)
    assert held("none") == held("mode_expectations") + tables


def test_kept_states_count_in_the_estimate():
    space = FockSpace(10, 5)
    plain, forced = (
        memory.peak_bytes(space, 1024, torch.float32, "compiled", recompute)
        for recompute in (None, False)
    )
    assert forced - plain == memory.kept_bytes(space, 1024, torch.float32, 1, 5, False)


def test_a_batch_whose_kept_states_cannot_fit_is_refused(monkeypatch):
    layer = QuantumLayer(11, 4, experiment=Experiment("series", 12, 6), recompute=False)
    x = torch.rand(512, 11)
    monkeypatch.setattr(memory, "available_memory", lambda: 10**8)
    with pytest.raises(MemoryError, match="recompute=True"):
        layer(x)
    layer.recompute = None
    assert layer(x).shape == (512, 4)


@pytest.mark.parametrize("version", [1, 2])
def test_limits_of_control_groups(version, tmp_path):
    membership = tmp_path / "membership"
    if version == 2:
        membership.write_text("0::/pod/run\n")
        groups, files = tmp_path / "fs", ("memory.max", "memory.current")
        cached = "active_file 40\ninactive_file 60\nanon 7\n"
    else:
        membership.write_text("5:cpu:/elsewhere\n4:memory:/pod/run\n0::/\n")
        groups, files = (
            tmp_path / "fs" / "memory",
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        )
        cached = "active_file 1\ntotal_active_file 40\ntotal_inactive_file 60\n"
    for path, limit, used in [("pod", "5000", "1000"), ("pod/run", "max", "900")]:
        (groups / path).mkdir(parents=True, exist_ok=True)
        (groups / path / files[0]).write_text(limit + "\n")
        (groups / path / files[1]).write_text(used + "\n")
        (groups / path / "memory.stat").write_text(cached)
    assert machine._left_by_control_groups(tmp_path / "fs", membership) == [4100]
    (groups / "pod" / "run" / files[0]).write_text("1500\n")
    assert sorted(machine._left_by_control_groups(tmp_path / "fs", membership)) == [700, 4100]
    assert machine._left_by_control_groups(tmp_path / "none", tmp_path / "nothing") == []


# --- the search -----------------------------------------------------------------------------------


def test_the_largest_batch_that_fits(sample, small):
    found = find_batch_size(small, sample, budget="8MiB", safety=1.0, progress=False)
    assert found.limited_by == "memory" and found.budget_bytes == 8 * 2**20
    assert found.predicted_bytes <= 8 * 2**20
    memory_of = predict_memory(small, sample)
    assert memory_of.peak(found.size + 1) > 8 * 2**20 >= memory_of.peak(found.size)
    assert found.measured_bytes == pytest.approx(found.predicted_bytes, rel=0.03)
    assert found.measured_bytes <= 8 * 2**20
    assert f"batches of {found.size}: more rows would not fit" in str(found)
    assert json.loads(json.dumps(found.to_dict()))["size"] == found.size
    halved = find_batch_size(small, sample, budget="8MiB", safety=0.5, progress=False)
    assert halved.size == pytest.approx(found.size / 2, rel=0.1)


def test_max_batch_is_not_exceeded_and_needs_no_power_of_two(sample, small):
    found = find_batch_size(small, sample, max_batch=100, progress=False)
    assert (found.size, found.limited_by) == (100, "max_batch")
    assert "max_batch does not allow more rows" in str(found)
    one = find_batch_size(small, sample, max_batch=1, progress=False, verify=False)
    assert one.size == 1 and one.measured_bytes is None and "not measured" in str(one)


@pytest.mark.parametrize(
    ("seconds", "size", "measured"),
    [
        # 2 ms a step and 50 us a row; above 256 rows twice as long a row: two doublings in vain
        (lambda rows: 2e-3 + rows * (5e-5 if rows <= 256 else 1e-4), 256, 10),
        # 0.1 ms a step: 32 rows are within 5 % of 64, and both of 128
        (lambda rows: 1e-4 + rows * (5e-5 if rows <= 256 else 1e-4), 32, 7),
        # the more the better
        (lambda rows: 1.0, 2048, 11),  # memory has room for the next power of two, max_batch not
    ],
)
def test_throughput_takes_the_smallest_of_the_fastest(
    seconds, size, measured, sample, small, monkeypatch
):
    monkeypatch.setattr(TrialSteps, "seconds", lambda self, rows: seconds(rows))
    found = find_batch_size(small, sample, mode="throughput", max_batch=3000, progress=False)
    assert found.size == size
    assert found.limited_by == ("throughput" if size < 2048 else "max_batch")
    assert found.samples_per_second == {2**k: 2**k / seconds(2**k) for k in range(1, measured + 1)}
    assert "rows/s" in str(found)


def test_throughput_is_measured(sample, small):
    found = find_batch_size(small, sample, mode="throughput", max_batch=20, progress=False)
    assert set(found.samples_per_second) <= {2, 4, 8, 16} and found.size in (2, 4, 8, 16)
    best = max(found.samples_per_second.values())
    assert found.samples_per_second[found.size] >= 0.95 * best
    with trial_steps(small, sample, "sgd", None) as run:
        start = time.perf_counter()
        seconds = run.seconds(2000)
        assert 0 < seconds < (time.perf_counter() - start) / 2  # one of four steps


def cross_entropy(model, batch):
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


def test_an_answer_that_does_not_fit_is_lowered(sample):
    """Memory that no small step shows: a buffer of its own above 500 rows."""

    class Jump(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(20, 10)

        def forward(self, x):
            extra = x.repeat(1, 40).sum() if len(x) > 500 else 0.0
            return self.layer(x) + 0 * extra

    arguments = dict(loss=cross_entropy, budget=2**18, safety=1.0, progress=False)
    trusting = find_batch_size(Jump(), sample, verify=False, **arguments)
    checked = find_batch_size(Jump(), sample, **arguments)
    assert trusting.size > 500 >= checked.size
    assert checked.limited_by == "memory" and checked.measured_bytes <= 2**18


def test_one_row_that_does_not_fit_is_refused(sample):
    """Memory that no step of two rows or more shows."""

    class Jump(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(20, 10)

        def forward(self, x):
            extra = x.repeat(1, 4000).exp().sum() if len(x) == 1 else 0.0
            return self.layer(x) + 0 * extra

    arguments = dict(loss=cross_entropy, max_batch=1, budget=2**18, progress=False)
    assert find_batch_size(Jump(), sample, verify=False, **arguments).size == 1
    with pytest.raises(MemoryError, match=r"a training step of one row took .* raise budget"):
        find_batch_size(Jump(), sample, **arguments)


@pytest.mark.parametrize("mode", ["memory", "throughput"])
def test_a_model_that_cannot_train_on_one_row_says_so(sample, mode):
    model = nn.Sequential(nn.Linear(20, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 10))
    with pytest.raises(ValueError, match=r"cannot train on one row \(Expected.*raise max_batch"):
        find_batch_size(model, sample, mode=mode, loss=cross_entropy, max_batch=1, progress=False)


def test_dictionaries_and_plain_modules(sample):
    x, y = sample
    model = nn.Sequential(nn.Linear(20, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 10))
    batch = {"x": x, "more": [y, torch.tensor(2.0)], "name": "six rows"}
    found = find_batch_size(
        model,
        batch,
        loss=lambda model, given: cross_entropy(model, (given["x"], given["more"][0])),
        optimizer=lambda parameters: torch.optim.RMSprop(parameters),
        max_batch=300,
        progress=False,
    )
    assert found.size == 300


def test_a_stack_with_features_of_its_own_layers(sample):
    """Three circuits, each with its own features: the samples of one circuit count as rows."""
    model = ParallelBankHybrid(**SIZES, scales=[1, 2, 4], n_modes=6, n_photons=3)
    assert isinstance(model.quantum_layers, QuantumLayerStack)
    with trial_steps(model, sample, "sgd", None) as run:
        found = run.memory(2**30)
        for rows in (100, 160, 3000):
            assert found.peak(rows) == pytest.approx(run.peak(found, rows), rel=0.03)


# --- what stays -----------------------------------------------------------------------------------


def everything(model):
    return snapshot(
        model,
        attributes=[sorted(vars(module)) for module in model.modules()],
        recompute=model.quantum_path.recompute,
        weights=model.fusion.weights,
    )


@pytest.mark.parametrize("mode", ["memory", "throughput"])
def test_the_model_is_left_as_it_was(mode, sample):
    model = ParallelHybrid(**SIZES, quantum_dim=3, fusion="gated", dropout=0.5)
    model.loss(model(sample[0]), sample[1]).backward()
    model.fusion.eval()
    before, parameters = everything(model), list(model.parameters())
    find_batch_size(model, sample, mode=mode, max_batch=64, progress=False)
    assert same(everything(model), before)
    assert all(now is then for now, then in zip(model.parameters(), parameters, strict=True))


def test_it_works_where_gradients_are_off(sample, small):
    with torch.no_grad():
        assert find_batch_size(small, sample, max_batch=8, progress=False).size == 8


def test_nothing_is_written_to_the_terminal(sample, small, capfd):
    find_batch_size(small, sample, max_batch=8, progress=False)
    assert capfd.readouterr() == ("", "")


def test_bad_arguments_are_refused(sample, small):
    with pytest.raises(MemoryError, match=r"one row takes about .* may be used: raise budget"):
        find_batch_size(small, sample, budget="10KiB", progress=False)
    refused = [
        (dict(budget="lots"), ValueError, "budget must be bytes or a string such as '2GiB'"),
        (dict(budget=0), ValueError, "budget must be at least 1"),
        (dict(budget=1.5), TypeError, "budget must be an integer"),
        (dict(mode="speed"), ValueError, "mode must be one of"),
        (dict(max_batch=0), ValueError, "max_batch must be at least 1"),
        (dict(safety=0.0), ValueError, "safety must be .*above 0"),
        (dict(safety=1.5), ValueError, "safety must be at most 1"),
        (dict(safety=float("nan")), ValueError, "safety must be"),
        (dict(optimizer="lion"), ValueError, "optimizer must be one of"),
        (dict(optimizer=3), TypeError, "optimizer must be a string or a function"),
    ]
    for arguments, error, message in refused:
        with pytest.raises(error, match=message):
            find_batch_size(small, sample, progress=False, **arguments)
    for bad in [(torch.randn(1, 20), torch.tensor([0])), (torch.randn(3, 20), torch.arange(4)), 3]:
        with pytest.raises(ValueError, match="same number of rows, at least 2"):
            find_batch_size(small, bad, progress=False)
    with pytest.raises(TypeError, match="give loss="):
        find_batch_size(nn.Linear(20, 10), sample)
    with pytest.raises(ValueError, match="no trainable parameters"):
        find_batch_size(small.requires_grad_(False), sample)


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [("2GiB", 2**31), ("500 MB", 5 * 10**8), ("1.5kib", 1536), ("4096", 4096), ("64B", 64)],
)
def test_budgets_in_words(text, bytes_):
    assert _in_bytes(text) == bytes_
