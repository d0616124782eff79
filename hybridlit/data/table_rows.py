"""Which part each column of a table plays, and which rows are for what."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hybridlit.data.columns import KINDS, Column, kind_of, missing_in
from hybridlit.data.files import mostly_numbers, needed
from hybridlit.data.splits import SPLITS, split_groups, split_named, split_rows
from hybridlit.data.table_inputs import counted
from hybridlit.words import meant, plural, quoted

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = [
    "MISSING",
    "MissingName",
    "Rows",
    "kinds_of_features",
    "read_weights",
    "roles_of_columns",
    "split_table",
    "without_gaps",
]

MISSING = {
    "error": "are refused",
    "drop": "leave out their rows",
    "impute": "are filled: numbers by the median of the training rows, others by the most frequent",
}
"""What missing values of features do, by name."""

if TYPE_CHECKING:
    MissingName: TypeAlias = str
else:
    MissingName = Literal[tuple(MISSING)]

Roles: TypeAlias = dict[str, list[str]]
"""Names of the columns that play a part, by the argument that names them."""

Rows: TypeAlias = dict[str, npt.NDArray[np.int64]]
"""Numbers of the rows of each split, in ascending order: `train`, `val` and `test`."""


def roles_of_columns(frame: DataFrame, **named: str | Sequence[str] | None) -> Roles:
    """Return the columns that arguments name, each of which must be there."""
    roles: Roles = {}
    for argument, given in named.items():
        roles[argument] = [given] if isinstance(given, str) else list(given or ())
        _check_there(argument, roles[argument], list(frame.columns))
    if not roles["target"]:
        raise ValueError("target must name at least one column, got none")
    others = [name for role, names in roles.items() if role != "target" for name in names]
    twice = [name for name in roles["target"] if [*roles["target"], *others].count(name) > 1]
    if twice:
        raise ValueError(f"target must be named once, and nowhere else, got {twice[0]!r} twice")
    return roles


def _check_there(argument: str, names: Sequence[str], columns: Sequence[str]) -> None:
    for name in names:
        if name not in columns:
            hint = meant(name, columns) or f"; there are {quoted(columns)}"
            if mostly_numbers(columns):  # no message shows a cell
                hint = ": a line of names seems to be missing above the table"
            raise ValueError(f"{argument} must be a column of the table, got {name!r}{hint}")


def kinds_of_features(frame: DataFrame, roles: Roles, categorical: Sequence[str]) -> dict[str, str]:
    """Return the kind of each column that plays no other part, or refuse what is no feature."""
    taken = {name for names in roles.values() for name in names}
    features = [name for name in frame.columns if name not in taken]
    if not features:
        raise ValueError(f"the table must have columns besides {quoted(frame.columns)}, got none")
    _check_there("categorical", categorical, features)
    kinds, refused = {}, {}
    for name in features:
        kinds[name], detail = kind_of(frame[name], name in categorical)
        if KINDS[kinds[name]].remedy is not None:
            refused[name] = detail
    for first, detail in refused.items():
        kind = KINDS[kinds[first]]
        same = [name for name in refused if kinds[name] == kinds[first]]
        what = kind.words + (f" ({detail})" if detail else "")
        more = f", and likewise {quoted(same[1:])}" if same[1:] else ""
        raise ValueError(f"column {first!r} holds {what}{more}: {kind.remedy}")
    return kinds


def without_gaps(
    frame: DataFrame, roles: Roles, kinds: Mapping[str, str], missing: str
) -> DataFrame:
    """Return the table without rows in which something is missing that must not be."""
    others = [*roles["weight"], *roles["split"], *roles["group"]]
    also = [] if missing == "impute" else [*kinds, *others]
    gaps: dict[str, int] = {}
    whole = np.ones(len(frame), dtype=bool)
    for name in [*also, *roles["target"]]:
        mask = missing_in(frame[name])
        gaps[name] = int(mask.sum())
        whole &= ~mask
    if missing == "impute":
        never = {name: int((missing_in(frame[name]) & whole).sum()) for name in others}
        if any(never.values()):
            raise ValueError(
                f"values are missing that are never filled, {counted(never)} of {len(frame):,} "
                "rows: leave these rows out, or give missing='drop'"
            )
    if whole.all():
        return frame
    told = f"{counted(gaps)} of {len(frame):,} rows"
    if missing == "error":
        raise ValueError(
            f"missing='error' refuses missing values, got {told}: give missing='impute' to fill "
            "those of features and to leave out rows without a target, 'drop' to leave out all "
            "these rows, or name columns in drop"
        )
    if not whole.any():
        remedy = "give missing='impute', or name columns in drop"
        raise ValueError(
            f"missing={missing!r} leaves no row, with values missing, {told}: "
            + ("predict other columns" if missing == "impute" else remedy)
        )
    warnings.warn(
        f"{plural(int((~whole).sum()), 'row')} left out for missing values, {told}", stacklevel=2
    )
    return frame[whole].reset_index(drop=True)


def split_table(
    frame: DataFrame,
    roles: Roles,
    targets: Tensor,
    classify: bool,
    fractions: Mapping[str, float],
    seeds: Mapping[str, Any],
) -> Rows:
    """Split rows by a column, or at random: by groups if there are any, by classes otherwise."""
    parts: Rows = {}
    rest = np.arange(len(frame))
    if roles["split"]:
        parts = _named_splits(frame, roles["split"][0])
        rest = parts.pop("train")
    groups = None
    if roles["group"]:
        groups = torch.from_numpy(needed("pandas").factorize(frame[roles["group"][0]])[0]).long()
    free = {name: 0.0 if name in parts else share for name, share in fractions.items()}
    if groups is None:
        found = split_rows(targets[rest], free, stratify=classify, **seeds)
    else:
        _check_groups(groups[rest], free, roles["group"][0])
        found = split_groups(groups[rest].unique(return_inverse=True)[1], free, **seeds)
    for name, chosen in found.items():
        parts.setdefault(name, rest[chosen.numpy()])
    if groups is not None:
        sides = [set(groups[chosen].tolist()) for chosen in parts.values()]
        torn = sum(map(len, sides)) - len(set().union(*sides))
        if torn:
            raise ValueError(
                f"split must keep the rows of a group together, got {plural(torn, 'group')} of "
                f"{roles['group'][0]!r} in several splits: change column {roles['split'][0]!r}, or "
                "leave it out"
            )
    return {name: parts[name] for name in SPLITS}


def _check_groups(groups: Tensor, fractions: Mapping[str, float], name: str) -> None:
    """Refuse a column of groups that has fewer of them than there are splits."""
    count, wanted = len(groups.unique()), 1 + sum(fraction > 0 for fraction in fractions.values())
    if count < wanted:
        raise ValueError(
            f"group {name!r} must have at least {wanted} groups, one for each split, got {count}: "
            "choose another column, leave it out, or set a fraction to 0"
        )


def _named_splits(frame: DataFrame, name: str) -> Rows:
    codes, labels = needed("pandas").factorize(frame[name])
    words = np.array([split_named(str(label)) or "" for label in labels])[codes]
    if (words == "").any():
        raise ValueError(
            f"column {name!r} must say train, val, test or calibration of each row, got another "
            f"word in {(words == '').sum():,} of {len(frame):,} rows"
        )
    parts = {part: np.flatnonzero(words == part) for part in SPLITS}
    if not len(parts["train"]):
        raise ValueError(f"column {name!r} must say train of some rows, got none")
    return {part: rows for part, rows in parts.items() if len(rows)}


def read_weights(
    frame: DataFrame, names: Sequence[str], splits: Mapping[str, npt.NDArray[np.int64]]
) -> list[Tensor]:
    """Return the weights of all rows in the default dtype, in a list, which is empty without."""
    if not names:
        return []
    name = names[0]
    values, wrong = Column(name, "number", []).numbers(frame[name])
    bad = wrong + int((~(values >= 0) | np.isinf(values)).sum())
    nothing = [name for name, rows in splits.items() if len(rows) and not values[rows].any()]
    if bad or nothing:
        found = f"others in {bad:,} of {len(frame):,} rows"
        found = found if bad else f"0 in all rows of {nothing[0]}"
        raise ValueError(
            f"weight {name!r} must be numbers of at least 0, not all 0, got {found}: correct these"
        )
    return [torch.tensor(values, dtype=torch.get_default_dtype())]
