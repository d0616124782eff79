"""What a trained model scores on hardware: under each imperfection, all of them, and few shots."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from hybridlit.analysis.ablation.measure import Measure
from hybridlit.analysis.noise_result import ALL, NONE, NoiseStudy, UnderNoise
from hybridlit.analysis.noisy import circuits_of, put_under_noise, restored
from hybridlit.analysis.row_errors import row_errors
from hybridlit.analysis.splits import batches_of, prepared
from hybridlit.analysis.statistics import Interval, interval, row_interval, share_interval
from hybridlit.argument_types import checked
from hybridlit.checks import integer, number, random_seed
from hybridlit.photonics import Noise, PhotonicCircuit
from hybridlit.templates import HybridModule
from hybridlit.undisturbed import undisturbed

__all__ = ["noise_study"]

_DRAWS = 5
"""Passes over the test rows where phases err, each with errors of its own."""


class _Condition(NamedTuple):
    """What a model is put under; no noise: as it was trained."""

    source: str
    strength: float
    noise: Noise | None
    shots: int | None

    @property
    def words(self) -> str:
        """What it is called where it cannot be measured."""
        shots = "" if self.shots is None else f", {self.shots:,} events"
        return f"{self.source} at strength {self.strength:g}{shots}"


@checked
def noise_study(
    model: HybridModule,
    datamodule: LightningDataModule,
    noise: Noise | Mapping[str, Any] | str = "ascella",
    *,
    strengths: Sequence[float] = (0.5, 1.0, 2.0),
    shots: Sequence[int] = (100, 1000, 10_000),
    seed: int = 0,
) -> NoiseStudy:
    """Score a trained model on its test rows as it would be on hardware, which is simulated.

    Each photonic layer keeps the outcomes that its readout was made for, see
    `QuantumLayer.with_noise`: how often they are seen is told beside. Of mean photon numbers and
    correlations everything counts, so that lost photons are missing in them.

    Every source of noise alone, and all of them together, at each strength; then numbers of shots
    without noise, and with all of it at strength 1. Shots are drawn for each row, so that intervals
    over rows cover them. Where phases err, five passes with errors of their own are made, whose
    spread is in the intervals. The model is left as it was.

    Args:
        model: A trained model with photonic layers.
        datamodule: Test data, held in memory.
        noise: Of strength 1: as for an `Experiment`.
        strengths: How many times as strong, each above 0; see `Noise.at_strength`.
        shots: Numbers of events that are kept of each row, each at least 1.
        seed: Of shots and phases.

    Returns:
        The scores.

    Raises:
        TypeError: If an argument has the wrong type, or the model no photonic layers for it.
        ValueError: If an argument is out of range, `noise` is none, or there are fewer than two
            test rows.

    Example:
        >>> from hybridlit import SequentialHybrid, SklearnDataModule
        >>> model = SequentialHybrid(input_dim=4, quantum_dim=2, output_dim=3)
        >>> noise = {"transmittance": 0.5, "indistinguishability": 0.9}
        >>> study = noise_study(model, SklearnDataModule("iris"), noise, strengths=[1], shots=[])
        >>> [each.source for each in study.found]
        ['transmittance', 'indistinguishability', 'all together']
    """
    whole = Noise.of(noise)
    if whole is None or whole.ideal:
        raise ValueError("noise must be some, got none: all its fields are at their defaults")
    for strength in strengths:
        number(strength, "each of strengths", above=0)
    for count in shots:
        integer(count, "each of shots", 1)
    random_seed(seed, "seed")
    layers = circuits_of(model)
    passes: dict[_Condition, _Passes] = {}
    left_out: dict[str, str] = {}
    with undisturbed(model, whole=True), prepared(datamodule) as data:
        measure, test = Measure(model), batches_of(data, "test")
        trained = _Passes([measure(model, test).rows], 1.0)
        for condition in _conditions(whole, strengths, shots):
            torch.manual_seed(seed)  # each sees the same errors of phases
            try:
                with restored(layers):
                    passes[condition] = _scored(model, measure, test, condition)
            except (MemoryError, NotImplementedError, ValueError) as error:
                left_out[condition.words] = str(error)
    shares = all(each.of_shares for each in (trained, *passes.values()))
    found = [
        UnderNoise(
            source=source,
            strength=strength,
            shots=count,
            score=_score(each, shares),
            loss=_interval([trained.rows[0] - rows for rows in each.rows], shares),
            kept=each.kept,
        )
        for (source, strength, _, count), each in passes.items()
    ]
    score = _score(trained, shares)
    return NoiseStudy(measure.name, len(trained.rows[0]), whole.plain(), score, found, left_out)


class _Passes(NamedTuple):
    """Scores of the test rows in each pass over them, and the share of events that is kept."""

    rows: list[npt.NDArray[np.float64]]
    kept: float

    @property
    def of_shares(self) -> bool:
        """Whether each row is right or wrong."""
        return bool(np.isin(self.rows, (0, 1)).all())


def _conditions(
    whole: Noise, strengths: Sequence[float], shots: Sequence[int]
) -> Iterator[_Condition]:
    sources = whole.sources
    if len(sources) > 1:
        sources[ALL] = whole
    for source, noise in sources.items():
        for strength in strengths:
            yield _Condition(source, strength, noise, None)
    for count in shots:
        yield _Condition(NONE, 1.0, None, count)
    for count in shots:
        yield _Condition([*sources][-1], 1.0, whole, count)


def _scored(
    model: HybridModule, measure: Measure, test: Sequence[Any], condition: _Condition
) -> _Passes:
    """Score a model under a condition, in which its photonic layers are left."""
    noise = condition.noise
    if noise is not None:
        noise = noise.at_strength(condition.strength)
        put_under_noise(model, noise)
    kept: list[Tensor] = []
    for layer in circuits_of(model).values():
        layer.shots = condition.shots
        _note_kept(layer, kept)
    draws = _DRAWS if noise is not None and noise.phase_error else 1
    rows = [measure(model, test).rows for _ in range(draws)]
    share = float(torch.cat(kept).mean()) if kept else 1.0
    return _Passes(rows, share)


def _note_kept(layer: PhotonicCircuit, kept: list[Tensor]) -> None:
    """Let a layer note the share of events of each row that it keeps."""
    probabilities = layer._probabilities

    def noting(*given: Any) -> tuple[Tensor, Tensor | None]:
        found, share = probabilities(*given)
        kept.append((torch.ones_like(found[..., 0]) if share is None else share).flatten())
        return found, share

    vars(layer)["_probabilities"] = noting


def _score(passes: _Passes, shares: bool) -> Interval:
    if shares and len(passes.rows) == 1:
        [rows] = passes.rows
        return share_interval(int(rows.sum()), len(rows))
    found = _interval(passes.rows, shares)
    most = 1.0 if shares else math.inf
    return Interval(found.mean, max(0.0, found.low) if shares else found.low, min(most, found.high))


def _interval(rows: list[npt.NDArray[np.float64]], shares: bool) -> Interval:
    """The interval of the mean over rows, and over passes where there are several."""
    if len(rows) == 1:
        return row_interval(rows[0], shares)[0]
    means = [float(each.mean()) for each in rows]
    return interval(means, of_rows=row_errors(np.mean(rows, 0), shares))
