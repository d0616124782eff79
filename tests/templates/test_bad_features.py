"""NaN and infinity in the inputs of a template: never an output that looks like any other."""

import math

import pytest
import torch
from torch import nn

from hybridlit.blocks import NormalizationLayer
from hybridlit.photonics import use_kernel
from hybridlit.templates import (
    ParallelBankHybrid,
    ParallelHybrid,
    ResidualHybrid,
    SequentialHybrid,
)

SMALL = dict(output_dim=2, n_modes=4, n_photons=2)
TEMPLATES = {
    "sequential": (SequentialHybrid, dict(quantum_dim=2)),
    "parallel": (ParallelHybrid, dict()),
    "parallel-tanh": (ParallelHybrid, dict(normalization="tanh", quantum_dim=2)),
    "residual": (ResidualHybrid, dict()),
    "bank": (ParallelBankHybrid, dict()),
    "bank-minmax": (ParallelBankHybrid, dict(normalization="minmax")),
    "scales": (ParallelBankHybrid, dict(scales=[1, 2])),
    "twin": (ParallelHybrid, dict(quantum="mlp")),
}
INPUTS = {
    None: dict(input_dim=4),
    "cnn": dict(input_dim=None, input_shape=[1, 6, 6]),
    "gru": dict(input_dim=None, input_shape=[5, 2]),
}
BAD = [math.nan, math.inf, -math.inf]


def made(template, front, bad):
    kind, options = TEMPLATES[template]
    options = SMALL | options | INPUTS[front] | (dict(front=front) if front else {})
    model = kind(**options).eval()
    x = torch.randn(4, *(INPUTS[front].get("input_shape") or [4]))
    x.view(4, -1)[2, 1] = bad
    return model, x


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("front", INPUTS)
@pytest.mark.parametrize("template", TEMPLATES)
def test_templates_refuse_them_by_row(template, front, bad):
    model, x = made(template, front, bad)
    for rows in (x, x.flatten(1)):
        with pytest.raises(ValueError, match=r"x must be finite, .* in row\(s\) \[2\]: clean"):
            model(rows)
    assert model(x[:2]).isfinite().all()


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("front", INPUTS)
@pytest.mark.parametrize("template", TEMPLATES)
def test_where_nothing_looks_only_their_sample_becomes_nan(monkeypatch, template, front, bad):
    """As on an accelerator, where looking would cost a synchronisation each step."""
    for place in ("finite", "propagation"):
        monkeypatch.setattr(f"hybridlit.photonics.{place}.can_look_at", lambda tensor: False)
    model, x = made(template, front, bad)
    with use_kernel("torch"):
        output = model(x)
    assert output[2].isnan().all() and output[[0, 1, 3]].isfinite().all()


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("method", ["sigmoid", "tanh", "minmax", "standard"])
def test_a_normalization_hides_no_diverging_layer(method, bad):
    layer = NormalizationLayer(method, 3)
    if method == "standard":
        layer.fit(torch.randn(9, 3))
    x = torch.tensor([[0.0, 1.0, 3.0], [bad, 1.0, 2.0]])
    with pytest.raises(ValueError, match=r"in row\(s\) \[1\]: .* a diverging layer before"):
        layer(x)
    with pytest.raises(ValueError, match=r"in row\(s\) \[0\]"):
        layer(x[1])
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    for call in (torch.func.vmap(layer), compiled):
        assert call(x)[1].isnan().any() and call(x)[0].isfinite().all()


def test_a_diverging_part_of_a_template_is_found(make_model):
    model = make_model(ParallelHybrid, quantum_dim=2)
    assert isinstance(model.projection, nn.Linear)
    with torch.no_grad():
        model.projection.weight.fill_(1e38)
    with pytest.raises(ValueError, match="a diverging layer before this one"):
        model(torch.full((3, 5), 10.0))
