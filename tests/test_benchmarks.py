"""The benchmark scripts run and refuse to time what is not equal; nothing here asserts a speed."""

import dataclasses
import importlib
import json
import math
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("matplotlib")

BENCHMARKS = Path(__file__).parents[1] / "recipes" / "benchmarks"
QUICK = ["--threads", "0", "--repeats", "2", "--min-seconds", "0"]


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


@pytest.fixture
def twin(script, monkeypatch):
    """A peer that is hybridlit itself, its outcomes in another order; ``spoil`` changes it."""
    peers, layer_grid = script("peers"), script("layer_grid")

    class Twin(peers.Peer):
        name, label, distributions, spaces = "twin", "Twin", ("torch",), ("fock", "unbunched")

        def spoil(self, simulation):
            return simulation

        def build(self, task):
            ours = peers.hybridlit(task)
            backwards = dataclasses.replace(
                ours,
                forward=lambda: ours.forward().flip(1),
                states=np.flip(task.layer.fock_space.states, 0),
            )
            return self.spoil(backwards)

    monkeypatch.setitem(layer_grid.PEERS, "twin", Twin())
    return Twin


def installed(distributions):
    try:
        return all(metadata.version(name) for name in distributions)
    except metadata.PackageNotFoundError:
        return False


@pytest.mark.parametrize("modes", [2, 3, 5])
def test_the_elements_make_up_the_layers_unitary(script, modes):
    circuit = script("circuit")
    layer, x, _ = circuit.task(circuit.Point(modes, 1, 1))
    layer, x = layer.double(), x.double()
    angles = {"phase": layer.phases.flatten(), "data": torch.pi * x[0]}
    unitary = torch.eye(modes, dtype=torch.complex128)
    for kind, mode, index in circuit.elements(modes):
        element = torch.eye(modes, dtype=torch.complex128)
        if kind == "splitter":
            splitter = torch.tensor([[1, 1j], [1j, 1]], dtype=torch.complex128) / 2**0.5
            element[mode : mode + 2, mode : mode + 2] = splitter
        else:
            element[mode, mode] = torch.exp(1j * angles[kind][index])
        unitary = element @ unitary
    torch.testing.assert_close(layer.unitary(x)[0], unitary)


@pytest.mark.slow
def test_layer_grid_writes_results_of_equal_simulators(script, twin, tmp_path, capsys):
    points = ["--points", "3,1,4", "3,1,4,unbunched"]
    assert (
        script("layer_grid").main(["--peers", "twin", *points, *QUICK, "--out", str(tmp_path)]) == 0
    )
    result = json.loads((tmp_path / "twin.json").read_text())
    assert [point["space"] for point in result["points"]] == ["fock", "unbunched"]
    for point in result["points"]:
        assert max(point["agreement"].values()) < 1e-5
        for times in point["times"].values():
            assert len(times["ours"]) == len(times["peer"]) == 2
            assert times["ratio"] > 0
    assert set(result["geometric_means"]) == {"forward", "forward+backward"}
    assert (tmp_path / "layer_grid.png").stat().st_size > 1000
    assert "geometric mean" in capsys.readouterr().out


@pytest.mark.parametrize(
    "changes",
    [
        lambda twin: {"forward": lambda: twin.forward() * 1.001},
        lambda twin: {"forward": lambda: twin.forward() * float("nan")},
        lambda twin: {"gradients": lambda: [1.001 * g for g in twin.gradients()]},
        lambda twin: {"gradients": lambda: [twin.gradients()[0], -twin.gradients()[1]]},
        lambda twin: {"states": None},
    ],
    ids=["probabilities", "nan", "gradient of x", "gradient of phases", "order"],
)
def test_layer_grid_refuses_to_time_different_outputs(script, twin, tmp_path, capsys, changes):
    twin.spoil = lambda self, simulation: dataclasses.replace(simulation, **changes(simulation))
    arguments = ["--peers", "twin", "--points", "4,2,3", *QUICK, "--out", str(tmp_path)]
    assert script("layer_grid").main(arguments) == 1
    assert json.loads((tmp_path / "twin.json").read_text())["points"] == []
    assert "NOT TIMED" in capsys.readouterr().out


