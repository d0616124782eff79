import random

import numpy as np
import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from hybridlit.data import ArrayDataModule, EpochSeeded, ResumableLoader

ROWS = torch.arange(23)


class Read(Dataset):
    """Remembers which rows have been read."""

    def __init__(self):
        self.read = []

    def __len__(self):
        return 23

    def __getitem__(self, index):
        self.read.append(index)
        return index


class Noise(Dataset):
    """Random numbers from every generator."""

    def __len__(self):
        return 12

    def __getitem__(self, index):
        return index, torch.rand(()).item(), random.random(), np.random.random()


def batches(loader, epoch=0):
    loader.sampler.set_epoch(epoch)
    return [batch.tolist() for batch in loader]


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("options", [dict(batch_size=4), dict(batch_size=5, drop_last=True)])
def test_it_goes_on_behind_every_batch(shuffle, options):
    def loader():
        return ResumableLoader(ROWS, shuffle=shuffle, seed=3, **options)

    for epoch in (0, 1):
        whole = batches(loader(), epoch)
        assert len(whole) == len(loader())
        running = loader()
        running.sampler.set_epoch(epoch)
        for position, _ in enumerate(running, 1):
            again = loader()
            again.load_state_dict(running.state_dict())
            rest = whole[position:] or whole  # behind the last batch begins the next pass
            assert batches(again, epoch) == rest
            assert batches(again, epoch) == whole  # once only


def test_it_skips_without_reading():
    data = Read()
    loader = ResumableLoader(data, batch_size=4)
    loader.load_state_dict({"position": 4})
    assert [batch.tolist() for batch in loader] == [[16, 17, 18, 19], [20, 21, 22]]
    assert data.read == list(range(16, 23))


def test_iterators_made_early_wait_for_epoch_and_state():
    loader = ResumableLoader(ROWS, batch_size=4, shuffle=True, num_workers=0)
    whole = batches(loader, 5)
    early = iter(loader)
    loader.sampler.set_epoch(5)
    loader.load_state_dict({"position": 2})
    assert [batch.tolist() for batch in early] == whole[2:]


def test_the_order_is_a_function_of_seed_and_epoch():
    def order(seed, epoch):
        return batches(ResumableLoader(ROWS, batch_size=23, shuffle=True, seed=seed), epoch)[0]

    orders = [order(seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(o) for o in orders}) == 4
    assert all(sorted(o) == list(range(23)) for o in orders)
    torch.rand(3)
    assert order(0, 1) == orders[1]


def test_any_sampler_that_draws_from_the_global_generator():
    def loader():
        return ResumableLoader(ROWS, batch_size=4, sampler=WeightedRandomSampler(range(23), 20))

    whole = batches(loader(), 2)
    torch.rand(3)
    again = loader()
    again.load_state_dict({"position": 3})
    assert batches(again, 2) == whole[3:]
    assert batches(loader(), 3) != whole


def test_a_batch_sampler_made_of_an_epoch_seeded_one():
    def loader():
        order = EpochSeeded(RandomSampler(ROWS), seed=3)
        return ResumableLoader(ROWS, batch_sampler=BatchSampler(order, 4, drop_last=False))

    def given(loader, epoch):
        loader.batch_sampler.sampler.set_epoch(epoch)
        return [batch.tolist() for batch in loader]

    whole = given(loader(), 1)
    torch.rand(3)
    again = loader()
    again.load_state_dict({"position": 2})
    assert given(again, 1) == whole[2:] and given(again, 0) != whole


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_the_global_generators_are_not_touched(workers):
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()
    loader = ResumableLoader(ROWS, batch_size=4, shuffle=True, num_workers=workers)
    assert sum(map(len, loader)) == 23
    assert torch.equal(torch.get_rng_state(), states[0]) and random.getstate() == states[1]
    assert np.array_equal(np.random.get_state()[1], states[2][1])


@pytest.mark.slow
def test_random_numbers_in_workers_depend_on_the_batch_alone():
    def run(workers, start=0, epoch=0, **options):
        loader = ResumableLoader(Noise(), batch_size=3, num_workers=workers, **options)
        loader.load_state_dict({"position": start})
        loader.sampler.set_epoch(epoch)
        return [[column.tolist() for column in batch] for batch in loader]

    whole = run(2)
    assert run(1) == run(2, persistent_workers=True) == whole
    assert run(2, start=3) == whole[3:]
    assert run(2, epoch=1) != whole and run(2, seed=1) != whole
    assert len({str(batch[1:]) for batch in whole}) == 4


@pytest.mark.slow
@pytest.mark.parametrize("persistent", [False, True])
def test_what_workers_fetch_ahead_does_not_count(persistent):
    loader = ResumableLoader(
        ROWS, batch_size=2, num_workers=2, persistent_workers=persistent, prefetch_factor=4
    )
    running = iter(loader)
    for position in range(1, 4):
        next(running)
        assert loader.state_dict()["position"] == position
    del running
    loader.load_state_dict({"position": 10})
    assert [b.tolist() for b in loader] == [[20, 21], [22]]
    assert len(list(loader)) == 12


def test_without_batches():
    loader = ResumableLoader(ROWS, batch_size=None)
    loader.load_state_dict({"position": 20})
    assert [int(row) for row in loader] == [20, 21, 22]


def test_training_data_of_the_data_modules_can_be_resumed_and_others_are_plain():
    module = ArrayDataModule(torch.randn(50, 2), torch.arange(50) % 2, batch_size=4)
    loader = module.train_dataloader()
    assert isinstance(loader, ResumableLoader) and loader.batch_size == 4
    whole = [targets.tolist() for _, targets in loader]
    again = module.train_dataloader()
    again.load_state_dict({"position": 3})
    assert [targets.tolist() for _, targets in again] == whole[3:]
    assert type(module.val_dataloader()) is type(module.test_dataloader()) is DataLoader


class Stream(IterableDataset):
    def __iter__(self):
        return iter(range(5))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: ResumableLoader(Stream()), TypeError, "must have a length .* got Stream"),
        (lambda: ResumableLoader(iter([1])), TypeError, "must have a length"),
        (
            lambda: ResumableLoader(
                ROWS, batch_sampler=BatchSampler(RandomSampler(ROWS), 4, drop_last=False)
            ),
            ValueError,
            r"order of BatchSampler cannot be repeated.* make it of EpochSeeded\(sampler, seed\)",
        ),
        (lambda: ResumableLoader(ROWS, seed=-1), ValueError, "seed must be at least 0"),
        (lambda: ResumableLoader(ROWS, seed=1.5), TypeError, "seed must be an integer"),
        (lambda: ResumableLoader(ROWS, generator=torch.Generator()), ValueError, "give a seed"),
        (
            lambda: ResumableLoader(ROWS, shuffle=True, sampler=RandomSampler(ROWS)),
            ValueError,
            "either shuffle=True or a sampler",
        ),
        (
            lambda: EpochSeeded(RandomSampler(ROWS, generator=torch.Generator()), 0),
            ValueError,
            "a generator of its own, which cannot be repeated",
        ),
        (
            lambda: ResumableLoader(ROWS, 23).load_state_dict({"position": 2}),
            ValueError,
            "after batch 2 of an epoch, and this one has 1 batches",
        ),
    ],
)
def test_bad_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_an_epoch_without_batches():
    loader = ResumableLoader(TensorDataset(torch.ones(3, 1)), batch_size=4, drop_last=True)
    loader.load_state_dict({"position": 0})
    assert len(loader) == 0 and list(loader) == []
