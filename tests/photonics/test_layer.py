import copy
import io
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from permanents import all_amplitudes
from torch import nn

from hybridlit.photonics import AnsatzFactory, Experiment, QuantumLayer, amplitudes, use_kernel

TYPES = ["series", "parallel", "parallel_columns"]


def make(features=3, outputs=4, circuit="series", modes=4, photons=2, mapping="linear", **options):
    experiment = Experiment(circuit, modes, photons, **options)
    return QuantumLayer(features, outputs, experiment=experiment, output_mapping_strategy=mapping)


def jacobian(layer, rows=6):
    x = torch.rand(rows, layer.input_size, dtype=torch.float64)
    return torch.func.vmap(torch.func.jacrev(layer.double().probabilities))(x)


@pytest.mark.parametrize("circuit", TYPES)
@pytest.mark.parametrize("features", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("modes", [2, 3, 4, 5])
@pytest.mark.parametrize("tuning", [False, True])
def test_every_feature_and_parameter_reaches_the_output(circuit, features, modes, tuning):
    layer = make(features, 2, circuit, modes, 2, use_bandwidth_tuning=tuning).double()
    per_feature = jacobian(layer).abs().amax(dim=(0, 1))
    assert (per_feature > 1e-6).all(), per_feature
    output = layer(torch.rand(16, features, dtype=torch.float64))
    (output * torch.randn_like(output)).sum().backward()
    for name, parameter in layer.named_parameters():
        assert (parameter.grad.abs() > 0).all(), name


@pytest.mark.parametrize("circuit", TYPES)
@pytest.mark.parametrize("mapping", ["lexgrouping", "modgrouping", "none", "linear"])
def test_no_zero_column_with_any_readout_or_space(circuit, mapping):
    outputs = None if mapping == "none" else 3
    for space in ("fock", "unbunched"):
        layer = make(5, outputs, circuit, 5, 2, mapping, computation_space=space).double()
        x = torch.rand(4, 5, dtype=torch.float64)
        columns = torch.func.vmap(torch.func.jacrev(layer))(x).abs().amax(dim=(0, 1))
        assert (columns > 1e-6).all()


@pytest.mark.parametrize("modes", [2, 3, 4, 5, 6, 7])
def test_no_phase_is_dead(modes):
    """The usual block has m + m // 2 phases that no output feels; here there are none."""
    features = min(2, modes - 1)
    layer = make(features, None, "series", modes, (modes + 1) // 2, "none").double()
    x = torch.rand(8, features, dtype=torch.float64)
    gradient = torch.func.jacrev(
        lambda phases: torch.func.functional_call(layer, {"phases": phases}, x)
    )(layer.phases.detach())
    assert layer.phases.shape == (2, modes * (modes - 1) // 2, 2)
    assert (gradient.abs().amax(dim=(0, 1)) > 1e-6).all()


@pytest.mark.parametrize("circuit", TYPES)
@pytest.mark.parametrize("space", ["fock", "unbunched"])
def test_probabilities_are_permanents_of_the_unitary(circuit, space):
    layer = make(3, None, circuit, 4, 2, "none", computation_space=space).double()
    x = torch.rand(5, 3, dtype=torch.float64)
    unitary = layer.unitary(x).detach().numpy()
    raw = np.abs([all_amplitudes(u, layer.input_state, space == "unbunched") for u in unitary]) ** 2
    kept = raw.sum(1)
    np.testing.assert_allclose(layer.probabilities(x).detach(), raw / kept[:, None], atol=1e-14)
    np.testing.assert_allclose(layer.success_probability(x).detach(), kept, atol=1e-14)
    np.testing.assert_allclose(layer(x).detach(), raw / kept[:, None], atol=1e-14)
    via_amplitudes = amplitudes(layer.unitary(x), layer.input_state, space=space).abs().square()
    np.testing.assert_allclose(via_amplitudes.detach(), raw, atol=1e-14)


def test_unitary_is_the_circuit_written_out():
    """U_2 Phi_2(x) U_1 Phi_1(x) U_0 for an explicit data re-uploading circuit."""
    encoding = [[[1.0, 0.0], [0.0, 0.5], [0.0, 0.0]], [[0.0, 2.0], [0.0, 0.0], [1.0, 1.0]]]
    experiment = Experiment(n_modes=3, n_photons=2, encoding=encoding)
    layer = QuantumLayer(2, 4, experiment=experiment).double()
    x = torch.tensor([0.3, 0.8], dtype=torch.float64)
    from hybridlit.photonics.interferometer import unitaries

    total, *rest = unitaries(layer.phases.detach())
    for column, mesh in zip(encoding, rest, strict=True):
        shifts = torch.exp(1j * torch.pi * (torch.tensor(column, dtype=torch.float64) @ x))
        total = mesh @ torch.diag(shifts) @ total
    torch.testing.assert_close(layer.unitary(x).detach(), total, rtol=0, atol=1e-14)


def test_mach_zehnder_fringes():
    """Two photons in a Mach-Zehnder interferometer see twice the phase."""
    experiment = Experiment(n_modes=2, n_photons=2, encoding=[[[1.0], [0.0]]])
    layer = QuantumLayer(1, 3, experiment=experiment, output_mapping_strategy="none").double()
    with torch.no_grad():  # a=pi/2, b=0: each mesh a 50:50 splitter up to phases
        layer.phases.zero_()
        layer.phases[:, :, 0] = torch.pi / 2
    x = torch.linspace(0, 1, 9, dtype=torch.float64)[:, None]
    coincidence = layer.probabilities(x)[:, 1].detach()
    shifted = torch.cos(torch.pi * x[:, 0] + _offset(layer)) ** 2
    torch.testing.assert_close(coincidence, shifted, rtol=0, atol=1e-14)


def _offset(layer):
    unitary = layer.unitary(torch.zeros(1, dtype=torch.float64)).detach()
    return torch.arccos((unitary[0, 0] * unitary[1, 1] + unitary[0, 1] * unitary[1, 0]).abs())


@pytest.mark.parametrize("circuit", TYPES)
@pytest.mark.parametrize("space", ["fock", "unbunched"])
def test_gradcheck(circuit, space):
    layer = make(2, 3, circuit, 3, 2, use_bandwidth_tuning=True, computation_space=space).double()
    names = [name for name, _ in layer.named_parameters()]
    x = torch.rand(3, 2, dtype=torch.float64, requires_grad=True)

    def function(x, *values):
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), x)

    assert torch.autograd.gradcheck(function, (x, *layer.parameters()))


def test_second_derivatives():
    layer = make(2, 3, modes=3).double()
    x = torch.rand(2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(layer, x)


def test_features_are_not_clamped():
    layer = make().double()
    x = torch.rand(4, 3, dtype=torch.float64)
    outside = (x + torch.tensor([2.0, -4.0, 6.0])).requires_grad_()
    torch.testing.assert_close(layer(outside), layer(x))  # single features: period 2
    layer(outside).square().sum().backward()
    assert (outside.grad.abs() > 0).all()


def test_bandwidth_starts_at_one():
    plain, tuned = make(), make(use_bandwidth_tuning=True)
    tuned.load_state_dict({**plain.state_dict(), "bandwidth": tuned.bandwidth})
    x = torch.rand(5, 3)
    torch.testing.assert_close(tuned(x), plain(x), rtol=0, atol=0)
    assert tuned.bandwidth.tolist() == [1.0, 1.0, 1.0]


def test_reservoir_phases_are_saved_but_not_trained():
    torch.manual_seed(1)
    first = make(reservoir_mode=True)
    assert {name for name, _ in first.named_parameters()} == {"readout.weight", "readout.bias"}
    assert "phases" in first.state_dict()
    second = make(reservoir_mode=True)
    assert not torch.equal(first.phases, second.phases)
    torch.manual_seed(1)
    torch.testing.assert_close(make(reservoir_mode=True).phases, first.phases, rtol=0, atol=0)
    second.load_state_dict(first.state_dict())
    x = torch.rand(5, 3)
    torch.testing.assert_close(first(x), second(x), rtol=0, atol=0)


@pytest.mark.parametrize("shape", [(3,), (7, 3), (2, 5, 3), (0, 3), (2, 0, 3)])
def test_any_leading_shape(shape):
    layer = make()
    x = torch.rand(shape, requires_grad=True)
    assert layer(x).shape == (*shape[:-1], 4)
    assert layer.probabilities(x).shape == (*shape[:-1], 10)
    assert layer.success_probability(x).shape == shape[:-1]
    assert layer.unitary(x).shape == (*shape[:-1], 4, 4)
    layer(x).sum().backward()
    flat = x.detach().reshape(-1, 3)
    torch.testing.assert_close(layer(x).reshape(-1, 4), layer(flat))


@pytest.mark.parametrize(
    "x,error,message",
    [
        (torch.rand(4, 2), ValueError, r"x must have shape \(..., input_size=3\), got \(4, 2\)"),
        (torch.rand(4, 4), ValueError, r"got \(4, 4\)"),
        (torch.tensor(0.5), ValueError, r"got \(\)"),
        (torch.ones(4, 3, dtype=torch.long), TypeError, "real floating tensor, got torch.int64"),
        (torch.ones(4, 3, dtype=torch.bool), TypeError, "got torch.bool"),
        (torch.ones(4, 3, dtype=torch.complex64), TypeError, "got torch.complex64"),
        (np.ones((4, 3)), TypeError, "got ndarray"),
        (torch.rand(4, 3, dtype=torch.float64), TypeError, r"x.float\(\), or layer.double\(\)"),
        (torch.tensor([[0.1, float("nan"), 0.2]]), ValueError, "x and the phases must be finite"),
        (torch.tensor([[0.1, float("inf"), 0.2]]), ValueError, "x and the phases must be finite"),
    ],
)
def test_bad_features(x, error, message):
    with pytest.raises(error, match=message):
        make()(x)


@pytest.mark.parametrize("mapping", ["none", "mode_expectations", "pair_correlations"])
@pytest.mark.parametrize("kernel", ["compiled", "torch"])
@pytest.mark.parametrize("culprit", ["x", "phases"])
def test_nan_is_found_whatever_reads_the_circuit(mapping, kernel, culprit):
    layer = make(outputs=None, mapping=mapping)
    x = torch.rand(4, 3)
    with torch.no_grad():
        (x if culprit == "x" else layer.phases)[0] = float("nan")
    with use_kernel(kernel):
        for call in (layer, layer.probabilities, layer.unitary):
            with pytest.raises(ValueError, match="x and the phases must be finite"):
                call(x)


def test_nan_features_poison_only_their_sample_where_nothing_checks(monkeypatch):
    """On an accelerator no check is made; the same path on the CPU shows what comes out."""
    monkeypatch.setattr("hybridlit.photonics.propagation._can_look_at", lambda tensor: False)
    x = torch.rand(4, 3)
    x[1, 2] = float("nan")
    with use_kernel("torch"):
        got = make()(x)
    assert got[1].isnan().all()
    assert got[[0, 2, 3]].isfinite().all()


def test_no_probability_to_keep_is_an_error():
    """|1,1,0> through a 50:50 splitter and nothing else never leaves one photon a mode."""
    experiment = Experiment(
        n_modes=3, n_photons=2, input_state=(1, 1, 0), encoding=[[[1.0], [0.0], [0.0]]],
        computation_space="unbunched",
    )  # fmt: skip
    layer = QuantumLayer(1, 2, experiment=experiment).double()
    with torch.no_grad():
        layer.phases.zero_()
        layer.phases[..., 0] = torch.pi  # a = pi: a cell that keeps each photon in its mode
        layer.phases[0, 0, 0] = torch.pi / 2
    assert layer.fock_space.size == 3
    with pytest.raises(ValueError, match="no unbunched outcome has any probability"):
        layer(torch.zeros(2, 1, dtype=torch.float64))


@pytest.mark.parametrize(
    "arguments,keywords,error,message",
    [
        ((3, 4), {}, ValueError, "exactly one of ansatz and experiment, got neither"),
        ((0, 4), {"experiment": Experiment("series", 4, 2)}, ValueError, "input_size must be at"),
        ((True, 4), {"experiment": Experiment("series", 4, 2)}, TypeError, "input_size must be an"),
        ((3,), {"experiment": Experiment("series", 4, 2)}, ValueError, "output_size must be given"),
        ((3, 4), {"ansatz": Experiment("series", 4, 2)}, TypeError, "AnsatzFactory.create"),
        ((3, 4), {"experiment": "series"}, TypeError, "experiment must be an Experiment"),
    ],
)
def test_bad_construction(arguments, keywords, error, message):
    with pytest.raises(error, match=message):
        QuantumLayer(*arguments, **keywords)


def test_ansatz_and_shorthand_are_the_same():
    experiment = Experiment("series", 4, 2)
    ansatz = AnsatzFactory.create(experiment=experiment, input_size=3, output_size=5)
    layer = QuantumLayer(input_size=3, ansatz=ansatz)
    assert layer.output_size == 5
    assert layer.ansatz == QuantumLayer(3, 5, experiment=experiment).ansatz
    for keywords, message in [
        ({"input_size": 2}, "input_size must be 3"),
        ({"input_size": 3, "output_size": 4}, "output_size must be 5"),
        (
            {"input_size": 3, "output_mapping_strategy": "none"},
            "output_mapping_strategy must be .*LINEAR",
        ),
        ({"input_size": 3, "experiment": experiment}, "got both"),
    ]:
        with pytest.raises(ValueError, match=message):
            QuantumLayer(**keywords, ansatz=ansatz)


def test_repr_says_what_is_simulated():
    text = repr(make(computation_space="unbunched", reservoir_mode=True))
    for part in (
        "modes=4",
        "photons=2",
        "|1,0,1,0>",
        "states=6",
        "unbunched",
        "reservoir",
        "kernel=compiled",
    ):
        assert part in text


# --- what people do with modules ------------------------------------------------------------------


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


def test_the_core_imports_no_lightning():
    code = (
        "import sys, hybridlit, hybridlit.photonics;"
        "loaded = {name.split('.')[0] for name in sys.modules};"
        "assert not loaded & {'lightning', 'pytorch_lightning', 'torchmetrics', 'sklearn'}, loaded"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
