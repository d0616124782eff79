"""The changes of the parts add up to the change of the loss, and the model stays as it was."""

import pytest
import torch
from torch import nn

from hybridlit import ParallelHybrid, SequentialHybrid
from hybridlit.analysis.evaluation import loss_function
from hybridlit.analysis.loss_change.allocation import (
    allocate_loss_change,
    losses_of_both,
    row_losses,
)
from hybridlit.analysis.loss_change.owners import OWNERS, tensors_by
from hybridlit.components import part_parameters


class WithBatchNorm(SequentialHybrid):
    def build_classical_pre(self):
        return nn.Sequential(nn.Linear(5, 2), nn.BatchNorm1d(2), nn.Sigmoid())


def batches(rows=(20, 7), dtype=torch.float32):
    generator = torch.Generator().manual_seed(4)
    return [
        (
            torch.randn(n, 5, generator=generator, dtype=dtype),
            torch.randint(3, (n,), generator=generator),
        )
        for n in rows
    ]


def sequential(cls=SequentialHybrid, **changes):
    torch.manual_seed(2)
    return cls(input_dim=5, quantum_dim=2, output_dim=3, n_modes=4, n_photons=2, **changes)


def copies(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def train(model, steps, lr):
    """Plain gradient descent with all rows; returns the loss change allocation of Lan et al."""
    data = batches(dtype=next(model.parameters()).dtype)
    loss_of = loss_function(model)
    owners = {p: part for part, own in part_parameters(model).items() for p in own.values()}

    def gradients():
        total = sum(loss_of(model, batch) * len(batch[1]) for batch in data) / 27
        return torch.autograd.grad(total, list(owners))

    allocated = dict.fromkeys(owners.values(), 0.0)
    before = gradients()
    for _ in range(steps):
        with torch.no_grad():
            for p, gradient in zip(owners, before, strict=True):
                p -= lr * gradient
        after = gradients()
        for (_, part), g0, g1 in zip(owners.items(), before, after, strict=True):
            allocated[part] += float(((g0 + g1) / 2 * (-lr * g0)).sum())
        before = after
    return allocated


@pytest.mark.parametrize("by", ["part", "component"])
def test_every_parameter_and_kept_buffer_has_one_owner(by):
    model = sequential(WithBatchNorm)
    split = tensors_by(model, by)
    expected = (
        ["classical_pre", "quantum_layer", "classical_post"]
        if by == "part"
        else ["classical", "photonic"]
    )
    assert list(split) == expected
    names = [name for own in split.values() for name in own]
    means = [f"paths.{name}" for name in model.paths.state_dict()]
    assert sorted([*names, *means]) == sorted(model.state_dict())
    assert "classical_pre.1.running_mean" in split[expected[0]]
    for own in split.values():
        for name, tensor in own.items():
            assert model.state_dict(keep_vars=True)[name] is tensor


def test_a_photonic_module_speaks_for_its_component():
    model = sequential()
    assert OWNERS["component"].modules(model) == {"photonic": [model.quantum_layer]}
    assert OWNERS["part"].modules(model)["classical_pre"] == [model.classical_pre]


@pytest.mark.parametrize("groups", [1, 4, 16])
def test_the_mean_over_groups_is_the_mean_over_rows(groups):
    model, data = sequential().eval(), batches()
    losses = row_losses(model, data, groups)
    assert losses.shape == (min(groups, 20) + min(groups, 7),) and not losses.requires_grad
    whole = tuple(torch.cat(pair) for pair in zip(*data, strict=True))
    assert losses.mean().item() == pytest.approx(
        loss_function(model)(model, whole).item(), rel=1e-6
    )


@pytest.mark.parametrize("groups", [1, 4])
def test_groups_count_by_the_weights_of_their_rows(groups):
    model = sequential(class_weights=[1.0, 9.0, 0.1]).eval()
    data = [(x, y, torch.rand(len(y))) for x, y in batches()]
    whole = tuple(torch.cat(parts) for parts in zip(*data, strict=True))
    expected = pytest.approx(loss_function(model)(model, whole).item(), rel=1e-6)
    assert row_losses(model, data, groups).mean().item() == expected


class Rows(nn.Linear):
    def probe_losses(self, batch):
        return nn.functional.cross_entropy(self(batch[0]), batch[1], reduction="none")


def test_any_module_can_give_the_losses_of_its_rows():
    model = Rows(5, 3)
    losses = row_losses(model, batches())
    expected = torch.cat([model.probe_losses(batch) for batch in batches()])
    assert torch.equal(losses, expected.detach().double())


@pytest.mark.parametrize("make", [sequential, lambda: Rows(5, 3)])
@pytest.mark.parametrize("alike", [True, False])
def test_one_pass_over_both_is_two_passes(make, alike):
    model, (first, second) = make().eval(), batches(rows=(20, 17))
    if not alike:
        second = {0: second[0], 1: second[1]}  # nothing to be put together with a tuple
        model.unpack = lambda batch: (batch[0], batch[1])
    passes = []
    model.register_forward_hook(lambda *_: passes.append(None))
    found = losses_of_both(model, [first], [second], groups=4)
    assert len(passes) == (1 if alike else 2)
    expected = row_losses(model, [first], groups=1), row_losses(model, [second], groups=4)
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape and torch.allclose(one, other, rtol=1e-5, atol=1e-6)


def test_unknown_losses_are_refused():
    with pytest.raises(
        TypeError, match=r"Linear is no HybridModule.* method probe_losses\(batch\)"
    ):
        row_losses(nn.Linear(5, 3), batches())
    mean = Rows(5, 3)
    mean.probe_losses = lambda batch: torch.zeros(())
    with pytest.raises(ValueError, match=r"tensor of shape \(rows,\), got \(\)"):
        row_losses(mean, batches())
    with pytest.raises(ValueError, match="at least one row, got none"):
        row_losses(mean, [])


def test_a_product_is_divided_as_by_hand():
    """a * b from 1 * 2 to 3 * 5: a first 4 and 9, b first 10 and 3; the mean is 7 and 6."""
    a, b = torch.tensor(3.0), torch.tensor(5.0)
    start = {"a": torch.tensor(1.0), "b": torch.tensor(2.0)}
    after, changes = allocate_loss_change(
        {"first": {"a": a}, "second": {"b": b}}, start, lambda: (a * b).double().reshape(1)
    )
    assert (after.item(), changes["first"].item(), changes["second"].item()) == (15.0, 7.0, 6.0)
    assert (a.item(), b.item()) == (3.0, 5.0)


@pytest.mark.parametrize("by", ["part", "component"])
def test_the_changes_add_up_over_any_distance_buffers_included(by):
    model = sequential(WithBatchNorm)
    start = copies(model)
    before = row_losses(model.eval(), batches())
    model.train()
    train(model, steps=20, lr=1.0)
    model.eval()
    end = copies(model)
    after, changes = allocate_loss_change(
        tensors_by(model, by), start, lambda: row_losses(model, batches())
    )
    assert not torch.equal(
        start["classical_pre.1.running_mean"], end["classical_pre.1.running_mean"]
    )
    assert (after - before).abs().max() > 0.1
    assert torch.allclose(sum(changes.values()), after - before, rtol=0, atol=1e-12)
    for name, value in copies(model).items():
        assert torch.equal(value, end[name]), name


def test_over_short_stretches_it_is_the_integral_along_the_path():
    torch.manual_seed(0)
    model = ParallelHybrid(5, 3, hidden_dims=[8], n_modes=4, n_photons=2).double().eval()
    data = batches(dtype=torch.float64)
    errors = []
    for lr in (0.04, 0.02):
        start = copies(model)
        integral = train(model, steps=4, lr=lr)
        _, changes = allocate_loss_change(
            tensors_by(model, "part"), start, lambda: row_losses(model, data)
        )
        model.load_state_dict(start)
        assert all(value < 0 for value in integral.values())
        errors.append(
            max(abs(float(changes[c].mean()) - value) / -value for c, value in integral.items())
        )
    assert errors[0] < 0.02 and errors[1] < errors[0] * 0.6


def test_what_did_not_move_costs_nothing():
    model = sequential().eval()
    start = copies(model)
    with torch.no_grad():
        model.classical_post[0].weight += 0.1
        model.classical_pre[0].weight += 0.1
    calls = []

    def losses():
        calls.append(row_losses(model, batches()))
        return calls[-1]

    before = row_losses(model, batches())  # any values: they are taken as given
    after, changes = allocate_loss_change(tensors_by(model, "part"), start, losses, before)
    assert len(calls) == 3  # 2 parts moved: 2 * 2 - 1
    assert not changes["quantum_layer"].any()
    assert torch.allclose(sum(changes.values()), after - before, rtol=0, atol=1e-12)


def test_the_model_is_as_it_was_after_an_error():
    model = sequential().eval()
    start = {name: value + 1 for name, value in copies(model).items()}
    end, calls = copies(model), []

    def losses():
        calls.append(None)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return row_losses(model, batches())

    with pytest.raises(KeyboardInterrupt):
        allocate_loss_change(tensors_by(model, "part"), start, losses)
    for name, value in copies(model).items():
        assert torch.equal(value, end[name]), name
