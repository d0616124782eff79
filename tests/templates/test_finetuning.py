"""Parts that Lightning's callbacks freeze and unfreeze, with schedules and after a resume."""

import pytest
import torch
from kill_and_resume import differences
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import BackboneFinetuning, BaseFinetuning

from hybridlit import SequentialHybrid
from hybridlit.resume.checkpoint import HybridCheckpoint
from hybridlit.resume.exact_resume import ExactResume
from hybridlit.templates.training.schedule import learning_rate_factor


class Unfreeze(BaseFinetuning):
    """Freezes a part until an epoch."""

    def __init__(self, part, epoch=1):
        super().__init__()
        self.part, self.epoch = part, epoch

    def freeze_before_training(self, pl_module):
        self.freeze(getattr(pl_module, self.part), train_bn=False)

    def finetune_function(self, pl_module, epoch, optimizer):
        if epoch == self.epoch:
            part = getattr(pl_module, self.part)
            self.unfreeze_and_add_param_group(part, optimizer, lr=0.1)


class WithBackbone(SequentialHybrid):
    """Has what `BackboneFinetuning` looks for."""

    @property
    def backbone(self):
        return self.classical_pre


class Stuck(SequentialHybrid):
    """Its loss never falls."""

    def loss(self, outputs, targets):
        return 0 * super().loss(outputs, targets) + 1


class Rates(Callback):
    """Keeps the learning rates of each step."""

    def __init__(self):
        self.steps = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.steps.append([group["lr"] for group in optimizer.param_groups])


@pytest.fixture
def run(tmp_path, data, make_model, make_trainer):
    """Train for 4 epochs of 4 steps, saving each; return rates, the end, and the model."""

    def run(tuning, cls=SequentialHybrid, resume=None, exact=True, **model):
        torch.manual_seed(0)
        seen, network = Rates(), make_model(cls, **model)
        kept = HybridCheckpoint(every_n_steps=1, keep=99, dirpath=str(tmp_path / "c"))
        trainer = make_trainer(
            [tuning, seen, *([ExactResume()] if exact else []), kept],
            max_epochs=4,
            enable_checkpointing=True,
        )
        before = {name: p.detach().clone() for name, p in network.named_parameters()}
        path = resume and tmp_path / "c" / f"step{resume:08d}.ckpt"

        trainer.fit(network, data, ckpt_path=path)
        moved = {n for n, p in network.named_parameters() if not torch.equal(p, before[n])}
        trainer.save_checkpoint(tmp_path / "end.pt")
        return seen.steps, torch.load(tmp_path / "end.pt", weights_only=True), moved

    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "schedules"),
    [
        ("classical_pre", dict(schedule="cosine")),
        ("classical_pre", dict(schedule="cosine", quantum_schedule="constant")),
        ("quantum_layer", dict(schedule="cosine")),
        ("quantum_layer", dict(schedule="constant", quantum_schedule="cosine")),
        ("quantum_layer", dict(schedule="plateau", warmup_epochs=2)),
    ],
)
def test_an_unfrozen_part_follows_the_schedule_of_its_component(part, schedules, run):
    steps, _, moved = run(Unfreeze(part), **schedules)
    assert any(name.startswith(part) for name in moved)
    assert len(steps) == 16 and steps[4][-1] == 0.1
    kinds = {"classical": schedules["schedule"]}
    kinds["photonic"] = schedules.get("quantum_schedule", schedules["schedule"])
    kind = kinds["photonic" if part == "quantum_layer" else "classical"]
    warmup = 4 * schedules.get("warmup_epochs", 0)
    factors = [learning_rate_factor(kind, s, warmup, 16) for s in range(4, 16)]
    assert [rates[-1] for rates in steps[4:]] == pytest.approx(
        [0.1 * f / factors[0] for f in factors]
    )


def test_an_unfrozen_part_falls_at_a_plateau(run):
    steps, _, _ = run(
        Unfreeze("classical_pre"),
        cls=Stuck,
        schedule="plateau",
        plateau_patience=0,
        plateau_factor=0.5,
    )
    assert [rates[-1] for rates in steps[4::4]] == pytest.approx([0.1, 0.05, 0.025])
    assert [rates[0] for rates in steps[::4]] == pytest.approx([3e-3, 3e-3, 1.5e-3, 0.75e-3])


@pytest.mark.parametrize("schedule", ["constant", "cosine", "plateau"])
def test_backbone_finetuning_raises_the_rate_between_epochs(schedule, run):
    tuning = BackboneFinetuning(1, lambda epoch: 1.5, should_align=False, train_bn=True)
    steps, _, _ = run(tuning, cls=WithBackbone, schedule=schedule, classical_lr=0.1)
    first = [steps[n][-1] for n in (4, 8, 12)]
    assert first == pytest.approx([steps[4][0] / 10 * 1.5**n for n in range(3)])
    assert (steps[7][-1] < steps[4][-1]) == (schedule == "cosine")


@pytest.mark.slow
@pytest.mark.parametrize("part", ["classical_pre", "quantum_layer"])
@pytest.mark.parametrize("schedule", ["constant", "cosine", "plateau"])
@pytest.mark.parametrize("resume", [3, 4, 6, 8, 13])
def test_a_run_resumed_after_unfreezing_equals_the_uninterrupted_one(part, schedule, resume, run):
    model = dict(schedule=schedule)
    steps, whole, _ = run(Unfreeze(part), **model)
    again_steps, again, moved = run(Unfreeze(part), resume=resume, **model)
    assert again_steps == steps[resume:]
    assert any(name.startswith(part) for name in moved)
    for name in ("state_dict", "optimizer_states", "lr_schedulers", "global_step"):
        assert differences(whole[name], again[name]) == [], name


def test_without_exact_resume_an_unfrozen_part_is_unfrozen_again(run, tmp_path):
    run(Unfreeze("quantum_layer"), exact=False)
    before = torch.load(tmp_path / "c" / "step00000008.ckpt", weights_only=True)["state_dict"]
    _, end, _ = run(Unfreeze("quantum_layer"), resume=8, exact=False)
    name = "quantum_layer.phases"
    assert not torch.equal(before[name], end["state_dict"][name])


def test_statistics_that_were_not_tracked_are_tracked_again(run, make_trainer, data, tmp_path):
    class Normalized(SequentialHybrid):
        def __init__(self, **options):
            super().__init__(**options)
            self.front = torch.nn.BatchNorm1d(5)

        def forward(self, x):
            return super().forward(self.front(x))

    _, whole, _ = run(Unfreeze("front"), cls=Normalized)
    _, again, _ = run(Unfreeze("front"), cls=Normalized, resume=6)
    assert whole["state_dict"]["front.num_batches_tracked"] > 0
    assert differences(whole["state_dict"], again["state_dict"]) == []
