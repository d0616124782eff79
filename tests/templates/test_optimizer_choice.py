"""Optimizers by class path: the rates stay those of the components, whatever steps them."""

import copy

import pytest
import torch
from kill_and_resume import differences
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from lightning.pytorch.plugins import MixedPrecision
from torch.optim import LBFGS, SGD, AdamW, Optimizer

from hybridlit import ArrayDataModule, ParallelHybrid, find_learning_rates
from hybridlit.callbacks.alternating import AlternatingTraining
from hybridlit.callbacks.gradient_imbalance import GradientImbalanceMonitor
from hybridlit.callbacks.overfitting import OverfittingDetector
from hybridlit.callbacks.warm_start import WarmStart, export_component
from hybridlit.components import split_parameters
from hybridlit.optimizers import OptimizerByComponent
from hybridlit.resume.checkpoint import HybridCheckpoint
from hybridlit.resume.exact_resume import ExactResume
from hybridlit.templates import HybridModule, SequentialHybrid, load
from hybridlit.templates.training.stages import StagedTraining


class Lion(Optimizer):
    """Chen et al. (2023): a step is the learning rate, with the sign of a mean gradient."""

    def __init__(self, params, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0):
        if not 0 <= betas[0] < 1:
            raise ValueError(f"beta1 is {betas[0]}")
        super().__init__(params, dict(lr=lr, betas=betas, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self, closure=None):
        loss = closure and torch.enable_grad()(closure)()
        for group in self.param_groups:
            one, two = group["betas"]
            for p in group["params"]:
                if p.grad is not None:
                    mean = self.state[p].setdefault("mean", torch.zeros_like(p))
                    p.mul_(1 - group["lr"] * group["weight_decay"])
                    p.sub_(group["lr"] * mean.lerp(p.grad, 1 - one).sign())
                    mean.lerp_(p.grad, 1 - two)
        return loss


LION = f"{__name__}.Lion"
SGD_PATH = {"class_path": "torch.optim.SGD", "init_args": {"momentum": 0.9, "nesterov": True}}
CHOICES = {
    "sgd": dict(optimizer=SGD_PATH, classical_lr=0.05, quantum_lr=0.2, weight_decay=0.01),
    "lion": dict(optimizer=LION, classical_lr=1e-3, quantum_lr=3e-3, quantum_weight_decay=0.1),
    "both": dict(optimizer=SGD_PATH, quantum_optimizer=LION, classical_lr=0.05),
    "fused": dict(optimizer={"class_path": "torch.optim.AdamW", "init_args": {"fused": True}}),
    "lbfgs": dict(
        optimizer={"class_path": "torch.optim.LBFGS", "init_args": {"max_iter": 4}},
        classical_lr=0.5,
        head_dim=6,  # one that is still learning, so that the best checkpoint is the newest
        reservoir_mode=True,
        use_bandwidth_tuning=False,
    ),
}


@pytest.fixture(
    params=[
        name if name in ("both", "lbfgs") else pytest.param(name, marks=pytest.mark.slow)
        for name in CHOICES
    ]
)
def chosen(request):
    return CHOICES[request.param]


class Steps(Callback):
    """Keeps the optimizer of each step, with copies of all parameters before and after."""

    def __init__(self):
        self.seen = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        gradients = {n: p.grad.clone() for n, p in pl_module.named_parameters() if p.requires_grad}
        self.seen.append((copy.deepcopy(pl_module.state_dict()), gradients))


# --- what is stepped, and how far -----------------------------------------------------------------


def test_adamw_is_what_there_is_without_a_choice(make_model):
    model = make_model()
    optimizer = model.configure_optimizers()
    assert type(optimizer) is AdamW
    assert all(group["fused"] and group["eps"] == 1e-8 for group in optimizer.param_groups)
    named = make_model(optimizer="torch.optim.AdamW").configure_optimizers()
    assert type(named) is AdamW


def test_steps_are_fused_unless_somebody_must_see_how_they_are_made(make_model, make_trainer, data):
    def fused(model):
        return {group.get("fused") for group in model.configure_optimizers().param_groups}

    def adam(**arguments):
        return {"class_path": "torch.optim.Adam", "init_args": arguments}

    assert fused(make_model(optimizer=adam(betas=[0.8, 0.9])).double()) == {True}
    assert fused(make_model(optimizer=adam(foreach=True))) == {None}
    assert fused(make_model(optimizer=adam(fused=False))) == {False}
    assert None in fused(make_model().half())
    for precision in ("16-mixed", "bf16-mixed"):
        mixed = MixedPrecision(precision, "cpu")
        trainer = make_trainer(max_steps=1, plugins=[mixed], gradient_clip_val=1.0)
        trainer.fit(make_model(), data)
        assert {group["fused"] for group in trainer.optimizers[0].param_groups} == {None}


def test_a_checkpoint_of_steps_that_are_not_fused_goes_on_as_it_was(make_model):
    """Bit for bit; and fused steps differ from them by rounding alone."""

    def step(model, optimizer, steps):
        torch.manual_seed(steps)
        for _ in range(steps):
            for parameter in model.parameters():
                parameter.grad = torch.randn_like(parameter)
            optimizer.step()

    former, resumed, fused = (make_model(weight_decay=0.3).double() for _ in range(3))
    for model in (resumed, fused):
        model.load_state_dict(former.state_dict())
    before, after, at_once = (model.make_optimizer() for model in (former, resumed, fused))
    for group in before.param_groups:
        group["fused"] = None
    step(former, before, 3)
    step(fused, at_once, 3)
    resumed.load_state_dict(former.state_dict())
    after.load_state_dict(copy.deepcopy(before.state_dict()))
    for model, optimizer in ((former, before), (resumed, after), (fused, at_once)):
        step(model, optimizer, 2)
    for name, expected in former.named_parameters():
        assert torch.equal(resumed.get_parameter(name), expected)
        torch.testing.assert_close(fused.get_parameter(name), expected, rtol=1e-12, atol=1e-14)


def test_rates_and_decays_of_a_component_step_its_parameters(make_model, make_trainer, data):
    """SGD without momentum, in closed form: p - lr * (grad + decay * p)."""
    steps = Steps()
    model = make_model(
        optimizer="torch.optim.SGD",
        classical_lr=0.1,
        quantum_lr=0.7,
        weight_decay=0.3,
        quantum_weight_decay=0.2,
    )
    make_trainer([steps], max_steps=2).fit(model, data)
    (before, gradients), (after, _) = steps.seen
    for component, rate, decay in (("classical", 0.1, 0.3), ("photonic", 0.7, 0.2)):
        for name in split_parameters(model)[component]:
            expected = before[name] - rate * (gradients[name] + decay * before[name])
            torch.testing.assert_close(after[name], expected)


def test_each_component_may_have_an_optimizer_of_its_own(make_model, make_trainer, data):
    steps = Steps()
    model = make_model(**CHOICES["both"], quantum_lr=0.25)
    trainer = make_trainer([steps], max_steps=2)
    trainer.fit(model, data)
    (before, gradients), (after, _) = steps.seen
    for name in split_parameters(model)["photonic"]:
        assert torch.equal(after[name], before[name] - 0.25 * gradients[name].sign()), "Lion"
    for name in split_parameters(model)["classical"]:
        step = 0.05 * 1.9 * gradients[name]  # Nesterov's first: (1 + momentum) gradients
        torch.testing.assert_close(after[name], before[name] - step)
    (optimizer,) = trainer.optimizers
    assert isinstance(optimizer, OptimizerByComponent)
    assert [type(part) for part in optimizer.parts] == [SGD, Lion]
    states = {name: set(optimizer.state[p]) for name, p in model.named_parameters()}
    assert set(map(frozenset, states.values())) == {
        frozenset({"mean"}),
        frozenset({"momentum_buffer"}),
    }


def test_two_as_one_are_stepped_as_each_alone(make_model, make_trainer, data):
    """Lightning's two optimizers by hand give the same weights, bit for bit."""

    class Manual(SequentialHybrid):
        automatic_optimization = False

        def configure_optimizers(self):
            both = split_parameters(self)
            classical = SGD(both["classical"].values(), lr=0.05, momentum=0.9, nesterov=True)
            return classical, Lion(both["photonic"].values(), lr=1e-2)

        def training_step(self, batch, batch_idx):
            for optimizer in self.optimizers():
                optimizer.zero_grad()
            self.manual_backward(super().training_step(batch, batch_idx))
            for optimizer in self.optimizers():
                optimizer.step()

    states = []
    for kind, choice in ((SequentialHybrid, CHOICES["both"]), (Manual, {})):
        torch.manual_seed(3)
        model = make_model(kind, **choice)
        make_trainer(max_epochs=2).fit(model, data)
        states.append(model.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_part_may_begin_with_a_state(make_model, make_trainer, data):
    """Adagrad's sums are there before its first step."""
    model = make_model(quantum_optimizer="torch.optim.Adagrad")
    trainer = make_trainer(max_steps=3)
    trainer.fit(model, data)
    state = trainer.optimizers[0].state[model.quantum_layer.phases]
    assert state["step"] == 3 and bool((state["sum"] > 0).any())
    assert find_learning_rates(model, data, points=3, steps=2).curves["photonic"].losses


# --- with everything else of a run ----------------------------------------------------------------


@pytest.mark.slow
def test_a_resumed_run_is_the_same_bit_for_bit(chosen, tmp_path, make_model, make_trainer, data):
    def run(folder, epochs, path=None, **changes):
        torch.manual_seed(0)
        model = make_model(dropout=0.2, schedule="cosine", **chosen | changes)
        kept = HybridCheckpoint(dirpath=str(folder), every_n_steps=2, keep=99)
        trainer = make_trainer([ExactResume(), kept], max_epochs=epochs, enable_checkpointing=True)
        trainer.fit(model, data, ckpt_path=path)
        trainer.save_checkpoint(folder / "end.pt")
        return torch.load(folder / "end.pt", weights_only=True)

    whole = run(tmp_path / "whole", 3)
    for step in (4, 6):  # between epochs, and amid one
        resumed = run(tmp_path / f"{step}", 3, tmp_path / "whole" / f"step{step:08d}.ckpt")
        assert not differences(whole, resumed), step
    model = load(tmp_path / "whole" / "end.pt", allow=[__name__])
    assert model.hparams["optimizer"] == chosen["optimizer"]


@pytest.mark.parametrize("name", ["sgd", "both"])
def test_monitors_stages_and_turns_work_with_it(name, make_model, make_trainer, data):
    for callback in (
        GradientImbalanceMonitor(every_n_steps=1, action="rebalance"),
        OverfittingDetector(every_n_steps=1),
        AlternatingTraining(1, 1),
        StagedTraining([("classical", 1), ("photonic", 1)]),
    ):
        model = make_model(**CHOICES[name])
        before = copy.deepcopy(model.state_dict())
        trainer = make_trainer([callback], max_epochs=2)
        trainer.fit(model, data)
        assert not torch.equal(before["quantum_layer.phases"], model.quantum_layer.phases)
        assert isinstance(trainer.optimizers[0].state_dict()["state"], dict)


def test_stages_leave_the_other_component_and_its_state_alone(make_model, make_trainer, data):
    model = make_model(**CHOICES["both"], stages=[("classical", 3)])
    phases = model.quantum_layer.phases.clone()
    trainer = make_trainer(max_epochs=2)
    trainer.fit(model, data)
    assert torch.equal(model.quantum_layer.phases, phases)
    (optimizer,) = trainer.optimizers
    assert model.quantum_layer.phases not in optimizer.state and optimizer.state


def test_a_gradient_scaler_finds_one_optimizer(make_model, make_trainer, data):
    plugin = MixedPrecision("16-mixed", "cpu")  # on a CPU, only given like this
    trainer = make_trainer(plugins=[plugin], max_epochs=2)
    model = make_model(**CHOICES["both"])
    before = copy.deepcopy(model.state_dict())
    trainer.fit(model, data)
    assert plugin.scaler.get_scale() > 1 and plugin.scaler.state_dict()["_growth_tracker"] > 0
    assert not torch.equal(before["quantum_layer.phases"], model.quantum_layer.phases)


def test_a_copy_steps_the_copy(make_model):
    """As the overfitting detector copies it."""
    model = make_model(**CHOICES["both"])
    optimizer = model.configure_optimizers()
    copied_model, copied = copy.deepcopy((model, optimizer))
    for parameter in copied_model.parameters():
        parameter.grad = torch.ones_like(parameter)
    before = copy.deepcopy(model.state_dict())
    copied.step()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(
        map(lambda p, q: not torch.equal(p, q), model.parameters(), copied_model.parameters())
    )
    assert len(copied.state) == len(list(model.parameters())) and not optimizer.state


def test_a_component_of_such_a_run_is_a_warm_start(tmp_path, make_model, make_trainer, data):
    model = make_model(**CHOICES["both"])
    make_trainer().fit(model, data)
    export_component(model, "photonic", tmp_path / "photonic.pt")
    other = make_model(**CHOICES["sgd"], stages=[("classical", 1)])
    make_trainer([WarmStart({"photonic": str(tmp_path / "photonic.pt")})]).fit(other, data)
    assert torch.equal(model.quantum_layer.phases, other.quantum_layer.phases)


def test_parameters_that_are_added_later_need_one_optimizer(make_model):
    optimizer = make_model(**CHOICES["both"]).configure_optimizers()
    with pytest.raises(ValueError, match="cannot be added to two optimizers, as BaseFinetuning"):
        optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(1))]})


