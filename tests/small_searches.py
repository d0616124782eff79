"""Searches whose trials were never trained: what they found is written by hand."""

import math

import numpy as np
import optuna
from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState, create_trial

from hybridlit.analysis.ablation.measure import ScoredRows
from hybridlit.analysis.ablation.retrained import Runs, compared_arms
from hybridlit.analysis.ablation.retraining import Run
from hybridlit.analysis.trainings import Training
from hybridlit.search import Search
from hybridlit.search.finals import Contender, Finals
from hybridlit.search.settings import SearchSettings
from hybridlit.search.worker import Task

RECIPE = {
    "trainer": {"accelerator": "cpu", "max_epochs": 2},
    "model": {
        "class_path": "ParallelHybrid",
        "init_args": {"input_dim": 4, "output_dim": 3, "hidden_dims": [4]},
    },
    "data": {"class_path": "SklearnDataModule", "init_args": {"dataset": "iris", "scaling": None}},
}
SPACE = {
    "model.n_photons": [1, 2, 3],
    "model.fusion": ["concat", "sum"],
    "model.classical_lr": {"low": 1e-3, "high": 1e-1, "log": True},
}
KINDS = {
    "model.n_photons": IntDistribution(1, 3),
    "model.fusion": CategoricalDistribution(("concat", "sum")),
    "model.classical_lr": FloatDistribution(1e-3, 1e-1, log=True),
}


def a_search(count=12, pruned=(), failed=(), refused=(), objective="score", scores=None):
    """Return a search of so many trials, numbered from 0, and what became of some of them."""
    settings = SearchSettings.read({"space": SPACE, "objective": objective, "trials": count})
    study = optuna.create_study(directions=settings.directions, study_name="by_hand")
    generator = np.random.default_rng(0)
    for index in range(count):
        arm = ("hybrid", "classical")[index % 2]
        params = {
            "model.n_photons": int(generator.integers(1, 4)),
            "model.fusion": str(generator.choice(["concat", "sum"])),
            "model.classical_lr": float(10 ** generator.uniform(-3, -1)),
        }
        changes = params | ({"model.quantum": "mlp"} if arm == "classical" else {})
        known = {"index": index, "arm": arm, "changes": changes, "seed": 0}
        cost = {"parameters": 90 + index, "photonic_parameters": 7, "states": 10}
        known["cost"] = cost | {"peak_bytes": 2**20 + index, "seconds": 0.001, "batch_size": 64}
        if index in refused:
            reason = "memory: 3 GiB, and the budget allows 2 GiB"
            study.add_trial(trial(params, known | {"draw": 0, "reason": reason}, TrialState.FAIL))
        if index in failed:
            reason = "ValueError: it diverged"
            study.add_trial(trial(params, known | {"reason": reason}, TrialState.FAIL))
            continue
        score = scores[index] if scores else 0.9 - 0.3 / (index + 2)
        epochs = 3 if index in pruned else 6
        history = [math.exp(-epoch) for epoch in range(epochs)]
        found = {"metric": "acc", "score": score, "seconds": 1.5, "epochs": epochs}
        state = TrialState.PRUNED if index in pruned else TrialState.COMPLETE
        costs = {"score": score} | known["cost"]
        values = [float(costs[name]) for name in settings.objective]
        study.add_trial(
            trial(
                params,
                known | found | {"history": history},
                state,
                values=values if state is TrialState.COMPLETE else None,
                intermediate_values={n: score - 0.1 / n for n in range(1, epochs + 1)},
            )
        )
    task = Task("by_hand", "", RECIPE, settings, count, 0, 2)
    return Search(study, settings, RECIPE, task)


def trial(params, known, state, **options):
    return create_trial(
        state=state, params=params, distributions=KINDS, user_attrs=known, **options
    )


def a_final(
    hybrid, classical, histories=((1.0, 0.5, 0.5, 0.5, 0.5, 0.5),) * 2, noise=0.001, **changes
):
    """Return a final by hand: chances of a right row, and validation losses, of both arms."""
    generator = np.random.default_rng(0)
    rows, seeds = 1000, 5
    luck = generator.uniform(size=rows)

    def runs(chance, history):
        return [
            Run(
                ScoredRows((luck + generator.normal(0, noise, rows) < chance).astype(float)),
                Training(2.0, len(history), 3, min(history), history),
                100,
                0,
                None,
                (history,),
            )
            for _ in range(seeds)
        ]

    both = {
        "hybrid": runs(hybrid, histories[0]),
        "classical": runs(classical, histories[1]),
    }
    constants = [ScoredRows((luck < changes.pop("constant", 0.3)).astype(float))] * seeds
    given = dict(
        metric="acc",
        margin=0.01,
        seeds=tuple(range(1, seeds + 1)),
        test_rows=rows,
        same_rows=True,
        contenders={arm: Contender(3, {"model.n_photons": 2}, 0.9) for arm in both},
        arms=compared_arms(Runs(both, {}, constants), 0.0, 0.01),
        baselines=(),
        constant=0.3,
        left_out={},
    )
    return Finals(**(given | changes))
