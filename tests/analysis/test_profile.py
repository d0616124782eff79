"""Times of parts against planted ones, and a model that is left as it was."""

import dataclasses
import json
import operator
import sys
import time

import pytest
import torch
from model_state import same, snapshot
from third_party import Plain
from torch import nn
from torch.utils.checkpoint import checkpoint

from hybridlit import (
    ParallelBankHybrid,
    ParallelHybrid,
    ResidualHybrid,
    SequentialHybrid,
    find_batch_size,
    mark_photonic,
)
from hybridlit.analysis.profiling.part_times import PartTimer
from hybridlit.analysis.profiling.profile import profile_components

TEMPLATES = {
    "sequential": (SequentialHybrid, dict(quantum_dim=2)),
    "parallel": (ParallelHybrid, dict(quantum_dim=2)),
    "residual": (ResidualHybrid, {}),
    "bank": (ParallelBankHybrid, dict(quantum_dim=2)),
    "twin": (SequentialHybrid, dict(quantum_dim=2, quantum="mlp")),
    "twins": (ParallelBankHybrid, dict(quantum_dim=2, quantum="mlp")),
    "checkpointed": (SequentialHybrid, dict(quantum_dim=2, checkpoint_quantum=True)),
    "gated": (ParallelHybrid, dict(quantum_dim=2, fusion="gated")),
}


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(12, 5, generator=generator)
    return x, (x[:, 0] > 0).long() + (x[:, 1] > 0).long()


def make(kind):
    cls, arguments = TEMPLATES[kind]
    return cls(input_dim=5, output_dim=3, n_modes=4, n_photons=2, **arguments)


# --- planted times --------------------------------------------------------------------------------


class Wait(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, part):
        ctx.part = part
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        ctx.part.wait("backward")
        return grad, None


class Planted(nn.Module):
    """Takes known times, and notes how long it really took: a busy machine sleeps longer."""

    def __init__(self, forward_ms, backward_ms, trainable=True):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()), requires_grad=trainable)
        self.planned = {"forward": forward_ms, "backward": backward_ms}
        self.taken = {"forward": [], "backward": []}

    def wait(self, phase):
        start = time.perf_counter()
        time.sleep(self.planned[phase] / 1e3)
        self.taken[phase].append(1e3 * (time.perf_counter() - start))

    def forward(self, *inputs):
        self.wait("forward")
        x = inputs[0] if isinstance(inputs[0], torch.Tensor) else torch.stack(inputs[0]).sum(0)
        return Wait.apply(x * self.scale, self)


class Chain(nn.Module):
    """The first part's input needs no gradient, the second has nothing to train."""

    def __init__(self):
        super().__init__()
        self.first = Planted(4, 8)
        self.frozen = Planted(3, 6, trainable=False)
        self.last = Planted(2, 4)

    def forward(self, x):
        return self.last(torch.relu(self.frozen(self.first(x))))


class Branches(nn.Module):
    """Two paths whose backward passes autograd may interleave, and a part that takes a list."""

    def __init__(self):
        super().__init__()
        self.left, self.right, self.fusion = Planted(3, 5), Planted(6, 2), Planted(2, 4)

    def forward(self, x):
        return self.fusion([self.left(self.right(x)), self.right(x), self.left(x)])


class Checkpointed(nn.Module):
    def __init__(self):
        super().__init__()
        self.before, self.again = Planted(2, 3), Planted(4, 6)

    def forward(self, x):
        return checkpoint(self.again, self.before(x), use_reentrant=False)


def mean_square(model, batch):
    return model(batch[0]).square().mean()


