"""Settings of a chip and what was measured of it, from a table or a simulated chip."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from hybridlit.checks import choice, integer
from hybridlit.data.chip_inputs import ChipInputs
from hybridlit.data.columns import Column, missing_in
from hybridlit.data.files import as_frame
from hybridlit.data.preprocessing import Preprocessing
from hybridlit.data.rows import RowsDataModule
from hybridlit.data.splits import check_fractions
from hybridlit.data.table_inputs import counted, names_of_rows
from hybridlit.data.table_rows import split_table
from hybridlit.data.targets import Targets
from hybridlit.photonics.chip_layer import MEASURED, MeasuredName
from hybridlit.templates.chip.simulated import SimulatedChip
from hybridlit.words import meant, quoted

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["ChipDataModule"]


class ChipDataModule(RowsDataModule):
    """Settings of a chip, and what detectors measured of each.

    A row of the table is a setting: the voltage of each heater, the mode that light enters (two
    columns for two photons), and what each output measured, in the order of its columns. An empty
    cell of an output is a detector that was missing. Names may have wildcards: `"v*"` are all
    columns that begin with a v. Batches of training rows have light in the same mode, which is
    faster, and finds the way better, than batches of all.

    Args:
        path: File that `read_table` can read (CSV, TSV, Parquet, NPZ), a pandas table, or a
            dictionary of columns; None: measure a simulated chip.
        settings: Names of the columns of voltages.
        input: Name of the column of the mode that light enters; of two photons, of both columns.
        outputs: Names of the columns of what is measured: a column for each output; of two photons
            for each pair of modes i < j, or of full counts i <= j, in the order 00, 01, ..., 11.
        power: Name of a column with the power, or the number of photons, that enters; None: 1.
        id: Names of columns that name rows: they are kept for predictions.
        split: Name of a column that says `train`, `val`, `test` or `calibration` of each row; what
            it does not name is split off the training rows.
        measured: As for `ChipTwin`; None: `"intensities"` with one column of `input`, and
            `"coincidences"` with two.
        first_mode: What the first mode is called in the table, 0 or 1.
        simulated: Arguments of `SimulatedChip` by name, such as `{modes: 8, seed: 1}`, with a path
            of None.
        rows: Number of settings of a simulated chip, at least 1, drawn by `seed`.
        noise: Standard deviation of its noise, at least 0.
        photons: Photons, or pairs of them, that enter it in a row, to be counted; None: powers are
            measured.
        val_fraction: Share of the rows to split off for validation, in [0, 1); 0: none.
        batch_size: As for `ArrayDataModule`, and so are all others.

    Attributes:
        train: Training inputs (rows, heaters + modes) and targets (rows, outputs), NaN where a
            detector was missing; `val`, `test`, `calibration` and `ids` are as for
            `TableDataModule`.
        modes: Number of modes.
        heaters: Number of heaters.
        chip: The simulated chip, or None.

    Raises:
        ImportError: If pandas, or for Parquet pyarrow, is not installed.
        OSError: If the file cannot be read.
        TypeError: If an argument has the wrong type.
        ValueError: If the table, a column or a name does not fit.

    Example:
        >>> data = ChipDataModule(simulated={"modes": 3}, rows=50, batch_size=8)
        >>> data.modes, data.heaters, data.train[0].shape, data.train[1].shape
        (3, 6, torch.Size([30, 9]), torch.Size([30, 3]))
    """

    task_of_target = "regression"
    ids: dict[str, dict[str, list[Any]]]

    def __init__(
        self,
        path: str | os.PathLike[str] | Any = None,
        settings: str | Sequence[str] = "v*",
        input: str | Sequence[str] = "in*",
        outputs: str | Sequence[str] = "out*",
        *,
        power: str | None = None,
        id: str | Sequence[str] = (),
        split: str | None = None,
        measured: MeasuredName | None = None,
        first_mode: Literal[0, 1] = 0,
        simulated: dict[str, Any] | None = None,
        rows: int = 2000,
        noise: float = 1e-3,
        photons: float | None = None,
        val_fraction: float = 0.2,
        test_fraction: float = 0.2,
        calibration_fraction: float = 0.0,
        batch_size: int = 32,
        seed: int = 0,
        test_seed: int | None = None,
        num_workers: int = 0,
    ) -> None:
        super().__init__(
            batch_size=batch_size, seed=seed, test_seed=test_seed, num_workers=num_workers
        )
        if (path is None) == (simulated is None):
            raise ValueError(
                "path must be a table, or simulated the arguments of a SimulatedChip, got "
                + ("neither" if path is None else "both")
                + ": give one of them"
            )
        fractions = {
            "val": val_fraction,
            "test": test_fraction,
            "calibration": calibration_fraction,
        }
        check_fractions(fractions)
        self.chip, table, powered = None, path, power
        if simulated is not None:
            self.chip = SimulatedChip(**simulated)
            measured = self.chip.layer.measured
            drawn = torch.Generator().manual_seed(self.seed)
            table = self.chip.table(integer(rows, "rows", 1), noise, drawn, photons=photons)
            powered = None if photons is None else "power"
        is_file = isinstance(path, (str, os.PathLike))
        frame = as_frame(table)
        named = dict(settings=settings, input=input, outputs=outputs, power=powered or (), id=id)
        found = {argument: _columns(frame, argument, given) for argument, given in named.items()}
        roles = {"split": _columns(frame, "split", split or ()), "group": []}
        _refuse_two_roles({**found, "split": roles["split"]})
        given = [*found["settings"], *found["input"], *found["power"]]
        _refuse_gaps(frame, given)
        targets = _outputs(frame, found["outputs"])
        self.modes = _modes(len(found["outputs"]), len(found["input"]), measured)
        self.heaters = len(found["settings"])
        parts = split_table(frame, roles, targets, False, fractions, self.seeds)
        inputs = ChipInputs.fit(
            frame,
            parts["train"],
            dict.fromkeys(given, "number"),
            None,
            missing="error",
            ids=found["id"],
            known=[*found["outputs"], *roles["split"]],
            modes=self.modes,
            lights=len(found["input"]),
            first=first_mode,
            powered=powered is not None,
        )
        facts = {
            "source": Path(path).name if is_file else type(self.chip or path).__name__,
            "data_module": type(self).__name__,
            "rows": {n: len(r) for n, r in parts.items() if len(r) or n != "calibration"},
        }
        self.preprocessing = Preprocessing(inputs, Targets(found["outputs"]), facts)
        prepared = inputs(torch.from_numpy(inputs.numbers(frame)))
        targets = targets.to(prepared.dtype)
        split_up = {n: (prepared[r], targets[r]) for n, r in parts.items() if len(r)}
        self.train = split_up["train"]
        self.val, self.test = split_up.get("val"), split_up.get("test")
        self.calibration = split_up.get("calibration")
        lit = (self.train[0][:, self.heaters :] > 0).double()
        self._kinds = lit.unique(dim=0, return_inverse=True)[1]
        self.ids = {n: names_of_rows(frame.iloc[r], found["id"]) for n, r in parts.items()}
        self.keep_arguments(ignore=[] if is_file or simulated is not None else ["path"])


def _columns(frame: DataFrame, argument: str, given: str | Sequence[str]) -> list[str]:
    """Return the columns that names, perhaps with wildcards, mean, in the order of the names."""
    found: list[str] = []
    for name in [given] if isinstance(given, str) else given:
        alike = [each for each in frame.columns if fnmatchcase(each, name)]
        if name in frame.columns:
            alike = [name]
        if not alike:
            hint = meant(name, list(frame.columns)) or f"; there are {quoted(frame.columns)}"
            raise ValueError(f"{argument} must be columns of the table, got {name!r}{hint}")
        found += [each for each in alike if each not in found]
    return found


def _refuse_two_roles(found: Mapping[str, Sequence[str]]) -> None:
    roles: dict[str, str] = {}
    for argument, names in found.items():
        for name in names:
            if (other := roles.setdefault(name, argument)) != argument:
                raise ValueError(
                    f"column {name!r} can be one thing only, got it as {other} and as {argument}: "
                    "name the columns without wildcards"
                )


def _refuse_gaps(frame: DataFrame, names: Sequence[str]) -> None:
    gaps = {name: int(missing_in(frame[name]).sum()) for name in names}
    if any(gaps.values()):
        raise ValueError(
            f"settings must have no missing values, got {counted(gaps)} of {len(frame):,} rows: "
            "fill these cells, or leave the rows out"
        )


def _outputs(frame: DataFrame, names: Sequence[str]) -> Tensor:
    """Read what was measured, (rows, outputs) in float64, NaN where a detector was missing."""
    columns = []
    for name in names:
        values, wrong = Column(name, "number", []).numbers(frame[name])
        if wrong or np.isinf(values).any():
            bad = wrong + int(np.isinf(values).sum())
            raise ValueError(
                f"output {name!r} must hold numbers, or nothing where the detector is missing, got "
                f"others in {bad:,} of {len(frame):,} rows: correct these cells"
            )
        columns.append(values)
    measured = torch.from_numpy(np.stack(columns, 1))
    empty = int(torch.isnan(measured).all(1).sum())
    if empty:
        raise ValueError(
            f"outputs must be measured in each row, got nothing in {empty:,} of {len(frame):,} "
            "rows: leave these out"
        )
    return measured


def _modes(outputs: int, lights: int, measured: str | None) -> int:
    """Return how many modes have so many outputs, with light in one or two of them."""
    if measured is None:
        measured = "intensities" if lights == 1 else "coincidences"
    choice(measured, "measured", MEASURED)
    what = MEASURED[measured]
    for modes in range(2, outputs + 2):
        if (what.lights, what.size(modes)) == (lights, outputs):
            return modes
    raise ValueError(
        "outputs must be one for each mode and input one column, or input two columns and outputs "
        "one for each pair of modes (of full_counts also for each mode with itself), got "
        f"{outputs} outputs and {lights} columns of input for measured={measured!r}"
    )
