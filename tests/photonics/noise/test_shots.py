"""Shots: counts are multinomial, and gradients of frequencies are those of probabilities."""

import numpy as np
import pytest
import torch
from scipy import stats

from hybridlit import DistinguishableLayer, Experiment, Noise, QuantumLayer, QuantumLayerStack
from hybridlit.photonics import FidelityKernel, PartialMeasurement
from hybridlit.photonics.noise import shots as drawing
from hybridlit.photonics.noise.shots import drawn_counts, frequencies

WAYS = {"cpu": drawn_counts, "elsewhere": drawing._halved}
READOUTS = ["linear", "lexgrouping", "modgrouping", "none", "mode_expectations"]
FAIR = 1e-4, 1 - 1e-4
"""Of p-values: seeds are fixed, so that what passes once always does."""


def small(output=None, **options):
    options = {"n_modes": 4, "n_photons": 2, "dtype": torch.float64, **options}
    return QuantumLayer(3, output, **options)


@pytest.mark.parametrize("way", WAYS)
def test_counts_are_multinomial(way):
    """Chi-square of 100 seeds is uniform: means, and with the shape of its distribution spreads."""
    p = torch.tensor([0.3, 1e-9, 0.25, 0.2, 0.1, 0.0, 0.05, 0.06, 0.04], dtype=torch.float64)
    seen = [0, 2, 3, 4, 6, 7, 8]
    found = []
    for seed in range(100):
        generator = torch.Generator().manual_seed(seed)
        counts = WAYS[way](p[None], 1000, generator)[0]
        assert counts.dtype == torch.int64 and counts.sum() == 1000 and counts[5] == 0
        chi = (counts[seen] - 1000 * p[seen]).square() / (1000 * p[seen])
        found.append(stats.chi2.sf(float(chi.sum()), len(seen) - 1))
    assert FAIR[0] < stats.kstest(found, "uniform").pvalue


@pytest.mark.parametrize("way", WAYS)
def test_counts_of_two_outcomes_vary_together_as_they_should(way):
    p = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    counts = WAYS[way](p.expand(20_000, 3), 7, torch.Generator().manual_seed(0)).double()
    wanted = 7 * (torch.diag(p) - p[:, None] * p)
    assert torch.allclose(torch.cov(counts.T), wanted, atol=0.06)
    assert torch.allclose(counts.mean(0), 7 * p, atol=0.04)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("outcomes", [1, 2, 3, 8, 9])
def test_what_is_certain_is_found_and_what_is_impossible_never(way, outcomes):
    p = torch.eye(outcomes)
    assert torch.equal(WAYS[way](p.double(), 10**6, None), 10**6 * p.long())
    rare = torch.full((1, outcomes + 2), 1.0)
    rare[0, -1] = 0.0
    assert not WAYS[way](rare.double() / 7, 10**6, None)[0, -1]


def test_rounding_errors_make_no_impossible_outcome():
    p = torch.rand(200, 330).square()
    p[:, -1] = 0
    assert not drawn_counts(p / p.sum(-1, keepdim=True), 10**7)[:, -1].any()


@pytest.mark.parametrize("bad", [0.0, float("nan"), float("inf")])
def test_what_cannot_be_sampled_raises(bad):
    with pytest.raises(ValueError, match="probabilities must be finite"):
        drawn_counts(torch.full((2, 3), bad), 5)


def test_without_rows_or_memory_nothing_is_drawn():
    assert drawn_counts(torch.rand(0, 3), 5).shape == (0, 3)
    assert drawn_counts(torch.rand(2, 3, device="meta"), 5).is_meta


def test_samples_are_those_of_the_layer_and_of_its_generator():
    layer = small(computation_space="unbunched", noise=Noise(transmittance=0.8))
    x = torch.rand(2, 3, 3, dtype=torch.float64)
    before = torch.get_rng_state()
    first = layer.sample(x, 10**6, torch.Generator().manual_seed(1))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, layer.sample(x, 10**6, torch.Generator().manual_seed(1)))
    assert first.shape == (2, 3, len(layer.outcomes)) and first.dtype == torch.int64
    assert torch.allclose(first.double() / 10**6, layer.probabilities(x), atol=4e-3)
    torch.manual_seed(0)
    mine = layer.sample(x, 50)
    torch.manual_seed(0)
    assert torch.equal(mine, layer.sample(x, 50)) and not mine.requires_grad
    assert not torch.equal(mine, layer.sample(x, 50))


