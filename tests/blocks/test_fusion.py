import copy

import pytest
import torch
from torch.nn import functional

from hybridlit.blocks import AttentionFusion, ConcatFusion, GatedFusion, SumFusion
from hybridlit.blocks.fusion import FUSIONS, make_fusion

KINDS = list(FUSIONS.values())


def parts(rows=6, widths=(4, 2, 3)):
    return [torch.randn(rows, width) for width in widths]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("widths", [(4, 2, 3), (5,)])
def test_shapes(kind, widths):
    fusion = kind(list(widths), 7)
    assert fusion(parts(6, widths)).shape == (6, 7)
    assert fusion(parts(1, widths)).shape == (1, 7)
    assert fusion.hidden_dim == 16
    assert kind(list(widths), 10).hidden_dim == 20
    assert kind(list(widths), 7, 5).hidden_dim == 5


@pytest.mark.parametrize("kind", KINDS)
def test_rows_do_not_mix(kind):
    fusion, x = kind([4, 2, 3], 5), parts()
    assert torch.allclose(fusion(x)[2:3], fusion([part[2:3] for part in x]), atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_every_component_counts(kind):
    fusion, x = kind([4, 2, 3], 5), [part.requires_grad_() for part in parts(32)]
    outputs = fusion(x)
    outputs.backward(torch.randn_like(outputs))
    for part in x:
        assert part.grad.any(0).all()
    for name, parameter in fusion.named_parameters():
        assert parameter.grad.any(), name


def test_concatenation():
    fusion, x = ConcatFusion([4, 2, 3], 5), parts()
    first, _, last = fusion.layers
    assert torch.equal(fusion(x), last(first(torch.cat(x, 1)).relu()))


def test_a_sum_has_no_interactions():
    fusion, (a, b), (c, d) = SumFusion([4, 2], 3), parts(6, (4, 2)), parts(6, (4, 2))
    mixed = fusion([a, b]) + fusion([c, d]) - fusion([a, d]) - fusion([c, b])
    assert torch.allclose(mixed, torch.zeros_like(mixed), atol=1e-5)
    concat = ConcatFusion([4, 2], 3)
    mixed = concat([a, b]) + concat([c, d]) - concat([a, d]) - concat([c, b])
    assert mixed.abs().max() > 1e-3


def test_gates_start_equal_and_follow_the_features():
    fusion, x = GatedFusion([4, 2, 3], 5), parts()
    fusion(x)
    assert torch.allclose(fusion.weights, torch.full((6, 3), 1 / 3))
    torch.nn.init.normal_(fusion.gate.weight)
    outputs = fusion(x)
    weights = fusion.gate(torch.cat(x, 1)).softmax(1)
    assert torch.equal(fusion.weights, weights)
    assert weights.std(0).min() > 0.01
    hidden = sum(
        weights[:, k, None] * project(x[k]) for k, project in enumerate(fusion.projections)
    )
    assert torch.allclose(outputs, fusion.output(hidden.relu()), atol=1e-6)


def test_attention_is_a_softmax_over_the_components():
    fusion, x = AttentionFusion([4, 2, 3], 5, 8), parts()
    outputs = fusion(x)
    assert fusion.weights.shape == (6, 3)
    assert torch.allclose(fusion.weights.sum(1), torch.ones(6))
    tokens = torch.stack([p(part) for p, part in zip(fusion.projections, x, strict=True)], 1)
    attention = fusion.attention
    q, k, v = (
        functional.linear(values, weight, bias)
        for values, weight, bias in zip(
            (fusion.query.expand(6, -1, -1), tokens, tokens),
            attention.in_proj_weight.chunk(3),
            attention.in_proj_bias.chunk(3),
            strict=True,
        )
    )
    weights = (q @ k.mT / 8**0.5).softmax(-1)
    assert torch.allclose(fusion.weights, weights[:, 0], atol=1e-6)
    expected = fusion.output(attention.out_proj(weights @ v)[:, 0].relu())
    assert torch.allclose(outputs, expected, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_kept_in_training_only(kind):
    fusion = kind([4, 2], 3).eval()
    fusion(parts(6, (4, 2)))
    assert fusion.weights is None
    fusion.train()(parts(6, (4, 2)))
    assert (fusion.weights is not None) == (kind in (GatedFusion, AttentionFusion))
    assert copy.deepcopy(fusion).state_dict().keys() == kind([4, 2], 3).state_dict().keys()
    if fusion.weights is not None:
        assert not fusion.weights.requires_grad


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shapes", [[(6, 4)], [(6, 4), (6, 3)], [(6, 4), (6, 2, 1)], [(6,), (6,)]])
def test_other_components_are_refused(kind, shapes):
    with pytest.raises(ValueError, match=r"components must have shapes .*widths \[4, 2\], got"):
        kind([4, 2], 3)([torch.randn(shape) for shape in shapes])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("mean", [4], 3), ValueError, r"fusion must be one of \['concat', .*got 'mean'"),
        (("sum", [], 3), ValueError, "at least one component"),
        (("sum", [4, 0], 3), ValueError, "each entry of widths must be at least 1, got 0"),
        (("sum", [4, 1.5], 3), TypeError, r"widths\[1\] must be an integer"),
        (("sum", [4], 0), ValueError, "output_dim must be at least 1"),
        (("sum", [4], 3, 0), ValueError, "hidden_dim must be at least 1"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        make_fusion(*arguments)
