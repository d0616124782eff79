import threading

import numpy as np
import pytest
import torch
from permanents import all_amplitudes

from hybridlit.photonics import (
    Experiment,
    FockSpace,
    QuantumLayer,
    QuantumLayerStack,
    amplitudes,
    use_kernel,
)
from hybridlit.photonics.kernels.choice import kernel_for
from hybridlit.photonics.simulation import probabilities


def random_circuit(seed):
    """Modes, input state, space, number of data columns, circuits and batch size."""
    g = np.random.default_rng(seed)
    modes = int(g.integers(2, 8))
    space = "unbunched" if g.random() < 0.4 else "fock"
    photons = int(g.integers(1, min(modes, 5) if space == "unbunched" else 6))
    occupied = sorted(g.integers(0, modes, size=photons).tolist())
    if space == "unbunched":
        occupied = sorted(g.choice(modes, size=photons, replace=False).tolist())
    return (
        modes,
        occupied,
        space,
        int(g.integers(1, 5)),
        int(g.integers(1, 4)),
        int(g.integers(1, 40)),
    )


def simulate(kernel, seed, dtype=torch.float64, **options):
    modes, occupied, space, columns, circuits, batch = random_circuit(seed)
    torch.manual_seed(seed)
    cells = modes * (modes - 1) // 2
    phases = (6 * torch.rand(circuits, columns + 1, cells, 2, dtype=torch.float64)).to(dtype)
    data = (6 * torch.rand(circuits, columns, modes, batch, dtype=torch.float64)).to(dtype)
    phases.requires_grad_(), data.requires_grad_()
    with use_kernel(kernel):
        outcomes = FockSpace(modes, len(occupied), space)
        result, kept = probabilities(phases, data, occupied, outcomes, **options)
        weights = torch.rand(result.shape, dtype=torch.float64).to(dtype)
        loss = (result * weights).sum()
        if kept is not None:
            loss = loss + kept.square().sum()
        loss.backward()
    return result.detach(), kept, phases.grad, data.grad


@pytest.mark.parametrize("seed", range(200))
def test_compiled_kernel_is_the_reference(seed):
    compiled, reference = simulate("compiled", seed), simulate("torch", seed)
    for ours, theirs in zip(compiled, reference, strict=True):
        if theirs is not None:
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


@pytest.mark.parametrize("seed", range(30))
def test_float32_is_close_to_float64(seed):
    single, double = simulate("compiled", seed, torch.float32), simulate("compiled", seed)
    torch.testing.assert_close(single[0].double(), double[0], rtol=0, atol=2e-5)
    for ours, theirs in zip(single[2:], double[2:], strict=True):
        bound = 1e-3 * max(1.0, theirs.abs().max().item())
        torch.testing.assert_close(ours.double(), theirs, rtol=0, atol=bound)


@pytest.mark.parametrize("seed", range(20))
def test_recomputing_changes_nothing(seed):
    kept = simulate("compiled", seed, recompute=False)
    again = simulate("compiled", seed, recompute=True)
    for first, second in zip(kept, again, strict=True):
        if first is not None:
            torch.testing.assert_close(first, second, rtol=0, atol=1e-13)


@pytest.mark.parametrize("state,space", [((1, 0, 2), "fock"), ((1, 1, 0, 1, 0), "unbunched")])
@pytest.mark.parametrize("batch", [1, 7, 16, 33])
def test_compiled_amplitudes_are_permanents(state, space, batch, generator):
    modes = len(state)
    matrix = generator.normal(size=(batch, modes, modes, 2)) @ [1, 1j]
    expected = np.stack([all_amplitudes(u, state, space == "unbunched") for u in matrix])
    with use_kernel("compiled"):
        got = amplitudes(torch.tensor(matrix), state, space=space)
    np.testing.assert_allclose(got, expected, atol=1e-12)


def test_the_gradient_layouts_a_consumer_may_produce():
    layer = QuantumLayer(
        3, experiment=Experiment("series", 5, 3), output_mapping_strategy="none"
    ).double()
    x = torch.rand(20, 3, dtype=torch.float64)
    weights = torch.rand(20, 35, dtype=torch.float64)

    def gradient(loss):
        (found,) = torch.autograd.grad(loss(layer(x)), layer.phases)
        return found

    contiguous = gradient(lambda p: (p * weights).sum())
    transposed = gradient(lambda p: (p.T.contiguous() * weights.T).sum())
    torch.testing.assert_close(contiguous, transposed, rtol=0, atol=1e-13)
    expanded = gradient(lambda p: p[:, 3].sum() + p[:, 3:].sum())
    selected = torch.zeros_like(weights)
    selected[:, 3:] = 1
    selected[:, 3] += 1
    torch.testing.assert_close(
        expanded, gradient(lambda p: (p * selected).sum()), rtol=0, atol=1e-13
    )
    torch.testing.assert_close(
        gradient(lambda p: p.sum()), torch.zeros_like(contiguous), rtol=0, atol=1e-12
    )


