"""Classical models out of the box, tuned a little: what a photonic one should be compared with."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch import Tensor

from hybridlit.analysis.ablation.constant import prepared_targets
from hybridlit.analysis.ablation.evidence import ScoredRows, evidence
from hybridlit.analysis.ablation.measure import Measure
from hybridlit.analysis.silence import lightning_silenced
from hybridlit.analysis.splits import loader_of
from hybridlit.analysis.statistics import Interval, holm, verdict
from hybridlit.templates import HybridModule

__all__ = ["Baseline", "BaselineRun", "baseline_names", "compared", "fit_baselines"]

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


@dataclass(frozen=True)
class BaselineRun:
    """One baseline on one split.

    Attributes:
        scored: Scores of its test rows.
        setting: The settings that validation chose.
        seconds: Duration of the search.
    """

    scored: ScoredRows
    setting: str
    seconds: float


def baseline_names(model: LightningModule, measure: Measure) -> tuple[list[str], dict[str, str]]:
    """Return the baselines that suit a model.

    Args:
        model: The model, for its task.
        measure: How a row is scored.

    Returns:
        Their names, and why they are missing, by name.
    """
    if not isinstance(model, HybridModule) or measure.forward is not None:
        return [], {"baselines": "what the rows of this model's batches are is not known"}
    if measure.own_score:
        return [], {"baselines": f"they have classes or values to score, not {measure.name}"}
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
    measure: Measure,
    datamodule: LightningDataModule,
    test: Sequence[Any],
    seed: int,
    validates: bool,
    advance: Callable[[], object],
) -> tuple[dict[str, BaselineRun], dict[str, str]]:
    """Fit the baselines to the rows that the model sees, flattened.

    Args:
        names: Out of `baseline_names`.
        model: The model, for its task.
        measure: How a row is scored.
        datamodule: A datamodule that is set up.
        test: The test batches.
        seed: Of what is drawn.
        validates: Whether validation data choose the settings; otherwise the middle of each grid is
            taken.
        advance: Called after each baseline.

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
        train = _table(model, list(loader_of(datamodule, "train")))
        held_out = _table(model, list(loader_of(datamodule, "val"))) if validates else None
        inputs, targets = _table(model, test)
    except (TypeError, ValueError, RuntimeError) as error:
        return runs, {"baselines": f"the inputs are no table of numbers: {error}"}
    wanted = prepared_targets(model, test)
    for name in names:
        start = time.perf_counter()
        try:
            grid = _FAMILIES[model.task.classifies][name](len(train[0]), seed)
            setting, fitted = _tuned(grid, train, held_out, regression)
            answers = _answers(fitted, inputs, targets, model.hparams["output_dim"], regression)
            scored = ScoredRows(measure.rows_of_predictions(model, answers, wanted))
            runs[name] = BaselineRun(scored, setting, time.perf_counter() - start)
        except (ValueError, ArithmeticError, np.linalg.LinAlgError) as error:
            reasons[name] = str(error).splitlines()[0]
        advance()
    return runs, reasons


def compared(
    runs: Mapping[str, Sequence[BaselineRun]],
    reference: Sequence[ScoredRows],
    margin: float,
    test_per_train: float = 0.0,
) -> tuple[Baseline, ...]:
    """Compare the model with every baseline.

    Args:
        runs: Runs of each baseline, one for each run of the model.
        reference: The runs of the model.
        margin: The smallest difference that matters.
        test_per_train: As for `evidence`.

    Returns:
        The baselines.
    """
    found = []
    for name, own in runs.items():
        proof = evidence(reference, [run.scored for run in own], test_per_train)
        scores = tuple(float(run.scored.rows.mean()) for run in own)
        settings = tuple(run.setting for run in own)
        seconds = median(run.seconds for run in own)
        found.append(Baseline(name, scores, settings, seconds, proof.difference, proof.p_value, ""))
    judged = []
    for each, p in zip(found, holm([each.p_value for each in found]), strict=True):
        word = verdict(each.difference, margin, p)
        judged.append(replace(each, p_value=p, verdict=_WORDS.get(word, word)))
    return tuple(judged)


