"""Tables from files, or one clear sentence that names the file and never a cell."""

from __future__ import annotations

import csv
import io
import os
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from hybridlit.words import plural, quoted

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = [
    "EXACT_INTEGERS",
    "FORMATS",
    "MISSING_WORDS",
    "NONE",
    "as_frame",
    "mostly_numbers",
    "needed",
    "read_table",
]

MISSING_WORDS = frozenset(
    "NA N/A n/a <NA> #N/A #NA NULL null NaN nan -NaN -nan 1.#IND -1.#IND 1.#QNAN -1.#QNAN".split()
) | {""}
"""Cells of text that are missing values."""

NONE = "None"
"""What is a missing value as well, unless the other cells of a column are words."""

EXACT_INTEGERS = r"\s*(0\d+|\d{16,})\s*"
"""Pattern of integers of which a number would keep less: their column stays text."""

_SEPARATORS = ",;\t|"
_COMMA_NUMBER = r"\s*[+-]?\d*,?\d+([eE][+-]?\d+)?\s*"
_INDEX = re.compile(r"__index_level_\d+__")
_PADDED = re.compile(r"0(?<![\d.+-]0)\d")  # begins with a letter to look for, which is faster
_THOUSANDS = r"\s*[+-]?([1-9]\d{0,2},\d{3}|\d+)\s*"


def needed(package: str) -> Any:
    """Import a package of the extra `data`, or say how it is installed."""
    try:
        return import_module(package)
    except ImportError as error:
        name = package.partition(".")[0]
        raise ImportError(
            f'tables need {name}, which is not installed: pip install "hybridlit[data]"'
        ) from error


def read_table(path: str | os.PathLike[str]) -> DataFrame:
    """Read a table from a file.

    | file | what is read |
    |---|---|
    | `.csv`, `.tsv`, `.txt` | UTF-8 with a line of names; commas, semicolons, tabs or bars |
    | `.parquet` | all columns, and an index if it has a name |
    | `.npz` | arrays of shape (rows,) by name; `x` of shape (rows, n) is `x_0` to `x_{n-1}` |

    In text, empty cells and words such as `NA`, `NaN` and `null` are missing values, and so is
    `None` among numbers or yes and no; among other words it is one of them. Blank lines are no
    rows, but where there is one column, of which they are empty cells. Integers such as `007`, or
    of more digits than a number holds, stay text. Decimal commas are understood, with a warning.

    Args:
        path: Name of the file.

    Returns:
        A table of at least one row, whose columns have distinct names.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no table; the message names the file and columns, never a value.
    """
    file = Path(path)
    if file.is_dir():
        raise ValueError(f"path must be a file, got the folder {str(file)!r}: name a file in it")
    if not file.exists():
        raise FileNotFoundError(f"path must be a file, got {str(file)!r}, which is not there")
    reader = FORMATS.get(file.suffix.lower())
    if reader is None:
        raise ValueError(
            f"path must be one of {', '.join(FORMATS)}, got {str(file)!r}: save the table so"
        )
    if not file.stat().st_size:
        raise ValueError(f"path must hold a table, got {str(file)!r}, which is empty")
    return as_frame(reader(file))


def as_frame(rows: Any, names: Sequence[str] | None = None) -> DataFrame:
    """Turn what holds rows into a table whose columns have distinct names, without a copy.

    That is a file, a pandas table, a dictionary of columns (or of one row), or a list of
    dictionaries; with `names` of columns also an array or tensor of shape (rows, columns).
    """
    pandas = needed("pandas")
    if isinstance(rows, (str, os.PathLike)):
        return read_table(rows)
    if isinstance(rows, pandas.DataFrame):
        frame = rows.copy(deep=False)
    elif isinstance(rows, Mapping):
        single = not any(np.ndim(column) for column in rows.values())
        try:
            frame = pandas.DataFrame([dict(rows)] if single else dict(rows), copy=False)
        except ValueError:
            raise ValueError("rows must have columns of one length and shape (rows,)") from None
    elif isinstance(rows, (list, tuple)) and rows and all(isinstance(r, Mapping) for r in rows):
        frame = pandas.DataFrame(rows)
    elif names is not None and isinstance(rows, (list, tuple, np.ndarray, Tensor)):
        array = rows.detach().cpu().numpy() if isinstance(rows, Tensor) else np.asarray(rows)
        if array.ndim != 2 or array.shape[1] != len(names):
            raise ValueError(
                f"rows must have shape (rows, {len(names)}), the columns {quoted(names)} in this "
                f"order, got {array.shape}"
            )
        frame = pandas.DataFrame(array, columns=list(names))
    else:
        raise TypeError(
            "a table must be a file, a pandas DataFrame or a dictionary of columns, got "
            f"{type(rows).__name__}"
        )
    if frame.columns.nlevels > 1:
        raise ValueError("a table must have one name for each column, got several levels of names")
    frame.columns = pandas.Index([str(name) for name in frame.columns], dtype=object)
    _check_names(list(frame.columns), "the table")
    if not len(frame):
        raise ValueError(f"the table must have rows, got none below {quoted(frame.columns)}")
    return frame


