import math
import subprocess
import sys
import threading
from unittest import mock

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
from hybridlit.photonics.circuit.lowered import Lowered
from hybridlit.photonics.kernels import compiled
from hybridlit.photonics.kernels.choice import chosen_kernel, kernel_for
from hybridlit.photonics.kernels.compiled import calls, threads
from hybridlit.photonics.outcomes import Outcomes
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
        outcomes = Outcomes(FockSpace(modes, len(occupied), space))
        circuit = Lowered(phases, data, tuple(occupied))
        result, kept = probabilities(circuit, outcomes, **options)
        weights = torch.rand(result.shape, dtype=torch.float64).to(dtype)
        loss = (result * weights).sum()
        if kept is not None:
            loss = loss + kept.square().sum()
        loss.backward()
    return result.detach(), kept, phases.grad, data.grad


@pytest.mark.parametrize("seed", range(100))
def test_compiled_kernel_is_the_reference(seed):
    compiled, reference = simulate("compiled", seed), simulate("torch", seed)
    for ours, theirs in zip(compiled, reference, strict=True):
        if theirs is not None:
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


@pytest.mark.parametrize("seed", range(15))
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


@pytest.mark.parametrize("library", [True, False], ids=["of torch", "of Python"])
@pytest.mark.parametrize("recompute", [True, False], ids=["recomputed", "kept"])
def test_any_number_of_threads_gives_the_same(monkeypatch, library, recompute):
    """To the last digit."""
    if not library:
        monkeypatch.setattr(threads, "_parallel_regions", lambda: None)
    layer = QuantumLayer(
        7, experiment=Experiment("series", 8, 4), output_mapping_strategy="none",
        recompute=recompute,
    ).double()  # fmt: skip
    rows = 2003  # fewer are not worth a third thread
    x = torch.rand(rows, 7, dtype=torch.float64, requires_grad=True)
    weights = torch.rand(rows, 330, dtype=torch.float64)
    before = torch.get_num_threads()
    found = []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            output = layer(x)
            with mock.patch.object(threads, "together", wraps=threads.together) as shared:
                monkeypatch.setattr(calls, "together", shared)
                grads = torch.autograd.grad(output, (x, layer.phases), weights)
            assert shared.call_count == (count > 1)
            found.append([output, *grads])
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        for first, second in zip(found[0], other, strict=True):
            assert torch.equal(first, second)


