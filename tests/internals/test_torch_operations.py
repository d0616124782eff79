"""What `hybridlit/internals/torch_operations.py` takes for granted of torch."""

import gc

import pytest
import torch

from hybridlit.internals.torch_operations import CountedOperations


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_product_is_counted_by_its_shapes(device):
    left, right = torch.ones(3, 4, device=device), torch.ones(4, 5, device=device)
    with CountedOperations() as counted:
        left @ right
    assert (counted.count, counted.flops) == (1, 2 * 3 * 4 * 5)
    assert (counted.written, counted.peak, counted.held) == (60, 60, 0)


def test_complex_products_are_four_real_ones():
    left = torch.ones(3, 4, dtype=torch.complex64, device="meta")
    with CountedOperations() as counted:
        left @ left.mT
    assert counted.flops == 4 * 2 * 3 * 4 * 3


def test_the_peak_is_of_what_is_held_at_a_time_and_views_take_nothing():
    with CountedOperations() as counted:
        first = torch.empty(100, device="meta")
        second = first.view(10, 10).mT + 1
        assert counted.held == 800
        del first
        assert counted.held == 400
        third = second[0] * 2
        second.add_(1)
    assert (counted.peak, counted.held, counted.written) == (800, 440, 840)
    del second, third
    assert counted.held == 0


def test_what_autograd_saves_is_held_until_the_backward_pass():
    weight = torch.ones(50, 50, device="meta", requires_grad=True)
    with CountedOperations() as counted:
        x = torch.empty(20, 50, device="meta")
        for _ in range(3):
            x = (x @ weight).relu()
        loss = x.sum()
        del x
        gc.collect()
        # inputs of three products, the results of three ReLUs among them, and the sum
        assert counted.held == 4 * (4 * 20 * 50 + 1)
        loss.backward()
        del loss
    assert counted.held == weight.grad.nbytes
    assert counted.flops == 2 * 20 * 50 * 50 * (3 + 3 + 2)  # none for the gradient of the first x


def test_views_of_what_was_there_before_are_not_new():
    weight = torch.ones(5, 5)
    with CountedOperations() as counted:
        weight.mT.add_(1)
    assert (counted.written, counted.peak) == (0, 0)
