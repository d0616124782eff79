"""A photonic layer is an ordinary nn.Module: copies, precision, transforms, export."""

import copy
import io
import pickle
import shutil
import subprocess
import sys

import pytest
import torch
from small_layers import TYPES, make
from torch import nn

from hybridlit.photonics import Experiment, QuantumLayer, QuantumLayerStack, use_kernel
from hybridlit.photonics.distinguishable import DistinguishableLayer
from hybridlit.photonics.interferometer import unitaries_in_torch


def test_copies_and_files_give_the_same_outputs():
    layer = make(use_bandwidth_tuning=True)
    x = torch.rand(5, 3)
    layer(x).sum().backward()
    expected = layer(x)
    for clone in (
        copy.deepcopy(layer),
        pickle.loads(pickle.dumps(layer)),
        _saved_and_loaded(layer),
    ):
        torch.testing.assert_close(clone(x), expected, rtol=0, atol=0)
        with torch.no_grad():
            clone.phases.add_(1.0)
        torch.testing.assert_close(layer(x), expected, rtol=0, atol=0)


def _saved_and_loaded(layer):
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("assign", [False, True])
def test_state_dicts(assign):
    first, second = make(use_bandwidth_tuning=True), make(use_bandwidth_tuning=True)
    assert set(first.state_dict()) == {"phases", "bandwidth", "readout.weight", "readout.bias"}
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second.load_state_dict(torch.load(file, weights_only=True), assign=assign)
    x = torch.rand(5, 3)
    torch.testing.assert_close(first(x), second(x), rtol=0, atol=0)
    second(x).sum().backward()
    assert second.phases.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("default", "own"),
    [
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
        (torch.bfloat16, torch.float32),
    ],
)
def test_a_new_layer_has_the_default_dtype_but_at_least_float32(default, own):
    before = torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        layer = make(use_bandwidth_tuning=True)
    finally:
        torch.set_default_dtype(before)
    assert {parameter.dtype for parameter in layer.parameters()} == {own}
    assert layer.encoding.dtype == own


def test_functional_call_uses_what_it_is_given():
    layer, other = make(), make()
    x = torch.rand(5, 3)
    got = torch.func.functional_call(layer, dict(other.named_parameters()), x)
    torch.testing.assert_close(got, other(x), rtol=0, atol=0)


def test_ensembles_by_vmap():
    layers = [make() for _ in range(3)]
    parameters, buffers = torch.func.stack_module_state(layers)
    x = torch.rand(5, 3)
    got = torch.func.vmap(lambda p, b: torch.func.functional_call(layers[0], (p, b), x))(
        parameters, buffers
    )
    expected = torch.stack([layer(x) for layer in layers])
    torch.testing.assert_close(got, expected)


def test_double_is_exact_and_float_is_close():
    layer = make(7, None, "series", 4, 2, "none")
    x = torch.rand(5, 7)
    single = layer(x)
    double = layer.double()(x.double())
    assert double.dtype == torch.float64 and layer.phases.dtype == torch.float64
    torch.testing.assert_close(double.sum(1), torch.ones(5, dtype=torch.float64))
    torch.testing.assert_close(single.double(), double, rtol=0, atol=1e-5)
    third = layer.encoding[layer.encoding > 0].min() / torch.pi
    assert third == pytest.approx(1 / 2, abs=1e-16)
    assert layer.float().phases.dtype == torch.float32


@pytest.mark.parametrize("cast", ["half", "bfloat16", "to_half", "to_bfloat16"])
def test_a_parent_in_low_precision_leaves_the_core_in_float32(cast):
    low = torch.float16 if "half" in cast else torch.bfloat16
    parent = nn.Sequential(nn.Linear(3, 3), make(), nn.Linear(4, 2))
    parent = parent.to(low) if cast.startswith("to_") else getattr(parent, cast)()
    assert {p.dtype for p in parent[1].parameters()} == {torch.float32}
    assert parent[0].weight.dtype == low
    x = torch.rand(5, 3).to(low)
    assert parent[1](x).dtype == low
    output = parent(x)
    assert output.dtype == low
    output.sum().backward()
    assert parent[1].phases.grad.dtype == torch.float32


