"""Paths that are lost: which means stand in, for which rows, and what of it is kept."""

import copy

import pytest
import torch

from hybridlit.blocks import Paths


def trained(widths=(2, 1), dropout=0.0, batches=3, rows=5):
    """Paths that have seen batches, and these."""
    paths = Paths({f"path_{index}": width for index, width in enumerate(widths)}, dropout)
    seen = [[torch.randn(rows, width) for width in widths] for _ in range(batches)]
    for batch in seen:
        paths(batch)
    return paths, seen


def test_the_mean_is_that_of_the_rows_seen():
    paths, seen = trained()
    for index, mean in enumerate(paths.means):
        torch.testing.assert_close(mean, torch.cat([batch[index] for batch in seen]).mean(0))
    assert paths.count.tolist() == [3, 3, 3]


def test_the_mean_follows_weights_that_move():
    paths = Paths({"one": 1}).double()
    for value in [0.0] * 100 + [1.0] * 200:
        paths([torch.full((4, 1), value, dtype=torch.float64)])
    torch.testing.assert_close(paths.means[0].item(), 1 - 0.95**200)


def test_evaluation_changes_nothing_and_looks_at_nothing():
    paths, _ = trained(dropout=0.5)
    before = copy.deepcopy(paths.state_dict())
    given = [torch.randn(4, 2), torch.randn(4, 1)]
    for got, output in zip(paths.eval()(given), given, strict=True):
        assert got is output
    for name, value in paths.state_dict().items():
        assert torch.equal(value, before[name])


def test_without_dropout_nothing_is_drawn():
    paths, _ = trained()
    state = torch.get_rng_state()
    paths([torch.randn(4, 2, generator=torch.Generator()), torch.zeros(4, 1)])
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("widths", [(2, 1), (1, 1, 1), (1, 2, 1, 1)])
def test_rows_lose_paths_as_often_as_said_and_never_all(widths):
    chance, count, rows = 0.4, len(widths), 200_000
    paths, _ = trained(widths, chance, batches=50)
    given = [torch.full((rows, width), torch.nan) for width in widths]
    before = [mean.clone() for mean in paths.means]
    paths.remembering = False  # NaN marks what stays
    lost = torch.stack([~got.isnan().all(1) for got in paths(given)], 1)
    assert not lost.all(1).any()
    share = chance - chance**count / count
    error = (share * (1 - share) / rows) ** 0.5
    torch.testing.assert_close(
        lost.float().mean(0), torch.full((count,), share), atol=5 * error, rtol=0
    )
    for got, mean, gone in zip(paths(given), before, lost.T, strict=True):
        assert torch.equal(got[~got.isnan().all(1)][0], mean)
        assert gone.any()


def test_the_expectation_is_unchanged():
    """Over all rows of a batch that repeats, so that its mean is the running one."""
    torch.manual_seed(1)
    paths = Paths({"one": 3, "other": 2}, dropout=0.5).double()
    batch = [torch.randn(4000, width, dtype=torch.float64) + 7 for width in (3, 2)]
    for _ in range(3):
        got = paths(batch)
    for output, after in zip(batch, got, strict=True):
        # 0.375 of the rows are replaced by the mean: what is left varies by that of these rows
        error = 5 * (0.375 * 0.625 / 4000) ** 0.5 * float(output.std())
        torch.testing.assert_close(after.mean(0), output.mean(0), atol=error, rtol=0)


def test_missing_rows_are_neither_looked_at_nor_counted():
    paths = Paths({"one": 2, "other": 1})
    missing = torch.tensor([True, False, False])
    one = torch.tensor([[torch.nan, torch.nan], [1.0, 2.0], [3.0, 6.0]], requires_grad=True)
    first, second = paths([one, torch.ones(3, 1)], [missing, None])
    assert torch.equal(first, torch.tensor([[2.0, 4.0], [1.0, 2.0], [3.0, 6.0]]))
    assert torch.equal(second, torch.ones(3, 1))
    first.sum().backward()
    assert torch.equal(one.grad, torch.tensor([[0.0, 0.0], [1.0, 1.0], [1.0, 1.0]]))


def test_a_batch_in_which_a_path_is_nowhere_leaves_its_mean():
    paths, _ = trained()
    before = [mean.clone() for mean in paths.means]
    nowhere = torch.ones(4, dtype=torch.bool)
    paths([torch.full((4, 2), torch.nan), torch.ones(4, 1)], [nowhere, None])
    assert torch.equal(paths.means[0], before[0])
    assert not torch.equal(paths.means[1], before[1])
    assert paths.count.tolist() == [3, 3, 4]


