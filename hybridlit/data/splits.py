"""Seeded splits of rows into training, validation, test and calibration data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from hybridlit.checks import number

__all__ = [
    "SPLITS",
    "SPLIT_WORDS",
    "check_fractions",
    "quotas",
    "split_groups",
    "split_named",
    "split_rows",
]

SPLITS = {
    "train": "training",
    "val": "validation",
    "test": "test",
    "calibration": "calibration",
}
"""Splits, and what their rows are called."""

_DRAWN = ("test", "val", "calibration")
"""Splits in the order in which their rows are drawn: a later one never moves rows of another."""

SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
    "calibration": "calibration",
}
"""Splits by what a column says of a row, or what a folder of one is called, in any case."""


def split_named(word: str) -> str | None:
    """Return the split that a word means, or None."""
    return SPLIT_WORDS.get(word.strip().lower())


def check_fractions(fractions: Mapping[str, float]) -> None:
    """Refuse shares of the rows, by split, that are none, or leave nothing to train on."""
    for name, fraction in fractions.items():
        number(fraction, f"{name}_fraction", minimum=0.0, below=1.0)
    if sum(fractions.values()) >= 1:
        given = {name: share for name, share in fractions.items() if share or name != "calibration"}
        raise ValueError(
            f"{' + '.join(f'{name}_fraction' for name in given)} must be below 1, got "
            f"{' + '.join(map(str, given.values()))}: nothing is left to train on"
        )


def split_rows(
    targets: Tensor,
    fractions: Mapping[str, float],
    *,
    stratify: bool,
    seed: int,
    test_seed: int | None = None,
) -> dict[str, Tensor]:
    """Split row numbers at random into training rows and those of other splits.

    The test rows depend on the seed and the test fraction only, so that another validation fraction
    never moves a row between test and the rest; nor does the calibration fraction move a row
    between test, validation and the rest.

    A `test_seed` decides in the place of `seed` which rows are test rows, and nothing else.

    With `stratify`, `targets` are class indices of shape (rows,), and every class has its share of
    all splits, up to rounding. `fractions` are the shares of all rows of the splits but `train`.

    Returns:
        Row numbers of each split, in ascending order; none is empty unless its fraction is 0.
    """
    drawn_by = _generators(seed, test_seed)
    rest, parts = torch.arange(len(targets)), dict[str, Tensor]()
    for name, generator in drawn_by.items():
        fraction = fractions.get(name, 0.0)
        rest, parts[name] = _split_off(rest, targets, fraction, len(targets), stratify, generator)
    return _filled(parts | {"train": rest}, fractions, len(targets))


def split_groups(
    groups: Tensor, fractions: Mapping[str, float], *, seed: int, test_seed: int | None = None
) -> dict[str, Tensor]:
    """Split row numbers as `split_rows` does, rows of one group always together.

    `groups` are numbers of groups from 0, of shape (rows,). Groups are drawn at random until a
    split is as close to its share of the rows as it gets, and has at least one group.
    """
    sizes = torch.bincount(groups)
    drawn_by = _generators(seed, test_seed)
    rest = torch.randperm(len(sizes), generator=drawn_by["test"])
    drawn = dict[str, Tensor]()
    for name in _DRAWN:
        if name == "val" and test_seed is not None:
            rest = rest[torch.randperm(len(rest), generator=drawn_by[name])]
        reached = sizes[rest].cumsum(0)
        wanted = fractions.get(name, 0.0) * len(groups)
        count = int((reached - wanted).abs().argmin()) + 1 if wanted and len(rest) else 0
        drawn[name], rest = rest[:count], rest[count:]
    parts = {
        name: torch.isin(groups, part).nonzero()[:, 0]
        for name, part in (drawn | {"train": rest}).items()
    }
    return _filled(parts, fractions, len(groups))


def _generators(seed: int, test_seed: int | None) -> dict[str, torch.Generator]:
    """What draws the rows of each split: one generator, or that of the test rows by itself."""
    one = torch.Generator().manual_seed(seed)
    of_test = one if test_seed is None else torch.Generator().manual_seed(test_seed)
    return {name: of_test if name == "test" else one for name in _DRAWN}


def _filled(
    parts: Mapping[str, Tensor], fractions: Mapping[str, float], rows: int
) -> dict[str, Tensor]:
    """Return the splits in their order; refuse those without rows that should have some."""
    for name, share in ({"train": 1.0} | dict(fractions)).items():
        if share > 0 and len(parts[name]) == 0:
            given = [f"{n}_fraction={s}" for n, s in fractions.items() if s or n != "calibration"]
            raise ValueError(
                f"the {SPLITS[name]} split of {rows} rows is empty with {' and '.join(given)}: "
                "change the fractions or give more rows"
            )
    return {name: parts[name] for name in SPLITS}


def _split_off(
    rows: Tensor,
    targets: Tensor,
    fraction: float,
    total: int,
    stratify: bool,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Return (the other rows, round(fraction * total) of the rows)."""
    size = min(round(fraction * total), len(rows))
    groups = [rows]
    if stratify:
        groups = [rows[targets[rows] == label] for label in targets[rows].unique()]
    chosen = []
    for group, quota in zip(groups, quotas([len(group) for group in groups], size), strict=True):
        chosen.append(group[torch.randperm(len(group), generator=generator)[:quota]])
    taken = torch.cat(chosen).sort().values
    return rows[~torch.isin(rows, taken)], taken


def quotas(sizes: Sequence[float], total: int) -> list[int]:
    """Share `total` in proportion to sizes: whole parts first, then the largest remainders."""
    exact = [size * total / (sum(sizes) or 1) for size in sizes]
    shared = [int(share) for share in exact]
    order = sorted(range(len(sizes)), key=lambda i: shared[i] - exact[i])
    for i in order[: total - sum(shared)]:
        shared[i] += 1
    return shared