@pytest.mark.parametrize("network", [Chain, Branches, Checkpointed])
def test_planted_times_are_found(network, batch):
    """Every part within 4 %, each backward pass with its part; in some round, as others compute."""
    model = network()
    timer = PartTimer(model)
    for part in timer.parts.values():
        part.planned = {phase: 6 * planned for phase, planned in part.planned.items()}
    ratios = {(name, phase): [] for name in timer.parts for phase in ("forward", "backward")}
    for _ in range(40):
        for part in timer.parts.values():
            part.taken = {"forward": [], "backward": []}
        timer.attach()
        timer.start()
        loss = mean_square(model, batch)
        taken = {(name, "forward"): sum(p.taken["forward"]) for name, p in timer.parts.items()}
        timer.begin_backward(loss)
        loss.backward()
        timer.end_backward()
        found = timer.finish()
        timer.detach()
        for name, part in timer.parts.items():
            again = sum(part.taken["forward"]) - taken[name, "forward"]  # of a checkpoint
            taken[name, "backward"] = sum(part.taken["backward"]) + again
        for (name, phase), seen in ratios.items():
            seen.append(1e3 * found.seconds(name, phase) / taken[name, phase])
        parts = sum(found.seconds(name) for name in timer.parts)
        assert parts <= found.seconds() == pytest.approx(parts + found.seconds("other"))
        for span, following in zip(found.spans, found.spans[1:], strict=False):
            assert span.start <= span.end == following.start
        if all(min(seen) <= 1.04 for seen in ratios.values()):
            break
    for key, seen in ratios.items():
        assert min(seen) == pytest.approx(1, abs=0.04), key
        assert min(seen) >= 0.999, key  # nothing of a part is counted elsewhere
    assert (
        found.calls
        == {
            Chain: dict(first=1, frozen=1, last=1),
            Branches: dict(left=2, right=2, fusion=1),
            Checkpointed: dict(before=1, again=1),
        }[network]
    )


def test_the_whole_of_it_on_planted_times(batch):
    planted = {"first": (4, 8), "frozen": (3, 6), "last": (2, 4)}
    for _ in range(20):  # a sleep lasts at least as long as asked for, and longer if others compute
        profile = profile_components(
            Chain(), [batch], batches=5, warmup=1, loss=mean_square, progress=False
        )
        times = {part.name: (part.forward.median, part.backward.median) for part in profile.parts}
        for name, least in planted.items():
            assert all(map(operator.le, least, times[name]))
        assert sum(map(sum, times.values())) - sum(times["other"]) <= profile.hooked.high
        assert profile.step.median >= 27
        assert profile.parts[0].forward.low <= profile.parts[0].forward.median
        alone = all(
            taken < 1.5 * least + 1
            for name, leasts in planted.items()
            for taken, least in zip(times[name], leasts, strict=True)
        )
        if alone and sum(times["other"]) < 0.2 * profile.hooked.median:
            break
    else:
        pytest.fail(f"planted {planted} ms, found {times}")
    assert profile.parts[0].share == pytest.approx(12 / 27, abs=0.08)


def test_a_part_inside_a_part_counts_once(batch):
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.outer = nn.Sequential(Planted(3, 3))
            self.inner = self.outer[0]

        def forward(self, x):
            return self.outer(x)

    profile = profile_components(
        Shared(), [batch], batches=2, warmup=1, loss=mean_square, progress=False
    )
    outer, inner, _ = profile.parts
    assert (outer.calls, inner.calls) == (1, 0)
    assert outer.forward.median >= 3 and outer.backward.median >= 3
    assert inner.forward.median == inner.backward.median == 0
    assert outer.parameter_bytes == 4 and inner.parameter_bytes == 0


def test_what_lies_between_two_parts_belongs_to_neither(batch):
    class Between(nn.Module):
        def __init__(self):
            super().__init__()
            self.before, self.behind = nn.Linear(5, 4), nn.Linear(4, 2)

        def forward(self, x):
            return self.behind(self.before(x).exp())

    model = Between()
    timer = PartTimer(model)
    timer.attach()
    timer.start()
    loss = mean_square(model, batch)
    timer.begin_backward(loss)
    loss.backward()
    timer.end_backward()
    spans = timer.finish().spans
    order = {
        phase: [s.part for s in spans if s.phase == phase] for phase in ("forward", "backward")
    }
    assert order["forward"][1:-1] == ["before", "other", "behind"]
    assert order["backward"] == ["other", "behind", "other", "before"]


# --- real models ----------------------------------------------------------------------------------


def everything(model):
    return snapshot(
        model,
        attributes=[sorted(vars(module)) for module in model.modules()],
        hooks=[
            len(module._forward_hooks) + len(module._forward_pre_hooks)
            for module in model.modules()
        ],
        weights=getattr(getattr(model, "fusion", None), "weights", None),
    )


