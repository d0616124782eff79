"""Given interferometers are there exactly, in every circuit, and stay as they are if frozen."""

import copy
import io

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from permanents import haar

from hybridlit import (
    Circuit,
    DistinguishableLayer,
    Experiment,
    Interferometer,
    QuantumLayer,
    QuantumLayerStack,
    amplitudes,
)


def made(columns=2, count=None, dtype=torch.float64, mapping="none", **options):
    experiment = Experiment("parallel_columns", 4, **{"n_photons": 2} | options)
    kind, first = (QuantumLayer, ()) if count is None else (QuantumLayerStack, (count,))
    return kind(
        *first, columns, experiment=experiment, output_mapping_strategy=mapping, dtype=dtype
    )


def product(layer, unitaries, row):
    """The circuit as a product of matrices, from its encoding."""
    encoding = np.pi * layer.experiment.encoding_for(layer.input_size)
    total = unitaries[0]
    for column, unitary in zip(encoding, unitaries[1:], strict=True):
        total = unitary @ np.diag(np.exp(1j * column @ row)) @ total
    return total


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (2, 0, 1, 0)])
@pytest.mark.parametrize("trainable", [True, False])
def test_a_circuit_has_exactly_the_unitaries_that_it_is_given(order, trainable):
    draw = np.random.default_rng(0)
    layer, x = made(), torch.rand(5, 2, dtype=torch.float64)
    unitaries = layer.interferometers().detach().numpy()
    for index in order:
        unitaries[index] = haar(4, draw)
        layer.set_unitary(index, unitaries[index], trainable)
        found = layer.interferometers().detach().numpy()
        np.testing.assert_allclose(found, unitaries, rtol=0, atol=1e-13)
        expected = [product(layer, unitaries, row) for row in x.numpy()]
        np.testing.assert_allclose(layer.unitary(x).detach().numpy(), expected, rtol=0, atol=1e-13)
    exact = amplitudes(torch.from_numpy(np.array(expected)), layer.input_state).abs().square()
    torch.testing.assert_close(layer.probabilities(x).detach(), exact, rtol=0, atol=1e-13)


def special(draw):
    return {
        "identity": np.eye(4),
        "permutation": np.eye(4)[[2, 0, 3, 1]],
        "phases": np.diag(np.exp(1j * draw.random(4))),
    }


@pytest.mark.parametrize("index", [0, 1, 2])
@pytest.mark.parametrize("name", special(np.random.default_rng(0)))
def test_special_ones(name, index):
    layer, unitary = made(), special(np.random.default_rng(0))[name]
    layer.set_unitary(index, torch.tensor(unitary))
    found = layer.interferometers()[index].detach().numpy()
    np.testing.assert_allclose(found, unitary, rtol=0, atol=1e-14)


def trained(layer, steps=20):
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1, weight_decay=0.5)
    for _ in range(steps):
        optimizer.zero_grad()
        layer(torch.rand(4, layer.input_size, dtype=layer.phases.dtype)).square().sum().backward()
        optimizer.step()


@pytest.mark.parametrize("mapping", ["none", "mode_expectations"])
def test_frozen_ones_survive_optimizers_and_the_others_train(mapping):
    layer, unitary = made(mapping=mapping), haar(4, np.random.default_rng(0))
    layer.set_unitary(1, unitary, trainable=False)
    layer.set_unitary(2, unitary.T, trainable=True)
    layer(torch.rand(4, 2, dtype=torch.float64))[:, 0].sum().backward()
    assert layer.phases.grad[1].abs().max() == 0 and layer.phases.grad[0].abs().max() > 0
    before = layer.interferometers().detach()
    trained(layer)
    after = layer.interferometers().detach()
    # up to what the trained mesh before it carries, which commutes with the data
    torch.testing.assert_close(after[1], before[1], rtol=0, atol=0)
    assert (after[0] - before[0]).abs().max() > 1e-2 < (after[2] - before[2]).abs().max()
    layer.set_unitary(1, unitary.conj(), trainable=True)
    trained(layer)
    assert (layer.interferometers()[1].detach().numpy() - unitary.conj()).__abs__().max() > 1e-2