def test_layer_grid_names_absent_peers(script, twin, tmp_path, capsys):
    twin.distributions = ("torch", "no-such-package")
    arguments = ["--peers", "twin", *QUICK, "--points", "3,1,4", "--out", str(tmp_path)]
    assert script("layer_grid").main(arguments) == 0
    assert "Twin: absent; pip install no-such-package" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["merlin", "perceval"])
def test_peer_agrees(script, tmp_path, name):
    layer_grid = script("layer_grid")
    if not installed(layer_grid.PEERS[name].distributions):
        pytest.skip(f"{name} is not installed")
    points = ["3,1,4", "4,2,3", "4,2,3,unbunched"]
    arguments = ["--peers", name, "--points", *points, *QUICK, "--out", str(tmp_path)]
    assert layer_grid.main(arguments) == 0
    result = json.loads((tmp_path / f"{name}.json").read_text())
    assert len(result["points"]) == (3 if name == "merlin" else 2)


def test_the_widest_circuit_stays_out_of_the_mean(script):
    def point(modes, ratio):
        sizes = {"modes": modes, "photons": 2, "batch": 64, "space": "fock"}
        return {**sizes, "times": {"forward": {"ratio": ratio}}}

    means = script("layer_grid").geometric_means([point(6, 2.0), point(8, 8.0), point(40, 1e6)])
    assert means == {"forward": pytest.approx(4.0)}


def test_runs_alternate_and_ratios_are_pairwise(script):
    now, calls = [0.0], []

    def lasting(name, seconds):
        def call():
            calls.append(name)
            now[0] += seconds * (1 + 0.01 * len(calls))  # a machine that slows down

        return call

    timing = script("timing")
    compared = timing.alternate(
        lasting("ours", 1.0),
        lasting("peer", 3.0),
        repeats=5,
        min_seconds=0.5,
        clock=lambda: now[0],
    )
    assert calls[6:] == ["ours", "peer"] * 5  # behind three calls each of warm-up
    assert compared.calls == (1, 1)
    assert compared.summary()["ratio"] == pytest.approx(3.0, rel=0.02)
    quick = timing.alternate(
        lasting("ours", 0.01), lasting("peer", 1), repeats=1, min_seconds=1, clock=lambda: now[0]
    )
    assert quick.calls[0] > 50
    assert quick.summary()["ratio_quartiles"] == []


def test_threads_are_restored(script):
    before = torch.get_num_threads()
    with script("timing").threads(1):
        assert torch.get_num_threads() == 1
        assert script("timing").circumstances()["torch_threads"] == 1
    assert torch.get_num_threads() == before


def test_scaling_writes_times_and_memory(script, monkeypatch, tmp_path, capsys):
    scaling = script("scaling")
    assert scaling.main(["--memory-of", "3,1,4"]) == 0
    assert float(capsys.readouterr().out) >= 0
    monkeypatch.setattr(scaling, "_memory_in_fresh_process", lambda point: 1.0)
    assert scaling.main(["--grid", "small", *QUICK, "--out", str(tmp_path)]) == 0
    sweeps = json.loads((tmp_path / "scaling.json").read_text())["sweeps"]
    assert set(sweeps) == {"batch", "modes", "photons"}
    assert (tmp_path / "scaling.png").stat().st_size > 1000


def test_roofline_counts_operations_and_writes_shares(script, tmp_path):
    roofline, circuit = script("roofline"), script("circuit")
    assert roofline.multiply_adds(circuit.Point(12, 6, 64)) == 12 * 6188
    small = ["--points", "3,2,4", "--matrix", "16", "--megabytes", "1", "--repeats", "1"]
    assert roofline.main([*small, "--out", str(tmp_path)]) == 0
    result = json.loads((tmp_path / "roofline.json").read_text())
    assert result["recursion"][0]["forward"]["flops"] == 8 * 3 * (1 + 3) * 4
    assert (tmp_path / "roofline.png").stat().st_size > 1000


