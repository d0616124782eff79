"""What `hybridlit/internals/torch.py` takes for granted of torch."""

import copy
import io

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from hybridlit.internals import torch as internals


def test_is_tracing_within_a_trace_alone():
    seen = []

    def function(x):
        seen.append(internals.is_tracing())
        return x + 1

    function(torch.ones(1))
    torch.jit.trace(function, torch.ones(1))
    assert seen[0] is False
    assert True in seen[1:]


def test_unrecorded_results_are_constants_of_a_trace():
    def function(x):
        with internals.unrecorded():
            y = x * 2
        return x + y

    traced = torch.jit.trace(function, torch.ones(1))
    assert traced(torch.zeros(1)).item() == 2.0
    with internals.unrecorded():  # without a trace it does nothing
        assert not internals.is_tracing()


@pytest.mark.parametrize("transform", [torch.func.grad, torch.func.vmap, torch.func.jacfwd])
def test_transforms_are_seen_on_their_tensors_and_beside_them(transform):
    seen = []
    other = torch.ones(())

    def function(x):
        seen.append((internals.transforming(), *map(internals.is_transformed, (x, other))))
        return x.sin()

    transform(function)(torch.ones(3) if transform is torch.func.vmap else torch.ones(()))
    assert seen == [(True, True, False)]
    assert not internals.transforming()
    assert not internals.is_transformed(torch.ones(()))


def test_forward_mode_within_jvp_jacfwd_and_a_level():
    seen = []

    def function(x):
        seen.append(internals.forward_mode())
        return x.sin()

    x = torch.ones(())
    torch.func.jvp(function, (x,), (x,))
    torch.func.jacfwd(function)(x)
    with torch.autograd.forward_ad.dual_level():
        function(x)
    assert seen == [True] * 3
    function(x)
    torch.func.grad(function)(x)
    assert seen[3:] == [False, False]


def test_is_vectorized_is_true_of_batches_of_gradients():
    seen = []

    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return 2 * x

        @staticmethod
        def backward(ctx, grad):
            seen.append(internals.is_vectorized(grad))
            return 2 * grad

    x = torch.ones(2, requires_grad=True)
    torch.autograd.grad(Twice.apply(x), x, torch.eye(2), is_grads_batched=True)
    torch.autograd.grad(Twice.apply(x), x, torch.ones(2))
    assert seen == [True, False]


def test_a_constant_in_graphs_is_not_computed_by_the_graph():
    """torch.compile calls it while it compiles, and never again."""
    calls = []

    @internals.constant_in_graphs
    def table(size):
        calls.append(size)
        return torch.arange(size)

    compiled = torch.compile(lambda x: x + table(3), backend="eager", fullgraph=True)
    assert compiled(torch.ones(3)).tolist() == [1.0, 2.0, 3.0]
    before = len(calls)
    compiled(torch.zeros(3))
    assert len(calls) == before >= 1


def test_is_compiled():
    wrapped, called, neither = (nn.Linear(2, 2) for _ in range(3))
    called.compile(backend="eager")
    assert internals.is_compiled(torch.compile(wrapped, backend="eager"))
    assert internals.is_compiled(called)
    assert not internals.is_compiled(neither)


def test_registered_is_what_the_module_itself_uses():
    module = nn.BatchNorm1d(2)
    parameters, buffers = internals.registered(module)
    assert list(parameters) == ["weight", "bias"]
    assert list(buffers) == ["running_mean", "running_var", "num_batches_tracked"]
    buffers["running_mean"] = torch.full((2,), 7.0)
    del parameters["bias"]
    assert module.running_mean.tolist() == [7.0, 7.0]
    assert not hasattr(module, "bias")


def test_metadata_is_kept_by_a_file_and_read_by_the_module():
    state = nn.Sequential(nn.BatchNorm1d(2)).state_dict()
    internals.metadata(state)["0"]["ours"] = {"a": "b"}
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    found = torch.load(file, weights_only=True)
    assert internals.metadata(found)["0"] == {"version": 2, "ours": {"a": "b"}}
    assert internals.metadata(copy.copy(found)) == internals.metadata(state)
    assert internals.metadata(dict(found)) is None


