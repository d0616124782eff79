import math

import pytest
import torch
from permanents import fourier

from hybridlit.photonics import Experiment, FockSpace, QuantumLayer
from hybridlit.photonics.readouts.expectations import mode_expectations, pair_correlations

STATES = [(1, 0, 1, 0), (2, 0, 1, 0), (0, 3, 0, 2), (1, 1, 1, 1)]


def layers(state, strategy):
    options = {"n_modes": len(state), "n_photons": sum(state), "input_state": state}
    experiment = Experiment("series", **options)
    layer = QuantumLayer(3, experiment=experiment, output_mapping_strategy=strategy).double()
    return layer, torch.rand(5, 3, dtype=torch.float64)


@pytest.mark.parametrize("state", [*STATES[:-1], (1, 1, 1, 2)])
def test_mode_expectations_are_means_over_all_outcomes(state):
    layer, x = layers(state, "mode_expectations")
    numbers = torch.tensor(layer.fock_space.states, dtype=torch.float64)
    expected = layer.probabilities(x) @ numbers
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-13)
    assert layer.output_size == 4


@pytest.mark.parametrize("state", STATES)
def test_pair_correlations_are_factorial_moments_over_all_outcomes(state):
    layer, x = layers(state, "pair_correlations")
    numbers = torch.tensor(layer.fock_space.states, dtype=torch.float64)
    pairs = numbers[:, :, None] * numbers[:, None] - torch.diag_embed(numbers)
    moments = torch.einsum("bd,dij->bij", layer.probabilities(x), pairs)
    first, second = torch.triu_indices(4, 4)
    torch.testing.assert_close(layer(x), moments[:, first, second], rtol=0, atol=1e-12)
    assert layer.output_size == 10


def test_hong_ou_mandel_correlation_vanishes():
    splitter = torch.tensor([[1, 1j], [1j, 1]], dtype=torch.complex128)[..., None] / math.sqrt(2)
    photons = torch.ones(2, dtype=torch.float64)
    got = pair_correlations(splitter, photons)[0]
    torch.testing.assert_close(got, torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64))
    torch.testing.assert_close(mode_expectations(splitter, photons)[0], photons)


def test_tritter_correlation():
    """One photon in each input of a tritter leaves one a mode or all in one mode."""
    columns = torch.tensor(fourier(3))[..., None]
    got = pair_correlations(columns, torch.ones(3, dtype=torch.float64))[0]
    # P(1,1,1) = 1/3 alone has a photon in two different modes; <n(n-1)> = 3 * 2 * P(3,0,0) = 4/3.
    expected = [4 / 3, 1 / 3, 1 / 3, 4 / 3, 1 / 3, 4 / 3]
    torch.testing.assert_close(got, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("strategy", ["mode_expectations", "pair_correlations"])
def test_gradcheck(strategy):
    layer, x = layers((2, 0, 1, 0), strategy)
    assert torch.autograd.gradcheck(
        lambda x, p: torch.func.functional_call(layer, {"phases": p}, x),
        (x.requires_grad_(), layer.phases.detach().requires_grad_()),
    )


def test_hundreds_of_photons_need_no_amplitudes():
    experiment = Experiment("series", 60, 30)
    layer = QuantumLayer(59, experiment=experiment, output_mapping_strategy="mode_expectations")
    output = layer(torch.rand(2, 59))
    torch.testing.assert_close(output.sum(1), torch.full((2,), 30.0), rtol=1e-5, atol=0)
    output.square().sum().backward()
    assert layer.phases.grad.isfinite().all()
    assert FockSpace(60, 30).size > 10**22
    assert "states=" in repr(layer)