@pytest.mark.slow
def test_report_fills_the_readme(script, twin, tmp_path):
    arguments = ["--peers", "twin", "--points", "3,1,4", *QUICK, "--out", str(tmp_path)]
    script("layer_grid").main(arguments)
    readme = tmp_path / "README.md"
    readme.write_text("<!-- layer_grid -->\nold\n<!-- /layer_grid -->\nthe end\n")
    for _ in range(2):
        assert script("report").main(tmp_path, readme) == 0
        text = readme.read_text()
        assert "old" not in text
        assert text.count("**Twin**") == 1
        assert text.endswith("<!-- /layer_grid -->\nthe end\n")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_what_callbacks_cost_is_written(script, tmp_path, capsys):
    script("callbacks").main(["--together", "--repeats=1", "--epochs=1", f"--out={tmp_path}"])
    arms = json.loads((tmp_path / "callbacks_digits_sequential.json").read_text())["arms"]
    assert set(arms) == {"none", "all"} and arms["all"]["seconds"] > 0
    assert arms["all"]["cost"] == arms["all"]["runs"][0] / arms["none"]["runs"][0] - 1
    assert "| all |" in capsys.readouterr().out


@pytest.mark.slow
def test_components_states_and_kernels_are_equal_to_merlins(script, tmp_path, capsys):
    pytest.importorskip("merlin")
    arguments = ["--points", "3,2,4", *QUICK, "--out", str(tmp_path)]
    assert script("states").main(arguments) == 0
    cases = [
        point["case"] for point in json.loads((tmp_path / "states.json").read_text())["points"]
    ]
    assert cases == ["components", "amplitudes in", "fidelity kernel"]
    assert "components (3, 2, 4) forward" in capsys.readouterr().out


def test_steps_of_two_source_trees_are_timed_in_three_conditions(script, tmp_path, capsys):
    ours = sys.modules["hybridlit"]
    arguments = ["--before", str(BENCHMARKS.parents[1]), "--rounds", "1", "--out", str(tmp_path)]
    assert script("layer_step").main(arguments) == 0
    assert sys.modules["hybridlit"] is ours
    conditions = json.loads((tmp_path / "layer_step.json").read_text())["conditions"]
    assert len(conditions) == 3
    for times in conditions.values():
        assert set(times) == {"now", "before", "linear-relu-linear"}
        assert all(each["ms"] > 0 and each["ratio"] > 0 for each in times.values())
    assert "| after a sweep | " in capsys.readouterr().out
    assert "| hot | " in script("report").layer_step(tmp_path)


@pytest.mark.slow
def test_steps_on_several_threads_are_timed_against_one(script, tmp_path, capsys):
    arguments = ["--points", "3,2,4", "--rounds", "1", "--min-seconds", "0", "--out", str(tmp_path)]
    assert script("threads").main(arguments) == 0
    (point,) = json.loads((tmp_path / "threads.json").read_text())["points"]
    assert set(point["ms"]) == {"1", "2"}
    assert point["ratio"] == pytest.approx(point["one_ms"] / point["several_ms"])
    assert "| (3, 2, 4) | " in capsys.readouterr().out
    assert "| (3, 2, 4) | " in script("report").threads(tmp_path)


def test_shots_are_timed_against_those_of_merlin(script, tmp_path, capsys):
    pytest.importorskip("merlin")
    arguments = ["--points", "3,2,4", "--shots", "200", *QUICK, "--out", str(tmp_path)]
    assert script("shots").main(arguments) == 0
    (point,) = json.loads((tmp_path / "shots.json").read_text())["points"]
    assert point["shots"] == 200 and min(point["p_values"].values()) > 1e-6
    assert "200 shots" in capsys.readouterr().out


