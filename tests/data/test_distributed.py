"""What each of several processes takes of the rows of an epoch."""

import pytest
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, RandomSampler

from hybridlit.data import EpochSeeded, ResumableLoader, distributed
from hybridlit.data.distributed import SharedSampler

ROWS = range(47)


@pytest.fixture
def as_process(monkeypatch):
    def be(number, of):
        monkeypatch.setattr(distributed, "rank", lambda: number)
        monkeypatch.setattr(distributed, "world_size", lambda: of)

    return be


def batches(rows, size, drop_last=False, epoch=2, even=True):
    sampler = SharedSampler(EpochSeeded(RandomSampler(range(rows)), 5), size, drop_last)
    sampler.set_epoch(epoch)
    sampler.even = even
    found = list(BatchSampler(sampler, size, drop_last))
    assert len(sampler) == sum(map(len, found)) and sampler.epoch == epoch
    return found


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("processes", [1, 2, 3, 4])
@pytest.mark.parametrize("rows", [1, 7, 24, 36, 37, 39, 46, 47])
def test_a_step_is_of_the_rows_that_one_process_would_take(rows, processes, drop_last, as_process):
    size = 12 // processes
    as_process(0, 1)
    whole = batches(rows, 12, drop_last)
    shares = []
    for number in range(processes):
        as_process(number, processes)
        shares.append(batches(rows, size, drop_last))
    assert [len(share) for share in shares] == [len(whole)] * processes
    for step, expected in enumerate(whole):
        own = [share[step] for share in shares]
        assert all(own)
        seen = [row for rows in own for row in rows]
        if len(expected) < processes:  # each needs one
            seen = seen[: len(expected)]
        assert sorted(seen) == sorted(expected)


@pytest.mark.parametrize("rows", [1, 3, 37])
def test_an_evaluation_repeats_no_row(rows, as_process):
    seen = []
    for number in range(4):
        as_process(number, 4)
        seen += [row for batch in batches(rows, 3, even=False) for row in batch]
    assert sorted(seen) == list(range(rows))


def test_loaders_share_rows_unless_the_sampler_does(as_process):
    loader = ResumableLoader(ROWS, batch_size=5, shuffle=True, seed=1)
    assert isinstance(loader.sampler, DistributedSampler)  # Lightning puts none in its place
    as_process(1, 2)
    own = [row for batch in loader for row in batch.tolist()]
    assert len(loader) == 5 and len(own) == len(loader.sampler) == 23
    given = DistributedSampler(ROWS, num_replicas=2, rank=0, shuffle=False)
    assert ResumableLoader(ROWS, 5, sampler=given).sampler is given


def test_the_same_order_as_without_processes():
    order = EpochSeeded(RandomSampler(ROWS), seed=3)
    order.set_epoch(4)
    loader = ResumableLoader(ROWS, 5, shuffle=True, seed=3)
    loader.sampler.set_epoch(4)
    assert [row for batch in loader for row in batch.tolist()] == list(order)
    plain = DataLoader(ROWS, 5, sampler=order)
    assert [b.tolist() for b in plain] == [b.tolist() for b in loader]