def _check_names(names: Sequence[str], where: str) -> None:
    """Refuse columns without a name, and names that occur twice."""
    unnamed = [str(index) for index, name in enumerate(names, 1) if not name.strip()]
    if unnamed:
        raise ValueError(
            f"{where} must name all {len(names)} columns, got none for column "
            f"{quoted(unnamed, quote=False)}: give it a name, or leave it out"
        )
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"{where} must name columns differently, got several of {quoted(twice)}")


def _read_text(path: Path) -> DataFrame:
    pandas = needed("pandas")
    content = _decoded(path)
    exact = NONE in content or _PADDED.search(content) is not None
    # StringIO would take four bytes for each letter
    text = io.TextIOWrapper(io.BytesIO(content.encode()), encoding="utf-8", newline="")
    del content

    def read(missing: frozenset[str], **options: Any) -> DataFrame:
        text.seek(0)
        return pandas.read_csv(
            text,
            sep=separator,
            names=names,
            header=blank if len(names) == 1 else 0,
            skip_blank_lines=len(names) > 1,  # of one column they are its empty cells
            index_col=False,
            skipinitialspace=True,
            low_memory=False,
            keep_default_na=False,
            na_values=missing,
            **options,
        )

    try:
        separator, names, blank = _header(text, path)
        with warnings.catch_warnings():
            warnings.simplefilter("error", pandas.errors.ParserWarning)
            frame = read(MISSING_WORDS | {NONE})
            numbers = frame.select_dtypes("number")
            exact = exact or (numbers.select_dtypes("float").abs() >= 2**53).any(axis=None)
            for name, cells in read(MISSING_WORDS, dtype=str).items() if exact else ():
                if name in numbers and cells.str.fullmatch(EXACT_INTEGERS).any():
                    frame[name] = cells.str.strip().where(frame[name].notna())
                elif pandas.api.types.infer_dtype(frame[name]) == "string":
                    frame[name] = cells
    except (csv.Error, pandas.errors.ParserError, pandas.errors.ParserWarning):
        raise ValueError(
            f"path must have as many cells in each line as names in the first, got more in a line "
            f"of {str(path)!r}, or a quote without an end: put text that holds the separator in "
            "double quotes"
        ) from None
    if len(names) > 1 and frame[names[-1]].isna().any():  # what a short line lacks is missing
        _check_cells(text, separator, len(names), path)
    return _with_decimal_points(frame, path)


def _check_cells(text: io.TextIOWrapper, separator: str, width: int, path: Path) -> None:
    """Refuse lines of fewer cells than there are columns, but for blank lines."""
    text.seek(0)
    line, short, begin = "", list[int](), 1

    def lines() -> Iterator[str]:
        nonlocal line
        for each in text:
            line = each
            yield each

    reader = csv.reader(lines(), delimiter=separator, skipinitialspace=True)
    limit = csv.field_size_limit(path.stat().st_size)  # pandas has none
    try:
        for record in reader:
            if len(record) < width and line.strip(" \t\r\n".replace(separator, "")):
                short.append(begin)
            begin = reader.line_num + 1
    finally:
        csv.field_size_limit(limit)
    if short:
        raise ValueError(
            f"path must have as many cells in each line as names in the first, {width}, got fewer "
            f"in {plural(len(short), 'line')} of {str(path)!r}, the first of them line "
            f"{short[0]:,}: write what is missing as empty cells, with the separators"
        )


def _decoded(path: Path) -> str:
    data = path.read_bytes()
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        found = "UTF-16"
    elif b"\0" in data[:4096]:
        raise ValueError(f"path must be a table as text, got {str(path)!r}, which is no text")
    else:
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            found = f"another encoding at byte {error.start:,}"
    raise ValueError(
        f"path must be text in UTF-8, got {str(path)!r} in {found}: save it as 'CSV UTF-8', or "
        "convert it, for instance by iconv -f latin1 -t utf-8"
    )


