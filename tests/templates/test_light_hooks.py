"""Hooks of a template cost little: nobody who looks at them sees a difference."""

from lightning.pytorch import Callback
from lightning.pytorch.profilers import PassThroughProfiler, SimpleProfiler

from hybridlit.internals.lightning import HOOK_NAME
from hybridlit.templates.light_hooks import NoProfiler


class Noting(Callback):
    def __init__(self):
        self.seen = []

    def on_train_batch_end(self, trainer, pl_module, *_):
        self.seen.append(getattr(pl_module, HOOK_NAME))
        pl_module.log("mine", 1.0)  # Lightning allows it by the name of the hook


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
    trainer = make_trainer(max_steps=2, profiler=SimpleProfiler())
    trainer.fit(make_model(), data)
    assert len(trainer.profiler.recorded_durations["run_training_batch"]) == 2
