"""What a training step of a layer launches on an accelerator, seen on the CPU.

Every operation below autograd is seen by a mode of dispatch. There is no looking at values on an
accelerator, and so there is none here.
"""

import pytest
import torch
from small_layers import KINDS, PLAIN
from torch.utils._python_dispatch import TorchDispatchMode

from hybridlit.photonics import QuantumLayer, QuantumLayerStack, finite
from hybridlit.photonics.kernels.choice import use_kernel

WAITS = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}


class Launches(TorchDispatchMode):
    """Counts operations that compute; refuses those that wait for a value or copy from the host."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        waits = bool(WAITS & set(func.tags))
        if name == "index":  # of which only masks do
            waits = any(each is not None and each.dtype == torch.bool for each in args[1])
        if waits or name == "lift_fresh":  # what torch.tensor makes, from numbers of the host
            raise AssertionError(f"{name} waits for the device")
        # A view launches nothing, and neither does memory that nobody has filled.
        self.count += not (func.is_view or "empty" in name or "view" in name or name == "detach")
        return func(*args, **(kwargs or {}))


@pytest.fixture
def on_an_accelerator(monkeypatch):
    monkeypatch.setattr(finite, "recording", lambda: True)
    with use_kernel("torch"):
        yield


def test_a_step_launches_half_of_what_it_did(on_an_accelerator):
    """Once 69 operations forward and 130 backward."""
    layer = QuantumLayer(5, 3, n_modes=6, n_photons=3)
    x = torch.rand(64, 5)
    layer(x)  # tables are made once
    with Launches() as forward:
        outputs = layer(x)
    with Launches() as backward:
        outputs.sum().backward()
    assert forward.count <= 35 and backward.count <= 52


@pytest.mark.parametrize("name", [*KINDS, "stack"])
def test_a_step_waits_for_nothing(on_an_accelerator, name):
    """So that a CUDA graph can record it."""
    if name == "stack":
        layer = QuantumLayerStack(2, 3, 4, **PLAIN)
    else:
        outputs, circuit, how = KINDS[name]
        layer = QuantumLayer(3, outputs, **circuit, **how)
    x = torch.rand(4, 3, requires_grad=True)
    layer(x).sum().backward()
    with Launches():
        layer(x).square().sum().backward()


def test_what_waits_is_seen():
    x = torch.rand(3)
    for waits in (
        lambda: x[0].item(), lambda: bool(x.isfinite().all()), lambda: x[x > 0], x.nonzero,
        lambda: torch.tensor([1.0]),
    ):  # fmt: skip
        with pytest.raises(AssertionError, match="waits"), Launches():
            waits()
    with Launches() as seen:
        x[torch.arange(2)].view(1, 2).mT + 1
    assert seen.count == 3