@pytest.mark.parametrize("backward", [True, False])
@pytest.mark.parametrize("kind", TEMPLATES)
def test_every_template(kind, backward, batch):
    model = make(kind)
    model.loss(model(batch[0]), batch[1]).backward()
    model.eval()
    outputs, before = model(batch[0]), everything(model)
    profile = profile_components(
        model, iter([batch, batch]), batches=3, warmup=1, backward=backward, progress=False
    )
    assert same(everything(model), before)
    assert torch.equal(model(batch[0]), outputs)
    assert sum(part.share for part in profile.parts) == pytest.approx(1, abs=1e-12)
    assert sum(profile.shares.values()) == pytest.approx(1, abs=1e-12)
    *parts, other = profile.parts
    assert other.name == other.component == "other"
    photonic = [part for part in parts if part.component == "photonic"]
    assert len(photonic) == (0 if kind.startswith("twin") else 1)
    assert (profile.shares["photonic"] > 0) == (not kind.startswith("twin"))
    for part in parts:
        assert part.calls == 1 and part.forward.median > 0 and part.output_bytes > 0
        assert (part.backward.median > 0) == backward
        assert part.gradient_bytes == (part.parameter_bytes if backward else 0)
    total = sum(p.nbytes for p in model.parameters())
    assert sum(part.parameter_bytes for part in parts) == total
    assert profile.rows == 12 and profile.steps == 3 and profile.device == "cpu"


def test_other_peoples_layers(batch):
    class WithPlain(SequentialHybrid):
        def build_quantum(self):
            return mark_photonic(Plain(self.hparams.quantum_dim))

    model = WithPlain(input_dim=5, quantum_dim=3, output_dim=3)
    profile = profile_components(model, [batch], batches=2, progress=False)
    assert [part.component for part in profile.parts] == [
        "classical", "photonic", "classical", "other",
    ]  # fmt: skip


def test_what_is_kept_for_the_backward_pass(batch):
    """Batch and parameters do not count, and a tensor kept twice counts once."""
    model = nn.Sequential(nn.Linear(5, 7), nn.Sigmoid(), nn.Linear(7, 3, bias=False))
    profile = profile_components(
        model, [batch], batches=1, loss=lambda model, batch: model(batch[0]).sum(), progress=False
    )
    kept = {part.name: part.saved_bytes for part in profile.parts}
    # the sigmoid keeps its output, which the last layer only keeps again
    assert kept == {"0": 0, "2": 0, "other": 12 * 7 * 4}
    assert [part.output_bytes for part in profile.parts] == [12 * 7 * 4, 12 * 3 * 4, None]
    assert [part.parameter_bytes for part in profile.parts] == [4 * (5 * 7 + 7), 4 * 21, 0]
    checkpointed = profile_components(make("checkpointed"), [batch], batches=1, progress=False)
    plain = profile_components(make("sequential"), [batch], batches=1, progress=False)
    assert checkpointed.parts[1].saved_bytes == 0 < plain.parts[1].saved_bytes


def test_reports(batch, tmp_path):
    model = make("sequential")
    profile = profile_components(model, [batch], batches=3, progress=False)
    text, table = str(profile), profile.to_markdown()
    for name in ("classical_pre", "quantum_layer", "classical_post", "other"):
        assert name in text and f"| {name} | " in table
    header, *rows = text.splitlines()[2:7]
    assert len({line.index("ms") for line in [header]}) == 1 and len(rows) == 4
    assert "without hooks" in text and "12 rows on cpu" in text
    values = json.loads(json.dumps(profile.to_dict()))
    assert values["parts"]["quantum_layer"]["component"] == "photonic"
    assert values["shares"]["photonic"] == pytest.approx(profile.parts[1].share)
    assert values["overhead"] == profile.hooked.median / profile.step.median - 1

    path = profile.save_trace(tmp_path / "new" / "trace.json")
    events = json.loads(path.read_text())["traceEvents"]
    complete = [event for event in events if event["ph"] == "X"]
    passes = [event for event in complete if event["cat"] == "pass"]
    assert [event["name"] for event in passes] == ["forward", "backward"]
    parts = [event for event in complete if event["cat"] != "pass"]
    assert {event["name"] for event in parts} == {part.name for part in profile.parts[:-1]}
    for event in parts:  # inside one of the two passes, so that viewers nest them
        assert any(
            outer["ts"] - 1e-3 <= event["ts"]
            and event["ts"] + event["dur"] <= outer["ts"] + outer["dur"] + 1e-3
            for outer in passes
        )
    order = [event["name"] for event in parts if event["ts"] >= passes[1]["ts"]]
    assert order == ["classical_post", "quantum_layer", "classical_pre"]


