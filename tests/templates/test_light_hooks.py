"""Hooks of a template cost little: nobody who looks at them sees a difference."""

from lightning.pytorch import Callback
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.profilers import PassThroughProfiler, SimpleProfiler

from hybridlit import GradientImbalanceMonitor
from hybridlit.internals.lightning import HOOK_NAME
from hybridlit.templates.light_hooks import NoProfiler


def passed_over(trainer):
    """Hooks of each callback that cannot be called."""
    return {
        type(c): {n for n, each in vars(c).items() if each is None and n[:3] == "on_"}
        for c in trainer.callbacks
    }


class Noting(Callback):
    def __init__(self):
        self.seen, self.passed_over = [], {}

    def on_train_batch_end(self, trainer, pl_module, *_):
        self.seen.append(getattr(pl_module, HOOK_NAME))
        pl_module.log("mine", 1.0)  # Lightning allows it by the name of the hook
        self.passed_over = passed_over(trainer)


def test_hooks_are_noted_and_nothing_is_profiled(make_model, make_trainer, data):
    noting = Noting()
    trainer = make_trainer([noting], max_steps=2)
    trainer.fit(make_model(), data)
    assert noting.seen == ["on_train_batch_end"] * 2
    assert trainer.callback_metrics["mine"] == 1
    assert type(trainer.profiler) is NoProfiler and isinstance(
        trainer.profiler, PassThroughProfiler
    )
    with trainer.profiler.profile("something"), trainer.profiler.profile("in it"):
        pass


def test_a_profiler_of_the_user_sees_every_hook(make_model, make_trainer, data):
    watched = GradientImbalanceMonitor()
    trainer = make_trainer([watched], max_steps=2, profiler=SimpleProfiler())
    trainer.fit(make_model(), data)
    assert len(trainer.profiler.recorded_durations["run_training_batch"]) == 2
    assert watched.on_before_zero_grad is not None


def test_empty_hooks_of_known_callbacks_are_passed_over(make_model, make_trainer, data):
    """Not those of a user, who may call them, nor any that has something to do."""
    ours, theirs, noting = (
        GradientImbalanceMonitor(every_n_steps=1),
        LearningRateMonitor(),
        Noting(),
    )
    trainer = make_trainer([ours, theirs, noting], max_steps=2, logger=True)
    trainer.fit(make_model(), data)
    assert ours.ratio is not None and noting.seen == ["on_train_batch_end"] * 2
    assert theirs.lrs  # noted in one of its hooks
    by_kind = noting.passed_over
    assert "on_before_zero_grad" in by_kind[GradientImbalanceMonitor] & by_kind[LearningRateMonitor]
    assert "on_train_batch_end" not in by_kind[GradientImbalanceMonitor]
    assert by_kind[Noting] == set()
    assert not any(passed_over(trainer).values())  # whoever calls them now finds them