def test_schedulers_have_their_progress_and_rates():
    weight = nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=0.5)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    assert set(internals.PROGRESS_OF_SCHEDULERS) <= scheduler.state_dict().keys()
    optimizer.param_groups[0]["lr"] = 0.25
    internals.set_rates(scheduler)
    assert scheduler.get_last_lr() == [0.25]


def test_fused_optimizers_take_scaled_gradients():
    """And `GradScaler.step` leaves the scale in for these alone."""
    scales = []
    for fused in (True, False):
        weight = nn.Parameter(torch.ones(2))
        optimizer = torch.optim.AdamW([weight], fused=fused)
        assert internals.takes_scaled_gradients(optimizer) is fused
        scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
        scaler.scale(weight.sum()).backward()
        optimizer.register_step_pre_hook(lambda *_, w=weight: scales.append(w.grad[0].item()))
        scaler.step(optimizer)
    assert scales == [8.0, 1.0]


def test_norms_and_differences_of_many_tensors():
    tensors = [torch.tensor([3.0, 4.0]), torch.ones(2, 2, dtype=torch.float64)]
    assert [norm.item() for norm in internals.norms(tensors)] == [5.0, 2.0]
    others = [torch.ones(2), torch.ones(2, 2, dtype=torch.float64)]
    found = internals.subtracted(tensors, others)
    assert [t.tolist() for t in found] == [[2.0, 3.0], [[0.0, 0.0], [0.0, 0.0]]]


def test_storages():
    x = torch.ones(2)
    weak = internals.StorageWeakRef(x.untyped_storage())
    assert weak == internals.StorageWeakRef(x.view(1, 2).untyped_storage())
    assert weak != internals.StorageWeakRef(torch.ones(2).untyped_storage())
    assert not weak.expired()
    del x
    assert weak.expired()


def test_own_attributes_are_all_of_a_module_but_its_modules():
    module = torch.nn.Sequential(torch.nn.Linear(2, 2))
    module.weight = torch.nn.Parameter(torch.ones(1))
    module.register_buffer("seen", torch.zeros(1))
    own = {
        name: value for name, value in vars(module).items() if name in internals.own_attributes()
    }
    other = torch.nn.Module()
    vars(other).update(own)
    assert list(other.state_dict()) == ["weight", "seen"] and not list(other.children())


def test_an_applied_function_is_what_apply_does():
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return 2 * x

        @staticmethod
        def backward(ctx, grad):
            return 2 * grad

    x = torch.ones(3, requires_grad=True)
    internals.applied(Double)(x).sum().backward()
    assert x.grad.tolist() == [2.0] * 3


def test_contents_are_what_the_module_itself_uses():
    module = nn.Sequential(nn.BatchNorm1d(2))
    assert internals.contents(module)[2]["0"] is module[0]
    parameters, buffers, modules = internals.contents(module[0])
    assert parameters["weight"] is module[0].weight
    assert buffers["running_mean"] is module[0].running_mean
    assert not modules


@pytest.mark.parametrize("kind", ["forward_hook", "forward_pre_hook", "full_backward_hook"])
def test_hooks_of_a_module_and_of_all_are_seen(kind):
    module = nn.Linear(1, 1)
    assert not internals.hooked(module)
    every = f"register_module_{kind}"
    for register in (getattr(module, f"register_{kind}"), getattr(nn.modules.module, every)):
        handle = register(lambda *_: None)
        assert internals.hooked(module)
        handle.remove()
        assert not internals.hooked(module)


def test_what_records_transforms_or_watches_operations_is_seen():
    seen = []

    def function(x):
        seen.append(internals.plainly_running())
        return x + 1

    x = torch.ones(1)
    function(x)
    torch.jit.trace(function, x)
    torch.func.vmap(function)(x)
    with torch.autograd.forward_ad.dual_level():
        function(x)
    with FlopCounterMode(display=False):
        function(x)
    assert seen[0]
    assert not any(seen[index] for index in (1, -3, -2, -1))
    compiled = torch.compile(lambda x: x + internals.plainly_running(), backend="eager")
    assert compiled(x).item() == 1.0