@pytest.mark.parametrize("strategy", READOUTS)
@pytest.mark.parametrize("noise", [None, Noise(transmittance=0.7, indistinguishability=0.8)])
def test_every_readout_reads_frequencies(strategy, noise):
    size = 3 if strategy in ("linear", "lexgrouping", "modgrouping") else None
    layer = small(size, output_mapping_strategy=strategy, noise=noise)
    x = torch.rand(4, 3, dtype=torch.float64)
    exact = layer(x)
    layer.shots = 4_000_000
    for mode in (True, False):
        found = layer.train(mode)(x)
        assert not torch.equal(found, exact)
        scale = float(exact.detach().abs().max()) + 1
        assert torch.allclose(found, exact, atol=0.01 * scale), strategy
    layer.shots = 1
    none = small(output_mapping_strategy="none", shots=1)
    assert torch.equal(none(x).sort(-1).values[..., -1], torch.ones(4, dtype=torch.float64))


def test_pair_correlations_are_of_counts():
    layer = small(output_mapping_strategy="pair_correlations", shots=50)
    x = torch.rand(1, 3, dtype=torch.float64)
    torch.manual_seed(3)
    found = layer(x)[0]
    torch.manual_seed(3)
    counts = layer.sample(x, 50)[0].numpy()
    photons = np.array(list(layer.outcomes))
    pairs = np.einsum("d,di,dj->ij", counts / 50, photons, photons)
    pairs -= np.diag(counts @ photons / 50)
    assert np.allclose(found.detach(), pairs[np.triu_indices(4)], atol=1e-12)


def test_the_exact_gradient_is_that_of_probabilities():
    layer = small(output_mapping_strategy="none", shots=20)
    x = torch.rand(4, 3, dtype=torch.float64, requires_grad=True)
    weights = torch.rand(10, dtype=torch.float64)
    inputs = (
        [layer.phases, layer.bandwidth, x] if layer.bandwidth is not None else [layer.phases, x]
    )
    found = torch.autograd.grad((layer(x) @ weights).sum(), inputs)
    wanted = torch.autograd.grad((layer.probabilities(x) @ weights).sum(), inputs)
    for one, other in zip(found, wanted, strict=True):
        assert torch.allclose(one, other, atol=1e-14)


def loss(outputs):
    """Curved, so that its gradient depends on what was drawn."""
    return outputs.square().sum() + outputs[..., 0].sum()


def mean_gradient(layer, x):
    """The gradient of the mean: that of frequencies drawn, times the exact one of probabilities."""
    p = layer.probabilities(x)
    frequent = p.detach()  # E[2 f] + 1: what loss has for a gradient is linear in f
    slope = 2 * frequent
    slope[..., 0] += 1
    return torch.autograd.grad((p * slope).sum(), [layer.phases, x])


@pytest.mark.parametrize("space", ["fock", "unbunched"])
def test_the_score_gradient_is_unbiased(space):
    """10,000 draws at once: as many rows of the same features."""
    torch.manual_seed(5)
    layer = small(
        output_mapping_strategy="none", computation_space=space, shots=5, shot_gradient="score"
    )
    x = torch.rand(1, 3, dtype=torch.float64, requires_grad=True)
    wanted = mean_gradient(layer, x)[1][0]
    many = x.detach().expand(10_000, 3).clone().requires_grad_()
    (found,) = torch.autograd.grad(loss(layer(many)), many)
    errors = (found.mean(0) - wanted) / (found.std(0) / 100)
    assert errors.abs().max() < 3
    assert found.std(0).min() > 0.1 * wanted.abs().max()  # an estimate, not the exact one


