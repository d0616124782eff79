import pytest
import torch
from torch import nn

from hybridlit.blocks import RowSafeBatchNorm1d


@pytest.mark.parametrize("shape", [(5, 3), (2, 3), (5, 3, 4), (1, 3, 4)])
@pytest.mark.parametrize("training", [True, False])
def test_it_is_batch_norm_for_more_than_one_row(shape, training):
    ours, torchs = RowSafeBatchNorm1d(3).train(training), nn.BatchNorm1d(3).train(training)
    x = torch.randn(shape)
    assert torch.equal(ours(x), torchs(x))
    assert ours.state_dict().keys() == torchs.state_dict().keys()
    for name, value in torchs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], value)


@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 1)])
def test_a_single_training_row_uses_the_running_statistics(shape):
    layer = RowSafeBatchNorm1d(3)
    layer(torch.randn(64, 3) * 2 + 1)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    x = torch.randn(shape, requires_grad=True)
    y = layer(x)
    assert torch.equal(y, layer.eval()(x))
    y.sum().backward()
    assert torch.isfinite(x.grad).all() and (x.grad != 0).all()
    for name, value in layer.state_dict().items():
        assert torch.equal(before[name], value)


def test_without_running_statistics_torch_decides():
    with pytest.raises(ValueError, match="Expected more than 1 value"):
        RowSafeBatchNorm1d(3, track_running_stats=False)(torch.randn(1, 3))


def test_wrong_shapes_are_refused_as_by_torch():
    with pytest.raises(ValueError, match="expected 2D or 3D input"):
        RowSafeBatchNorm1d(3)(torch.randn(3))
