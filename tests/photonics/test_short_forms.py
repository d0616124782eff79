"""Circuits in fewer words: keywords of a layer, `simple`, precision and device, encodings."""

import copy
import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from hybridlit.photonics import (
    Ansatz,
    AnsatzFactory,
    DistinguishableLayer,
    DistinguishableLayerStack,
    Experiment,
    QuantumLayer,
    QuantumLayerStack,
)
from hybridlit.photonics.description import description
from hybridlit.photonics.readouts.grouping import GroupingReadout
from hybridlit.photonics.readouts.linear import LinearReadout, StackedLinearReadout

CIRCUIT = dict(n_modes=4, n_photons=2)
ENCODING = [[[1.0, 0.0], [0.0, 0.5], [0.25, 2.0], [0.0, 0.0]]]
KINDS = [
    QuantumLayer,
    DistinguishableLayer,
    lambda *sizes, **given: QuantumLayerStack(3, *sizes, **given),
    lambda *sizes, **given: DistinguishableLayerStack(3, *sizes, **given),
]

# --- fields of the experiment ---------------------------------------------------------------------


@pytest.mark.parametrize("make", KINDS)
def test_the_fields_of_an_experiment_make_the_layer(make):
    short = make(3, 4, **CIRCUIT, use_bandwidth_tuning=True)
    whole = Experiment("series", **CIRCUIT, use_bandwidth_tuning=True)
    assert short.ansatz == make(3, 4, experiment=whole).ansatz
    assert make(3, 4, **CIRCUIT, circuit_type="parallel").experiment.circuit_type == "parallel"
    assert make(2, 4, **CIRCUIT, encoding=ENCODING).experiment.circuit_type is None
    assert make(3, 4, n_modes=3, input_state=(0, 2, 1)).experiment.n_photons == 3


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({}, ValueError, "got neither; or the fields of an experiment, such as n_modes=5"),
        (dict(n_mode=4, n_photons=2), TypeError, "'n_mode'; did you mean 'n_modes'?"),
        (dict(CIRCUIT, outputsize=2), TypeError, "'outputsize'; did you mean 'output_size'?"),
        (
            dict(CIRCUIT, qqq=2),
            TypeError,
            "'qqq'; beside those of the layer .* circuit_type",
        ),
        (dict(n_modes=4), ValueError, "n_photons must be given"),
        (
            dict(experiment=Experiment("series", 4, 2), n_photons=2, n_modes=4),
            ValueError,
            "n_photons, n_modes must be said in the experiment",
        ),
        (
            dict(ansatz=Ansatz(Experiment("series", 4, 2), 3, 4), reservoir_mode=True),
            ValueError,
            "reservoir_mode must be said in the ansatz",
        ),
        (dict(experiment=Experiment("series", 4, 2), nmodes=4), TypeError, "mean 'n_modes'"),
    ],
)
@pytest.mark.parametrize("make", KINDS)
def test_what_makes_no_circuit_is_refused(make, given, error, message):
    with pytest.raises(error, match=message):
        make(3, 4, **given)


@pytest.mark.parametrize("features", [1, 2, 3, 4])
def test_simple_layers_are_of_the_shape_that_merlin_makes(features):
    layer = QuantumLayer.simple(features)
    modes = features + 1
    assert layer.input_state == tuple(int(mode % 2 == 0) for mode in range(modes))
    assert layer.fock_space.unbunched and layer.columns == 1
    assert layer.output_size == math.comb(modes, sum(layer.input_state))
    x = torch.rand(5, features)
    torch.testing.assert_close(layer(x), layer.probabilities(x))
    encoded = layer.experiment.encoding_for(features)[0]
    np.testing.assert_array_equal(encoded, np.eye(modes, features))


def test_simple_layers_take_what_layers_take():
    grouped = QuantumLayer.simple(4, 3, dtype=torch.float64)
    assert grouped.ansatz.strategy == "modgrouping" and grouped.phases.dtype == torch.float64
    assert QuantumLayer.simple(4, 10).ansatz.strategy == "none"
    linear = QuantumLayer.simple(4, 1, output_mapping_strategy="linear", computation_space="fock")
    assert linear(torch.rand(2, 4)).shape == (2, 1) and not linear.fock_space.unbunched
    assert type(DistinguishableLayer.simple(3)) is DistinguishableLayer
    large = QuantumLayer.simple(40, n_photons=1, device="meta")
    assert large.columns == 3 and large.experiment.n_modes == 20
    with pytest.raises(ValueError, match="use 'linear' for any size"):
        QuantumLayer.simple(4, 1)
    with pytest.raises(TypeError, match="did you mean 'n_photons'"):
        QuantumLayer.simple(4, photons=1)
    assert QuantumLayer.simple(4, 3, recompute=True).recompute is True
    assert QuantumLayer.simple(4, n_modes=np.int64(6), input_state=None).experiment.n_photons == 3


