"""Gradients clipped by component: each by its own norm, after everything that scales them."""

import math

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.plugins import MixedPrecision

from hybridlit.callbacks.overfitting import OverfittingDetector
from hybridlit.components import split_parameters


class Norms(Callback):
    """Keeps the norm of each component's gradient before it is clipped, and after the step."""

    def __init__(self):
        self.before, self.after = [], []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.before.append(norms(pl_module))

    def on_train_batch_end(self, trainer, pl_module, *_):
        self.after.append(norms(pl_module))


def norms(model):
    return {
        component: math.sqrt(sum(float(p.grad.square().sum()) for p in parameters.values()))
        for component, parameters in split_parameters(model).items()
    }


@pytest.mark.parametrize(
    ("given", "limits"),
    [
        (0.01, dict(classical=0.01, photonic=0.01)),
        (dict(classical=0.02, photonic=0.001), dict(classical=0.02, photonic=0.001)),
        (dict(photonic=0.001), dict(classical=math.inf, photonic=0.001)),
        (dict(classical=1e6), dict(classical=math.inf, photonic=math.inf)),
    ],
)
@pytest.mark.parametrize("precision", ["32-true", "16-mixed"])
def test_each_component_is_clipped_by_its_own_norm(
    given, limits, precision, make_model, make_trainer, data
):
    seen = Norms()
    plugins = [MixedPrecision("16-mixed", "cpu")] if precision == "16-mixed" else []
    model = make_model(gradient_clip=given, classical_lr=1e-6, quantum_lr=1e-6)
    make_trainer([seen], plugins=plugins, limit_train_batches=2).fit(model, data)
    assert len(seen.before) == len(seen.after) == 2
    for before, after in zip(seen.before, seen.after, strict=True):
        for component, limit in limits.items():
            assert after[component] == pytest.approx(min(before[component], limit), rel=1e-3)
            assert before[component] > 0.001 or math.isinf(limit), "something to clip"


def test_the_trainers_own_clipping_stays_without_it(make_model, make_trainer, data):
    seen = Norms()
    make_trainer([seen], gradient_clip_val=0.01).fit(make_model(), data)
    assert all(math.hypot(*after.values()) == pytest.approx(0.01, rel=1e-3) for after in seen.after)


def test_both_at_once_are_refused(make_model, make_trainer, data):
    with pytest.raises(ValueError, match=r"Trainer\(gradient_clip_val=1.0\) and gradient_clip of"):
        make_trainer(gradient_clip_val=1.0).fit(make_model(gradient_clip=1.0), data)


def test_gradients_that_an_optimizer_unscales_itself_cannot_be_clipped(
    make_model, make_trainer, data
):
    fused = {"class_path": "torch.optim.AdamW", "init_args": {"fused": True}}
    trainer = make_trainer(plugins=[MixedPrecision("16-mixed", "cpu")])
    with pytest.raises(ValueError, match="AdamW with fused=True and precision='16-mixed' gets"):
        trainer.fit(make_model(gradient_clip=1.0, optimizer=fused), data)


def test_it_needs_automatic_optimization(make_model, make_trainer, data):
    model = make_model(gradient_clip=1.0)
    model.automatic_optimization = False
    with pytest.raises(ValueError, match="gradient_clip needs automatic optimization"):
        make_trainer().fit(model, data)


def test_it_may_change_amid_a_run_and_is_said_in_a_resumed_one(
    tmp_path, make_model, make_trainer, data
):
    trainer = make_trainer()
    trainer.fit(make_model(gradient_clip=0.01), data)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    seen = Norms()
    with pytest.warns(UserWarning, match="another gradient_clip: 0.01 in the checkpoint, 0.02 now"):
        make_trainer([seen], max_epochs=2).fit(
            make_model(gradient_clip=0.02), data, ckpt_path=tmp_path / "a.ckpt"
        )
    assert all(after["classical"] == pytest.approx(0.02, rel=1e-3) for after in seen.after)


def test_copies_of_the_overfitting_detector_are_clipped_as_well(make_model, make_trainer, data):
    """With a limit of next to nothing, SGD takes no steps, and neither do copies."""
    found = []

    class Look(OverfittingDetector):
        def on_train_end(self, trainer, pl_module):
            copied = self._interventions._copy(trainer, pl_module, (), 0)
            before = {n: p.detach().clone() for n, p in copied.model.named_parameters()}
            copied.train(2)
            after = dict(copied.model.named_parameters())
            found.append(max(float((after[n] - p).abs().max()) for n, p in before.items()))

    for clip, low, high in ((1e-12, 0.0, 1e-12), (None, 1e-3, math.inf)):
        model = make_model(optimizer="torch.optim.SGD", gradient_clip=clip, classical_lr=0.1)
        make_trainer([Look(every_n_steps=1)], max_epochs=1).fit(model, data)
        assert low <= found[-1] <= high


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (0.0, ValueError, "gradient_clip must be above 0"),
        ({}, ValueError, "gradient_clip must name a component, got {}"),
        ({"quantum": 1.0}, ValueError, "each key of gradient_clip must be one of"),
        ({"photonic": -1.0}, ValueError, r"gradient_clip\['photonic'\] must be above 0"),
        ({"photonic": "much"}, TypeError, r"gradient_clip\['photonic'\] must be a number"),
        ("much", TypeError, "gradient_clip must be a number or a dictionary or None, got str"),
    ],
)
def test_bad_limits(given, error, message, make_model):
    with pytest.raises(error, match=message):
        make_model(gradient_clip=given)


def test_nothing_is_drawn_or_changed_where_nothing_is_clipped(make_model, make_trainer, data):
    states = []
    for clip in (None, 1e9):
        torch.manual_seed(0)
        model = make_model(gradient_clip=clip)
        make_trainer(max_epochs=2).fit(model, data)
        states.append(model.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
