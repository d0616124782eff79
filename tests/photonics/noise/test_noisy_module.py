"""A noisy layer is an ordinary nn.Module: copies, devices without values, transforms, bad rows."""

import copy
import io
import pickle

import pytest
import torch
from torch.func import functional_call, grad, jacfwd, jacrev, vmap

from hybridlit import QuantumLayer

ALL = {"brightness": 0.9, "transmittance": 0.6, "indistinguishability": 0.8, "g2": 0.05}
SHOTS = {"shots": 20, "shot_gradient": "score"}
SHIFT = {"shots": 20, "shot_gradient": "shift"}
CASES = {
    "loss": {"noise": {"transmittance": 0.6}, "min_detected_photons": 1},
    "indistinguishability": {"noise": {"indistinguishability": 0.8}},
    "g2": {"noise": ALL | {"trainable": list(ALL)}},
    "threshold": {"noise": {"transmittance": [0.6, 0.3, 0.9, 1.0]}, "detectors": "threshold"},
    "phases": {"noise": {"phase_error": 0.1, "phase_imprecision": 0.01}},
    "score": SHOTS,
    "shift": SHIFT,
}


@pytest.fixture(params=CASES)
def case(request):
    return request.param


def made(case, **options):
    torch.manual_seed(0)
    return QuantumLayer(3, 4, n_modes=4, n_photons=2, **CASES[case], **options)


def outputs(layer, x):
    torch.manual_seed(1)
    return layer(x)


def saved_and_loaded(layer):
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def test_copies_and_files_go_on_from_the_same_draw(case):
    layer, x = made(case), torch.rand(5, 3)
    expected = outputs(layer, x)
    assert torch.equal(outputs(layer, x), expected)
    for copied in (copy.deepcopy, lambda of: pickle.loads(pickle.dumps(of)), saved_and_loaded):
        other = copied(layer)
        assert torch.equal(outputs(other, x), expected) and repr(other) == repr(layer)
        with torch.no_grad():
            other.phases.add_(1.0)
        assert torch.equal(outputs(layer, x), expected)


@pytest.mark.parametrize("how", ["argument", "block", "moved"])
def test_a_device_without_values_knows_shapes_and_takes_values_later(case, how):
    layer = made(case)
    if how == "block":
        with torch.device("meta"):
            empty = made(case)
    else:
        empty = made(case, device="meta") if how == "argument" else copy.deepcopy(layer).to("meta")
    rows = torch.rand(5, 3, device="meta", requires_grad=True)
    found = empty(rows)
    assert found.is_meta and found.shape == (5, 4)
    found.sum().backward()
    assert rows.grad.shape == (5, 3) and empty.phases.grad.shape == layer.phases.shape
    x = torch.rand(5, 3)
    filled = copy.deepcopy(empty).to_empty(device="cpu")
    filled.load_state_dict(layer.state_dict())
    empty.load_state_dict(layer.state_dict(), assign=True)
    for other in (filled, empty):
        assert torch.equal(outputs(other, x), outputs(layer, x))


EXACT = ["loss", "indistinguishability", "g2", "threshold"]


@pytest.mark.parametrize("exact", EXACT)
def test_transforms_are_loops(exact):
    layer = made(exact).double()
    x = torch.rand(3, 3, dtype=torch.float64)
    torch.testing.assert_close(vmap(layer)(x), layer(x), rtol=0, atol=1e-14)
    expected = torch.stack([torch.autograd.functional.jacobian(layer, row) for row in x])
    for derivative in (jacrev, jacfwd):
        torch.testing.assert_close(vmap(derivative(layer))(x), expected, rtol=0, atol=1e-12)
    values = {name: value.detach() for name, value in layer.named_parameters()}
    of_each = vmap(grad(lambda v, row: functional_call(layer, v, (row,)).square().sum()), (None, 0))
    together = torch.autograd.grad(layer(x).square().sum(), list(layer.parameters()))
    for found, total in zip(of_each(values, x).values(), together, strict=True):
        torch.testing.assert_close(found.sum(0), total, rtol=0, atol=1e-12)


def test_what_is_drawn_is_drawn_for_each_row_where_vmap_is_told_so():
    layer = made("score", dtype=torch.float64)
    x = torch.rand(1, 3, dtype=torch.float64).expand(6, 3)
    with pytest.raises(RuntimeError, match="randomness"):
        vmap(layer)(x)
    assert len(vmap(layer, randomness="different")(x).unique(dim=0)) > 1


@pytest.mark.parametrize("derivative", [jacrev, lambda f: jacfwd(f, randomness="same")])
def test_the_shift_rule_says_that_it_has_no_transforms(derivative):
    layer, x = made("shift"), torch.rand(3)
    with pytest.raises(
        NotImplementedError, match=r"shot_gradient='shift' .* use 'exact' or 'score'"
    ):
        derivative(layer)(x)
    with torch.no_grad():
        assert vmap(layer, randomness="different")(x.expand(2, 3)).shape == (2, 4)


@pytest.mark.slow
@pytest.mark.parametrize("traced", ["loss", pytest.param("g2", marks=pytest.mark.slow)])
def test_one_graph_of_torch_compile(traced):
    layer = made(traced, detectors="threshold", dtype=torch.float64)
    graph = torch.compile(layer, backend="aot_eager", fullgraph=True)
    x = torch.rand(5, 3, dtype=torch.float64)
    torch.testing.assert_close(graph(x), layer(x), rtol=0, atol=1e-12)
    both = [
        torch.autograd.grad(run(x).square().sum(), list(layer.parameters()))
        for run in (graph, layer)
    ]
    torch.testing.assert_close(*both, rtol=0, atol=1e-12)


def test_of_no_rows_there_is_nothing(case):
    layer = made(case)
    x = torch.rand(2, 0, 3, requires_grad=True)
    layer(x).sum().backward()
    assert layer(x).shape == (2, 0, 4) and x.grad.shape == x.shape
    assert all(not value.grad.any() for value in layer.parameters())
    size = len(layer.outcomes)
    assert layer.probabilities(x).shape == layer.sample(x, 5).shape == (2, 0, size)
    assert layer.success_probability(x).shape == (2, 0)


def test_rows_that_it_cannot_read_are_named(case):
    layer, good = made(case), torch.rand(5, 3)
    for bad in (float("nan"), float("inf")):
        x = good.clone()
        x[1, 2] = bad
        for read in (layer, layer.probabilities, lambda x: layer.sample(x, 5)):
            with pytest.raises(ValueError, match="x and the phases must be finite"):
                read(x)
    wrong = {
        "x must have shape": torch.rand(5, 4),
        "x must not be more precise": good.double(),
        "x must be a real floating tensor, got torch.int64": good.long(),
        "x must be a real floating tensor, got torch.complex64": good.to(torch.complex64),
    }
    for message, x in wrong.items():
        with pytest.raises((TypeError, ValueError), match=message):
            layer(x)
    assert outputs(layer, good.half()).dtype == torch.float16