@pytest.mark.parametrize("name", ["experiment", "ansatz"])
def test_no_argument_is_said_to_be_a_misspelling_of_itself(name):
    with pytest.raises(TypeError, match=f"unexpected argument '{name}'") as refused:
        QuantumLayer.simple(4, 3, **{name: None})
    assert f"did you mean '{name}'" not in str(refused.value)


# --- precision and device -------------------------------------------------------------------------


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("mapping", ["linear", "modgrouping", "mode_expectations"])
def test_layers_are_made_in_a_precision(make, mapping):
    size = None if mapping == "mode_expectations" else 4
    given = dict(CIRCUIT, output_mapping_strategy=mapping, use_bandwidth_tuning=True)
    layer = make(3, size, **given, dtype=torch.float64)
    assert {p.dtype for p in layer.parameters()} == {torch.float64}
    x = torch.rand(5, 3, dtype=torch.float64)
    torch.manual_seed(3)
    same = make(3, size, **given).double()
    same.load_state_dict(layer.state_dict())
    torch.testing.assert_close(layer(x), same(x), rtol=0, atol=0)
    meta = make(3, size, **given, device="meta", dtype=torch.float64)
    assert {t.device.type for t in [*meta.parameters(), *meta.buffers()]} == {"meta"}


def test_a_layer_is_made_in_the_precision_of_its_ansatz():
    ansatz = AnsatzFactory.create(Experiment("series", 4, 2), 3, 4, dtype=torch.float64)
    for make in KINDS:
        layer = make(3, ansatz=ansatz)
        assert layer.phases.dtype == layer.readout.weight.dtype == torch.float64
        assert make(3, ansatz=ansatz, dtype=torch.float64).phases.dtype == torch.float64
        with pytest.raises(ValueError, match=r"dtype must be torch.float64 as in the ansatz"):
            make(3, ansatz=ansatz, dtype=torch.float32)


@pytest.mark.parametrize("make", [*KINDS, lambda *sizes, **given: Ansatz(*sizes, **given)])
@pytest.mark.parametrize(
    ("dtype", "error", "message"),
    [
        (torch.float16, ValueError, "must be torch.float32 or torch.float64, got torch.float16: "),
        (torch.bfloat16, ValueError, "circuits compute in at least float32"),
        (torch.complex64, ValueError, "got torch.complex64"),
        ("float64", TypeError, "dtype must be a"),
    ],
)
def test_other_precisions_are_refused(make, dtype, error, message):
    sizes = (3, 4) if make in KINDS else (Experiment("series", 4, 2), 3, 4)
    with pytest.raises(error, match=message):
        make(*sizes, **(CIRCUIT if make in KINDS else {}), dtype=dtype)


def test_an_unknown_device_is_refused():
    with pytest.raises(ValueError, match="device must be one of torch's, got 'gpu'"):
        QuantumLayer(3, 4, **CIRCUIT, device="gpu")


def test_a_device_that_is_not_there_is_refused(monkeypatch):
    def empty(*_, **__):
        raise AssertionError("Torch not compiled with CUDA enabled")

    monkeypatch.setattr("hybridlit.photonics.base.torch.empty", empty)
    with pytest.raises(ValueError, match=r"device must be .*'cuda': Torch not compiled with CUDA"):
        QuantumLayer(3, 4, **CIRCUIT, device="cuda")


@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("mapping", ["linear", "modgrouping", "mode_expectations"])
def test_a_layer_without_memory_takes_a_state(make, mapping, assign):
    sizes = (3,) if mapping == "mode_expectations" else (3, 4)
    given = dict(CIRCUIT, output_mapping_strategy=mapping)
    trained, layer = make(*sizes, **given), make(*sizes, **given, device="meta")
    if not assign:
        layer.to_empty(device="cpu")
        for buffer in layer.readout.buffers():
            assert buffer.max() < 4  # no outcome is in a group that is not there
    layer.load_state_dict(trained.state_dict(), assign=assign)
    x = torch.rand(5, 3)
    torch.testing.assert_close(layer(x), trained(x), rtol=0, atol=0)