@pytest.mark.parametrize("low", [torch.float16, torch.bfloat16])
def test_autocast_does_not_reach_the_core(low):
    layer = make()
    x = torch.rand(64, 3)
    expected = layer(x)
    with torch.autocast("cpu", dtype=low):
        got = layer(x)
        assert got.dtype == torch.float32
        torch.testing.assert_close(got, expected, rtol=0, atol=0)
        (got**2).sum().backward()
    assert layer.phases.grad.isfinite().all()


def test_a_low_precision_state_dict_assigned_still_computes_in_float32():
    layer = make()
    state = {name: value.to(torch.bfloat16) for name, value in layer.state_dict().items()}
    layer.load_state_dict(state, assign=True)
    x = torch.rand(5, 3)
    torch.testing.assert_close(layer.probabilities(x).sum(-1), torch.ones(5), rtol=0, atol=1e-5)
    assert layer(x).dtype == torch.float32
    for rows in (x.bfloat16(), x.bfloat16()[None]):
        assert layer(rows).dtype == torch.bfloat16  # whatever it computes in


@pytest.mark.parametrize("mapping", ["linear", "mode_expectations", "pair_correlations"])
@pytest.mark.parametrize("kernel", ["compiled", "torch"])
def test_a_state_of_another_precision_assigned_brings_that_precision(mapping, kernel):
    outputs = 4 if mapping == "linear" else None
    single, double = make(outputs=outputs, mapping=mapping), make(outputs=outputs, mapping=mapping)
    double.double()
    state = copy.deepcopy(double.state_dict())
    x = torch.rand(5, 3)
    with use_kernel(kernel):
        expected = double(x.double())
        single.load_state_dict(state, assign=True)
        torch.testing.assert_close(single(x.double()), expected, rtol=0, atol=1e-14)
        back = make(outputs=outputs, mapping=mapping)
        double.load_state_dict(back.state_dict(), assign=True)
        torch.testing.assert_close(double(x), back(x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("kernel", ["compiled", "torch"])
def test_inference_first_and_training_afterwards(kernel):
    with use_kernel(kernel), torch.inference_mode():
        layer = QuantumLayer(2, 3, experiment=Experiment("series", 9, 2))
        layer.double().float()
        layer(torch.rand(3, 2))
    again = QuantumLayer(2, 3, experiment=Experiment("series", 9, 2))
    with use_kernel(kernel):
        again(torch.rand(3, 2)).sum().backward()
    assert again.phases.grad.isfinite().all()


def test_batches_of_gradients_are_refused_with_what_to_use():
    layer = make().double()
    x = torch.rand(3, 3, dtype=torch.float64)
    with pytest.raises(NotImplementedError, match=r"use torch.func.jacrev"):
        torch.autograd.functional.jacobian(layer, x, vectorize=True)
    expected = torch.autograd.functional.jacobian(layer, x)
    torch.testing.assert_close(torch.func.jacrev(layer)(x), expected)


def test_mapping_over_no_samples_and_meta_tensors():
    layer = make()
    assert torch.func.vmap(layer)(torch.rand(2, 0, 3)).shape == (2, 0, 4)
    assert layer.to("meta")(torch.rand(5, 3, device="meta")).shape == (5, 4)


@pytest.mark.parametrize("mapping", ["linear", "lexgrouping", "modgrouping"])
def test_meta_device_and_materialisation(mapping):
    expected = make(mapping=mapping, use_bandwidth_tuning=True)
    with torch.device("meta"):
        layer = make(mapping=mapping, use_bandwidth_tuning=True)
    layer = layer.to_empty(device="cpu")
    layer.reset_parameters()
    layer.load_state_dict(expected.state_dict())
    x = torch.rand(5, 3)
    torch.testing.assert_close(layer(x), expected(x), rtol=0, atol=0)


@pytest.mark.parametrize("circuit", TYPES)
def test_export_with_any_batch_size(circuit):
    layer = make(circuit=circuit)
    x = torch.rand(5, 3)
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(layer, (x,), dynamic_shapes=({0: batch},))
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    loaded = torch.export.load(file).module()
    more = torch.rand(9, 3)
    torch.testing.assert_close(loaded(more), layer(more))


def test_compile_in_one_graph():
    layer = make(use_bandwidth_tuning=True)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    x = torch.rand(5, 3)
    torch.testing.assert_close(compiled(x), layer(x))
    (expected,) = torch.autograd.grad(layer(x).square().sum(), layer.phases)
    (got,) = torch.autograd.grad(compiled(x).square().sum(), layer.phases)
    torch.testing.assert_close(got, expected)


COMPILED = [
    ("linear", "fock", torch.float64),
    ("linear", "unbunched", torch.float32),
    ("grouping", "fock", torch.float32),
    ("lexgrouping", "unbunched", torch.float64),
    ("modgrouping", "fock", torch.float64),
    ("none", "fock", torch.float32),
    ("none", "unbunched", torch.float64),
    ("mode_expectations", "fock", torch.float64),
    ("pair_correlations", "fock", torch.float32),
]


def small(mapping, space, dtype, kind=QuantumLayer):
    outputs = None if mapping in ("none", "mode_expectations", "pair_correlations") else 4
    experiment = Experiment("series", 4, 2, computation_space=space)
    count = (2,) if issubclass(kind, QuantumLayerStack) else ()
    layer = kind(*count, 3, outputs, experiment=experiment, output_mapping_strategy=mapping)
    return layer.to(dtype)


def forward_and_backward(run, layer, x):
    output = run(x)
    weights = torch.linspace(-1, 2, output.numel(), dtype=output.dtype).view_as(output)
    return [output, *torch.autograd.grad((output * weights).sum(), [x, *layer.parameters()])]


def assert_compiles(layer, **options):
    torch._dynamo.reset()  # few graphs of a function are kept
    compiled = torch.compile(layer, fullgraph=True, **options)
    tolerance = 1e-12 if layer.phases.dtype == torch.float64 else 1e-4
    for batch in (5, 9):
        x = torch.rand(batch, 3, dtype=layer.phases.dtype, requires_grad=True)
        ours, theirs = (forward_and_backward(run, layer, x) for run in (compiled, layer))
        torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance)


@pytest.mark.slow
@pytest.mark.parametrize(
    "mapping,space,dtype,kernel",
    [(*each, "compiled") for each in COMPILED] + [(*each, "torch") for each in COMPILED[::3]],
)
def test_compiled_graphs_of_any_batch(mapping, space, dtype, kernel):
    with use_kernel(kernel):
        assert_compiles(small(mapping, space, dtype), backend="aot_eager", dynamic=True)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [QuantumLayerStack, DistinguishableLayer])
