"""Tensors that were put into one come out as they went in."""

import math

import torch

from hybridlit.resume.packed import packed, unpacked


def test_all_shapes_and_dtypes_come_out_bit_for_bit():
    tensors = {
        "flag": torch.tensor([True, False, True]),  # 3 bytes: what follows is not aligned
        "double": torch.tensor([[1.0, -0.0], [math.nan, math.inf]], dtype=torch.float64),
        "scalar": torch.tensor(3),
        "half": torch.randn(5).bfloat16(),
        "complex": torch.randn(2, 3, dtype=torch.complex64),
        "empty": torch.empty(0, 4),
        "transposed": torch.arange(6.0).reshape(2, 3).T,
    }
    found = unpacked(packed(tensors))
    assert list(found) == list(tensors)
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype and found[name].shape == tensor.shape, name
        bits = [t.contiguous().reshape(-1).view(torch.uint8) for t in (found[name], tensor)]
        assert torch.equal(*bits), name  # -0.0 and NaN, too
    assert unpacked(packed({})) == {}


def test_it_is_one_tensor_and_plain_types(tmp_path):
    content = packed({"a": torch.zeros(2), "b": torch.ones(3, dtype=torch.int64)})
    torch.save(content, tmp_path / "file")
    loaded = torch.load(tmp_path / "file", weights_only=True)
    assert sum(isinstance(value, torch.Tensor) for value in loaded.values()) == 1
    assert torch.equal(unpacked(loaded)["b"], torch.ones(3, dtype=torch.int64))