def test_several_torch_threads_give_the_same():
    layer = QuantumLayer(
        7, experiment=Experiment("series", 8, 4), output_mapping_strategy="none"
    ).double()
    rows = 3000  # fewer are not worth a second thread
    x = torch.rand(rows, 7, dtype=torch.float64, requires_grad=True)
    weights = torch.rand(rows, 330, dtype=torch.float64)
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            output = layer(x)
            loss = (output * weights).sum()
            found.append([output, *torch.autograd.grad(loss, (x, layer.phases))])
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        for first, second in zip(found[0], other, strict=True):
            torch.testing.assert_close(first, second, rtol=0, atol=1e-12)


def test_python_threads_share_the_kernel():
    layer = QuantumLayer(4, 6, experiment=Experiment("series", 6, 3)).double()
    inputs = [torch.rand(50, 4, dtype=torch.float64) for _ in range(8)]
    expected = [layer(x).detach() for x in inputs]
    results = [None] * 8

    def work(index):
        for _ in range(20):
            results[index] = layer(inputs[index]).detach()

    workers = [threading.Thread(target=work, args=(index,)) for index in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for got, wanted in zip(results, expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=0, atol=0)


def test_choice_is_visible_and_can_be_forced():
    space, cpu = FockSpace(4, 2), torch.zeros(1)
    assert kernel_for(space, cpu) == "compiled"
    with use_kernel("torch"):
        assert kernel_for(space, cpu) == "torch"
    many = FockSpace(2, 40)
    assert kernel_for(many, cpu) == "torch"
    assert kernel_for(many, cpu.double()) == "compiled"
    assert kernel_for(space, torch.zeros(1, device="meta")) == "torch"
    with use_kernel("compiled"), pytest.raises(ValueError, match="overflows beyond 33 photons"):
        kernel_for(many, cpu)
    with pytest.raises(ValueError, match="kernel must be one of"), use_kernel("cuda"):
        pass


@pytest.mark.parametrize("space", ["fock", "unbunched"])
@pytest.mark.parametrize("stacked", [False, True])
def test_functional_transforms_agree_with_torch_operations(space, stacked):
    """Ensembles, gradients of each sample, and second derivatives through torch.func."""
    experiment = Experiment("series", 4, 2, computation_space=space)
    if stacked:
        layer = QuantumLayerStack(2, 3, 5, experiment=experiment).double()
    else:
        layer = QuantumLayer(3, 5, experiment=experiment).double()
    x = torch.rand(6, 3, dtype=torch.float64)
    ensemble = layer.phases.detach() + torch.randn(4, *layer.phases.shape, dtype=torch.float64)

    def loss(phases, x):
        return torch.func.functional_call(layer, {"phases": phases}, x).pow(3).sum()

    def everything():
        own = layer.phases.detach()
        return {
            "ensemble": torch.func.vmap(loss, (0, None))(ensemble, x),
            "last": torch.func.vmap(loss, (-1, None))(ensemble.movedim(0, -1), x),
            "both": torch.func.vmap(loss)(ensemble, x[:4, None]),
            "each sample": torch.func.vmap(torch.func.grad(loss), (None, 0))(own, x),
            "each member": torch.func.vmap(torch.func.grad(loss), (0, None))(ensemble, x),
            "jacobian": torch.func.jacrev(loss, argnums=1)(own, x),
            "second": torch.func.jacrev(torch.func.jacrev(loss, 1), 1)(own, x[:2]),
        }

    with use_kernel("compiled"):
        ours = everything()
    with use_kernel("torch"):
        theirs = everything()
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], rtol=1e-9, atol=1e-10, msg=name)


def test_operators_are_well_formed():
    phases = torch.rand(2, 6, 2, dtype=torch.float64, requires_grad=True)
    data = torch.rand(1, 4, 3, dtype=torch.float64, requires_grad=True)
    for space in ("fock", "unbunched"):
        torch.library.opcheck(
            torch.ops.hybridlit.probabilities.default,
            (phases, data, [0, 2], space),
            test_utils=("test_schema", "test_autograd_registration", "test_faketensor"),
        )
