"""Which features and arguments a photonic layer takes, and what it says to others."""

import numpy as np
import pytest
import torch
from small_layers import make

from hybridlit.photonics import AnsatzFactory, Experiment, QuantumLayer, use_kernel


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
    monkeypatch.setattr("hybridlit.photonics.propagation.can_look_at", lambda tensor: False)
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
    with pytest.raises(ValueError, match=r"unbunched outcomes of row\(s\) \[0, 1\] of x"):
        layer(torch.zeros(2, 1, dtype=torch.float64))


@pytest.mark.parametrize(
    "arguments,keywords,error,message",
    [
        ((3, 4), {}, ValueError, "exactly one of ansatz and experiment, got neither"),
        ((-1, 4), {"experiment": Experiment("series", 4, 2)}, ValueError, "input_size must be at"),
        ((True, 4), {"experiment": Experiment("series", 4, 2)}, TypeError, "input_size must be an"),
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


def test_without_a_size_outputs_are_all_probabilities():
    experiment = Experiment("series", 4, 2)
    layer = QuantumLayer(3, experiment=experiment)
    x = torch.rand(5, 3)
    assert layer.output_size == 10 and torch.equal(layer(x), layer.probabilities(x))
    assert QuantumLayer(3, 4, experiment=experiment).ansatz.strategy.value == "linear"
    with pytest.raises(ValueError, match="output_size must be given"):
        QuantumLayer(3, experiment=experiment, output_mapping_strategy="linear")
