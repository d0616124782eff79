"""Training the components in turn, some optimizer steps each."""

import pytest
import torch
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.plugins import MixedPrecision
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from hybridlit import ParallelHybrid, SequentialHybrid, create_hybrid_optimizer
from hybridlit.callbacks.alternating import AlternatingTraining
from hybridlit.components import split_parameters
from hybridlit.templates.training.stages import StagedTraining


@pytest.fixture
def batches(data):
    """Four full batches, the same in every epoch: nothing is drawn while training."""
    data.setup("fit")
    return DataLoader(TensorDataset(*data.train), batch_size=9)


class Steps(Callback):
    """Records which component, moments included, every optimizer step has changed."""

    def __init__(self):
        self.moved = []

    def on_train_start(self, trainer, pl_module):
        self._last, self._step = self._copy(trainer, pl_module), trainer.global_step

    def on_train_batch_end(self, trainer, pl_module, *_):
        now = self._copy(trainer, pl_module)
        changed = {
            component
            for component in now
            if len(now[component]) != len(self._last[component])
            or not all(map(torch.equal, now[component], self._last[component]))
        }
        if trainer.global_step > self._step:
            self.moved.append(changed)
        else:  # amid accumulated batches
            assert not changed
        self._last, self._step = now, trainer.global_step

    def _copy(self, trainer, model):
        (optimizer,) = trainer.optimizers
        return {
            component: [
                tensor.clone()
                for p in parameters.values()
                for tensor in (p.detach(), *map(torch.as_tensor, optimizer.state[p].values()))
            ]
            for component, parameters in split_parameters(model).items()
        }


def fp16():
    return MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=256.0))


@pytest.mark.parametrize(
    "options",
    [
        dict,
        lambda: dict(accumulate_grad_batches=3),
        lambda: dict(gradient_clip_val=0.1, accumulate_grad_batches=2),
        lambda: dict(precision="bf16-mixed"),
        lambda: dict(plugins=[fp16()], gradient_clip_val=0.1),
    ],
    ids=["plain", "accumulated", "clipped", "bf16", "fp16"],
)
def test_a_phase_leaves_the_other_component_bit_for_bit(options, data, make_model, make_trainer):
    steps = Steps()
    model = make_model(weight_decay=0.5, quantum_weight_decay=0.5, schedule="cosine")
    alternating = AlternatingTraining(classical_steps=3, quantum_steps=2)
    make_trainer([alternating, steps], max_epochs=6, **options()).fit(model, data)
    phases = ["classical"] * 3 + ["photonic"] * 2
    assert len(steps.moved) >= 8
    for step, moved in enumerate(steps.moved):
        assert moved == {phases[step % 5]}, step


def test_it_is_the_loop_of_the_guide(batches, make_model, make_trainer):
    """The guide has an Adam for each component and counts batches, here optimizer steps."""
    torch.manual_seed(3)
    adam = {"class_path": "torch.optim.Adam", "init_args": {"fused": False}}  # as in the guide
    model = make_model(classical_lr=0.02, quantum_lr=0.05, dropout=0.0, optimizer=adam)
    twin = make_model(dropout=0.0)
    twin.load_state_dict(model.state_dict())
    make_trainer([AlternatingTraining()], max_epochs=4).fit(model, batches)

    classical, photonic = create_hybrid_optimizer(twin, classical_lr=0.02, quantum_lr=0.05)
    step = 0
    for _ in range(4):
        for x, y in batches:
            optimizer = classical if step % 6 < 5 else photonic
            optimizer.zero_grad()
            nn.functional.cross_entropy(twin(x), y).backward()
            optimizer.step()
            step += 1
    assert step == 16
    for (name, ours), theirs in zip(model.named_parameters(), twin.parameters(), strict=True):
        assert torch.equal(ours, theirs), name


@pytest.mark.slow
@pytest.mark.parametrize("last", [2, 5, 6, 7])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_resumed_run_goes_on_amid_a_cycle(
    last, accumulate, tmp_path, data, make_model, make_trainer
):
    def run(**options):
        torch.manual_seed(3)
        steps, model = Steps(), make_model(schedule="cosine")
        callbacks = [AlternatingTraining(4, 2), steps]
        if "path" not in options:
            callbacks.append(
                ModelCheckpoint(tmp_path, save_top_k=-1, every_n_train_steps=1, filename="{step}")
            )
        trainer = make_trainer(
            callbacks,
            max_epochs=8,
            enable_checkpointing="path" not in options,
            accumulate_grad_batches=accumulate,
        )
        trainer.fit(model, data, ckpt_path=options.get("path"))
        return steps.moved

    whole = run()
    assert run(path=tmp_path / f"step={last}.ckpt")[:2] == whole[last : last + 2]


def test_a_resumed_run_is_the_uninterrupted_one(tmp_path, batches, make_model, make_trainer):
    """Bit for bit, from an end of an epoch in the middle of a phase."""

    def run(path=None, **options):
        torch.manual_seed(3)
        model = make_model(schedule="cosine", dropout=0.0)
        kept = ModelCheckpoint(tmp_path, save_top_k=-1, filename="{epoch}", **options)
        trainer = make_trainer(
            [AlternatingTraining(3, 3), kept], max_epochs=4, enable_checkpointing=True
        )
        trainer.fit(model, batches, ckpt_path=path)
        return model.state_dict()

    whole = run()
    resumed = run(tmp_path / "epoch=1.ckpt", every_n_epochs=9)
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name


