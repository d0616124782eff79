"""Classical models out of the box, tuned a little: what a photonic one should be compared with."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from hybridlit.analysis.ablation.evidence import evidence, judged
from hybridlit.analysis.ablation.measure import Bench, Measure, ScoredRows, prepared_targets
from hybridlit.analysis.silence import lightning_silenced
from hybridlit.analysis.splits import loader_of
from hybridlit.analysis.statistics import Interval
from hybridlit.templates import HybridModule

__all__ = [
    "Baseline",
    "BaselineRun",
    "Beside",
    "baseline_names",
    "compared",
    "fit_baselines",
]

Array = npt.NDArray[Any]

_MOST_ROWS = 10_000
"""Training rows beyond which a support vector machine would take too long."""

_WORDS = {"helps": "model better", "hurts": "baseline better", "neutral": "alike"}


@dataclass(frozen=True)
class Baseline:
    """A classical model of scikit-learn on the same rows, inputs standardized.

    Attributes:
        name: Such as `"logistic regression"`.
        scores: Test score of each seed, or of the one split where nothing was trained again.
        settings: What validation chose in each of them.
        seconds: Median duration of a search.
        difference: Score of the model minus this score.
        p_value: Of a difference of 0, corrected by Holm for the other baselines.
        verdict: `"model better"`, `"alike"` (to within the margin), `"baseline better"` or
            `"inconclusive"`.
    """

    name: str
    scores: tuple[float, ...]
    settings: tuple[str, ...]
    seconds: float
    difference: Interval
    p_value: float
    verdict: str


class BaselineRun(NamedTuple):
    """One baseline on one split, the settings that validation chose, duration of the search."""

    scored: ScoredRows
    setting: str
    seconds: float


class Beside(NamedTuple):
    """What is known of a split beside the runs of arms.

    Attributes:
        baselines: Runs of the baselines, by name.
        left_out: Why others are missing, by name.
        constant: Scores of the best constant answer; None where that is not known.
        test_per_train: Test rows for each training row.
    """

    baselines: Mapping[str, BaselineRun]
    left_out: Mapping[str, str]
    constant: ScoredRows | None
    test_per_train: float


def baseline_names(model: LightningModule, measure: Measure) -> tuple[list[str], dict[str, str]]:
    """Return the names of the baselines that suit a model, or why they are missing, by name."""
    if not isinstance(model, HybridModule) or measure.forward is not None:
        return [], {"baselines": "what the rows of this model's batches are is not known"}
    if measure.own_score:
        return [], {"baselines": f"they have classes or values to score, not {measure.name}"}
    if model.task.classifies and not model.task.one_class:
        return [], {"baselines": "they predict one class a row, and this model several labels"}
    try:
        import sklearn  # noqa: F401
    except ImportError:
        return [], {
            "baselines": "they need scikit-learn, which is not installed: pip install "
            "'hybridlit[analysis]'"
        }
    return list(_FAMILIES[model.task.classifies]), {}


def fit_baselines(
    names: Sequence[str],
    model: LightningModule,
    bench: Bench,
    validates: bool,
) -> tuple[dict[str, BaselineRun], dict[str, str]]:
    """Fit the baselines to the rows that the model sees, flattened.

    Args:
        names: Out of `baseline_names`.
        model: The model, for its task.
        bench: The data.
        validates: Whether validation data choose the settings, or else the middle of each grid.

    Returns:
        Runs by name, and reasons by name of those that cannot be fitted to these data.
    """
    runs: dict[str, BaselineRun] = {}
    reasons: dict[str, str] = {}
    if not names:
        return runs, reasons
    assert isinstance(model, HybridModule)
    regression = not model.task.classifies
    try:
        train = _table(model, list(loader_of(bench.data, "train")))
        held_out = _table(model, list(loader_of(bench.data, "val"))) if validates else None
        inputs, targets = _table(model, bench.test)
    except (TypeError, ValueError, RuntimeError) as error:
        return runs, {"baselines": f"the inputs are no table of numbers: {error}"}
    wanted = prepared_targets(model, bench.test)
    for name in names:
        start = time.perf_counter()
        try:
            grid = _FAMILIES[model.task.classifies][name](regression, len(train[0]), bench.seed)
            setting, fitted = _tuned(grid, train, held_out, regression)
            answers = _answers(fitted, inputs, targets, model.hparams["output_dim"], regression)
            scored = ScoredRows(bench.measure.rows_of_predictions(model, answers, wanted))
            runs[name] = BaselineRun(scored, setting, time.perf_counter() - start)
        except (ValueError, ArithmeticError, np.linalg.LinAlgError) as error:
            reasons[name] = str(error).splitlines()[0]
    return runs, reasons


def compared(
    runs: Mapping[str, Sequence[BaselineRun]],
    reference: Sequence[ScoredRows],
    margin: float,
    test_per_train: float = 0.0,
) -> tuple[Baseline, ...]:
    """Compare the runs of a model, `reference`, with those of every baseline, as `evidence`."""
    proofs = [evidence(reference, [r.scored for r in own], test_per_train) for own in runs.values()]
    return tuple(
        Baseline(
            name,
            scores=tuple(run.scored.mean for run in own),
            settings=tuple(run.setting for run in own),
            seconds=median(run.seconds for run in own),
            **judgement,
        )
        for (name, own), judgement in zip(runs.items(), judged(proofs, margin, _WORDS), strict=True)
    )


def _table(model: HybridModule, batches: Sequence[Any]) -> tuple[Array, Array]:
    """Inputs of shape (rows, features) and targets, classes of shape (rows,), of batches."""
    found = [model.unpack(batch)[0] for batch in batches]
    for each in found:
        if not isinstance(each, Tensor):
            raise TypeError(f"they are a {type(each).__name__}")
    inputs = torch.cat([each.cpu() for each in found])
    targets = prepared_targets(model, batches)
    if model.task.classifies:
        targets = targets.flatten().long()
    return inputs.flatten(1).double().numpy(), targets.numpy()


def _tuned(
    grid: Mapping[str, Any],
    train: tuple[Array, Array],
    held_out: tuple[Array, Array] | None,
    regression: bool,
) -> tuple[str, Any]:
    """Fit everything in a grid, and return the setting and the model that validate best."""
    if held_out is None:
        middle = list(grid)[len(grid) // 2]
        grid = {middle: grid[middle]}
    best: tuple[float, str, Any] | None = None
    with lightning_silenced():  # of warnings, such as that an optimizer did not converge
        for name, candidate in grid.items():
            fitted = _standardized(candidate, targets=regression).fit(*train)
            quality = 0.0
            if held_out is not None:
                answers = fitted.predict(held_out[0]).reshape(held_out[1].shape)
                error = np.square(answers - held_out[1]) if regression else answers != held_out[1]
                quality = -float(np.mean(error))
            if np.isfinite(quality) and (best is None or quality > best[0]):
                best = quality, name, fitted
    if best is None:
        raise ValueError("its predictions of the validation data are not finite")
    return best[1], best[2]


def _answers(fitted: Any, inputs: Array, targets: Array, width: int, regression: bool) -> Tensor:
    """Predictions of the form that the model's have."""
    found = torch.as_tensor(fitted.predict(inputs))
    if regression:
        if not bool(torch.isfinite(found).all()):
            raise ValueError("its predictions of the test data are not finite")
        return found.reshape(targets.shape)
    if width == 1:
        return found.double()[:, None]
    return torch.nn.functional.one_hot(found.long(), width).double()


