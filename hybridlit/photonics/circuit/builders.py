r"""How features become phases: one linear map for each circuit type.

A circuit has L columns of data-dependent phases between L+1 interferometers. The phase on mode j in
column l is :math:`\pi \sum_f E_{ljf} x_f`, so that a circuit type is nothing but a rule for E. No
rule leaves a feature out: where one column has too few shifters, more columns follow (data
re-uploading, Pérez-Salinas et al., Quantum 4, 226 (2020)).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from itertools import chain, combinations, islice

import numpy as np
import torch
from torch import Tensor

from hybridlit.photonics.circuit.angles import Data
from hybridlit.photonics.circuit.circuit import Circuit
from hybridlit.photonics.circuit.components import PhaseShifter
from hybridlit.photonics.circuit.encoding import Encoding
from hybridlit.photonics.circuit.meshes import Interferometer
from hybridlit.photonics.vocabulary import Vocabulary

__all__ = [
    "CircuitType",
    "Encoding",
    "explicit",
    "meshes_between",
    "parallel",
    "parallel_columns",
    "series",
]


def series(features: int, modes: int) -> Encoding:
    """Columns of shifters on the first `modes - 1` modes, each with a feature or a mean of some.

    A column's shifters take single features first, then means of pairs, then means of larger
    subsets while shifters are left. More features than shifters are spread evenly over as many
    columns as they need. A single feature is encoded at all harmonics: `(j + 1) * x` on mode j.
    """
    shifters = modes - 1
    if features == 1:
        harmonics = np.append(np.arange(1.0, modes), 0.0)
        return harmonics.reshape(1, modes, 1)
    groups = np.array_split(np.arange(features), math.ceil(features / shifters))
    encoding = np.zeros((len(groups), modes, features))
    for column, group in enumerate(groups):
        subsets: Iterable[tuple[int, ...]] = chain.from_iterable(
            combinations(group.tolist(), size) for size in range(1, len(group) + 1)
        )
        for mode, subset in enumerate(islice(subsets, shifters)):
            encoding[column, mode, list(subset)] = 1 / len(subset)
    return encoding


def parallel(features: int, modes: int) -> Encoding:
    """One shifter on mode 0 in each column, a feature a column; a single one `modes - 1` times."""
    columns = features if features > 1 else modes - 1
    encoding = np.zeros((columns, modes, features))
    for column in range(columns):
        encoding[column, 0, column % features] = 1.0
    return encoding


def parallel_columns(features: int, modes: int) -> Encoding:
    """A feature a column, on every mode: `(j + 1) * x` on mode j.

    Equal phases on all modes would be a global phase, which nothing can detect.
    """
    return np.eye(features)[:, None, :] * np.arange(1.0, modes + 1)[None, :, None]


class CircuitType(Vocabulary):
    """Where the data enter a circuit; a rule for each.

    Attributes:
        row: From numbers of features and modes to phases in units of pi for each unit of a
            feature, shape (columns, modes, features).

    Example:
        >>> CircuitType("parallel_columns").encoding(features=2, modes=3)[0, :, 0].tolist()
        [1.0, 2.0, 3.0]
    """

    row: Callable[[int, int], Encoding]

    SERIES = "series", series
    PARALLEL = "parallel", parallel
    PARALLEL_COLUMNS = "parallel_columns", parallel_columns

    def encoding(self, features: int, modes: int) -> Encoding:
        """Return what `row` gives, or say that it is too large.

        Args:
            features: Number of features, at least 1.
            modes: Number of modes, at least 2.

        Raises:
            MemoryError: If there are too many features to say where each of them goes.
        """
        try:
            return self.row(features, modes)
        except MemoryError as error:
            raise MemoryError(
                f"input_size={features} is too large for n_modes={modes}: one number for each "
                f"column, mode and feature does not fit into memory ({error}); reduce the features "
                "before the photonic layer"
            ) from error


def explicit(encoding: object, modes: int, unit: str = "pi") -> Encoding:
    """Return an encoding that the user wrote out, in `unit` (pi or radian), in units of pi.

    Raises:
        ValueError: If it is ragged, not finite, of another shape, or if some feature changes
            nothing but a global phase, to the precision of float32.
    """
    try:
        if isinstance(encoding, Tensor):
            encoding = (
                encoding.detach().cpu().to(torch.promote_types(encoding.dtype, torch.float64))
            )
            encoding = encoding.numpy()
        if isinstance(encoding, np.ndarray) and np.iscomplexobj(encoding):
            raise TypeError
        array = np.array(encoding, dtype=np.float64) / {"pi": 1.0, "radian": math.pi}[unit]
    except (TypeError, ValueError, RuntimeError):  # a tensor without memory is a RuntimeError
        raise ValueError(
            "encoding must be a nested list of numbers, an array or a tensor, real and of shape "
            f"(columns, modes, features) with rows of equal length, got {encoding!r}"
        ) from None
    if array.ndim != 3 or 0 in array.shape or array.shape[1] != modes:
        raise ValueError(
            f"encoding must have shape (columns, modes={modes}, features), got {array.shape}"
        )
    with np.errstate(over="ignore"):
        single = (array * math.pi).astype(np.float32)  # what a float32 layer can tell apart
    if not np.isfinite(single).all():
        raise ValueError("encoding must be finite in float32, got NaN, infinity or more")
    relative = np.abs(single - single[:, :1]).max(axis=(0, 1))
    if (relative == 0).any():
        lost = np.flatnonzero(relative == 0).tolist()
        raise ValueError(
            f"encoding must let every feature reach the output, but feature(s) {lost} have the "
            "same factor on all modes of every column, a global phase; give some mode another one"
        )
    return array


def meshes_between(encoding: Encoding) -> Circuit:
    """Return the circuit of whole meshes with the columns of an encoding between them."""
    circuit = Circuit(encoding.shape[1])
    for column in encoding:
        circuit.add(Interferometer())
        shifted = np.flatnonzero(column.any(axis=1)).tolist() or [0]
        for mode in shifted:
            used = np.flatnonzero(column[mode]).tolist() or [0]
            weights = {feature: math.pi * column[mode, feature] for feature in used}
            circuit.add(PhaseShifter(Data(weights)), mode)
    return circuit.add(Interferometer(phases="input"))