# --- LBFGS ----------------------------------------------------------------------------------------


class Logistic(HybridModule):
    """Convex: its gradient vanishes at the optimum and nowhere else."""

    def __init__(self):
        options = {"line_search_fn": "strong_wolfe"}
        choice = {"class_path": "torch.optim.LBFGS", "init_args": options}
        super().__init__(output_dim=3, optimizer=choice, classical_lr=1.0)
        self.net = torch.nn.Linear(5, 3)

    def forward(self, x):
        return self.net(x)


def test_lbfgs_trains_the_one_component_to_the_optimum(make_trainer):
    generator = torch.Generator().manual_seed(1)
    x, noise = torch.randn(2, 60, 5, generator=generator)
    data = ArrayDataModule(x, (x + 2 * noise)[:, :3].argmax(1), batch_size=60)
    trainer = make_trainer(max_epochs=5)
    model = Logistic()
    trainer.fit(model, data)
    assert isinstance(trainer.optimizers[0], LBFGS) and trainer.global_step == 5
    inputs, targets = next(iter(data.train_dataloader()))
    model.zero_grad()
    loss = model.loss(model(inputs), targets)
    loss.backward()
    assert loss > 0.3 and model.net.weight.grad.norm() < 1e-4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(stages=[("classical", 1)]), "stages must be None with LBFGS"),
        (dict(quantum_optimizer="torch.optim.SGD"), "quantum_optimizer must be None with LBFGS"),
        (dict(gradient_clip=1.0), "gradient_clip must be None with LBFGS"),
        (dict(weight_decay=0.1), "weight_decay must be 0 with LBFGS, which knows no weight decay"),
    ],
)
def test_lbfgs_is_refused_by_the_constructor_where_it_cannot_be(changes, message, make_model):
    with pytest.raises(ValueError, match=message):
        make_model(**CHOICES["lbfgs"] | changes)


