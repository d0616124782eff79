"""Which rows each client has, where one recipe stands for the data of all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from hybridlit.checks import integer
from hybridlit.data.rows import RowsDataModule
from hybridlit.data.splits import SPLITS, quotas
from hybridlit.federated.settings import FederatedSettings

__all__ = ["dealt", "keep_shard"]

_DEALT = ("train", "val")
"""Splits that clients have parts of; the test rows are the server's."""


def dealt(targets: Tensor, shares: np.ndarray, seed: int) -> list[Tensor]:
    """Deal rows out to clients, each class by its own shares.

    Args:
        targets: Class of each row, shape (rows,); all the same if classes do not matter.
        shares: Of each client in each class, shape (classes, clients), each row of sum 1.
        seed: Of the order in which rows are dealt.

    Returns:
        Row numbers of each client, ascending; no row is left out, and none comes twice.
    """
    generator = torch.Generator().manual_seed(seed)
    found: list[list[Tensor]] = [[] for _ in range(shares.shape[1])]
    for label, own in enumerate(shares.tolist()):
        rows = (targets == label).nonzero()[:, 0]
        rows = rows[torch.randperm(len(rows), generator=generator)]
        for kept, part in zip(found, rows.split(quotas(own, len(rows))), strict=True):
            kept.append(part)
    return [torch.cat(parts).sort().values for parts in found]


def keep_shard(data: LightningDataModule, settings: FederatedSettings, client: int) -> None:
    """Leave a data module the training and validation rows of one client.

    All rows are prepared as they were: by what was fitted to the training rows of all clients.

    Raises:
        TypeError: If the data module is none of hybridlit, so that its rows cannot be told.
        ValueError: If there is no such client, it would have no rows, or rows have no classes to
            deal by.
    """
    if not isinstance(data, RowsDataModule):
        raise TypeError(
            f"{type(data).__name__} is no data module of hybridlit, so that its rows cannot be "
            "dealt out: give each client a recipe of its own (recipes/federated/)"
        )
    integer(client, "the number of a client (partition-id)", 0, settings.clients - 1)
    shares = _shares(data, settings)
    for split in _DEALT:
        part = getattr(data, split)
        if part is None:
            continue
        classes = part[1] if len(shares) > 1 else torch.zeros(len(part[1]), dtype=torch.int64)
        rows = dealt(classes, shares, settings.seed or 0)[client]
        if not len(rows):
            raise ValueError(
                f"client {client} gets none of {len(classes)} {SPLITS[split]} rows: choose fewer "
                "clients, other shares, a larger concentration or another seed"
            )
        setattr(data, split, tuple(values[rows] for values in part))
    data.check_drop_last(len(data.train[0]))


def _shares(data: RowsDataModule, settings: FederatedSettings) -> np.ndarray:
    """Shares of each client in each class, (classes, clients); one row if classes do not matter."""
    given: Sequence[float] = settings.shares or [1.0] * settings.clients
    mean = np.asarray(given, dtype=np.float64) / sum(given)
    if settings.concentration is None:
        return mean[None]
    targets = data.train[1]
    if targets.is_floating_point() or targets.dim() > 1:
        raise ValueError("concentration deals rows out by class, and these targets are no classes")
    drawn = np.random.default_rng(settings.seed or 0)
    return drawn.dirichlet(settings.concentration * settings.clients * mean, data.num_classes)