def test_the_figure(batch, monkeypatch):
    pytest.importorskip("matplotlib")
    profile = profile_components(make("sequential"), [batch], batches=2, progress=False)
    axes = profile.figure().axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        part.name for part in profile.parts
    ]
    lengths = [bar.get_width() for bar in axes.patches]
    assert lengths == [
        time for part in profile.parts for time in (part.forward.median, part.backward.median)
    ]
    colours = [bar.get_facecolor()[:3] for bar in axes.patches]
    assert colours[0] == colours[4] != colours[2] == colours[3]
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"hybridlit\[plot\]"):
        profile.figure()


def test_names_that_mean_something_else(batch):
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.classical, self.other = nn.Linear(5, 4), nn.Linear(4, 3)

        def forward(self, x):
            return self.other(self.classical(x))

    profile = profile_components(Named(), [batch], batches=1, loss=mean_square, progress=False)
    assert [part.name for part in profile.parts] == ["classical_part", "other_part", "other"]
    alone = profile_components(
        nn.Linear(5, 2), [batch], batches=1, loss=mean_square, progress=False
    )
    assert [part.name for part in alone.parts] == ["Linear", "other"]


def test_a_frozen_model_has_no_backward_pass(batch):
    model = make("sequential").requires_grad_(False)
    with pytest.raises(ValueError, match="no trainable parameters: unfreeze some, or give backw"):
        profile_components(model, [batch], batches=1, progress=False)
    found = profile_components(model, [batch], batches=1, backward=False, progress=False)
    assert not found.backward


def test_bad_arguments_are_refused(batch):
    model = make("sequential")
    with pytest.raises(ValueError, match="batches must be at least 1, got 0"):
        profile_components(model, [batch], batches=0)
    with pytest.raises(ValueError, match="warmup must be at least 0"):
        profile_components(model, [batch], warmup=-1)
    with pytest.raises(ValueError, match="at least one batch, got none"):
        profile_components(model, [], progress=False)
    with pytest.raises(TypeError, match="give loss="):
        profile_components(nn.Linear(5, 3), [batch])
    with pytest.raises(RuntimeError, match="none of the parts"):
        profile_components(
            nn.Sequential(nn.Linear(5, 3), nn.Linear(3, 3)),
            [batch],
            loss=lambda model, batch: model[0].weight.sum(),
            progress=False,
        )


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_nothing_stays_after_an_error(error, batch):
    model, steps = make("sequential"), []
    before = everything(model)

    def failing(model, batch):
        steps.append(model(batch[0]))
        if len(steps) == 5:
            raise error
        return steps[-1].sum()

    with pytest.raises(error):
        profile_components(model, [batch], loss=failing, progress=False)
    assert same(everything(model), before)


def test_a_busy_machine_is_said(batch):
    """A loss that sleeps has the clock run on without a processor, as on a busy machine."""

    def sleeping(model, batch):
        time.sleep(0.02)
        return mean_square(model, batch)

    busy = profile_components(
        nn.Linear(5, 1), [batch], batches=3, warmup=0, loss=sleeping, progress=False
    )
    assert busy.busy and busy.to_dict()["busy"] and 0.5 < busy.waiting < 1
    assert "what the hooks cost is not known: the machine was busy" in str(busy)
    assert "with hooks +" not in str(busy) and "with hooks -" not in str(busy)
    quiet = dataclasses.replace(busy, waiting=0.1)
    assert not quiet.busy and f"with hooks {100 * quiet.overhead:+.1f} %" in str(quiet)


class Logging(SequentialHybrid):
    def forward(self, x):
        outputs = super().forward(x)
        self.log("mean", outputs.mean())
        return outputs


def test_a_trained_model_that_logs_in_forward(data, make_trainer):
    """Outside of a loop of its Trainer a log would be an error."""
    model = Logging(5, 2, 3, n_modes=4, n_photons=2)
    make_trainer().fit(model, data)
    batches = list(data.train_dataloader())
    assert profile_components(model, batches, batches=2, progress=False).steps == 2
    assert find_batch_size(model, batches[0], budget="1GiB").size > 0