def test_report_has_a_row_for_each_size_of_shots(script, tmp_path):
    times = {"ours_ms": 4.0, "peer_ms": 8000.0, "ratio": 2000.0, "ratio_quartiles": [1e3, 3e3]}
    result = {
        "command": "python recipes/benchmarks/shots.py",
        **script("timing").circumstances(),
        "points": [{"point": "8,4,64", "shots": 10_000, "times": times}],
    }
    (tmp_path / "shots.json").write_text(json.dumps(result))
    table = script("report").shots(tmp_path)
    assert "| 8, 4, 64 | 10,000 | 4 | 8,000 | **2,000** | 1,000 to 3,000 |" in table


def test_report_has_a_row_for_each_time_of_states(script, tmp_path):
    times = {"ours_ms": 0.5, "peer_ms": 15.0, "ratio": 30.0, "ratio_quartiles": [29.0, 31.0]}
    point = {"case": "components", "point": "8,4,64", "difference": 1e-6}
    result = {
        "command": "python recipes/benchmarks/states.py",
        **script("timing").circumstances(),
        "points": [{**point, "times": {"forward": times}}],
    }
    (tmp_path / "states.json").write_text(json.dumps(result))
    assert "| components | 8, 4, 64 | forward | 0.5 | 15 | **30** | 29 to 31 | 1e-06 |" in script(
        "report"
    ).states(tmp_path)


@pytest.mark.slow
def test_noise_is_equal_to_merlins(script, tmp_path, capsys):
    pytest.importorskip("merlin")
    assert script("noise").main(["--points", "3,2,4", *QUICK, "--out", str(tmp_path)]) == 0
    points = json.loads((tmp_path / "noise.json").read_text())["points"]
    assert len(points) == 5 and all(len(point["times"]) == 4 for point in points)
    assert "loss (3, 2, 4) gradients: " in capsys.readouterr().out


@pytest.mark.slow
def test_noise_is_timed_without_merlin(script, tmp_path, monkeypatch):
    noise = script("noise")
    monkeypatch.setattr(noise, "find_spec", lambda name: None)
    arguments = ["--noises", "loss", "--points", "3,2,4", *QUICK, "--out", str(tmp_path)]
    assert noise.main(arguments) == 0
    table = script("report").noise(tmp_path)
    assert "| loss | 3, 2, 4 | forward, ideal | " in table
    assert "| loss | 3, 2, 4 | gradients, ideal | " in table


def test_a_device_is_compared_before_it_is_timed(script, tmp_path, monkeypatch, capsys):
    device = script("device")
    small = ["--points", "3,2,4", "--repeats", "1", "--min-seconds", "0", "--out", str(tmp_path)]
    assert device.main(["--device", "cpu", *small]) == 0
    (row,) = json.loads((tmp_path / "device.json").read_text())["rows"]
    assert row["differ_float64"] < 1e-12 and row["differ_float32"] < 1e-4
    assert row["core_ms"] > 0 and row["device_ms"] > 0
    one, unknown = torch.ones(2), torch.tensor([1.0, torch.nan])
    assert math.isnan(device.difference([one, one], [one, unknown]))
    monkeypatch.setattr(device, "difference", lambda *steps: float("nan"))
    with pytest.raises(AssertionError, match="from the CPU"):
        device.main(["--device", "cpu", *small])
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **how: None)
    assert device.main(small) == 1
    assert "torch.accelerator offers no device here" in capsys.readouterr().out


@pytest.mark.slow
def test_an_epoch_is_timed_in_each_arm(script, tmp_path, capsys):
    arguments = ["--recipes", "iris_sequential", "--rounds", "1", "--epochs", "2"]
    assert script("training").main([*arguments, "--out", str(tmp_path)]) == 0
    (taken,) = json.loads((tmp_path / "training.json").read_text())["recipes"].values()
    assert {"as it is", "bare loop", "MLP twin"} <= set(taken)
    assert all(seconds > 0 for seconds in taken.values())
    table = script("report").training(tmp_path)
    assert "| recipe | as it is, ms | bare loop, ms | MLP twin, ms" in table
