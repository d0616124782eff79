"""Every block refuses arrays and lists by name, where torch would speak of something else."""

import numpy as np
import pytest
import torch

from hybridlit import (
    AttentionFusion,
    ConcatFusion,
    GatedFusion,
    MatchedMLP,
    MultiScale,
    NormalizationLayer,
    RandomFeatures,
    RowSafeBatchNorm1d,
    SumFusion,
)

BLOCKS = [
    (MatchedMLP(3, 2, 30), "x"),
    (MultiScale([3], [1]), "x"),
    (NormalizationLayer("sigmoid"), "x"),
    (NormalizationLayer("tanh", 3), "x"),
    (NormalizationLayer("minmax"), "x"),
    (NormalizationLayer("standard", 3), "x"),
    (RandomFeatures(3, 2), "x"),
    (RowSafeBatchNorm1d(3), "input"),
]
FUSIONS = [ConcatFusion, SumFusion, GatedFusion, AttentionFusion]


@pytest.mark.parametrize("wrong", [np.ones((4, 3)), [[1.0, 2.0, 3.0]], None])
@pytest.mark.parametrize(("block", "argument"), BLOCKS, ids=lambda value: type(value).__name__)
def test_what_is_no_tensor_is_refused(block, argument, wrong):
    with pytest.raises(TypeError, match=rf"{argument} must be a tensor, got .*; use torch\.as_te"):
        block(wrong)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_components_that_are_no_tensors_are_refused(fusion):
    with pytest.raises(TypeError, match=r"components\[1\] must be a tensor, got ndarray"):
        fusion([3, 3], 2)([torch.ones(4, 3), np.ones((4, 3))])


def test_arrays_are_no_training_data_of_a_normalization():
    layer = NormalizationLayer("standard", 3)
    for method in (layer.fit, layer.partial_fit):
        with pytest.raises(TypeError, match="x must be a tensor, got ndarray"):
            method(np.ones((4, 3)))
    assert not layer.fitted


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_minmax_of_a_row_that_spans_all_numbers(dtype):
    largest = torch.finfo(dtype).max
    x = torch.tensor([[-largest, 0.0, largest], [largest, largest / 2, -largest]], dtype=dtype)
    expected = torch.tensor([[0.0, 0.5, 1.0], [1.0, 0.75, 0.0]], dtype=dtype)
    torch.testing.assert_close(NormalizationLayer("minmax")(x), expected)