def test_a_baseline_makes_the_score_gradient_steadier():
    torch.manual_seed(0)
    p = torch.rand(1, 20, dtype=torch.float64)
    p = (p / p.sum()).expand(4000, -1).clone().requires_grad_()
    slope = 100 + torch.rand(20, dtype=torch.float64)
    (found,) = torch.autograd.grad((frequencies(p, 50, "score") * slope).sum(), p)
    direction = torch.randn(20, dtype=torch.float64)
    direction -= direction.mean()  # sums of probabilities stay 1
    assert (found @ direction).std() < 10  # without one it is that of slopes of 100
    assert abs(float((found @ direction).mean() - slope @ direction)) < 1


def test_a_state_is_taken_as_it_is():
    layer = small(output_mapping_strategy="none", shots=100_000)
    state = torch.randn(1, 10, dtype=torch.complex128)
    x = torch.rand(1, 3, dtype=torch.float64)
    wanted = layer.probabilities(x, state)
    for kind in ("exact", "score"):
        layer.shot_gradient = kind
        found = layer(x, state)
        assert torch.allclose(found.sum(), wanted.sum())
        assert torch.allclose(found, wanted, atol=0.02 * wanted.sum().item())


def test_rows_without_features_are_drawn_one_by_one():
    layer = QuantumLayer(0, n_modes=4, n_photons=2, shots=20)
    found = layer(5)
    assert found.shape == (5, 10) and len(found.unique(dim=0)) > 1
    assert layer().shape == (10,) and layer.sample(3, 7).shape == (3, 10)


def test_a_stack_draws_for_each_layer():
    stack = QuantumLayerStack(
        3, 3, 5, n_modes=4, n_photons=2, shots=50, shot_gradient="score", dtype=torch.float64
    )
    x = torch.rand(6, 3, dtype=torch.float64)
    assert stack(x).shape == stack.each(x[:, None].expand(-1, 3, -1)).shape == (6, 3, 5)
    layers = stack.layers()
    assert all(layer.shots == 50 and layer.shot_gradient == "score" for layer in layers)
    again = QuantumLayerStack.from_layers(layers)
    assert again.shots == 50 and again.shot_gradient == "score"
    layers[1].shots = 51
    with pytest.raises(ValueError, match="shots"):
        QuantumLayerStack.from_layers(layers)
    assert DistinguishableLayer.from_layer(layers[0]).shots == 50


def test_shots_are_in_the_repr_and_in_no_state_dict():
    layer = small(3, shots=1000)
    assert "shots=1,000, shot_gradient=exact" in repr(layer)
    small(3).load_state_dict(layer.state_dict())
    assert "shots" not in repr(small(3))


@pytest.mark.parametrize("bad", [0, -1, 2.5, True, "10"])
def test_numbers_of_shots_that_are_none_raise(bad):
    layer = small(3)
    for make in (lambda: small(3, shots=bad), lambda: setattr(layer, "shots", bad)):
        with pytest.raises((TypeError, ValueError), match="shots"):
            make()
    with pytest.raises((TypeError, ValueError), match="shots"):
        layer.sample(torch.rand(2, 3, dtype=torch.float64), bad)
    assert layer.shots is None


def test_other_mistakes_have_messages():
    with pytest.raises(ValueError, match="shot_gradient must be one of"):
        small(3, shot_gradient="guess")
    with pytest.raises(TypeError, match="generator must be a"):
        small(3).sample(torch.rand(2, 3, dtype=torch.float64), 5, 7)
    layer = small(output_mapping_strategy="none", shots=5)
    with pytest.raises(ValueError, match="shots=None"):
        PartialMeasurement(layer, [0])
    with pytest.raises(ValueError, match="shots=None"):
        FidelityKernel(layer)


def test_means_of_too_many_outcomes_to_count_are_refused_at_construction():
    experiment = Experiment("series", n_modes=60, n_photons=20)
    layer = QuantumLayer(3, experiment=experiment, output_mapping_strategy="mode_expectations")
    with pytest.raises(MemoryError, match=r"outcomes|states"):
        layer.shots = 100
    assert layer.shots is None