# --- grids: from the task, the number of training rows and a seed to models by their settings -----


def _linear(regression: bool, rows: int, seed: int) -> dict[str, Any]:
    from sklearn.linear_model import LogisticRegression, Ridge

    strengths = (0.01, 1.0, 100.0)
    if regression:
        return {f"alpha={a:g}": Ridge(alpha=a) for a in strengths}
    return {f"C={c:g}": LogisticRegression(C=c, max_iter=2000) for c in strengths}


def _machine(regression: bool, rows: int, seed: int) -> dict[str, Any]:
    from sklearn.multioutput import MultiOutputRegressor
    from sklearn.svm import SVC, SVR

    if rows > _MOST_ROWS:
        raise ValueError(f"{rows} training rows are too many for it, more than {_MOST_ROWS}")
    strengths = (0.1, 1.0, 10.0, 100.0)
    if regression:
        return {f"C={c:g}": MultiOutputRegressor(SVR(C=c)) for c in strengths}
    return {f"C={c:g}": SVC(C=c) for c in strengths}


def _network(regression: bool, rows: int, seed: int) -> dict[str, Any]:
    """Two sizes and two weight decays; few rows go to a second-order method all at once."""
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    how: dict[str, Any] = dict(solver="lbfgs", max_iter=1000)
    if rows > 1000:
        how = dict(learning_rate_init=3e-3, max_iter=max(20, min(200, 1_000_000 // rows)))
    kind = MLPRegressor if regression else MLPClassifier
    return {
        f"{'x'.join(map(str, hidden))}, alpha={alpha:g}": kind(
            hidden_layer_sizes=hidden, alpha=alpha, random_state=seed, **how
        )
        for hidden in ((32,), (64, 64))
        for alpha in (1e-3, 1.0)
    }


def _standardized(model: Any, targets: bool) -> Any:
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if targets:
        model = TransformedTargetRegressor(model, transformer=StandardScaler(), check_inverse=False)
    return make_pipeline(StandardScaler(), model)


_FAMILIES: dict[bool, dict[str, Callable[[bool, int, int], dict[str, Any]]]] = {
    True: {"logistic regression": _linear, "SVC": _machine, "MLP grid": _network},
    False: {"ridge regression": _linear, "SVR": _machine, "MLP grid": _network},
}
"""Baselines by whether the task has classes, and by name."""
