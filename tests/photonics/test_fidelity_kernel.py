"""The fidelity kernel: order of operators, Gram matrices, gradients, scikit-learn."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from permanents import amplitude

from hybridlit.photonics import (
    DistinguishableLayer,
    Experiment,
    FidelityKernel,
    QuantumLayer,
    fidelity_kernel,
)


def layer(kind="series", dtype=torch.float64, features=3, **options):
    experiment = Experiment(kind, **{"n_modes": 4, "n_photons": 2, **options})
    return QuantumLayer(features, 1, experiment=experiment, dtype=dtype)


def rows(number, features=3):
    return torch.rand(number, features, dtype=torch.float64)


@pytest.mark.parametrize("kind", ["series", "parallel_columns"])
def test_what_stands_in_front_of_the_data_matters_and_what_stands_behind_does_not(kind):
    one = layer(kind)
    kernel, x = FidelityKernel(one), rows(4)
    unitaries, state = one.unitary(x).detach().numpy(), one.input_state
    expected = [
        [abs(amplitude(second.conj().T @ first, state, state)) ** 2 for second in unitaries]
        for first in unitaries
    ]
    found = kernel(x)
    torch.testing.assert_close(found, torch.tensor(expected), atol=1e-13, rtol=0)
    with torch.no_grad():
        one.phases[-1] = torch.rand_like(one.phases[-1])
        torch.testing.assert_close(kernel(x), found)
        one.phases[0] = torch.rand_like(one.phases[0])
        assert (kernel(x) - found).abs().max() > 0.01


def test_two_modes_in_closed_form():
    """Between two 50:50 splitters a phase turns |1,0>: the fidelity is cos^2 of half of it."""
    one = layer(features=1, n_modes=2, n_photons=1)
    with torch.no_grad():
        one.phases.fill_(math.pi / 2)  # cells of reflectance 1/2
    x = torch.linspace(0, 1, 5, dtype=torch.float64)[:, None]
    expected = torch.cos(math.pi * (x - x.mT) / 2).square()
    torch.testing.assert_close(FidelityKernel(one)(x), expected, atol=1e-14, rtol=0)


def test_gram_matrices_are_what_they_should_be():
    kernel, x, others = FidelityKernel(layer()), rows(20), rows(5)
    gram = kernel(x)
    torch.testing.assert_close(gram.diagonal(), torch.ones(20, dtype=torch.float64))
    torch.testing.assert_close(gram, gram.mT, atol=1e-15, rtol=0)
    assert torch.linalg.eigvalsh(gram).min() > -1e-13
    torch.testing.assert_close(kernel(x, others), kernel(torch.cat([x, others]))[:20, 20:])
    torch.testing.assert_close(kernel(others, x), kernel(x, others).mT)
    assert kernel(x[:0]).shape == (0, 0)
    assert kernel(x[:0], others).shape == (0, 5)


@pytest.mark.parametrize(
    "options",
    [
        {"computation_space": "unbunched"},
        {"n_photons": None, "input_state": {(1, 0, 1, 0): 1, (0, 1, 0, 1): 1j}},
    ],
)
def test_post_selected_and_superposed_states_have_fidelity_one_with_themselves(options):
    one, x = layer(**options), rows(6)
    gram = FidelityKernel(one)(x)
    overlaps = one.amplitudes(x).conj() @ one.amplitudes(x).mT
    torch.testing.assert_close(gram, overlaps.abs().square())
    torch.testing.assert_close(gram.diagonal(), torch.ones(6, dtype=torch.float64))
    assert torch.linalg.eigvalsh(gram).min() > -1e-13


def test_each_row_is_simulated_once(monkeypatch):
    kernel, x = FidelityKernel(layer()), rows(7)
    seen = []
    original = kernel.layer.amplitudes
    monkeypatch.setattr(kernel.layer, "amplitudes", lambda x: seen.append(len(x)) or original(x))
    kernel(x)
    kernel(x, x)
    array = x.numpy()
    kernel(array, array)
    assert seen == [7, 7, 7]


@pytest.mark.parametrize("parts", [False, True])
def test_gradients(parts, monkeypatch):
    if parts:
        monkeypatch.setattr(fidelity_kernel, "_MOST_NUMBERS", 3)
    kernel = FidelityKernel(layer(features=2, n_modes=3))
    phases = kernel.layer.phases.detach().clone().requires_grad_()
    x, others = rows(3, 2).requires_grad_(), rows(2, 2).requires_grad_()

    def gram(phases, *samples):
        return torch.func.functional_call(kernel, {"layer.phases": phases}, samples)

    assert torch.autograd.gradcheck(gram, (phases, x, others))
    assert torch.autograd.gradcheck(gram, (phases, x))
    with torch.no_grad():
        torch.testing.assert_close(kernel(x), gram(phases, x))


def test_perceval_gives_the_same():
    pcvl = pytest.importorskip("perceval")
    one = layer(n_modes=6, n_photons=3)
    x = rows(3)
    gram = FidelityKernel(one)(x)
    unitaries = one.unitary(x).detach().numpy()
    state = pcvl.BasicState(list(one.input_state))
    for i, first in enumerate(unitaries):
        for j, second in enumerate(unitaries):
            backend = pcvl.NaiveBackend()
            backend.set_circuit(pcvl.Unitary(pcvl.Matrix(second.conj().T @ first)))
            backend.set_input_state(state)
            assert abs(backend.probability(state) - gram[i, j].item()) < 1e-12


def test_scikit_learn_calls_it():
    svm = pytest.importorskip("sklearn.svm")
    base = pytest.importorskip("sklearn.base")
    kernel = FidelityKernel(layer(features=2, dtype=torch.float32))
    generator = np.random.default_rng(0)
    x = generator.random((60, 2))
    y = (x[:, 0] + x[:, 1] > 1).astype(int)
    classifier = base.clone(svm.SVC(kernel=kernel, C=10)).fit(x[:40], y[:40])
    assert classifier.score(x[40:], y[40:]) > 0.85
    gram = kernel(x[:3], x[:4])
    assert isinstance(gram, np.ndarray)
    assert gram.dtype == np.float64
    tensors = torch.tensor(x[:4], dtype=torch.float32)
    np.testing.assert_allclose(gram, kernel(tensors[:3], tensors).detach().numpy(), atol=1e-6)


def test_what_is_no_kernel_is_refused():
    with pytest.raises(TypeError, match="DistinguishableLayer"):
        FidelityKernel(DistinguishableLayer.from_layer(layer()))
    with pytest.raises(ValueError, match="must have features"):
        FidelityKernel(layer(features=0))
    kernel = FidelityKernel(layer(dtype=torch.float32))
    with pytest.raises(ValueError, match=r"first must have shape \(rows, 3\)"):
        kernel(torch.rand(3))
    with pytest.raises(ValueError, match=r"second must have shape \(rows, 3\)"):
        kernel(torch.rand(3, 3), torch.rand(3))
    with pytest.raises(TypeError, match="real numbers"):
        kernel(np.array([["a", "b", "c"]]))
    with pytest.raises(TypeError, match="float64 for a float32 layer"):
        kernel(torch.rand(3, 3, dtype=torch.float64))
    assert kernel(torch.rand(3, 3)).dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert kernel(torch.rand(3, 3)).dtype == torch.float32


MEASURE = """
import ctypes
ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # no huge pages, which count where a few bytes are used
import torch
from pathlib import Path
from hybridlit.photonics import FidelityKernel, QuantumLayer

kernel = FidelityKernel(QuantumLayer(9, 1, n_modes=10, n_photons=5))

def resident(what):
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(what)))

with torch.no_grad():
    kernel(torch.rand(20, 9))
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    kernel(torch.rand(1000, 9))
print(resident("VmHWM") - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_thousand_rows_take_their_amplitudes_and_one_gram_matrix():
    run = subprocess.run(
        [sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True
    )
    amplitudes, gram = 1000 * 2002 * 8, 1000 * 1000 * 4
    assert int(run.stdout) < amplitudes + gram + 12 * 2**20  # for any number of rows