def test_of_no_data():
    experiment = Experiment("series", 3, 2)
    layer = QuantumLayer(0, experiment=experiment, output_mapping_strategy="none")
    with pytest.raises(ValueError, match="put FixedUnitary"):
        layer.set_unitary(0, np.eye(3))


@pytest.mark.parametrize("assign", [False, True])
def test_state_dicts_bring_them_and_take_them_away(assign):
    layer, plain = made(), made()
    old = plain.state_dict()
    assert [*old] == ["phases"]
    layer.set_unitary(1, haar(4, np.random.default_rng(0)), trainable=False)
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    x = torch.rand(4, 2, dtype=torch.float64)
    with torch.device("meta" if assign else "cpu"):
        fresh = made()
    fresh.load_state_dict(state, assign=assign)
    for same in (fresh, copy.deepcopy(layer), DistinguishableLayer.from_layer(layer)):
        assert torch.equal(same.unitary(x), layer.unitary(x))
        same.to(torch.float32).double()
        trained(same)
        assert same.frozen.tolist() == [False, True, False] and same.frozen.dtype == torch.bool
        torch.testing.assert_close(
            same.interferometers()[1], layer.interferometers()[1], rtol=0, atol=1e-6
        )
    assert "frozen=[1]" in repr(fresh) and "frozen" not in repr(plain)
    fresh.load_state_dict(old)
    assert torch.equal(fresh(x), plain(x)) and [*fresh.state_dict()] == ["phases"]


def test_stacks():
    draw = np.random.default_rng(0)
    stack, x = made(count=3), torch.rand(4, 2, dtype=torch.float64)
    each, one = haar(4, draw, 3), haar(4, draw)
    stack.set_unitary(1, each, trainable=False)
    stack.set_unitary(0, torch.from_numpy(one))
    np.testing.assert_allclose(stack.interferometers()[:, 1].detach().numpy(), each, atol=1e-13)
    np.testing.assert_allclose(stack.interferometers()[2, 0].detach().numpy(), one, atol=1e-13)
    for index, layer in enumerate(stack.layers()):
        np.testing.assert_allclose(layer.interferometers()[1].detach(), each[index], atol=1e-13)
        torch.testing.assert_close(layer(x), stack(x)[:, index])
    again = QuantumLayerStack.from_layers(stack.layers())
    torch.testing.assert_close(again(x), stack(x))
    trained(again)
    np.testing.assert_allclose(again.interferometers()[:, 1].detach().numpy(), each, atol=1e-13)
    with pytest.raises(
        ValueError, match=r"have the same ansatz.*set_unitary called on all or none"
    ):
        QuantumLayerStack.from_layers([stack.layers()[0], made()])


def test_single_precision():
    layer, unitary = made(dtype=torch.float32), haar(4, np.random.default_rng(0))
    for index in range(3):
        layer.set_unitary(index, unitary, trainable=False)
    assert {p.dtype for p in (layer.phases, layer.frozen_phases, layer.mode_phases)} == {
        torch.float32
    }
    found = layer.interferometers().detach()
    np.testing.assert_allclose(found, np.array([unitary] * 3), rtol=0, atol=2e-6)


def test_reservoirs_and_bandwidths():
    layer = made(reservoir_mode=True, use_bandwidth_tuning=True)
    unitary = haar(4, np.random.default_rng(0))
    layer.set_unitary(0, unitary)
    np.testing.assert_allclose(layer.interferometers()[0], unitary, rtol=0, atol=1e-13)
    assert [name for name, _ in layer.named_parameters()] == ["bandwidth"]


