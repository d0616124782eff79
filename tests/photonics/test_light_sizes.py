"""Memory and time of noisy light, estimated from its program."""

from collections import Counter
from itertools import pairwise

import pytest
import torch

from hybridlit.internals.torch_operations import CountedOperations
from hybridlit.photonics import Experiment
from hybridlit.photonics.cost import estimate
from hybridlit.photonics.fock import ComputationSpace, FockSpace
from hybridlit.photonics.noise import program as plans, sizes
from hybridlit.photonics.noise.compiled import light_of_columns, light_of_photons
from hybridlit.photonics.noise.model import Noise
from hybridlit.photonics.noise.program import program_for
from hybridlit.photonics.noise.simulation import behind_photons
from hybridlit.photonics.noise.values import NoiseValues

LOSS = Noise(transmittance=0.7)
SOME = Noise(transmittance=0.7, indistinguishability=0.9)


@pytest.mark.parametrize(
    "noise",
    [
        Noise(),
        SOME,
        Noise(indistinguishability=0),
        Noise(g2=0.1, g2_distinguishable=False),
        Noise(0.8, 1, 0.9, 0.1, g2_distinguishable=False),
    ],
)
@pytest.mark.parametrize("photons", [(0,), (0, 1, 2), (0, 0, 2, 3), (0, 1, 1, 1)])
def test_multisets_are_counted_before_they_are_made(noise, photons):
    program = program_for(noise, photons, 5, ComputationSpace.FOCK)
    sizes = Counter(len(alike) for alike in program.amplitudes)
    counted = plans._multisets(photons, [c for c, _ in program.options])
    assert counted == [sizes[number] for number in range(max(sizes) + 1)]


def test_hopeless_sources_are_refused_at_once():
    with pytest.raises(MemoryError, match="20 photons that are partly alike in 40 modes"):
        program_for(SOME, tuple(range(20)), 40, ComputationSpace.UNBUNCHED)
    program_for(Noise(), tuple(range(20)), 40, ComputationSpace.UNBUNCHED)  # all alike: one of them


def test_light_that_does_not_fit(monkeypatch):
    program = program_for(LOSS, (0, 1, 2), 6, ComputationSpace.FOCK)
    monkeypatch.setattr(sizes, "available_memory", lambda: 10**6)
    found = torch.rand(10**5, 56)
    with pytest.raises(MemoryError, match=r"a batch of 100000 needs about .* free; use a batch of"):
        sizes.require_light_memory(program, len(found), found)
    sizes.require_light_memory(program, 10, found)
    monkeypatch.setattr("hybridlit.photonics.noise.simulation._LARGE", 10)
    with pytest.raises(MemoryError, match="84 states, 0 to 3 photons in 6 modes"):
        behind_photons(found, program, NoiseValues(LOSS), Experiment("series", 6, 3).outcomes)


@pytest.mark.parametrize(
    ("noise", "advice"),
    [
        (LOSS, "fewer photons"),
        (SOME, "fewer photons, or an indistinguishability of 1 or 0"),
        (Noise(g2=0.1), "fewer photons, or no g2"),
        (Noise(0.8, 1, 0.9, 0.1), "fewer photons, or no g2, or an indistinguishability of 1 or 0"),
    ],
    ids=str,
)
def test_advice_is_of_what_there_is(noise, advice, monkeypatch):
    program = program_for(noise, (0, 1, 2), 6, ComputationSpace.FOCK)
    monkeypatch.setattr(sizes, "available_memory", lambda: 1)
    with pytest.raises(MemoryError, match=f"free; use {advice}$"):
        sizes.require_light_memory(program, 10**6, torch.zeros(1))


LIGHTS = [
    (LOSS, 8, 4),
    (SOME, 8, 4),
    (Noise(indistinguishability=0), 8, 4),
    (Noise(g2=0.1), 12, 2),
    (Noise(g2=0.1, g2_distinguishable=False), 6, 3),
    (Noise(0.8, 0.5, 0.9, 0.1), 3, 3),
]


@pytest.mark.parametrize("noise,modes,photons", LIGHTS)
def test_torch_operations_take_about_as_much_as_estimated(noise, modes, photons):
    """All that is held at a time in a step, counted on a device that computes nothing."""
    program = program_for(noise, tuple(range(photons)), modes, ComputationSpace.FOCK)
    batch, given = 256, {"device": "meta", "requires_grad": True}
    weights = torch.empty(program.weights, **given)
    shape = (modes, photons, batch)
    if program.ideal_source:
        shape = (batch, FockSpace(modes, photons).size)
    source = torch.empty(shape, **given, dtype=None if len(shape) == 2 else torch.complex64)
    compute = light_of_photons if program.ideal_source else light_of_columns
    with CountedOperations() as counted:
        light = compute(source, weights, program)
        light.backward(torch.empty_like(light))
    estimated = sizes.light_bytes(program, batch, torch.float32, "torch")
    assert counted.peak / 1.5 < estimated < 2 * counted.peak


@pytest.mark.slow
def test_estimates_grow_with_what_has_to_be_done():
    circuits = [
        Experiment("series", 6, 3, noise=noise)
        for noise in (None, LOSS, SOME, Noise(1, 0.7, 0.9, 0.02))
    ]
    costs = [estimate(circuit, 5, 64) for circuit in circuits]
    for less, more in pairwise(costs):
        assert less.multiply_adds < more.multiply_adds
        assert less.seconds < more.seconds
    none, lost, mixed, more = (cost.peak_bytes for cost in costs)
    assert none < min(lost, mixed) and max(lost, mixed) < more
    assert [cost.states for cost in costs] == [56, 84, 84, 924]
    elsewhere = estimate(circuits[2], 5, 64, device="cuda", calibrate=False)
    assert elsewhere.kernel == "torch" and elsewhere.peak_bytes > costs[2].peak_bytes


def test_modes_that_lose_photons_on_their_own_take_more():
    alone, each = (
        estimate(Experiment("series", 6, 3, noise=noise), 5, 64, calibrate=False)
        for noise in (Noise(transmittance=0.7), Noise(transmittance=[0.7] * 6))
    )
    assert each.peak_bytes > alone.peak_bytes