@pytest.mark.parametrize("kernel", ["auto", "torch"])
def test_compiled_graphs_of_other_layers(kind, kernel):
    with use_kernel(kernel):
        layer = small("linear", "unbunched", torch.float64, kind)
        assert_compiles(layer, backend="aot_eager", dynamic=True)


needs_compiler = pytest.mark.skipif(
    shutil.which("g++") is None, reason="torch's inductor needs a compiler"
)


@pytest.mark.slow
@needs_compiler
def test_inductor_makes_every_interferometer_of_its_own_phases():
    phases = torch.rand(3, 6, 2, dtype=torch.float64)
    got = torch.compile(unitaries_in_torch, fullgraph=True)(phases)
    torch.testing.assert_close(got, unitaries_in_torch(phases))


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("mapping,kernel", [("linear", "torch"), ("mode_expectations", "auto")])
def test_inductor(mapping, kernel):
    with use_kernel(kernel):
        assert_compiles(small(mapping, "fock", torch.float64))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("kernel", ["auto", "torch"])
@pytest.mark.parametrize("kind", [QuantumLayer, QuantumLayerStack, DistinguishableLayer])
@pytest.mark.parametrize("mapping,space", [("linear", "fock"), ("none", "unbunched")])
def test_traces_of_torchscript_are_files_for_any_batch(mapping, space, kind, kernel):
    layer = small(mapping, space, torch.float64, kind)
    file = io.BytesIO()
    with use_kernel(kernel):
        torch.jit.save(torch.jit.trace(layer, torch.rand(5, 3, dtype=torch.float64)), file)
    file.seek(0)
    loaded = torch.jit.load(file)
    x = torch.rand(9, 3, dtype=torch.float64, requires_grad=True)
    ours, theirs = (forward_and_backward(run, run, x) for run in (loaded, layer))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("mapping", ["linear", "mode_expectations"])