@pytest.mark.parametrize(
    ("options", "callbacks", "message"),
    [
        (dict(accumulate_grad_batches=2), [], "accumulate_grad_batches above 1"),
        ({}, [lambda: GradientAccumulationScheduler({1: 2})], "accumulate_grad_batches above 1"),
        (dict(gradient_clip_val=1.0), [], "gradient_clip_val"),
        (dict(plugins=lambda: [MixedPrecision("16-mixed", "cpu")]), [], "precision='16-mixed'"),
        ({}, [GradientImbalanceMonitor], "one optimizer that takes one gradient a step, got LBFGS"),
        ({}, [AlternatingTraining], "one optimizer that takes one gradient a step, got LBFGS"),
    ],
)
def test_lbfgs_is_refused_by_a_run_where_it_cannot_be(
    options, callbacks, message, make_model, make_trainer, data
):
    options = {name: value() if callable(value) else value for name, value in options.items()}
    trainer = make_trainer([callback() for callback in callbacks], **options)
    with pytest.raises(ValueError, match=message):
        trainer.fit(make_model(**CHOICES["lbfgs"]), data)


def test_lbfgs_is_refused_for_two_components(make_model, make_trainer, data):
    model = make_model(optimizer="torch.optim.LBFGS")
    with pytest.raises(ValueError, match=r"LBFGS trains one component.* freeze all of one"):
        make_trainer().fit(model, data)


