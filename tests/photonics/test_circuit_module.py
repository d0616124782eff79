"""A layer of a circuit of components is a module like one of meshes, whatever is done with it."""

import copy
import io
import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from hybridlit import (
    BeamSplitter,
    Circuit,
    Data,
    Experiment,
    FixedUnitary,
    Interferometer,
    PhaseShifter,
    QuantumLayer,
    QuantumLayerStack,
    Trainable,
    use_kernel,
)
from hybridlit.photonics.distinguishable import DistinguishableLayer


def several():
    """Angles of every kind, several columns of data, one parameter for two angles."""
    circuit = Circuit(4).add(Interferometer(3), [2, 0, 1])
    circuit.add(PhaseShifter(Data({0: 1.0, 1: -0.5}, offset=0.3)), 1)
    circuit.add(BeamSplitter("theta", "h", phi_tr="phi"), [3, 1])
    circuit.add(BeamSplitter(Data(1, scale=2.0), "ry"), 0)
    return circuit.add(BeamSplitter(Trainable("theta", scale=-0.5)), 1).add(
        Interferometer(phases="input", shape="triangular")
    )


def without_data():
    return Circuit(4).add(Interferometer()).add(PhaseShifter(), 0).add(BeamSplitter("theta"), 1)


def without_parameters():
    generator = np.random.default_rng(0)
    matrix = np.linalg.qr(generator.normal(size=(4, 4)) + 1j * generator.normal(size=(4, 4)))[0]
    circuit = Circuit(4).add(FixedUnitary(matrix)).add(PhaseShifter(Data(0)), 1)
    return circuit.add(PhaseShifter(Data(1)), 2).add(FixedUnitary(matrix))


def chip():
    """A mesh of which data turn every phase."""
    angles = [[Data(2 * cell), Data(2 * cell + 1)] for cell in range(6)]
    splitters = [[1.4, 1.6]] * 6
    made = Circuit(4).add(Interferometer())
    made.add(Interferometer(angles=angles, splitters=splitters))
    return made.add(BeamSplitter("t"), 1).add(Interferometer(phases="input"))


CIRCUITS = {make.__name__: make for make in (several, without_data, without_parameters, chip)}


def made(
    kind="several", mapping="none", kind_of_layer=QuantumLayer, dtype=torch.float64, **options
):
    circuit = CIRCUITS[kind]()
    experiment = Experiment(circuit=circuit, input_state=(1, 0, 2, 0), **options)
    count = (2,) if issubclass(kind_of_layer, QuantumLayerStack) else ()
    return kind_of_layer(
        *count, circuit.input_size, experiment=experiment, output_mapping_strategy=mapping,
        dtype=dtype,
    )  # fmt: skip


def layer_of(circuit, **options):
    experiment = Experiment(circuit=circuit, n_photons=2, **options)
    size = circuit.input_size
    return QuantumLayer(
        size, experiment=experiment, output_mapping_strategy="none", dtype=torch.float64
    )


def features(layer, rows=3):
    return torch.randn(rows, layer.input_size, dtype=layer.phases.dtype, requires_grad=True)


def gradients(layer, x, kernel="auto", output=None):
    """Outputs and the gradients of features and parameters, of a fixed combination of outputs."""
    with use_kernel(kernel):
        found = layer(x) if output is None else output
        weights = torch.linspace(-1, 2, found.numel(), dtype=found.dtype).view_as(found)
        wanted = [x, *layer.parameters()] if x.numel() else [*layer.parameters()]
        return [found, *torch.autograd.grad((found * weights).sum(), wanted)]


@pytest.mark.parametrize("kind", CIRCUITS)
@pytest.mark.parametrize("space", ["fock", "unbunched"])
@pytest.mark.parametrize("tuning", [False, True])
def test_gradients_are_those_of_finite_differences_and_of_the_other_kernel(kind, space, tuning):
    if tuning and kind == "without_data":
        with pytest.raises(ValueError, match="use_bandwidth_tuning must be False for a circuit w"):
            made(kind, use_bandwidth_tuning=True)
        return
    layer = made(kind, computation_space=space, use_bandwidth_tuning=tuning)
    x = features(layer, 2)
    torch.testing.assert_close(gradients(layer, x), gradients(layer, x, "torch"))
    names = [name for name, _ in layer.named_parameters()]

    def call(x, *numbers):
        return torch.func.functional_call(layer, dict(zip(names, numbers, strict=True)), (x,))

    torch.autograd.gradcheck(call, (x, *layer.parameters()))


