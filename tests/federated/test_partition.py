"""Rows dealt out to clients: each once, in the shares asked for."""

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningDataModule

from hybridlit import ArrayDataModule
from hybridlit.federated import FederatedSettings
from hybridlit.federated.partition import dealt, keep_shard


def data(rows=400, classes=4, targets=None):
    inputs = torch.arange(rows).double()[:, None] + torch.tensor([0.0, 0.5])
    targets = torch.arange(rows) % classes if targets is None else targets
    return ArrayDataModule(inputs, targets, scaling=None, seed=1)


def shards(**settings):
    settings = FederatedSettings(**settings)
    found = []
    for client in range(settings.clients):
        own = data()
        keep_shard(own, settings, client)
        found.append(own)
    return found


def test_every_row_goes_to_one_client():
    found = shards(clients=3, shares=[5, 3, 2])
    for split in ("train", "val"):
        whole = getattr(data(), split)
        parts = [getattr(each, split) for each in found]
        inputs = torch.cat([part[0] for part in parts])
        order = inputs[:, 0].argsort()
        assert torch.equal(inputs[order], whole[0])
        assert torch.equal(torch.cat([part[1] for part in parts])[order], whole[1])
    assert [len(each.train[0]) for each in found] == [120, 72, 48]
    assert [len(each.val[0]) for each in found] == [40, 24, 16]
    assert all(len(each.test[0]) == 80 for each in found)  # which are the server's


def test_equal_shares_by_default():
    assert [len(each.train[0]) for each in shards(clients=4)] == [60] * 4


def test_a_small_concentration_gives_clients_classes_of_their_own():
    def largest(concentration):
        found = shards(clients=2, concentration=concentration, seed=3)
        counts = np.array([torch.bincount(each.train[1], minlength=4).numpy() for each in found])
        assert counts.sum(0).tolist() == [60] * 4
        return (counts.max(0) / counts.sum(0)).mean()

    assert largest(0.2) > 0.85
    assert largest(1e4) < 0.52


def test_the_dirichlet_distribution_has_the_shares_as_its_mean():
    sizes = [
        len(shards(clients=2, shares=[3, 1], concentration=5.0, seed=seed)[0].train[0])
        for seed in range(30)
    ]
    assert np.mean(sizes) / 240 == pytest.approx(0.75, abs=0.03)


def test_another_seed_deals_other_rows():
    one, two = (dealt(torch.zeros(20).long(), np.array([[0.5, 0.5]]), seed) for seed in (0, 1))
    assert not torch.equal(one[0], two[0])
    assert sorted([*one[0].tolist(), *one[1].tolist()]) == list(range(20))


def test_what_cannot_be_dealt_is_refused():
    with pytest.raises(ValueError, match="client 1 gets none of 240 training rows"):
        keep_shard(data(), FederatedSettings(clients=2, shares=[1, 1e-3]), 1)
    with pytest.raises(ValueError, match="these targets are no classes"):
        keep_shard(
            data(targets=torch.randn(400)), FederatedSettings(clients=2, concentration=1.0), 0
        )
    for number in (-1, 2):  # that of another client, taken from the end, or none
        with pytest.raises(ValueError, match=r"\(partition-id\) must be at"):
            keep_shard(data(), FederatedSettings(clients=2), number)
    with pytest.raises(TypeError, match="no data module of hybridlit"):
        keep_shard(LightningDataModule(), FederatedSettings(), 0)
