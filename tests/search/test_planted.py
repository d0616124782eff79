"""A task that a linear model solves: whatever a search finds, it must not be photons."""

import numpy as np
import pytest

from hybridlit.search import run_search, summarize_search


@pytest.mark.slow
def test_the_classical_arm_wins_where_a_linear_model_does(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pandas = pytest.importorskip("pandas")
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(1200, 6))
    table = pandas.DataFrame(inputs, columns=list("abcdef"))
    noise = 0.05 * generator.normal(size=1200)
    table["sum"] = inputs @ [1.0, -2.0, 0.5, 1.5, -1.0, 0.7] + noise
    table.to_csv("linear.csv", index=False)
    recipe = {
        "trainer": {"accelerator": "cpu", "max_epochs": 40},
        "model": {
            "class_path": "ParallelHybrid",
            "init_args": {
                "input_dim": 6,
                "output_dim": 1,
                "task": "regression",
                "quantum_dim": 3,
                "n_modes": 4,
                "schedule": "cosine",
            },
        },
        "data": {
            "class_path": "TableDataModule",
            "init_args": {"path": "linear.csv", "target": "sum", "batch_size": 32},
        },
        "search": {
            "space": {
                "model.n_photons": [1, 2],
                "model.classical_lr": {"low": 0.01, "high": 0.1, "log": True},
            },
            "pruner": "none",
            "trials": 6,
            "seeds": 5,
        },
    }
    found = summarize_search(run_search(recipe))
    first = found.conclusion.partition("\n")[0]
    assert first.startswith("- The classical arm wins"), first
    assert "No photons are needed here." in first or "no reason to use photons here." in first
    linear = next(b for b in found.finals.baselines if b.name == "ridge regression")
    assert linear.verdict in ("alike", "baseline better")
    explained = 1 - 0.05**2 / table["sum"].var()
    assert np.mean(linear.scores) == pytest.approx(explained, abs=1e-3)