def test_copies_keep_precision_device_and_what_is_trained():
    for reservoir in (False, True):
        layer = QuantumLayer(3, 4, **CIRCUIT, reservoir_mode=reservoir, dtype=torch.float64).eval()
        layer.readout.bias.requires_grad_(False)
        stack = QuantumLayerStack.from_layers([layer, layer])
        copies = [copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), *stack.layers()]
        copies += [stack, DistinguishableLayer.from_layer(layer)]
        copies += [DistinguishableLayerStack.from_stack(stack)]
        for made in copies:
            assert made.phases.dtype == made.readout.weight.dtype == torch.float64
            assert not made.training and not made.readout.bias.requires_grad
            assert isinstance(made.phases, torch.nn.Parameter) is not reservoir
            assert (made.phases - layer.phases).abs().max() == 0
    meta = QuantumLayerStack(2, 3, 4, **CIRCUIT, device="meta")
    assert meta.layers()[1].phases.is_meta


def test_layers_of_several_precisions_are_no_stack():
    layers = [QuantumLayer(3, 4, **CIRCUIT, dtype=t) for t in (torch.float32, torch.float64)]
    with pytest.raises(ValueError, match="same ansatz, recompute, shots"):
        QuantumLayerStack.from_layers(layers)


def test_readouts_take_device_and_dtype():
    for readout in (
        LinearReadout(6, 2, device="meta", dtype=torch.float64),
        StackedLinearReadout(3, 6, 2, device="meta", dtype=torch.float64),
    ):
        assert {(p.device.type, p.dtype) for p in readout.parameters()} == {("meta", torch.float64)}
    assert GroupingReadout(6, 2, consecutive=True, device="meta").group.is_meta


# --- encodings and photons ------------------------------------------------------------------------


def test_the_number_of_photons_follows_from_the_input_state():
    experiment = Experiment("series", 4, input_state=[0, 2, 1, 0])
    assert experiment.n_photons == 3
    assert experiment == Experiment("series", 4, 3, input_state=(0, 2, 1, 0))
    assert replace(experiment, input_state=None).occupation == (1, 1, 1, 0)
    with pytest.raises(ValueError, match=r"must hold n_photons=2 photons .* with 3 photons"):
        Experiment("series", 4, 2, input_state=[0, 2, 1, 0])


@pytest.mark.parametrize(
    "kind",
    [
        np.array,
        torch.tensor,
        lambda values: torch.tensor(values, dtype=torch.bfloat16).requires_grad_(),
        lambda values: np.array(values, dtype=np.float32),
    ],
)
def test_encodings_are_tensors_or_arrays_as_well(kind):
    plain = Experiment(n_modes=4, n_photons=2, encoding=ENCODING)
    other = Experiment(n_modes=4, n_photons=2, encoding=kind(ENCODING))
    assert other == plain and hash(other) == hash(plain)
    assert pickle.loads(pickle.dumps(other)) == plain and "tensor" not in repr(other)


@pytest.mark.parametrize(
    "encoding",
    [
        np.array(ENCODING) * (1 + 1j),
        torch.tensor(ENCODING, dtype=torch.complex64),
        torch.ones(1, 4, 2, device="meta"),
    ],
)
def test_encodings_without_real_values_are_refused(encoding):
    with pytest.raises(ValueError, match="an array or a tensor, real and of shape"):
        Experiment(n_modes=4, n_photons=2, encoding=encoding)


def test_encodings_in_radians_are_the_same_circuit():
    plain = Experiment(n_modes=4, n_photons=2, encoding=ENCODING)
    radians = math.pi * torch.tensor(ENCODING, dtype=torch.float64)
    other = Experiment(n_modes=4, n_photons=2, encoding=radians, encoding_unit="radian")
    assert other == plain and replace(other, n_photons=3).encoding == plain.encoding
    assert description(Ansatz(other, 2, 3)) == description(Ansatz(plain, 2, 3))
    with pytest.raises(ValueError, match="needs an encoding"):
        Experiment("series", 4, 2, encoding_unit="radian")
    with pytest.raises(ValueError, match=r"encoding_unit must be one of \['pi', 'radian'\]"):
        Experiment(n_modes=4, n_photons=2, encoding=ENCODING, encoding_unit="degree")


def test_experiments_pickled_before_there_were_units_are_in_units_of_pi():
    experiment = Experiment(n_modes=4, n_photons=2, encoding=ENCODING)
    old = copy.copy(experiment)
    del old.__dict__["encoding_unit"]
    assert old == experiment and replace(old) == experiment