@pytest.mark.parametrize("kind", CIRCUITS)
@pytest.mark.parametrize("mapping", ["none", "mode_expectations", "pair_correlations"])
def test_a_stack_is_its_layers(kind, mapping):
    stack = made(kind, mapping, QuantumLayerStack)
    x = features(stack)
    found = stack(x)
    assert found.shape == (3, 2, stack.output_size)
    assert not stack.phases.numel() or not torch.equal(stack.phases[0], stack.phases[1])
    for index, one in enumerate(stack.layers()):
        torch.testing.assert_close(one(x), found[:, index])
    again = QuantumLayerStack.from_layers(stack.layers())
    torch.testing.assert_close(again(x), found)
    each = torch.stack([x, x + 1], 1)
    torch.testing.assert_close(again.each(each)[:, 1], stack.layers()[1](x + 1))
    torch.testing.assert_close(gradients(stack, x), gradients(stack, x, "torch"))


@pytest.mark.parametrize("kind", ["several", "chip"])
def test_recomputing_and_many_rows_change_no_gradient(kind):
    layer = made(kind)
    x = features(layer, 70)
    expected = gradients(layer, x)
    layer.recompute = True
    torch.testing.assert_close(gradients(layer, x), expected)
    output = checkpoint(layer, x, use_reentrant=False)
    torch.testing.assert_close(gradients(layer, x, output=output), expected)


@pytest.mark.parametrize("kind", ["several", "chip", "without_parameters"])
def test_transforms_of_torch_func(kind):
    layer = made(kind)
    x = features(layer).detach()
    jacobians = torch.func.vmap(torch.func.jacrev(layer))(x)
    for row, jacobian in zip(x, jacobians, strict=True):
        torch.testing.assert_close(torch.autograd.functional.jacobian(layer, row), jacobian)
    forward = torch.func.jacfwd(layer)(x[0])
    torch.testing.assert_close(forward, jacobians[0])
    if layer.phases.numel():
        states = {"phases": torch.randn(3, *layer.phases.shape, dtype=torch.float64)}

        def call(state, row):
            return torch.func.functional_call(layer, state, (row,))

        ensemble = torch.func.vmap(call)(states, x)
        one = [call({"phases": p}, row) for p, row in zip(states["phases"], x, strict=True)]
        torch.testing.assert_close(ensemble, torch.stack(one))
        slopes = torch.func.vmap(torch.func.jacrev(call))(states, x)["phases"]
        alone = torch.func.jacrev(call)({"phases": states["phases"][1]}, x[1])["phases"]
        torch.testing.assert_close(slopes[1], alone)


def test_second_derivatives():
    layer = made()
    x = features(layer, 1)
    torch.autograd.gradgradcheck(lambda x: layer(x)[:, :3], (x,))


@pytest.mark.slow
@pytest.mark.parametrize("kind", CIRCUITS)
def test_exports_hold_any_batch(kind):
    layer = made(kind, dtype=torch.float32).requires_grad_(False)
    x, more = (torch.randn(rows, layer.input_size) for rows in (3, 7))
    batch = {0: torch.export.Dim("batch")}
    program = torch.export.export(layer, (x,), dynamic_shapes=(batch,))
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    loaded = torch.export.load(file).module()
    torch.testing.assert_close(loaded(more), layer(more))


@pytest.mark.slow
@pytest.mark.parametrize("kind", CIRCUITS)
def test_graphs_of_torch_compile(kind):
    layer = made(kind, dtype=torch.float32)
    graph = torch.compile(layer, backend="aot_eager", fullgraph=True)
    x = features(layer)
    torch.testing.assert_close(gradients(layer, x, output=graph(x)), gradients(layer, x))


@pytest.mark.parametrize("kind", CIRCUITS)
@pytest.mark.parametrize("device", ["meta", None])
def test_copies_and_files_give_the_same_outputs(kind, device):
    layer = made(kind)
    x = features(layer)
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    with torch.device(device or "cpu"):
        other = made(kind)
    other.load_state_dict(state, assign=device == "meta")
    pickled = pickle.loads(pickle.dumps(layer))
    for same in (copy.deepcopy(layer), pickled, other):
        assert torch.equal(same(x), layer(x))
        assert same.experiment == layer.experiment
        assert hash(same.experiment) == hash(layer.experiment)


@pytest.mark.parametrize("kind", CIRCUITS)
def test_on_the_meta_device_there_are_shapes_and_gradients(kind):
    layer = made(kind).to("meta")
    x = torch.randn(3, layer.input_size, device="meta", dtype=torch.float64, requires_grad=True)
    outputs = layer(x)
    assert outputs.is_meta and outputs.shape == (3, layer.output_size)
    if layer.phases.requires_grad:
        outputs.sum().backward()
        assert layer.phases.grad.shape == layer.phases.shape


