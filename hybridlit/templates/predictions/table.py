"""What a model predicts, as a table with names."""

from __future__ import annotations

import csv
import os
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hybridlit.atomic_write import atomic_write
from hybridlit.data.files import needed
from hybridlit.words import aligned

if TYPE_CHECKING:
    from pandas import DataFrame  # type: ignore[import-untyped, unused-ignore]

__all__ = ["WRITERS", "Predictions"]

_SHOWN = 10


class Predictions:
    """Predictions for rows, as columns of one length.

    First come the columns that name rows, such as an id; then one with the predicted label or
    value of each target, in its own units; for classes `probability_<label>` for each, for several
    labels a row `probability_<target>`, of what 1 stands for; what `predict` was asked for besides
    (`set_<target>`, a list of labels; `low_` and `high_<target>`; `uncertainty`); and where
    anything is to be said of a row, `flags`: what about it is unlike the training rows. A row that
    could not be predicted has None, and its flag says why.

    Args:
        columns: Lists of one length, by name.

    Attributes:
        columns: The same.

    Example:
        >>> table = Predictions({"id": [7, 8], "species": ["cat", "dog"]})
        >>> table["species"]
        ['cat', 'dog']
        >>> print(table)
        id  species
        7   cat
        8   dog
    """

    def __init__(self, columns: Mapping[str, list[Any]]) -> None:
        self.columns = dict(columns)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), []))

    def __getitem__(self, name: str) -> list[Any]:
        """Return a column."""
        if name not in self.columns:
            raise KeyError(f"no column {name!r}: there are {list(self.columns)}")
        return self.columns[name]

    def __repr__(self) -> str:
        rows = [
            [_shown(values[row]) for values in self.columns.values()]
            for row in range(min(len(self), _SHOWN))
        ]
        more = f"\n... {len(self):,} rows" if len(self) > _SHOWN else ""
        return aligned(list(self.columns), rows) + more

    def to_pandas(self) -> DataFrame:
        """Return the table as a `pandas.DataFrame`; pandas has to be installed."""
        frame: DataFrame = needed("pandas").DataFrame(self.columns)
        return frame

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Write the table as a file.

        Args:
            path: Where to, with the suffix `.csv`, `.tsv`, `.parquet` (needs pandas and pyarrow) or
                `.npz`, an array a column. Folders are made; a file that is there is replaced
                once the new one is complete.

        Returns:
            The path.

        Raises:
            ImportError: If a package is missing.
            ValueError: If the suffix is another one.
        """
        file = Path(path)
        if file.suffix.lower() not in WRITERS:
            raise ValueError(
                f"predictions are written as one of {', '.join(WRITERS)}, got {file.name!r}"
            )
        with atomic_write(file) as unfinished:
            WRITERS[file.suffix.lower()](self, unfinished)
        return file


def _write_lines(table: Predictions, path: Path, delimiter: str) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        writer.writerow(table.columns)
        columns = [[_text(value) for value in values] for values in table.columns.values()]
        writer.writerows(zip(*columns, strict=True))


def _write_parquet(table: Predictions, path: Path) -> None:
    needed("pyarrow")
    table.to_pandas().to_parquet(path, index=False)


def _write_npz(table: Predictions, path: Path) -> None:
    # numpy.savez takes no array of the name "file"
    with zipfile.ZipFile(path, "w") as archive:
        for name, values in table.columns.items():
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, _array(values), allow_pickle=False)


WRITERS: dict[str, Callable[[Predictions, Path], None]] = {
    ".csv": partial(_write_lines, delimiter=","),
    ".tsv": partial(_write_lines, delimiter="\t"),
    ".parquet": _write_parquet,
    ".npz": _write_npz,
}
"""Functions that write a table, by suffix."""


def _array(values: list[Any]) -> Any:
    """A column without objects: what is missing is NaN among numbers, and empty among words."""
    texts = [_text(value) for value in values]
    array = np.array([np.nan if value is None else value for value in texts])
    if array.dtype.kind in "biuf":
        return array
    return np.array(["" if value is None else str(value) for value in texts])


def _text(value: Any) -> Any:
    """A set of labels as one cell; all else as it is."""
    return "|".join(map(str, value)) if isinstance(value, list) else value


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.5g}" if isinstance(value, float) else str(_text(value))
