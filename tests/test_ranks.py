"""What several processes tell one another."""

import pytest
import torch
from ranks_together import together
from torch import nn

from hybridlit.blocks import Paths, RowSafeBatchNorm1d
from hybridlit.data import ResumableLoader
from hybridlit.ranks import every_rank, in_turns, rank, summed, world_size


def test_one_process_is_alone():
    own = torch.ones(2)
    assert (rank(), world_size(), every_rank("own")) == (0, 1, ["own"])
    assert summed(own) is own


def test_rows_that_were_taken_in_turns_come_together():
    rows = torch.arange(22).reshape(11, 2)
    assert torch.equal(in_turns([rows[i::3] for i in range(3)]), rows)
    assert in_turns([rows[:6], rows[:6]]) is not None  # 12 rows, as far as lengths tell
    for shares in ([rows[:4], rows[4:]], [rows, rows[:0]], [[1, 2], [3]], [torch.tensor(1)] * 2):
        assert in_turns(shares) is None


X = torch.randn(11, 3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def of_a_process():
    """A sum with its gradient, batch normalization and means of paths, over rows in turns."""
    torch.distributed.init_process_group("gloo")
    own = torch.tensor([float(rank() + 1)], requires_grad=True)
    (summed(own) ** 2 * (rank() + 1)).backward()
    norm, x = RowSafeBatchNorm1d(3).double(), X[rank() :: 2].clone().requires_grad_()
    outputs = norm(x)
    (outputs * X[rank() :: 2].cos()).sum().backward()
    lone = RowSafeBatchNorm1d(3).double()(X[rank() : rank() + 1, :, 0])  # a row in each process
    paths = Paths({"a": 3}).double()
    paths.waiting = True
    paths([X[rank() :: 2, :, 0]])
    paths([X[rank() :: 2, :, 1]], [torch.arange(11)[rank() :: 2] < 7])
    paths.settle(together=True)
    loader = ResumableLoader(range(11), batch_size=3)
    return {
        "gradient": own.grad,
        "outputs": outputs.detach(),
        "of inputs": x.grad,
        "norm": norm.state_dict(),
        "lone": lone.detach(),
        "paths": paths.state_dict(),
        "rows": [batch.tolist() for batch in loader],
        "every": every_rank(rank()),
    }


@pytest.mark.slow
def test_two_processes_compute_as_one():
    found = together(of_a_process)
    assert [each["every"] for each in found] == [[0, 1], [0, 1]]
    # of (1 + 2) * s^2 by any own, s = 3
    assert [each["gradient"].item() for each in found] == [18.0, 18.0]
    norm, x = nn.BatchNorm1d(3).double(), X.clone().requires_grad_()
    outputs = norm(x)
    (outputs * X.cos()).sum().backward()
    for name, one in (("outputs", outputs), ("of inputs", x.grad)):
        torch.testing.assert_close(in_turns([each[name] for each in found]), one)
    for each in found:
        torch.testing.assert_close(each["norm"], norm.state_dict())
    two = nn.BatchNorm1d(3).double()(X[:2, :, 0])
    torch.testing.assert_close(torch.cat([each["lone"] for each in found]), two)
    paths = Paths({"a": 3}).double()
    paths([X[:, :, 0]])
    paths([X[:, :, 1]], [torch.arange(11) < 7])
    for each in found:
        torch.testing.assert_close(each["paths"], paths.state_dict())
    assert [each["rows"] for each in found] == [[[0, 2, 4], [6, 8, 10]], [[1, 3, 5], [7, 9]]]