FORKED = """
import os, sys, torch
from hybridlit.photonics import Experiment, QuantumLayer
torch.set_num_threads(2)
layer = QuantumLayer(7, experiment=Experiment("series", 8, 4), output_mapping_strategy="none")
x = torch.rand(1024, 7)
expected = layer(x).detach()  # on the threads of torch, which a child does not have
child = os.fork()
if child == 0:
    same = [torch.equal(layer(x), expected)]
    torch.set_num_threads(2)
    same.append((layer(x).detach().numpy() == expected.numpy()).all())
    os._exit(0 if all(same) else 3)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert torch.equal(layer(x), expected)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux only")
def test_threads_after_a_fork():
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORKED], check=True, timeout=120)


@pytest.mark.parametrize("count", [1, 2])
def test_python_threads_share_the_kernel(count, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: count)
    monkeypatch.setattr(threads, "THREAD_WORK", 1)
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


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("kind", ["meshes", "matrices", "stack"])
def test_the_gradient_of_no_rows_is_zero(kind, count, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: count)
    experiment = Experiment("series", 4, 2)
    layer = QuantumLayer(2, 3, experiment=experiment)
    if kind == "matrices":
        layer.set_unitary(0, torch.eye(4) + 0j)
    if kind == "stack":
        layer = QuantumLayerStack(2, 2, 3, experiment=experiment)
    x = torch.rand(0, 2, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad.shape == x.shape
    assert not any(parameter.grad.any() for parameter in layer.parameters())


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


def permuted(tensor):
    """The same numbers, the first dimension innermost in memory."""
    return tensor.movedim(0, -1).contiguous().movedim(-1, 0)


def marked_conjugate(tensor):
    """The same numbers, their memory holds the conjugates."""
    return tensor.conj().resolve_conj().conj()


@pytest.mark.slow
@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
@pytest.mark.parametrize("layout", [lambda x: x, permuted, marked_conjugate])
@pytest.mark.parametrize("kernel", ["auto", "compiled", "torch"])
@pytest.mark.parametrize("space,states", [("fock", 10), ("unbunched", 6)])
def test_operators_of_amplitudes_are_well_formed(space, states, kernel, layout, precision):
    dtype = precision.to_complex()
    columns, grad = layout(torch.randn(4, 2, 3, dtype=dtype)), torch.randn(3, states, dtype=dtype)
    operators = torch.ops.hybridlit
    settings = [0, 2], space, kernel
    well_formed(operators.fock_amplitudes, columns.clone().requires_grad_(), *settings)
    well_formed(operators.fock_amplitudes, columns, *settings)
    well_formed(operators.fock_amplitudes_backward, columns, layout(grad), *settings)


@pytest.mark.slow
@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
@pytest.mark.parametrize("layout", [lambda x: x, permuted])
@pytest.mark.parametrize("stack", [(), (2,)])
@pytest.mark.parametrize("space,states", [("fock", 10), ("unbunched", 6)])
def test_operators_of_probabilities_are_well_formed(space, states, stack, layout, precision):
    phases, data, grad, grad_kept = (
        layout(torch.rand(*stack, *shape, dtype=precision))
        for shape in [(2, 6, 2), (1, 4, 3), (3, states), (3,)]
    )
    operators = torch.ops.hybridlit
    leaves = phases.clone().requires_grad_(), data.clone().requires_grad_()
    well_formed(operators.probabilities, *leaves, [0, 2], space)
    well_formed(operators.probabilities_backward, phases, data, grad, grad_kept, [0, 2], space)


def well_formed(operator, *arguments):
    torch.library.opcheck(
        operator.default,
        arguments,
        test_utils=(
            "test_schema",
            "test_autograd_registration",
            "test_faketensor",
            "test_aot_dispatch_dynamic",
        ),
    )


@pytest.mark.parametrize("mapping", ["none", "mode_expectations"])
def test_a_gradient_whose_sign_is_only_marked(mapping):
    layer = QuantumLayer(
        3, experiment=Experiment("series", 4, 2), output_mapping_strategy=mapping
    ).double()
    x = torch.rand(5, 3, dtype=torch.float64)
    marked = torch.randn(5, layer.output_size, dtype=torch.complex128).conj().imag
    assert marked.is_neg()
    found = [
        torch.autograd.grad(layer(x), layer.phases, grad)[0] for grad in (marked, marked.clone())
    ]
    torch.testing.assert_close(*found, rtol=0, atol=0)


def test_a_choice_of_kernel_belongs_to_its_thread():
    """Blocks that overlap in time and end in another order than they began."""
    names = ["torch", "compiled", "auto", "torch"]
    entered, left = threading.Barrier(5), [threading.Event() for _ in names]
    seen = {}

    def work(index):
        before = chosen_kernel()
        with use_kernel(names[index]):
            entered.wait(timeout=300)
            seen[index] = before, chosen_kernel()
            if index:
                left[index - 1].wait(timeout=300)
        left[index].set()

    workers = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for worker in workers:
        worker.start()
    entered.wait(timeout=300)
    assert chosen_kernel() == "auto"
    for worker in workers:
        worker.join()
    assert chosen_kernel() == "auto"
    assert seen == {index: ("auto", name) for index, name in enumerate(names)}


def test_choices_nest_and_end_with_errors():
    with use_kernel("torch"):
        with pytest.raises(KeyError), use_kernel("compiled"):
            raise KeyError
        assert chosen_kernel() == "torch"
    assert chosen_kernel() == "auto"


class Chosen(torch.utils.data.Dataset):
    def __len__(self):
        return 1

    def __getitem__(self, index):
        return chosen_kernel()


@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux only")
def test_forked_workers_begin_with_the_choice():
    loader = torch.utils.data.DataLoader(Chosen(), num_workers=1, multiprocessing_context="fork")
    with use_kernel("torch"):
        assert next(iter(loader)) == ["torch"]


@pytest.mark.slow
@pytest.mark.parametrize("compile_", [False, True])
def test_a_backward_pass_takes_the_kernel_of_its_forward_pass(monkeypatch, compile_):
    """Also after the choice has ended, and in another thread."""

    def never(*arguments):
        raise AssertionError("the compiled kernel")

    layer = QuantumLayer(3, 4, experiment=Experiment("series", 4, 2)).double()
    x = torch.rand(5, 3, dtype=torch.float64)
    expected = torch.autograd.grad(layer(x).square().sum(), layer.phases)[0]
    run = torch.compile(layer, backend="aot_eager", fullgraph=True) if compile_ else layer
    for name in ("amplitudes_backward", "probabilities_backward", "unitaries_backward"):
        monkeypatch.setattr(compiled, name, never)
    found = []
    for start in (lambda work: work(), in_a_thread):
        with use_kernel("torch"):
            loss = run(x).square().sum()
        start(lambda loss=loss: found.append(torch.autograd.grad(loss, layer.phases)[0]))
    assert len(found) == 2
    for got in found:
        torch.testing.assert_close(got, expected)


def in_a_thread(work):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


@pytest.mark.parametrize("dtype,most", [(torch.float32, 33), (torch.float64, 150)])
def test_the_compiled_kernel_serves_up_to_its_most_photons_and_no_further(dtype, most):
    """All photons into one port of a beam splitter: a binomial distribution."""
    like = torch.zeros(1, dtype=dtype)
    assert kernel_for(FockSpace(2, most), like) == "compiled"
    assert kernel_for(FockSpace(2, most + 1), like) == "torch"
    splitter = torch.tensor([[1, 1j], [1j, 1]], dtype=dtype.to_complex()) / 2**0.5
    with use_kernel("compiled"):
        got = amplitudes(splitter, (most, 0)).abs().square()
        with pytest.raises(ValueError, match=f"beyond {most} photons"):
            amplitudes(splitter, (most + 1, 0))
    expected = [math.comb(most, k) / 2**most for k in range(most + 1)]
    tolerance = 2 * most * torch.finfo(dtype).eps
    np.testing.assert_allclose(got.numpy(), expected, rtol=tolerance, atol=1e-30)


def test_graphs_of_0_1_0_bring_phases_of_any_size():
    """Their operators get phases with all whole turns, which today's layers take off before."""
    phases = torch.rand(2, 6, 2, dtype=torch.float64, requires_grad=True)
    data = 6 * torch.rand(1, 4, 5, dtype=torch.float64)
    weights = torch.rand(5, 10, dtype=torch.float64)
    operator = torch.ops.hybridlit.probabilities

    def found(data):
        data = data.clone().requires_grad_()
        outputs = operator(phases, data, [0, 2], "fock")[0]
        return [outputs, *torch.autograd.grad((outputs * weights).sum(), (phases, data))]

    for turned, plain in zip(found(data + 20 * torch.pi), found(data), strict=True):
        torch.testing.assert_close(turned, plain, rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match="x and the phases must be finite"):
        operator(phases, data * torch.inf, [0, 2], "fock")