def test_dropout_leaves_what_is_left_of_a_row():
    paths = Paths({"one": 1, "other": 1}, dropout=0.99)
    missing = torch.arange(1000) % 2 == 0
    _, other = paths([torch.ones(1000, 1), torch.arange(1000.0)[:, None]], [missing, None])
    assert torch.equal(other[missing, 0], torch.arange(1000.0)[missing])


def test_a_path_is_lost_until_the_block_ends_by_error_as_well():
    paths, _ = trained()
    paths.eval()
    given = [torch.randn(4, 2), torch.randn(4, 1)]
    with paths.without("path_0"):
        first, second = paths(given)
        with paths.without("path_1"):
            both = paths(given)
        assert torch.equal(paths(given)[1], given[1])
    assert torch.equal(first, paths.means[0].expand(4, 2)) and torch.equal(second, given[1])
    assert torch.equal(both[1], paths.means[1].expand(4, 1))
    with pytest.raises(KeyError), paths.without("path_0"):
        raise KeyError
    assert torch.equal(paths(given)[0], given[0])


def test_what_follows_may_write_into_a_mean_that_stands_in():
    paths, _ = trained()
    before = paths.means[0].clone()
    with paths.without("path_0"):
        paths.eval()([torch.randn(1, 2), torch.randn(1, 1)])[0].zero_()
    assert torch.equal(paths.means[0], before)


def test_unknown_and_unseen_paths_are_refused():
    paths, _ = trained()
    with (
        pytest.raises(ValueError, match=r"each path must be one of .*path_0.*got 'photonic'"),
        paths.without("photonic"),
    ):
        pass
    with (
        pytest.raises(ValueError, match=r"'one' has no mean .* seen no training rows: train"),
        Paths({"one": 1}).without("one"),
    ):
        pass


def test_wrong_sizes_are_refused():
    with pytest.raises(ValueError, match=r"widths \{'one': 2\}, got \[\(3, 1\)\]"):
        Paths({"one": 2})([torch.zeros(3, 1)])
    with pytest.raises(ValueError, match="widths must name at least one path"):
        Paths({})
    with pytest.raises(ValueError, match=r"dropout must be 0 for 'one' alone, got 0\.1"):
        Paths({"one": 2}, dropout=0.1)
    with pytest.raises(ValueError, match="dropout must be at least 0 and below 1, got 1"):
        Paths({"one": 2, "other": 2}, dropout=1.0)


def test_a_state_dict_keeps_the_means_and_one_without_them_is_of_paths_never_seen():
    paths, _ = trained()
    fresh = Paths({"path_0": 2, "path_1": 1})
    fresh.load_state_dict(paths.state_dict())
    assert all(map(torch.equal, fresh.means, paths.means))
    state = {}
    fresh.load_state_dict(state)
    assert fresh.count.tolist() == [0, 0, 0] and not state
    with pytest.raises(RuntimeError, match="Missing key"):
        fresh.load_state_dict({"count": paths.count})


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_outputs_keep_their_precision(dtype):
    paths, _ = trained(dropout=0.5)
    given = [torch.randn(6, 2).to(dtype), torch.randn(6, 1).to(dtype)]
    assert [got.dtype for got in paths(given)] == [dtype, dtype]
    with paths.without("path_0"):
        assert paths(given)[0].dtype == dtype


def test_a_compiled_module_follows_what_is_lost():
    paths, _ = trained()
    run = torch.compile(paths.eval(), backend="eager", fullgraph=True)
    given = [torch.randn(4, 2), torch.randn(4, 1)]
    assert torch.equal(run(given)[0], given[0])
    with paths.without("path_0"):
        assert torch.equal(run(given)[0], paths.means[0].expand(4, 2))
    assert torch.equal(run(given)[0], given[0])


def test_export_takes_masks_and_batches_of_any_size():
    paths, _ = trained()
    paths.eval()

    class Masked(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.paths = paths

        def forward(self, one, other):
            return self.paths([one, other], [one.isnan().all(1), None])

    batch = torch.export.Dim("batch")
    given = (torch.randn(4, 2), torch.randn(4, 1))
    program = torch.export.export(Masked(), given, dynamic_shapes=({0: batch}, {0: batch}))
    one = torch.tensor([[torch.nan, torch.nan], [1.0, 2.0], [0.0, 0.0]])
    got = program.module()(one, torch.randn(3, 1))[0]
    assert torch.equal(got, torch.cat([paths.means[0][None], one[1:]]))


def test_one_overflow_does_not_stay_in_a_mean():
    paths = Paths({"one": 2})
    overflow = torch.full((4, 2), torch.inf)
    for output in (overflow, torch.ones(4, 2), overflow, torch.ones(4, 2)):
        paths([output])
    assert torch.equal(paths.mean, torch.ones(2)) and (paths.count == 2).all()