def _header(text: io.TextIOWrapper, path: Path) -> tuple[str, list[str], int]:
    """Find the separator, by which the first lines are most alike, names, and blank lines above."""
    best, separator, names, blank = (-1.0, 0), "", [""], 0
    for candidate in _SEPARATORS:
        text.seek(0)
        reader = csv.reader(text, delimiter=candidate, skipinitialspace=True)
        try:
            every = list(islice(reader, 200))
        except csv.Error:  # a cell of 128 KiB: there must be another separator
            continue
        records = [record for record in every if record]
        if not records:
            raise ValueError(f"path must hold a table, got {str(path)!r}, which is empty")
        blank = every.index(records[0])
        size = len(records[0])
        alike = sum(len(record) == size for record in records) / len(records)
        if (alike * (size > 1), size) > best:
            best = (alike * (size > 1), size)
            separator, names = candidate, [name.strip() for name in records[0]]
    if not separator:
        raise csv.Error
    twice = len(set(names)) < len(names)
    counted = [[str(index) for index in range(first, first + len(names))] for first in (0, 1)]
    if mostly_numbers(names, twice) and (twice or names not in counted):
        raise ValueError(
            f"the first line of {str(path)!r} must hold the names of the {len(names)} columns, got "
            "numbers: put a line of names above"
        )
    _check_names(names, f"the first line of {str(path)!r}")
    return separator, names, blank


def mostly_numbers(names: Sequence[str], half: bool = True) -> bool:
    """Tell whether half of the names, or all, are numbers: then they may be cells."""
    numbers = [name for name in names if re.fullmatch(r"[+-]?\d*[.,]?\d+([eE][+-]?\d+)?", name)]
    return len(numbers) >= len(names) / (2 if half else 1)


def _with_decimal_points(frame: DataFrame, path: Path) -> DataFrame:
    """Turn text such as `1,5` into numbers, if that is what a column holds."""
    pandas = needed("pandas")
    found, sure = [], False
    for name in frame.columns:
        if pandas.api.types.is_numeric_dtype(frame[name].dtype):
            continue
        cells = frame[name].dropna().astype(str).str
        if cells.contains(",").any() and cells.fullmatch(_COMMA_NUMBER).all():
            found.append(name)
            sure = sure or not cells.fullmatch(_THOUSANDS).all()
    if found and not sure:
        raise ValueError(
            f"{str(path)!r} must have numbers that can be told apart, got commas in those of "
            f"{quoted(found)} that may be decimal commas or groups of thousands: write them without"
        )
    for name in found:
        frame[name] = frame[name].str.replace(",", ".").astype(float)
    if found:
        warnings.warn(f"decimal commas are read in {quoted(found)} of {str(path)!r}", stacklevel=2)
    return frame


def _read_parquet(path: Path) -> dict[str, Any]:
    parquet, pyarrow = needed("pyarrow.parquet"), needed("pyarrow")
    columns: dict[str, Any] = {}
    try:
        with parquet.ParquetFile(path, pre_buffer=False) as file:
            names = [name for name in file.schema_arrow.names if not _INDEX.fullmatch(name)]
            _check_names(names, repr(str(path)))
            for name in names:  # all at once would take several times the memory
                table = file.read([name], use_threads=False)
                frame = table.to_pandas(split_blocks=True, self_destruct=True, ignore_metadata=True)
                columns[name] = frame[name]
    except pyarrow.ArrowException:  # its text may quote the file
        raise ValueError(f"path must hold Parquet, got {str(path)!r}, which does not") from None
    return columns


def _read_npz(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        try:
            with np.load(file, allow_pickle=False) as arrays:
                given = dict(arrays.items())
        except MemoryError:
            raise
        except Exception:  # whatever a broken archive, or an array of objects, makes of it
            raise ValueError(
                f"path must hold arrays of numbers or text, got {str(path)!r}, which is no archive "
                "of numpy.savez, or holds Python objects"
            ) from None
    columns: list[tuple[str, Any]] = []
    for name, array in given.items():
        if array.ndim not in (1, 2):
            raise ValueError(
                f"path must hold arrays of shape (rows,) or (rows, columns), got {name!r} of shape "
                f"{array.shape} in {str(path)!r}: reshape it"
            )
        several = [(f"{name}_{index}", part) for index, part in enumerate(array.T)]
        columns += [(name, array)] if array.ndim == 1 else several
    where = f"{str(path)!r}, where x of shape (rows, n) is x_0, x_1 and so on,"
    _check_names([name for name, _ in columns], where)
    return dict(columns)


FORMATS: dict[str, Callable[[Path], Any]] = {
    ".csv": _read_text,
    ".tsv": _read_text,
    ".txt": _read_text,
    ".parquet": _read_parquet,
    ".npz": _read_npz,
}
"""How files are read, by the end of their names."""
