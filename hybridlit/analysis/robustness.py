"""What a trained model scores when one of its paths fails: lost, noisy, or late."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from hybridlit.analysis.ablation.measure import Measure
from hybridlit.analysis.pictures.style import FAINT, colours, new_figure, tidy
from hybridlit.analysis.recording import recorded, with_hooks
from hybridlit.analysis.splits import batches_of, prepared
from hybridlit.analysis.statistics import Interval, row_interval, share_interval, shown
from hybridlit.analysis.tabled import Tabled
from hybridlit.argument_types import checked
from hybridlit.blocks.paths import Paths
from hybridlit.checks import number, random_seed
from hybridlit.templates import HybridNetwork
from hybridlit.templates.loading import read_checkpoint
from hybridlit.undisturbed import undisturbed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Failure", "Robustness", "robustness"]


@dataclass(frozen=True)
class Failure:
    """What a model scores while one of its paths fails.

    Attributes:
        path: The path.
        how: `"lost"`, `"noise 0.5"` with its size, or `"late"`.
        score: The score, with its 95 % interval over the test rows.
        loss: How much less that is than of the whole model, with the interval of the difference.
    """

    path: str
    how: str
    score: Interval
    loss: Interval


@dataclass(frozen=True)
class Robustness(Tabled):
    """What a model scores as it is, and while one of its paths fails.

    Attributes:
        metric: Name of the score, of which more is better.
        rows: Number of test rows.
        whole: Score of the model as it is.
        failures: Each path with each kind of failure.

    Example:
        >>> whole, noisy = Interval(0.9, 0.8, 1.0), Interval(0.8, 0.7, 0.9)
        >>> lost = Failure("quantum_path", "noise 1", noisy, loss=Interval(0.1, 0.02, 0.18))
        >>> print(Robustness("accuracy", 36, whole, [lost]))
        path          fails    accuracy                lost by it
        none                   0.900 (0.800 to 1.000)
        quantum_path  noise 1  0.800 (0.700 to 0.900)  +0.100 (+0.020 to +0.180)
    """

    metric: str
    rows: int
    whole: Interval
    failures: list[Failure]

    def figure(self) -> Figure:
        """Draw the score under each failure, with intervals, and that of the whole model."""
        paths = list(dict.fromkeys(failure.path for failure in self.failures))
        kinds = list(dict.fromkeys(failure.how for failure in self.failures))
        figure = new_figure(max(5.0, 1.0 + 0.45 * len(self.failures)), 3.6)
        axes = figure.subplots()
        width = 0.8 / len(kinds)
        for place, (how, colour) in enumerate(zip(kinds, colours(len(kinds)), strict=True)):
            found = [failure.score for failure in self.failures if failure.how == how]
            ends = [[s.mean - s.low for s in found], [s.high - s.mean for s in found]]
            at = np.arange(len(found)) + (place - (len(kinds) - 1) / 2) * width
            heights = [score.mean for score in found]
            axes.bar(at, heights, 0.9 * width, yerr=ends, color=colour, label=how, capsize=2)
        axes.axhline(self.whole.mean, color=FAINT, linestyle="--", label="whole model")
        axes.set_xticks(range(len(paths)), paths)
        axes.legend(fontsize=8, frameon=False, bbox_to_anchor=(1, 1), loc="upper left")
        tidy(axes, "Score while a path fails", "path that fails", self.metric)
        return figure

    def _table(self) -> tuple[list[str], list[list[str]]]:
        rows = [["none", "", shown(self.whole), ""]]
        rows += [[f.path, f.how, shown(f.score), shown(f.loss, "+.3f")] for f in self.failures]
        return ["path", "fails", self.metric, "lost by it"], rows


@checked
def robustness(
    model: HybridNetwork,
    datamodule: LightningDataModule,
    *,
    noise: Sequence[float] = (0.5, 1.0, 2.0),
    earlier: dict[str, Any] | str | os.PathLike[str] | None = None,
    seed: int = 0,
) -> Robustness:
    """Score a trained model on its test rows while its paths fail, one at a time.

    A path fails in these ways:

    - lost: its mean over training rows stands in, as within `model.without`.
    - noise: Gaussian noise is added to its outputs, of so many times the standard deviation of each
      output over the test rows.
    - late: its outputs are those that it had with the weights of an earlier checkpoint, the weights
      of what comes before it included; what follows has the present ones.

    The model is left as it was.

    Args:
        model: A model that has paths, see `HybridNetwork.without`, and has been trained.
        datamodule: Test data, held in memory.
        noise: Sizes of the noise, each above 0.
        earlier: A checkpoint of the same run, or its `state_dict`; None: no path is late.
        seed: Seed of the noise.

    Returns:
        The scores, with 95 % intervals over the test rows; see `row_interval`.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If the model has no paths or has seen no training rows, a size of noise is not
            above 0, `earlier` is of another model, or there are fewer than two test rows.

    Example:
        >>> from hybridlit import ParallelHybrid, SklearnDataModule
        >>> model = ParallelHybrid(input_dim=4, output_dim=3, quantum_dim=2)
        >>> outputs = model(torch.randn(16, 4))  # a training keeps the means of the paths
        >>> found = robustness(model, SklearnDataModule("iris"), noise=[1.0])
        >>> [(each.path, each.how) for each in found.failures][:2]
        [('classical_path', 'lost'), ('classical_path', 'noise 1')]
    """
    for size in noise:
        number(size, "each of noise", above=0.0)
    generator = torch.Generator().manual_seed(random_seed(seed, "seed"))
    state = _state_of(earlier)
    with undisturbed(model, whole=True), prepared(datamodule) as data:
        with model.without(*([] if model.paths is None else model.paths.names)):
            pass  # refuses what has no means
        assert model.paths is not None
        paths, measure, test = model.paths, Measure(model), batches_of(data, "test")

        def scored() -> npt.NDArray[np.float64]:
            return measure(model, test).rows

        with recorded({"paths": paths}, lambda call: [x.cpu() for x in call.output]) as calls:
            whole = scored()
        outputs = [torch.cat(each) for each in zip(*calls["paths"], strict=True)]
        spreads = [each.std(0, correction=0) for each in outputs]
        late = [] if state is None else _outputs_of(model, state, scored)
        rows: dict[tuple[str, str], npt.NDArray[np.float64]] = {}
        for index, name in enumerate(paths.names):
            with model.without(name):
                rows[name, "lost"] = scored()
            for size in noise:
                with _changed(paths, index, _noisy(size * spreads[index], generator)):
                    rows[name, f"noise {size:g}"] = scored()
            if late:
                with _changed(paths, index, _instead([each[index] for each in late])):
                    rows[name, "late"] = scored()
    shares = bool(np.isin([whole, *rows.values()], (0, 1)).all())
    failures = [
        Failure(name, how, _scored(found, shares), row_interval(whole - found, shares)[0])
        for (name, how), found in rows.items()
    ]
    return Robustness(measure.name, len(whole), _scored(whole, shares), failures)


def _scored(rows: npt.NDArray[np.float64], shares: bool) -> Interval:
    return share_interval(int(rows.sum()), len(rows)) if shares else row_interval(rows, shares)[0]


def _state_of(earlier: dict[str, Any] | str | os.PathLike[str] | None) -> dict[str, Any] | None:
    if earlier is None or isinstance(earlier, dict):
        return earlier
    found: dict[str, Any] = read_checkpoint(earlier)["state_dict"]
    return found


def _outputs_of(
    model: HybridNetwork, state: dict[str, Any], run: Callable[[], object]
) -> list[list[Tensor]]:
    """Return the outputs of all paths with other weights, for each batch of a run."""
    assert model.paths is not None
    with undisturbed(model, whole=True):
        try:
            model.load_state_dict(state)
        except RuntimeError as error:
            raise ValueError(f"earlier is no state of this model: {error}") from None
        with recorded({"paths": model.paths}, lambda call: list(call.output)) as calls:
            run()
    return calls["paths"]


@contextmanager
def _changed(paths: Paths, index: int, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Change the output of one path until the block ends."""

    def hook(_: Paths, __: Any, outputs: list[Tensor]) -> list[Tensor]:
        return [*outputs[:index], change(outputs[index]), *outputs[index + 1 :]]

    with with_hooks() as hooks:
        hooks.callback(paths.register_forward_hook(hook).remove)
        yield


def _noisy(spread: Tensor, generator: torch.Generator) -> Callable[[Tensor], Tensor]:
    def change(output: Tensor) -> Tensor:
        return output + (torch.randn(output.shape, generator=generator) * spread).to(output)

    return change


def _instead(outputs: list[Tensor]) -> Callable[[Tensor], Tensor]:
    """Give one tensor after the other, a batch each."""
    left = iter(outputs)
    return lambda output: next(left).to(output)