def test_clipping_looks_at_the_trained_component_only(data, make_model, make_trainer):
    class Descent(SequentialHybrid):
        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=1.0)

    model = make_model(Descent)
    before = None

    class Before(Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            nonlocal before
            before = {name: p.detach().clone() for name, p in pl_module.named_parameters()}

    trainer = make_trainer([AlternatingTraining(1, 1), Before()], max_steps=2)
    trainer.gradient_clip_val = 1e-3
    trainer.fit(model, data)
    step = sum((p - before[name]).square().sum() for name, p in model.named_parameters()).sqrt()
    # float32 rounds phases of about 1 to 1e-7
    assert step.item() == pytest.approx(1e-3, rel=1e-2)


def test_the_phase_is_logged(tmp_path, data, make_model, make_trainer, scalars):
    logger = TensorBoardLogger(tmp_path, name="", version="run")
    trainer = make_trainer(
        [AlternatingTraining(2, 1)], max_epochs=2, logger=logger, log_every_n_steps=1
    )
    trainer.fit(make_model(), data)
    logged = scalars(logger.log_dir)["train/phase"]
    assert logged == [(step, float(step % 3 == 2)) for step in range(8)]


def test_a_logger_that_takes_few_steps_gets_the_share(
    tmp_path, data, make_model, make_trainer, scalars
):
    logger = TensorBoardLogger(tmp_path, name="", version="run")
    trainer = make_trainer(
        [AlternatingTraining(2, 1)], max_epochs=2, logger=logger, log_every_n_steps=4
    )
    trainer.fit(make_model(), data)
    logged = scalars(logger.log_dir)["train/phase"]
    assert logged == [(3, 0.25), (7, 0.25)]  # steps 2 and 5


class Foreign(LightningModule):
    """No template, and an optimizer or optimization of any kind."""

    def __init__(self, optimizer, automatic=True):
        super().__init__()
        self.net = SequentialHybrid(5, 2, 3, n_modes=4, n_photons=2)
        self.automatic_optimization = automatic
        self.optimizer = optimizer

    def training_step(self, batch, batch_idx):
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return self.optimizer(self)


def test_any_lightning_module_and_optimizer(data, make_trainer):
    steps = Steps()
    model = Foreign(
        lambda m: torch.optim.SGD(m.parameters(), lr=1.0, momentum=0.9, weight_decay=0.1)
    )
    make_trainer([steps, AlternatingTraining(1, 2)], max_epochs=2).fit(model, data)
    expected = [{"classical"}, {"photonic"}, {"photonic"}] * 3
    assert steps.moved == expected[:8]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Foreign(lambda m: torch.optim.SGD(m.parameters(), lr=1.0), automatic=False),
            "AlternatingTraining needs automatic optimization, and Foreign sets",
        ),
        (
            lambda: Foreign(lambda m: torch.optim.LBFGS(m.parameters())),
            "takes one gradient a step, got LBFGS: choose AdamW or SGD",
        ),
        (lambda: Foreign(lambda m: None), "the optimizer has no trainable classical parameters"),
        (
            lambda: Foreign(lambda m: torch.optim.SGD(m.net.classical_pre.parameters(), lr=1.0)),
            "the optimizer has no trainable photonic parameters",
        ),
        (
            lambda: SequentialHybrid(5, 2, 3, reservoir_mode=True, use_bandwidth_tuning=False),
            "the optimizer has no trainable photonic parameters: unfreeze some",
        ),
        (
            lambda: ParallelHybrid(5, 3, quantum="mlp"),
            "the optimizer has no trainable photonic parameters.*mark_photonic",
        ),
        (
            lambda: SequentialHybrid(5, 2, 3, stages=[["classical", 1], ["both", 1]]),
            "AlternatingTraining and StagedTraining would both decide what is trained",
        ),
    ],
    ids=["manual", "lbfgs", "none", "partial", "reservoir", "twin", "stages"],
)
def test_what_cannot_alternate_is_refused(make, message, data, make_trainer):
    with pytest.raises(ValueError, match=message):
        make_trainer([AlternatingTraining()]).fit(make(), data)


@pytest.mark.parametrize("order", [1, -1])
def test_stages_beside_it_are_refused_in_either_order(order, data, make_model, make_trainer):
    callbacks = [AlternatingTraining(), StagedTraining([["classical", 1]])][::order]
    with pytest.raises(ValueError, match="leave one out"):
        make_trainer(callbacks).fit(make_model(), data)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (dict(classical_steps=0), ValueError, "classical_steps must be at least 1, got 0"),
        (dict(quantum_steps=-1), ValueError, "quantum_steps must be at least 1, got -1"),
        (dict(quantum_steps=1.5), TypeError, "quantum_steps must be an integer, got float 1.5"),
        (dict(classical_steps=True), TypeError, "classical_steps must be an integer"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        AlternatingTraining(**arguments)
