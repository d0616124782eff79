"""Inputs that a template can tell are not what it was made for."""

import warnings

import pytest
import torch
from torch import nn

from hybridlit.templates import (
    HybridNetwork,
    ParallelBankHybrid,
    ParallelHybrid,
    ResidualHybrid,
    SequentialHybrid,
)


@pytest.mark.parametrize(
    ("shape", "last"),
    [
        ([28, 28, 3], True),
        ([28, 40, 1], True),
        ([5, 5, 4], True),
        ([3, 28, 28], False),
        ([1, 8, 8], False),
        ([64, 4, 4], False),
        ([16, 8, 3], True),
        ([28, 28], False),
    ],
)
def test_images_with_their_channels_last_are_seen(shape, last):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        HybridNetwork(input_dim=None, output_dim=2, input_shape=shape)
    said = [str(w.message) for w in caught if "channels last" in str(w.message)]
    assert len(said) == last
    if last:
        right = [shape[2], shape[0], shape[1]]
        assert f"input_shape={right}" in said[0] and "permute(0, 3, 1, 2)" in said[0]


def test_a_batch_with_channels_last_is_told_how_to_turn():
    model = SequentialHybrid(None, 2, 2, input_shape=[3, 8, 9], front="cnn", n_modes=4, n_photons=2)
    model(torch.randn(2, 8, 9, 3).permute(0, 3, 1, 2))
    with pytest.raises(ValueError, match=r"got \(2, 8, 9, 3\); use x\.permute\(0, 3, 1, 2\)"):
        model(torch.randn(2, 8, 9, 3))


DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
TEMPLATES = [SequentialHybrid, ParallelHybrid, ResidualHybrid, ParallelBankHybrid]


@pytest.mark.parametrize("template", TEMPLATES)
def test_inputs_of_another_dtype_than_the_model_are_refused_by_name(template):
    more = {"quantum_dim": 2} if template is SequentialHybrid else {}
    model = template(input_dim=3, output_dim=2, n_modes=4, n_photons=2, **more)
    for own in DTYPES:
        model = model.to(own).eval()
        for given in DTYPES:
            x = torch.rand(4, 3, dtype=given)
            if given == own:
                assert model(x).dtype == own
                continue
            names = [str(dtype).removeprefix("torch.") for dtype in (given, own)]
            remedy = rf"x is {names[0]} and the model is {names[1]}: use x\.to\(torch\.{names[1]}\)"
            with pytest.raises(TypeError, match=remedy):
                model(x)
    model = model.to(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        for given in DTYPES[:3]:
            assert model(torch.rand(4, 3, dtype=given)).shape == (4, 2)
        with pytest.raises(TypeError, match="x is float64 and the model is float32"):
            model(torch.rand(4, 3, dtype=torch.float64))


def test_a_model_that_was_cast_with_a_module_around_it_takes_that_dtype():
    around = nn.Sequential(SequentialHybrid(3, 2, 2, n_modes=4, n_photons=2)).double()
    assert around(torch.rand(4, 3).double()).dtype == torch.float64
    with pytest.raises(TypeError, match="x is float16 and the model is float64"):
        around(torch.rand(4, 3).half())


@pytest.mark.parametrize("name", ["classical_lr", "quantum_lr", "weight_decay"])
@pytest.mark.parametrize("value", [1e30, 1e38, 1e308])
def test_rates_that_overflow_are_refused(name, value):
    with pytest.raises(ValueError, match=rf"{name} must be .* below 1e\+30, got"):
        SequentialHybrid(3, 2, 2, n_modes=4, n_photons=2, **{name: value})


def test_the_largest_rates_take_a_step():
    model = SequentialHybrid(3, 2, 2, n_modes=4, n_photons=2, classical_lr=9e29, quantum_lr=9e29)
    optimizer = model.configure_optimizers()
    model(torch.rand(4, 3)).sum().backward()
    optimizer.step()  # torch refuses to convert what float32 cannot hold
