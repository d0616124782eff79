"""How the score of a trained model divides among its parts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import combinations
from math import factorial
from typing import Any

import numpy as np
import numpy.typing as npt
from lightning.pytorch import LightningDataModule, LightningModule

from hybridlit.analysis.ablation.measure import Bench, Forward, Measure, RowScore
from hybridlit.analysis.ablation.parts import chosen_parts, part_means
from hybridlit.analysis.ablation.tables import plain_values
from hybridlit.analysis.replacement import replaced
from hybridlit.analysis.splits import batches_of, prepared, warn_of_shared_rows
from hybridlit.analysis.statistics import Interval, ends, row_interval
from hybridlit.argument_types import checked
from hybridlit.components import model_parts
from hybridlit.undisturbed import undisturbed

__all__ = ["MOST_PARTS", "Shapley", "shapley_values"]

Rows = npt.NDArray[np.float64]

MOST_PARTS = 4
"""Parts that are taken apart at most: every set of them is a run over the test data."""


@dataclass(frozen=True)
class Shapley:
    """Shares of a score.

    Attributes:
        metric: Name of the score, of which more is better.
        values: Shapley value of each part; together they are what the whole model scores beyond a
            model with all parts replaced.
        marginal: What the whole model scores beyond the model with this part alone replaced.
        scores: Score by set of parts that are active, the names joined with " + "; "" for none.
        intervals: The values with 95 % intervals over the test rows, see `row_errors`; each of them
            by itself, not corrected for the number of parts.

    Example:
        >>> both = Interval(0.2, 0.1, 0.3)
        >>> found = Shapley(
        ...     "accuracy",
        ...     values={"a": 0.25, "b": 0.25},
        ...     marginal={"a": 0.25, "b": 0.25},
        ...     scores={"": 0.25, "a": 0.5, "b": 0.5, "a + b": 0.75},
        ...     intervals={"a": both, "b": both},
        ... )
        >>> found.interaction
        0.0
    """

    metric: str
    values: dict[str, float]
    marginal: dict[str, float]
    scores: dict[str, float]
    intervals: dict[str, Interval]

    @property
    def interaction(self) -> float | None:
        """What two parts score together beyond what each adds alone; None for more or fewer parts.

        Above 0 they need each other; below 0 each can do what the other does.
        """
        if len(self.values) != 2:
            return None
        one, other = self.values
        alone = self.scores[one] + self.scores[other]
        return self.scores[_key((one, other))] - alone + self.scores[""]

    def __str__(self) -> str:
        width = max(map(len, ["part", *self.values]))
        whole, none = self.scores[_key(self.values)], self.scores[""]
        lines = [f"{'part':{width}}  Shapley value  {'95 % interval':18}  marginal ({self.metric})"]
        for name, value in self.values.items():
            reach = ends(self.intervals[name], "+.4f")
            lines.append(f"{name:{width}}  {value:+13.4f}  {reach:18}  {self.marginal[name]:+.4f}")
        lines.append(f"{self.metric} is {whole:.4f} with all parts and {none:.4f} with none.")
        if self.interaction is not None:
            lines.append(f"Interaction of the two: {self.interaction:+.4f}.")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON has it; None where an interval has no end."""
        return plain_values(self) | {"interaction": self.interaction}


@checked
def shapley_values(
    model: LightningModule,
    datamodule: LightningDataModule,
    *,
    parts: Sequence[str] | None = None,
    score: RowScore | None = None,
    forward: Forward | None = None,
) -> Shapley:
    r"""Divide the test score of a trained model among its parts, exactly.

    The Shapley value of part c is its mean contribution over all orders in which K parts can be
    switched on (Shapley, 1953):

    .. math:: \phi_c = \sum_{S \not\ni c} \frac{|S|!\,(K - |S| - 1)!}{K!} [v(S \cup c) - v(S)]

    where v(S) is the score with the output of every part outside S replaced by its mean over the
    training data. All values add up to v(all) - v(none); a part whose output does not matter has 0.
    They describe this trained model: for what a part is worth when the others are trained without
    it, see `ablation_study`. Rows in two splits are warned of. The model is left as it was.

    Args:
        model: A trained model.
        datamodule: Training data for the means, and test data, held in memory.
        parts: Qualified names of one to four parts; None: those of `model_parts`.
        score: As for `ablation_study`.
        forward: As for `ablation_study`.

    Returns:
        The values, and the scores that they follow from.

    Raises:
        TypeError: If an argument has the wrong type, or a model that is no `HybridModule` lacks
            `score` or `forward`.
        ValueError: If there are more than four parts, a name is unknown, one part lies within
            another, a part does not give one output for each row, or there are fewer than two test
            rows.

    Example:
        >>> from hybridlit import ParallelHybrid, SklearnDataModule
        >>> model = ParallelHybrid(input_dim=4, output_dim=3)
        >>> found = shapley_values(
        ...     model, SklearnDataModule("iris"), parts=["classical_path", "quantum_path"]
        ... )
        >>> list(found.scores)
        ['', 'classical_path', 'quantum_path', 'classical_path + quantum_path']
    """
    measure = Measure(model, score, forward)
    chosen = chosen_parts(model, parts, model_parts(model))
    if len(chosen) > MOST_PARTS:
        raise ValueError(
            f"parts must be at most {MOST_PARTS}, got {len(chosen)}: {list(chosen)}; name the ones "
            "of interest, and the rest stays active"
        )
    for name, part in chosen.items():
        inside = [
            other for other in chosen if other != name and chosen[other] in list(part.modules())
        ]
        if inside:
            raise ValueError(f"parts must not lie within one another, but {inside[0]} is in {name}")
    scored: dict[str, Rows] = {}
    with undisturbed(model, whole=True), prepared(datamodule) as data:
        warn_of_shared_rows(data)
        means, reasons = part_means(model, Bench(measure, data, (), 0), chosen)
        for name, reason in reasons.items():
            raise ValueError(f"part {name!r} cannot be replaced: {reason}")
        test = batches_of(data, "test")
        for active in _subsets(chosen):
            with ExitStack() as stack:
                for name, part in chosen.items():
                    if name not in active:
                        stack.enter_context(replaced(part, means[name]))
                scored[_key(active)] = measure(model, test).rows
    return _divided(measure.name, list(chosen), scored)


def _divided(metric: str, names: list[str], scored: dict[str, Rows]) -> Shapley:
    """Shapley values of a game that is given by the scores of the rows for every coalition.

    A value is linear in the scores, so that it is a mean over rows like these.
    """
    count = len(names)
    values = {name: np.zeros_like(scored[""]) for name in names}
    for name in names:
        for others in _subsets([other for other in names if other != name]):
            size = len(others)
            weight = factorial(size) * factorial(count - size - 1) / factorial(count)
            together = _key([each for each in names if each == name or each in others])
            values[name] += weight * (scored[together] - scored[_key(others)])
    scores = {key: float(rows.mean()) for key, rows in scored.items()}
    shares = all(np.isin(rows, (0, 1)).all() for rows in scored.values())
    marginal = {
        name: scores[_key(names)] - scores[_key(each for each in names if each != name)]
        for name in names
    }
    return Shapley(
        metric,
        {name: float(rows.mean()) for name, rows in values.items()},
        marginal,
        scores,
        {name: row_interval(rows, bool(shares))[0] for name, rows in values.items()},
    )


def _subsets(names: Iterable[str]) -> list[tuple[str, ...]]:
    everything = list(names)
    sizes = range(len(everything) + 1)
    return [subset for size in sizes for subset in combinations(everything, size)]


def _key(names: Iterable[str]) -> str:
    return " + ".join(names)
