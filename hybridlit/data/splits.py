"""Seeded splits of rows into training, validation and test data."""

from __future__ import annotations

import torch
from torch import Tensor

from hybridlit.checks import number

__all__ = ["check_fractions", "split_groups", "split_rows"]


def check_fractions(val_fraction: float, test_fraction: float) -> None:
    """Refuse shares of the rows that are none, or leave nothing to train on."""
    number(val_fraction, "val_fraction", minimum=0.0, below=1.0)
    number(test_fraction, "test_fraction", minimum=0.0, below=1.0)
    if val_fraction + test_fraction >= 1:
        raise ValueError(
            "val_fraction + test_fraction must be below 1, got "
            f"{val_fraction} + {test_fraction}: nothing is left to train on"
        )


def split_rows(
    targets: Tensor, fractions: tuple[float, float], *, stratify: bool, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Split row numbers at random into training, validation and test rows.

    The test rows depend on the seed and the test fraction only, so that another validation fraction
    never moves a row between test and the rest.

    With `stratify`, `targets` are class indices of shape (rows,), and every class has its share of
    both splits, up to rounding. `fractions` are the shares of all rows for validation and test.

    Returns:
        Row numbers of the training, validation and test data, each in ascending order; none is
        empty unless its fraction is 0.
    """
    generator = torch.Generator().manual_seed(seed)
    rows = torch.arange(len(targets))
    val_fraction, test_fraction = fractions
    rest, test = _split_off(rows, targets, test_fraction, len(rows), stratify, generator)
    train, val = _split_off(rest, targets, val_fraction, len(rows), stratify, generator)
    _check_filled((train, val, test), fractions, len(rows))
    return train, val, test


def split_groups(
    groups: Tensor, fractions: tuple[float, float], *, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Split row numbers as `split_rows` does, rows of one group always together.

    `groups` are numbers of groups from 0, of shape (rows,). Groups are drawn at random until a
    split is as close to its share of the rows as it gets, and has at least one group.
    """
    sizes = torch.bincount(groups)
    order = torch.randperm(len(sizes), generator=torch.Generator().manual_seed(seed))
    parts, rest = [], order
    for fraction in reversed(fractions):
        reached = sizes[rest].cumsum(0)
        wanted = fraction * len(groups)
        count = int((reached - wanted).abs().argmin()) + 1 if wanted and len(rest) else 0
        parts.append(rest[:count])
        rest = rest[count:]
    test, val, train = (torch.isin(groups, part).nonzero()[:, 0] for part in (*parts, rest))
    _check_filled((train, val, test), fractions, len(groups))
    return train, val, test


def _check_filled(
    parts: tuple[Tensor, Tensor, Tensor], fractions: tuple[float, float], rows: int
) -> None:
    names = ("training", "validation", "test")
    for name, part, fraction in zip(names, parts, (1.0, *fractions), strict=True):
        if fraction > 0 and len(part) == 0:
            raise ValueError(
                f"the {name} split of {rows} rows is empty with val_fraction={fractions[0]} and "
                f"test_fraction={fractions[1]}: change the fractions or give more rows"
            )


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
    for group, quota in zip(groups, _quotas([len(group) for group in groups], size), strict=True):
        chosen.append(group[torch.randperm(len(group), generator=generator)[:quota]])
    taken = torch.cat(chosen).sort().values
    return rows[~torch.isin(rows, taken)], taken


def _quotas(sizes: list[int], total: int) -> list[int]:
    """Share `total` in proportion to sizes: whole parts first, then the largest remainders."""
    exact = [size * total / max(sum(sizes), 1) for size in sizes]
    quotas = [int(share) for share in exact]
    order = sorted(range(len(sizes)), key=lambda i: quotas[i] - exact[i])
    for i in order[: total - sum(quotas)]:
        quotas[i] += 1
    return quotas