# --- resumed with another -------------------------------------------------------------------------


@pytest.mark.parametrize("given", [dict(optimizer=LION), {}, dict(quantum_optimizer=LION)])
def test_another_optimizer_cannot_go_on(given, tmp_path, make_model, make_trainer, data):
    trainer = make_trainer()
    trainer.fit(make_model(optimizer=SGD_PATH), data)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    given = {"optimizer": SGD_PATH} | given if "quantum_optimizer" in given else given
    with pytest.raises(ValueError, match="optimizer must stay as it was in a run that goes on"):
        make_trainer(max_epochs=2).fit(make_model(**given), data, ckpt_path=tmp_path / "a.ckpt")


@pytest.mark.parametrize(
    ("was", "given"),
    [
        (dict(optimizer="torch.optim.SGD"), dict(optimizer={"class_path": "torch.optim.SGD"})),
        ({}, dict(optimizer={"class_path": "torch.optim.AdamW", "init_args": {}})),
        (dict(optimizer=SGD_PATH), dict(optimizer=SGD_PATH, quantum_optimizer=SGD_PATH)),
    ],
)
def test_the_same_optimizer_in_another_form_goes_on(
    was, given, tmp_path, make_model, make_trainer, data
):
    first, states = make_trainer([ExactResume()]), []
    first.fit(make_model(**was), data)
    first.save_checkpoint(tmp_path / "a.ckpt")
    for choice in (was, given):
        model = make_model(**choice)
        trainer = make_trainer([ExactResume()], max_epochs=2)
        trainer.fit(model, data, ckpt_path=tmp_path / "a.ckpt")
        states.append(model.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_another_optimizer_is_not_taken_up_amid_a_run(make_model, make_trainer, data):
    class Change(Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            pl_module.hparams["optimizer"] = LION

    with pytest.raises(ValueError, match=r"got '.*Lion' where this run has None"):
        make_trainer([Change()], max_epochs=2).fit(make_model(), data)


def test_rates_change_where_there_is_no_weight_decay(tmp_path, make_model, make_trainer, data):
    trainer = make_trainer()
    trainer.fit(make_model(**CHOICES["lbfgs"]), data)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    trainer = make_trainer(max_epochs=2)
    with pytest.warns(UserWarning, match="another classical_lr: 0.5 in the checkpoint, 0.25 now"):
        model = make_model(**CHOICES["lbfgs"] | {"classical_lr": 0.25})
        trainer.fit(model, data, ckpt_path=tmp_path / "a.ckpt")
    assert trainer.optimizers[0].param_groups[0]["lr"] == 0.25


# --- bad choices ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (dict(optimizer=3), TypeError, "optimizer must be a string or a dictionary or None, got"),
        (dict(optimizer="SGD"), ValueError, "optimizer must name what can be imported"),
        (dict(optimizer="torch.optim.Sgd"), ValueError, "optimizer must name what can be imported"),
        (dict(optimizer="torch.nn.Linear"), ValueError, "must name a class of optimizers, such as"),
        (dict(optimizer="torch.optim.Optimizer"), ValueError, "must name a class of optimizers"),
        (dict(optimizer={"class": "torch.optim.SGD"}), TypeError, "must hold a class_path"),
        (
            dict(quantum_optimizer={"class_path": "torch.optim.SGD", "init_args": {"lr": 1.0}}),
            ValueError,
            "quantum_optimizer must leave lr out of its init_args, got 1.0: give classical_lr and",
        ),
        (
            dict(optimizer={"class_path": "torch.optim.SGD", "init_args": {"weight_decay": 1.0}}),
            ValueError,
            "must leave weight_decay out .*: give weight_decay and quantum_weight_decay",
        ),
        (
            dict(optimizer={"class_path": "torch.optim.SGD", "init_args": {"speed": 1.0}}),
            ValueError,
            "optimizer must be given init_args that SGD takes, .*'speed'",
        ),
        (
            dict(optimizer={"class_path": LION, "init_args": {"betas": [2, 2]}}),
            ValueError,
            "init_args that Lion takes, got .*beta1 is 2",
        ),
        (
            dict(quantum_optimizer="torch.optim.SparseAdam", quantum_weight_decay=0.1),
            ValueError,
            "quantum_weight_decay must be 0 with SparseAdam",
        ),
    ],
)
def test_bad_choices(changes, error, message, make_model):
    with pytest.raises(error, match=message):
        make_model(**changes)


def test_a_checkpoint_imports_no_optimizer(tmp_path, make_model, make_trainer, data):
    model = make_model(ParallelHybrid)
    trainer = make_trainer()
    trainer.fit(model, data)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    content = torch.load(tmp_path / "a.ckpt", weights_only=True)
    content["hyper_parameters"]["optimizer"] = {"class_path": "antigravity.Optimizer"}
    torch.save(content, tmp_path / "b.ckpt")
    with pytest.raises(ValueError, match=r"asks for antigravity\.Optimizer, whose module"):
        load(tmp_path / "b.ckpt")