def test_what_cannot_be_exported_says_what_can(mapping):
    layer = small(mapping, "fock", torch.float32)
    model = nn.Sequential(nn.Linear(3, 3), layer)
    with pytest.raises(NotImplementedError, match=r"torch.jit.script; use torch.export.export"):
        torch.jit.script(model)
    with pytest.raises(NotImplementedError, match=r"ONNX.*use torch.export.export"):
        torch.onnx.export(model, (torch.rand(5, 3),), io.BytesIO(), dynamo=False)


def test_onnx_by_torch_export_is_refused_as_well(monkeypatch):
    monkeypatch.setattr(torch.onnx, "is_in_onnx_export", lambda: True)
    with pytest.raises(Exception, match=r"ONNX.*use torch.export.export"):
        torch.export.export(small("linear", "fock", torch.float32), (torch.rand(5, 3),))


def test_activation_checkpointing_changes_no_gradient():
    layer = make()
    x = torch.rand(5, 3)
    layer(x).square().sum().backward()
    expected = layer.phases.grad.clone()
    layer.zero_grad()
    output = torch.utils.checkpoint.checkpoint(layer, x, use_reentrant=False)
    output.square().sum().backward()
    torch.testing.assert_close(layer.phases.grad, expected, rtol=0, atol=0)


def test_recomputing_is_an_argument_and_changes_no_gradient():
    experiment = Experiment("series", 6, 3)
    keep, again = (QuantumLayer(5, 4, experiment=experiment, recompute=r) for r in (False, True))
    again.load_state_dict(keep.state_dict())
    x = torch.rand(40, 5)
    for layer in (keep, again):
        layer(x).square().sum().backward()
    torch.testing.assert_close(keep.phases.grad, again.phases.grad, rtol=0, atol=1e-6)


def test_training_lowers_the_loss():
    layer = make(2, 1, modes=5, photons=2)
    x = torch.rand(64, 2)
    target = torch.sin(3 * x.sum(1, keepdim=True))
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)
    losses = []
    for _ in range(60):
        loss = nn.functional.mse_loss(layer(x), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]


@pytest.mark.slow
def test_the_core_imports_no_lightning():
    code = (
        "import sys, hybridlit, hybridlit.photonics;"
        "loaded = {name.split('.')[0] for name in sys.modules};"
        "assert not loaded & {'lightning', 'pytorch_lightning', 'torchmetrics', 'sklearn'}, loaded"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("mapping", ["linear", "pair_correlations"])
def test_transforms_of_other_tensors_pass_by(mapping):
    """Neither features nor phases are transformed, but what comes behind them is."""
    layer = make(3, 4 if mapping == "linear" else None, "series", 5, 2, mapping)
    x = torch.rand(6, 3)
    scale = torch.rand(layer.output_size)
    found = torch.func.grad(lambda s: (layer(x) * s).square().sum())(scale)
    torch.testing.assert_close(found, 2 * scale * layer(x).square().sum(0))
    each = torch.func.vmap(lambda s: layer(x) * s)(scale)
    torch.testing.assert_close(each, layer(x) * scale[:, None, None])


@pytest.mark.parametrize("space", ["fock", "unbunched"])
@pytest.mark.parametrize("readout", ["linear", "modgrouping", "mode_expectations"])
def test_on_the_meta_device_a_layer_of_any_size_gives_shapes(space, readout):
    layer = QuantumLayer(
        30,
        31 if readout == "mode_expectations" else 4,
        experiment=Experiment("series", 31, 15, computation_space=space),
        output_mapping_strategy=readout,
        device="meta",
    )
    x = torch.empty(5, 30, device="meta", requires_grad=True)
    layer(x).sum().backward()
    assert x.grad.shape == x.shape
    assert layer.phases.grad.shape == layer.phases.shape
    if readout != "mode_expectations":
        assert layer.probabilities(x).shape == (5, layer.fock_space.size)
        assert layer.success_probability(x).shape == (5,)
