"""The compiled kernel of noisy light is what torch operations compute."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from hybridlit.photonics import Experiment, QuantumLayer, QuantumLayerStack, use_kernel
from hybridlit.photonics.fock import ComputationSpace
from hybridlit.photonics.kernels.compiled import threads
from hybridlit.photonics.noise.compiled import light_of_columns, light_of_photons, light_refuses
from hybridlit.photonics.noise.model import Noise
from hybridlit.photonics.noise.program import program_for
from hybridlit.photonics.noise.steps import table_for

SOURCES = {
    "partly alike": Noise(indistinguishability=0.8),
    "none alike": Noise(indistinguishability=0),
    "loss": Noise(transmittance=0.7, indistinguishability=0.8),
    "loss, none alike": Noise(transmittance=0.7, indistinguishability=0),
    "seconds": Noise(g2=0.1),
    "seconds alike": Noise(g2=0.1, g2_distinguishable=False),
    "seconds and loss": Noise(g2=0.1, transmittance=0.6, indistinguishability=0.9),
    "dim": Noise(g2=0.1, brightness=0.8, indistinguishability=0.9),
    "all": Noise(0.8, 0.5, 0.9, 0.1, g2_distinguishable=False),
    "by mode": Noise(transmittance=[0.9, 0.8, 0.7, 0.6], g2=0.1, indistinguishability=0.7),
}
PHOTONS = [(2,), (0, 2), (1, 1), (0, 1, 3), (0, 0, 2)]


def columns_for(program, batch, dtype=torch.complex128, seed=0):
    """Columns of random unitaries, shape (modes, inputs, batch)."""
    generator = torch.Generator().manual_seed(seed)
    modes = program.modes
    matrices = torch.randn(batch, modes, modes, dtype=torch.complex128, generator=generator)
    unitaries = torch.linalg.qr(matrices)[0] if batch else matrices
    columns = unitaries[:, :, list(program.inputs)].movedim(0, -1)
    return columns.to(dtype).contiguous().requires_grad_()


def weights_for(program, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    weights = torch.rand(program.weights, dtype=torch.float64, generator=generator)
    return weights.to(dtype).requires_grad_()


def computed(kernel, program, columns, weights):
    """Light and gradients."""
    with use_kernel(kernel):
        light = light_of_columns(columns, weights, program)
    slopes = torch.rand(
        light.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2)
    )
    loss = (light * slopes.to(light.dtype)).sum()
    return light.detach(), *torch.autograd.grad(loss, [columns, weights])


@pytest.mark.parametrize("space", list(ComputationSpace), ids=lambda space: space.value)
@pytest.mark.parametrize("source", SOURCES)
def test_it_is_the_reference(source, space):
    for photons in PHOTONS:
        program = program_for(SOURCES[source], photons, 4, space)
        for batch in (0, 1, 19):
            given = columns_for(program, batch), weights_for(program)
            both = [computed(kernel, program, *given) for kernel in ("compiled", "torch")]
            for ours, theirs in zip(*both, strict=True):
                torch.testing.assert_close(ours, theirs, rtol=1e-13, atol=1e-13)


def test_single_precision_is_close_to_double():
    """To some ten roundings of the largest probability or slope: nothing cancels behind squares."""
    for source in SOURCES.values():
        program = program_for(source, (0, 1, 2), 4, ComputationSpace.FOCK)
        single = computed(
            "compiled", program, columns_for(program, 21, torch.complex64),
            weights_for(program, torch.float32),
        )  # fmt: skip
        double = computed("compiled", program, columns_for(program, 21), weights_for(program))
        for ours, theirs in zip(single, double, strict=True):
            bound = 10 * torch.finfo(torch.float32).eps * max(1.0, theirs.abs().max().item())
            torch.testing.assert_close(ours.to(theirs), theirs, rtol=0, atol=bound)


@pytest.mark.parametrize("source", ["loss", pytest.param("all", marks=pytest.mark.slow)])
def test_gradients(source):
    for space in ComputationSpace:
        program = program_for(SOURCES[source], (0, 1), 3, space)
        given = columns_for(program, 2), weights_for(program)
        with use_kernel("compiled"):
            assert gradcheck(lambda *both: light_of_columns(*both, program), given)  # noqa: B023
    with use_kernel("compiled"):
        assert gradgradcheck(lambda *both: light_of_columns(*both, program), given)


def test_the_gradient_of_the_noise_alone():
    program = program_for(SOURCES["all"], (0, 2), 4, ComputationSpace.FOCK)
    columns, weights = columns_for(program, 5), weights_for(program)
    both = [
        torch.autograd.grad(light[:, 3].sum(), weights)[0]
        for light in (
            light_of_columns(columns.detach(), weights, program),
            light_of_columns(columns, weights, program),
        )
    ]
    torch.testing.assert_close(*both, rtol=0, atol=0)


@pytest.mark.parametrize("batch", [0, 1, 16, 37])
def test_photons_that_are_lost_behind_an_ideal_circuit(batch):
    program = program_for(Noise(transmittance=0.6), (0, 1, 1), 4, ComputationSpace.FOCK)
    generator = torch.Generator().manual_seed(0)
    found = torch.rand(20, batch, dtype=torch.float64, generator=generator).T.requires_grad_()
    weights = weights_for(program)
    results = []
    for kernel in ("compiled", "torch"):
        with use_kernel(kernel):
            light = light_of_photons(found, weights, program)
        assert light.shape == (batch, 35)
        loss = (light * torch.arange(35)).sum()
        results.append([light, *torch.autograd.grad(loss, [found, weights])])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-13, atol=1e-13)
    with use_kernel("compiled"):
        if batch == 1:
            assert gradcheck(lambda *both: light_of_photons(*both, program), (found, weights))


def test_any_number_of_threads_gives_the_same(monkeypatch):
    monkeypatch.setattr(threads, "THREAD_WORK", 1)
    program = program_for(SOURCES["all"], (0, 1, 2), 4, ComputationSpace.FOCK)
    given = columns_for(program, 67), weights_for(program)
    before, found = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found.append(computed("compiled", program, *given))
    finally:
        torch.set_num_threads(before)
    for others in found[1:]:
        for first, other in zip(found[0], others, strict=True):
            assert torch.equal(first, other)


def test_the_gradient_layouts_a_consumer_may_produce():
    program = program_for(SOURCES["loss"], (0, 1), 3, ComputationSpace.FOCK)
    columns, weights = columns_for(program, 20), weights_for(program)
    slopes = torch.rand(20, 10, dtype=torch.float64)

    def gradient(loss):
        return torch.autograd.grad(loss(light_of_columns(columns, weights, program)), columns)[0]

    plain = gradient(lambda light: (light * slopes).sum())
    transposed = gradient(lambda light: (light.T.contiguous() * slopes.T).sum())
    torch.testing.assert_close(plain, transposed, rtol=0, atol=1e-15)
    whole = gradient(lambda light: (light * torch.ones(20, 10, dtype=torch.float64)).sum())
    torch.testing.assert_close(gradient(lambda light: light.sum()), whole, rtol=0, atol=1e-15)
    negated = gradient(lambda light: (light * slopes).sum().neg())
    torch.testing.assert_close(negated, -plain, rtol=0, atol=0)


@pytest.mark.parametrize("source", ["loss", "all"])
@pytest.mark.parametrize("stacked", [False, True])
def test_layers_and_stacks(source, stacked):
    noise = SOURCES[source]
    experiment = Experiment("series", 4, 2, noise=noise)
    torch.manual_seed(0)
    make = (lambda *how, **more: QuantumLayerStack(2, *how, **more)) if stacked else QuantumLayer
    layer = make(3, experiment=experiment, output_mapping_strategy="none").double()
    layer.noise.learn("transmittance", "indistinguishability")
    x = torch.rand(2, 5, 3, dtype=torch.float64, requires_grad=True)
    wanted = [x, layer.phases, *layer.noise.parameters()]
    found = []
    for kernel in ("compiled", "torch"):
        with use_kernel(kernel):
            output = layer(x)
        loss = (output * torch.arange(output.shape[-1])).sum()
        found.append([output, *torch.autograd.grad(loss, wanted)])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_what_it_cannot_serve_is_left_to_torch_operations():
    program = program_for(Noise(indistinguishability=0), (0,) * 40, 2, ComputationSpace.FOCK)
    assert light_refuses(program, "cpu", torch.float64) is None
    assert "overflows" in light_refuses(program, "cpu", torch.float32)
    assert "CPU" in light_refuses(program, "cuda", torch.float64)
    columns = columns_for(program, 1, torch.complex64)
    weights = weights_for(program, torch.float32)
    light = light_of_columns(columns, weights, program)
    assert torch.isfinite(light).all()
    with use_kernel("compiled"), pytest.raises(ValueError, match="overflows beyond 33 photons"):
        light_of_columns(columns, weights, program)


def test_nothing_is_computed_that_does_not_come_out():
    from hybridlit.photonics.kernels.compiled import layout

    for source in SOURCES.values():
        for space in ComputationSpace:
            steps = table_for(program_for(source, (0, 1, 2), 4, space)).steps
            written = {layout.WRITE}
            made = {row[layout.TARGET] for row in steps if row[layout.STEP] not in written}
            used = {row[layout.SOURCE] for row in steps}
            assert made <= used