@pytest.mark.parametrize("kind", CIRCUITS)
def test_it_computes_in_float32_whatever_the_precision_around_it(kind):
    layer = made(kind, dtype=torch.float32)
    exact = copy.deepcopy(layer).double()
    x = torch.randn(5, layer.input_size)
    torch.testing.assert_close(layer(x), exact(x.double()).float(), rtol=0, atol=1e-6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(layer(x), exact.float()(x))
    nn.Sequential(layer).half()
    assert layer.phases.dtype == torch.float32
    assert layer(x.half()).dtype == torch.float16


@pytest.mark.parametrize("kind", ["several", "without_data", "chip"])
def test_reservoirs_train_nothing(kind):
    layer = made(kind, reservoir_mode=True)
    assert not [*layer.parameters()] and "phases" in layer.state_dict()
    x = features(layer)
    if x.numel():
        layer(x).square().sum().backward()
        assert x.grad.abs().max() > 0


def test_batches_without_data():
    layer = made("without_data")
    assert layer(5).shape == (5, layer.output_size) and layer(0).shape == (0, layer.output_size)
    torch.testing.assert_close(layer(2), layer(torch.zeros(2, 0, dtype=torch.float64)))
    stack = made("without_data", kind_of_layer=QuantumLayerStack)
    assert stack(5).shape == (5, 2, stack.output_size)
    assert stack.each(torch.zeros(5, 2, 0, dtype=torch.float64)).shape == (5, 2, stack.output_size)
    assert layer.unitary(3).shape == (3, 4, 4) and layer.probabilities(3).shape[0] == 3
    assert layer.success_probability(3).shape == (3,)


@pytest.mark.parametrize("kind", ["several", "chip"])
def test_distinguishable_photons(kind):
    layer = made(kind)
    classical = DistinguishableLayer.from_layer(layer)
    x = features(layer)
    transfer = classical.unitary(x).abs().square()
    expected = (transfer @ torch.tensor([1.0, 0, 2, 0], dtype=torch.float64)).detach()
    states = torch.tensor(list(layer.fock_space), dtype=torch.float64)
    torch.testing.assert_close((classical.probabilities(x) @ states).detach(), expected)
    torch.testing.assert_close((layer.probabilities(x) @ states).detach(), expected)


@pytest.mark.parametrize("size", [1e3, 1e6, 1e9])
def test_features_of_any_size(size):
    layer = made(dtype=torch.float32)
    exact = copy.deepcopy(layer).double()
    x = (torch.rand(4, layer.input_size) * size).round()
    torch.testing.assert_close(layer(x), exact(x.double()).float(), rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="must be finite"):
        layer(x.where(x != x[0, 0], torch.nan))


def test_a_beam_splitter_stays_one_when_its_bandwidth_is_tuned():
    circuit = Circuit(3).add(Interferometer()).add(BeamSplitter(Data(0)), 0)
    circuit.add(PhaseShifter(Data(1)), 1).add(BeamSplitter(Data({0: 1.0, 1: 2.0}, offset=0.2)), 1)
    layer = layer_of(circuit.add(Interferometer()), use_bandwidth_tuning=True)
    assert layer.bandwidth.shape == (3,)
    with torch.no_grad():
        layer.bandwidth.copy_(torch.tensor([0.5, 3.0, 1.5]))
    x = torch.rand(4, 2, dtype=torch.float64)
    angles = [0.5 * x[:, 0], 3.0 * x[:, 1], 1.5 * (x[:, 0] + 2 * x[:, 1])]
    plain = Circuit(3).add(Interferometer()).add(BeamSplitter(Data(0)), 0)
    plain.add(PhaseShifter(Data(1)), 1).add(BeamSplitter(Data(2, offset=0.2)), 1)
    other = layer_of(plain.add(Interferometer()))
    other.phases = layer.phases
    torch.testing.assert_close(layer.unitary(x), other.unitary(torch.stack(angles, -1)))


# --- what is drawn --------------------------------------------------------------------------------


def test_whole_meshes_of_own_parameters_are_the_circuit_types():
    experiment = Experiment("series", 5, 2)
    same = Experiment(circuit=experiment.circuit_for(7), n_photons=2)
    torch.manual_seed(1)
    first = QuantumLayer(7, 3, experiment=experiment)
    torch.manual_seed(1)
    second = QuantumLayer(7, 3, experiment=same)
    x = torch.rand(4, 7)
    assert second.phases.shape == first.phases.shape
    assert torch.equal(first(x), second(x))
    second.load_state_dict(first.state_dict())


@pytest.mark.parametrize("shape", ["rectangular", "triangular"])
@pytest.mark.parametrize("phases", ["output", "input"])
def test_meshes_are_drawn_from_the_haar_measure(shape, phases):
    circuit = Circuit(4).add(Interferometer(shape=shape, phases=phases)).add(PhaseShifter(0.3), 0)
    experiment = Experiment(circuit=circuit, n_photons=1)
    stack = QuantumLayerStack(4000, 0, experiment=experiment, output_mapping_strategy="none")
    with torch.no_grad():
        squares = stack.interferometers()[:, 0].abs().square().movedim(0, -1)
    # moments of |U_jk|^2 of a Haar-random unitary: E = 1/m, E^2 = 2/(m(m+1))
    np.testing.assert_allclose(squares.mean(-1), 1 / 4, atol=0.015)
    np.testing.assert_allclose(squares.square().mean(-1), 2 / 20, atol=0.012)