def _table(model: HybridModule, batches: Sequence[Any]) -> tuple[Array, Array]:
    """Inputs of shape (rows, features) and targets, classes of shape (rows,), of batches."""
    inputs = torch.cat([_tensor(model.unpack(batch)[0]).cpu() for batch in batches])
    targets = prepared_targets(model, batches)
    if model.task.classifies:
        targets = targets.flatten().long()
    return inputs.flatten(1).double().numpy(), targets.numpy()


def _tensor(inputs: Any) -> Tensor:
    if not isinstance(inputs, Tensor):
        raise TypeError(f"they are a {type(inputs).__name__}")
    return inputs


def _tuned(
    grid: Mapping[str, Any],
    train: tuple[Array, Array],
    held_out: tuple[Array, Array] | None,
    regression: bool,
) -> tuple[str, Any]:
    """Fit everything in a grid, and return the setting and the model that validate best."""
    if held_out is None:
        names = list(grid)
        grid = {names[len(names) // 2]: grid[names[len(names) // 2]]}
    best: tuple[float, str, Any] | None = None
    with lightning_silenced():  # of warnings, such as that an optimizer did not converge
        for name, candidate in grid.items():
            fitted = candidate.fit(*train)
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


# --- grids: from the number of training rows and a seed to models by their settings ---------------


def _classifiers() -> dict[str, Callable[[int, int], dict[str, Any]]]:
    def logistic(rows: int, seed: int) -> dict[str, Any]:
        from sklearn.linear_model import LogisticRegression

        return {
            f"C={c:g}": _standardized(LogisticRegression(C=c, max_iter=2000))
            for c in (0.01, 1.0, 100.0)
        }

    def machine(rows: int, seed: int) -> dict[str, Any]:
        from sklearn.svm import SVC

        _check_size(rows)
        return {f"C={c:g}": _standardized(SVC(C=c)) for c in (0.1, 1.0, 10.0, 100.0)}

    def network(rows: int, seed: int) -> dict[str, Any]:
        from sklearn.neural_network import MLPClassifier

        return {
            name: _standardized(MLPClassifier(**given)) for name, given in _networks(rows, seed)
        }

    return {"logistic regression": logistic, "SVC": machine, "MLP grid": network}


def _regressors() -> dict[str, Callable[[int, int], dict[str, Any]]]:
    def ridge(rows: int, seed: int) -> dict[str, Any]:
        from sklearn.linear_model import Ridge

        return {f"alpha={a:g}": _standardized(Ridge(alpha=a), True) for a in (0.01, 1.0, 100.0)}

    def machine(rows: int, seed: int) -> dict[str, Any]:
        from sklearn.multioutput import MultiOutputRegressor
        from sklearn.svm import SVR

        _check_size(rows)
        return {
            f"C={c:g}": _standardized(MultiOutputRegressor(SVR(C=c)), True)
            for c in (0.1, 1.0, 10.0, 100.0)
        }

    def network(rows: int, seed: int) -> dict[str, Any]:
        from sklearn.neural_network import MLPRegressor

        return {
            name: _standardized(MLPRegressor(**given), True)
            for name, given in _networks(rows, seed)
        }

    return {"ridge regression": ridge, "SVR": machine, "MLP grid": network}


def _networks(rows: int, seed: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Two sizes and two weight decays; few rows go to a second-order method all at once."""
    few = rows <= 1000
    how = dict(solver="lbfgs", max_iter=1000) if few else dict(learning_rate_init=3e-3)
    if not few:
        how["max_iter"] = max(20, min(200, 1_000_000 // rows))
    for hidden in ((32,), (64, 64)):
        for alpha in (1e-3, 1.0):
            name = f"{'x'.join(map(str, hidden))}, alpha={alpha:g}"
            yield name, dict(hidden_layer_sizes=hidden, alpha=alpha, random_state=seed, **how)


def _standardized(model: Any, targets: bool = False) -> Any:
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if targets:
        model = TransformedTargetRegressor(model, transformer=StandardScaler(), check_inverse=False)
    return make_pipeline(StandardScaler(), model)


def _check_size(rows: int) -> None:
    if rows > _MOST_ROWS:
        raise ValueError(f"{rows} training rows are too many for it, more than {_MOST_ROWS}")


_FAMILIES = {True: _classifiers(), False: _regressors()}