def test_what_is_refused():
    layer = made()
    for index in (-1, 3, 1.0):
        with pytest.raises((TypeError, ValueError), match="index must be"):
            layer.set_unitary(index, np.eye(4))
    with pytest.raises(ValueError, match=r"unitary must have shape \(4, 4\), got \(3, 3\)"):
        layer.set_unitary(0, np.eye(3))
    with pytest.raises(ValueError, match="unitary must be unitary"):
        layer.set_unitary(0, np.ones((4, 4)))
    with pytest.raises(TypeError, match="trainable must be a bool"):
        layer.set_unitary(0, np.eye(4), "yes")
    shape = r"unitary must have shape \(4, 4\) or \(2, 4, 4\), got \(3, 4, 4\)"
    with pytest.raises(ValueError, match=shape):
        made(count=2).set_unitary(0, np.array([np.eye(4)] * 3))
    circuit = Circuit(4).add(Interferometer())
    layer = QuantumLayer(0, 2, experiment=Experiment(circuit=circuit, n_photons=1))
    with pytest.raises(ValueError, match=r"put FixedUnitary\(unitary\) into the circuit"):
        layer.set_unitary(0, np.eye(4))
    assert "frozen" not in layer.state_dict()
    empty = made().to("meta")
    with pytest.raises(ValueError, match="set_unitary needs a layer that has numbers"):
        empty.set_unitary(0, np.eye(4))
    assert not empty.given


def test_transforms_and_copies_of_functions():
    layer = made()
    layer.set_unitary(1, haar(4, np.random.default_rng(0)), trainable=False)
    x = torch.rand(3, 2, dtype=torch.float64)
    params, buffers = torch.func.stack_module_state([layer, copy.deepcopy(layer)])

    def call(params, buffers, x):
        return torch.func.functional_call(layer, (params, buffers), (x,))

    found = torch.func.vmap(call, (0, 0, None))(params, buffers, x)
    torch.testing.assert_close(found[1], layer(x))
    torch.autograd.gradcheck(
        lambda p: torch.func.functional_call(layer, {"phases": p}, (x,)), (layer.phases,)
    )


@pytest.mark.parametrize("tuning", [False, True])
def test_perceval_has_the_same_unitary(tuning):
    pytest.importorskip("perceval")
    from hybridlit.interop.perceval import to_perceval

    stack = made(count=2, use_bandwidth_tuning=tuning)
    for index in range(3):
        stack.set_unitary(index, haar(4, np.random.default_rng(index)), trainable=index == 1)
    trained(stack)
    x = torch.rand(2, dtype=torch.float64)
    for index, layer in enumerate(stack.layers()):
        found = np.array(to_perceval(stack, x, index).unitary_circuit().compute_unitary())
        np.testing.assert_allclose(found, layer.unitary(x).detach(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("trainable", [True, False])
def test_checkpoints_of_models_have_them_and_runs_go_on(
    trainable, make_model, make_trainer, data, tmp_path
):
    unitary = haar(4, np.random.default_rng(0))

    def model():
        torch.manual_seed(1)
        made = make_model(weight_decay=0.1)
        made.quantum_layer.set_unitary(0, unitary, trainable)
        return made

    class Kept(pl.Callback):
        def on_train_epoch_start(self, trainer, module):
            torch.manual_seed(trainer.current_epoch)

    whole, half = model(), model()
    make_trainer([Kept()], max_epochs=2).fit(whole, data)
    first = make_trainer([Kept()], max_epochs=1)
    first.fit(half, data)
    first.save_checkpoint(tmp_path / "half.ckpt")
    loaded = type(half).load_from_checkpoint(tmp_path / "half.ckpt", weights_only=True)
    fresh = make_model(weight_decay=0.1)
    make_trainer([Kept()], max_epochs=2).fit(fresh, data, ckpt_path=tmp_path / "half.ckpt")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, fresh.state_dict()[name]), name
    for name, value in half.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name]), name
    found = fresh.quantum_layer.interferometers()[0].detach().numpy()
    assert (np.abs(found - unitary).max() < 1e-6) is not trainable


def test_amplitudes_and_states_feel_the_phases_on_modes():
    layer = made(input_state={(1, 1, 0, 0): 1.0, (0, 1, 0, 1): 1j}, n_photons=None)
    draw = np.random.default_rng(0)
    for index in (2, 0, 1):
        layer.set_unitary(index, haar(4, draw))
    x, root = torch.rand(5, 2, dtype=torch.float64), 0.5**0.5
    one, two = (amplitudes(layer.unitary(x), state) for state in ((1, 1, 0, 0), (0, 1, 0, 1)))
    torch.testing.assert_close(layer.amplitudes(x), root * (one + 1j * two))
    torch.testing.assert_close(layer.probabilities(x), (one + 1j * two).abs().square() / 2)
